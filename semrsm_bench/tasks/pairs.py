"""A metric on many pairs of representations at once: what all tasks on features of networks share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Score, Scored, Task
from semrsm_bench.tasks.features import FeatureNetwork, FeatureOptions

Array = NDArray[Any]
PERMUTED = "permuted"
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
    positions: tuple[Array, ...] = ()
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

    def permuted(self, order: NDArray[np.intp]) -> Side:
        """The same with the stimuli in another order."""
        features, positions = (tuple(part[order] for part in parts) for parts in (self.features, self.positions))
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
    def joined(self) -> NDArray[np.float32]:
        """All features beside one another: one array a network, which is sent once."""
        return np.concatenate([np.asarray(part, dtype=np.float32) for part in self.features], axis=1)

    @cached_property
    def joined_positions(self) -> NDArray[np.float32]:
        """All positions beside one another, as `joined`."""
        flat = [np.asarray(part, dtype=np.float32).reshape(len(part), -1) for part in self.positions]
        return np.concatenate(flat, axis=1)


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
    across = ("networks",)
    options = FeatureOptions
    observe = f"{__name__}:compare"

    def judge(self, case: Case, pairs: Pairs, declared: Declaration) -> Mapping[str, float]:
        """The scores of one case."""
        raise NotImplementedError

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """The scores of the values, which are kept as ``values`` (and ``values_yx``); one outside of its range is invalid."""
        found = [np.asarray(answer.arrays[name], dtype=np.float64) for name in ("values", "values_yx")]
        low, high = (end if end is not None else sign * np.inf for end, sign in zip(declared.facts["range"], (-1, 1)))
        for values in found:
            slack = _ROUNDING * np.maximum(1.0, np.abs(values))
            if (outside := (values < low - slack) | (values > high + slack)).any():
                message = f"{values[outside][0]:.6g} is outside of its range, {low:g} to {high:g}"
                return Scored(status="invalid", message=message)
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
    x: Callable[[], Side] | Side,
    y: Callable[[], Side] | Side,
    pairs: Sequence[tuple[int, int]],
    networks: Sequence[FeatureNetwork],
    sha256: str,
    known: Any = None,
) -> Case:
    """A case: a metric on pairs (part of x, part of y), of the representations of these networks.

    Sides that are costly to make are functions, called when the case is measured.
    """
    sides = {"x": x, "y": y}

    def inputs() -> Arrays:
        found: dict[str, Any] = {}
        for name, of in sides.items():
            side = _side(of)
            found |= {name: side.joined, f"z{name}": partial(getattr, side, "joined_positions")}
        return found

    settings: dict[str, Any] = {"pairs": [list(pair) for pair in pairs], "lacks": ()}
    for name_of, of in sides.items():
        settings |= {f"{what}_{name_of}": partial(_layout, of, what) for what in ("widths", "shapes", "grids")}
    if any(not isinstance(of, Side) or not of.positions for of in sides.values()):
        settings["lacks"] = ("zx", "zy")
    units = {"network": tuple(dict.fromkeys(network.path for network in networks))}
    return Case(name, cell, inputs, units, settings, sha256, known=known)


def _side(of: Callable[[], Side] | Side) -> Side:
    return of if isinstance(of, Side) else _made(of)


@lru_cache(maxsize=16)
def _made(of: Callable[[], Side]) -> Side:
    return of()


def _layout(of: Callable[[], Side] | Side, what: str) -> list[Any]:
    return list(getattr(_side(of), what))


def compare(command: Mapping[str, Any], inputs: Mapping[str, Any], clock: Any, memory: Any) -> dict[str, Any]:
    """Runs in a worker: a metric on every pair that the settings name, in both directions where it is not symmetric.

    ``values`` and ``values_yx`` (pairs,) are NaN where the metric is undefined. What it prepares of a representation serves all
    cases that have it; stimuli are in another order in every run.
    """
    import semrsm_bench as sb

    found, settings, seed = sb.get_metric(command["name"]), command["settings"], command.get("seed", (0, 0, 1))[:2]
    pairs = settings["pairs"]
    undefined: Counter[str] = Counter()
    order = np.random.default_rng(seed).permutation(len(next(iter(inputs.values()))))

    def representation(side: str, i: int, rsm_of: Any) -> Any:
        if rsm_of is None:
            ends = np.cumsum([0, *settings[f"widths_{side}"]])
            x = np.asarray(inputs[side][:, ends[i] : ends[i + 1]], dtype=np.float64)[order]
            return sb.metrics.linear_rsm(x) if found.takes == "rsms" else x
        method, kernel = rsm_of

        def rsm() -> Any:
            shapes = settings[f"shapes_{side}"]
            ends = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
            z = np.ascontiguousarray(inputs[f"z{side}"][:, ends[i] : ends[i + 1]]).reshape(-1, *shapes[i])
            grid = settings[f"grids_{side}"][i]
            return sb.compute_rsm(z, matching=method, kernel=kernel, centring="channel", grid=grid and tuple(grid))

        made = memory.get(("rsm", method, kernel, command["inputs"][f"z{side}"], i), rsm)
        return made[np.ix_(order, order)]

    def prepared(side: str, i: int, which: int) -> Any:
        rsm_of = found.rsms[which] if found.rsms else None
        file = command["inputs"].get(side if rsm_of is None else f"z{side}")

        def make() -> list[Any]:
            try:
                return [found.prepare(representation(side, i, rsm_of)), ""]
            except ValueError as error:
                return [None, str(error)]

        return memory.get(("part", command["name"], file, i, rsm_of, *seed), make)

    def value(a: list[Any], b: list[Any]) -> float:
        reason = a[1] or b[1]
        if not reason:
            try:
                return float(found.compare(a[0], b[0]))
            except ValueError as error:
                reason = str(error)
        undefined[reason] += 1
        return math.nan

    def all_pairs(_: Any) -> Any:
        undefined.clear()
        forth = [value(prepared("x", i, 0), prepared("y", j, 1)) for i, j in pairs]
        back = forth if found.symmetric else [value(prepared("y", j, 0), prepared("x", i, 1)) for i, j in pairs]
        return np.array([forth, back], dtype=np.float64)

    def one_pair() -> float:
        i, j = pairs[0]
        return value(prepared("x", i, 0), prepared("y", j, 1))

    (values,) = clock.run(lambda i: None, all_pairs, warm=one_pair, shape=("pairs", command["name"]), most=1)
    info = {"undefined": undefined.most_common(1)[0][0]} if undefined else {}
    return {"arrays": {"values": values[0], "values_yx": values[1]}, "info": info}
