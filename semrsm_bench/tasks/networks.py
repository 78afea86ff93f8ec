"""Networks on pictures: which ones, which layers, and their activations one layer at a time."""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.folders import shipped_weights, small_weights
from semrsm_bench.metrics.kernels import bandwidth, squared_distances

if TYPE_CHECKING:
    from semrsm_bench.activations.extract import Activations
    from semrsm_bench.activations.models import Model

# Words for a choice of layers that is no name of a submodule.
LAST, STAGES, BLOCKS = "last", "stages", "all"
_REMEMBERED = 1 << 30
# Layers that together take no more than this share a forward pass.
_TOGETHER = 1 << 28
_DISTANCE_ENTRIES = 1 << 24


def require_libraries(task: str) -> None:
    """Raise ImportError, naming the extra, where the libraries that run networks on pictures are missing."""
    if missing := [name for name in ("torch", "PIL") if importlib.util.find_spec(name) is None]:
        raise ImportError(
            f"the task {task} runs networks on pictures, which needs {' and '.join(missing)}: "
            "`pip install semrsm-bench[study]`"
        )


def shipped_networks() -> list[Path]:
    """The trained ResNet-18 and the four small ResNets (two depths, two seeds) in the checkout's ``data/``."""
    return [shipped_weights(), *small_weights()]


def load_networks(
    models: Sequence[str], layers: Sequence[str], default: Callable[[], Sequence[Path]] = small_weights
) -> list[Model]:
    """The networks named, or the default ones (the four small ResNets), with the layers of `choose_layers`.

    Raises
    ------
    ValueError
        Two networks have the same name, a layer that does not exist, and as `load_model` does.
    FileNotFoundError, ImportError
        As `load_model`.
    """
    from semrsm_bench.activations.models import load_model

    # Networks without stages can be loaded only with the names of their layers.
    named = () if tuple(layers) in ((LAST,), (STAGES,), (BLOCKS,)) else layers
    loaded = [load_model(spec, named) for spec in (models or [str(path) for path in default()])]
    names = [model.name for model in loaded]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(
            f"two networks are called {twice!r}; rename one of the files, names tell them apart in the tables"
        )
    return [choose_layers(model, layers) for model in loaded]


def choose_layers(model: Model, layers: Sequence[str] = ()) -> Model:
    """The model with the layers that are named.

    Parameters
    ----------
    model : Model
    layers : sequence of str
        Names of submodules; none or "stages" keeps the model's own, "last" is the last of those, "all" every block inside of
        them.

    Raises
    ------
    ValueError
        A name that the network does not have, or "all" for a network whose layers hold no blocks.
    """
    from semrsm_bench.activations.models import with_layers

    if tuple(layers) == (LAST,):
        return with_layers(model, model.layers[-1:])
    if tuple(layers) in ((), (STAGES,)):
        return with_layers(model, model.layers)
    if tuple(layers) != (BLOCKS,):
        return with_layers(model, tuple(dict.fromkeys(layers)))
    names = tuple(
        f"{stage}.{child}" for stage in model.layers for child, _ in model.network.get_submodule(stage).named_children()
    )
    if not names:
        raise ValueError(f"the layers {', '.join(model.layers)} of {model.name} hold no blocks; name layers instead")
    return with_layers(model, names)


def common_size(models: Sequence[Model], size: int | None = None) -> int:
    """Side of the pictures that all networks look at: ``size``, or the one that all of them want.

    Raises
    ------
    ValueError
        They want different sizes, and none was given.
    """
    wanted = sorted({model.size for model in models})
    if size is None and len(wanted) != 1:
        raise ValueError(
            f"the networks want pictures of {' and '.join(map(str, wanted))} pixels: choose one with --size"
        )
    return wanted[0] if size is None else size


class NetworkActivations:
    """What a network makes of pictures, one layer at a time.

    All layers together may be too large for memory, so large ones have a forward pass each; the activations used last stay in
    memory, so that asking again gives the same array.

    Parameters
    ----------
    model : Model
        With the layers of interest.
    pixels : ndarray, (N, H, W, 3), uint8
    """

    def __init__(self, model: Model, pixels: NDArray[np.uint8]) -> None:
        self.model, self.pixels = model, pixels
        self._probabilities: NDArray[np.float64] | None = None

    @property
    def name(self) -> str:
        """The network's."""
        return self.model.name

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return self.model.layers

    def shape(self, layer: str) -> tuple[int, int, int]:
        """N, C and S of a layer, from a forward pass of one picture."""
        return (len(self.pixels), *self._one_picture.layers[layer].shape[1:])

    def grid(self, layer: str) -> tuple[int, int] | None:
        """How the positions of a layer lie, (H, W); None where they are no grid."""
        return self._one_picture.grids[layer]

    def activations(self, layer: str) -> NDArray[np.float32]:
        """Activations of a layer, (N, C, S), float32, read-only."""
        found = _memory.get((self, layer))
        if found is None:
            entries = sum(math.prod(self.shape(one)) for one in self.layers)
            seen = self._run(self.pixels, self.layers if 4 * entries <= _TOGETHER else [layer])
            for name, values in seen.layers.items():
                values.setflags(write=False)
                _memory.keep((self, name), values)
            if seen.logits is not None:
                self._probabilities = seen.probabilities
            found = seen.layers[layer]
        return found

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Class probabilities, (N, K).

        Raises
        ------
        ValueError
            The network gives no logits.
        """
        if self._probabilities is None:
            if self._one_picture.logits is None:
                raise ValueError(f"{self.name} returns no logits (N, K), so it has no class probabilities to compare")
            self._probabilities = self._run(self.pixels, []).probabilities
        return self._probabilities

    @cached_property
    def sha256(self) -> str:
        """Digest of the weights and the pictures."""
        digest = hashlib.sha256(f"{self.model.weights_sha256} {self.pixels.shape} ".encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    @cached_property
    def _one_picture(self) -> Activations:
        return self._run(self.pixels[:1], self.layers)

    def _run(self, pixels: NDArray[np.uint8], layers: Sequence[str]) -> Activations:
        from semrsm_bench.activations.extract import activations_of

        try:
            return activations_of(self.model, pixels, layers, quiet=True)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None


class _Memory:
    """Arrays used last, up to a number of bytes together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[Any, NDArray[np.float32]] = OrderedDict()

    def get(self, key: Any) -> NDArray[np.float32] | None:
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def keep(self, key: Any, array: NDArray[np.float32]) -> None:
        self._held[key] = array
        while len(self._held) > 1 and sum(a.nbytes for a in self._held.values()) > self.limit:
            self._held.popitem(last=False)


_memory = _Memory(_REMEMBERED)


def identity_bandwidth(z: NDArray[Any], z2: NDArray[Any] | None = None) -> float:
    """Bandwidth of the RBF kernel by the median of the squared distances at equal positions (rule ``offdiag_median``).

    No centring changes it, because what is subtracted from all images leaves their distances alone.

    Parameters
    ----------
    z, z2 : ndarray, (N, C, S) and (M, C, S)

    Raises
    ------
    ValueError
        The median is 0, as where more than half of the images are equal; or an activation is not finite.
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
