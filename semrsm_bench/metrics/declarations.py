"""What every metric promises, as data: direction, range, symmetry, invariances."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from semrsm_bench.metrics.instances import INSTANCES
from semrsm_bench.metrics.invariances import RANKS
from semrsm_bench.metrics.registry import METRICS, Measure, Metric


@dataclass(frozen=True)
class MetricInfo:
    """Declaration of one metric with its parameters bound.

    Attributes
    ----------
    name : str
    function : callable
        Takes one argument for every entry of ``inputs``.
    inputs : tuple of str
        Kinds of input, keys of `INVARIANCES`.
    direction : {"similarity", "distance"}
        Whether larger or smaller values mean more agreement.
    low, high : float
        Range, both ends included where they are finite.
    symmetric : bool
        Whether the two inputs can be exchanged.
    invariances : tuple of frozenset
        For every input what may be done to it without changing the value.
    """

    name: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    direction: str
    low: float
    high: float
    symmetric: bool
    invariances: tuple[frozenset[str], ...] = field(default=())

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
    metrics = [METRICS.get(name) for name in METRICS.names()]
    instances = [INSTANCES.get(name) for name in INSTANCES.names()]
    found = [
        *(_of_measure(m, m.name, ("rsm" if m.takes == "rsms" else m.takes,) * 2, m.symmetric) for m in metrics),
        *_others(),
        *(_of_measure(s, f"instance_{s.name}", ("aligned",), False) for s in instances if s.takes == "aligned"),
    ]
    return {info.name: info for info in found}


def _of_measure(measure: Measure, name: str, inputs: tuple[str, ...], symmetric: bool) -> MetricInfo:
    sides = [measure.invariant_to, *([measure.invariant_to_y] if isinstance(measure, Metric) else [])]
    function = partial(measure.function, **measure.options) if measure.options else measure.function
    direction = "similarity" if measure.best == "max" else "distance"
    return MetricInfo(name, function, inputs, direction, *measure.range, symmetric, tuple(map(frozenset, sides)))


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
