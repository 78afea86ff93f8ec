"""Metrics of representations: from features or RSMs to numbers. Pure functions on arrays, float64 inside."""

from __future__ import annotations

from semrsm_bench.metrics.barycenter import Barycenter
from semrsm_bench.metrics.cca import canonical_correlations, cca, pwcca, svcca
from semrsm_bench.metrics.cka import cka, cka_matrix, cosine_cka, hsic, linear_cka, minibatch_cka, rbf_cka
from semrsm_bench.metrics.declarations import INVARIANCES, METRICS, MetricInfo
from semrsm_bench.metrics.instances import instance_similarity
from semrsm_bench.metrics.kernels import bandwidth, cosine_rsm, linear_rsm, rbf_rsm, squared_distances
from semrsm_bench.metrics.nulls import (
    Significance,
    calibrated_score,
    instance_null,
    null_distribution,
    p_value,
    significance,
)
from semrsm_bench.metrics.outputs import jensen_shannon, jensen_shannon_correlation
from semrsm_bench.metrics.procrustes import UnitMatch, align, match_units, procrustes_distance, unit_matching
from semrsm_bench.metrics.retrieval import (
    centre_on_database,
    most_similar,
    retrieval_f1,
    retrieval_iou,
    retrieval_scores,
    self_retrieval,
)
from semrsm_bench.metrics.rsa import compare_rsms

__all__ = [
    "INVARIANCES",
    "METRICS",
    "Barycenter",
    "MetricInfo",
    "Significance",
    "UnitMatch",
    "align",
    "bandwidth",
    "calibrated_score",
    "canonical_correlations",
    "cca",
    "centre_on_database",
    "cka",
    "cka_matrix",
    "compare_rsms",
    "cosine_cka",
    "cosine_rsm",
    "hsic",
    "instance_null",
    "instance_similarity",
    "jensen_shannon",
    "jensen_shannon_correlation",
    "linear_cka",
    "linear_rsm",
    "match_units",
    "minibatch_cka",
    "most_similar",
    "null_distribution",
    "p_value",
    "procrustes_distance",
    "pwcca",
    "rbf_cka",
    "rbf_rsm",
    "retrieval_f1",
    "retrieval_iou",
    "retrieval_scores",
    "self_retrieval",
    "significance",
    "squared_distances",
    "svcca",
    "unit_matching",
]
