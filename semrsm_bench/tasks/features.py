"""Representations of networks on the same stimuli, from files or from pictures: groups of networks, layers, logits, labels."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from semrsm_bench.activations.cache import Cache
from semrsm_bench.activations.folders import CacheError, shipped_features
from semrsm_bench.activations.kinds import what_is
from semrsm_bench.activations.layouts import Layout, LayoutOptions
from semrsm_bench.activations.own import FEATURE_NAME
from semrsm_bench.activations.pictures import Pictures, read_pictures
from semrsm_bench.activations.read import Stored, read_arrays
from semrsm_bench.activations.store import open_caches
from semrsm_bench.core.arrays import load_archive
from semrsm_bench.core.identity import align, checked_ids, with_ids
from semrsm_bench.core.options import option
from semrsm_bench.core.row import natural
from semrsm_bench.metrics.arrays import as_float64
from semrsm_bench.tasks.networks import LazyLayer, NetworkActivations, NetworkOptions, common_size, load_networks

if TYPE_CHECKING:
    from semrsm_bench.activations.models import Model

LOGITS, LABELS, IDS = "logits", "labels", "ids"
LEAST_STIMULI = 10
_LAYOUT = "arrays named GROUP:NETWORK/LAYER (n, p), GROUP:NETWORK/logits (n, K), labels (n,) and ids (n,)"

Array = NDArray[Any]


@dataclass(frozen=True)
class FeatureOptions(LayoutOptions, NetworkOptions):
    """Networks and stimuli, from files or, with ``model`` or ``images``, from pictures. None stands for the profile's value."""

    features: tuple[Path, ...] = option(
        (),
        help=f".npz or .safetensors with {_LAYOUT}; or one network: features (n, p) by layer, or activations, as of `run matching "
        "--data`; repeatable. "
        "Default: networks that the project ships.",
    )
    groups: tuple[str, ...] = option((), help="Only these groups of networks, in this order; default: all.")
    layers: tuple[str, ...] = option(
        (),
        help="Only these layers; with --model names of submodules, or last, stages, or all (every block). Default: the task's.",
        aliases=("layer",),
    )
    networks: int | None = option(
        None, help="At most so many networks of a group of files; default: the profile's.", minimum=1
    )
    count: int | None = option(
        None, help="At most so many stimuli; default: the profile's.", minimum=LEAST_STIMULI, aliases=("stimuli",)
    )
    seed: int = option(0, help="Seed of whatever is drawn: pictures, noise, exchanged stimuli, orders.", minimum=0)
    align: bool = option(
        False, help="Of --features only the stimuli that all files have, by ids, in the first one's order."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        pictured = self.model or self.images
        if self.features and pictured:
            raise ValueError(
                f"--{'model' if self.model else 'images'} is for networks on pictures; --features has none"
            )
        if self.align and not self.features:
            raise ValueError("--align is for files of yours: give --features too, or leave it out")
        if self.size and not pictured:
            raise ValueError("--size is for networks on pictures: give --model or --images too, or leave it out")

    @property
    def chosen(self) -> bool:
        """Whether the user names groups, files or networks on pictures; else they are those that a task takes."""
        return bool(self.groups or self.features or self.model or self.images)

    def read(self, default: Sequence[str]) -> FeatureSet:
        """The networks; those of the groups ``default`` that ship where neither files nor networks are named.

        Errors as `read_features`, or as `load_networks` and `read_pictures`.
        """
        if self.model or self.images:
            models = load_networks(self.model, self.layers)
            side, count = common_size(models, self.size), self.count or sys.maxsize
            pictures = read_pictures(
                self.images, count=count, size=side, seed=self.seed, classes=self.classes, fewer=True
            )
            return _on_pictures(models, pictures).part(self.groups)
        files = self.features or tuple(shipped_features(name) for name in self.groups or default)
        return read_features(files, align=self.align, **self.layouts).part(
            self.groups, self.layers, self.networks, self.count
        )


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """One network: its layers in order, each (n, p) or (n, C, S), and its logits (n, K), None where the file has none.

    ``grids`` are (H, W) of layers (n, C, S) whose positions are a grid.
    """

    group: str
    name: str
    layers: Mapping[str, Array | LazyLayer]
    logits: Array | None = None
    grids: Mapping[str, tuple[int, int]] | None = None

    @property
    def path(self) -> str:
        """Group and name, which no other network has."""
        return f"{self.group}:{self.name}"

    @cached_property
    def pooled(self) -> dict[str, NDArray[np.float32]]:
        """Each layer as (n, p); of layers (n, C, S) the means over positions."""
        return {
            name: np.asarray(np.mean(z, axis=2, dtype=np.float64) if z.ndim == 3 else z, dtype=np.float32)
            for name, z in self.layers.items()
        }


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Networks on the same n stimuli; ``labels`` (n,) are classes, -1 where none is known; ``sha256`` of the files."""

    networks: tuple[FeatureNetwork, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    sha256: str

    @cached_property
    def groups(self) -> dict[str, tuple[FeatureNetwork, ...]]:
        """Networks by group."""
        names = dict.fromkeys(network.group for network in self.networks)
        return {name: tuple(network for network in self.networks if network.group == name) for name in names}

    def require_pair(self, task: str) -> None:
        """ValueError where no group has two networks."""
        if all(len(networks) < 2 for networks in self.groups.values()):
            there = ", ".join(network.path for network in self.networks)
            raise ValueError(f"{task} compares two networks of a group, and no group has two: there is {there}")

    def part(
        self,
        groups: Sequence[str] = (),
        layers: Sequence[str] = (),
        networks: int | None = None,
        count: int | None = None,
    ) -> FeatureSet:
        """These groups and layers, at most so many networks of each, the first ``count`` stimuli; ValueError: no such name."""
        known = dict.fromkeys(layer for network in self.networks for layer in network.layers)
        for what, names, there in (("group", groups, self.groups), ("layer", layers, known)):
            if missing := [name for name in names if name not in there]:
                raise ValueError(f"there is no {what} {missing[0]!r} here; there are {', '.join(there)}")
        kept = [network for group in groups or self.groups for network in self.groups[group][:networks]]
        rows = slice(count)

        def cut(network: FeatureNetwork) -> FeatureNetwork:
            chosen = {name: z[rows] for name, z in network.layers.items() if name in layers or not layers}
            return replace(network, layers=chosen, logits=None if network.logits is None else network.logits[rows])

        return FeatureSet(tuple(map(cut, kept)), self.ids[rows], self.labels[rows], self.sha256)


def read_features(
    paths: Sequence[Path], *, align: bool = False, layout: Layout | None = None, drop_tokens: int | None = None
) -> FeatureSet:
    """Networks from ``.npz`` or ``.safetensors`` files with arrays named ``GROUP:NETWORK/LAYER``, (n, p) or (n, C, S).

    ``GROUP:NETWORK/logits`` (n, K), ``labels`` (n,) and ``ids`` (n,) are not layers. The networks of a group have the same layers,
    all files the same stimuli in the same order, unless ``align`` brings them together by their ids. A ``.safetensors`` file may
    say in its metadata, as JSON, the order of the ``layers``, the ``ids`` and the ``grids`` (layer: [H, W]); without, layers are in
    the order of their names. Arrays stay of the file's dtype.

    A file or folder that `open_caches` takes, with ``layout`` and ``drop_tokens``, is a network of the group ``activations``, which
    is called as the file is; its layers keep their positions. A file of features (n, p) by layer, of any kind that `read_arrays`
    takes, is a network of the group ``features``.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        A name of another form, no network, layers or stimuli that differ, too few stimuli, or values that are no finite real
        numbers; the message names the file and the array.
    """
    if not paths:
        raise ValueError(f"no file of features given; it holds {_LAYOUT}")
    found: dict[str, dict[str, Array]] = {}
    shared: dict[str, tuple[str, list[Any]]] = {}
    file_of: dict[str, Path] = {}
    grids: dict[str, dict[str, tuple[int, int]]] = {}
    digest = hashlib.sha256()
    read = partial(_arrays, layout=layout, drop_tokens=drop_tokens)
    rows = _shared_rows(paths, read) if align else {}
    named: set[Path] = set()
    for path in paths:
        for name, array, grid in read(path):
            where = f"{path}: {name}"
            if path in rows:
                ids, kept = rows[path]
                if len(array) != len(ids):
                    raise ValueError(f"{where} has {len(array)} stimuli, and there are {len(ids)} ids")
                array = array[kept]
            digest.update(f"{name} {array.shape} {array.dtype.str} ".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
            file_of.setdefault(name, path)
            if name in (LABELS, IDS):
                named |= {path} if name == IDS else set()
                if name == LABELS and not _whole(array):
                    raise ValueError(
                        f"{where} are {array.dtype} {array.flat[:3].tolist()}...; needed are whole numbers, one a class"
                    )
                first, known = shared.setdefault(name, (str(path), array.tolist()))
                if known != array.tolist():
                    raise ValueError(
                        f"{where} differ from those of {first}: all files hold the same stimuli, or say --align"
                    )
                continue
            network, _, layer = name.partition("/")
            if not (layer and all(network.partition(":")[::2])):
                raise ValueError(
                    f"{where}: a name is GROUP:NETWORK/LAYER, numpy.savez(path, **{{'mine:net/layer': x}}); a file holds {_LAYOUT}"
                )
            if layer in found.setdefault(network, {}):
                raise ValueError(f"{where} is there twice")
            if array.ndim not in (2, 3) or (layer == LOGITS and array.ndim == 3) or not array.size:
                raise ValueError(
                    f"{where} is {array.shape}; needed are features (n, p), or a layer's positions (n, C, S)"
                )
            as_float64(array.reshape(len(array), -1), where)
            found[network][layer] = array
            if grid is not None:
                grids.setdefault(network, {})[layer] = grid
    if named and (nameless := [path for path in paths if path not in named]):
        text = f"{nameless[0]} has no ids and {min(named)} has: its stimuli are taken for the same, in the same order"
        warnings.warn(text, stacklevel=2)
    return FeatureSet(*_checked(found, shared, grids, file_of), digest.hexdigest())


def _shared_rows(
    paths: Sequence[Path], read: Callable[[Path], Iterator[tuple[str, Array, Any]]]
) -> dict[Path, tuple[Sequence[str], list[int]]]:
    """Of each file its ids, and the rows of those that all files have, in the order of the first."""
    ids: dict[Path, Sequence[str]] = {}
    for path in paths:
        found = next((array for name, array, _ in read(path) if name == IDS), None)
        if found is None:
            raise ValueError(f"{path}: it has no ids, by which --align would know its stimuli")
        ids[path] = checked_ids(found.tolist(), len(found), f"{path}: ids")
    try:
        rows = align(*(with_ids(np.arange(len(own)), own) for own in ids.values()))
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, paths))}: {error}") from None
    return {path: (own, kept.tolist()) for (path, own), kept in zip(ids.items(), rows)}


def _on_pictures(models: Sequence[Model], pictures: Pictures) -> FeatureSet:
    """Networks on pictures, those of one architecture and width in a group."""
    if (count := len(pictures.ids)) < LEAST_STIMULI:
        raise ValueError(f"at least {LEAST_STIMULI} pictures are needed, there are {count}")
    rows, networks, digest = np.arange(count), [], hashlib.sha256()
    for seen in (NetworkActivations(model, pictures.pixels) for model in models):
        layers = {layer: LazyLayer(seen, layer, rows) for layer in seen.layers}
        grids = {layer: grid for layer in layers if (grid := seen.grid(layer)) is not None}
        networks.append(FeatureNetwork(seen.family, seen.name, layers, seen.logits, grids))
        digest.update(f"{seen.sha256} {list(layers)} ".encode())
    return FeatureSet(tuple(networks), tuple(pictures.ids), pictures.labels, digest.hexdigest())


def _arrays(
    path: Path, layout: Layout | None, drop_tokens: int | None
) -> Iterator[tuple[str, Array, tuple[int, int] | None]]:
    """Name, array, and grid of its positions, layers of a network in order."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file of features")
    arrays = {} if path.is_dir() else _by_layer(path)
    if path.is_dir() or any(len(array.shape) > 2 for array in arrays.values()):
        for cache in open_caches(path, layout, drop_tokens):
            yield from _of_cache(cache)
        return
    if _are_features(arrays):
        for layer, stored in arrays.items():
            name = layer if layer in (LABELS, IDS) else f"features:{path.stem}/{layer or 'features'}"
            yield name, stored.load(), None
        return
    try:
        if path.suffix == ".npz":
            for name, array in load_archive(path):
                yield name, array, None
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="np") as file:
                said = {key: json.loads(text) for key, text in (file.metadata() or {}).items() if key in _SAID}
                order = {layer: i for i, layer in enumerate(said.get("layers", ()))}
                names = sorted(file.keys(), key=lambda name: (order.get(_layer(name), len(order)), natural(name)))
                for name in names:
                    grid = said.get("grids", {}).get(_layer(name))
                    yield name, file.get_tensor(name), None if grid is None else (int(grid[0]), int(grid[1]))
                if IDS in said:
                    yield IDS, np.array(said[IDS]), None
        else:
            raise ValueError("features of several networks are read from .npz and .safetensors files")
    except (ValueError, EOFError, zipfile.BadZipFile, SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a readable file of features ({error}); it is {what_is(path)}") from None


def _by_layer(path: Path) -> dict[str, Stored]:
    """The arrays of one network, whose names are those of its layers; nothing for a file that names networks, or none of arrays."""
    try:
        arrays = read_arrays(path)
    except CacheError:
        return {}
    return {} if any(map(FEATURE_NAME.fullmatch, arrays)) else arrays


def _are_features(arrays: Mapping[str, Stored]) -> bool:
    """Whether all layers are features (n, p), by names that cannot be meant for those of a network and a layer."""
    layers = [array for name, array in arrays.items() if name not in (LABELS, IDS, LOGITS)]
    plain = all(len(array.shape) == 2 for array in layers) and not any(set(":/") & set(name) for name in arrays)
    return bool(layers) and plain


def _of_cache(cache: Cache) -> Iterator[tuple[str, Array, tuple[int, int] | None]]:
    """What `_arrays` yields, ids first."""
    network = f"activations:{cache.name}"
    if cache.has_ids:
        yield IDS, np.array(cache.images), None
    if (cache.labels >= 0).all():
        yield LABELS, cache.labels, None
    for layer in cache.layers:
        yield f"{network}/{layer}", cache.activations(layer, slice(None)), cache.grid(layer)
    if cache.logits.shape[1]:
        yield f"{network}/{LOGITS}", cache.logits, None


_SAID = ("layers", IDS, "grids")


def _whole(labels: Array) -> bool:
    return labels.dtype.kind in "iub" or (labels.dtype.kind == "f" and bool(np.all(labels == np.floor(labels))))


def _layer(name: str) -> str:
    return name.partition("/")[2]


def _checked(
    found: Mapping[str, Mapping[str, Array]],
    shared: Mapping[str, tuple[str, list[Any]]],
    grids: Mapping[str, Mapping[str, tuple[int, int]]],
    file_of: Mapping[str, Path],
) -> tuple[tuple[FeatureNetwork, ...], tuple[str, ...], NDArray[np.int64]]:
    """Networks that compare, with ids and labels of their stimuli; messages name the first file that holds an array."""
    counts = {f"{network}/{layer}": len(array) for network, layers in found.items() for layer, array in layers.items()}
    files = ", ".join(dict.fromkeys(map(str, file_of.values())))
    if not counts:
        raise ValueError(f"{files or 'the file'}: there is no network; a file holds {_LAYOUT}")
    first_name, n = next(iter(counts.items()))
    for name, count in [*counts.items(), *((name, len(values)) for name, (_, values) in shared.items())]:
        if count != n:
            raise ValueError(
                f"{file_of[name]}: {name} has {count} stimuli, {first_name} of {file_of[first_name]} has {n}: "
                "all hold the same stimuli, in the same order"
            )
    if n < LEAST_STIMULI:
        raise ValueError(f"{files}: at least {LEAST_STIMULI} stimuli are needed, there are {n}")
    ids = tuple(map(str, shared[IDS][1])) if IDS in shared else tuple(map(str, range(n)))
    if twice := next((one for one in ids if ids.count(one) > 1), None) if len(set(ids)) < n else None:
        raise ValueError(f"{file_of[IDS]}: ids: {twice!r} is there twice; every stimulus has an id of its own")
    networks, layers_of = [], dict[str, tuple[str, list[str]]]()
    for path, arrays in found.items():
        group, _, name = path.partition(":")
        layers = {layer: array for layer, array in arrays.items() if layer != LOGITS}
        first, same = layers_of.setdefault(group, (path, list(layers)))
        if not layers or set(layers) != set(same):
            odd = ", ".join(sorted(set(layers) ^ set(same))) or "no layer"
            raise ValueError(
                f"{files}: {path} and {first} have other layers ({odd}); the networks of a group have the same"
            )
        networks.append(
            FeatureNetwork(group, name, {layer: layers[layer] for layer in same}, arrays.get(LOGITS), grids.get(path))
        )
    labels = np.asarray(shared[LABELS][1], dtype=np.int64) if LABELS in shared else np.full(n, -1)
    return tuple(networks), ids, labels
