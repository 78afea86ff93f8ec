"""How two images are compared: what fills a block of an RSM, with a matching of their positions or without one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.cache import Floats
from semrsm_bench.core.compiled import njit
from semrsm_bench.core.method import option_names
from semrsm_bench.core.registry import REGISTRIES, load_plugin
from semrsm_bench.solvers import InvalidMatchingError, MatchingProblem, Solution, check_permutation
from semrsm_bench.solvers.kernels import read_only
from semrsm_bench.solvers.products import Affinities
from semrsm_bench.solvers.registry import BatchFunction

Values = NDArray[np.float64]
Permutations = NDArray[np.intp]
Mask = NDArray[np.bool_]

# Affinities made by one batched product: enough to make the calls worthwhile at small S, few enough to stay in cache.
AFFINITY_BYTES = 2**20


class InvalidRsmError(RuntimeError):
    """An RSM method returned something that is no matrix of similarities."""


class PairBlock(NamedTuple):
    """Pairs of images (i, j) to compare, and where their similarities go.

    ``x`` (n, S, C) and ``y`` (m, S, C) are finite, C-contiguous, read-only, of one float dtype that holds their inner products.
    ``values`` (n, m) float64 receives the similarities where ``wanted``, of a matching ``sum_s <x_i[s], y_j[perm(s)]>``, and is NaN
    elsewhere; ``permutations`` (n, m, S) intp receives the matchings.
    """

    x: Floats
    y: Floats
    wanted: Mask
    values: Values
    permutations: Permutations | None

    @classmethod
    def of(cls, x: Floats, y: Floats, wanted: Mask | None = None, keep_permutations: bool = False) -> PairBlock:
        """A block with room for its results; all pairs are wanted where ``wanted`` is None."""
        shape = (len(x), len(y))
        x.flags.writeable = y.flags.writeable = False  # what a method writes would reach the pairs after it
        permutations = np.zeros((*shape, x.shape[1]), dtype=np.intp) if keep_permutations else None
        return cls(x, y, np.ones(shape, bool) if wanted is None else wanted, np.full(shape, np.nan), permutations)


class Comparison(ABC):
    """A way to compare images; a small frozen object that travels to worker processes.

    ``in_threads``: tiles are best computed in threads of one process, because the work is done without Python's lock. ``matches``:
    the value is the inner product of matched images, so that the self-similarities are the squared norms.
    """

    name: str
    in_threads: bool = False
    matches: bool = True

    @abstractmethod
    def fill(self, block: PairBlock) -> None:
        """Compare the wanted pairs of a block."""

    def with_itself(self, x: Floats) -> Values:
        """Similarity of every image with itself, (n,); for comparisons without a matching."""
        blocks = [PairBlock.of(image, image) for image in np.split(x, len(x))]
        for block in blocks:
            self.fill(block)
        return np.array([block.values[0, 0] for block in blocks])

    def identity(self) -> dict[str, Any]:
        """What a resumed run has to agree on."""
        return {"matching": self.name}


@dataclass(frozen=True)
class _Registered(Comparison):
    """The function of a registered method and its companion, found again in any process.

    ``functions`` travel along where the name alone would not be known; ``plugin`` is the file or entry point that registers it.
    """

    registry: ClassVar[str]
    companion: ClassVar[str]

    name: str
    options: dict[str, Any]
    version: str
    functions: tuple[Callable[..., Any], Callable[..., Any] | None] | None
    plugin: str
    in_threads: bool = False

    @classmethod
    def of(cls, method: Any, options: Mapping[str, Any], **more: Any) -> Self:
        """What computes a method; raises where it is unavailable or does not take an option."""
        method.require_available()
        merged = {**method.options, **options}
        method.check_options(merged)
        found_by_name = method.module.startswith("semrsm_bench.") or bool(method.plugin)
        functions = None if found_by_name else (method.function, getattr(method, cls.companion))
        return cls(method.name, merged, method.version, functions, method.plugin, method.releases_gil, **more)

    def _resolve(self) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        if self.functions is not None:
            return self.functions
        if self.plugin:
            load_plugin(self.plugin)
        method = REGISTRIES[self.registry].get(self.name)
        return method.function, getattr(method, self.companion)

    def identity(self) -> dict[str, Any]:
        """See `Comparison.identity`."""
        return {"matching": self.name, "options": dict(sorted(self.options.items())), "version": self.version}


@dataclass(frozen=True)
class ByFunction(_Registered):
    """A registered function of two blocks of images, or of two images that were prepared one by one."""

    registry = "rsm"
    companion = "prepare"
    matches = False

    def fill(self, block: PairBlock) -> None:
        """See `Comparison.fill`."""
        function, prepare = self._resolve()
        (z,) = read_only(block.x.swapaxes(1, 2))
        z2 = z if block.y is block.x else read_only(block.y.swapaxes(1, 2))[0]
        if prepare is None:
            for rows, columns in self._parts(block.wanted):
                same = z2 is z and rows == columns
                mine = z[rows]
                found = self._matrix(function, mine, mine if same else z2[columns])
                part, wanted = block.values[rows, columns], block.wanted[rows, columns]
                part[wanted] = self._checked(found, wanted.shape)[wanted]
        else:
            a, b = ([prepare(image, **_taken(prepare, 1, self.options)) for image in images] for images in (z, z2))
            options = _taken(function, 2, self.options)
            for i, j in np.argwhere(block.wanted).tolist():
                block.values[i, j] = self._checked(function(a[i], b[j], **options), ())
        bad = block.values[block.wanted & ~np.isfinite(block.values)]
        if bad.size:
            raise InvalidRsmError(f"RSM method {self.name!r} finds a similarity of {bad[0]} for two finite images")

    def _parts(self, wanted: Mask) -> Iterator[tuple[slice, slice]]:
        """Rows and columns that the function is called with, so that no pair is compared that nobody wants."""
        todo = [(0, wanted.shape[0], 0, wanted.shape[1])]
        while todo:
            top, bottom, left, right = todo.pop()
            part = wanted[top:bottom, left:right]
            if not part.any():
                continue
            if part.all():
                yield slice(top, bottom), slice(left, right)
            else:
                row, column = (top + bottom + 1) // 2, (left + right + 1) // 2
                todo += [
                    (t, b, c, d) for t, b in ((top, row), (row, bottom)) for c, d in ((left, column), (column, right))
                ]

    def _matrix(self, function: Callable[..., Any], z: Floats, z2: Floats) -> Any:
        return function(z, z2, **self.options)

    def _checked(self, found: Any, shape: tuple[int, ...]) -> Values:
        array = np.asarray(found)
        if array.shape != shape or array.dtype.kind not in "fiub":
            wanted = f"a matrix of shape {shape}" if shape else "one number"
            got = f"{type(found).__name__} of shape {array.shape} and dtype {array.dtype}"
            raise InvalidRsmError(f"RSM method {self.name!r} must return {wanted}, got {got}")
        return np.asarray(array, dtype=np.float64)


class ByVectors(ByFunction):
    """A registered function that makes a vector of each image; their inner products are the similarities."""

    def vectors(self, images: Floats) -> Iterator[NDArray[Any]]:
        """Vectors (D,) of images (n, C, S), one at a time."""
        function, _ = self._resolve()
        return self._vectors(function, *read_only(images))

    def require_alike(self, shapes: set[tuple[int, ...]]) -> None:
        """Raise `InvalidRsmError` unless the images' vectors are vectors, all of one shape."""
        if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
            got = ", ".join(map(str, sorted(shapes)))
            raise InvalidRsmError(
                f"RSM method {self.name!r} must return one vector an image, all of one length, got {got}"
            )

    def _parts(self, wanted: Mask) -> Iterator[tuple[slice, slice]]:
        yield slice(0, wanted.shape[0]), slice(0, wanted.shape[1])  # no vector is made twice

    def _matrix(self, function: Callable[..., Any], z: Floats, z2: Floats) -> Any:
        first = np.array(list(self._vectors(function, z)), dtype=np.float64)
        second = first if z2 is z else np.array(list(self._vectors(function, z2)), dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            return first @ second.T

    def _vectors(self, function: Callable[..., Any], z: Floats) -> Iterator[NDArray[Any]]:
        shape = None
        for image in z:
            vector = np.asarray(function(image, **self.options))
            if vector.dtype.kind not in "fiub":
                raise InvalidRsmError(
                    f"RSM method {self.name!r} must return a vector of numbers, got dtype {vector.dtype}"
                )
            if vector.shape != shape or len(shape) != 1:
                self.require_alike({vector.shape, shape or vector.shape})
                shape = vector.shape
            yield vector


def _taken(function: Callable[..., Any], arguments: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = option_names(function, arguments)
    return options if known is None else {name: value for name, value in options.items() if name in known}


@dataclass(frozen=True)
class BySolver(_Registered):
    """A registered solver on affinities made in batches: all pairs of a batch in one call, if the solver can do that."""

    registry = "solver"
    companion = "batch"

    matrix_free: bool = False

    def fill(self, block: PairBlock) -> None:
        """See `Comparison.fill`."""
        function, batch = self._resolve()
        x, y = block.x, block.y
        size = x.shape[1]
        seen = np.empty(size, dtype=np.uint8)
        together = max(1, min(len(y), AFFINITY_BYTES // (size * size * x.itemsize)))
        made = None if self.matrix_free else Affinities()
        room = np.empty((0 if made is None else together, size, size), dtype=x.dtype)
        wanted = ((i, np.flatnonzero(row)) for i, row in enumerate(block.wanted) if row.any())
        groups = ((i, g) for i, c in wanted for g in np.split(c, range(together, len(c), together)))
        for i, group in groups:
            # A view where they are neighbours.
            neighbours = group[-1] - group[0] + 1 == len(group)
            (theirs,) = read_only(y[group[0] : group[-1] + 1] if neighbours else y[group])
            affinities = None if made is None else made.fill(x[i], group.tolist(), theirs, room[: len(group)])
            found, solved = self._batch(batch, x[i], theirs, affinities)
            for k, j in enumerate(group.tolist()):
                if solved[k]:
                    perm = found[k]
                else:
                    problem = MatchingProblem.trusted(x[i], y[j], None if affinities is None else affinities[k])
                    perm = self._permutation(function(problem, **self.options), size)
                value = matched_value(x[i], y[j], perm, seen)
                if value != value:
                    self._checked(perm, size)
                block.values[i, j] = value
                if block.permutations is not None:
                    block.permutations[i, j] = perm

    def _batch(
        self, batch: BatchFunction | None, x: Floats, ys: Floats, affinities: Floats | None
    ) -> tuple[Permutations, Mask]:
        """What the solver's batch entry makes of a group of pairs, as contiguous permutations; which of them it solved."""
        if batch is None:
            return np.empty((len(ys), 0), np.intp), np.zeros(len(ys), bool)
        perms, solved = batch(x, ys, affinities, **self.options)
        if np.shape(perms) != ys.shape[:2] or np.shape(solved) != ys.shape[:1]:
            got = f"permutations of shape {np.shape(perms)}, solved of shape {np.shape(solved)}"
            asked = f"{len(ys)} pairs of {ys.shape[1]} positions"
            raise InvalidMatchingError(f"solver {self.name!r}: its batch entry answers {asked} with {got}")
        perms = np.asarray(perms)
        if perms.dtype.kind not in "iu":
            raise InvalidMatchingError(f"solver {self.name!r}: a permutation holds integers, got dtype {perms.dtype}")
        return np.ascontiguousarray(perms, dtype=np.intp), np.asarray(solved, bool)

    def _permutation(self, result: Any, size: int) -> Permutations:
        perm = result.perm if isinstance(result, Solution) else result
        if isinstance(perm, np.ndarray) and perm.dtype == np.intp and perm.ndim == 1:
            return np.ascontiguousarray(perm)  # `matched_value` checks what it holds
        return self._checked(perm, size)

    def _checked(self, perm: Any, size: int) -> Permutations:
        try:
            return check_permutation(perm, size)
        except (ValueError, TypeError) as error:
            raise InvalidMatchingError(f"solver {self.name!r}: {error}") from None


@njit(fastmath={"reassoc", "nsz", "contract"})
def matched_value(x: Floats, y: Floats, perm: Permutations, seen: NDArray[np.uint8]) -> float:
    """``sum_s x_s . y_perm(s)`` in float64, of finite x and y (S, C); NaN where ``perm`` (intp) is not a permutation.

    ``seen`` (S,) uint8 is workspace.
    """
    size, channels = x.shape
    if len(perm) != size:
        return np.nan
    seen[:] = 0
    for s in range(size):
        if perm[s] < 0 or perm[s] >= size or seen[perm[s]]:
            return np.nan
        seen[perm[s]] = 1
    total = 0.0
    for s in range(size):
        row = perm[s]
        part = 0.0
        for c in range(channels):
            part += np.float64(x[s, c]) * np.float64(y[row, c])
        total += part
    return total
