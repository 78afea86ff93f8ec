"""From rows to figures with an interval: one definition for tables, plots, gate and comparison."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from semrsm_bench.solvers import chance_corrected, quality

CELL = ("solver", "model", "layer", "size", "channels", "centring")


class Interval(NamedTuple):
    """A figure and its bootstrap interval; all NaN without data, low = value = high for a single value."""

    value: float
    low: float
    high: float


def median_interval(values: ArrayLike, *, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Median with a seeded percentile bootstrap interval.

    Parameters
    ----------
    values : array_like, (n,)
        Non-finite values raise ValueError.
    seed, resamples : int
    level : float
        Coverage of the interval, between 0 and 1.
    """
    return _bootstrap(values, np.median, seed, resamples, level)


def mean_interval(values: ArrayLike, *, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Mean with a seeded percentile bootstrap interval; parameters as in `median_interval`."""
    return _bootstrap(values, np.mean, seed, resamples, level)


def _bootstrap(values: ArrayLike, statistic: Callable[..., Any], seed: int, resamples: int, level: float) -> Interval:
    sample: NDArray[np.float64] = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(sample).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(sample))} of {sample.size} values are not finite; drop them first"
        )
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level must lie between 0 and 1 and resamples be positive, got {level} and {resamples}")
    if sample.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    value = float(statistic(sample))
    if sample.size == 1:
        return Interval(value, value, value)
    draws = np.random.default_rng(seed).integers(sample.size, size=(resamples, sample.size))
    low, high = np.quantile(statistic(sample[draws], axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def summarise(rows: pd.DataFrame, *, seed: int = 0, level: float = 0.95) -> pd.DataFrame:
    """One line per cell (solver, layer, centring) with medians, means, worsts and intervals.

    Times are medians over pairs (repeats of a pair are reduced to their median first), qualities means over pairs.
    ``quality*`` are NaN as soon as one pair of the cell has k_opt <= 0, where the ratio means nothing;
    ``k_opt_nonpositive`` counts those pairs.

    Parameters
    ----------
    rows : DataFrame
        As `semrsm_bench.bench.results.load_rows` returns it.
    seed : int
        Of the bootstrap.
    level : float
        Coverage of the intervals.

    Returns
    -------
    DataFrame
        Columns: ``solver model layer size channels centring kind matrix_free pairs status counts message``, then
        ``seconds``, ``total_seconds`` (solve + affinity where one is needed), ``quality``, ``chance_corrected``, each with
        ``_low`` and ``_high``, and ``quality_worst``, ``chance_corrected_worst``, ``quality_bound``, ``chance_corrected_bound``
        (means against k_upper: certified from below where k_opt is unknown), ``affinity_seconds``, ``peak_bytes``,
        ``k_opt_nonpositive``, ``optimum_certificate``.
    """
    lines = [_summary(cell, group, seed, level) for cell, group in rows.groupby(list(CELL), sort=False, dropna=False)]
    return pd.DataFrame(lines, columns=_COLUMNS)


_INTERVALS = ("seconds", "total_seconds", "quality", "chance_corrected")
_COLUMNS = [
    *CELL,
    *("kind", "matrix_free", "pairs", "status", "counts", "message"),
    *(name + suffix for name in _INTERVALS for suffix in ("", "_low", "_high")),
    *("quality_worst", "chance_corrected_worst", "quality_bound", "chance_corrected_bound", "affinity_seconds"),
    *("peak_bytes", "k_opt_nonpositive", "optimum_certificate"),
]


def _summary(cell: Any, group: pd.DataFrame, seed: int, level: float) -> dict[str, Any]:
    counts = Counter(str(s) for s in group["status"])
    bad = group[group["status"] != "ok"]
    # A skip beside failures is their consequence; the failure is what the reader needs to see.
    faults = [s for s in bad["status"] if s != "skipped"]
    worst = Counter(faults).most_common(1)[0][0] if faults else "skipped"
    messages = bad.loc[bad["status"] == worst, "message"] if faults or not counts["ok"] else bad["message"]
    line: dict[str, Any] = dict(zip(CELL, cell))
    line |= {
        "kind": group["kind"].iloc[0],
        "matrix_free": bool(group["matrix_free"].iloc[0]),
        "status": "ok" if counts["ok"] else worst,
        "counts": dict(counts),
        "message": str(messages.iloc[0]) if len(messages) else "",
    }
    ok = group[group["status"] == "ok"]
    pairs = ok.assign(total_seconds=ok["seconds"] + ok["affinity_seconds"].fillna(0.0))
    numbers = ["seconds", "total_seconds", "affinity_seconds", "k", "k_opt", "k_rand", "k_upper", "peak_bytes"]
    numbers += ["optimum_certificate"]
    per_pair = pairs[numbers].astype("float64").groupby(pairs["pair"], sort=False).median()
    line["pairs"] = len(per_pair)
    for name in ("seconds", "total_seconds"):
        line |= _spread(name, median_interval(per_pair[name].dropna(), seed=seed, level=level))
    ratios = _ratios(per_pair, "k_opt")
    line["k_opt_nonpositive"] = int((per_pair["k_opt"] <= 0).sum())
    for name, values in ratios.items():
        known = values if np.isfinite(values).all() else values[:0]
        line |= _spread(name, mean_interval(known, seed=seed, level=level))
        line[f"{name}_worst"] = float(known.min()) if known.size else math.nan
    for name, values in _ratios(per_pair, "k_upper").items():
        line[f"{name}_bound"] = float(values.mean()) if values.size else math.nan
    for name in ("affinity_seconds", "peak_bytes"):
        line[name] = float(per_pair[name].median())
    line["optimum_certificate"] = float(per_pair["optimum_certificate"].max())
    return line


def _spread(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _ratios(pairs: pd.DataFrame, reference: str) -> dict[str, NDArray[np.float64]]:
    """Values over a reference value, plain and chance-corrected, per pair; NaN where the reference is unknown."""
    known = zip(pairs["k"], pairs[reference], pairs["k_rand"])
    both = [
        (quality(k, r), chance_corrected(k, r, z)) if math.isfinite(r) else (math.nan, math.nan) for k, r, z in known
    ]
    table = np.array(both, dtype=np.float64).reshape(-1, 2)
    return {"quality": table[:, 0], "chance_corrected": table[:, 1]}
