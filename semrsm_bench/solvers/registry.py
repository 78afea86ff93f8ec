"""Solvers by name: what a registered solver is, what it may return, and how it is run on one problem or on many."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from semrsm_bench.core.method import Method, UnavailableError, registering, words
from semrsm_bench.core.registry import Registry, UnknownNameError
from semrsm_bench.solvers.problem import Floats, MatchingProblem, Permutation, check_permutation

Kind = Literal["exact", "approximate", "baseline"]
# What an exact solver promises where it says nothing else: (k_opt - k) / (k_opt - k_rand) is no larger.
PRECISION = 1e-6
# A promise beyond this is no rounding.
LARGEST_PRECISION = 1e-3

SolverUnavailableError = UnavailableError
UnknownSolverError = UnknownNameError


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
    takes_vectors: bool = False
    prepare: Callable[..., Any] | None = None
    program: Literal["", "once", "persistent"] = ""

    @property
    def in_process(self) -> bool:
        """Whether it is a function of a problem that any process can call: needs no environment of its own, and is no program."""
        return not (self.environment or self.program)

    @property
    def category(self) -> str:
        """The solver's kind."""
        return self.kind

    @property
    def facts(self) -> dict[str, Any]:
        """Whether it needs the affinity, or position vectors; what it promises, what it keeps, and whether it is a program."""
        found = {name: getattr(self, name) for name in ("matrix_free", "precision", "stateful", "program")}
        return found | ({"inputs": ["x", "y"]} if self.takes_vectors else {})

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
        ValueError
            The solver takes position vectors, and the problem is a matrix.
        """
        if not isinstance(problem, MatchingProblem):
            raise TypeError(f"solver {self.name!r} takes a MatchingProblem(x, y), got {type(problem).__name__}")
        if problem.is_matrix and self.takes_vectors:
            raise ValueError(f"solver {self.name!r} takes position vectors x and y, and this problem is a matrix")
        self.require_available()
        merged = {**self.options, **options}
        self.check_options(merged)
        result = self.function(problem if self.prepare is None else self.prepare(problem, **merged), **merged)
        solution = result if isinstance(result, Solution) else Solution(result)
        try:
            perm = check_permutation(solution.perm, problem.size)
        except (ValueError, TypeError) as error:
            raise InvalidMatchingError(f"solver {self.name!r}: {error}") from None
        return Solution(perm, solution.duals, dict(solution.info))


F = TypeVar("F", bound=Callable[..., ArrayLike | Solution])
R = TypeVar("R")

SOLVERS: Registry[Solver] = Registry(
    "solver",
    "semrsm_bench.solvers",
    (
        *("exact", "opponents", "sparse", "transport", "norm_order", "auction", "list_auction", "exact_auction"),
        *("hierarchical", "certified"),
    ),
)


def register_solver(
    name: str,
    *,
    kind: Kind,
    matrix_free: bool = False,
    batch: BatchFunction | None = None,
    releases_gil: bool = False,
    precision: float | None = None,
    stateful: bool = False,
    takes_vectors: bool | None = None,
    environment: Iterable[str] | str = (),
    prepare: Callable[..., Any] | None = None,
    program: Literal["", "once", "persistent"] = "",
    **declared: Any,
) -> Callable[[F], F]:
    """Register a function as a solver; use it as a decorator.

    Parameters
    ----------
    name : str
        Lower case letters, digits and ``. _ + -``, such as ``norm-sort``.
    kind : {"exact", "approximate", "baseline"}
    matrix_free : bool
        The function never makes ``problem.affinity``; where it has been made already, it may be read.
    batch : callable, optional
        Matches one image with many in one call, see `semrsm_bench.solvers.registry.BatchFunction`.
    releases_gil : bool
        The function (and ``batch``) may run in several threads at once and spend their time without Python's lock: whole
        RSMs are made in threads then.
    precision : float, optional
        What an exact solver promises: ``(k_opt - k) / (k_opt - k_rand)`` is at most this, apart from the rounding of an
        affinity in the problem's dtype. Default 1e-6; more, 1e-3 at most, for one that rounds costs to integers or to
        float32: tables and ``semrsm-bench list`` say so. A row beyond it has the status ``wrong``.
    stateful : bool
        The function keeps something between calls that makes later ones faster, such as buffers or prices to start from; never
        what changes its answers. Tables and ``semrsm-bench list`` say so.
    takes_vectors : bool, optional
        The function uses ``problem.x`` or ``problem.y`` for more than their inner products, such as for norms, so that it does not
        apply to a problem that is a matrix. Default: whether it is matrix-free.
    environment : str or iterable of str
        Requirements, as pip takes them, of an environment of its own, such as ``"lapx==0.11.1"``: ``semrsm-bench env create``
        makes it, and the solver is measured there. Only numpy, the requirements and this package are there; what the
        file that registers the solver imports at its top must be there and here. Such a solver is measured by ``run`` alone.
    prepare : callable, optional
        Gets the problem and the options; what it returns takes the place of the problem. It is not timed.
    program : {"", "once", "persistent"}
        The function runs a program, see `register_command`: one process a call, or one that stays between calls.
    **declared
        What a method of any kind may declare, and options that are bound to the name:

        grid : mapping of option to values
            One method is registered for each combination, as ``name-value``.
        complexity, reference : str
            Shown by ``semrsm-bench list``.
        requires : str or iterable of str
            Modules the function imports; where one is missing the method stays listed with the reason.
        unavailable : callable
            Returns a reason (or "") for cases that a module's name does not decide.
        files : str or iterable of str
            Files that decide what the method does, such as a shared library, relative to the file that registers it: a run
            that is resumed after one of them changed measures the method again.
        max_size : int
            Larger problems are skipped, with a row that says so.
        slow_from : int
            S from which a pair takes seconds: quick runs leave the method out there.
        distribution : str
            Distribution whose version is recorded with every result; by default the one that the plugin came in.

    Raises
    ------
    ValueError
        The name is taken or malformed, the kind unknown, the grid empty, the precision not in 0 to 1e-3 or not of an exact
        solver, or something in the environment no requirement. Nothing is registered then.
    TypeError
        The function does not take the problem first, or lacks an option that is bound.
    """
    _check_kind(kind, f"solver {name!r}: kind")
    if precision is not None and (kind != "exact" or not 0 <= precision <= LARGEST_PRECISION):
        raise ValueError(
            f"solver {name!r}: precision is what an exact solver promises, from 0 to {LARGEST_PRECISION:g}, got {precision!r} "
            f"for kind {kind!r}; one that misses the optimum by more than rounding is approximate"
        )
    needed = words(environment)
    if wrong := [one for one in needed if not isinstance(one, str) or not one[:1].isalnum()]:
        raise ValueError(f"solver {name!r}: environment holds requirements such as 'lapx==0.11.1', got {wrong[0]!r}")
    return registering(
        SOLVERS,
        Solver,
        name,
        declared,
        kind=kind,
        matrix_free=matrix_free,
        batch=batch,
        releases_gil=releases_gil,
        precision=PRECISION if kind == "exact" and precision is None else precision,
        stateful=stateful,
        takes_vectors=matrix_free if takes_vectors is None else takes_vectors,
        environment=needed,
        prepare=prepare,
        program=program,
    )


def _check_kind(kind: str, what: str) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"{what} must be one of {', '.join(get_args(Kind))}, got {kind!r}")


def get_solver(name: str) -> Solver:
    """Solver of that name; `UnknownSolverError`, a KeyError, names the nearest ones where there is none."""
    return SOLVERS.get(name)


def solver_names(kind: Kind | None = None, *, available_only: bool = False) -> list[str]:
    """Names of all registered solvers: the built-in ones in the order of the tables, then plugins as they came.

    Parameters
    ----------
    kind : {"exact", "approximate", "baseline"}, optional
        Only these.
    available_only : bool
        Leave out those whose library is missing.
    """
    if kind is not None:
        _check_kind(kind, "kind")
    chosen = [SOLVERS.get(name) for name in SOLVERS.names()]
    return [s.name for s in chosen if kind in (None, s.kind) and (not available_only or s.available)]


def solve(problem: MatchingProblem, solver: str, **options: Any) -> Permutation:
    """Match the positions of a problem with a registered solver.

    Parameters
    ----------
    problem : MatchingProblem
    solver : str
        A name from `solver_names`.
    **options
        Options of the solver, such as ``block_solver="scipy"``.

    Returns
    -------
    ndarray, (S,), intp
        Row i of x is matched with row ``perm[i]`` of y; always a valid permutation.
    """
    return _chosen(solver, "solve(problem, name), with problem = MatchingProblem(x, y)").run(problem, **options).perm


def solve_many(problems: Iterable[MatchingProblem], solver: str, n_jobs: int = 1, **options: Any) -> list[Permutation]:
    """Match many problems, ``n_jobs`` at a time in threads (-1: as many as there are cores).

    Threads help as far as a solver releases the GIL: scipy, lapjv and the kernels of this package do, ortools and lap do not.

    Returns
    -------
    list of ndarray, (S,), intp
        In the order of ``problems``.
    """
    from joblib import effective_n_jobs

    chosen, threads = _chosen(solver, "solve_many(problems, name)"), effective_n_jobs(n_jobs)
    if threads == 1:
        return [chosen.run(problem, **options).perm for problem in problems]

    def numbered(i: int, problem: MatchingProblem) -> tuple[int, Permutation]:
        return i, chosen.run(problem, **options).perm

    perms = dict(in_threads((partial(numbered, i, problem) for i, problem in enumerate(problems)), threads))
    return [perms[i] for i in range(len(perms))]


def _chosen(solver: str, call: str) -> Solver:
    """The solver of that name; TypeError, which says how the function is called, where it is no name."""
    try:
        return get_solver(solver)
    except TypeError as error:
        raise TypeError(f"{error}; the arguments are {call}") from None


def in_threads(tasks: Iterator[Callable[[], R]], threads: int) -> Iterator[R]:
    """Results of tasks as they come, in any order; of those not begun at most one a thread is held.

    joblib's threads take some ten milliseconds to begin and to end, as long as dozens of pairs.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        under_way = {pool.submit(task) for task in itertools.islice(tasks, 2 * threads)}
        while under_way:
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            under_way |= {pool.submit(task) for task in itertools.islice(tasks, len(done))}
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(cancel_futures=True)


def warm_up(solver: str, dtype: DTypeLike = np.float32, sizes: Sequence[int] = (8, 70), **options: Any) -> None:
    """Run a solver on tiny problems, so that compiling and importing are over before anything is timed.

    Parameters
    ----------
    solver : str
    dtype : float32 or float64
        Of the problems that will follow: compiled kernels exist once per type.
    sizes : sequence of int
        S of each. A solver that treats large problems in another way needs large ones here.
    **options
        Those of the calls that will follow.
    """
    chosen = get_solver(solver)
    for x, y in (np.random.default_rng(size).standard_normal((2, size, 4)).astype(dtype) for size in sizes):
        problem = MatchingProblem(x, y)
        chosen.run(problem, **options)
        # Some solvers take another path once the affinity is there.
        _ = problem.affinity
        chosen.run(problem, **options)
