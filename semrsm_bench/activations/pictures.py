"""Pictures that need no data set, photographs that installed packages ship, or the user's; crops and batches of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.images import choose_images, find_images, load_images

PLAIN = "plain"
# Shorter side that a photograph is scaled to before it is cut: objects then fill about as much of a crop as in Tiny-ImageNet.
SHORT_SIDE = 256
# Folder in the package, file. Only colour photographs; the packages state the licence of each.
_KNOWN = {
    "skimage": (
        "data",
        "astronaut.png chelsea.png coffee.png rocket.jpg motorcycle_left.png retina.jpg hubble_deep_field.jpg ihc.png",
    ),
    "sklearn": ("datasets/images", "china.jpg flower.jpg"),
    "matplotlib": ("mpl-data/sample_data", "grace_hopper.jpg"),
}


def package_pictures() -> list[Path]:
    """Photographs of scikit-image, scikit-learn and matplotlib that are installed here, in a fixed order."""
    found = []
    for package, (folder, names) in _KNOWN.items():
        spec = importlib.util.find_spec(package)
        places = (spec.submodule_search_locations or []) if spec else []
        found += [Path(place) / folder / name for name in names.split() for place in places]
    return [path for path in found if path.is_file()]


def photographs(short_side: int = SHORT_SIDE) -> list[tuple[str, NDArray[np.uint8]]]:
    """Name and pixels of the photographs that packages ship, with a shorter side of so many pixels; ImportError without any."""
    from PIL import Image

    paths = package_pictures()
    if not any({"skimage", "sklearn"} & set(path.parts) for path in paths):
        raise ImportError("no photographs are installed: `pip install semrsm-bench[study]`, or give --images")
    result = []
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        scale = short_side / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        result.append((path.stem, np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)))
    return result


@dataclass(frozen=True)
class Pictures:
    """Pixels (N, size, size, 3) with ids and labels: class of a user's image (-1: none), number of a crop's photograph.

    ``shareable``: the pictures may be shown in the project's docs, which those of packages alone may be.
    """

    pixels: NDArray[np.uint8]
    ids: list[str]
    labels: NDArray[np.int64]
    shareable: bool


def read_pictures(
    images: Sequence[Path] = (),
    *,
    count: int,
    size: int = 64,
    seed: int = 0,
    classes: Path | None = None,
    fewer: bool = False,
    short_side: int = SHORT_SIDE,
) -> Pictures:
    """Pictures of a user (see `find_images`), or crops of `photographs` on a grid that does not overlap.

    ``count`` of them, spread over the classes or photographs, with a side of ``size`` pixels; ``fewer``: all, where there are not
    so many. ``short_side`` is that of the photographs that crops are cut from.
    """
    if images:
        found = find_images(images, classes)
        chosen = [found[i] for i in choose_images(found, min(count, len(found)) if fewer else count, seed)]
        labels = np.array([image.label for image in chosen], dtype=np.int64)
        names = [image.name for image in chosen]
        return Pictures(load_images(chosen, size), names, labels, shareable=False)
    known = photographs(short_side)
    corners = []
    for label, (_, pixels) in enumerate(known):
        tops, lefts = (range(0, side - size + 1, size) for side in pixels.shape[:2])
        places = [(label, top, left) for top in tops for left in lefts]
        corners.append([places[k] for k in np.random.default_rng([seed, label]).permutation(len(places))])
    available = sum(map(len, corners))
    count = min(count, available) if fewer else count
    if not 1 <= count <= available:
        raise ValueError(f"asked for {count} crops of {size} pixels; the installed photographs give {available}")
    # First one crop of every photograph, then a second, and so on.
    ranked = [corner for corner in chain(*zip_longest(*corners)) if corner is not None]
    crops = sorted(ranked[:count], key=lambda corner: corner[0])
    return Pictures(
        np.stack([known[label][1][top : top + size, left : left + size] for label, top, left in crops]),
        [f"{known[label][0]}@{top},{left}" for label, top, left in crops],
        np.array([label for label, *_ in crops], dtype=np.int64),
        shareable=True,
    )


def usual_shift(size: int) -> tuple[int, int]:
    """Down by 5/16 of the crop's side, the paper's 20 of 64 pixels, and not to the right."""
    return max(1, round(5 * size / 16)), 0


def scene_side(size: int, shifts: Sequence[tuple[int, int]]) -> int:
    """Side of the pictures that crops of that side are cut from, enough for every shift (down, right); the crops must overlap."""
    if wrong := next((shift for shift in shifts if min(shift) < 0 or max(shift) == 0), None):
        raise ValueError(f"a shift goes down, to the right or both, got {wrong[0]}x{wrong[1]}")
    furthest = max(map(max, shifts))
    if furthest >= size:
        raise ValueError(f"crops of {size} pixels with a shift of {furthest} pixels do not overlap")
    return size + furthest


def overlapping_crops(scenes: NDArray[np.uint8], size: int, shift: tuple[int, int]) -> NDArray[np.uint8]:
    """The upper left crops of all pictures (N, H, W, 3), then those shifted (down, right): (2 N, size, size, 3)."""
    down, right = shift
    return np.concatenate([scenes[:, :size, :size], scenes[:, down : down + size, right : right + size]])


def changed_pictures(pixels: NDArray[np.uint8], change: str, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures (N, H, W, 3) after a change: "plain", "shift-M", "flip" (left to right) or "noise".

    A shift moves every picture by M pixels along both axes, the four directions drawn for each picture; what comes in at the
    border is the picture's mirror image. Noise is Gaussian, of a tenth of the range. What a picture gets depends on the seed and
    its place among the N alone. ValueError: there is no such change, or a shift is not smaller than the pictures.
    """
    word, _, pixel = change.partition("-")
    rng = np.random.default_rng([seed, *change.encode()])
    if change == PLAIN:
        return pixels
    if change == "flip":
        return np.ascontiguousarray(pixels[:, :, ::-1])
    if change == "noise":
        noisy = pixels + rng.normal(0.0, 0.1 * 255, pixels.shape)
        return np.asarray(noisy.round().clip(0, 255), dtype=np.uint8)
    if word != "shift" or not pixel.isdecimal() or not 0 < int(pixel) < min(pixels.shape[1:3]):
        raise ValueError(f"{change!r} is no change of these pictures; there are plain, shift-PIXELS, flip and noise")
    moves = int(pixel) * rng.choice([-1, 1], (len(pixels), 2))
    padded = np.pad(pixels, ((0, 0), *2 * [(int(pixel),) * 2], (0, 0)), mode="reflect")
    corners = int(pixel) + moves
    height, width = pixels.shape[1:3]
    return np.stack([one[top : top + height, left : left + width] for one, (top, left) in zip(padded, corners)])


def drawn_pictures(count: int, size: int) -> dict[str, NDArray[np.uint8]]:
    """Pictures (size, size, 3) with large equal parts, by name: letterboxes, text, silhouettes and half black ones in turn."""
    found = {}
    across = np.arange(size)
    for number in range(count):
        kind = ("letterbox", "text", "silhouette", "half-black")[number % 4]
        rng = np.random.default_rng([number, size])
        # Something to see: noise of large and small grain.
        grain = rng.integers(0, 256, (size // 8 + 1, size // 8 + 1, 3)).repeat(8, axis=0).repeat(8, axis=1)
        picture = (grain[:size, :size] + rng.integers(-30, 31, (size, size, 3))).clip(0, 255)
        if kind == "letterbox":
            bar = size // int(rng.integers(4, 7))
            picture[:bar] = picture[size - bar :] = 0
        elif kind == "half-black":
            picture[:, : size // 2] = 0
        elif kind == "silhouette":
            height, width, radius = rng.uniform([0.35, 0.35, 0.2], [0.65, 0.65, 0.3]) * size
            inside = (across[:, None] - height) ** 2 + (across - width) ** 2 < radius**2
            inside |= (abs(across - width) < radius / 2) & (across[:, None] > height)
            picture[:] = np.where(inside[..., None], 0, 255)
        else:
            ink = rng.random((size, size)) < 0.5
            lines = (across % 6 < 3) & (across > size // 10) & (across < size - size // 10)
            words = rng.random(size // 3 + 1).repeat(3)[:size] < 0.7
            picture[:] = np.where((ink & lines[:, None] & words)[..., None], 0, 255)
        found[f"{kind}-{number}"] = picture.astype(np.uint8)
    return found


def batches(labels: NDArray[np.int64], size: int, seed: int = 0) -> list[NDArray[np.intp]]:
    """Pictures in batches of equal size, in seeded order, with as few of one label together as a single pass achieves.

    ``labels`` (N,) are classes or photographs; -1 stands for an unknown one, which is like no other.
    """
    if len(labels) % size:
        raise ValueError(f"{len(labels)} pictures do not make batches of {size}; take a multiple, or another --batch")
    found: list[list[int]] = [[] for _ in range(len(labels) // size)]
    for picture in np.random.default_rng(seed).permutation(len(labels)).tolist():

        def crowding(batch: list[int], label: int = labels[picture]) -> tuple[int, int]:
            return 0 if label < 0 else int((labels[batch] == label).sum()), len(batch)

        # The emptiest among the batches with the fewest of this label: filling one after the other would leave equals for the last.
        min((batch for batch in found if len(batch) < size), key=crowding).append(picture)
    return [np.array(batch, dtype=np.intp) for batch in found]
