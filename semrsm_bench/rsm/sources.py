"""Where the images of an RSM come from: arrays, memory-mapped files, tensors, a layer of a cache file.

A source reads a few images at a time, so that nothing larger than a block has to fit in memory, and travels between
processes as a path wherever there is a file behind it.
"""

from __future__ import annotations

import copy
import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.store import Cache, open_cache
from semrsm_bench.core.arrays import load_array, to_numpy

Layout = Literal["channels_first", "channels_last"]
ClassToken = Literal["keep", "drop"]
Floats = NDArray[np.floating[Any]]
Grid = tuple[int, int]

# Bytes read at once when a source is walked from end to end: few enough that the next chunk gets the memory of the last.
_CHUNK_BYTES = 2**21


class ImageSource(ABC):
    """N images of S position vectors with C channels each, read in slices."""

    name: str  #: used in messages
    count: int  #: N
    size: int  #: S
    channels: int  #: C
    grid: Grid | None  #: grid of the positions, (H, W), where it is known
    dtype: np.dtype[Any]  #: float32, or float64 for sources of that precision

    @abstractmethod
    def read(self, start: int, stop: int) -> Floats:
        """Images ``start:stop`` as a C-contiguous array (n, S, C), not to be written to."""

    def planes(self, start: int, stop: int) -> Floats:
        """Images ``start:stop`` as an array (n, C, S), in whichever order of memory takes no copy; not to be written to."""
        return self.read(start, stop).swapaxes(1, 2)

    @abstractmethod
    def portion(self, start: int, stop: int) -> ImageSource:
        """Images ``start:stop`` as another source."""

    def stored_mean(self) -> Floats | None:
        """Mean activation (S, C) that came with the data, or None where it has to be computed."""
        return None

    def stored_digest(self) -> str | None:
        """Digest of the content that came with the data, or None where it has to be computed."""
        return None

    def chunks(self, planes: bool = False) -> Iterator[tuple[int, Floats]]:
        """All images in order: pairs of the first index and an array of bounded size, (n, S, C) or as `planes` gives it."""
        step = max(1, _CHUNK_BYTES // (self.size * self.channels * self.dtype.itemsize))
        read = self.planes if planes else self.read
        for start in range(0, self.count, step):
            yield start, read(start, min(start + step, self.count))


class ArraySource(ImageSource):
    """Images in an array: in memory, or mapped from a file (then only the path travels between processes)."""

    def __init__(
        self,
        array: NDArray[Any],
        name: str,
        layout: Layout = "channels_first",
        class_token: ClassToken = "keep",
        grid: Grid | None = None,
    ) -> None:
        self.name, self.layout, self.class_token = name, layout, class_token
        shape = array.shape
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
        if len(shape) not in (3, 4):
            raise ValueError(f"{name} has shape {shape}; needed are (N, C, H, W), (N, C, S), or tokens (N, T, D)")
        spatial = shape[2:] if layout == "channels_first" else shape[1:-1]
        self.count, self.channels = int(shape[0]), int(shape[1] if layout == "channels_first" else shape[-1])
        self.size = int(np.prod(spatial)) - (class_token == "drop")
        if class_token == "drop" and (layout != "channels_last" or len(shape) != 3):
            raise ValueError(f'class_token="drop" is for (N, T, D) with layout="channels_last"; {name} is {shape}')
        if self.count == 0 or self.channels == 0 or self.size <= 0:
            raise ValueError(f"{name} is empty: its shape is {shape}")
        known = (int(spatial[0]), int(spatial[1])) if len(spatial) == 2 else None
        self.grid = _checked_grid(grid, known, self.size, name)
        narrow = np.result_type(array.dtype, np.float32) == np.float32
        self.dtype = np.dtype(np.float32 if narrow else np.float64)
        # A copy-on-write mapping may hold changes that its file does not.
        self._array = np.array(array) if isinstance(array, np.memmap) and array.mode == "c" else array
        self._map = _mapping(self._array)

    def read(self, start: int, stop: int) -> Floats:
        """See `ImageSource.read`."""
        part = self._array[start:stop]
        if self.layout == "channels_first":
            flat = part.reshape(len(part), self.channels, self.size).swapaxes(1, 2)
        else:
            flat = part.reshape(len(part), -1, self.channels)[:, -self.size :]
        return np.asarray(flat, dtype=self.dtype, order="C")

    def planes(self, start: int, stop: int) -> Floats:
        """See `ImageSource.planes`."""
        if self.layout != "channels_first":
            return super().planes(start, stop)
        part = self._array[start:stop]
        return np.asarray(part.reshape(len(part), self.channels, self.size), dtype=self.dtype)

    def portion(self, start: int, stop: int) -> ArraySource:
        """See `ImageSource.portion`."""
        grid = self.grid if self._array.ndim == 3 else None
        return ArraySource(self._array[start:stop], self.name, self.layout, self.class_token, grid)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_array" or self._map is None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._map is not None:
            self._array = self._map()


class CacheLayer(ImageSource):
    """A layer of a cache, or of its file; processes open the file themselves.

    ``images`` is a slice of the cache's images with step 1, by default all.
    """

    def __init__(self, cache: Cache | str | Path, layer: str, images: slice | None = None) -> None:
        self._cache: Cache | None = cache if isinstance(cache, Cache) else open_cache(cache)
        self._path = self._cache.path.resolve()
        self._sha256 = self._cache.sha256
        self.layer = layer
        total, self.channels, self.size = self._cache.shape(layer)
        self._start, stop, step = (images or slice(None)).indices(total)
        self.count = max(0, stop - self._start)
        self.name = f"{self._cache.name}:{layer}"
        if step != 1 or self.count == 0:
            raise ValueError(f"{self.name}: images must be a non-empty range of 0:{total} with step 1, got {images}")
        self.grid = self._cache.grid(layer)
        self.dtype = np.dtype(np.float32)

    def read(self, start: int, stop: int) -> Floats:
        """See `ImageSource.read`."""
        raw = self.cache.activations(self.layer, slice(self._start + start, self._start + stop))
        return np.ascontiguousarray(raw.swapaxes(1, 2), dtype=np.float32)

    def planes(self, start: int, stop: int) -> Floats:
        """See `ImageSource.planes`."""
        return self.cache.activations(self.layer, slice(self._start + start, self._start + stop)).astype(np.float32)

    def portion(self, start: int, stop: int) -> CacheLayer:
        """See `ImageSource.portion`."""
        return CacheLayer(self.cache, self.layer, slice(self._start + start, self._start + stop))

    @property
    def cache(self) -> Cache:
        """The open cache."""
        if self._cache is None:
            status = self._path.stat()
            self._cache = _opened(self._path, status.st_ino, status.st_mtime_ns, status.st_size)
            if self._cache.sha256 != self._sha256:
                raise ValueError(f"{self._path} is another file here than where the run was started")
        return self._cache

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of the images."""
        return np.asarray(self.cache.labels[self._start : self._start + self.count])

    def stored_mean(self) -> Floats | None:
        """Mean of the cache, transposed to (S, C)."""
        return np.ascontiguousarray(self.cache.mean(self.layer).T)

    def stored_digest(self) -> str | None:
        """Digest of the file, the layer and the images."""
        text = f"{self._sha256} {self.layer} {self._start}:{self._start + self.count}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}


def as_source(
    z: Any,
    name: str = "z",
    *,
    layout: Layout = "channels_first",
    class_token: ClassToken = "keep",
    grid: Grid | None = None,
) -> ImageSource:
    """Source for whatever holds activations: see `compute_rsm` for z and the keywords; ``name`` is for messages."""
    if isinstance(z, ImageSource):
        source: ImageSource = copy.copy(z)
        source.grid = _checked_grid(grid, z.grid, z.size, z.name)
        return source
    if isinstance(z, Cache):
        raise ValueError(f"name the layer: CacheLayer(cache, {z.layers[0]!r})")
    if not isinstance(z, str | Path):
        return ArraySource(to_numpy(z, name), name, layout, class_token, grid)
    path = Path(z)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        array = load_array(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not an .npy file of numbers: {error}") from None
    return ArraySource(array, path.name, layout, class_token, grid)


def _checked_grid(grid: Grid | None, known: Grid | None, size: int, name: str) -> Grid | None:
    if grid is None:
        return known
    if len(grid) != 2 or grid[0] * grid[1] != size:
        raise ValueError(f"grid {tuple(grid)} does not hold the {size} positions of {name}")
    if known is not None and tuple(grid) != known:
        raise ValueError(f"grid {tuple(grid)} contradicts {name}, whose positions lie on {known}")
    return int(grid[0]), int(grid[1])


def _mapping(array: NDArray[Any]) -> Callable[[], NDArray[Any]] | None:
    """What maps the file behind a C-contiguous memory-mapped array again, in any process; None for an array in memory."""
    if not isinstance(array, np.memmap) or not array.flags.c_contiguous or array.filename is None:
        return None
    # A slice of a memmap keeps the attributes of the whole; its true place in the file follows from the addresses.
    root: Any = array
    while isinstance(root.base, np.memmap):
        root = root.base
    offset = int(root.offset) + array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return functools.partial(np.memmap, Path(root.filename).resolve(), array.dtype, "r", offset, array.shape)


@functools.lru_cache(maxsize=4)
def _opened(path: Path, *version: int) -> Cache:
    """The cache, opened once in this process for every version of its file: a worker may outlive several."""
    return open_cache(path)
