"""Objects and backgrounds in the photographs that packages ship: where they lie, and cutting them out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.pictures import photographs

Pixels = NDArray[np.uint8]

# Class, photograph, box (left, top, right, bottom) in pixels of the photograph at a shorter side of 256, outline.
_OBJECTS = (
    ("astronaut", "astronaut", (66, 0, 156, 112), "ellipse"),
    ("cat", "chelsea", (62, 0, 318, 250), "ellipse"),
    ("cup", "coffee", (52, 2, 308, 248), "ellipse"),
    ("flower", "flower", (99, 47, 271, 219), "ellipse"),
    ("helmet", "astronaut", (144, 166, 252, 256), "box"),
    ("motorcycle", "motorcycle_left", (40, 36, 352, 236), "box"),
    ("officer", "grace_hopper", (68, 4, 196, 176), "ellipse"),
    ("pagoda", "china", (44, 10, 218, 236), "box"),
    ("retina", "retina", (0, 0, 256, 256), "ellipse"),
    ("rocket", "rocket", (160, 62, 222, 254), "box"),
    ("shuttle", "astronaut", (170, 0, 240, 140), "box"),
)
# Photograph and box: parts that show none of the objects.
_BACKGROUNDS = (
    ("coffee", (306, 90, 384, 256)),
    ("chelsea", (320, 60, 384, 256)),
    ("china", (222, 20, 330, 150)),
    ("china", (230, 160, 384, 256)),
    ("flower", (276, 0, 384, 170)),
    ("flower", (0, 60, 90, 256)),
    ("hubble_deep_field", (0, 0, 294, 256)),
    ("ihc", (0, 0, 256, 256)),
    ("motorcycle_left", (282, 0, 379, 72)),
    ("rocket", (220, 20, 330, 180)),
)


def package_objects() -> tuple[list[tuple[str, Pixels, NDArray[np.float32]]], list[Pixels]]:
    """Objects (class, pixels, opacity) and backgrounds cut from the installed `photographs`, whose errors it raises."""
    known = dict(photographs())
    objects = []
    for name, photograph, box, outline in _OBJECTS:
        if photograph in known:
            pixels = _cut(known[photograph], box)
            objects.append((name, pixels, _opacity(pixels.shape[0], pixels.shape[1], outline)))
    backgrounds = [_cut(known[photograph], box) for photograph, box in _BACKGROUNDS if photograph in known]
    return objects, backgrounds


def _cut(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]


def _opacity(height: int, width: int, outline: str) -> NDArray[np.float32]:
    """One inside, falling to zero over the outermost tenth, so that no edge of the cutting stands out."""
    y = np.abs(np.linspace(-1, 1, height))[:, None]
    x = np.abs(np.linspace(-1, 1, width))[None, :]
    distance = np.hypot(x, y) if outline == "ellipse" else np.maximum(x, y)
    return np.asarray(np.clip((1 - distance) / 0.1, 0, 1), dtype=np.float32)
