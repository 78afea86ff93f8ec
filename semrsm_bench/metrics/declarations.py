"""What every metric promises, as data: direction, range, symmetry, invariances."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from semrsm_bench.metrics.instances import INSTANCES
from semrsm_bench.metrics.invariances import RANKS
from semrsm_bench.metrics.registry import METRICS, Measure


@dataclass(frozen=True)
class MetricInfo:
    """Declaration of one metric with its parameters bound.

    ``function`` takes one argument for each of ``inputs`` (keys of `INVARIANCES`), and ``invariances`` says for each what may be
    done to it; ``direction`` is "similarity" or "distance"; ``low`` and ``high`` belong to the range where they are finite.
    """

    name: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    direction: str
    low: float
    high: float
    symmetric: bool
    invariances: tuple[frozenset[str], ...] = ()

    @property
    def second(self) -> str | None:
        """Kind of the second input, which a permutation null reorders."""
        return self.inputs[1] if len(self.inputs) > 1 else None

    @property
    def best(self) -> float | None:
        """Value of perfect agreement, None where the metric has no bound in that direction."""
        value = self.high if self.direction == "similarity" else self.low
        return value if math.isfinite(value) else None


def declared() -> dict[str, MetricInfo]:
    """All registered metrics, the instance similarities, and what takes outputs or labels, by name."""
    instances = [INSTANCES.get(name) for name in INSTANCES.names()]
    found = [
        *(_of_measure(name, METRICS.get(name)) for name in METRICS.names()),
        *_others(),
        *(_of_measure(f"instance_{score.name}", score) for score in instances if score.takes == "aligned"),
    ]
    return {info.name: info for info in found}


def _of_measure(name: str, measure: Measure) -> MetricInfo:
    function = partial(measure.function, **measure.options) if measure.options else measure.function
    direction = "similarity" if measure.best == "max" else "distance"
    invariances = tuple(map(frozenset, measure.invariances))
    return MetricInfo(name, function, measure.inputs, direction, *measure.range, measure.symmetric, invariances)


def _others() -> list[MetricInfo]:
    """What compares no two representations, and so is no metric of the registry."""
    from semrsm_bench.metrics.outputs import jensen_shannon, jensen_shannon_correlation
    from semrsm_bench.metrics.retrieval import self_retrieval

    classes = frozenset(["class_order", "unused_class"])
    linear, ranks = frozenset(["positive_scaling", "constant", "diagonal"]), frozenset(RANKS)
    counts = frozenset(["class_order", "count_scaling"])
    spearman = partial(jensen_shannon_correlation, method="spearman")
    iou = partial(self_retrieval, score="iou")
    given = ("probabilities", "rsm"), "distance", -1.0, 1.0, False
    retrieved = ("rsm", "counts"), "similarity", 0.0, 1.0, False
    return [
        MetricInfo("jensen_shannon", jensen_shannon, ("probabilities",), "distance", 0, math.log(2), False, (classes,)),
        MetricInfo("jensen_shannon_pearson", jensen_shannon_correlation, *given, (classes, linear)),
        MetricInfo("jensen_shannon_spearman", spearman, *given, (classes, ranks)),
        MetricInfo("retrieval_f1", partial(self_retrieval, score="f1"), *retrieved, (ranks, counts)),
        MetricInfo("retrieval_iou", iou, *retrieved, (ranks, counts | {"membership"})),
    ]


def find_declared(function: Callable[..., Any], keywords: dict[str, Any]) -> MetricInfo | None:
    """Declaration of a function called with these keywords: of the same parameters if there is one, else of the function."""
    candidates = [info for info in declared().values() if _base(info.function)[0] is function]
    if not candidates:
        return None
    wanted = _bound(function, keywords)
    exact = [info for info in candidates if _bound(*_base(info.function)) == wanted]
    return (exact or candidates)[0]


def _base(function: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    return (function.func, dict(function.keywords)) if isinstance(function, partial) else (function, {})


def _bound(function: Callable[..., Any], keywords: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | keywords
