"""Both sides of every cell, in turns; cells that are not clear are measured again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semrsm_bench.bench.gate.problems import GateProblem
from semrsm_bench.bench.gate.side import Side, solver_union
from semrsm_bench.bench.gate.verdict import Evidence, GateCell, Limits, undecided
from semrsm_bench.progress import progress_bar
from semrsm_bench.solvers import MatchingProblem, chance_corrected, check_permutation, matching_value

# Rounds of the first attempt and of each further one: (solves under half a second, longer ones).
ROUNDS = ((5, 3), (5, 2), (10, 3))
LONG_SECONDS = 0.5
# Of a k beyond a certified optimum: rounding, and nothing more.
_BEYOND = 1e-6
_COMPILE_SECONDS = 240.0


@dataclass(frozen=True)
class GatePlan:
    """What the gate measures, once both sides are known.

    Attributes
    ----------
    solvers : tuple of str or None
        Default: all that either side has; in a repository that uses this package, those it adds.
    limits : Limits
    deadline : float
        Seconds for one solve.
    slow : frozenset of (str, int)
        Pairs (solver, S) left out because they would take longer than all others together.
    """

    solvers: tuple[str, ...] | None = None
    limits: Limits = field(default_factory=Limits)
    deadline: float = 60.0
    slow: frozenset[tuple[str, int]] = frozenset()


class Gate:
    """Measures the cells; both processes are on one core and never run at the same time.

    Parameters
    ----------
    base : Side or None
        None where the base cannot be measured; the head is then measured alone.
    head : Side
    known : (mapping, mapping)
        Solvers of base and head by name, as `Side.hello` tells.
    problems : sequence of GateProblem
    options : GatePlan
    """

    def __init__(
        self,
        base: Side | None,
        head: Side,
        known: tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]],
        problems: Sequence[GateProblem],
        options: GatePlan,
    ) -> None:
        self.sides = {"base": base, "head": head}
        self.known = dict(zip(("base", "head"), known))
        self.problems: dict[tuple[int, str], list[GateProblem]] = {}
        for problem in problems:
            self.problems.setdefault((problem.size, problem.centring), []).append(problem)
        self.options = options
        self._files: dict[tuple[int, str, str], Path] = {}

    def cells(self) -> list[GateCell]:
        """Everything to be measured, with what is known without measuring."""
        names = self.options.solvers or solver_union(self.known["base"], self.known["head"])
        made = []
        for size, centring in self.problems:
            for name in names:
                if (name, size) not in self.options.slow:
                    base, head = (self._expectation(self.known[label].get(name), size) for label in ("base", "head"))
                    made.append(GateCell(name, size, centring, base, head))
        return made

    @staticmethod
    def _expectation(entry: dict[str, Any] | None, size: int) -> Evidence:
        if entry is None:
            return Evidence("absent")
        reason = entry["reason"]
        if not reason and entry["max_size"] is not None and size > entry["max_size"]:
            reason = f"it is meant for S up to {entry['max_size']}"
        return Evidence("unavailable" if reason else "ok", reason, entry["kind"])

    def measure(self, *, quiet: bool = False) -> list[GateCell]:
        """Measure all cells, then those again that are not clear."""
        cells = self.cells()
        with tempfile.TemporaryDirectory(prefix="semrsm-gate-") as folder:
            for problem in (p for group in self.problems.values() for p in group):
                path = Path(folder) / f"{problem.size}-{problem.centring}-{problem.pair}.npz"
                np.savez(path, x=problem.x, y=problem.y)
                self._files[problem.size, problem.centring, problem.pair] = path
            for attempt in range(len(ROUNDS)):
                chosen = cells if attempt == 0 else [c for c in cells if undecided(c, self.options.limits)]
                self._pass(chosen, attempt, quiet)
        return cells

    def _pass(self, cells: list[GateCell], attempt: int, quiet: bool) -> None:
        size = 0
        text = "measuring base and head" if attempt == 0 else f"measuring again what is not clear ({attempt})"
        with progress_bar(len(cells), text, unit="cell", quiet=quiet or not cells) as bar:
            for cell in cells:
                if cell.size != size:
                    size = cell.size
                    for side in self.sides.values():
                        if side is not None:
                            side.ask({"do": "forget"}, 60.0)
                bar.set_postfix_str(f"{cell.solver} S={cell.size} {cell.centring}", refresh=False)
                self._attempt(cell, attempt)
                bar.update(1)

    def _attempt(self, cell: GateCell, attempt: int) -> None:
        cell.attempts += 1
        group = self.problems[cell.size, cell.centring]
        for problem in group:
            for label in ("base", "head"):
                self._solve(cell, label, problem, first=attempt == 0)
        done = 0
        while done < self._rounds(cell, attempt):
            problem = group[len(cell.head.relative or cell.base.relative) % len(group)]
            labels = ("base", "head") if done % 2 == 0 else ("head", "base")
            both = {label: self._time(cell, label, problem) for label in labels}
            if not any(both.values()):
                return
            for label, sample in both.items():
                if sample is not None:
                    self._evidence(cell, label).relative.append(sample[0] / sample[1])
                    self._evidence(cell, label).seconds.append(sample[0])
            done += 1

    @staticmethod
    def _rounds(cell: GateCell, attempt: int) -> int:
        seconds = [*cell.base.seconds[:1], *cell.head.seconds[:1]]
        return ROUNDS[attempt][1 if seconds and max(seconds) > LONG_SECONDS else 0]

    @staticmethod
    def _evidence(cell: GateCell, label: str) -> Evidence:
        return cell.base if label == "base" else cell.head

    def _ask(self, cell: GateCell, label: str, what: str, problem: GateProblem, seconds: float) -> Any:
        """The side's answer, or None after entering in the cell why there is none."""
        side, evidence = self.sides[label], self._evidence(cell, label)
        if side is None or not evidence.ok:
            return None
        path = self._files[problem.size, problem.centring, problem.pair]
        answer = side.ask({"do": what, "solver": cell.solver, "problem": str(path)}, seconds)
        if answer.status != "ok":
            evidence.status, evidence.message = answer.status, answer.message
            return None
        return answer.value

    def _solve(self, cell: GateCell, label: str, problem: GateProblem, first: bool) -> None:
        evidence = self._evidence(cell, label)
        allowance = _COMPILE_SECONDS if first and not evidence.quality else 0.0
        value = self._ask(cell, label, "solve", problem, self.options.deadline + allowance)
        if value is None or problem.k_opt is None:
            return
        try:
            perm = check_permutation(value["perm"], problem.size)
        except ValueError as error:
            evidence.status, evidence.message = "invalid", str(error)
            return
        k = matching_value(MatchingProblem(problem.x, problem.y), perm)
        c = chance_corrected(k, problem.k_opt, problem.k_rand)
        if c > 1 + _BEYOND:
            raise ValueError(
                f"{cell.where}: k = {k!r} of pair {problem.pair} beats the certified optimum {problem.k_opt!r}; "
                "the certificate is wrong: delete the optima in the user's cache folder and report this"
            )
        evidence.quality.setdefault(problem.pair, []).append(c)

    def _time(self, cell: GateCell, label: str, problem: GateProblem) -> tuple[float, float] | None:
        value = self._ask(cell, label, "time", problem, 2 * self.options.deadline + 10.0)
        return None if value is None else (float(value["seconds"]), float(value["reference"]))
