"""Where the images of an RSM come from: arrays, memory-mapped files, tensors, a layer of a cache file.

A source reads a few images at a time, so that nothing larger than a block has to fit in memory, and travels between
processes as a path wherever there is a file behind it.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.cache import Cache, Floats
from semrsm_bench.activations.layouts import Arrangement, Grid, Layout, LayoutWarning, arrange
from semrsm_bench.activations.store import open_cache
from semrsm_bench.core.arrays import load_array, to_numpy
from semrsm_bench.core.identity import ids_of

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
    ids: tuple[str, ...] | None = None  #: of the images, where they are known
    labels: NDArray[np.int64] | None = None  #: of the images, where they are known

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
        drop_tokens: int = 0,
        grid: Grid | None = None,
    ) -> None:
        self.name = name
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
        self._arranged = found = Arrangement.of(array.shape, name, layout, drop_tokens)
        self.count, self.channels, self.size = found.count, found.channels, found.size
        self.grid = _checked_grid(grid, found.grid, self.size, name)
        narrow = np.result_type(array.dtype, np.float32) == np.float32
        self.dtype = np.dtype(np.float32 if narrow else np.float64)
        # A copy-on-write mapping may hold changes that its file does not.
        self._array = np.array(array) if isinstance(array, np.memmap) and array.mode == "c" else array
        self._map = _mapping(self._array)

    def read(self, start: int, stop: int) -> Floats:
        """See `ImageSource.read`."""
        return np.asarray(self._arranged.positions(self._array[start:stop]), dtype=self.dtype, order="C")

    def planes(self, start: int, stop: int) -> Floats:
        """See `ImageSource.planes`."""
        if self._arranged.layout != "channels_first":
            return super().planes(start, stop)
        return np.asarray(self._arranged.planes(self._array[start:stop]), dtype=self.dtype)

    def portion(self, start: int, stop: int) -> ArraySource:
        """See `ImageSource.portion`."""
        grid = self.grid if self._array.ndim == 3 else None
        return ArraySource(self._array[start:stop], self.name, self._arranged.layout, self._arranged.drop, grid)

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
        open_again, (path, *how) = self._cache.__reduce__()
        self._path, self._reopen = path.resolve(), functools.partial(_opened, open_again, path.resolve(), *how)
        self._sha256 = self._cache.sha256
        self.layer = layer
        total, self.channels, self.size = self._cache.shape(layer)
        self._start, stop, step = (images or slice(None)).indices(total)
        self.count = max(0, stop - self._start)
        self.name = f"{self._cache.name}:{layer}"
        if step != 1 or self.count == 0:
            raise ValueError(f"{self.name}: images must be a non-empty range of 0:{total} with step 1, got {images}")
        self.grid = self._cache.grid(layer)
        self.dtype = self._cache.dtype(layer)

    def read(self, start: int, stop: int) -> Floats:
        """See `ImageSource.read`."""
        return np.ascontiguousarray(self._raw(start, stop).swapaxes(1, 2), dtype=self.dtype)

    def planes(self, start: int, stop: int) -> Floats:
        """See `ImageSource.planes`."""
        return self._raw(start, stop).astype(self.dtype, copy=False)

    def _raw(self, start: int, stop: int) -> NDArray[Any]:
        return self.cache.activations(self.layer, slice(self._start + start, self._start + stop))

    def portion(self, start: int, stop: int) -> CacheLayer:
        """See `ImageSource.portion`."""
        return CacheLayer(self.cache, self.layer, slice(self._start + start, self._start + stop))

    @property
    def cache(self) -> Cache:
        """The open cache."""
        if self._cache is None:
            status = self._path.stat()
            self._cache = self._reopen(version=(status.st_ino, status.st_mtime_ns, status.st_size))
            if self._cache.sha256 != self._sha256:
                raise ValueError(f"{self._path} is another file here than where the run was started")
        return self._cache

    @property
    def labels(self) -> NDArray[np.int64]:  # type: ignore[override]
        """Labels of the images."""
        return np.asarray(self.cache.labels[self._start : self._start + self.count])

    @property
    def ids(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """Ids of the images, None where the file names none."""
        return tuple(self.cache.images[self._start : self._start + self.count]) if self.cache.has_ids else None

    def stored_mean(self) -> Floats | None:
        """Mean of the cache, transposed to (S, C)."""
        mean = self.cache.stored_mean(self.layer)
        return None if mean is None else np.ascontiguousarray(mean.T)

    def stored_digest(self) -> str | None:
        """Digest of the file, the layer and the images."""
        text = f"{self._sha256} {self.layer} {self._start}:{self._start + self.count}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __copy__(self) -> CacheLayer:
        return self.portion(0, self.count)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}


def as_source(
    z: Any,
    name: str = "z",
    *,
    layout: Layout | None = None,
    drop_tokens: int | None = None,
    grid: Grid | None = None,
) -> ImageSource:
    """Source for whatever holds activations: see `compute_rsm` for z and the keywords; ``name`` is for messages.

    Where the layout of an array was not said and its shape speaks against the default, it warns (`LayoutWarning`).
    """
    if isinstance(z, Cache):
        raise ValueError(f"name the layer: CacheLayer(cache, {z.layers[0]!r})")
    if isinstance(z, str | Path):
        path = Path(z)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file")
        if path.suffix == ".npy":
            z, name = _mapped(path), path.name
        else:
            z = _only_layer(path, layout, drop_tokens)
    if isinstance(z, ImageSource):
        source: ImageSource = copy.copy(z)
        source.grid = _checked_grid(grid, z.grid, z.size, z.name)
        return source
    _require_one_array(z, name, layout)
    array = to_numpy(z, name)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
    found = arrange(array, name, layout, drop_tokens, grid)
    given = ArraySource(array, name, found.layout, found.drop, grid)
    given.ids = ids_of(z)
    return given


def _mapped(path: Path) -> NDArray[Any]:
    try:
        return load_array(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not an .npy file of numbers: {error}") from None


def _only_layer(path: Path, layout: Layout | None, drop_tokens: int | None) -> CacheLayer:
    cache = open_cache(path, layout, drop_tokens)
    if len(cache.layers) > 1:
        raise ValueError(
            f"{path} holds the layers {', '.join(cache.layers)}: name one, CacheLayer(path, {cache.layers[0]!r})"
        )
    return CacheLayer(cache, cache.layers[0])


def _require_one_array(z: Any, name: str, layout: Layout | None) -> None:
    """ValueError for a model's whole output; a warning for a list that may be one."""
    if isinstance(z, Mapping):
        raise ValueError(
            f"{name} is a mapping with {', '.join(map(repr, z))}: give one of them, {name}[{next(iter(z), 0)!r}]"
        )
    if not isinstance(z, list | tuple) or not z or not all(len(getattr(one, "shape", ())) >= 2 for one in z):
        return
    shapes = list(dict.fromkeys(tuple(one.shape) for one in z))
    what = f"{name} is a {type(z).__name__} of {len(z)} arrays of shape {' and '.join(map(str, shapes[:2]))}"
    if isinstance(z, tuple) or len(shapes) > 1:
        several = "" if len(shapes) == 1 else ", which make no rectangular array"
        say = f"give one of them, {name}[-1]; images of one shape are stacked by np.stack({name})"
        raise ValueError(f"{what}{several}. If these are hidden states of a network, {say}")
    if layout is None and len(shapes[0]) == 3 and shapes[0][1] != shapes[0][2]:
        say = f'which was read as {len(z)} images; if they are hidden states, give one of them; else say layout="channels_first"'
        warnings.warn(f"{what}, {say}", LayoutWarning, stacklevel=4)


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
def _opened(kind: Callable[..., Cache], path: Path, *how: Any, version: tuple[int, ...]) -> Cache:
    """The cache, opened once in this process for every version of its file: a worker may outlive several."""
    return kind(path, *how)
