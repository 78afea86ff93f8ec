"""Alignments of several models that are fitted on some stimuli and applied to the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics import Barycenter
from semrsm_bench.metrics.ranks import first_largest

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

# With fewer stimuli neither an alignment nor a correlation means anything.
LEAST_STIMULI = 10
# Units of a row, whose ids are in it: pictures beyond this number are resampled in groups.
_MOST_UNITS = 100
_MOST_DIVISIONS = 10


def assign_folds(groups: Sequence[Any], folds: int, seed: int = 0) -> Integers:
    """Fold of each stimulus (n,); stimuli of one group stay together, and folds are as even as the groups allow.

    ``groups`` say what must stay together, such as the photograph that a crop was cut from. ValueError: fewer than 10 stimuli,
    fewer groups than folds, or fewer than two folds.
    """
    if len(groups) < LEAST_STIMULI:
        raise ValueError(f"{len(groups)} stimuli are too few for held-out alignments; needed are {LEAST_STIMULI}")
    _, number, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if folds < 2:
        raise ValueError(f"folds must be at least 2, so that there is something to fit on; got {folds}")
    if len(sizes) < folds:
        raise ValueError(f"{folds} folds need at least as many groups of stimuli; there are {len(sizes)}")
    order = np.random.default_rng(seed).permutation(len(sizes))
    fold_of_group = np.empty(len(sizes), dtype=np.intp)
    filled = np.zeros(folds, dtype=np.int64)
    # Large groups first, each into the emptiest fold; the sort is stable, so the seed decides among equals.
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of_group[group] = np.argmin(filled)
        filled[fold_of_group[group]] += sizes[group]
    return np.asarray(fold_of_group[number])


def held_out(
    models: Sequence[NDArray[Any]],
    fold: Integers,
    group: str = "orthogonal",
    components: int | None = None,
    seed: int = 0,
) -> Floats:
    """Every stimulus in the space of a `Barycenter` that was fitted to the models (n, d_k) on the other folds, (K, n, d).

    Models are centred and divided by their Frobenius norm over the training stimuli, so that each weighs the same; a unit of
    length is the root mean square of the training stimuli.
    """
    parts = []
    for name in np.unique(fold):
        test, train = np.flatnonzero(fold == name), np.flatnonzero(fold != name)
        barycenter = Barycenter(group, n_components=components, scale=True, seed=seed)
        barycenter.fit([np.asarray(model[train]) for model in models])
        aligned = np.stack(barycenter.transform([np.asarray(model[test]) for model in models]))
        parts.append((test, aligned * math.sqrt(len(train))))
    # With more units than stimuli the width of the space is that of the training part, which differs between folds.
    result = np.zeros((len(models), len(fold), max(aligned.shape[2] for _, aligned in parts)))
    for test, aligned in parts:
        result[:, test, : aligned.shape[2]] = aligned
    return result


def reordered(aligned: Floats, fold: Integers, seed: Sequence[int]) -> Floats:
    """Aligned stimuli (K, n, d), reordered inside the folds, in another order for each model."""
    rng = np.random.default_rng(seed)
    result = aligned.copy()
    for name in np.unique(fold):
        test = np.flatnonzero(fold == name)
        for model, moved in zip(aligned, result):
            moved[test] = model[rng.permutation(test)]
    return result


def nearest_is_own(aligned: Floats, fold: Integers, ids: Sequence[str]) -> tuple[float, float]:
    """How often the nearest stimulus (by cosine) in another model is the same item, and how often by chance, inside folds.

    Means over stimuli and ordered pairs of models, both in [0, 1]. ``ids`` name the item of each stimulus.
    """
    names = np.asarray(ids)
    hits, chance = [], []
    for held in np.unique(fold):
        test = np.flatnonzero(fold == held)
        same = names[test][:, None] == names[test]
        units = [a[test] / np.linalg.norm(a[test], axis=1, keepdims=True) for a in aligned]
        for first, second in permutations(units, 2):
            hits.append(same[np.arange(len(test)), first_largest(first @ second.T)])
            chance.append(same.mean(axis=1))
    return float(np.mean(np.concatenate(hits))), float(np.mean(np.concatenate(chance)))


def resampling_units(groups: Sequence[Any], seed: int = 0) -> tuple[tuple[str, ...], Integers]:
    """Names of what intervals resample, and which of them each stimulus belongs to; many groups are put together at random."""
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    count = int(number.max()) + 1
    units = min(count, _MOST_UNITS)
    of_group = np.random.default_rng(seed).permutation(count) % units if count > units else np.arange(count)
    return tuple(map(str, range(units))), np.asarray(of_group[number], dtype=np.intp)


def disjoint_halves(
    count: int, most: int = _MOST_DIVISIONS, seed: int = 0
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Divisions of ``count`` networks into two sets of at least two, as even as possible.

    All of them, or ``most`` drawn at random where there are more. Empty for fewer than four networks.
    """
    if count < 4:
        return []
    everyone, half, even = range(count), count // 2, count % 2 == 0
    # In an even number each division would come twice, once from either side: the first network is in the first half.
    found: dict[tuple[int, ...], None] = {}
    if math.comb(count - even, half - even) <= most:
        found = {first: None for first in combinations(everyone, half) if not even or first[0] == 0}
    rng = np.random.default_rng(seed)
    while len(found) < min(most, math.comb(count - even, half - even)):
        drawn = tuple(sorted(int(k) for k in rng.permutation(count)[:half]))
        found.setdefault(drawn if not even or 0 in drawn else tuple(k for k in everyone if k not in drawn))
    return [(first, tuple(k for k in everyone if k not in first)) for first in found]
