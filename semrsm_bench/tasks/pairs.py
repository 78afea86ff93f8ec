"""A metric on many pairs of representations at once: what all tasks on features of networks share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import chain
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Score, Scored, Task
from semrsm_bench.tasks.features import FeatureNetwork, FeatureOptions
from semrsm_bench.tasks.networks import LazyLayer

Array = NDArray[Any]
T = TypeVar("T")
PERMUTED = "permuted"
#: What is said where a method takes positions that a case lacks
NO_POSITIONS = dict.fromkeys(
    ("zx", "zy"),
    "it takes positions (n, C, S), and these are features (n, p) alone; for the task layers give "
    "--features data/positions-w16.safetensors, data/positions-w8.safetensors or a file of yours that holds layers (n, C, S)",
)
# How far beyond its range rounding may carry a value, as a share of it, or of 1 where it is smaller.
_ROUNDING = 1e-4
_DIGITS = 9  # of values in rows

UNDEFINED = Score(
    "undefined", "values undefined", best="min", style="percent", meaning="pairs on which a metric has no value"
)


@dataclass(frozen=True, eq=False)
class Side:
    """Representations of the same n stimuli that a metric gets as x or as y: features (n, p), or layers (n, C, S) beside them."""

    features: tuple[Array, ...]
    positions: tuple[Array | LazyLayer, ...] = ()
    grids: tuple[tuple[int, int] | None, ...] = ()

    @classmethod
    def of(cls, network: FeatureNetwork, layers: Sequence[str] = ()) -> Side:
        """These layers of a network, default: all."""
        names = list(layers or network.layers)
        given = [network.layers[name] for name in names]
        features = tuple(network.pooled[name] for name in names)
        if any(z.ndim == 2 for z in given):
            return cls(features)
        return cls(features, tuple(given), tuple((network.grids or {}).get(name) for name in names))

    @classmethod
    def join(cls, sides: Sequence[Side]) -> Side:
        """The representations of all sides, with positions where each has them."""
        have = all(side.positions for side in sides)
        features, positions, grids = (
            tuple(chain.from_iterable(getattr(side, name) for side in sides))
            for name in ("features", "positions", "grids")
        )
        return cls(features, positions, grids) if have else cls(features)

    def reordered(self, seed: int, network: str) -> Side:
        """The same with the stimuli in an order at random, one for each seed and network.

        One order for all networks would agree with the other side by the same luck everywhere.
        """
        order = np.random.default_rng([seed, 1, *network.encode()]).permutation(len(self.features[0]))
        features, positions = tuple(f[order] for f in self.features), tuple(z[order] for z in self.positions)
        return Side(features, positions, self.grids)

    @property
    def widths(self) -> list[int]:
        """Number of units of each representation."""
        return [part.shape[1] for part in self.features]

    @property
    def shapes(self) -> list[list[int]]:
        """C and S of each layer with positions."""
        return [list(part.shape[1:]) for part in self.positions]

    @cached_property
    def digests(self) -> list[str]:
        """What tells each representation from all others: what a metric prepares of one serves all cases and tasks that have it."""
        parts = [np.ascontiguousarray(part, dtype=np.float32) for part in self.features]
        return [hashlib.sha256(f"{part.shape} ".encode() + part.tobytes()).hexdigest() for part in parts]

    @cached_property
    def joined(self) -> NDArray[np.float32]:
        """All features beside one another: one array a network, which is sent once."""
        return np.concatenate([np.asarray(part, dtype=np.float32) for part in self.features], axis=1)

    @cached_property
    def joined_positions(self) -> NDArray[np.float32]:
        """All positions beside one another, as `joined`."""
        flat = [np.asarray(part, dtype=np.float32).reshape(len(part), -1) for part in self.positions]
        return np.concatenate(flat, axis=1)


Given = Side | Callable[[], Side]
"""A side of a case; what is costly to make is a function, called when the case is measured."""


def reordered(side: Given, seed: int, network: str) -> Given:
    """A side with its stimuli `Side.reordered`; what is made later stays so."""
    return side.reordered(seed, network) if isinstance(side, Side) else lambda: _side(side).reordered(seed, network)


def few(cases: Sequence[T]) -> Sequence[T]:
    """Half of them, but two: a leak is large, and chance needs no precision."""
    return cases[: max(2, len(cases) // 2)]


class Pairs(NamedTuple):
    """Values of a metric on the pairs of a case, larger where it finds more agreement: as asked, and with x and y exchanged."""

    forth: Floats
    back: Floats

    @property
    def mean(self) -> Floats:
        """Of both directions."""
        return (self.forth + self.back) / 2


class FeatureTask(Task):
    """A task whose cases are pairs of representations of networks, on which metrics give one number each."""

    kind = "metric"
    unit = "network"
    resampling: ClassVar[Literal["bootstrap", "jackknife"]] = "jackknife"
    across: ClassVar[tuple[str, ...]] = ("networks",)
    leak = PERMUTED
    options = FeatureOptions

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """The scores of one case."""
        raise NotImplementedError

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """The scores of the values, which are kept as ``values`` (and ``values_yx``); one outside of its range is invalid."""
        every = np.asarray(answer.arrays["values"], dtype=np.float64)
        found = [every[0], np.asarray(answer.arrays["values_yx"], dtype=np.float64)]
        low, high = (end if end is not None else sign * np.inf for end, sign in zip(declared.facts["range"], (-1, 1)))
        for values in found:
            slack = _ROUNDING * np.maximum(1.0, np.abs(values))
            if (outside := (values < low - slack) | (values > high + slack)).any():
                message = f"{values[outside][0]:.6g} is outside of its range, {low:g} to {high:g}"
                return Scored(status="invalid", message=message)
        if not np.allclose(every, every[0], rtol=_ROUNDING, atol=_ROUNDING, equal_nan=True):
            return Scored(
                status="invalid",
                message="with the stimuli in another order, the same on both sides, it gave another value",
            )
        sign = 1.0 if declared.facts["best"] == "max" else -1.0
        pairs = Pairs(*(sign * values for values in found))
        undefined = float(np.isnan(pairs.mean).mean())
        raw: dict[str, Any] = {"values": _short(found[0])}
        if not declared.facts["symmetric"]:
            raw["values_yx"] = _short(found[1])
        return Scored({**self.judge(case, pairs, declared), UNDEFINED.name: undefined}, raw)


def _short(values: Floats) -> list[float | None]:
    return [None if math.isnan(v) else float(f"{v:.{_DIGITS}g}") for v in values.tolist()]


def make_case(
    name: str,
    cell: Mapping[str, str | int],
    x: Given,
    y: Given,
    pairs: Sequence[tuple[int, int]],
    networks: Sequence[FeatureNetwork],
    sha256: str,
    known: Any = None,
) -> Case:
    """A case: a metric on pairs (part of x, part of y), of the representations of these networks."""
    sides = {"x": x, "y": y}

    def inputs() -> Arrays:
        found: dict[str, Any] = {}
        for name, of in sides.items():
            side = _side(of)
            found |= {name: side.joined, f"z{name}": partial(getattr, side, "joined_positions")}
        return found

    settings: dict[str, Any] = {"pairs": [list(pair) for pair in pairs], "lacks": ()}
    for name_of, of in sides.items():
        settings |= {
            f"{what}_{name_of}": partial(_layout, of, what) for what in ("widths", "digests", "shapes", "grids")
        }
    if any(not isinstance(of, Side) or not of.positions for of in sides.values()):
        settings["lacks"] = NO_POSITIONS
    elif any(None in side.grids for side in (x, y) if isinstance(side, Side)):
        settings["grid"] = None  # so that what shifts a grid is not asked
    units = {"network": tuple(dict.fromkeys(network.path for network in networks))}
    return Case(name, cell, inputs, units, settings, sha256, known=known)


def _side(of: Given) -> Side:
    return of if isinstance(of, Side) else _made(of)


@lru_cache(maxsize=64)  # both sides of as many cases as a task has measured in a row
def _made(of: Callable[[], Side]) -> Side:
    return of()


def _layout(of: Given, what: str) -> list[Any]:
    return list(getattr(_side(of), what))
