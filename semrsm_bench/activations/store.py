"""Caches of activations: one safetensors file each, a manifest beside them, read lazily and checked once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from semrsm_bench.activations.cache import Cache, Floats
from semrsm_bench.activations.folders import (
    FORMAT,
    MANIFEST,
    CacheError,
    atomic_write,
    check_file,
    find_data,
    list_caches,
    own_files,
    read_manifest,
    repair,
    update_manifest,
)
from semrsm_bench.activations.layouts import Layout, arrange, square_grid
from semrsm_bench.activations.own import class_labels, open_own, open_own_folder, verify_own_folder
from semrsm_bench.core.arrays import to_numpy
from semrsm_bench.core.identity import checked_ids, ids_of, require_same_ids

# Float16 has full precision from here on.
_SMALLEST_FLOAT16 = 2.0**-14


class CacheFile(Cache):
    """A cache as this package writes it; images are read one slice at a time.

    ``metadata`` is the provenance: model, weights_sha256, dataset, images, preprocessing, torch, command, layers, mean_images.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self.sha256 = check_file(path)
        try:
            self._file: Any = safe_open(path, framework="np")
        except (SafetensorError, OSError) as error:
            raise CacheError(f"{path} is not a readable safetensors file ({error}); {repair(path)}") from None
        raw = self._file.metadata() or {}
        if raw.get("format") != FORMAT:
            raise CacheError(f"{path} is not a cache of activations (format {raw.get('format')!r}); {repair(path)}")
        self.metadata: dict[str, Any] = {k: json.loads(v) for k, v in raw.items() if k != "format"}
        self.layers: list[str] = list(self.metadata["layers"])
        self.images: list[str] = list(self.metadata["images"])
        self.has_ids = self.metadata.get("ids") != "numbers"
        names, expected = set(self._file.keys()), {"labels", "logits"}
        expected |= {name for layer in self.layers for name in (layer, f"{layer}.mean")}
        if names != expected:
            odd = ", ".join(sorted(names ^ expected))
            raise CacheError(f"{path}: tensors missing or unexpected: {odd}; {repair(path)}")
        self._shapes: dict[str, tuple[int, int, int]] = {}
        for layer in self.layers:
            shape, mean = (tuple(self._file.get_slice(name).get_shape()) for name in (layer, f"{layer}.mean"))
            if len(shape) != 3 or shape[0] != len(self.images) or mean != shape[1:]:
                what = f"{layer} has shape {shape} and mean {mean} for {len(self.images)} images"
                raise CacheError(f"{path}: {what}; {repair(path)}")
            self._shapes[layer] = shape
        self.labels: NDArray[np.int64] = self._file.get_tensor("labels")
        self.logits: NDArray[np.float32] = self._file.get_tensor("logits")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    def grid(self, layer: str) -> tuple[int, int] | None:
        """(H, W) of a layer's positions, or None where they do not form a grid."""
        self.shape(layer)
        grid = self.metadata["layers"][layer].get("grid")
        return (grid[0], grid[1]) if grid else None

    def dtype(self, layer: str) -> np.dtype[Any]:
        """See `Cache`."""
        return np.dtype(np.float32)

    def mean(self, layer: str) -> Floats:
        """Mean activation (C, S) over the images that `metadata` counts in ``mean_images``."""
        self.shape(layer)
        mean: NDArray[np.float32] = self._file.get_tensor(f"{layer}.mean")
        return mean

    def stored_mean(self, layer: str) -> Floats:
        """See `Cache`."""
        return self.mean(layer)

    def _planes(self, layer: str, start: int, stop: int) -> NDArray[np.float16]:
        part: NDArray[np.float16] = self._file.get_slice(layer)[start:stop]
        return part


def open_cache(path: str | Path, layout: Layout | None = None, drop_tokens: int | None = None) -> Cache:
    """Open a cache or a file of arrays (see `open_own`), or the only one of a folder; CacheError says what is wrong with it."""
    path = Path(path)
    if path.is_dir() and own_files(path) != [path]:
        caches = open_caches(path, layout, drop_tokens) if own_files(path) else list_caches(path)
        if len(caches) != 1:
            names = ", ".join(getattr(p, "path", p).name for p in caches) or "none"
            raise CacheError(f"{path} holds {len(caches)} caches ({names}): name the file")
        if isinstance(caches[0], Cache):
            return caches[0]
        path = caches[0]
    if not _is_cache(path):
        return open_own(path, layout, drop_tokens)
    if layout is not None or drop_tokens is not None:
        raise ValueError(f"{path} is a cache, which says how it is laid out: leave out layout and drop_tokens")
    return CacheFile(path)


def _is_cache(path: Path) -> bool:
    """Whether a file is, or should be, a cache of this package; CacheError where it is missing or not what the manifest says."""
    if path.is_dir():
        return False
    entry = read_manifest(path.parent).get(path.name, {})
    check_file(path)
    if entry.get("kind") == "activations":
        return True
    try:
        with safe_open(path, framework="np") as file:
            return str((file.metadata() or {}).get("format", "")).startswith(FORMAT.partition("/")[0])
    except (SafetensorError, OSError):
        return False


def open_caches(data: Path | None = None, layout: Layout | None = None, drop_tokens: int | None = None) -> list[Cache]:
    """The caches of a folder, or of a file; None: where data is looked for (see `find_data`).

    In a folder without caches: its files of arrays, see `open_own_folder`.
    """
    place = find_data(data)
    own = own_files(place) if place.is_dir() else []
    files = own or (list_caches(place) if place.is_dir() else [place])
    try:
        if own:
            return [*open_own_folder(place, layout, drop_tokens)]
        return [open_cache(path, layout, drop_tokens) for path in files]
    except CacheError as error:
        if len(files) < 2:
            raise
        why = "no network or layer of a folder is left out in silence"
        out = f"move it out of {place}" if own else f"take it out of {place / MANIFEST}, too"
        raise CacheError(f"{error} ({why}: mend the file or {out})") from None


def save_activations(
    path: str | Path,
    layers: Mapping[str, Any],
    *,
    ids: Sequence[Any] | None = None,
    labels: Any = None,
    logits: Any = None,
    grids: Mapping[str, tuple[int, int] | None] | None = None,
    layout: Layout | None = None,
    drop_tokens: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write activations to a cache, which `run`, `rsm` and the tasks take as ``--data``.

    Parameters
    ----------
    path : path
        A file that ends in ``.safetensors``; its name is that of the network in tables.
    layers : mapping of layer to array_like or tensor
        (N, C, H, W), (N, C, S), or with ``layout="channels_last"`` (N, H, W, C) or tokens (N, T, D). Stored as float16.
    ids : sequence of N, optional
        Distinct names of the images, by which results are put together; default: those that the layers carry (see
        `semrsm_bench.with_ids`), if any.
    labels : (N,) whole numbers or names of classes, optional
        Names are numbered in their order.
    logits : (N, classes), optional
    grids : mapping of layer to (H, W), optional
        Of flat positions; by default the axes of the array, or a square where S is one.
    layout : {"channels_first", "channels_last"}, optional
    drop_tokens : int, optional
        Tokens in front, such as a class token and registers, that are left out.
    metadata : mapping, optional
        More to keep, as values of JSON: ``model``, ``dataset``, ``command``.

    Raises
    ------
    ValueError
        Shapes that do not fit, an id that is there twice, layers with other ids, a layer with a name that has another meaning in a
        cache, values that are not finite or that float16 cannot hold.
    TypeError
        ``layers`` is no mapping.
    """
    if not isinstance(layers, Mapping):
        raise TypeError(f"layers must be a mapping such as {{'layer1': z}}, got {type(layers).__name__}")
    if reserved := [name for name in layers if name in ("labels", "logits") or name.endswith(".mean")]:
        raise ValueError(f"a layer cannot be called {reserved[0]!r}: a cache keeps something else under that name")
    if ids is None:
        with_their_own = [array for array in layers.values() if ids_of(array) is not None]
        for array in with_their_own[1:]:
            require_same_ids(with_their_own[0], array)
        ids = ids_of(with_their_own[0]) if with_their_own else None
    planes, known, means = {}, dict(grids or {}), {}
    for name, given in layers.items():
        array = to_numpy(given, name)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}")
        found = arrange(array, name, layout, drop_tokens, known.get(name))
        grid = known.setdefault(name, found.grid or square_grid(found.size))
        if grid is not None and grid[0] * grid[1] != found.size:
            raise ValueError(f"grid {tuple(grid)} does not hold the {found.size} positions of {name}")
        planes[name] = found.planes(array)
        means[name] = planes[name].mean(axis=0, dtype=np.float64)
        largest = np.abs(planes[name].astype(np.float64)).reshape(found.count, -1).max(axis=1)
        if (small := np.flatnonzero((largest > 0) & (largest < _SMALLEST_FLOAT16))).size:
            what = f"image {small[0]} reaches only {largest[small[0]]:.3g}, too little for float16 ({_SMALLEST_FLOAT16:.2g})"
            raise ValueError(f"{name}: {what}: scale them, or keep them as .npz, which takes float32")
    n = len(next(iter(planes.values()), ()))
    images = checked_ids(range(n) if ids is None else to_numpy(ids, "ids").tolist(), n, "ids")
    numbered = {"ids": "numbers"} if ids is None else {}
    write_cache(
        Path(path),
        planes,
        means,
        images=images,
        labels=None if labels is None else class_labels(to_numpy(labels, "labels"), n, "labels"),
        logits=None if logits is None else to_numpy(logits, "logits"),
        grids=known,
        metadata={**numbered, **(metadata or {}), "mean_images": n},
    )


def write_cache(
    path: Path,
    layers: Mapping[str, NDArray[Any]],
    means: Mapping[str, NDArray[Any]],
    *,
    images: Sequence[str],
    labels: NDArray[Any] | None = None,
    logits: NDArray[Any] | None = None,
    grids: Mapping[str, tuple[int, int] | None] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a cache and enter it in its folder's manifest; both writes are atomic.

    ``layers`` are activations (N, C, S), stored as float16, which must hold them; ``means`` (C, S); ``images`` N distinct ids;
    ``labels`` (N,); ``logits`` (N, classes); ``grids`` (H, W) where a layer's positions form one, by default where S is a square
    number; ``metadata`` the provenance, as values of JSON.
    """
    n = len(images)
    if path.suffix != ".safetensors":
        raise ValueError(f"a cache file ends in .safetensors, got {path}")
    if n == 0 or not layers or len(set(images)) != n:
        raise ValueError("a cache needs at least one image and one layer, and no two images with the same id")
    tensors: dict[str, NDArray[Any]] = {}
    described: dict[str, dict[str, Any]] = {}
    for name, values in layers.items():
        values = np.asarray(values)
        if values.ndim != 3 or len(values) != n or means[name].shape != values.shape[1:]:
            raise ValueError(f"{name}: activations {values.shape} and mean {means[name].shape} do not fit {n} images")
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(values, dtype=np.float16)
        if (bad := ~np.isfinite(stored).reshape(n, -1).all(axis=1)).any():
            first = int(np.argmax(bad))
            raise ValueError(
                f"{name}: activations of image {images[first]} are not finite in float16 (65504 at most); .npz takes float32"
            )
        tensors[name] = stored
        tensors[f"{name}.mean"] = np.ascontiguousarray(means[name], dtype=np.float32)
        grid = (grids or {}).get(name, square_grid(values.shape[2]) if grids is None else None)
        described[name] = {"grid": list(grid) if grid else None}
    tensors["labels"] = np.full(n, -1, np.int64) if labels is None else np.asarray(labels, dtype=np.int64)
    tensors["logits"] = np.zeros((n, 0), np.float32) if logits is None else np.ascontiguousarray(logits, np.float32)
    if tensors["labels"].shape != (n,) or tensors["logits"].shape[:1] != (n,) or tensors["logits"].ndim != 2:
        raise ValueError(f"labels {tensors['labels'].shape} and logits {tensors['logits'].shape} do not fit {n} images")
    header = {"model": path.stem, **(metadata or {}), "images": list(images), "layers": described}
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata={"format": FORMAT, **{k: json.dumps(v) for k, v in header.items()}})
    update_manifest(path, "activations", {k: v.shape for k, v in tensors.items()})


def copy_part(cache: Cache, count: int, out: Path, command: str) -> None:
    """Write a cache of the first images of another; means and provenance stay those of the whole."""
    provenance = {k: v for k, v in cache.metadata.items() if k not in ("images", "layers")}
    write_cache(
        out,
        {layer: cache.activations(layer, slice(count)) for layer in cache.layers},
        {layer: cache.mean(layer) for layer in cache.layers},
        images=cache.images[:count],
        labels=cache.labels[:count],
        logits=cache.logits[:count],
        grids={layer: cache.grid(layer) for layer in cache.layers},
        metadata={**provenance, "part_of": cache.sha256, "part_command": command},
    )


def verify_folder(
    data: str | Path | None = None, layout: Layout | None = None, drop_tokens: int | None = None
) -> Iterator[tuple[str, str]]:
    """Yield (file name, what is wrong with it, or "") for every cache, every value of it, and all else in the manifest.

    ``data`` is a folder or a single cache; default: where a run would look. Folders inside of it that have a manifest count too.
    """
    place, how = find_data(data), (layout, drop_tokens)
    if place.is_file():
        yield place.name, _problem(place, is_cache=True, how=how)
        return
    if own_files(place):
        yield from verify_own_folder(place, *how)
        return
    for folder in (place, *(manifest.parent for manifest in sorted(place.glob(f"*/{MANIFEST}")))):
        known, caches = read_manifest(folder), list_caches(folder)
        for path in dict.fromkeys([*caches, *(folder / name for name in known)]):
            yield path.relative_to(place).as_posix(), _problem(path, path in caches)
        for path in sorted(folder.glob("*.safetensors")):
            if path.name not in known:
                problem = "not in the manifest; delete it, or make it again with `semrsm-bench data extract`"
                yield path.relative_to(place).as_posix(), problem


def _problem(path: Path, is_cache: bool, how: tuple[Any, ...] = ()) -> str:
    """What is wrong with a file, or ""."""
    try:
        check_file(path)
        return _odd_value(open_cache(path, *how)) if is_cache else ""
    except CacheError as error:
        return str(error)


def _odd_value(cache: Cache) -> str:
    """Where the first value is that is not finite."""
    for layer in cache.layers:
        if not np.isfinite(cache.mean(layer)).all():
            return f"{cache.path}: the mean of {layer} is not finite"
        for i, image in enumerate(cache.images):
            if not np.isfinite(cache.activations(layer, i)).all():
                return f"{cache.path}: {layer} of image {image} is not finite"
    return ""
