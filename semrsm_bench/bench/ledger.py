"""What a run has measured, what is left, how long that will take, and which cells are closed before their end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from semrsm_bench.bench.cases import TOO_SLOW, Cell, Plan
from semrsm_bench.bench.measure import LONG_SECONDS
from semrsm_bench.bench.results import resume_key
from semrsm_bench.solvers import get_solver

# After this many of them in a row the rest of a cell would only cost time.
PATIENCE_FOR_FAILURES = 2
COSTLY = ("timeout", "memory", "crashed")
_OVERHEAD_SECONDS = 0.02


@dataclass
class _Progress:
    """Of one cell."""

    measured: int = 0
    ok_pairs: set[str] = field(default_factory=set)
    spent: float = 0.0
    failures: list[str] = field(default_factory=list)
    estimate: float = math.inf
    closed: bool = False
    reason: str = ""


class Ledger:
    """Bookkeeping of a plan; fed with every row, old and new.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._cells: dict[tuple[str, str], _Progress] = defaultdict(_Progress)
        self._keys: set[str] = set()
        self._solver_options = {c.solver: dict(get_solver(c.solver).options) for c in plan.cells}
        self._sizes = {c.name: c.size for c in plan.cells}
        # solver -> S -> seconds of one solve, end to end
        self._solves: dict[str, dict[int, float]] = defaultdict(dict)
        self._optima: dict[int, list[float]] = defaultdict(list)
        self._scored: set[str] = set()

    def observe(self, row: Mapping[str, Any]) -> None:
        """Take a row into account."""
        self._keys.add(resume_key(row["solver"], row["options"], row["problem"], row["data_sha256"], row["repeat"]))
        name = row["problem"].removesuffix(f"/{row['pair']}")
        progress = self._cells[row["solver"], name]
        if not row["pair"]:
            progress.closed = True
            progress.reason = str(row["message"])
            return
        progress.measured += 1
        wall = float(row.get("wall_seconds") or 0.0)
        progress.spent += wall
        if row["status"] in COSTLY:
            progress.failures.append(row["status"])
        else:
            progress.failures.clear()
        size = int(row["size"])
        if row["status"] == "ok":
            progress.ok_pairs.add(row["pair"])
            self._scored.add(row["problem"])
            solve, affinity = float(row["seconds"] or 0.0), float(row["affinity_seconds"] or 0.0)
            known = self._solves[row["solver"]].get(size, math.inf)
            self._solves[row["solver"]][size] = min(known, solve + affinity)
            sampled = max(solve, LONG_SECONDS) + max(affinity, min(LONG_SECONDS, 10 * affinity))
            wall = min(wall, sampled + _OVERHEAD_SECONDS + 1e-8 * size * size)
        progress.estimate = min(progress.estimate, wall)

    def observe_optimum(self, problem: str, size: int, seconds: float) -> None:
        """Take into account that a problem's optimum was found, or read, in so many seconds."""
        self._scored.add(problem)
        self._optima[size].append(seconds)

    def is_done(self, cell: Cell, pair: tuple[int, int], repeat: int) -> bool:
        """Whether the measurement stands in the run already."""
        return self._key(cell, cell.problem(pair), repeat) in self._keys

    def is_closed(self, cell: Cell) -> bool:
        """Whether a row says that nothing more is measured in the cell."""
        return self._cells[cell.solver, cell.name].closed

    def _key(self, cell: Cell, problem: str, repeat: int) -> str:
        sha256 = self.plan.caches[cell.cache].sha256
        return resume_key(cell.solver, self._solver_options[cell.solver], problem, sha256, repeat)

    def reason_to_close(self, cell: Cell) -> str:
        """Why nothing more should be measured in the cell; empty while it should."""
        if cell.skip:
            return cell.skip
        progress = self._cells[cell.solver, cell.name]
        if len(progress.failures) >= PATIENCE_FOR_FAILURES:
            return f"not tried further after {len(progress.failures)} failures in a row ({progress.failures[-1]})"
        smaller = self._timed_out_at(cell, PATIENCE_FOR_FAILURES)
        if smaller is not None:
            return f"not tried: it timed out at S={smaller} already"
        if not progress.measured:
            expected = self._cubic_guess(cell)
            patience = self.plan.profile.patience
            if patience is not None and expected > patience:
                return f"{TOO_SLOW}: {expected:.0f} s a pair expected from smaller S"
            return ""
        budget = self.plan.profile.budget
        if progress.spent + progress.estimate > budget:
            return f"budget of {budget:g} s: {len(progress.ok_pairs)} of {len(cell.pairs)} pairs"
        return ""

    def is_doubtful(self, cell: Cell) -> bool:
        """Whether the solver has timed out at a smaller S, but not often enough there to give it up."""
        return self._timed_out_at(cell, PATIENCE_FOR_FAILURES) is None and self._timed_out_at(cell, 1) is not None

    def _timed_out_at(self, cell: Cell, times: int) -> int | None:
        """Smallest S below the cell's own at which the solver has just timed out so many times in a row."""
        sizes = [
            self._sizes[name]
            for (solver, name), progress in self._cells.items()
            if solver == cell.solver
            and name in self._sizes
            and len(progress.failures) >= times
            and progress.failures[-1] == "timeout"
        ]
        return min((s for s in sizes if s < cell.size), default=None)

    def _cubic_guess(self, cell: Cell) -> float:
        known = {s: t for s, t in self._solves[cell.solver].items() if s < cell.size}
        return known[max(known)] * (cell.size / max(known)) ** 3 if known else 0.0

    def measured_pairs(self, cell: Cell) -> int:
        """Pairs of the cell with an "ok" row."""
        return len(self._cells[cell.solver, cell.name].ok_pairs)

    def expected_seconds(self, cell: Cell) -> float:
        """For one more measurement in the cell, as far as can be told."""
        estimate = self._cells[cell.solver, cell.name].estimate
        if math.isfinite(estimate):
            return estimate
        known = self._solves[cell.solver]
        if known:
            nearest = min(known, key=lambda s: abs(math.log(s / cell.size)) if s and cell.size else 0.0)
            guess = known[nearest] * (cell.size / max(nearest, 1)) ** 2.3
            return float(min(2 * guess, self.plan.profile.deadline)) + 2 * _OVERHEAD_SECONDS
        return 0.2 + 1e-7 * cell.size**2

    def planned_measurements(self, cell: Cell) -> int:
        """How many more measurements the cell will see, by the budget."""
        if self.is_closed(cell) or self.reason_to_close(cell):
            return 0
        progress = self._cells[cell.solver, cell.name]
        left = max(0, len(cell.pairs) * self.plan.options.repeats - progress.measured)
        affordable = (self.plan.profile.budget - progress.spent) / max(self.expected_seconds(cell), 1e-6)
        return min(left, max(int(affordable), 0 if progress.measured else 1))

    def forecast(self) -> list[dict[str, Any]]:
        """What each cell still costs: pairs in the end (of those wanted), seconds a pair, seconds in all, and why it is cut."""
        return [self._forecast(cell) for cell in self.plan.cells]

    def _forecast(self, cell: Cell) -> dict[str, Any]:
        repeats = self.plan.options.repeats
        progress = self._cells[cell.solver, cell.name]
        left = self.planned_measurements(cell)
        pairs = len(progress.ok_pairs) + left // repeats
        reason = "" if left else progress.reason or self.reason_to_close(cell)
        if not reason and pairs < len(cell.pairs):
            reason = f"budget of {self.plan.profile.budget:g} s"
        return {
            "solver": cell.solver,
            "layer": cell.layer,
            "size": cell.size,
            "centring": cell.centring,
            "pairs": pairs,
            "wanted": len(cell.pairs),
            "seconds_a_pair": self.expected_seconds(cell) * repeats,
            "seconds": left * self.expected_seconds(cell),
            "reason": reason,
        }

    def remaining_seconds(self) -> float:
        """For all that is left to measure, optima included."""
        total = 0.0
        problems: dict[str, tuple[int, int]] = {}
        for cell in self.plan.cells:
            count = self.planned_measurements(cell)
            if not count:
                continue
            total += count * self.expected_seconds(cell)
            ahead = math.ceil(count / self.plan.options.repeats)
            fresh = sum(cell.problem(pair) not in self._scored for pair in cell.pairs[-ahead:])
            problems[cell.name] = max(problems.get(cell.name, (0, 0)), (fresh, cell.size))
        for fresh, size in problems.values():
            times = self._optima[size]
            total += fresh * (sum(times) / len(times) if times else 1e-7 * size**2)
        return total
