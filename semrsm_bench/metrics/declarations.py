"""What every metric promises, as data: `METRICS` of `semrsm_bench.metrics`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from semrsm_bench.metrics.instances import INSTANCES
from semrsm_bench.metrics.registry import METRICS, RANKS, Measure
from semrsm_bench.metrics.retrieval import self_retrieval
from semrsm_bench.metrics.rsa import jensen_shannon, jensen_shannon_correlation


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
    metrics = [_of_measure(name, METRICS.get(name)) for name in METRICS.names()]
    scores = [_of_measure(f"instance_{name}", INSTANCES.get(name)) for name in INSTANCES.names()]
    return {info.name: info for info in (*metrics, *_OTHERS, *scores) if info.inputs != ("pixels",)}


def _of_measure(name: str, measure: Measure) -> MetricInfo:
    function = partial(measure.function, **measure.options) if measure.options else measure.function
    direction = "similarity" if measure.best == "max" else "distance"
    invariances = tuple(map(frozenset, measure.invariances))
    return MetricInfo(name, function, measure.inputs, direction, *measure.range, measure.symmetric, invariances)


_CLASSES, _COUNTS = frozenset(["class_order", "unused_class"]), frozenset(["class_order", "count_scaling"])
_LINEAR, _ORDER = frozenset(["positive_scaling", "constant", "diagonal"]), frozenset(RANKS)
_DIVERGENCE = ("probabilities", "rsm"), "distance", -1.0, 1.0, False
_RETRIEVED = ("rsm", "counts"), "similarity", 0.0, 1.0, False
_spearman = partial(jensen_shannon_correlation, method="spearman")
# What compares no two representations, and so is no metric of the registry.
_OTHERS = (
    MetricInfo("jensen_shannon", jensen_shannon, ("probabilities",), "distance", 0, math.log(2), False, (_CLASSES,)),
    MetricInfo("jensen_shannon_pearson", jensen_shannon_correlation, *_DIVERGENCE, (_CLASSES, _LINEAR)),
    MetricInfo("jensen_shannon_spearman", _spearman, *_DIVERGENCE, (_CLASSES, _ORDER)),
    MetricInfo("retrieval_f1", partial(self_retrieval, score="f1"), *_RETRIEVED, (_ORDER, _COUNTS)),
    MetricInfo("retrieval_iou", partial(self_retrieval, score="iou"), *_RETRIEVED, (_ORDER, _COUNTS | {"membership"})),
)


def find_declared(metric: Callable[..., Any]) -> MetricInfo | None:
    """Declaration of a function or a `partial` of it: of the same parameters if there is one, else of the function."""

    def base(function: Callable[..., Any]) -> Callable[..., Any]:
        return function.func if isinstance(function, partial) and not function.args else function

    def defaults(function: Callable[..., Any]) -> list[Any]:
        return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]

    found = [info for info in declared().values() if base(info.function) is base(metric)]
    exact = [info for info in found if defaults(info.function) == defaults(metric)]
    return next(iter(exact + found), None)
