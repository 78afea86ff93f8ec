"""Arrays that live in files: mapped, not loaded, and known in other processes by their path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray


def map_npy(path: Path) -> NDArray[Any]:
    """Array of an .npy file, mapped and not loaded; FileNotFoundError or ValueError where it is none of numbers."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not an .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} holds several arrays; an RSM is made of one .npy")
    return array


@dataclass(frozen=True)
class MappedFile:
    """A C-contiguous array in a file, from ``offset`` bytes on, as a few words that another process can open."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def open(self) -> NDArray[Any]:
        """Map the file again, for reading."""
        return np.memmap(self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.shape, order="C")


def _is_memmap(array: object) -> TypeGuard[np.memmap[Any, np.dtype[Any]]]:
    return isinstance(array, np.memmap)


def without_private_changes(array: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy of it in memory where it is mapped copy-on-write: its file does not hold what was changed."""
    return np.array(array) if _is_memmap(array) and array.mode == "c" else array


def mapped_file(array: NDArray[Any]) -> MappedFile | None:
    """The file behind a C-contiguous memory-mapped array, or None for an array in memory."""
    if not _is_memmap(array) or not array.flags.c_contiguous or array.filename is None:
        return None
    # A slice of a memmap keeps the attributes of the whole; its true place in the file follows from the addresses.
    root: np.memmap[Any, np.dtype[Any]] = array
    while _is_memmap(root.base):
        root = root.base
    shift = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    path = str(Path(str(root.filename)).resolve())
    return MappedFile(path, int(root.offset) + shift, array.shape, array.dtype)
