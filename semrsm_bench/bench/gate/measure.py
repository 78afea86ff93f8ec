"""Both sides of every cell, in turns; cells that are not clear are measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semrsm_bench.bench.gate.problems import GateProblem
from semrsm_bench.bench.gate.side import Sample, Side, solver_union
from semrsm_bench.bench.gate.verdict import Evidence, GateCell, GateLimits, undecided
from semrsm_bench.bench.process import Limits
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Scored
from semrsm_bench.progress import progress_bar
from semrsm_bench.tasks.matching import Matching

# Observations of the first attempt and of each further one: (solves under half a second, longer ones). The first sees every
# pair at least once.
ROUNDS = ((5, 3), (5, 2), (10, 3))
LONG_SECONDS = 0.5
# Of a c beyond 1: rounding, and nothing more.
_BEYOND = 1e-6
_MEMORY = 8 << 30
_COMPILE_SECONDS = 240.0


@dataclass(frozen=True)
class GatePlan:
    """What the gate measures, once both sides are known.

    Attributes
    ----------
    solvers : tuple of str or None
        Default: all that either side has.
    limits : GateLimits
    deadline : float
        Seconds for one solve.
    slow : frozenset of (str, int)
        Pairs (solver, S) left out because they would take longer than all others together.
    """

    solvers: tuple[str, ...] | None = None
    limits: GateLimits = field(default_factory=GateLimits)
    deadline: float = 60.0
    slow: frozenset[tuple[str, int]] = frozenset()


class Gate:
    """Measures the cells; both workers are on one core and never run at the same time.

    Parameters
    ----------
    base : Side or None
        None where the base cannot be measured; the head is then measured alone.
    head : Side
    problems : sequence of GateProblem
    plan : GatePlan
    """

    def __init__(self, base: Side | None, head: Side, problems: Sequence[GateProblem], plan: GatePlan) -> None:
        self.sides = {label: side for label, side in (("base", base), ("head", head)) if side is not None}
        self.problems: dict[tuple[int, str], list[GateProblem]] = {}
        for problem in problems:
            self.problems.setdefault((problem.size, problem.centring), []).append(problem)
        self.plan = plan
        self._task = Matching()
        self._limits = Limits(plan.deadline, _MEMORY, _COMPILE_SECONDS)

    def cells(self) -> list[GateCell]:
        """Everything to be measured, with what is known without measuring."""
        base, head = (self.sides[label].known if label in self.sides else {} for label in ("base", "head"))
        return [
            GateCell(name, size, centring, _expectation(base.get(name), size), _expectation(head.get(name), size))
            for size, centring in self.problems
            for name in self.plan.solvers or solver_union(base, head)
            if (name, size) not in self.plan.slow
        ]

    def measure(self, *, quiet: bool = False) -> list[GateCell]:
        """Measure all cells, then those again that are not clear."""
        cells = self.cells()
        for attempt in range(len(ROUNDS)):
            chosen = cells if attempt == 0 else [c for c in cells if undecided(c, self.plan.limits)]
            text = "measuring base and head" if attempt == 0 else f"measuring again what is not clear ({attempt})"
            with progress_bar(len(chosen), text, unit="cell", quiet=quiet or not chosen) as bar:
                for cell in chosen:
                    bar.set_postfix_str(f"{cell.solver} S={cell.size} {cell.centring}", refresh=False)
                    self._attempt(cell, attempt)
                    bar.update(1)
        return cells

    def _attempt(self, cell: GateCell, attempt: int) -> None:
        cell.attempts += 1
        group = self.problems[cell.size, cell.centring]
        done = 0
        while done < _rounds(cell, attempt, len(group)):
            problem = group[cell.rounds % len(group)]
            labels = ("base", "head") if done % 2 == 0 else ("head", "base")
            samples = {label: self._sample(cell, label, problem) for label in labels}
            found = {label: sample for label, sample in samples.items() if sample is not None}
            if not found:
                return
            self._enter(cell, problem, found)
            done += 1
            cell.rounds += 1

    def _sample(self, cell: GateCell, label: str, problem: GateProblem) -> Sample | None:
        """What one side measured, or None after entering in the cell why there is nothing."""
        evidence = cell.side(label)
        if label not in self.sides or not evidence.ok:
            return None
        # The round is the seed: both sides see the same shifts, and so the same problems, in the same order.
        sample = self.sides[label].measure(cell.solver, problem.arrays, self._limits, seed=cell.rounds)
        status, message = sample.outcome.status, sample.outcome.message
        if status == "ok":
            scored = self._score(problem, sample.outcome.value["arrays"]["perms"])
            status, message = scored.status, scored.message
        if status != "ok":
            evidence.status, evidence.message = status, message
            return None
        return sample

    def _enter(self, cell: GateCell, problem: GateProblem, samples: Mapping[str, Sample]) -> None:
        answers = {label: sample.outcome.value["arrays"]["perms"] for label, sample in samples.items()}
        # A faster side answers more often; only answers to the same shifts say which of the two is better.
        shared = min(map(len, answers.values()))
        for label, sample in samples.items():
            evidence, seconds = cell.side(label), sample.seconds
            evidence.seconds.append(seconds)
            evidence.relative.append(seconds / sample.reference)
            scored = self._score(problem, answers[label][:shared])
            c = scored.scores["c"]
            if c is None:
                continue
            if c > 1 + _BEYOND:
                raise ValueError(
                    f"{cell.where}: k = {scored.raw['k']!r} of pair {problem.pair} beats the certified optimum "
                    f"{problem.k_opt!r}; the certificate is wrong: delete the optima in the user's cache folder and report this"
                )
            evidence.quality.setdefault(problem.pair, []).append(c)

    def _score(self, problem: GateProblem, perms: Any) -> Scored:
        declared = Declaration("solver", "")
        return self._task.score(problem.case, problem.arrays, Answer({"perms": perms}), problem.truth, declared)


def _expectation(entry: Mapping[str, Any] | None, size: int) -> Evidence:
    if entry is None:
        return Evidence("absent")
    reason = entry["reason"]
    if not reason and entry["max_size"] is not None and size > entry["max_size"]:
        reason = f"it is meant for S up to {entry['max_size']}"
    return Evidence("unavailable" if reason else "ok", reason, entry["category"])


def _rounds(cell: GateCell, attempt: int, pairs: int) -> int:
    seconds = [*cell.base.seconds[:1], *cell.head.seconds[:1]]
    rounds = ROUNDS[attempt][1 if seconds and max(seconds) > LONG_SECONDS else 0]
    return max(rounds, pairs) if attempt == 0 else rounds
