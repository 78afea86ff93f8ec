"""How two images are compared: what fills a block of an RSM, with a matching of their positions or without one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Method, option_names
from semrsm_bench.core.registry import REGISTRIES, load_plugin
from semrsm_bench.rsm.scoring import matched_value
from semrsm_bench.rsm.sources import Floats, Grid
from semrsm_bench.rsm.translation import best_shifts, shift_permutation, spectra
from semrsm_bench.solvers import InvalidMatchingError, MatchingProblem, Solution, check_permutation
from semrsm_bench.solvers.solver import BatchFunction

Values = NDArray[np.float64]
Permutations = NDArray[np.intp]
Mask = NDArray[np.bool_]

# Affinities made by one batched product: enough to make the calls worthwhile at small S, few enough to stay in cache.
AFFINITY_BYTES = 2**20


class InvalidRsmError(RuntimeError):
    """An RSM method returned something that is no matrix of similarities."""


class Comparison(ABC):
    """A way to compare images; a small frozen object that travels to worker processes.

    ``in_threads``: tiles are best computed in threads of one process, because the work is done without Python's lock. ``matches``:
    the value is the inner product of matched images, so that the self-similarities are the squared norms.
    """

    name: str
    in_threads: bool = False
    matches: bool = True

    @abstractmethod
    def fill(
        self, x: Floats, y: Floats, wanted: Mask, narrow: Mask, values: Values, perms: Permutations | None
    ) -> None:
        """Compute the wanted pairs (n, m) of a block of images x (n, S, C) and y (m, S, C), finite, contiguous, of one dtype.

        ``narrow`` (n, m) marks the pairs whose affinity fits the precision of x and y. ``values`` (n, m) float64 receives the
        similarities where wanted, of a matching ``sum_s <x_i[s], y_j[perm(s)]>``, and ``perms`` (n, m, S) its permutations.
        """

    def with_itself(self, x: Floats) -> Values:
        """Similarity of every image with itself, (n,); for comparisons without a matching."""
        own = np.empty(len(x))
        one, value = np.ones((1, 1), dtype=bool), np.empty((1, 1))
        for i in range(len(x)):
            self.fill(x[i : i + 1], x[i : i + 1], one, one, value, None)
            own[i] = value[0, 0]
        return own

    def identity(self) -> dict[str, Any]:
        """What a resumed run has to agree on."""
        return {"matching": self.name}


@dataclass(frozen=True)
class SamePosition(Comparison):
    """Position s with position s: the spatio-semantic RSM, a plain matrix product."""

    grid: Grid | None = None
    name = "identity"

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
    name = "translation"

    def __post_init__(self) -> None:
        if self.grid is None:
            raise ValueError("translation shifts a grid: give (N, C, H, W), or grid=(H, W) for flat positions")

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
        """See `Comparison.identity`."""
        return {"matching": self.name, "grid": list(self.grid)}


@dataclass(frozen=True)
class _Registered(Comparison):
    """The function of a registered method, found again in any process.

    ``function`` and its ``companion`` travel along where the name alone would not be known; ``plugin`` is the file that
    registers the name.
    """

    registry: ClassVar[str]
    companion_field: ClassVar[str]
    version_key: ClassVar[str]

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    in_threads: bool = False
    function: Callable[..., Any] | None = None
    companion: Callable[..., Any] | None = None
    plugin: str = ""

    @classmethod
    def of(cls, method: Any, options: Mapping[str, Any], **more: Any) -> Self:
        """What computes a method; raises where it is unavailable or does not take an option."""
        method.require_available()
        merged = {**method.options, **options}
        method.check_options(merged)
        own = method.module.startswith("semrsm_bench.") or bool(method.file)
        function = None if own else method.function
        companion = None if own else getattr(method, cls.companion_field)
        return cls(method.name, merged, method.version, method.releases_gil, function, companion, method.file, **more)

    def _resolve(self) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        if self.function is not None:
            return self.function, self.companion
        if self.plugin:
            load_plugin(self.plugin)
        method: Method = REGISTRIES[self.registry].get(self.name)
        return method.function, getattr(method, self.companion_field)

    def identity(self) -> dict[str, Any]:
        """See `Comparison.identity`."""
        return {"matching": self.name, "options": dict(sorted(self.options.items())), self.version_key: self.version}


@dataclass(frozen=True)
class ByFunction(_Registered):
    """A registered function of two blocks of images, or of two images that were prepared one by one."""

    registry = "rsm"
    companion_field = "prepare"
    version_key = "method_version"
    matches = False

    def fill(
        self, x: Floats, y: Floats, wanted: Mask, narrow: Mask, values: Values, perms: Permutations | None
    ) -> None:
        """See `Comparison.fill`."""
        function, prepare = self._resolve()
        if not narrow.all():
            x, y = (a.astype(np.float64) for a in (x, y))
        z, z2 = _channels_first(x), _channels_first(y)
        if prepare is None:
            found = self._checked(function(z, z2, **self.options), wanted.shape)
            values[wanted] = found[wanted]
        else:
            a, b = ([prepare(image, **_taken(prepare, 1, self.options)) for image in images] for images in (z, z2))
            options = _taken(function, 2, self.options)
            for i, j in np.argwhere(wanted).tolist():
                values[i, j] = self._checked(function(a[i], b[j], **options), ())
        bad = wanted & ~np.isfinite(values)
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise InvalidRsmError(
                f"RSM method {self.name!r} finds a similarity of {values[i, j]} for two finite images"
            )

    def _checked(self, found: Any, shape: tuple[int, ...]) -> Values:
        array = np.asarray(found)
        if array.shape != shape or array.dtype.kind not in "fiub":
            wanted = f"a matrix of shape {shape}" if shape else "one number"
            raise InvalidRsmError(
                f"RSM method {self.name!r} must return {wanted}, got {type(found).__name__} of shape {array.shape} and "
                f"dtype {array.dtype}"
            )
        return np.asarray(array, dtype=np.float64)


def _channels_first(images: Floats) -> Floats:
    """(n, C, S), read-only: what a method writes would reach the pairs after it."""
    view: Floats = images.swapaxes(1, 2)
    view.flags.writeable = False
    return view


def _taken(function: Callable[..., Any], arguments: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = option_names(function, arguments)
    return options if known is None else {name: value for name, value in options.items() if name in known}


@dataclass(frozen=True)
class BySolver(_Registered):
    """A registered solver on affinities made in batches: all pairs of a batch in one call, if the solver can do that."""

    registry = "solver"
    companion_field = "batch"
    version_key = "solver_version"

    matrix_free: bool = False

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
                    else:
                        problem = (
                            MatchingProblem.trusted(x[i], y[j], None if given is None else given[k])
                            if narrow[i, j]
                            else MatchingProblem(x[i].astype(np.float64), y[j].astype(np.float64))
                        )
                        perm = self._permutation(function(problem, **self.options))
                    value = matched_value(x[i], y[j], perm, seen)
                    if value != value:
                        self._checked(perm, size)
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
        return self._checked(perm, len(perm) if hasattr(perm, "__len__") else 0)

    def _checked(self, perm: Any, size: int) -> Permutations:
        try:
            return check_permutation(perm, size)
        except (ValueError, TypeError) as error:
            raise InvalidMatchingError(f"solver {self.name!r}: {error}") from None


def _images(y: Floats, group: Permutations) -> Floats:
    """Some images, in order: a view where they are neighbours."""
    first, last = int(group[0]), int(group[-1]) + 1
    images: Floats = y[first:last] if last - first == len(group) else y[group]
    images.flags.writeable = False
    return images
