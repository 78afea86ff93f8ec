"""What a registered solver is, and what it may return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semrsm_bench.core.method import Method, UnavailableError
from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation, check_permutation

Kind = Literal["exact", "approximate", "baseline"]
KINDS: tuple[Kind, ...] = ("exact", "approximate", "baseline")
# What an exact solver promises where it says nothing else: (k_opt - k) / (k_opt - k_rand) is no larger.
PRECISION = 1e-6

SolverUnavailableError = UnavailableError


class InvalidMatchingError(RuntimeError):
    """A solver returned something that is not a permutation."""


@dataclass(frozen=True)
class Solution:
    """What a solver may return instead of a bare permutation.

    Attributes
    ----------
    perm : ndarray, (S,)
    duals : (ndarray, ndarray), optional
        Row and column potentials (S,) each, feasible up to rounding: ``u_i + v_j >= A_ij``.
    info : mapping
        Facts worth a line in the results, such as ``{"fallback": "scipy"}``.
    """

    perm: Permutation
    duals: tuple[Floats, Floats] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


SolverFunction = Callable[..., ArrayLike | Solution]


BatchFunction = Callable[..., tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]]
"""One image against many in one call: an optional companion of a solver function, for solvers that gain by it.

``batch(x, ys, affinities, **options) -> (perms, solved)`` gets x (S, C), ys (b, S, C) and the affinities (b, S, S), all finite,
C-contiguous and of one float dtype, and writes to none of them; a solver that is registered as matrix-free gets None for the
affinities. The options are those of the function. It returns permutations (b, S), the very ones that the function returns
for the same affinities, and which of them it solved (b,): the caller calls the function for the others.
"""


@dataclass(frozen=True)
class Solver(Method):
    """A registered solver: what `register_solver` was given; see `Method` for the rest."""

    kind_name: ClassVar[str] = "solver"

    kind: Kind = "approximate"
    matrix_free: bool = False
    batch: BatchFunction | None = None
    releases_gil: bool = False
    precision: float | None = None
    stateful: bool = False

    @property
    def category(self) -> str:
        """The solver's kind."""
        return self.kind

    @property
    def facts(self) -> dict[str, Any]:
        """Whether it needs the affinity, what it promises, and whether it keeps anything between calls."""
        return {"matrix_free": self.matrix_free, "precision": self.precision, "stateful": self.stateful}

    def run(self, problem: MatchingProblem, **options: Any) -> Solution:
        """Solve and validate: the result always holds a valid permutation.

        Raises
        ------
        SolverUnavailableError
            A library is missing.
        InvalidMatchingError
            The function returned something else than a permutation.
        TypeError
            An option the function does not have, or ``problem`` is not a `MatchingProblem`.
        """
        if not isinstance(problem, MatchingProblem):
            raise TypeError(f"solver {self.name!r} takes a MatchingProblem(x, y), got {type(problem).__name__}")
        self.require_available()
        merged = {**self.options, **options}
        self.check_options(merged)
        result = self.function(problem, **merged)
        solution = result if isinstance(result, Solution) else Solution(result)
        try:
            perm = check_permutation(solution.perm, problem.size)
        except (ValueError, TypeError) as error:
            raise InvalidMatchingError(f"solver {self.name!r}: {error}") from None
        return Solution(perm, solution.duals, dict(solution.info))
