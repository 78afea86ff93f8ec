"""Intervals: units are drawn, or left out in turn; every figure is computed again in each draw, and its spread is the interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
LEVEL = 0.95
_ROUNDING = 1e-12

Floats = NDArray[np.float64]
Resampling = Literal["bootstrap", "jackknife"]


class Interval(NamedTuple):
    """An estimate and its interval; all NaN without data, low = value = high for a single unit."""

    value: float
    low: float
    high: float

    @property
    def margin(self) -> float:
        """The farther end: an asymmetric interval is never shown narrower than it is."""
        return max(self.high - self.value, self.value - self.low)

    def within(self, low: float, high: float) -> Interval:
        """The part that a scale has: a jackknife's interval is symmetric and may leave it."""
        return self._replace(low=max(self.low, min(low, self.value)), high=min(self.high, max(high, self.value)))

    def named(self, name: str) -> dict[str, float]:
        """As entries of a record: ``NAME``, ``NAME_low`` and ``NAME_high``."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


UNKNOWN = Interval(math.nan, math.nan, math.nan)


def exceeds(value: float, limit: float) -> bool:
    """Whether a value is beyond a limit by more than rounding; NaN is."""
    return not value <= limit + _ROUNDING


def bootstrap_draws(units: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each unit counts: all once in the first row, then drawn with replacement; (1 + resamples, units)."""
    if resamples < 1:
        raise ValueError(f"resamples must be positive, got {resamples}")
    if not units:
        return np.ones((1 + resamples, 0))
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples)
    return np.vstack([np.ones((1, units)), drawn])


def jackknife_draws(units: int) -> Floats:
    """How often each unit counts: all once in the first row, then each left out in turn; (1 + units, units)."""
    return np.vstack([np.ones((1, units)), 1 - np.eye(units)])


def interval_of(replicates: Floats, how: Resampling = "bootstrap", level: float = LEVEL) -> Interval:
    """The interval of a figure from its values (1 + B,) in every draw of `bootstrap_draws` or `jackknife_draws`.

    The first value is the estimate; where it is NaN everything is, other NaN are left out. The ends are percentiles, or of a
    jackknife of n units Student's t of n - 1 degrees of freedom times its `standard_error` to either side.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    value, others = float(replicates[0]), replicates[1:]
    others = others[~np.isnan(others)]
    if math.isnan(value) or not others.size:
        return Interval(value, math.nan, math.nan)
    if how == "jackknife":
        from scipy.special import stdtrit

        half = float(stdtrit(len(others) - 1, (1 + level) / 2)) * standard_error(replicates, how)
        return Interval(value, value - half, value + half)
    low, high = np.quantile(others, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def standard_error(replicates: Floats, how: Resampling) -> float:
    """Of a figure, from its values in every draw: their deviation, or of a jackknife that of Arvesen (1969); NaN without draws.

    A jackknife that is undefined without one of the units says nothing of what that unit adds, so it is NaN then.
    """
    others = replicates[1:]
    if how == "jackknife":
        return float(others.std()) * math.sqrt(len(others) - 1) if len(others) > 1 else math.nan
    known = others[~np.isnan(others)]
    return float(known.std()) if known.size else math.nan


def sample_interval(
    statistic: Callable[[Floats, Floats], Floats],
    values: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """A statistic of finite values with a seeded percentile bootstrap interval; the values are the units."""
    sample: Floats = np.asarray(values, dtype=np.float64).ravel()
    bad = np.count_nonzero(~np.isfinite(sample))
    if bad:
        raise ValueError(f"{bad} of {sample.size} values are not finite; drop them first")
    return interval_of(statistic(sample, bootstrap_draws(sample.size, resamples, seed)), level=level)


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Median of values (n,) that count as often as weights (B, n) say; (B,), NaN where none counts."""
    if not values.size:
        return np.full(len(weights), np.nan)
    order = np.argsort(values, kind="stable")
    ordered, reached = values[order], np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    lower = np.argmax(reached >= half, axis=1)
    upper = np.argmax(reached > half, axis=1)
    return np.where(half[:, 0] > 0, (ordered[lower] + ordered[upper]) / 2, np.nan)


def two_sided_p(replicates: Floats, how: Resampling, units: int) -> float:
    """Student's t of a difference over its standard error, units - 1 degrees of freedom; NaN where it is undefined.

    The share of draws beyond 0 would be no smaller than one draw, which no correction for many comparisons survives. A difference
    that is the same in all draws has the least p that a sign test of so many units gives: of scores that take few values, such as
    shares of a few layers, some pairs agree so by luck, and t would be endless.
    """
    from scipy.special import stdtr

    value, error = float(replicates[0]), standard_error(replicates, how)
    if math.isnan(value) or math.isnan(error) or units < 2:
        return math.nan
    if not exceeds(error, _ROUNDING * abs(value)):
        return 1.0 if value == 0 else 2.0 ** (1 - units)
    return float(2 * stdtr(units - 1, -abs(value) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, by Holm's step-down method (Holm 1979); NaN ones count for nothing."""
    known = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    worst = 0.0
    for rank, (p, i) in enumerate(known):
        worst = max(worst, min(1.0, (len(known) - rank) * p))
        corrected[i] = worst
    return corrected


def row_weights(rows: Sequence[Sequence[str]], draws: Floats, units: Sequence[str]) -> Floats:
    """Weight of each row in each draw, (B, rows): the product of the counts of its units; 1 for a row without any."""
    weights = np.ones((len(draws), len(rows)))
    for r, ids in enumerate(rows):
        weights[:, r] = counts_of(ids, draws, units).prod(axis=1)
    return weights


def counts_of(ids: Sequence[str], draws: Floats, units: Sequence[str]) -> Floats:
    """How often each of some units counts in each draw, (B, n)."""
    column = {unit: i for i, unit in enumerate(units)}
    return np.asarray(draws, dtype=np.float64)[:, [column[unit] for unit in ids]]


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Mean of values (n,) under weights (B, n) over those that are numbers; (B,), NaN where none has weight."""
    known = ~np.isnan(values)
    total = weights[:, known].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (weights[:, known] @ values[known]) / total, np.nan)


median_interval = partial(sample_interval, weighted_median)
mean_interval = partial(sample_interval, weighted_mean)
