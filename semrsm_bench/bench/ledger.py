"""What a run has measured, what is left, how long that will take, and which cells are closed before their end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from semrsm_bench.bench.plan import TOO_SLOW, Cell, Plan
from semrsm_bench.core.row import FAULT, cell_key, resume_key
from semrsm_bench.core.task import Case

# After this many of them in a row the rest of a cell would only cost time.
PATIENCE_FOR_FAILURES = 2
COSTLY = ("timeout", "memory", "crashed")
_OVERHEAD_SECONDS = 0.02
_SAMPLE_SECONDS = 0.05


@dataclass
class _Progress:
    """Of one cell: what was spent, failures in a row, seconds of an observation and of a call; why it is closed, if it is."""

    cell: Cell
    measured: int = 0
    ok: set[str] = field(default_factory=set)
    spent: float = 0.0
    failures: list[str] = field(default_factory=list)
    observation: float = math.inf
    call: float = math.inf
    closed: str | None = None

    def timed_out(self, times: int) -> bool:
        """Whether the last so many observations were failures, and the last one a timeout."""
        return len(self.failures) >= times and self.failures[-1] == "timeout"


class Ledger:
    """Bookkeeping of a plan; fed with every row, old and new.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._cells = {cell.key: _Progress(cell) for cell in plan.cells}
        # Of each method on a task, all cells, smallest S first
        self._method: dict[tuple[str, str], list[_Progress]] = defaultdict(list)
        for progress in sorted(self._cells.values(), key=lambda p: p.cell.size):
            self._method[progress.cell.key[:2]].append(progress)
        self._keys: set[str] = set()
        # What became of observations that the machine spoiled
        self._faults: dict[str, str] = {}
        self._truths: dict[int, list[float]] = defaultdict(list)
        self._known: set[tuple[str, str]] = set()
        # What an estimate gave up, and after how many seconds
        self._given_up: dict[tuple[str, str, str], float] = {}

    def observe(self, row: Mapping[str, Any]) -> None:
        """Take a row into account; one of other code than the plan's counts for nothing."""
        progress = self._cells.get((str(row["task"]), str(row["method"]), cell_key(row["cell"])))
        if progress is None or progress.cell.code != row["code"]:
            return
        if (row["raw"] or {}).get(FAULT) == "machine":
            self._faults[resume_key(row)] = f"{row['status']}: {row['message']}"
            return
        self._keys.add(resume_key(row))
        if not row["case"]:
            progress.closed = str(row["message"])
            return
        wall = float(row["wall_seconds"] or 0.0)
        progress.measured += 1
        progress.spent += wall
        if row["status"] in COSTLY:
            progress.failures.append(row["status"])
        else:
            progress.failures.clear()
        if row["status"] == "ok":
            progress.ok.add(row["case"])
            self._known.add((row["task"], row["case"]))
            seconds, shared = float(row["seconds"] or 0.0), float(row["shared_seconds"] or 0.0)
            progress.call = min(progress.call, seconds + shared)
            repeated = max(seconds, _SAMPLE_SECONDS) + max(shared, min(_SAMPLE_SECONDS, 20 * shared))
            wall = min(wall, repeated + _OVERHEAD_SECONDS + 1e-8 * progress.cell.size**2)
        progress.observation = min(progress.observation, wall)

    def observe_truth(self, task: str, case: Case, seconds: float) -> None:
        """Take into account that a case's truth was found, or read, in so many seconds."""
        self._known.add((task, case.name))
        self._truths[case.size].append(seconds)

    def give_up(self, cell: Cell, seconds: float) -> None:
        """Take into account that a case of the cell takes longer than so many seconds, which are all that an estimate waits."""
        self._given_up[cell.key] = seconds

    def is_given_up(self, cell: Cell) -> bool:
        """Whether an estimate need not try the cell: the method has taken too long at this S or a smaller one."""
        sizes = [p.cell.size for p in self._method[cell.key[:2]] if p.cell.key in self._given_up]
        return bool(sizes) and cell.size >= min(sizes)

    @property
    def has_faults_of_the_machine(self) -> bool:
        """Whether there are observations that the machine spoiled, and none since."""
        return not self._faults.keys() <= self._keys

    def replaced(self, cell: Cell, case: Case, repeat: int) -> str:
        """Why an earlier row of this observation no longer counts; "" where there is none."""
        return self._faults.get(resume_key(identity(cell, case, repeat)), "")

    def is_done(self, cell: Cell, case: Case, repeat: int) -> bool:
        """Whether the observation stands in the run already."""
        return resume_key(identity(cell, case, repeat)) in self._keys

    def is_closed(self, cell: Cell) -> bool:
        """Whether a row says that nothing more is measured in the cell."""
        return self._cells[cell.key].closed is not None

    def reason_to_close(self, cell: Cell) -> str:
        """Why nothing more should be measured in the cell; empty while it should."""
        if cell.skip:
            return cell.skip
        progress, profile = self._cells[cell.key], self.plan.profile(cell)
        if len(progress.failures) >= PATIENCE_FOR_FAILURES:
            return f"not tried further after {len(progress.failures)} failures in a row ({progress.failures[-1]})"
        hopeless = next((p for p in self._smaller(cell) if p.timed_out(PATIENCE_FOR_FAILURES)), None)
        if hopeless is not None:
            return f"not tried: it timed out at S={hopeless.cell.size} already"
        if not progress.measured:
            measured = [p for p in self._smaller(cell) if p.cell.size and math.isfinite(p.call)]
            cubic = measured[-1].call * (cell.size / measured[-1].cell.size) ** 3 if measured else 0.0
            if profile.patience is not None and cubic > profile.patience:
                return f"{TOO_SLOW}: {cubic:.0f} s a case expected from smaller S"
        elif progress.spent + progress.observation > profile.budget:
            unit = cell.task.unit or "case"
            return f"budget of {profile.budget:g} s: {len(progress.ok)} of {len(cell.cases)} {unit}s"
        return ""

    def is_doubtful(self, cell: Cell) -> bool:
        """Whether the method has timed out at a smaller S, but not often enough there to give it up."""
        smaller = list(self._smaller(cell))
        return any(p.timed_out(1) for p in smaller) and not any(p.timed_out(PATIENCE_FOR_FAILURES) for p in smaller)

    def _smaller(self, cell: Cell) -> Iterator[_Progress]:
        return (p for p in self._method[cell.key[:2]] if p.cell.size < cell.size)

    def expected_seconds(self, cell: Cell) -> float:
        """For one more observation in the cell, as far as is known."""
        progress = self._cells[cell.key]
        if math.isfinite(progress.observation):
            return progress.observation
        if self.is_given_up(cell):
            return self.plan.profile(cell).deadline
        known = [p for p in self._method[cell.key[:2]] if math.isfinite(p.call)]
        if not known:
            return 0.2 + 1e-7 * cell.size**2
        near = min(known, key=lambda p: abs(math.log(max(p.cell.size, 1) / max(cell.size, 1))))
        guess = near.call * (cell.size / max(near.cell.size, 1)) ** 2.3
        return float(min(2 * guess, self.plan.profile(cell).deadline)) + 2 * _OVERHEAD_SECONDS

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
        left, seconds = self.planned_observations(cell), self.expected_seconds(cell)
        cases = len(progress.ok) + left // repeats
        reason = "" if left else progress.closed or self.reason_to_close(cell)
        if not reason and self.is_given_up(cell):
            least = min(seconds for (*method, _), seconds in self._given_up.items() if tuple(method) == cell.key[:2])
            reason = f"more than {least:g} s a case; at most what deadline and budget allow"
        if not reason and cases < len(cell.cases):
            reason = f"budget of {self.plan.profile(cell).budget:g} s"
        return {
            "task": cell.task.name,
            "method": cell.method.name,
            "cell": dict(cell.place),
            "size": cell.size,
            "cases": cases,
            "wanted": len(cell.cases),
            "seconds_a_case": seconds * repeats,
            "seconds": left * seconds,
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
