"""Activations in files of the user's, of any library: as a cache of this package offers them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.cache import Cache, Floats
from semrsm_bench.activations.folders import CacheError, check_file, own_files
from semrsm_bench.activations.layouts import Arrangement, Layout, arrange, square_grid
from semrsm_bench.activations.read import Stored, read_arrays
from semrsm_bench.core.identity import checked_ids

RESERVED = "labels (N,), ids or images (N,), logits (N, K) and LAYER.mean"
_NO_LAYERS = ("labels", "ids", "images", "logits")
_NEEDED = f"needed are activations (N, C, H, W), (N, C, S) or tokens (N, T, D) by layer; {RESERVED} are no layers"
FEATURE_NAME = re.compile(r"[^/:]+:[^/]+/.+")
_WEIGHTS = (".weight", ".bias", ".running_mean", ".running_var", ".num_batches_tracked")
_CHUNK_BYTES = 2**24


class OwnFile(Cache):
    """Layers of a file of arrays, or of a folder whose files are one array each; see `open_own`."""

    def __init__(self, path: Path, layout: Layout | None, drop_tokens: int | None) -> None:
        self.path, self.name, self._how = path, path.stem, (layout, drop_tokens)
        files = _single_arrays(path) if path.is_dir() and path not in own_files(path) else {path: read_arrays(path)}
        arrays = {name or file.stem: one for file, found in files.items() for name, one in found.items()}
        _require_activations(arrays, path, files)
        self.sha256 = _digest(files, layout, drop_tokens)
        self.metadata = {"model": self.name, "file": path.name}
        self.layers = [name for name in arrays if name not in _NO_LAYERS and not _is_mean(name, arrays)]
        self._stored, self._held = arrays, dict[str, NDArray[Any]]()
        self._arranged: dict[str, Arrangement] = {}
        for layer in self.layers:
            self._arranged[layer] = self._read(layer)
        counts = {layer: found.count for layer, found in self._arranged.items()}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{layer} {count}" for layer, count in counts.items())
            raise CacheError(
                f"{path}: the layers hold different numbers of images ({said}); all are of the same images"
            )
        n = next(iter(counts.values()))
        self._shapes = {layer: (n, found.channels, found.size) for layer, found in self._arranged.items()}
        self.has_ids = "ids" in arrays or "images" in arrays
        given = self._array("ids" if "ids" in arrays else "images") if self.has_ids else np.arange(n)
        try:
            self.images = list(checked_ids(given.tolist(), n, f"{path}: ids"))
            self.labels = class_labels(
                self._array("labels") if "labels" in arrays else np.full(n, -1), n, f"{path}: labels"
            )
        except ValueError as error:
            raise CacheError(str(error)) from None
        self.logits = self._logits(n)
        for layer in self.layers:
            self._require_finite(layer)

    def __reduce__(self) -> tuple[Any, ...]:
        # What was assumed was said when the file was opened first: a worker opens it as said.
        layout, drop = self._how
        return open_own, (self.path, layout or "channels_first", drop or 0)

    def grid(self, layer: str) -> tuple[int, int] | None:
        """See `Cache`; flat positions are a grid where S is a square number."""
        _, _, size = self.shape(layer)
        return self._arranged[layer].grid or square_grid(size)

    def dtype(self, layer: str) -> np.dtype[Any]:
        """See `Cache`."""
        narrow = np.result_type(self._stored[layer].dtype, np.float32) == np.float32
        return np.dtype(np.float32 if narrow else np.float64)

    def stored_mean(self, layer: str) -> Floats | None:
        """See `Cache`."""
        name = f"{layer}.mean"
        if name not in self._stored:
            return None
        array, shape = self._array(name), self._stored[layer].shape[1:]
        if array.shape != shape or not np.isfinite(array).all():
            what = f"has shape {array.shape}; the mean of {layer} is finite, of shape {shape}"
            raise CacheError(f"{self.path}: {name} {what}")
        return np.asarray(self._arranged[layer].planes(array[None])[0], dtype=self.dtype(layer))

    def mean(self, layer: str) -> Floats:
        """See `Cache`; computed in float64."""
        stored = self.stored_mean(layer)
        if stored is not None:
            return stored
        name = f"{layer}.mean"
        if name not in self._held:
            n, c, s = self.shape(layer)
            total = np.zeros((c, s))
            for _, part in self._chunks(layer):
                total += part.sum(axis=0, dtype=np.float64)
            self._held[name] = (total / n).astype(self.dtype(layer))
        return self._held[name]

    def _planes(self, layer: str, start: int, stop: int) -> NDArray[Any]:
        return self._arranged[layer].planes(self._array(layer)[start:stop])

    def _array(self, name: str) -> NDArray[Any]:
        """An array, read or mapped when it is wanted first."""
        if name not in self._held:
            self._held[name] = self._stored[name].load()
        return self._held[name]

    def _read(self, layer: str) -> Arrangement:
        stored, where = self._stored[layer], f"{self.path}: {layer}"
        if stored.dtype.kind not in "fiub":
            raise CacheError(f"{where} is of dtype {stored.dtype}; {_NEEDED}")
        if len(stored.shape) not in (3, 4):
            hint = "; features (N, P) are for --features, in a file of their own" if len(stored.shape) == 2 else ""
            raise CacheError(f"{where} has shape {stored.shape}; {_NEEDED}{hint}")
        layout, drop = self._how
        try:
            return arrange(self._array(layer), where, layout, drop)
        except ValueError as error:
            raise CacheError(str(error)) from None

    def _chunks(self, layer: str) -> Iterator[tuple[int, NDArray[Any]]]:
        n, c, s = self.shape(layer)
        step = max(1, _CHUNK_BYTES // (8 * c * s))
        for start in range(0, n, step):
            yield start, self._planes(layer, start, min(start + step, n))

    def _require_finite(self, layer: str) -> None:
        for start, part in self._chunks(layer):
            if not np.isfinite(part).all():
                image, channel, position = (int(i) for i in np.argwhere(~np.isfinite(part))[0])
                what = f"image {self.images[start + image]}, channel {channel}, position {position}"
                raise CacheError(f"{self.path}: {layer} is not finite in {what}; clean the activations first")

    def _logits(self, n: int) -> NDArray[np.float32]:
        if "logits" not in self._stored:
            return np.zeros((n, 0), np.float32)
        logits = self._array("logits")
        if logits.ndim != 2 or len(logits) != n or logits.dtype.kind not in "fiu" or not np.isfinite(logits).all():
            what = f"{logits.dtype} of shape {logits.shape}; needed are finite numbers ({n}, classes)"
            raise CacheError(f"{self.path}: logits are {what}")
        return np.ascontiguousarray(logits, np.float32)


def class_labels(labels: NDArray[Any], n: int, what: str) -> NDArray[np.int64]:
    """Labels (n,) as whole numbers, names of classes in the order of the names; ValueError, which calls them ``what``."""
    if labels.dtype.kind == "O" and all(isinstance(one, str) for one in labels.flat):
        labels = labels.astype(str)
    if labels.dtype.kind in "US":
        labels = np.unique(labels, return_inverse=True)[1]
    if labels.shape != (n,) or labels.dtype.kind not in "iufb" or (labels != np.floor(labels)).any():
        wanted = f"needed are {n} whole numbers, one an image, or names of classes"
        raise ValueError(f"{what} are {labels.dtype} of shape {labels.shape}; {wanted}")
    return labels.astype(np.int64)


def open_own(path: Path, layout: Layout | None = None, drop_tokens: int | None = None) -> OwnFile:
    """Open a file of arrays, or a folder of files of one array each, whose names are those of the layers.

    Arrays are (N, C, H, W) or (N, C, S), or with ``layout="channels_last"`` (N, H, W, C) or tokens (N, T, D), of which
    ``drop_tokens`` in front are left out. ``labels``, ``ids`` (or ``images``), ``logits`` and ``LAYER.mean`` are no layers. Every
    value is read once; a file is opened once for each version of it.

    Raises
    ------
    CacheError
        What the file is, or which array is wrong, and what is needed.
    """
    path = path.resolve() if path.is_dir() else path
    parts = sorted(path.rglob("*")) if path.is_dir() else [path]
    version = tuple((part.name, part.stat().st_mtime_ns, part.stat().st_size) for part in parts)
    return _opened(path, layout, drop_tokens, version)


@lru_cache(maxsize=8)
def _opened(path: Path, layout: Layout | None, drop_tokens: int | None, version: Any) -> OwnFile:
    return OwnFile(path, layout, drop_tokens)


def open_own_folder(folder: Path, layout: Layout | None = None, drop_tokens: int | None = None) -> list[OwnFile]:
    """A folder without caches: its files of one array each are one network, with the files' names as layers; others one each."""
    files = own_files(folder)
    if files == [folder]:
        return [open_own(folder, layout, drop_tokens)]
    single = _single_arrays(folder)
    found = [open_own(file, layout, drop_tokens) for file in files if file not in single]
    return ([open_own(folder, layout, drop_tokens)] if single else []) + found


def verify_own_folder(
    folder: Path, layout: Layout | None = None, drop_tokens: int | None = None
) -> Iterator[tuple[str, str]]:
    """Yield (file name, what is wrong with it, or ""); then the folder, for its files of one array each, if each is right."""
    singles, failed = list[Path](), False
    for file in own_files(folder):
        try:
            single = set(read_arrays(file)) == {""} and file != folder
            singles += [file] if single else []
            if not (single and (file.stem in _NO_LAYERS or file.stem.endswith(".mean"))):
                open_own(file, layout, drop_tokens)  # checks every value
            yield file.name, ""
        except CacheError as error:
            failed = True
            yield file.name, str(error)
    if singles and not failed:
        try:
            # What was assumed was said of each file.
            open_own(folder, layout or "channels_first", drop_tokens or 0)
            yield folder.name, ""
        except CacheError as error:
            yield folder.name, str(error)


def _single_arrays(folder: Path) -> dict[Path, Mapping[str, Stored]]:
    found = {file: read_arrays(file) for file in own_files(folder)}
    return {file: arrays for file, arrays in found.items() if set(arrays) == {""}}


def _require_activations(arrays: Mapping[str, Stored], path: Path, files: Sequence[Path] | Mapping[Path, Any]) -> None:
    """CacheError where the names say that these are something else."""
    for file in files:
        beside = file.with_name(file.name + ".json")
        if file.suffix == ".npy" and beside.is_file() and '"semrsm_bench.rsm' in beside.read_text(encoding="utf-8"):
            raise CacheError(
                f"{file} is an RSM ({beside.name} says what made it), not activations; draw it with `plot`"
            )
    features = [name for name in arrays if FEATURE_NAME.fullmatch(name)]
    weights = [name for name in arrays if name.endswith(_WEIGHTS)]
    if features:
        what = f"a file of features (it has {features[0]}), not of activations: give it with --features"
        raise CacheError(f"{path} is {what}")
    if weights:
        what = f"weights of a network (it has {weights[0]}), not activations: `semrsm-bench data extract --model` runs a network"
        raise CacheError(f"{path} holds {what}")
    if not any(name not in _NO_LAYERS and not _is_mean(name, arrays) for name in arrays):
        raise CacheError(f"{path} has {', '.join(arrays)} and no layer; {_NEEDED}")


def _is_mean(name: str, arrays: Mapping[str, Stored]) -> bool:
    return name.endswith(".mean") and name.removesuffix(".mean") in arrays


def _digest(files: Mapping[Path, Any], layout: Layout | None, drop_tokens: int | None) -> str:
    """sha256 of the file, or of several together; another layout makes other data."""
    parts = [
        part for file in files for part in ([file] if file.is_file() else sorted(file.rglob("*"))) if part.is_file()
    ]
    digests = [check_file(part) for part in parts]
    said = f"{layout or 'channels_first'} {drop_tokens or 0}"
    if len(digests) == 1 and said == "channels_first 0":
        return digests[0]
    names = " ".join(f"{part.name} {digest}" for part, digest in zip(parts, digests))
    return hashlib.sha256(f"{names} {said}".encode()).hexdigest()
