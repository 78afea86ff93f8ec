"""The problems that commits are compared on, and how both sides of a cell are measured: alternately, and again if not clear."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from semrsm_bench.bench.gate.options import GateLimits, GateOptions
from semrsm_bench.bench.gate.sides import GateSide, Sample
from semrsm_bench.bench.gate.verdict import MACHINE, Evidence, GateCell, undecided
from semrsm_bench.bench.process import CallLimits
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Arrays, Case, Scored, Solve
from semrsm_bench.progress import progress_bar
from semrsm_bench.tasks.matching import MatchingOptions, MatchingTask

# Number of pairs by S. Large problems vary less from pair to pair and cost more.
PAIRS: Mapping[str, int] = {"256": 6, "1024": 4, "4096": 2, "": 1}
# Rounds of the first attempt and of each further one: (solves under half a second, longer ones). The first attempt meets every
# pair at least once.
ROUNDS = ((5, 3), (5, 2), (10, 3))
LONG_SECONDS = 0.5
# How far rounding may lift c above 1.
_BEYOND = 1e-6
_MEMORY, _COMPILE_SECONDS = 8 << 30, 240.0


class GateProblem(NamedTuple):
    """One pair of images at one size: the case, its arrays x and y (S, C), and what `MatchingTask.score` needs beside an answer."""

    case: Case
    arrays: Arrays
    truth: Any

    @property
    def cell(self) -> tuple[int, str]:
        """S, and which means were subtracted."""
        return self.case.size, str(self.case.cell["centring"])

    @property
    def pair(self) -> str:
        """The two images: ``3-7``."""
        return self.case.units["pair"][0]

    def score(self, perms: Any) -> Scored:
        """Permutations (calls, S) of the pair, scored by this package and never by a commit's."""
        answer, method = Answer({"perms": perms}), Declaration("solver", "")
        return MatchingTask().score(self.case, self.arrays, answer, self.truth, method)


def load_problems(options: GateOptions, solve: Solve) -> list[GateProblem]:
    """Problems by ascending size, then centring, then pair; of several layers of one size the first is taken."""
    task = MatchingTask()
    pairs = {"": options.pairs} if options.pairs else PAIRS
    cases = list(task.cases(MatchingOptions(data=options.data, centring=options.centrings, pairs=pairs)))
    layer_of: dict[int, tuple[Any, Any]] = {}
    for case in cases:
        layer_of.setdefault(case.size, (case.cell["model"], case.cell["layer"]))
    for size in options.sizes:
        if size not in layer_of:
            there = ", ".join(map(str, layer_of)) or "none"
            raise ValueError(f"the data has no layer with S = {size}; it has {there}")
    made = []
    for case in cases:
        if case.size in (options.sizes or layer_of) and (case.cell["model"], case.cell["layer"]) == layer_of[case.size]:
            arrays = case.inputs()
            made.append(GateProblem(case, arrays, task.truth(case, arrays, solve)))
    return made


@dataclass(frozen=True)
class Gate:
    """Measures the cells, each solve within ``deadline`` seconds. The workers of both sides, "base" and "head" (or the head alone),
    are on one core and never run at the same time.
    """

    sides: Mapping[str, GateSide]
    problems: Sequence[GateProblem]
    limits: GateLimits
    deadline: float
    seed: int = field(default_factory=partial(secrets.randbits, 32))

    def cells(self, solvers: Sequence[str], slow: Mapping[str, int]) -> list[GateCell]:
        """Everything to be measured, with what is known without measuring; ``slow`` has the S from which a solver is left out."""
        base, head = (self.sides[label].known if label in self.sides else {} for label in ("base", "head"))
        return [
            GateCell(name, size, centring, _expectation(base.get(name), size), _expectation(head.get(name), size))
            for size, centring in dict.fromkeys(problem.cell for problem in self.problems)
            for name in solvers
            if size < slow.get(name, size + 1)
        ]

    def measure(self, cells: Sequence[GateCell], *, quiet: bool = False) -> None:
        """Fill the cells with evidence; those that are not clear get more of it."""
        for attempt in range(len(ROUNDS)):
            chosen = [cell for cell in cells if attempt == 0 or undecided(cell, self.limits)]
            text = f"measuring again what is not clear ({attempt})" if attempt else "measuring base and head"
            with progress_bar(len(chosen), text, unit="cell", quiet=quiet or not chosen) as bar:
                for cell in chosen:
                    bar.set_postfix_str(f"{cell.solver} S={cell.size} {cell.centring}", refresh=False)
                    self._attempt(cell, attempt)
                    bar.update(1)

    def _attempt(self, cell: GateCell, attempt: int) -> None:
        cell.attempts += 1
        group = [problem for problem in self.problems if problem.cell == (cell.size, cell.centring)]
        for evidence in cell.sides.values():
            if evidence.status == MACHINE:
                evidence.status, evidence.message = "ok", ""
        done, needed = 0, 1
        while done < needed:
            visit, place = divmod(cell.rounds, len(group))
            problem = group[place]
            # Both sides see the same shifts, and so the same problems, in the same order; no two visits to a pair share one.
            seed = self.seed, visit, -(-sum(most for most, _ in ROUNDS) // len(group))
            labels = ("base", "head") if done % 2 == 0 else ("head", "base")
            found = {label: self._sample(cell, label, problem, seed) for label in labels}
            samples = {label: sample for label, sample in found.items() if sample is not None}
            # Rounds of the two sides belong together: one that the machine spoiled on either side counts on neither.
            if not samples or any(evidence.status == MACHINE for evidence in cell.sides.values()):
                return
            _enter(cell, problem, samples)
            done += 1
            cell.rounds += 1
            first = [seconds for side in cell.sides.values() for seconds in side.seconds[:1]]
            needed = max(ROUNDS[attempt][max(first) > LONG_SECONDS], done + len(group) - cell.rounds)

    def _sample(self, cell: GateCell, label: str, problem: GateProblem, seed: tuple[int, int, int]) -> Sample | None:
        """What one side measured, or None after entering in the cell why there is nothing."""
        evidence = cell.sides[label]
        if label not in self.sides or not evidence.ok:
            return None
        limits = CallLimits(self.deadline, _MEMORY, _COMPILE_SECONDS)
        sample = self.sides[label].measure(cell.solver, problem.arrays, limits, seed)
        judged: Any = sample.reply
        if judged.status == "ok":
            judged = problem.score(sample.perms)
        if judged.status != "ok":
            evidence.status, evidence.message = MACHINE if sample.reply.machine else judged.status, judged.message
            return None
        return sample


def _enter(cell: GateCell, problem: GateProblem, samples: Mapping[str, Sample]) -> None:
    # A faster side answers more often; only answers to the same shifts say which of the two is better.
    shared = min(len(sample.perms) for sample in samples.values())
    for label, sample in samples.items():
        evidence, seconds = cell.sides[label], sample.seconds
        evidence.seconds.append(seconds)
        evidence.relative.append(seconds / sample.reference)
        scored = problem.score(sample.perms[:shared])
        c = scored.scores["c"]
        if c is None:
            continue
        if c > 1 + _BEYOND:
            raise ValueError(
                f"{cell.where}: k = {scored.raw['k']!r} of pair {problem.pair} beats the certified optimum "
                f"{problem.truth[2].k_opt!r}; it is wrong: delete the optima in the user's cache folder and report this"
            )
        evidence.quality.setdefault(problem.pair, []).append(c)


def _expectation(entry: Mapping[str, Any] | None, size: int) -> Evidence:
    if entry is None:
        return Evidence("absent")
    reason = entry["reason"]
    if not reason and entry["max_size"] is not None and size > entry["max_size"]:
        reason = f"it is meant for S up to {entry['max_size']}"
    return Evidence("unavailable" if reason else "ok", reason, entry["category"])
