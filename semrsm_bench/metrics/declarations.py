"""What every metric promises, as data: direction, range, symmetry, invariances."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from semrsm_bench.metrics.cca import cca, pwcca, svcca
from semrsm_bench.metrics.cka import cka, cosine_cka, hsic, linear_cka, rbf_cka
from semrsm_bench.metrics.instances import instance_similarity
from semrsm_bench.metrics.outputs import jensen_shannon, jensen_shannon_correlation
from semrsm_bench.metrics.procrustes import procrustes_distance, unit_matching
from semrsm_bench.metrics.retrieval import self_retrieval
from semrsm_bench.metrics.rsa import compare_rsms

INVARIANCES: dict[str, dict[str, str]] = {
    "features": {
        "translation": "one vector added to all stimuli",
        "isotropic_scaling": "all entries times one positive number",
        "unit_permutation": "units in another order",
        "orthogonal": "units rotated or reflected",
        "unit_scaling": "every unit times a positive number of its own",
        "invertible_linear": "units mapped by any invertible matrix",
        "row_scaling": "every stimulus times a positive number of its own",
        "zero_units": "units that are always 0 appended",
        "repeated_unit": "a copy of one unit appended",
    },
    "rsm": {
        "positive_scaling": "all entries times one positive number",
        "constant": "one number added to all entries",
        "row_and_column": "u 1' + 1 u' added",
        "monotone": "all entries through one strictly increasing function",
        "diagonal": "another diagonal",
    },
    "probabilities": {
        "class_order": "classes in another order",
        "unused_class": "a class of probability 0 appended",
        "temperature": "softmax taken at another temperature",
    },
    "counts": {
        "class_order": "classes in another order",
        "count_scaling": "all counts times one positive number",
        "membership": "any other counts above 0 where there were some",
    },
    "aligned": {
        "orthogonal": "all models rotated or reflected alike",
        "isotropic_scaling": "all models times one positive number",
        "translation": "one vector added to all stimuli of all models",
        "row_scaling": "every stimulus of every model times a positive number of its own",
        "model_order": "models in another order",
    },
}
"""What can be done to one input of each kind. A metric that does not name one of these is changed by it.

Beside these, every metric is indifferent to one reordering of the stimuli in all its inputs (those that give a value per
stimulus reorder it), and changed by a reordering in one input alone.
"""


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


def _features(
    name: str,
    function: Callable[..., float],
    invariances: str,
    *,
    second: str | None = None,
    low: float = 0.0,
    high: float = 1.0,
    direction: str = "similarity",
    symmetric: bool = True,
) -> MetricInfo:
    sides = (frozenset(invariances.split()), frozenset((second or invariances).split()))
    return MetricInfo(name, function, ("features", "features"), direction, low, high, symmetric, sides)


def _rsms(name: str, function: Callable[..., float], invariances: str, *, low: float, high: float) -> MetricInfo:
    sides = (frozenset(invariances.split()),) * 2
    return MetricInfo(name, function, ("rsm", "rsm"), "similarity", low, high, True, sides)


def _others(
    name: str, function: Callable[..., Any], direction: str, low: float, high: float, **invariances: str
) -> MetricInfo:
    sides = tuple(frozenset(names.split()) for names in invariances.values())
    return MetricInfo(name, function, tuple(invariances), direction, low, high, False, sides)


_ROTATIONS = "unit_permutation orthogonal zero_units"
_SHAPES = f"{_ROTATIONS} translation"
_FORMS = f"{_SHAPES} isotropic_scaling"
_SUBSPACES = f"{_FORMS} unit_scaling invertible_linear repeated_unit"
_RANKS = "positive_scaling constant monotone diagonal"
_CENTRED = "constant row_and_column"

_DECLARED = (
    _rsms("hsic", hsic, _CENTRED, low=-math.inf, high=math.inf),
    _rsms("hsic_debiased", partial(hsic, estimator="debiased"), f"{_CENTRED} diagonal", low=-math.inf, high=math.inf),
    _rsms("cka", cka, f"{_CENTRED} positive_scaling", low=-1, high=1),
    _rsms("cka_debiased", partial(cka, estimator="debiased"), f"{_CENTRED} positive_scaling diagonal", low=-1, high=1),
    _rsms("rsa_pearson", partial(compare_rsms, method="pearson"), "positive_scaling constant diagonal", low=-1, high=1),
    _rsms("rsa_cosine", partial(compare_rsms, method="cosine"), "positive_scaling diagonal", low=-1, high=1),
    _rsms("rsa_spearman", partial(compare_rsms, method="spearman"), _RANKS, low=-1, high=1),
    _rsms("rsa_kendall_a", partial(compare_rsms, method="kendall_a"), _RANKS, low=-1, high=1),
    _rsms("rsa_kendall_b", partial(compare_rsms, method="kendall_b"), _RANKS, low=-1, high=1),
    _rsms("rsa_rho_a", partial(compare_rsms, method="rho_a"), _RANKS, low=-1, high=1),
    _features("linear_cka", linear_cka, _FORMS),
    _features("linear_cka_debiased", partial(linear_cka, estimator="debiased"), _FORMS, low=-1),
    _features("rbf_cka", rbf_cka, _FORMS),
    _features("rbf_cka_debiased", partial(rbf_cka, estimator="debiased"), _FORMS, low=-1),
    _features("cosine_cka", cosine_cka, f"{_ROTATIONS} isotropic_scaling row_scaling"),
    _features("cca", cca, _SUBSPACES),
    _features("cca_r2", partial(cca, summary="r2"), _SUBSPACES),
    _features("svcca", svcca, _FORMS),
    _features("pwcca", pwcca, "unit_permutation zero_units translation isotropic_scaling", second=_SUBSPACES,
              symmetric=False),
    _features("pwcca_y", partial(pwcca, weights_from="y"), _SUBSPACES,
              second="unit_permutation zero_units translation isotropic_scaling", symmetric=False),
    _features("pwcca_mean", partial(pwcca, weights_from="mean"),
              "unit_permutation zero_units translation isotropic_scaling"),
    _features("procrustes_raw", partial(procrustes_distance, variant="raw"), _ROTATIONS, high=math.inf,
              direction="distance"),
    _features("procrustes_centred", partial(procrustes_distance, variant="centred"), _SHAPES, high=math.inf,
              direction="distance"),
    _features("procrustes_centred_unit", partial(procrustes_distance, variant="centred_unit"), _FORMS,
              high=math.sqrt(2), direction="distance"),
    _features("procrustes_angular", partial(procrustes_distance, variant="angular"), _FORMS, high=math.pi / 2,
              direction="distance"),
    _features("procrustes_angular_raw", partial(procrustes_distance, variant="angular_raw"),
              f"{_ROTATIONS} isotropic_scaling", high=math.pi / 2, direction="distance"),
    _features("unit_matching", unit_matching, "unit_permutation translation isotropic_scaling unit_scaling", low=-1),
    _features("unit_matching_covariance", partial(unit_matching, on="covariance"),
              "unit_permutation translation isotropic_scaling", low=-1),
    _others("jensen_shannon", jensen_shannon, "distance", 0, math.log(2), probabilities="class_order unused_class"),
    _others("jensen_shannon_pearson", jensen_shannon_correlation, "distance", -1, 1,
            probabilities="class_order unused_class", rsm="positive_scaling constant diagonal"),
    _others("jensen_shannon_spearman", partial(jensen_shannon_correlation, method="spearman"), "distance", -1, 1,
            probabilities="class_order unused_class", rsm=_RANKS),
    _others("retrieval_f1", partial(self_retrieval, score="f1"), "similarity", 0, 1, rsm=_RANKS,
            counts="class_order count_scaling"),
    _others("retrieval_iou", partial(self_retrieval, score="iou"), "similarity", 0, 1, rsm=_RANKS,
            counts="class_order count_scaling membership"),
    _others("instance_pairwise_cosine", partial(instance_similarity, kind="pairwise_cosine"), "similarity", -1, 1,
            aligned="orthogonal isotropic_scaling row_scaling model_order"),
    _others("instance_dispersion", partial(instance_similarity, kind="dispersion"), "distance", 0, math.inf,
            aligned="orthogonal translation model_order"),
    _others("instance_barycenter_cosine", partial(instance_similarity, kind="barycenter_cosine"), "similarity", -1, 1,
            aligned="orthogonal isotropic_scaling model_order"),
    _others("instance_leave_one_out_cosine", partial(instance_similarity, kind="leave_one_out_cosine"), "similarity",
            -1, 1, aligned="orthogonal isotropic_scaling model_order"),
)  # fmt: skip

METRICS: dict[str, MetricInfo] = {info.name: info for info in _DECLARED}
"""All declared metrics by name."""


def find_declared(function: Callable[..., Any], keywords: dict[str, Any]) -> MetricInfo | None:
    """Declaration of a function called with these keywords: of the same parameters if there is one, else of the function."""
    candidates = [info for info in _DECLARED if _base(info.function)[0] is function]
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
