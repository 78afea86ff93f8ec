"""What a run has measured, what is left, how long that will take, and which cells are closed before their end."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from semrsm_bench.bench import drift
from semrsm_bench.bench.plan import TOO_SLOW, Cell, Plan
from semrsm_bench.core.row import FAULT_BY, cell_key, resume_key

# After this many of them in a row the rest of a cell would only cost time.
PATIENCE_FOR_FAILURES = 2
COSTLY = ("timeout", "memory", "crashed")
# Begins the reason of what was left out because the method failed before
NOT_TRIED = "not tried"


@dataclass
class _Progress:
    """Of one cell: what was spent, failures in a row, seconds of an observation and of a call; why it is closed, if it is.

    ``given_up``: the seconds after which an estimate no longer waited.
    """

    cell: Cell
    measured: int = 0
    ok: set[str] = field(default_factory=set)
    spent: float = 0.0
    failures: list[str] = field(default_factory=list)
    observation: float = math.inf
    call: float = math.inf
    closed: str | None = None
    given_up: float | None = None


class Ledger:
    """Bookkeeping of a plan; fed with every row, old and new."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._cells = {cell.key: _Progress(cell) for cell in plan.cells}
        # Of each method on a task, all cells, smallest S first; and of each place of a task
        self._method: dict[tuple[str, ...], list[_Progress]] = defaultdict(list)
        self._place: dict[tuple[str, ...], list[_Progress]] = defaultdict(list)
        for progress in sorted(self._cells.values(), key=lambda p: p.cell.size):
            self._method[progress.cell.key[:2]].append(progress)
            self._place[progress.cell.key[::2]].append(progress)
        # Keys of the rows that are there; and of observations that the machine spoiled, with what became of them
        self.done: set[str] = set()
        self.machine_faults: dict[str, str] = {}
        # Of these, those that were tried once, each with its cell
        self._tried_once: dict[str, _Progress] = {}
        # Readings of the machine's speed by key; tries for their sake, and the seconds of these
        self.speeds: dict[str, float] = {}
        self._again, self._again_seconds = Counter[str](), 0.0

    def observe(self, row: Mapping[str, Any]) -> None:
        """Take a row into account; one of other code than the plan's counts for nothing."""
        progress = self._cells.get((str(row["task"]), str(row["method"]), cell_key(row["cell"])))
        if progress is None or progress.cell.code != row["code"]:
            return
        key = resume_key(row)
        self._tried_once.pop(key, None)
        if (row["raw"] or {}).get(FAULT_BY) == "machine":
            self.machine_faults[key] = f"{row['status']}: {row['message']}"
            if not row["replaces"]:
                self._tried_once[key] = progress
            return
        self.done.add(key)
        if not row["case"]:
            progress.closed = str(row["message"])
            return
        wall = float(row["wall_seconds"] or 0.0)
        if row["replaces"].startswith(drift.REASON):
            self._again[key] += 1
            self._again_seconds += wall
        self.speeds.pop(key, None)
        if row["seconds"] is not None and row["reference_seconds"]:
            self.speeds[key] = row["reference_seconds"]
        progress.measured += 1
        progress.spent += wall
        progress.failures = [*progress.failures, row["status"]] if row["status"] in COSTLY else []
        if row["status"] == "ok":
            progress.ok.add(row["case"])
            progress.call = min(progress.call, (row["seconds"] or 0.0) + (row["shared_seconds"] or 0.0))
        progress.observation = min(progress.observation, wall)

    @property
    def level(self) -> float:
        """Seconds that the reference kernel usually takes; NaN while that is unknown."""
        return drift.level_of(self.speeds.values())

    def drifted(self, keys: Iterable[str] | None = None) -> dict[str, str]:
        """Keys, of these or of all, of observations to be made again because the machine was off its level, with the reason."""
        level, spent = self.level, sum(progress.spent for progress in self._cells.values())
        if self._again_seconds > drift.SHARE * spent:
            return {}
        speeds = self.speeds if keys is None else {key: self.speeds[key] for key in keys if key in self.speeds}
        return {
            key: f"{drift.REASON}the reference kernel took {seconds / level:.2f} times its usual time"
            for key, seconds in speeds.items()
            if drift.is_off(seconds, level) and self._again[key] < drift.TRIES
        }

    def give_up(self, cell: Cell, seconds: float) -> None:
        """Take into account that a case of the cell takes longer than so many seconds, which are all that an estimate waits."""
        self._cells[cell.key].given_up = seconds

    @property
    def spoiled(self) -> dict[str, str]:
        """Of the observations that the machine spoiled those that nothing has replaced, with what became of them."""
        return {key: fault for key, fault in self.machine_faults.items() if key not in self.done}

    @property
    def is_finished(self) -> bool:
        """Whether every observation that the machine spoiled had a second try; each session tries them again all the same."""
        return all(progress.closed is not None for progress in self._tried_once.values())

    def given_up(self, cell: Cell) -> float | None:
        """The seconds after which an estimate no longer waited for the method at this S or a smaller one, or None."""
        waited = [p.given_up for p in self._method[cell.key[:2]] if p.given_up is not None and p.cell.size <= cell.size]
        return min(waited, default=None)

    def is_closed(self, cell: Cell) -> bool:
        """Whether a row says that nothing more is measured in the cell."""
        return self._cells[cell.key].closed is not None

    def reason_to_close(self, cell: Cell) -> str:
        """Why nothing more should be measured in the cell; empty while it should."""
        progress, profile = self._cells[cell.key], cell.profile
        if cell.skip:
            return cell.skip
        if len(progress.failures) >= PATIENCE_FOR_FAILURES:
            return f"{NOT_TRIED} further after {len(progress.failures)} failures in a row ({progress.failures[-1]})"
        if progress.measured:
            if progress.spent + progress.observation > profile.budget:
                unit = cell.task.case_unit or cell.task.unit or "case"
                return f"budget of {profile.budget:g} s: {len(progress.ok)} of {len(cell.cases)} {unit}s"
            return ""
        # Of the same network or family: instances of another kind say little of these.
        model = cell.place.get("model")
        smaller = [
            p for p in self._method[cell.key[:2]] if p.cell.size < cell.size and p.cell.place.get("model") == model
        ]
        if hopeless := [p.cell.size for p in smaller if p.failures[-1:] == ["timeout"]]:
            return f"{NOT_TRIED}: it timed out at S={hopeless[0]} already"
        measured = [p for p in smaller if p.cell.size and math.isfinite(p.call)]
        cubic = measured[-1].call * (cell.size / measured[-1].cell.size) ** 3 if measured else 0.0
        if profile.patience is not None and cubic > profile.patience:
            return f"{TOO_SLOW}: {cubic:.0f} s a case expected from smaller S"
        return ""

    def _expected(self, cell: Cell) -> tuple[float, float, str]:
        """Seconds of one more observation in the cell, at least and at most, and what they are guessed from, if they are."""
        progress, deadline = self._cells[cell.key], cell.profile.deadline
        if math.isfinite(progress.observation):
            return progress.observation, progress.observation, ""
        if (waited := self.given_up(cell)) is not None:
            return waited, deadline, ""
        for known, source in (
            (self._method[cell.key[:2]], "the method's nearest cells"),
            (self._place[cell.key[::2]], "other methods"),
        ):
            if measured := [p for p in known if math.isfinite(p.observation)]:
                seconds = min(float(np.mean([_scaled(p, cell) for p in _nearest(measured, cell)])), deadline)
                return seconds, seconds, source
        seconds = 0.2 + 1e-7 * cell.size**2
        return seconds, seconds, "S alone"

    def planned_observations(self, cell: Cell, seconds: float | None = None) -> int:
        """How many more observations the cell will see, by the budget, where each takes so many seconds, or what is expected."""
        if self.is_closed(cell) or self.reason_to_close(cell):
            return 0
        progress = self._cells[cell.key]
        left = max(0, len(cell.cases) * cell.observations - progress.measured)
        seconds = self._expected(cell)[1] if seconds is None else seconds
        affordable = (cell.profile.budget - progress.spent) / max(seconds, 1e-6)
        return min(left, max(int(affordable), 0 if progress.measured else 1))

    def forecast(self) -> list[dict[str, Any]]:
        """What each cell still costs: cases in the end (of those wanted), seconds a case, seconds in all, and why it is cut.

        ``seconds`` are those at most; ``least_seconds`` are fewer where an estimate no longer waited. ``known`` says what they rest
        on: "measured", "guessed" or "given up"; "" where nothing is to be measured.
        """
        lines = []
        for cell in self.plan.cells:
            progress, (least, most, source) = self._cells[cell.key], self._expected(cell)
            left, left_at_least = (self.planned_observations(cell, seconds) for seconds in (most, least))
            cases = len(progress.ok) + left // cell.observations
            reasons = [] if left else [progress.closed or self.reason_to_close(cell)]
            if left and source:
                reasons.append(f"guessed from {source}")
            if left and least < most:
                reasons.append(f"more than {least:g} s a case; at most what deadline and budget allow")
            elif cases < len(cell.cases) and (left or reasons == [""]):
                reasons.append(f"budget of {cell.profile.budget:g} s")
            known = "measured" if progress.measured else "given up" if least < most else "guessed"
            lines.append(
                {
                    "task": cell.task.name,
                    "method": cell.method.name,
                    "cell": dict(cell.place),
                    "size": cell.size,
                    "cases": cases,
                    "wanted": len(cell.cases),
                    "seconds_a_case": most * cell.observations,
                    "least_seconds": min(left_at_least * least, left * most),
                    "seconds": left * most,
                    "known": known if left or progress.measured else "",
                    "reason": "; ".join(filter(None, reasons)),
                }
            )
        return lines

    def remaining_seconds(self) -> float:
        """For all that is left to measure, at most."""
        expected = ((cell, self._expected(cell)[1]) for cell in self.plan.cells)
        return sum(self.planned_observations(cell, seconds) * seconds for cell, seconds in expected)


def _nearest(measured: Sequence[_Progress], cell: Cell) -> list[_Progress]:
    """Of cells those whose S and C are nearest to those of a cell."""

    def distance(progress: _Progress) -> float:
        pairs = zip(progress.cell.extent, cell.extent)
        return sum(abs(math.log(max(there, 1) / max(here, 1))) for there, here in pairs)

    nearest = min(map(distance, measured))
    return [progress for progress in measured if distance(progress) == nearest]


def _scaled(progress: _Progress, cell: Cell) -> float:
    """Seconds of an observation in a cell, from those in another one: a call takes longer with S, all else does not."""
    call = progress.call if math.isfinite(progress.call) else 0.0
    growth: float = (max(cell.size, 1) / max(progress.cell.size, 1)) ** 2.3
    return progress.observation + call * (growth - 1)
