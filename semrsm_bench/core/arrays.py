"""Arrays as users give them."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

PICKLED = (
    "a pickled array of objects, which may run code and is not opened: give it a dtype of numbers, or of text as ids, with "
    "np.array(..., dtype=...)"
)
_MAGIC = b"\x93NUMPY"


def load_array(path: str | Path, mmap_mode: Literal["r"] | None = None) -> NDArray[Any]:
    """Array of an .npy file of the user's, never of a pickle; ValueError, which does not name the file, for any other content."""
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            several = "an .npz archive of several arrays" if zipfile.is_zipfile(path) else "no .npy file"
            raise ValueError(f"it is {several}; numpy.save writes one array")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"it is {PICKLED}" if "object" in str(error).lower() else str(error)) from None
    return array


def load_archive(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Names and arrays of an .npz file of the user's, in its order; ValueError, as of `load_array`, for any other content."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            one = "one array without a name (.npy)" if file.read(len(_MAGIC)) == _MAGIC else "no .npz archive"
        raise ValueError(f"it is {one}; numpy.savez makes an archive of arrays with names")
    with np.load(path, allow_pickle=False) as content:
        for name, count in Counter(content.files).items():
            if count > 1:
                raise ValueError(f"{name!r} is there {count} times")
            yield name, content[name]


def to_numpy(value: Any, name: str) -> NDArray[Any]:
    """NumPy array of an array, nested lists, or a torch tensor on any device, with or without gradient.

    Nothing is copied that NumPy can use as it is; a memory-mapped array stays one; bfloat16, which NumPy lacks, becomes
    float32. torch is never imported. ValueError: masked entries, or lists that are no rectangle, in ``name``.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    if np.ma.isMaskedArray(value) and np.ma.getmaskarray(value).any():
        raise ValueError(f"{name} has masked entries; leave those images out on all sides first")
    try:
        return np.asanyarray(value) if isinstance(value, np.memmap) else np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None
