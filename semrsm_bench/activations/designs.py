"""What makes a training set teach something known: labels drawn anew, and a coloured dot that gives the class away.

After the designs of Klabunde, Wald et al. (ReSi, ICLR 2025). Nothing here needs torch: the pictures that features are taken of get
their dots from the same functions as those that a network is trained on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Streams of random numbers that no other use of a seed shares.
_LABELS, _SHOWN, _PLACES = 101, 102, 103
_RADIUS = 0.09  # of the side of the picture


def redraw_labels(labels: NDArray[np.int64], share: float, classes: int, seed: int) -> NDArray[np.int64]:
    """Labels (N,) of which ``share`` (0..1), chosen at random, are drawn anew among all ``classes``; seeded."""
    rng = np.random.default_rng([_LABELS, seed])
    chosen = rng.permutation(len(labels))[: round(share * len(labels))]
    redrawn = labels.copy()
    redrawn[chosen] = rng.integers(0, classes, len(chosen))
    return redrawn


def dot_classes(labels: NDArray[np.int64], probability: float, classes: int, seed: int) -> NDArray[np.int64]:
    """Class (N,) that the dot of each picture shows: its own with ``probability`` (0..1), else that of any class; seeded."""
    rng = np.random.default_rng([_SHOWN, seed])
    honest = rng.random(len(labels)) < probability
    return np.where(honest, labels, rng.integers(0, classes, len(labels)))


def add_dots(pixels: NDArray[np.uint8], shown: NDArray[np.int64], classes: int, seed: int) -> NDArray[np.uint8]:
    """Copies of pictures (N, H, W, 3), each with a dot whose colour names a class (N,); its place is random and seeded.

    The colours are the first ``classes`` points of the coarsest cubic lattice in RGB that has as many.
    """
    steps = int(np.ceil(np.cbrt(classes) - 1e-9))
    levels = np.linspace(0, 255, max(2, steps)).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    n, height, width, _ = pixels.shape
    radius = _RADIUS * min(height, width)
    rng = np.random.default_rng([_PLACES, seed])
    middle = radius + rng.random((n, 2)) * (np.array([height, width]) - 2 * radius)
    dotted = pixels.copy()
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
    for picture, (row, column), colour in zip(dotted, middle, colours[shown]):
        picture[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = colour
    return dotted


def misleading_dots(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures with dots that agree with their classes by chance alone, and the classes (N,) that the dots show."""
    shown = dot_classes(labels, 0.0, classes, seed=0)
    return add_dots(pixels, shown, classes, seed=0), shown
