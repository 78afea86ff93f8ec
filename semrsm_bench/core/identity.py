"""Which samples the rows of an array are of: ids that travel with it, and are compared before it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.arrays import to_numpy

Ids = tuple[str, ...]


class WithIds(np.ndarray[Any, Any]):
    """An array whose rows have ids, and whose columns have where it is an RSM; made by `with_ids`.

    What is computed from it has none: whoever sorts or leaves out rows says again which they are.
    """

    ids: Ids | None
    column_ids: Ids | None

    def __array_finalize__(self, source: Any) -> None:
        self.ids = self.column_ids = None

    def __reduce__(self) -> tuple[Any, ...]:
        return with_ids, (np.asarray(self), self.ids, self.column_ids)


def with_ids(array: Any, ids: Iterable[Any] | None, column_ids: Iterable[Any] | None = None) -> Any:
    """The same array, carrying the ids of the samples in its rows (n), and in its columns where it is an RSM.

    Metrics refuse arrays whose ids are others, or in another order; `align` brings them together. A memory-mapped array stays one.
    None: not known. ValueError: another number of ids, or one that is there twice.
    """
    array = to_numpy(array, "array")
    found: Any = array if isinstance(array, np.memmap) else array.view(WithIds)
    found.ids = None if ids is None else checked_ids(ids, len(array), "ids")
    columns = None if column_ids is None else checked_ids(column_ids, array.shape[1], "column_ids")
    found.column_ids = columns
    return found


def between_ids(rsm: NDArray[np.float64], rows: Any, columns: Any = None) -> NDArray[np.float64]:
    """An RSM (n, m) with the ids of the features that its rows are of, and its columns (None: the same); as it is without any."""
    ids = ids_of(rows)
    others = ids if columns is None else ids_of(columns)
    found: NDArray[np.float64] = rsm if ids is None and others is None else with_ids(rsm, ids, others)
    return found


def checked_ids(ids: Iterable[Any], count: int, what: str) -> Ids:
    """Ids as text; ValueError, which calls them ``what``: another number of them than ``count``, or one that is there twice."""
    found = tuple(one.decode() if isinstance(one, bytes) else str(one) for one in ids)
    if len(found) != count:
        raise ValueError(f"{what}: there are {len(found)} ids for {count} samples")
    if len(set(found)) < count:
        seen: dict[str, int] = {}
        for place, one in enumerate(found):
            if (first := seen.setdefault(one, place)) != place:
                raise ValueError(
                    f"{what}: {one!r} is there twice, at {first} and {place}; every sample has an id of its own"
                )
    return found


def ids_of(array: Any) -> Ids | None:
    """Ids of the rows, or None."""
    return getattr(array, "ids", None) if isinstance(array, np.ndarray) else None


def require_same_ids(first: Any, second: Any, names: Sequence[str] = ("the first", "the second")) -> None:
    """ValueError where both arrays carry ids, and these are others, or in another order."""
    require_equal_ids(ids_of(first), ids_of(second), names)


def require_one_set_of_ids(arrays: Sequence[Any], name: str) -> None:
    """`require_same_ids` of all arrays, which errors call ``name``[0], [1], ..., with the first one that carries ids."""
    known = [i for i, array in enumerate(arrays) if ids_of(array) is not None]
    for i in known[1:]:
        require_same_ids(arrays[known[0]], arrays[i], (f"{name}[{known[0]}]", f"{name}[{i}]"))


def require_equal_ids(
    a: Sequence[str] | None,
    b: Sequence[str] | None,
    names: Sequence[str],
    remedy: str = "semrsm_bench.align brings arrays to the samples that they share, in one order",
) -> None:
    """ValueError where both sides have ids, and these are others, or in another order; it says which, and the ``remedy``."""
    if a is None or b is None or tuple(a) == tuple(b):
        return
    x, y = names
    if set(a) == set(b):
        place = next(i for i, (one, other) in enumerate(zip(a, b)) if one != other)
        what = f"the same samples in another order: at {place} is {a[place]!r} in {x} and {b[place]!r} in {y}"
        raise ValueError(f"{x} and {y} hold {what}; {remedy}")
    left, right = ([one for one in own if one not in other] for own, other in ((a, set(b)), (b, set(a))))
    only = " and ".join(
        f"{len(odd)} are only in {name}, such as {odd[0]!r}" for odd, name in ((left, x), (right, y)) if odd
    )
    raise ValueError(f"{x} and {y} hold other samples: {only}; {remedy}")


def align(*arrays: Any) -> list[Any]:
    """The arrays with the samples that all of them have, in the order of the first.

    Parameters
    ----------
    *arrays : WithIds
        Features (n, p), or RSMs (n, n), of which rows and columns are chosen; each with ids, see `with_ids`.

    Raises
    ------
    ValueError
        An array without ids, or no id that all of them have.
    """
    for number, array in enumerate(arrays):
        if ids_of(array) is None:
            raise ValueError(f"array {number} carries no ids: say which samples its rows are, with_ids(array, ids)")
    shared = set.intersection(*(set(array.ids) for array in arrays)) if arrays else set()
    kept = [one for one in arrays[0].ids if one in shared] if arrays else []
    if not kept:
        raise ValueError(f"the {len(arrays)} arrays have no id in common")
    return [_chosen(array, kept) for array in arrays]


def _chosen(array: Any, kept: list[str]) -> Any:
    place = {one: i for i, one in enumerate(array.ids)}
    rows = [place[one] for one in kept]
    columns = array.column_ids
    plain: NDArray[Any] = np.asarray(array)[rows]
    if columns is not None and set(columns) == set(array.ids):
        across = {one: j for j, one in enumerate(columns)}
        return with_ids(plain[:, [across[one] for one in kept]], kept, kept)
    return with_ids(plain, kept, columns)
