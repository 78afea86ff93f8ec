"""Measures both sides of every cell alternately, and again where the result is not clear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semrsm_bench.bench.gate.options import GateLimits
from semrsm_bench.bench.gate.problems import GateProblem
from semrsm_bench.bench.gate.side import GateSide, Sample
from semrsm_bench.bench.gate.verdict import Evidence, GateCell, undecided
from semrsm_bench.bench.process import CallLimits
from semrsm_bench.progress import progress_bar

# Rounds of the first attempt and of each further one: (solves under half a second, longer ones). The first attempt meets every
# pair at least once.
ROUNDS = ((5, 3), (5, 2), (10, 3))
LONG_SECONDS = 0.5
# Of a c beyond 1: rounding, and nothing more.
_BEYOND = 1e-6
_MEMORY, _COMPILE_SECONDS = 8 << 30, 240.0


@dataclass(frozen=True)
class Gate:
    """Measures the cells; the workers of both sides are on one core and never run at the same time.

    Attributes
    ----------
    sides : mapping of {"base", "head"} to GateSide
        Without a base that can be measured, the head alone.
    problems : sequence of GateProblem
    limits : GateLimits
    deadline : float
        Seconds for one solve.
    """

    sides: Mapping[str, GateSide]
    problems: Sequence[GateProblem]
    limits: GateLimits = field(default_factory=GateLimits)
    deadline: float = 60.0

    def cells(self, solvers: Sequence[str], slow: Mapping[str, int] | None = None) -> list[GateCell]:
        """Everything to be measured, with what is known without measuring.

        Parameters
        ----------
        solvers : sequence of str
        slow : mapping of str to int, optional
            S from which a solver is left out.
        """
        base, head = (self.sides[label].known if label in self.sides else {} for label in ("base", "head"))
        return [
            GateCell(name, size, centring, _expectation(base.get(name), size), _expectation(head.get(name), size))
            for size, centring in dict.fromkeys(problem.cell for problem in self.problems)
            for name in solvers
            if size < (slow or {}).get(name, size + 1)
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
        done = 0
        while done < _rounds(cell, attempt, len(group)):
            problem = group[cell.rounds % len(group)]
            samples = {}
            for label in ("base", "head") if done % 2 == 0 else ("head", "base"):
                if (sample := self._sample(cell, label, problem)) is not None:
                    samples[label] = sample
            if not samples:
                return
            _enter(cell, problem, samples)
            done += 1
            cell.rounds += 1

    def _sample(self, cell: GateCell, label: str, problem: GateProblem) -> Sample | None:
        """What one side measured, or None after entering in the cell why there is nothing."""
        evidence = cell.side(label)
        if label not in self.sides or not evidence.ok:
            return None
        limits = CallLimits(self.deadline, _MEMORY, _COMPILE_SECONDS)
        # The round is the seed: both sides see the same shifts, and so the same problems, in the same order.
        sample = self.sides[label].measure(cell.solver, problem.arrays, limits, seed=cell.rounds)
        status, message = sample.reply.status, sample.reply.message
        if status == "ok":
            scored = problem.score(sample.perms)
            status, message = scored.status, scored.message
        if status != "ok":
            evidence.status, evidence.message = status, message
            return None
        return sample


def _enter(cell: GateCell, problem: GateProblem, samples: Mapping[str, Sample]) -> None:
    # A faster side answers more often; only answers to the same shifts say which of the two is better.
    shared = min(len(sample.perms) for sample in samples.values())
    for label, sample in samples.items():
        evidence, seconds = cell.side(label), sample.seconds
        evidence.seconds.append(seconds)
        evidence.relative.append(seconds / sample.reference)
        scored = problem.score(sample.perms[:shared])
        c = scored.scores["c"]
        if c is None:
            continue
        if c > 1 + _BEYOND:
            raise ValueError(
                f"{cell.where}: k = {scored.raw['k']!r} of pair {problem.pair} beats the certified optimum "
                f"{problem.k_opt!r}; the certificate is wrong: delete the optima in the user's cache folder and report this"
            )
        evidence.quality.setdefault(problem.pair, []).append(c)


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
