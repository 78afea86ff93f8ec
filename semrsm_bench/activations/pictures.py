"""Photographs that installed packages ship, for everything that must run without a data set."""

from __future__ import annotations

import importlib.util
from pathlib import Path

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
