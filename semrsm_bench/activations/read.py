"""Arrays from files of other libraries, under their names: NumPy, torch, safetensors, HDF5, Zarr."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.folders import CacheError
from semrsm_bench.activations.kinds import HDF5, NPY, NPZ, READABLE, SAFETENSORS, TORCH, ZARR, what_is
from semrsm_bench.core.arrays import PICKLED, load_array, to_numpy

_SAFE = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
_SAFE |= {f"{sign}{bits}": f"<{sign.lower()}{bits // 8}" for sign in "IU" for bits in (16, 32, 64)}


class Stored(NamedTuple):
    """An array that is read, or mapped, when it is wanted."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], NDArray[Any]]


def read_arrays(path: Path) -> dict[str, Stored]:
    """The arrays of a file by name, "" for one without a name; CacheError says what the file is where it holds none.

    What a file is, its content says, not its suffix. Arrays are memory-mapped but for those that are compressed, in chunks, or
    bfloat16, which become float32. Pickles are not run.
    """
    kind = what_is(path)
    if kind not in _READERS:
        raise CacheError(f"{path} is {kind}; activations are read from {READABLE}")
    try:
        found = dict(_READERS[kind](path))
    except CacheError:
        raise
    except Exception as error:  # whatever a library raises for a file that is cut off or damaged
        raise CacheError(
            f"{path} is {kind} that cannot be read ({_first_line(error)}); write or copy it again"
        ) from None
    if not found:
        raise CacheError(f"{path} is {kind} without an array in it")
    return found


def _npy(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        array = load_array(path, mmap_mode="r")
    except ValueError as error:
        if PICKLED in str(error):
            raise CacheError(f"{path}: {error}") from None
        raise
    yield "", Stored(array.shape, array.dtype, lambda: array)


def _npz(path: Path) -> Iterator[tuple[str, Stored]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(file)
                begin = file.tell()
            if dtype.hasobject:
                raise CacheError(f"{path}: {entry.filename} is {PICKLED}")
            load = partial(_member, path, entry.filename)
            if entry.compress_type == zipfile.ZIP_STORED:
                load = partial(_mapped_member, path, entry.header_offset, begin, shape, fortran, dtype)
            yield entry.filename.removesuffix(".npy"), Stored(shape, dtype, load)


def _member(path: Path, name: str) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _mapped_member(path: Path, header: int, begin: int, shape: Any, fortran: bool, dtype: Any) -> NDArray[Any]:
    with path.open("rb") as file:
        file.seek(header + 26)
        # Lengths of the member's name and of its extra field, which its header ends with.
        name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return _mapped(path, header + 30 + name + extra + begin, shape, dtype, "F" if fortran else "C")


def _mapped(path: Path, offset: int, shape: tuple[int, ...], dtype: Any, order: Any = "C") -> NDArray[Any]:
    if not math.prod(shape):
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, order)


def _safetensors(path: Path) -> Iterator[tuple[str, Stored]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length)
    size = path.stat().st_size
    if len(text) < length:
        raise ValueError(f"it ends within its header, after {size:,} bytes")
    for name, entry in json.loads(text).items():
        if name == "__metadata__":
            continue
        shape, (begin, end), kind = tuple(entry["shape"]), entry["data_offsets"], entry["dtype"]
        if 8 + length + end > size:
            raise ValueError(f"it is cut off: {size:,} bytes instead of {8 + length + end:,}")
        wide = kind == "BF16"
        if not wide and kind not in _SAFE:
            raise CacheError(f"{path}: {name} is of type {kind}, which NumPy has not; store it as float16 or float32")
        dtype = np.dtype("<u2" if wide else _SAFE[kind])
        load = partial(_mapped, path, 8 + length + begin, shape, dtype)
        yield name, Stored(shape, np.dtype(np.float32), partial(_widened, load)) if wide else Stored(shape, dtype, load)


def _widened(load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Float32 of the bits of bfloat16."""
    return (load().astype(np.uint32) << 16).view(np.float32)


def _torch(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        import torch
    except ImportError:
        raise CacheError(f"{path} is {TORCH}, which torch reads: `pip install 'semrsm-bench[torch]'`") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        if "weights_only" not in str(error):
            raise
        remedy = "save a tensor or a dict of tensors, torch.save({'layer1': z}, path)"
        network = "; of a network, `semrsm-bench data extract --model` makes activations"
        raise CacheError(f"{path} holds {pickled_in(error)}: {remedy}{network}") from None
    if isinstance(content, torch.Tensor):
        content = {"": content}
    if not isinstance(content, Mapping):
        many = f" of {len(content)}" if isinstance(content, tuple | list) else ""
        what = f"holds a {type(content).__name__}{many}"
        raise CacheError(f"{path} {what}; needed is a tensor or a dict of tensors: name what is in it, {{'layer1': z}}")
    for name, value in content.items():
        if isinstance(value, list | tuple) and name in ("ids", "images"):
            value = np.array([str(one) for one in value])
        elif isinstance(value, list | tuple) and name == "labels":
            value = np.array(value)
        if not isinstance(value, torch.Tensor | np.ndarray):
            nested = " with weights" if isinstance(value, Mapping) and any(map(torch.is_tensor, value.values())) else ""
            what = f"{name!r} is a {type(value).__name__}{nested}, not a tensor"
            raise CacheError(f"{path}: {what}; needed is a tensor or a dict of tensors, layer by layer")
        array = to_numpy(value, str(name))
        yield str(name), Stored(array.shape, array.dtype, partial(np.asarray, array))


def pickled_in(error: Exception) -> str:
    """What torch found in a file beside tensors and did not open, in words."""
    kind = re.search(r"GLOBAL ([\w.]+)", str(error))
    named = f" ({kind[1]})" if kind else ""
    return f"a pickled Python object{named}, which may run code and is not opened"


def _hdf5(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError:
        raise CacheError(f"{path} is {HDF5}, which h5py reads, not installed here: `pip install h5py`") from None

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            data = file[name]
            dtype, offset = data.dtype, data.id.get_offset()
            text = h5py.check_string_dtype(dtype) is not None
            if offset is not None and not text:
                load = partial(_mapped, path, offset, data.shape, dtype)
            else:
                load = partial(_hdf5_member, path, name, text)
            yield name, Stored(data.shape, np.dtype(str) if text else dtype, load)


def _hdf5_member(path: Path, name: str, text: bool) -> NDArray[Any]:
    import h5py

    with h5py.File(path, "r") as file:
        return np.asarray((file[name].asstr() if text else file[name])[()])


def _zarr(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        import zarr  # type: ignore[import-not-found]
    except ImportError:
        raise CacheError(f"{path} is {ZARR}, which zarr reads, not installed here: `pip install zarr`") from None
    store: Any = zarr.open(str(path), mode="r")
    arrays = {"": store} if hasattr(store, "dtype") else dict(store.arrays())
    for name, array in arrays.items():
        yield name, Stored(tuple(array.shape), np.dtype(array.dtype), partial(_zarr_member, array))


def _zarr_member(array: Any) -> NDArray[Any]:
    return np.asarray(array[...])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Stored]]]] = {
    NPY: _npy, NPZ: _npz, TORCH: _torch, SAFETENSORS: _safetensors, HDF5: _hdf5, ZARR: _zarr,
}  # fmt: skip
