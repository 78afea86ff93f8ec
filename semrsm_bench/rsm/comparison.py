"""How two images are compared: what fills a block of an RSM, with a matching of their positions or without one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Method, option_names
from semrsm_bench.rsm.sources import Floats

Values = NDArray[np.float64]
Permutations = NDArray[np.intp]
Mask = NDArray[np.bool_]


class InvalidRsmError(RuntimeError):
    """An RSM method returned something that is no matrix of similarities."""


class Comparison(ABC):
    """A way to compare images; a small frozen object that travels to worker processes.

    Attributes
    ----------
    name : str
    in_threads : bool
        Tiles are best computed in threads of one process: the work is done without Python's lock.
    matches : bool
        The value is the inner product of matched images, so that the self-similarities are the squared norms.
    """

    name: str
    in_threads: bool = False
    matches: bool = True

    @abstractmethod
    def fill(
        self, x: Floats, y: Floats, wanted: Mask, narrow: Mask, values: Values, perms: Permutations | None
    ) -> None:
        """Compute the wanted pairs of a block.

        Parameters
        ----------
        x, y : ndarray, (n, S, C) and (m, S, C)
            Finite, C-contiguous, of one dtype; rows and columns of the block.
        wanted : ndarray of bool, (n, m)
        narrow : ndarray of bool, (n, m)
            Pairs whose affinity fits the precision of x and y.
        values : ndarray, (n, m), float64
            Receives the similarities where wanted; of a matching ``sum_s <x_i[s], y_j[perm(s)]>``.
        perms : ndarray, (n, m, S), intp, optional
            Receives the permutations, where there is a matching.
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


def travels_as(method: Method) -> tuple[Callable[..., Any] | None, str | None]:
    """How another process finds a method's function: the function itself, or None and the plugin's file, if there is one."""
    own = method.module.startswith("semrsm_bench.") or bool(method.file)
    return None if own else method.function, method.file or None


@dataclass(frozen=True)
class ByFunction(Comparison):
    """A registered function of two blocks of images, or of two images that were prepared one by one.

    Attributes
    ----------
    name : str
    find : callable
        Gives (function, prepare) in any process.
    options : mapping
    version : str
        Of the distribution that does the work.
    """

    name: str
    find: Callable[[], tuple[Callable[..., Any], Callable[..., Any] | None]]
    options: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    in_threads: bool = False
    matches: bool = False

    def fill(
        self, x: Floats, y: Floats, wanted: Mask, narrow: Mask, values: Values, perms: Permutations | None
    ) -> None:
        """See `Comparison.fill`."""
        function, prepare = self.find()
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

    def identity(self) -> dict[str, Any]:
        """What a resumed run has to agree on."""
        return {"matching": self.name, "options": dict(sorted(self.options.items())), "method_version": self.version}


def _channels_first(images: Floats) -> Floats:
    """(n, C, S), read-only: what a method writes would reach the pairs after it."""
    view: Floats = images.swapaxes(1, 2)
    view.flags.writeable = False
    return view


def _taken(function: Callable[..., Any], arguments: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
    known = option_names(function, arguments)
    return options if known is None else {name: value for name, value in options.items() if name in known}
