"""Caches of activations: one safetensors file each, a manifest beside them, read lazily and checked once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from semrsm_bench.activations.folders import (
    FORMAT,
    MANIFEST,
    CacheError,
    atomic_write,
    check_file,
    find_data,
    list_caches,
    read_manifest,
    repair,
    update_manifest,
)

Centring = Literal["none", "channel", "position"]
CENTRINGS: tuple[Centring, ...] = ("none", "channel", "position")


class Cache:
    """One open cache of activations; images are read one slice at a time.

    ``metadata`` is the provenance: model, weights_sha256, dataset, images, preprocessing, torch, command, layers, mean_images.
    ``images`` are ids in order; ``labels`` (N,) int64 are -1 where there is none; ``logits`` (N, classes) float32 are of width 0
    for models without a classifier.
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

    def __repr__(self) -> str:
        return f"Cache({self.name!r}, {len(self)} images, {', '.join(self.layers)})"

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return type(self), (self.path,)

    def shape(self, layer: str) -> tuple[int, int, int]:
        """(N, C, S) of a layer."""
        if layer not in self._shapes:
            raise ValueError(f"{self.name} has no layer {layer!r}; it has {', '.join(self.layers)}")
        return self._shapes[layer]

    def grid(self, layer: str) -> tuple[int, int] | None:
        """(H, W) of a layer's positions, or None where they do not form a grid."""
        self.shape(layer)
        grid = self.metadata["layers"][layer].get("grid")
        return (grid[0], grid[1]) if grid else None

    def activations(self, layer: str, index: int | slice) -> NDArray[np.float16]:
        """Raw activations of one image, (C, S), or of a slice of images, (n, C, S), as stored."""
        n, _, _ = self.shape(layer)
        if isinstance(index, slice):
            wanted = range(n)[index]
            first = min(wanted, default=0)
            part: NDArray[np.float16] = self._file.get_slice(layer)[first : max(wanted, default=-1) + 1]
            return part[[i - first for i in wanted]]
        if not -n <= index < n:
            raise IndexError(f"{self.name} has images 0..{n - 1}, asked for {index}")
        return np.asarray(self.activations(layer, slice(index % n, index % n + 1))[0])

    def mean(self, layer: str) -> NDArray[np.float32]:
        """Mean activation (C, S) over the images that `metadata` counts in ``mean_images``."""
        self.shape(layer)
        mean: NDArray[np.float32] = self._file.get_tensor(f"{layer}.mean")
        return mean

    def positions(self, layer: str, index: int, centring: Centring = "none") -> NDArray[np.float32]:
        """Position vectors of one image, (S, C) float32, read-only; centring as `compute_rsm`."""
        if centring not in CENTRINGS:
            raise ValueError(f"centring must be one of {', '.join(CENTRINGS)}, got {centring!r}")
        values = self.activations(layer, index).astype(np.float32)
        if centring != "none":
            mean = self.mean(layer)
            if centring == "channel":
                mean = mean.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
            values -= mean
        positions = np.ascontiguousarray(values.T)
        positions.flags.writeable = False
        return positions


def open_cache(path: str | Path) -> Cache:
    """Open a cache file, or the only cache of a folder; CacheError says what is wrong with it."""
    path = Path(path)
    if path.is_dir():
        caches = list_caches(path)
        if len(caches) != 1:
            names = ", ".join(p.name for p in caches) or "none"
            raise CacheError(f"{path} holds {len(caches)} caches ({names}): name the file")
        path = caches[0]
    return Cache(path)


def open_caches(data: Path | None = None) -> list[Cache]:
    """The caches of a folder, or of a file; None: where data is looked for (see `find_data`)."""
    place = find_data(data)
    return [open_cache(path) for path in (list_caches(place) if place.is_dir() else [place])]


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
            raise ValueError(f"{name}: activations of image {images[first]} are not finite in float16 (65504 at most)")
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


def square_grid(size: int) -> tuple[int, int] | None:
    """(H, W) of so many positions on a square, None where they make none."""
    side = math.isqrt(size)
    return (side, side) if side * side == size else None


def verify_folder(data: str | Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield (file name, what is wrong with it, or "") for every cache, every value of it, and all else in the manifest.

    ``data`` is a folder or a single cache; default: where a run would look. Folders inside of it that have a manifest count too.
    """
    place = find_data(data)
    if place.is_file():
        yield place.name, _problem(place, is_cache=True)
        return
    for folder in (place, *(manifest.parent for manifest in sorted(place.glob(f"*/{MANIFEST}")))):
        known, caches = read_manifest(folder), list_caches(folder)
        for path in dict.fromkeys([*caches, *(folder / name for name in known)]):
            yield path.relative_to(place).as_posix(), _problem(path, path in caches)
        for path in sorted(folder.glob("*.safetensors")):
            if path.name not in known:
                problem = "not in the manifest; delete it, or make it again with `semrsm-bench data extract`"
                yield path.relative_to(place).as_posix(), problem


def _problem(path: Path, is_cache: bool) -> str:
    """What is wrong with a file, or ""."""
    try:
        check_file(path)
        return _odd_value(open_cache(path)) if is_cache else ""
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
