"""What does a comparison of two representations cost?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import check, option
from semrsm_bench.core.task import Answer, Arrays, Case, Profile, Score, Scored, Task
from semrsm_bench.metrics import linear_rsm
from semrsm_bench.metrics.registry import get_metric
from semrsm_bench.tasks.pairs import NO_POSITIONS, UNDEFINED
from semrsm_bench.tasks.registry import register_task

# Dimensions that the two representations have in common.
_SHARED = 10
_MOST_CALLS = 5
# Values of a representation beyond which one pair is enough: it takes seconds, and every pair several calls.
_LARGE = 1_000_000
# Stimuli and units of the first call, which compiles and imports: a full one would take as long as one that is timed.
_WARM = 64


@dataclass(frozen=True)
class CostOptions:
    """Sizes. None stands for the profile's value."""

    stimuli: tuple[int, ...] | None = option(None, help="Numbers of stimuli, n; default: the profile's.", minimum=4)
    units: tuple[int, ...] | None = option(None, help="Numbers of units, p; default: the profile's.", minimum=1)
    repeated: int | None = option(
        None,
        help="Pairs of representations of each size; default: 3, of more than a million values 1.",
        minimum=1,
        name="pairs",
    )
    seed: int = option(0, help="Seed of the representations.", minimum=0)

    def __post_init__(self) -> None:
        check(self)


@register_task
class Cost(Task):
    """One comparison of two random representations (n, p) that share ten dimensions, from arrays to a number.

    The time of a comparison is that of both parts: what a metric prepares of each side, and what is left for each pair. Metrics
    that are one function, with nothing to prepare, spend all of it on the pair. A metric of RSMs gets linear ones of n stimuli.
    """

    name = "cost"
    question = "What does a comparison of two representations cost?"
    kind = "metric"
    scores = (
        Score("pair", "pair, ms", best="min", high=math.inf, meaning="time for a pair whose sides are prepared"),
        Score("side", "prepare, ms", best="min", high=math.inf, meaning="time to prepare the two sides"),
        Score("memory", "MiB", best="min", high=math.inf, meaning="memory that it takes beside its inputs, at most"),
        UNDEFINED,
    )
    unit = case_unit = "pair"
    across = ("stimuli", "units")
    leading: ClassVar[Mapping[str, str | int]] = {"stimuli": 500, "units": 512}
    options = CostOptions
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "250 and 500 stimuli, 64 and 512 units",
            {"stimuli": (250, 500), "units": (64, 512), "repeated": 1},
            10.0,
            20.0,
            60.0,
        ),
        "paper": Profile(
            "250 to 2,000 stimuli, 64 to 4,096 units; 3 pairs of each size, one of more than a million values",
            {"stimuli": (250, 500, 1000, 2000), "units": (64, 512, 4096)},
            60.0,
            120.0,
            600.0,
        ),
    }
    observe = f"{__name__}:compare"

    def cases(self, options: CostOptions) -> Iterator[Case]:
        """Pairs of representations of each size, small ones first."""
        for n in sorted(options.stimuli or ()):
            for p in sorted(options.units or ()):
                for k in range(options.repeated or (1 if n * p > _LARGE else 3)):
                    yield _case(n, p, [options.seed, k, n, p])

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """Medians over calls; no figure where the metric is undefined: to refuse is no comparison."""
        if np.isnan(answer.arrays["values"]).any():
            return Scored({UNDEFINED.name: 1.0})
        found = {name: float(np.median(answer.arrays[name])) for name in ("pair", "side", "memory")}
        return Scored({**found, UNDEFINED.name: 0.0})

    def cell_order(self, cell: Mapping[str, Any]) -> tuple[Any, ...]:
        """By n, then by p."""
        return int(cell["stimuli"]), int(cell["units"])


def _case(n: int, p: int, seed: list[int]) -> Case:
    def inputs() -> Arrays:
        rng = np.random.default_rng(seed)
        latent = rng.standard_normal((n, _SHARED))
        sides = (latent @ rng.standard_normal((_SHARED, p)) + rng.standard_normal((n, p)) for _ in "xy")
        return dict(zip("xy", (side.astype(np.float32) for side in sides)))

    name = f"{n}x{p}/{seed[1]}"
    settings, digest = {"lacks": NO_POSITIONS}, hashlib.sha256(str(seed).encode()).hexdigest()
    return Case(name, {"stimuli": n, "units": p}, inputs, {"pair": (name,)}, settings, digest, size=n, channels=p)


def compare(command: Mapping[str, Any], inputs: Mapping[str, Any], clock: Any, memory: Any) -> dict[str, Any]:
    """Runs in a worker: a comparison from the start, every time with the stimuli in another order; its two parts apart, in ms."""
    found, undefined = get_metric(command["name"]), []
    seed = command.get("seed", (0, 0, 1))[:2]

    def as_taken(sides: list[Any]) -> list[Any]:
        return [linear_rsm(side) for side in sides] if found.takes == "rsms" else sides

    def fresh(i: int) -> Any:
        order = np.random.default_rng([*seed, i + 1]).permutation(len(inputs["x"]))
        return as_taken([np.asarray(inputs[name])[order] for name in "xy"])

    def call(sides: Any) -> float:
        try:
            return found.compare(*clock.shared(lambda: list(map(found.prepare, sides))))
        except ValueError as error:
            undefined.append(str(error))
            return math.nan

    def warm() -> None:
        call(as_taken([np.asarray(inputs[name])[:_WARM, :_WARM] for name in "xy"]))
        clock.shared_seconds.clear()
        undefined.clear()

    values = clock.run(fresh, call, warm=warm, shape=("cost", command["name"]), most=_MOST_CALLS)
    peak = math.nan if clock.peak_bytes is None else clock.peak_bytes / 2**20
    arrays = {"values": np.array(values), "memory": np.array([peak])}
    if not undefined:
        side = np.array(clock.shared_seconds)
        arrays |= {"side": 1e3 * side, "pair": 1e3 * (np.array(clock.seconds) - side)}
    clock.shared_seconds.clear()  # it is part of each call's time
    return {"arrays": arrays, "info": {"undefined": undefined[0]} if undefined else {}}
