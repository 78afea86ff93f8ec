"""Metrics of representations: from features or RSMs to numbers. Pure functions on arrays, float64 inside.

All raise ValueError for an unknown choice, and for input that is not finite, misshapen, not symmetric where an RSM is needed, or of
different numbers of stimuli; the docstrings name only other errors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Functions that are called as their modules are must be imported here first; these need numpy alone.
from semrsm_bench.metrics.cca import canonical_correlations, cca, pwcca, svcca
from semrsm_bench.metrics.cka import cka, cka_matrix, cosine_cka, hsic, linear_cka, minibatch_cka, rbf_cka
from semrsm_bench.metrics.kernels import bandwidth, cosine_rsm, linear_rsm, rbf_rsm, squared_distances
from semrsm_bench.metrics.registry import INVARIANCES, get_metric, metric_names, register_metric

if TYPE_CHECKING:
    from semrsm_bench.metrics.barycenter import Barycenter
    from semrsm_bench.metrics.declarations import MetricInfo
    from semrsm_bench.metrics.instances import get_instance, instance_names, instance_similarity, register_instance
    from semrsm_bench.metrics.nulls import (
        Significance,
        calibrated_score,
        instance_null,
        null_distribution,
        p_value,
        significance,
    )
    from semrsm_bench.metrics.procrustes import UnitMatch, align, match_units, procrustes_distance, unit_matching
    from semrsm_bench.metrics.retrieval import (
        centre_on_database,
        most_similar,
        retrieval_f1,
        retrieval_iou,
        retrieval_scores,
        self_retrieval,
    )
    from semrsm_bench.metrics.rsa import compare_rsms, jensen_shannon, jensen_shannon_correlation

    METRICS: dict[str, MetricInfo]

# Modules that are imported on the first use of one of their names.
_LATER = {
    "barycenter": "Barycenter",
    "declarations": "MetricInfo",
    "instances": "get_instance instance_names instance_similarity register_instance",
    "nulls": "Significance calibrated_score instance_null null_distribution p_value significance",
    "procrustes": "UnitMatch align match_units procrustes_distance unit_matching",
    "retrieval": "centre_on_database most_similar retrieval_f1 retrieval_iou retrieval_scores self_retrieval",
    "rsa": "compare_rsms jensen_shannon jensen_shannon_correlation",
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names.split()}

__all__ = [
    "INVARIANCES", "METRICS", "Barycenter", "MetricInfo", "Significance", "UnitMatch", "align", "bandwidth",
    "calibrated_score", "canonical_correlations", "cca", "centre_on_database", "cka", "cka_matrix", "compare_rsms",
    "cosine_cka", "cosine_rsm", "get_instance", "get_metric", "hsic", "instance_names", "instance_null",
    "instance_similarity", "jensen_shannon", "jensen_shannon_correlation", "linear_cka", "linear_rsm",
    "match_units", "metric_names", "minibatch_cka", "most_similar", "null_distribution", "p_value",
    "procrustes_distance", "pwcca", "rbf_cka", "rbf_rsm", "register_instance", "register_metric", "retrieval_f1",
    "retrieval_iou", "retrieval_scores", "self_retrieval", "significance", "squared_distances", "svcca",
    "unit_matching",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "METRICS":
        # What is registered now, plugins included.
        from semrsm_bench.metrics.declarations import declared

        return declared()
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"semrsm_bench.metrics.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'semrsm_bench.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
