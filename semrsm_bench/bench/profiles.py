"""Solvers over many cases: performance profiles, shifted geometric means of time, ranks, and how time grows with S."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.ledger import NOT_TRIED
from semrsm_bench.bench.summary import resampled
from semrsm_bench.core import stats
from semrsm_bench.core.row import FAULT_BY, cell_key
from semrsm_bench.core.stats import UNKNOWN, Floats, Interval, interval_of
from semrsm_bench.core.task import Task
from semrsm_bench.solvers.registry import PRECISION

Row = Mapping[str, Any]
K = TypeVar("K", bound=Hashable)

# What a score must reach, by name. A solver that is registered as exact is held to its own precision when it is scored.
EXACT = "exact"
LEVELS: Mapping[str, float] = {"c >= .99": 0.99, "c >= .999": 0.999, EXACT: 1 - PRECISION}
FACTORS = (1.0, 2.0, 10.0)
# The shift of geometric means at S = 1024, s; it grows with S², as the affinity does.
SHIFT = 1e-3
FEWEST_SIZES = 3


@dataclass(frozen=True)
class Standing:
    """A method at one level: its place by ``behind``, its mean time over that of the virtual best solver, both unknown where
    it lacks a cell or never reaches the level; shares of its ``cases`` within factors of the fastest, and those that reach it, each
    cell alike.
    """

    rank: Interval
    behind: Interval
    within: Mapping[float, float]
    reached: float
    cases: int


@dataclass(frozen=True)
class TimeTable(Generic[K]):
    """Times of M methods on N cases of some cells, (M, N), s: end to end, or of the call alone; infinite where a method failed,
    NaN where it was not measured. ``scores`` are beside them, ``weights`` those of the cases in every draw, (1 + B, N).
    """

    methods: tuple[K, ...]
    cases: tuple[str, ...]
    cells: tuple[str, ...]  # of each case
    sizes: Floats
    total: Floats
    alone: Floats
    scores: Floats
    exact: tuple[bool, ...]
    deadline: float
    weights: Floats = field(repr=False)

    @cached_property
    def places(self) -> dict[str, Floats]:
        """Which cases are in each cell."""
        return {cell: np.array([c == cell for c in self.cells]) for cell in dict.fromkeys(self.cells)}

    def to_reach(self, level: str) -> Floats:
        """Times end to end, infinite also where the score is below the level.

        A case that only one rival was given, a method that reaches the level somewhere or fails, says nothing of who is fastest:
        there all are NaN.
        """
        good = self.scores >= LEVELS[level]
        if level == EXACT:
            good |= np.array(self.exact, dtype=bool)[:, None]
        reached = np.where(good | np.isnan(self.total), self.total, np.inf)
        # Where the optimum is not known, nor is this.
        times: Floats = np.where(np.isfinite(self.total) & np.isnan(self.scores), np.nan, reached)
        rivals = (np.isfinite(times) | np.isinf(self.total)).any(axis=1)
        if rivals.sum() > 1:
            times[:, (~np.isnan(self.total[rivals])).sum(axis=0) == 1] = np.nan
        return times

    @staticmethod
    def best(times: Floats) -> Floats:
        """The virtual best solver: of each case the shortest time, NaN where none is known, (N,)."""
        fastest = np.where(np.isnan(times), np.inf, times).min(axis=0, initial=np.inf)
        return np.where(np.isnan(times).all(axis=0), np.nan, fastest)

    def ratios(self, level: str) -> Floats:
        """Times over the shortest of each case, of which a profile is the distribution (Dolan and Moré 2002), (M, N)."""
        times = self.to_reach(level)
        best = self.best(times)
        return np.where(np.isinf(times), np.inf, times / np.where(np.isinf(best), 1.0, best))

    def profile(self, level: str, factors: Floats) -> Floats:
        """Share of each method's cases in which its time is within each factor of the shortest, (M, factors)."""
        ratios = self.ratios(level)
        return np.stack([self._share(ratios <= factor, ~np.isnan(ratios)) for factor in factors], axis=1)

    def _share(self, true: NDArray[np.bool_], known: NDArray[np.bool_]) -> Floats:
        """How often something is true where it is known, (M,): a mean over cells. A budget leaves few cases of large S."""
        cells = np.array(list(self.places.values()), dtype=bool).reshape(len(self.places), -1)
        count = known.astype(float) @ cells.T
        shares = ((true & known).astype(float) @ cells.T) / np.where(count, count, np.nan)
        found: Floats = np.nansum(shares, axis=1) / np.where(count.any(axis=1), (count > 0).sum(axis=1), np.nan)
        return found

    def means(self, times: Floats) -> dict[str, Floats]:
        """Shifted geometric means by cell of times (M, N), failures charged at the deadline, in every draw, (M, 1 + B), s."""
        charged = np.minimum(times, self.deadline)
        found = {}
        for cell, here in self.places.items():
            shift = SHIFT * (float(self.sizes[here][0]) / 1024) ** 2 if self.sizes[here][0] else SHIFT
            logs, weights = np.log(charged[:, here] + shift), self.weights[:, here]
            found[cell] = np.exp([stats.weighted_mean(values, weights) for values in logs]) - shift
        return found

    def standings(self, level: str) -> dict[K, Standing]:
        """Every method at a level. Over cells the ratio to the virtual best solver is a geometric mean: each cell counts alike."""
        times = self.to_reach(level)
        # Of the cases that a method was given, so that both are means of the same.
        own, virtual = self.means(times), self.means(np.where(np.isnan(times), np.nan, self.best(times)))
        possible = [cell for cell, here in self.places.items() if np.isfinite(self.best(times)[here]).any()]
        behind = np.exp(sum(np.log(own[cell] / virtual[cell]) for cell in possible) / max(len(possible), 1))
        behind = np.broadcast_to(behind, (len(times), len(self.weights))).copy()
        behind[~np.isfinite(times).any(axis=1)] = np.nan
        # Equal ones share the better place.
        ranks = np.where(np.isnan(behind), np.nan, 1.0 + (behind[None] < behind[:, None]).sum(axis=1))
        within, cases = self.profile(level, np.array(FACTORS)), (~np.isnan(times)).sum(axis=1)
        reached = self._share(np.isfinite(times), ~np.isnan(times))
        return {
            method: Standing(
                interval_of(ranks[m]),
                interval_of(behind[m]),
                dict(zip(FACTORS, map(float, within[m]))),
                float(reached[m]),
                int(cases[m]),
            )
            for m, method in enumerate(self.methods)
        }

    def growth(self) -> dict[K, Interval]:
        """The exponent p of T ~ S^p: least squares through the mean logarithms of the call's time at each S, at three or more.

        Its interval says how sure p is for other cases, not that the growth is a power.
        """
        sizes = np.unique(self.sizes[self.sizes > 0])
        found = {}
        for method, times in zip(self.methods, self.alone):
            logs = np.log(np.where(np.isfinite(times), times, np.nan))
            known = [size for size in sizes if np.isfinite(logs[self.sizes == size]).any()]
            if len(known) < FEWEST_SIZES:
                found[method] = UNKNOWN
                continue
            x = np.log(known) - np.mean(np.log(known))
            y = [stats.weighted_mean(logs[self.sizes == size], self.weights[:, self.sizes == size]) for size in known]
            found[method] = interval_of(x @ np.array(y) / (x @ x))
        return found


def time_table(rows: Sequence[Row], task: Task, deadline: float, key: Callable[[Row], K]) -> TimeTable[K]:
    """The times of rows that count; ``key`` says which method a row is of, ``deadline`` is that of the run, s.

    A method fails on a case where its row is not ok, and on those that were not tried for its failures. What a budget cut, what
    was skipped as too slow, and what does not fit a method was not measured.
    """
    rows, units, _ = resampled(rows, task)
    cases = {row["case"]: row for row in rows if row["case"]}
    methods = list(dict.fromkeys(map(key, rows)))
    of_method, of_case = ({name: i for i, name in enumerate(names)} for names in (methods, cases))
    cells = [cell_key(row["cell"]) for row in cases.values()]
    shape = len(methods), len(cases)
    total, alone, scores = (np.full(shape, np.nan) for _ in range(3))
    found: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        if row["case"] and row["raw"].get(FAULT_BY) == "machine":
            continue  # says nothing of the method
        if row["case"]:
            found.setdefault((of_method[key(row)], of_case[row["case"]]), []).append(row)
        elif row["message"].startswith(NOT_TRIED):
            there = [i for i, cell in enumerate(cells) if cell == cell_key(row["cell"])]
            alone[of_method[key(row)], there] = total[of_method[key(row)], there] = np.inf
    for at, observed in found.items():
        good = [row for row in observed if row["status"] == "ok" and row["seconds"]]
        if len(good) < len(observed):
            alone[at] = total[at] = np.inf
            continue
        alone[at] = np.median([row["seconds"] for row in good])
        total[at] = np.median([row["seconds"] + (row["shared_seconds"] or 0.0) for row in good])
        values = [row["scores"].get(task.scores[0].name) for row in good]
        scores[at] = math.nan if None in values else np.mean(values)
    exact = {key(row) for row in rows if row["category"] == "exact"}
    weights = stats.row_weights(
        [row["units"][task.unit] for row in cases.values()], stats.bootstrap_draws(len(units)), units
    )
    return TimeTable(
        tuple(methods),
        tuple(cases),
        tuple(cells),
        np.array([float(row["cell"].get("size") or 0) for row in cases.values()]),
        total,
        alone,
        scores,
        tuple(method in exact for method in methods),
        deadline,
        weights,
    )
