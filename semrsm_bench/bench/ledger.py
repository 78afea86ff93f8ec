"""What a run has measured, what is left, how long that will take, and which cells are closed before their end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from semrsm_bench.bench.plan import TOO_SLOW, Cell, Plan
from semrsm_bench.core.row import cell_key, resume_key
from semrsm_bench.core.task import Case

# After this many of them in a row the rest of a cell would only cost time.
PATIENCE_FOR_FAILURES = 2
COSTLY = ("timeout", "memory", "crashed")
_OVERHEAD_SECONDS = 0.02
_SAMPLE_SECONDS = 0.05


@dataclass
class _Progress:
    """Of one cell."""

    measured: int = 0
    ok: set[str] = field(default_factory=set)
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
        self._cells: dict[tuple[str, str, str], _Progress] = defaultdict(_Progress)
        self._codes = {cell.key: cell.code for cell in plan.cells}
        self._sizes = {cell.key: cell.size for cell in plan.cells}
        self._keys: set[str] = set()
        # (task, method) -> S -> seconds of one call, with what it shares with others
        self._calls: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self._truths: dict[int, list[float]] = defaultdict(list)
        self._known: set[tuple[str, str]] = set()

    def observe(self, row: Mapping[str, Any]) -> None:
        """Take a row into account; one of other code than the plan's counts for nothing."""
        key = (str(row["task"]), str(row["method"]), cell_key(row["cell"]))
        if self._codes.get(key) != row["code"]:
            return
        self._keys.add(resume_key(row))
        progress = self._cells[key]
        if not row["case"]:
            progress.closed, progress.reason = True, str(row["message"])
            return
        progress.measured += 1
        wall = float(row["wall_seconds"] or 0.0)
        progress.spent += wall
        if row["status"] in COSTLY:
            progress.failures.append(row["status"])
        else:
            progress.failures.clear()
        if row["status"] == "ok":
            progress.ok.add(row["case"])
            self._known.add((key[0], row["case"]))
            seconds, shared = float(row["seconds"] or 0.0), float(row["shared_seconds"] or 0.0)
            size = self._sizes.get(key, 0)
            calls = self._calls[key[:2]]
            calls[size] = min(calls.get(size, math.inf), seconds + shared)
            repeated = max(seconds, _SAMPLE_SECONDS) + max(shared, min(_SAMPLE_SECONDS, 20 * shared))
            wall = min(wall, repeated + _OVERHEAD_SECONDS + 1e-8 * size * size)
        progress.estimate = min(progress.estimate, wall)

    def observe_truth(self, task: str, case: Case, seconds: float) -> None:
        """Take into account that a case's truth was found, or read, in so many seconds."""
        self._known.add((task, case.name))
        self._truths[case.size].append(seconds)

    def is_done(self, cell: Cell, case: Case, repeat: int) -> bool:
        """Whether the observation stands in the run already."""
        return resume_key(identity(cell, case, repeat)) in self._keys

    def is_closed(self, cell: Cell) -> bool:
        """Whether a row says that nothing more is measured in the cell."""
        return self._cells[cell.key].closed

    def reason_to_close(self, cell: Cell) -> str:
        """Why nothing more should be measured in the cell; empty while it should."""
        if cell.skip:
            return cell.skip
        progress, profile = self._cells[cell.key], self.plan.profile(cell)
        if len(progress.failures) >= PATIENCE_FOR_FAILURES:
            return f"not tried further after {len(progress.failures)} failures in a row ({progress.failures[-1]})"
        smaller = self._timed_out_at(cell, PATIENCE_FOR_FAILURES)
        if smaller is not None:
            return f"not tried: it timed out at S={smaller} already"
        if not progress.measured:
            expected = self._cubic_guess(cell)
            if profile.patience is not None and expected > profile.patience:
                return f"{TOO_SLOW}: {expected:.0f} s a case expected from smaller S"
            return ""
        if progress.spent + progress.estimate > profile.budget:
            return (
                f"budget of {profile.budget:g} s: {len(progress.ok)} of {len(cell.cases)} {cell.task.unit or 'case'}s"
            )
        return ""

    def is_doubtful(self, cell: Cell) -> bool:
        """Whether the method has timed out at a smaller S, but not often enough there to give it up."""
        return self._timed_out_at(cell, PATIENCE_FOR_FAILURES) is None and self._timed_out_at(cell, 1) is not None

    def _timed_out_at(self, cell: Cell, times: int) -> int | None:
        """Smallest S below the cell's own at which the method has just timed out so many times in a row."""
        sizes = [
            self._sizes[key]
            for key, progress in self._cells.items()
            if key[:2] == cell.key[:2]
            and key in self._sizes
            and len(progress.failures) >= times
            and progress.failures[-1] == "timeout"
        ]
        return min((s for s in sizes if s < cell.size), default=None)

    def _cubic_guess(self, cell: Cell) -> float:
        known = {s: t for s, t in self._calls[cell.key[:2]].items() if 0 < s < cell.size}
        return known[max(known)] * (cell.size / max(known)) ** 3 if known else 0.0

    def expected_seconds(self, cell: Cell) -> float:
        """For one more observation in the cell, as far as can be told."""
        estimate = self._cells[cell.key].estimate
        if math.isfinite(estimate):
            return estimate
        known = self._calls[cell.key[:2]]
        if known:
            nearest = min(known, key=lambda s: abs(math.log(s / cell.size)) if s and cell.size else 0.0)
            guess = known[nearest] * (cell.size / max(nearest, 1)) ** 2.3
            return float(min(2 * guess, self.plan.profile(cell).deadline)) + 2 * _OVERHEAD_SECONDS
        return 0.2 + 1e-7 * cell.size**2

    def planned_observations(self, cell: Cell) -> int:
        """How many more observations the cell will see, by the budget."""
        if self.is_closed(cell) or self.reason_to_close(cell):
            return 0
        progress = self._cells[cell.key]
        left = max(0, len(cell.cases) * self.plan.options.repeats - progress.measured)
        affordable = (self.plan.profile(cell).budget - progress.spent) / max(self.expected_seconds(cell), 1e-6)
        return min(left, max(int(affordable), 0 if progress.measured else 1))

    def forecast(self) -> list[dict[str, Any]]:
        """What each cell still costs: cases in the end (of those wanted), seconds a case, seconds in all, and why it is cut."""
        return [self._forecast(cell) for cell in self.plan.cells]

    def _forecast(self, cell: Cell) -> dict[str, Any]:
        repeats, progress = self.plan.options.repeats, self._cells[cell.key]
        left = self.planned_observations(cell)
        cases = len(progress.ok) + left // repeats
        reason = "" if left else progress.reason or self.reason_to_close(cell)
        if not reason and cases < len(cell.cases):
            reason = f"budget of {self.plan.profile(cell).budget:g} s"
        return {
            "task": cell.task.name,
            "method": cell.method.name,
            "cell": dict(cell.place),
            "size": cell.size,
            "cases": cases,
            "wanted": len(cell.cases),
            "seconds_a_case": self.expected_seconds(cell) * repeats,
            "seconds": left * self.expected_seconds(cell),
            "reason": reason,
        }

    def remaining_seconds(self) -> float:
        """For all that is left to measure, truths included."""
        total = 0.0
        unknown: dict[tuple[str, str], tuple[int, int]] = {}
        for cell in self.plan.cells:
            count = self.planned_observations(cell)
            if not count:
                continue
            total += count * self.expected_seconds(cell)
            ahead = math.ceil(count / self.plan.options.repeats)
            fresh = sum((cell.task.name, case.name) not in self._known for case in cell.cases[-ahead:])
            place = (cell.task.name, cell_key(cell.place))
            unknown[place] = max(unknown.get(place, (0, 0)), (fresh, cell.size))
        for fresh, size in unknown.values():
            times = self._truths[size]
            total += fresh * (sum(times) / len(times) if times else 1e-7 * size**2)
        return total


def identity(cell: Cell, case: Case | None, repeat: int) -> dict[str, Any]:
    """The fields of a row that its key is made of."""
    return {
        "task": cell.task.name,
        "method": cell.method.name,
        "options": dict(cell.method.options),
        "code": cell.code,
        "case": "" if case is None else case.name,
        "data_sha256": cell.cases[0].data_sha256 if case is None else case.data_sha256,
        "repeat": repeat,
    }
