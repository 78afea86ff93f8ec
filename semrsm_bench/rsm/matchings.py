"""How the positions of two images are matched: as they stand, by the best shift, or by a solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from semrsm_bench.rsm.comparison import Comparison, Mask, Permutations, Values, travels_as
from semrsm_bench.rsm.scoring import matched_value
from semrsm_bench.rsm.sources import Floats, Grid
from semrsm_bench.rsm.translation import best_shifts, shift_permutation, spectra
from semrsm_bench.solvers import (
    InvalidMatchingError,
    MatchingProblem,
    Solution,
    Solver,
    check_permutation,
    get_solver,
    load_plugin,
)
from semrsm_bench.solvers.solver import BatchFunction

# Affinities made by one batched product: enough to make the calls worthwhile at small S, few enough to stay in cache.
AFFINITY_BYTES = 2**20


@dataclass(frozen=True)
class SamePosition(Comparison):
    """Position s with position s: the spatio-semantic RSM, a plain matrix product."""

    name: str = "identity"

    def fill(
        self, x: Floats, y: Floats, wanted: Mask, narrow: Mask, values: Values, perms: Permutations | None
    ) -> None:
        """See `Comparison.fill`."""
        flat = [a.reshape(len(a), -1).astype(np.float64, copy=False) for a in (x, y)]
        values[wanted] = (flat[0] @ flat[1].T)[wanted]
        if perms is not None:
            perms[wanted] = np.arange(x.shape[1])


@dataclass(frozen=True)
class BestShift(Comparison):
    """The circular shift of the grid with the largest inner product, by FFT."""

    grid: Grid
    name: str = "translation"

    def fill(
        self, x: Floats, y: Floats, wanted: Mask, narrow: Mask, values: Values, perms: Permutations | None
    ) -> None:
        """See `Comparison.fill`."""
        norms = [np.sqrt(np.einsum("nsc,nsc->n", a, a, dtype=np.float64)) for a in (x, y)]
        best, shifts = best_shifts(spectra(x, self.grid), spectra(y, self.grid), self.grid, np.multiply.outer(*norms))
        values[wanted] = best[wanted]
        if perms is not None:
            for i, j in np.argwhere(wanted):
                perms[i, j] = shift_permutation(int(shifts[i, j]), self.grid)

    def identity(self) -> dict[str, Any]:
        """What a resumed run has to agree on."""
        return {"matching": self.name, "grid": list(self.grid)}


@dataclass(frozen=True)
class BySolver(Comparison):
    """A registered solver on affinities made in batches: all pairs of a batch in one call, if the solver can do that.

    Parameters
    ----------
    name : str
    matrix_free : bool
    options : mapping
        Options bound to the name, and those of the call.
    version : str
        Of the distribution that does the work.
    function : callable, optional
        Travels along where the name alone would not be known in another process.
    plugin : str, optional
        File that registers the name.
    batch : callable, optional
        Companion of the function.
    in_threads : bool
        As the solver was registered.
    """

    name: str
    matrix_free: bool
    options: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    function: Callable[..., Any] | None = None
    plugin: str | None = None
    batch: BatchFunction | None = None
    in_threads: bool = False

    @classmethod
    def of(cls, solver: Solver, options: Mapping[str, Any]) -> BySolver:
        """Matching by a solver; raises where it is unavailable or does not take an option."""
        solver.require_available()
        merged = {**solver.options, **options}
        solver.check_options(merged)
        function, plugin = travels_as(solver)
        return cls(
            solver.name,
            solver.matrix_free,
            merged,
            solver.version,
            function,
            plugin,
            None if function is None else solver.batch,
            solver.releases_gil,
        )

    def _resolve(self) -> tuple[Callable[..., Any], BatchFunction | None]:
        if self.function is not None:
            return self.function, self.batch
        if self.plugin is not None:
            load_plugin(self.plugin)
        solver = get_solver(self.name)
        return solver.function, solver.batch

    def fill(
        self, x: Floats, y: Floats, wanted: Mask, narrow: Mask, values: Values, perms: Permutations | None
    ) -> None:
        """See `Comparison.fill`."""
        function, batch = self._resolve()
        size = x.shape[1]
        seen = np.empty(size, dtype=np.uint8)
        together = max(1, min(len(y), AFFINITY_BYTES // (size * size * x.itemsize)))
        affinities = None if self.matrix_free else np.empty((together, size, size), dtype=x.dtype)
        for i in np.flatnonzero(wanted.any(axis=1)).tolist():
            columns = np.flatnonzero(wanted[i])
            for group in np.split(columns, range(together, len(columns), together)):
                theirs = _images(y, group)
                given = None
                if affinities is not None:
                    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                        given = np.matmul(x[i], theirs.swapaxes(1, 2), out=affinities[: len(group)])
                found, solved = self._batch(batch, x[i], theirs, given, narrow[i, group])
                for k, j in enumerate(group.tolist()):
                    if solved[k]:
                        perm = found[k]
                    elif narrow[i, j]:
                        problem = MatchingProblem.trusted(x[i], y[j], None if given is None else given[k])
                        perm = self._permutation(function(problem, **self.options))
                    else:
                        problem = MatchingProblem(x[i].astype(np.float64), y[j].astype(np.float64))
                        perm = self._permutation(function(problem, **self.options))
                    value = matched_value(x[i], y[j], perm, seen)
                    if value != value:
                        self._reject(perm, size)
                    values[i, j] = value
                    if perms is not None:
                        perms[i, j] = perm

    def _batch(
        self, batch: BatchFunction | None, x: Floats, ys: Floats, affinities: Floats | None, narrow: Mask
    ) -> tuple[Permutations, Mask]:
        """What the solver's batch entry makes of a group of pairs, as contiguous permutations; which of them it solved."""
        if batch is None or not narrow.any():
            return np.empty((len(ys), 0), np.intp), np.zeros(len(ys), bool)
        perms, solved = batch(x, ys, affinities, **self.options)
        if np.shape(perms) != ys.shape[:2] or np.shape(solved) != ys.shape[:1]:
            raise InvalidMatchingError(
                f"solver {self.name!r}: its batch entry answers {len(ys)} pairs of {ys.shape[1]} positions with permutations "
                f"of shape {np.shape(perms)} and solved of shape {np.shape(solved)}"
            )
        perms = np.asarray(perms)
        if perms.dtype.kind not in "iu":
            raise InvalidMatchingError(f"solver {self.name!r}: a permutation holds integers, got dtype {perms.dtype}")
        return np.ascontiguousarray(perms, dtype=np.intp), np.asarray(solved, bool) & narrow

    def _permutation(self, result: Any) -> Permutations:
        perm = result.perm if isinstance(result, Solution) else result
        if isinstance(perm, np.ndarray) and perm.dtype == np.intp and perm.ndim == 1:
            return np.ascontiguousarray(perm)
        try:
            return check_permutation(perm, len(perm))
        except (ValueError, TypeError) as error:
            raise InvalidMatchingError(f"solver {self.name!r}: {error}") from None

    def _reject(self, perm: Permutations, size: int) -> None:
        try:
            check_permutation(perm, size)
        except ValueError as error:
            raise InvalidMatchingError(f"solver {self.name!r}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """What a resumed run has to agree on."""
        return {"matching": self.name, "options": dict(sorted(self.options.items())), "solver_version": self.version}


def _images(y: Floats, group: Permutations) -> Floats:
    """Some images, in order: a view where they are neighbours."""
    first, last = int(group[0]), int(group[-1]) + 1
    images: Floats = y[first:last] if last - first == len(group) else y[group]
    images.flags.writeable = False
    return images
