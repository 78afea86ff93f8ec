"""What a set of networks makes of pictures: pooled features by layer, class probabilities, and how far those agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics import jensen_shannon
from semrsm_bench.progress import progress_bar

if TYPE_CHECKING:
    from semrsm_bench.activations.models import Model

FloatArray = NDArray[np.float64]

LOGITS = "logits"
POOLINGS = ("mean", "none")
# Pictures whose unpooled activations are in memory at once.
_BATCH = 128


@dataclass(frozen=True)
class Features:
    """Features of N pictures in one network.

    Attributes
    ----------
    layers : dict of ndarray, (N, d), float32
    probabilities : ndarray, (N, classes), or None
        None where the network returns no logits.
    """

    layers: dict[str, NDArray[np.float32]]
    probabilities: FloatArray | None


def network_features(
    model: Model, pixels: NDArray[np.uint8], layers: Sequence[str], pooling: str = "mean", *, quiet: bool = False
) -> Features:
    """Run a network over pictures and keep one vector a layer.

    Parameters
    ----------
    model : Model
    pixels : ndarray, (N, H, W, 3), uint8
    layers : sequence of str
        Submodules that ``model`` was loaded with, and "logits".
    pooling : {"mean", "none"}
        Mean over positions, or all positions one after another.

    Raises
    ------
    ValueError
        An unknown pooling, "logits" of a network without any, and as `activations_of` does.
    """
    from semrsm_bench.activations.forward import activations_of

    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    modules = [layer for layer in layers if layer != LOGITS]
    kept: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in layers}
    probabilities: list[FloatArray] = []
    with progress_bar(len(pixels), model.name, unit="picture", quiet=quiet) as bar:
        for start in range(0, len(pixels), _BATCH):
            part = activations_of(model, pixels[start : start + _BATCH], modules, quiet=True)
            for layer in modules:
                z = part.layers[layer]
                kept[layer].append(z.mean(axis=2) if pooling == "mean" else z.reshape(len(z), -1))
            if LOGITS in kept:
                if part.logits is None:
                    raise ValueError(f"{model.name} returns no logits; name its layers with --layers")
                kept[LOGITS].append(part.logits)
            if part.logits is not None:
                probabilities.append(part.probabilities)
            bar.update(min(_BATCH, len(pixels) - start))
    return Features(
        {layer: np.concatenate(parts) for layer, parts in kept.items()},
        np.concatenate(probabilities) if probabilities else None,
    )


def output_predictors(probabilities: Sequence[FloatArray | None]) -> dict[str, FloatArray]:
    """What K networks say about each picture, in four figures.

    ``output entropy``
        Of the mean of their class probabilities, in nats.
    ``confidence``
        Mean of each network's largest probability.
    ``same top class``
        Share of the pairs of networks whose most probable class is the same.
    ``output divergence``
        Mean Jensen-Shannon divergence between the pairs, in nats.

    Parameters
    ----------
    probabilities : sequence of ndarray, (N, classes), or None

    Returns
    -------
    dict of ndarray, (N,)
        Empty where a network has no class probabilities, or the numbers of classes differ.
    """
    from scipy.special import entr

    known = [p for p in probabilities if p is not None]
    if not known or len(known) < len(probabilities) or len({p.shape[1] for p in known}) > 1:
        return {}
    stacked = np.stack(known, axis=1)
    pairs = list(combinations(range(len(known)), 2))
    first, second = np.array(pairs).T
    top = stacked.argmax(axis=2)
    return {
        "output entropy": entr(stacked.mean(axis=1)).sum(axis=1),
        "confidence": stacked.max(axis=2).mean(axis=1),
        "same top class": np.mean(top[:, first] == top[:, second], axis=1),
        "output divergence": np.array([jensen_shannon(p)[first, second].mean() for p in stacked]),
    }


def disjoint_halves(count: int, most: int = 10, seed: int = 0) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Divisions of ``count`` networks into two sets of at least two, as even as possible.

    All of them, or ``most`` drawn at random where there are more. Empty for fewer than four networks.
    """
    if count < 4:
        return []
    half = count // 2
    # In an even number each division would come twice, once from either side.
    fixed = 1 if count % 2 == 0 else 0
    possible = math.comb(count - fixed, half - fixed)
    chosen: list[tuple[int, ...]]
    if possible <= most:
        chosen = [first for first in combinations(range(count), half) if not fixed or first[0] == 0]
    else:
        rng = np.random.default_rng(seed)
        found: dict[tuple[int, ...], None] = {}
        while len(found) < most:
            drawn = tuple(sorted(int(k) for k in rng.permutation(count)[:half]))
            found.setdefault(drawn if not fixed or 0 in drawn else _others(drawn, count))
        chosen = list(found)
    return [(first, _others(first, count)) for first in chosen]


def _others(chosen: Any, count: int) -> tuple[int, ...]:
    return tuple(k for k in range(count) if k not in chosen)
