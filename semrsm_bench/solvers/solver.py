"""What a registered solver is: a function with a name, bound options, and what one must know to use it."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation, check_permutation

Kind = Literal["exact", "approximate", "baseline"]
KINDS: tuple[Kind, ...] = ("exact", "approximate", "baseline")
OWN_DISTRIBUTION = "semrsm-bench"


class SolverUnavailableError(RuntimeError):
    """The solver is registered, but a library it needs is not installed."""


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
class Solver:
    """A registered solver.

    Attributes
    ----------
    name : str
    kind : {"exact", "approximate", "baseline"}
    function : callable
        ``function(problem, **options)`` returns a permutation or a `Solution`.
    options : mapping
        Options bound to this name (``{"b": 128}``); a call may override them and give any other option of the function.
    matrix_free : bool
        Never makes ``problem.affinity``; where it has been made already, it may be read.
    complexity, reference : str
        In O-notation, and where the algorithm is described.
    max_size : int or None
        Largest S it is meant for.
    requires : tuple of str
        Modules that must be importable.
    unavailable : callable or None
        Returns a reason, or "", for what a module's name does not decide.
    batch : callable or None
        Solves one image against many in one call, see `BatchFunction`.
    releases_gil : bool
        Threads may run it at the same time, and do not wait for one another: whole RSMs are made in threads then.
    distribution : str
        Distribution that does the work; empty for a bare file.
    digest : str
        Start of the SHA-256 of a bare file.
    """

    name: str
    kind: Kind
    function: SolverFunction
    options: Mapping[str, Any] = field(default_factory=dict)
    matrix_free: bool = False
    complexity: str = ""
    reference: str = ""
    max_size: int | None = None
    requires: tuple[str, ...] = ()
    unavailable: Callable[[], str] | None = None
    batch: BatchFunction | None = None
    releases_gil: bool = False
    distribution: str = ""
    digest: str = ""

    @property
    def reason(self) -> str:
        """Why the solver cannot be used here; empty when it can."""
        for module in self.requires:
            if not _importable(module):
                return f"needs the module {module!r}, which is not installed"
        return self.unavailable() if self.unavailable else ""

    @property
    def available(self) -> bool:
        """Whether everything it needs is installed."""
        return not self.reason

    @property
    def version(self) -> str:
        """Version of the distribution that does the work, or the digest of a bare file; "unknown" where there is neither."""
        if self.distribution:
            try:
                return importlib.metadata.version(self.distribution)
            except importlib.metadata.PackageNotFoundError:
                if self.distribution == OWN_DISTRIBUTION:
                    import semrsm_bench

                    return semrsm_bench.__version__
        return f"sha256:{self.digest}" if self.digest else "unknown"

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n")[0]

    @property
    def defaults(self) -> dict[str, Any]:
        """Every option of the function with the value it has under this name; options without a default are left out."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        found = {p.name: p.default for p in parameters if p.default is not p.empty}
        return {**found, **self.options}

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
        if reason := self.reason:
            raise SolverUnavailableError(f"solver {self.name!r} is not available: {reason}")
        merged = {**self.options, **options}
        self.check_options(merged)
        result = self.function(problem, **merged)
        solution = result if isinstance(result, Solution) else Solution(result)  # type: ignore[arg-type]
        try:
            perm = check_permutation(solution.perm, problem.size)
        except (ValueError, TypeError) as error:
            raise InvalidMatchingError(f"solver {self.name!r}: {error}") from None
        return Solution(perm, solution.duals, dict(solution.info))

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise TypeError for an option that the function does not take, naming those it does."""
        known = option_names(self.function)
        if known is None:
            return
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known) or 'none'}"
                raise TypeError(f"solver {self.name!r} has no option {name!r}; {hint}")


@functools.lru_cache(maxsize=1024)
def option_names(function: SolverFunction) -> tuple[str, ...] | None:
    """Names of the options of a solver function; None where it takes any.

    Raises
    ------
    TypeError
        The function cannot take the problem as its first argument.
    """
    parameters = list(inspect.signature(function).parameters.values())
    first = parameters[0] if parameters else None
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise TypeError("a solver function takes the problem as its first argument")
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return tuple(p.name for p in parameters[1:] if p.kind is not p.VAR_POSITIONAL)


def _importable(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
