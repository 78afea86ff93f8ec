"""Instance-level similarity of stimuli that the alignment did not see: every stimulus once, by folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics import Barycenter, instance_null, instance_similarity
from semrsm_bench.metrics.instances import KINDS
from semrsm_bench.progress import progress_bar

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

PRIMARY = "pairwise_cosine"
# With fewer stimuli neither an alignment nor a correlation means anything.
SMALLEST = 10


@dataclass(frozen=True)
class HeldOut:
    """Scores of n stimuli, each from an alignment fitted without the stimulus and its group.

    Attributes
    ----------
    scores : dict of ndarray, (n,)
        By kind, see `semrsm_bench.metrics.instance_similarity`. ``dispersion`` is in units of the mean squared length of a
        centred training stimulus.
    null : dict of ndarray, (draws, n)
        The same once every model's held-out stimuli are reordered on their own, within a fold.
    length : ndarray, (n,)
        Mean over models of the distance from the mean training stimulus, in root mean squares of the training stimuli.
    aligned : list of ndarray, (n, d)
        The stimuli themselves in the space of their fold.
    """

    scores: dict[str, FloatArray]
    null: dict[str, FloatArray]
    length: FloatArray
    aligned: list[FloatArray]


def assign_folds(groups: Any, folds: int, seed: int = 0) -> IntArray:
    """Fold of each stimulus; stimuli of one group are never parted, folds are as even as the groups allow.

    Parameters
    ----------
    groups : array_like, (n,)
        What must stay together, such as the photograph that a crop was cut from.
    folds : int
        At least 2.
    seed : int

    Raises
    ------
    ValueError
        Fewer than 10 stimuli, fewer groups than folds, or fewer than two folds.
    """
    if len(groups) < SMALLEST:
        raise ValueError(
            f"{len(groups)} stimuli are too few to fit an alignment on some and score the others; needed are {SMALLEST}"
        )
    _, number, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if folds < 2:
        raise ValueError(f"folds must be at least 2, so that there is something to fit on; got {folds}")
    if len(sizes) < folds:
        raise ValueError(
            f"{folds} folds need at least as many groups of stimuli that belong together; there are {len(sizes)}"
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    fold_of_group = np.empty(len(sizes), dtype=np.intp)
    filled = np.zeros(folds, dtype=np.int64)
    # Large groups first, each into the emptiest fold; the sort is stable, so the seed decides among equals.
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of_group[group] = np.argmin(filled)
        filled[fold_of_group[group]] += sizes[group]
    result: IntArray = fold_of_group[number]
    return result


def held_out_scores(
    features: Sequence[Any],
    fold: IntArray,
    *,
    kinds: Sequence[str] = KINDS,
    group: str = "orthogonal",
    components: int | None = None,
    draws: int = 0,
    null_kinds: Sequence[str] | None = None,
    seed: int = 0,
    progress: str = "",
) -> HeldOut:
    """Align models on all folds but one and score the stimuli of that one; for every fold.

    Models are centred and divided by their Frobenius norm over the training stimuli, so that each weighs the same.

    Parameters
    ----------
    features : sequence of array_like, (n, d_k)
        K >= 2 models.
    fold : ndarray, (n,)
        See `assign_folds`.
    kinds : sequence of str
    group, components
        Of the `Barycenter`: ``group`` and ``n_components``.
    draws : int
        Permutations for the null; 0 for none.
    null_kinds : sequence of str, optional
        Kinds that get a null; default: all.
    seed : int
        Of the permutations, and of the starts where ``group`` is "permutation".
    progress : str
        Text of a progress bar over the folds; none without.

    Raises
    ------
    ValueError
        Models of another length, a null of a fold with one stimulus, and as `Barycenter` and `instance_similarity` do.
    """
    count = len(fold)
    features = [np.asanyarray(model) for model in features]
    for k, model in enumerate(features):
        if len(model) != count:
            raise ValueError(f"features[{k}] holds {len(model)} stimuli, but the folds are for {count}")
    if draws and np.bincount(fold).min() < 2:
        raise ValueError(
            "a fold holds a single stimulus, which leaves nothing to reorder for the null; take fewer folds"
        )
    scores = {kind: np.empty(count) for kind in kinds}
    null = {kind: np.empty((draws, count)) for kind in null_kinds or kinds} if draws else {}
    length = np.empty(count)
    parts: list[tuple[IntArray, list[FloatArray]]] = []
    names = np.unique(fold)
    with progress_bar(len(names), progress, unit="fold", quiet=not progress) as bar:
        for name in names:
            test, train = np.flatnonzero(fold == name), np.flatnonzero(fold != name)
            barycenter = Barycenter(group, n_components=components, scale=True, seed=seed)
            barycenter.fit([model[train] for model in features])
            aligned = [a * np.sqrt(len(train)) for a in barycenter.transform([model[test] for model in features])]
            for kind in kinds:
                scores[kind][test] = instance_similarity(aligned, kind)
                if kind in null:
                    null[kind][:, test] = instance_null(aligned, kind, draws, seed)
            length[test] = np.mean([np.linalg.norm(a, axis=1) for a in aligned], axis=0)
            parts.append((test, aligned))
            bar.update()
    return HeldOut(scores, null, length, _assembled(parts, count, len(features)))


def _assembled(parts: list[tuple[IntArray, list[FloatArray]]], count: int, models: int) -> list[FloatArray]:
    # With more units than stimuli the width of the space is that of the training part, which differs between folds.
    width = max(aligned[0].shape[1] for _, aligned in parts)
    result = [np.zeros((count, width)) for _ in range(models)]
    for test, aligned in parts:
        for k, a in enumerate(aligned):
            result[k][test, : a.shape[1]] = a
    return result


def agreement_order(scores: FloatArray, kind: str = PRIMARY) -> IntArray:
    """Stimuli from the one that models agree on most to the one they agree on least; ties in their own order."""
    sign = 1 if kind == "dispersion" else -1
    return np.asarray(np.argsort(sign * scores, kind="stable"), dtype=np.intp)


def null_p_values(scores: FloatArray, null: FloatArray, kind: str = PRIMARY) -> FloatArray:
    """Share of the pooled null that agrees at least as much as each stimulus, itself counted in; (n,), in (0, 1].

    Every reordered stimulus is a draw from the same null, so that the null's n x draws values serve all stimuli.
    """
    sign = -1.0 if kind == "dispersion" else 1.0
    pool = np.sort(sign * null.ravel())
    beyond = pool.size - np.searchsorted(pool, sign * scores, side="left")
    return np.asarray((1 + beyond) / (1 + pool.size))


def nearest_is_own(aligned: Sequence[FloatArray], fold: IntArray, items: Any) -> tuple[float, float]:
    """How often a stimulus of one model has its own item as nearest (by cosine) in another, among the stimuli of its fold.

    Parameters
    ----------
    aligned : sequence of ndarray, (n, d)
        See `HeldOut`.
    fold : ndarray, (n,)
    items : array_like, (n,)
        What each stimulus shows; several may show the same.

    Returns
    -------
    share, chance : float
        Means over stimuli and ordered pairs of models, both in [0, 1].
    """
    names = np.asarray(items)
    hits, chance = [], []
    for held in np.unique(fold):
        test = np.flatnonzero(fold == held)
        same = names[test][:, None] == names[test]
        units = [a[test] / np.linalg.norm(a[test], axis=1, keepdims=True) for a in aligned]
        for first, second in permutations(units, 2):
            nearest = (first @ second.T).argmax(axis=1)
            hits.append(same[np.arange(len(test)), nearest])
            chance.append(same.mean(axis=1))
    return float(np.mean(np.concatenate(hits))), float(np.mean(np.concatenate(chance)))
