"""Problems from a file of the user's: pairs of position vectors, or plain matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from numpy.typing import NDArray

from semrsm_bench.core.arrays import load_archive
from semrsm_bench.solvers import MatchingProblem

_FORMS = {"vectors": ("x", "y"), "affinity": ("affinity",), "costs": ("costs",)}
_SHOWN = (
    "x and y (S, C), affinity (S, S), or costs (S, S), each also as NAME/x and so on, or several in one array (N, ...)"
)


@dataclass(frozen=True, eq=False)
class GivenProblem:
    """A problem of a file: its name, "vectors" or "matrix", and its arrays: x and y (S, C), or the affinity (S, S)."""

    name: str
    form: str
    arrays: Mapping[str, NDArray[Any]]

    @property
    def size(self) -> int:
        """S."""
        return len(next(iter(self.arrays.values())))

    @property
    def channels(self) -> int:
        """C, and 0 of a matrix."""
        return self.arrays["x"].shape[1] if self.form == "vectors" else 0


def read_problems(path: Path) -> Iterator[GivenProblem]:
    """Problems of a file .npz, in its order; a ValueError names the array that is none.

    Arrays are called ``x`` and ``y``, ``affinity``, or ``costs``, with ``NAME/`` before it where there are several; one more axis
    in front holds several of one shape.
    """
    try:
        arrays = dict(load_archive(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except (ValueError, EOFError, BadZipFile, AttributeError, OSError) as error:
        raise ValueError(f"{path} is no .npz of arrays of numbers: {error}; needed are {_SHOWN}") from None
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        name, _, part = key.rpartition("/")
        groups.setdefault(name, {})[part] = array
    if not groups:
        raise ValueError(f"{path} holds no array; needed are {_SHOWN}")
    for name, parts in groups.items():
        where = f"{path}{f': {name}' if name else ''}"
        form = next((form for form, needed in _FORMS.items() if set(needed) == set(parts)), "")
        if not form:
            raise ValueError(f"{where} holds {', '.join(sorted(parts))}; needed are {_SHOWN}")
        yield from _problems(where, name or path.stem, form, [parts[part] for part in _FORMS[form]])


def _problems(where: str, name: str, form: str, arrays: list[NDArray[Any]]) -> Iterator[GivenProblem]:
    several = arrays[0].ndim == 3
    if several and len({len(array) for array in arrays}) > 1:
        raise ValueError(f"{where} has {len(arrays[0])} arrays x and {len(arrays[1])} arrays y")
    if several and not len(arrays[0]):
        raise ValueError(f"{where} is empty: its shape is {arrays[0].shape}")
    make: Any = {
        "vectors": MatchingProblem,
        "affinity": MatchingProblem.from_affinity,
        "costs": MatchingProblem.from_costs,
    }
    for i, parts in enumerate(zip(*arrays, strict=True) if several else [arrays]):
        own = f"{name}-{i}" if several else name
        try:
            problem = make[form](*parts)
        except ValueError as error:
            raise ValueError(f"{where}{f', number {i}' if several else ''}: {error}") from None
        if problem.size == 0:
            raise ValueError(f"{where} is empty: there is nothing to match")
        if problem.is_matrix:
            yield GivenProblem(own, "matrix", {"affinity": problem.affinity})
        else:
            yield GivenProblem(own, "vectors", {"x": problem.x, "y": problem.y})
