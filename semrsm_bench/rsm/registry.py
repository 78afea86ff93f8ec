"""RSM methods by name: with a matching (identity, translation, any solver), or a registered function without one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from semrsm_bench.activations.layouts import Grid
from semrsm_bench.core.method import Method, option_names, registering, words
from semrsm_bench.core.registry import Registry
from semrsm_bench.rsm.comparison import ByFunction, BySolver, ByVectors, Comparison
from semrsm_bench.rsm.options import RsmOptions
from semrsm_bench.solvers.registry import SOLVERS, Solver

F = TypeVar("F", bound=Callable[..., Any])

INVARIANCES: dict[str, str] = {
    "permutation": "the positions of one image in another order",
    "translation": "one image shifted circularly on its grid",
}
"""What can be done to one image of a pair. A method that does not name one of these is changed by it."""


@dataclass(frozen=True)
class RsmMethod(Method):
    """A registered RSM method: what `register_rsm` was given, and how tables group it; see `Method` for the rest."""

    kind_name: ClassVar[str] = "rsm"
    arguments: ClassVar[int] = 2

    invariant_to: tuple[str, ...] = ()
    symmetric: bool = True
    prepare: Callable[..., Any] | None = None
    releases_gil: bool = False
    category: str = "matching-free"

    @property
    def facts(self) -> dict[str, Any]:
        """Invariances and symmetry."""
        return {"invariant_to": list(self.invariant_to), "symmetric": self.symmetric}

    @property
    def option_names(self) -> tuple[str, ...] | None:
        """Options of the function and of what prepares; None where any is taken."""
        known = [super().option_names, *([] if self.prepare is None else [option_names(self.prepare, 1)])]
        return None if None in known else tuple(dict.fromkeys(name for names in known for name in names or ()))

    @property
    def defaults(self) -> dict[str, Any]:
        """See `Method.defaults`; those of what prepares come first."""
        prepared = {} if self.prepare is None else Method("", self.prepare).defaults
        return {**prepared, **super().defaults}

    def comparison(self, grid: Grid | None, options: Mapping[str, Any]) -> Comparison:
        """What computes the method with these options, for images on this grid; see `choose_comparisons`."""
        return ByFunction.of(self, options)


@dataclass(frozen=True)
class VectorRsm(RsmMethod):
    """A method that makes a vector of each image: similarities are inner products."""

    arguments: ClassVar[int] = 1

    def comparison(self, grid: Grid | None, options: Mapping[str, Any]) -> Comparison:
        """See `RsmMethod.comparison`."""
        return ByVectors.of(self, options)


@dataclass(frozen=True)
class MatchingRsm(RsmMethod):
    """A method that matches positions: by a registered solver, or by a class of `Comparison` that takes the grid."""

    arguments: ClassVar[int] = 1

    category: str = "matching"
    solver: Solver | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of a method; for a class also whether it needs a grid."""
        return {**super().facts, **({} if self.solver else {"needs_grid": getattr(self.function, "needs_grid", False)})}

    @property
    def code(self) -> str:
        """The digest of the method's code; for a solver, with that of this room."""
        if self.solver is None:
            return super().code
        return hashlib.sha256(f"{super().code} {get_rsm('identity').code}".encode()).hexdigest()[:16]

    def comparison(self, grid: Grid | None, options: Mapping[str, Any]) -> Comparison:
        """See `RsmMethod.comparison`."""
        if self.solver is not None:
            return BySolver.of(self.solver, options, matrix_free=self.solver.matrix_free)
        made: Comparison = self.function(grid)
        return made


class RsmRegistry(Registry[RsmMethod]):
    """RSM methods; every solver that runs in this process is one too, unless a method of its name is registered."""

    def names(self) -> list[str]:
        """Registered methods, then solvers."""
        here = [name for name in SOLVERS.names() if SOLVERS.get(name).in_process]
        return list(dict.fromkeys([*super().names(), *here]))

    def add(self, entries: Iterable[RsmMethod]) -> None:
        """See `Registry.add`; a solver's name is taken."""
        made = list(entries)
        for method in made:
            if not method.module.startswith("semrsm_bench.") and SOLVERS.find(method.name) is not None:
                raise ValueError(f"{method.name!r} is a solver, which is an RSM method too; choose another name")
        super().add(made)


def _by_solver(name: str) -> RsmMethod | None:
    solver = SOLVERS.find(name)
    if solver is None or not solver.in_process:
        return None
    exact = solver.kind == "exact"
    shared = {field.name: getattr(solver, field.name) for field in fields(Method)}
    invariant = tuple(INVARIANCES) if exact else ()
    declared: dict[str, Any] = {"invariant_to": invariant, "symmetric": exact, "releases_gil": solver.releases_gil}
    return MatchingRsm(**shared, **declared, solver=solver)


RSMS = RsmRegistry("rsm", "semrsm_bench.rsm", ("methods", "matching_free"), derive=_by_solver)


def register_rsm(
    name: str,
    *,
    invariant_to: Iterable[str] | str = (),
    symmetric: bool = True,
    prepare: Callable[..., Any] | None = None,
    vectors: bool = False,
    releases_gil: bool = False,
    **declared: Any,
) -> Callable[[F], F]:
    """Register a function as an RSM method; use it as a decorator.

    The function takes images (N, C, S) and (M, C, S), both finite and read-only, float32 or float64, and returns their
    similarities (N, M), the linear RSM. It is called for blocks of images, so an entry may depend on its two images alone.
    The other kernels follow from the entries P_ij and from P_ii, the similarity of an image with itself: cosine is
    P_ij / sqrt(P_ii P_jj), the squared distance of the RBF kernel P_ii + P_jj - 2 P_ij.

    Parameters
    ----------
    name : str
        Lower case letters, digits and ``. _ + -``, such as ``second-moment``; no solver's name.
    invariant_to : iterable of str
        Keys of `INVARIANCES`: what may be done to one image without changing the value. Checked by ``semrsm-bench check``.
    symmetric : bool
        The value of two images does not depend on their order.
    prepare : callable, optional
        Makes of one image (C, S) what the function compares: the function then takes two prepared images and returns one
        number. Options go to whichever of the two takes them.
    vectors : bool
        The function takes one image (C, S) and returns a vector, of one length for all images; similarities are the vectors' inner
        products, one matrix product for a block.
    releases_gil : bool
        The function may run in several threads at once and spends its time without Python's lock.
    **declared
        grid, complexity, reference, requires, unavailable, files, max_size, slow_from, distribution, and options that are bound
        to the name: as for `register_solver`.

    Raises
    ------
    ValueError
        The name is taken or malformed, an invariance unknown, or the grid empty. Nothing is registered then.
    TypeError
        The function does not take two blocks of images, or lacks an option that is bound.
    """
    invariant = words(invariant_to)
    for invariance in invariant:
        if invariance not in INVARIANCES:
            raise ValueError(f"RSM method {name!r}: invariant_to takes {', '.join(INVARIANCES)}; got {invariance!r}")
    if vectors and (prepare is not None or not symmetric):
        raise ValueError(f"RSM method {name!r}: inner products of vectors are symmetric and take no prepare")
    more = {"invariant_to": invariant, "symmetric": symmetric, "prepare": prepare, "releases_gil": releases_gil}
    return registering(RSMS, VectorRsm if vectors else RsmMethod, name, declared, **more)


def get_rsm(name: str) -> RsmMethod:
    """RSM method of that name, or the one that matches by the solver of that name; UnknownNameError names the nearest ones."""
    return RSMS.get(name)


def rsm_names(*, available_only: bool = False) -> list[str]:
    """Names of all RSM methods: identity, translation, those without a matching, then the solvers.

    ``available_only`` leaves out those whose library is missing.
    """
    return [name for name in RSMS.names() if not available_only or RSMS.get(name).available]


def choose_comparisons(o: RsmOptions, grid: Grid | None) -> dict[str, Comparison]:
    """What computes each RSM method that the options name, for images on this grid (H, W) or None.

    Options of methods go to those of several that take some.
    """
    methods = [get_rsm(name) for name in o.matching]
    takes = {method.name for method in methods if method.option_names != ()}
    if o.options and not takes:
        raise ValueError(f"matching {o.matching[0]!r} takes no options, got {', '.join(o.options)}")
    return {m.name: m.comparison(grid, o.options if m.name in takes else {}) for m in methods}
