"""What predicts a score: rank correlations, a ridge regression judged on held-out groups, and the share that a label explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval
from semrsm_bench.metrics import calibrated_score, p_value
from semrsm_bench.studies.held_out import assign_folds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_ALPHAS = np.logspace(-2, 4, 13)


@dataclass(frozen=True)
class Ridge:
    """A ridge regression of the score on standardised predictors.

    Attributes
    ----------
    coefficients : dict of Interval
        Standard deviations of the score for one of the predictor.
    r2 : Interval
        Share of the variance explained on groups that the regression was not fitted on; below 0 where it predicts worse
        than the mean.
    """

    coefficients: dict[str, Interval]
    r2: Interval


@dataclass(frozen=True)
class LabelEffect:
    """How much of a score's variance lies between labels.

    Attributes
    ----------
    share : float
        Sum of squares between labels over the total (eta squared), in [0, 1].
    chance : float
        Its mean once the labels are reordered: many small classes explain much by chance.
    adjusted : float
        (share - chance) / (1 - chance).
    p_value : float
    classes : int
    """

    share: float
    chance: float
    adjusted: float
    p_value: float
    classes: int


def resamples(groups: Any, n: int, seed: int = 0) -> Iterator[IntArray]:
    """Bootstrap samples of indices: groups drawn with replacement, each with all its members."""
    _, number = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(number, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(number))[:-1])
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield np.concatenate([members[g] for g in rng.integers(len(members), size=len(members))])


def rank_correlations(
    score: FloatArray,
    predictors: Mapping[str, FloatArray],
    groups: Any,
    *,
    given: FloatArray | None = None,
    resampled: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Spearman's correlation of the score with each predictor, with a percentile bootstrap interval over groups.

    Parameters
    ----------
    score : ndarray, (n,)
    predictors : mapping of name to ndarray, (n,)
    groups : array_like, (n,)
    given : ndarray, (n,), optional
        Partial correlations: what the ranks of this one explain linearly is taken out of the other ranks first.
    resampled, seed : int

    Returns
    -------
    dict of Interval
        A constant predictor has no ranks: its values are NaN. Resamples in which it happens to be constant are left out.
    """
    control = [] if given is None else [given]
    table = np.column_stack([*control, score, *predictors.values()])
    values = _spearman(table, len(control))
    drawn = np.array([_spearman(table[rows], len(control)) for rows in resamples(groups, resampled, seed)])
    return {name: _interval(values[j], drawn[:, j]) for j, name in enumerate(predictors)}


def _spearman(table: FloatArray, controls: int = 0) -> FloatArray:
    """Correlation of the column after the controls with those that follow it."""
    from scipy.stats import rankdata

    ranks = rankdata(table, axis=0)
    ranks -= ranks.mean(axis=0)
    whole = np.linalg.norm(ranks, axis=0)
    if controls and whole[0] > 0:
        ranks -= np.outer(ranks[:, 0], ranks[:, 0] @ ranks / whole[0] ** 2)
    left = np.linalg.norm(ranks, axis=0)
    # Constant, or nothing but the control: what is left is rounding.
    left[left <= 1e-9 * whole] = np.nan
    return np.asarray(ranks[:, controls] @ ranks[:, controls + 1 :] / (left[controls] * left[controls + 1 :]))


def _interval(value: float, drawn: FloatArray) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not known.size:
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def ridge(
    score: FloatArray,
    predictors: Mapping[str, FloatArray],
    groups: Any,
    *,
    folds: int = 5,
    resampled: int = 500,
    seed: int = 0,
) -> Ridge | None:
    """Regress the score on all predictors together.

    The penalty is chosen inside each training part by leave-one-out error; groups are never parted between training and
    test. Constant predictors are left out.

    Returns
    -------
    Ridge or None
        None where no predictor varies, the score does not, or there are fewer than two groups.
    """
    try:
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise ImportError("the regression needs scikit-learn: `pip install semrsm-bench[study]`") from None

    names = [name for name, values in predictors.items() if np.ptp(values) > 0]
    groups = np.asarray(groups)
    count = len(np.unique(groups))
    if not names or np.ptp(score) == 0 or count < 2:
        return None
    x = np.column_stack([predictors[name] for name in names])
    y = (score - score.mean()) / score.std()
    model = make_pipeline(StandardScaler(), RidgeCV(_ALPHAS))
    predicted = np.empty_like(y)
    fold = assign_folds(groups, min(folds, count), seed)
    for test in (fold == k for k in np.unique(fold)):
        predicted[test] = model.fit(x[~test], y[~test]).predict(x[test])
    model.fit(x, y)
    alpha = float(model[-1].alpha_)
    whole = _coefficients(x, y, alpha)
    drawn, explained = [], []
    for rows in resamples(groups, resampled, seed):
        drawn.append(_coefficients(x[rows], y[rows], alpha))
        explained.append(_r2(y[rows], predicted[rows]))
    coefficients = {name: _interval(whole[j], np.array(drawn)[:, j]) for j, name in enumerate(names)}
    return Ridge(coefficients, _interval(_r2(y, predicted), np.array(explained)))


def _coefficients(x: FloatArray, y: FloatArray, alpha: float) -> FloatArray:
    """Ridge on predictors of unit variance (as they come out of this sample), the intercept not penalised."""
    x = x - x.mean(axis=0)
    deviation = x.std(axis=0)
    x = x / np.where(deviation > 0, deviation, 1.0)
    return np.asarray(np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ (y - y.mean())))


def _r2(y: FloatArray, predicted: FloatArray) -> float:
    total = float(np.square(y - y.mean()).sum())
    return 1 - float(np.square(y - predicted).sum()) / total if total > 0 else float("nan")


def label_effect(score: FloatArray, labels: Any, *, draws: int = 1000, seed: int = 0) -> LabelEffect | None:
    """Share of the score's variance between labels, against labels reordered at random.

    Returns
    -------
    LabelEffect or None
        None where there is one label only, or each picture has its own: then labels tell nothing.
    """
    _, number = np.unique(np.asarray(labels), return_inverse=True)
    sizes = np.bincount(number)
    if len(sizes) < 2 or len(sizes) == len(number) or np.ptp(score) == 0:
        return None
    centred = score - score.mean()
    total = float(centred @ centred)

    def share(order: IntArray) -> float:
        return float((np.bincount(order, weights=centred) ** 2 / sizes).sum()) / total

    rng = np.random.default_rng(seed)
    null = np.array([share(rng.permutation(number)) for _ in range(draws)])
    value = share(number)
    return LabelEffect(value, float(null.mean()), calibrated_score(value, null), p_value(value, null), len(sizes))
