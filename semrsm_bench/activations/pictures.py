"""Pictures for everything that must run without a data set: photographs that installed packages ship, or the user's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.images import find_images, load_images

# Shorter side that a photograph is scaled to before it is cut: objects then fill about as much of a crop as in Tiny-ImageNet.
_SHORT_SIDE = 256
# Package, folder inside it, file. Only colour photographs; the packages state the licence of each.
_KNOWN = (
    ("skimage", "data", "astronaut.png"),
    ("skimage", "data", "chelsea.png"),
    ("skimage", "data", "coffee.png"),
    ("skimage", "data", "rocket.jpg"),
    ("skimage", "data", "motorcycle_left.png"),
    ("skimage", "data", "retina.jpg"),
    ("skimage", "data", "hubble_deep_field.jpg"),
    ("skimage", "data", "ihc.png"),
    ("sklearn", "datasets/images", "china.jpg"),
    ("sklearn", "datasets/images", "flower.jpg"),
    ("matplotlib", "mpl-data/sample_data", "grace_hopper.jpg"),
)


def package_pictures() -> list[Path]:
    """Photographs of scikit-image, scikit-learn and matplotlib that are installed here, in a fixed order."""
    found = []
    for package, folder, name in _KNOWN:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            path = Path(place) / folder / name
            if path.is_file():
                found.append(path)
    return found


@dataclass(frozen=True)
class Pictures:
    """Pixels with what is known of them.

    Attributes
    ----------
    pixels : ndarray, (N, size, size, 3), uint8
    labels : ndarray, (N,), int64
        Class of a user's image (-1: none); number of the photograph a crop comes from.
    source : str
        Where they come from, in words.
    shareable : bool
        Whether the pictures themselves may be shown in the project's own docs: those of packages only.
    """

    pixels: NDArray[np.uint8]
    ids: list[str]
    labels: NDArray[np.int64]
    source: str
    shareable: bool

    def __len__(self) -> int:
        return len(self.ids)

    def provenance(self) -> dict[str, Any]:
        """Source, number and size, JSON-ready."""
        return {"source": self.source, "count": len(self), "size": int(self.pixels.shape[1])}


def read_pictures(
    images: Sequence[Path] = (), *, count: int, size: int = 64, seed: int = 0, classes: Path | None = None
) -> Pictures:
    """The user's pictures, or crops of the photographs that packages ship.

    Parameters
    ----------
    images : sequence of Path
        Folders, zip archives or files; without any, crops of the photographs.
    count, size : int
        How many, spread over the classes (or photographs); side in pixels.
    classes : Path, optional
        Class directories in label order, one a line.

    Raises
    ------
    ValueError
        There are not that many pictures, or classes were given without images.
    ImportError
        No package with photographs is installed.
    """
    if classes and not images:
        raise ValueError("--classes names the directories of your own images: give --images too, or leave it out")
    if images:
        from semrsm_bench.activations.extract import choose_images  # brings torch

        found = find_images(images, classes)
        chosen = [found[i] for i in choose_images(found, count, seed)]
        return Pictures(
            load_images(chosen, size, quiet=True),
            [image.id for image in chosen],
            np.array([image.label for image in chosen], dtype=np.int64),
            " ".join(path.name for path in images),
            shareable=False,
        )
    return _package_crops(count, size, seed)


def photographs() -> list[tuple[str, NDArray[np.uint8]]]:
    """Name and pixels of the photographs that packages ship, with a shorter side of 256 pixels; ImportError without any."""
    from PIL import Image

    paths = package_pictures()
    if not any({"skimage", "sklearn"} & set(path.parts) for path in paths):
        raise ImportError(
            "the default pictures come from scikit-image and scikit-learn: `pip install semrsm-bench[study]`, or give --images"
        )
    result = []
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        scale = _SHORT_SIDE / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        result.append((path.stem, np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)))
    return result


def _package_crops(count: int, size: int, seed: int) -> Pictures:
    """Crops on a grid that does not overlap, one of every photograph in turn, in seeded order."""
    queues = []
    for label, (name, pixels) in enumerate(photographs()):
        places = [
            (top, left)
            for top in range(0, pixels.shape[0] - size + 1, size)
            for left in range(0, pixels.shape[1] - size + 1, size)
        ]
        order = np.random.default_rng([seed, label]).permutation(len(places))
        queues.append([(label, name, pixels, *places[k]) for k in order])
    available = sum(map(len, queues))
    if not 1 <= count <= available:
        raise ValueError(f"asked for {count} crops of {size} pixels; the installed photographs give {available}")
    turns = [crop for turn in range(max(map(len, queues))) for queue in queues for crop in queue[turn : turn + 1]]
    chosen = sorted(turns[:count], key=lambda crop: crop[0])
    return Pictures(
        np.stack([pixels[top : top + size, left : left + size] for _, _, pixels, top, left in chosen]),
        [f"{name}@{top},{left}" for _, name, _, top, left in chosen],
        np.array([label for label, *_ in chosen], dtype=np.int64),
        "crops of photographs shipped by scikit-image, scikit-learn and matplotlib",
        shareable=True,
    )
