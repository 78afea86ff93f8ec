"""Arrays of the same items given as files, such as image and text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rows of a file that are looked through at once, so that it need not fit into memory.
_ROWS = 4096


def read_paired(paths: Sequence[Path], ids: Path | None = None) -> tuple[list[NDArray[Any]], list[str]]:
    """Open arrays of the same items, and the names of these.

    Parameters
    ----------
    paths : sequence of Path
        At least two ``.npy`` files of shape (n, d_k), mapped, not read.
    ids : Path, optional
        Text file with one name a line; without it items are numbered from 0.

    Raises
    ------
    ValueError
        Fewer than two files, another suffix, no array of real numbers with two axes, NaN or infinity, an array that is the
        same for all items, different n, or ids that do not fit. The message names the file.
    FileNotFoundError
    """
    if len(paths) < 2:
        raise ValueError(f"--features needs at least two files, whose rows are the same items; got {len(paths)}")
    arrays = [_open(path) for path in paths]
    if len({len(array) for array in arrays}) > 1:
        counts = ", ".join(f"{path.name} {len(array)}" for path, array in zip(paths, arrays, strict=True))
        raise ValueError(f"the files must hold the same items in the same order, but their rows differ: {counts}")
    count = len(arrays[0])
    if ids is None:
        return arrays, [str(i) for i in range(count)]
    names = ids.read_text(encoding="utf-8").splitlines()
    if len(names) != count:
        raise ValueError(f"{ids.name} has {len(names)} lines, but the arrays have {count} rows")
    return arrays, names


def _open(path: Path) -> NDArray[Any]:
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path}: features are read from .npy files; write them with numpy.save")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable array ({error})") from None
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: needed is an array (n, d) of real numbers, this one is {array.shape} {array.dtype}")
    if not array.size:
        raise ValueError(f"{path}: the array is empty, {array.shape}")
    differs = False
    for start in range(0, len(array), _ROWS):
        part = np.asarray(array[start : start + _ROWS])
        if array.dtype.kind == "f" and not np.isfinite(part).all():
            row, column = (int(k) for k in np.argwhere(~np.isfinite(part))[0])
            raise ValueError(
                f"{path}: row {start + row}, column {column} is {part[row, column]}; drop that item from all files"
            )
        differs = differs or bool((part != array[0]).any())
    if not differs:
        raise ValueError(f"{path}: all rows are the same, so there is nothing to align")
    return array
