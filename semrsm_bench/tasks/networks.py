"""Networks on pictures: the options that choose them, the same in all tasks, and their activations one layer at a time."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from semrsm_bench.activations.cache import Cache
from semrsm_bench.activations.folders import small_weights
from semrsm_bench.activations.pictures import Pictures, read_pictures
from semrsm_bench.core.method import require_extra
from semrsm_bench.core.options import check, option
from semrsm_bench.metrics.kernels import bandwidth, squared_distances

if TYPE_CHECKING:
    from semrsm_bench.activations.models import Model
    from semrsm_bench.activations.reader import Activations

# Words for a choice of layers that is no name of a submodule.
LAST, STAGES, BLOCKS = "last", "stages", "all"
_REMEMBERED = 1 << 30
# Layers that together take no more than this share a forward pass.
_TOGETHER = 1 << 28
_DISTANCE_ENTRIES = 1 << 24
# Side of pictures that rows keep to be shown.
_THUMBNAIL = 128


@dataclass(frozen=True)
class NetworkOptions:
    """Pictures, networks and layers. None stands for the profile's value, or for the default in the help."""

    images: tuple[Path, ...] = option(
        (),
        help="Folder or zip archive of your own images, one folder a class; repeatable. Default: what packages ship.",
    )
    classes: Path | None = option(None, help="With --images: class directories in label order, one a line.")
    size: int | None = option(
        None, help="Side of the pictures in pixels, the shorter one. Default: what the networks take.", minimum=1
    )
    seed: int = option(0, help="Seed of the choice of pictures.", minimum=0)
    model: tuple[str, ...] = option(
        (),
        help="FILE.safetensors, torchvision:NAME or timm:NAME; repeatable. Default: networks that the project ships.",
        metavar="SPEC",
    )
    layers: tuple[str, ...] = option(
        (), help="Names of submodules; or last, stages, or all (every block). Default: the task's.", aliases=("layer",)
    )

    def __post_init__(self) -> None:
        check(self)
        if self.classes and not self.images:
            raise ValueError("--classes names the directories of your own images: give --images too, or leave it out")


@dataclass(frozen=True)
class CountOptions(NetworkOptions):
    """How many pictures."""

    count: int | None = option(
        None, help="Pictures, spread over classes or photographs; default: the profile's.", minimum=1
    )

    def pictures(self, size: int, least: int = 1) -> Pictures:
        """The pictures, of that side; errors as `read_pictures`."""
        if self.count is None:
            raise ValueError("count: say how many pictures, or choose a profile")
        if self.count < least:
            raise ValueError(f"at least {least} pictures are needed, got a count of {self.count}")
        return read_pictures(self.images, count=self.count, size=size, seed=self.seed, classes=self.classes)

    def seen(
        self, layers: Sequence[str] = (), default: Callable[[], Sequence[Path]] = small_weights, least: int = 1
    ) -> tuple[list[NetworkActivations], Pictures]:
        """All networks on the same pictures; ``layers`` and networks by ``default`` where the options name none."""
        models = load_networks(self.model, self.layers or layers, default)
        pictures = self.pictures(common_size(models, self.size), least)
        return [NetworkActivations(model, pictures.pixels) for model in models], pictures


def load_networks(
    models: Sequence[str], layers: Sequence[str], default: Callable[[], Sequence[Path]] = small_weights
) -> list[Model]:
    """The networks named, or the default ones, with the layers of `choose_layers`; errors also as `load_model`."""
    require_extra("a network on pictures", "study", "torch", "PIL")
    from semrsm_bench.activations.models import load_model

    # Networks without stages can be loaded only with the names of their layers.
    named = () if tuple(layers) in ((LAST,), (STAGES,), (BLOCKS,)) else layers
    loaded = [load_model(spec, named) for spec in (models or [str(path) for path in default()])]
    names = [model.name for model in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two networks are called {twice!r}; rename one of the files: tables tell them apart by name")
    return [choose_layers(model, layers) for model in loaded]


def choose_layers(model: Model, layers: Sequence[str] = ()) -> Model:
    """The model with layers by the names of submodules.

    None or "stages" keeps its layers, "last" is the last of those, "all" every block inside of them.
    """
    from semrsm_bench.activations.models import with_layers

    chosen = tuple(dict.fromkeys(layers))
    if chosen in ((), (STAGES,)):
        chosen = model.layers
    elif chosen == (LAST,):
        chosen = model.layers[-1:]
    elif chosen == (BLOCKS,):
        blocks = {stage: model.network.get_submodule(stage).named_children() for stage in model.layers}
        chosen = tuple(f"{stage}.{child}" for stage, children in blocks.items() for child, _ in children)
        if not chosen:
            raise ValueError(f"layers {', '.join(model.layers)} of {model.name} hold no blocks; name layers instead")
    return with_layers(model, chosen)


def common_size(models: Sequence[Model], size: int | None = None) -> int:
    """Side of the pictures for all networks: ``size``, or the one size that all of them take."""
    wanted = sorted({model.size for model in models})
    if size is None and len(wanted) != 1:
        raise ValueError(
            f"the networks take pictures of {' and '.join(map(str, wanted))} pixels: choose one with --size"
        )
    return wanted[0] if size is None else size


class LayerActivations(ABC):
    """Activations of a network on N images, one layer at a time; those used last stay in memory, so that asking again gives
    the same array.

    Attributes
    ----------
    name : str
    layers : sequence of str
    """

    name: str
    layers: Sequence[str]

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Digest of all that the activations depend on."""

    @abstractmethod
    def shape(self, layer: str) -> tuple[int, int, int]:
        """N, C and S of a layer."""

    @abstractmethod
    def grid(self, layer: str) -> tuple[int, int] | None:
        """The grid of a layer's positions, (H, W); None where they are no grid."""

    @property
    @abstractmethod
    def logits(self) -> NDArray[np.float32] | None:
        """Logits, (N, K); None where the network gives none."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Class probabilities, (N, K); ValueError where the network gives no logits."""
        logits = self.logits
        if logits is None:
            raise ValueError(f"{self.name} returns no logits (N, K), so it has no class probabilities to compare")
        return np.asarray(softmax(logits.astype(np.float64), axis=1))

    @abstractmethod
    def _read(self, layer: str) -> Mapping[str, NDArray[np.float32]]:
        """Activations of a layer, and of those that come with it."""

    def activations(self, layer: str) -> NDArray[np.float32]:
        """Activations of a layer, (N, C, S), float32, read-only."""
        if (self, layer) not in _held:
            for name, values in self._read(layer).items():
                values.setflags(write=False)
                _held[self, name] = values
        _held.move_to_end((self, layer))
        while len(_held) > 1 and sum(held.nbytes for held in _held.values()) > _REMEMBERED:
            _held.popitem(last=False)
        return _held[self, layer]


class NetworkActivations(LayerActivations):
    """Of a network that runs on pictures (N, H, W, 3), uint8.

    All layers together may be too large for memory, so large ones have a forward pass each.
    """

    def __init__(self, model: Model, pixels: NDArray[np.uint8]) -> None:
        self.model, self.pixels = model, pixels
        self.name = model.name
        self._logits: NDArray[np.float32] | None = None

    @cached_property
    def layers(self) -> Sequence[str]:  # type: ignore[override]
        """Those of the model; of those that a wildcard found only what has positions, which a pass tells."""
        return tuple(self._one_picture.layers) if self.model.by_pattern else self.model.layers

    def shape(self, layer: str) -> tuple[int, int, int]:
        """See `LayerActivations`; from a forward pass of one picture."""
        return (len(self.pixels), *self._one_picture.layers[layer].shape[1:])

    def grid(self, layer: str) -> tuple[int, int] | None:
        """See `LayerActivations`."""
        return self._one_picture.grids[layer]

    def _read(self, layer: str) -> Mapping[str, NDArray[np.float32]]:
        entries = sum(math.prod(self.shape(one)) for one in self.layers)
        seen = self._run(self.pixels, self.layers if 4 * entries <= _TOGETHER else [layer])
        self._logits = seen.logits
        return seen.layers

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """See `LayerActivations`."""
        if self._logits is None and self._one_picture.logits is not None:
            self._logits = self._run(self.pixels, []).logits
        return self._logits

    @property
    def family(self) -> str:
        """Architecture and width of a network of the project; the name of any other."""
        network = self.model.network
        known = all(hasattr(network, name) for name in ("architecture", "width"))
        return f"{network.architecture}-w{network.width}" if known else self.name

    @cached_property
    def sha256(self) -> str:
        """Digest of the weights and the pictures."""
        digest = hashlib.sha256(f"{self.model.weights_sha256} {self.pixels.shape} ".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    @cached_property
    def _one_picture(self) -> Activations:
        return self._run(self.pixels[:1], self.model.layers)

    def _run(self, pixels: NDArray[np.uint8], layers: Sequence[str]) -> Activations:
        from semrsm_bench.activations.reader import activations_of

        try:
            return activations_of(self.model, pixels, layers)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None


@dataclass(frozen=True, eq=False)
class LazyLayer:
    """Some pictures' activations of a layer, (n, C, S): numpy takes it for an array, which is made when it is used."""

    seen: NetworkActivations
    name: str
    rows: NDArray[np.intp]

    ndim = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """n, C and S."""
        return (len(self.rows), *self.seen.shape(self.name)[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> LazyLayer:
        return replace(self, rows=self.rows[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.seen.activations(self.name)[self.rows], dtype=dtype)


class CachedActivations(LayerActivations):
    """Of some images of a cache, by their indices; ``layers`` by name, "last", or all of them."""

    def __init__(self, cache: Cache, images: Sequence[int], layers: Sequence[str] = ()) -> None:
        self._cache, self._images = cache, np.asarray(images, dtype=np.intp)
        self.name = str(cache.metadata["model"])
        self.layers = cache.layers[-1:] if tuple(layers) == (LAST,) else list(layers) or cache.layers
        for layer in self.layers:
            cache.shape(layer)  # an error belongs here

    @property
    def sha256(self) -> str:
        """Digest of the cache and the choice of images."""
        return hashlib.sha256(f"{self._cache.sha256} {self._images.tolist()}".encode()).hexdigest()

    def shape(self, layer: str) -> tuple[int, int, int]:
        """See `LayerActivations`."""
        return (len(self._images), *self._cache.shape(layer)[1:])

    def grid(self, layer: str) -> tuple[int, int] | None:
        """See `LayerActivations`."""
        return self._cache.grid(layer)

    def _read(self, layer: str) -> Mapping[str, NDArray[np.float32]]:
        return {layer: self._cache.activations(layer, slice(None))[self._images].astype(np.float32)}

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """See `LayerActivations`."""
        found = self._cache.logits[self._images]
        return found if found.shape[1] else None


# Activations used last, up to a number of bytes together.
_held: OrderedDict[tuple[LayerActivations, str], NDArray[np.float32]] = OrderedDict()


def identity_bandwidth(z: NDArray[Any], z2: NDArray[Any] | None = None) -> float:
    """Bandwidth of the RBF kernel by the median of the squared distances at equal positions (rule ``offdiag_median``).

    Of activations (N, C, S) and (M, C, S). No centring changes it, because what is subtracted from all images leaves their
    distances alone. ValueError: the median is 0, as where more than half of the images are equal.
    """
    rows = z.reshape(len(z), -1)
    columns = None if z2 is None else z2.reshape(len(z2), -1)
    distances = np.zeros((len(z), len(z if z2 is None else z2)))
    # Some units at a time: in float64 the activations of a large layer would take gigabytes.
    step = max(1, _DISTANCE_ENTRIES // sum(distances.shape))
    for start in range(0, rows.shape[1], step):
        part = slice(start, start + step)
        distances += squared_distances(rows[:, part], None if columns is None else columns[:, part])
    return bandwidth(distances, query_database=z2 is not None)


def thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (..., H, W, 3) for a contact sheet, made smaller by a whole number so that the shorter side has about 128 pixels."""
    *front, height, width, colours = pixels.shape
    step = max(1, min(height, width) // _THUMBNAIL)
    rows, columns = height // step, width // step
    cut = pixels[..., : rows * step, : columns * step, :]
    blocks = cut.reshape(*front, rows, step, columns, step, colours)
    return np.asarray(blocks.mean(axis=(-4, -2)).round(), dtype=np.uint8)
