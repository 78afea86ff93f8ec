"""What functions of metrics refuse, by module; what every metric refuses is in test_metrics_arrays."""

import math
from functools import partial

import numpy as np
import pytest

from semrsm_bench import metrics as m
from semrsm_bench.metrics.kernels import BANDWIDTH_RULES
from semrsm_bench.metrics.retrieval import ranking

NAN = math.nan
X, Y = np.random.default_rng(0).standard_normal((2, 8, 3))
CONSTANT = np.full((8, 2), 0.1)
HUGE = X / abs(X).max() * 1e308
I3, ONES = np.eye(3), np.ones((3, 2))
D = 1 - np.eye(2)
K, L = np.stack([np.eye(5)] * 3), np.ones((3, 5, 5))
SKEWED = L + np.array([0, 1, 0])[:, None, None] * np.triu(L[0], 1)
FITTED = m.Barycenter().fit([X, Y])
ADDED = m.Barycenter().fit([X, Y]).add_model(Y)
MISSING = (NAN, np.float32("nan"), None, np.datetime64("NaT"), [1])

REFUSED = {
    "kernels": [
        *((partial(m.rbf_rsm, ONES, sigma=rule), "rule") for rule in BANDWIDTH_RULES),
        *((partial(m.bandwidth, D, sigma), "positive") for sigma in (0.0, -1.0, NAN)),
        (lambda: m.bandwidth(D, "median"), "offdiag_median, kornblith"),
        (lambda: m.bandwidth(D, t=0.0), "t must be"),
        (lambda: m.bandwidth(-D), "squared distances"),
        (lambda: m.bandwidth(np.zeros((1, 1))), "single stimulus"),
        (lambda: m.bandwidth(D[:1], query_database=False), "no diagonal"),
        (lambda: m.cosine_rsm([[1, 1], [1, 1], [0, 0]]), "first at 2"),
        (lambda: m.linear_rsm(X, X[:, :1]), "X has 3 and X2 has 1"),
        (lambda: m.linear_rsm(X * 1e200), "range of float64"),
    ],
    "cka": [
        *((partial(f, I3, I3, "debiased"), "at least 4 stimuli") for f in (m.hsic, m.cka)),
        *((partial(f, [[1.0]], [[1.0]]), "at least 2 stimuli") for f in (m.hsic, m.cka)),
        *((partial(f, I3, I3, "unbiased"), "estimator must be one of biased, debiased") for f in (m.hsic, m.cka)),
        (lambda: m.hsic(I3 * 1e200, I3 * 1e200), "range of float64"),
        (lambda: m.minibatch_cka((K[:2], L[:2])), "stacked=True"),
        (lambda: m.minibatch_cka((K, L[:1])), r"\(3, 5, 5\) and \(1, 5, 5\)"),
        (lambda: m.minibatch_cka((K[:, :4], L[:, :4])), "square RSMs"),
        (lambda: m.minibatch_cka((K[:, :3, :3], L[:, :3, :3])), "at least 4"),
        (lambda: m.minibatch_cka((K, SKEWED)), r"L\[1\] is not symmetric"),
        (lambda: m.minibatch_cka([(K[0], L[0]), (K[0], L[0], K[0])]), "batch 1 holds 3 RSMs"),
        (lambda: m.minibatch_cka([]), "at least one batch"),
        (lambda: m.cka_matrix([X @ X.T, Y]), r"layers\[1\] must be a square RSM"),
        (lambda: m.cka_matrix([X, Y[1:]], kernel="linear"), r"layers\[1\] has 7 stimuli"),
        (lambda: m.cka_matrix([X], [Y[1:]], kernel="linear"), r"others\[0\] has 7 stimuli"),
        (lambda: m.cka_matrix([]), "empty"),
        (lambda: m.cka_matrix([X], kernel="poly"), "linear, cosine, rbf"),
        (lambda: m.cka_matrix([I3], estimator="debiased"), "at least 4 stimuli"),
    ],
    "cca": [
        *((partial(f, X, CONSTANT), "Y is the same for all stimuli") for f in (m.cca, m.svcca, m.pwcca)),
        *((partial(f, X[:2, :1], Y[:2, :1]), "at least 3 stimuli") for f in (m.cca, m.svcca, m.pwcca)),
        *((partial(m.svcca, X, Y, threshold=share), "threshold") for share in (0.0, 1.01, NAN)),
        (lambda: m.cca(X, Y, summary="max"), "mean, r2"),
        (lambda: m.pwcca(X, Y, weights_from="both"), "x, y, mean"),
    ],
    "rsa": [
        (lambda: m.compare_rsms(np.eye(2), np.eye(2)), "at least 3 stimuli"),
        (lambda: m.compare_rsms(I3, I3, "kendall"), "pearson, spearman, kendall_a"),
    ],
    "procrustes": [
        *((partial(m.procrustes_distance, X, CONSTANT, v), "Y has norm 0") for v in ("centred_unit", "angular")),
        (lambda: m.procrustes_distance(0 * X, Y, "angular_raw"), "X has norm 0"),
        (lambda: m.procrustes_distance(X, Y, "shape"), "raw, centred"),
        (lambda: m.procrustes_distance(HUGE, -abs(HUGE), "raw"), "range of float64"),
        (lambda: m.align(X, CONSTANT), "pad it with zero columns"),
        (lambda: m.align(X, Y, "affine"), "orthogonal, permutation"),
        (lambda: m.unit_matching(X, CONSTANT), "Y has 2 constant units, the first at 0"),
        (lambda: m.unit_matching(X, CONSTANT, "covariance"), "norm 0"),
        (lambda: m.match_units(X, Y, "cosine"), "correlation, covariance"),
    ],
    "barycenter": [
        *(
            (partial(m.Barycenter, **{name: 0}), f"{name} must be at least 1")
            for name in ("n_components", "max_iter", "n_starts", "n_jobs")
        ),
        *((partial(m.Barycenter, tol=tol), "tol must not be negative") for tol in (-1.0, NAN)),
        (lambda: m.Barycenter("affine"), "orthogonal, permutation"),
        (lambda: m.Barycenter("permutation", n_components=2), "leaves a permutation nothing"),
        (lambda: m.Barycenter().fit([X]), "at least two models"),
        (lambda: m.Barycenter().fit([X, X[:7]]), r"same stimuli, but they have \[7, 8\]"),
        (lambda: m.Barycenter().fit([X, CONSTANT]), r"models\[1\] cannot be aligned"),
        (lambda: m.Barycenter().fit([X, Y * NAN]), r"models\[1\] has 24 non-finite"),
        (lambda: m.Barycenter().fit([X[:1], X[:1]]), "at least 2 stimuli"),
        (lambda: m.Barycenter(n_components=4).fit([X, X]), "n_components=4"),
        (lambda: m.Barycenter().add_model(X), "call fit first"),
        (lambda: FITTED.transform([X]), "needs the 2 models of fit in their order; got 1"),
        (lambda: ADDED.transform([X] * 4), "or 3 with those added, in their order; got 4"),
        (lambda: FITTED.transform([X, Y[:, :2]]), r"models\[1\] was fitted with 3 units, but now has 2"),
        (lambda: FITTED.transform([X, Y[:4]]), "same stimuli"),
        (lambda: FITTED.add_model(X[:7]), "8 training stimuli of fit, but has 7"),
        (lambda: FITTED.add_model(np.hstack([X, Y])[:, :4]), "model has 4 dimensions but the barycenter only 3"),
    ],
    "instances": [
        (
            lambda: m.instance_similarity([ONES, ONES * [[1], [0], [1]]]),
            r"aligned\[1\] has 1 zero rows, the first at 1",
        ),
        (lambda: m.instance_similarity([ONES, -ONES], "barycenter_cosine"), "the mean of the models has 3 zero rows"),
        (
            lambda: m.instance_similarity([0.1 * ONES, 0.7 * ONES, -0.7 * ONES], "leave_one_out_cosine"),
            r"mean of all models but aligned\[0\] has 3 zero rows",
        ),
        (lambda: m.instance_similarity([ONES], "dispersion"), "at least two models"),
        (lambda: m.instance_similarity([ONES, ONES[:2]], "dispersion"), r"aligned\[1\] has shape \(2, 2\)"),
        (lambda: m.instance_similarity([ONES, ONES], "cosine"), "pairwise_cosine, dispersion"),
    ],
    "nulls": [
        (lambda: m.p_value(NAN, [1.0]), "cannot be ranked"),
        (lambda: m.p_value(0.0, [NAN]), "non-finite"),
        (lambda: m.p_value(0.0, []), "empty"),
        (lambda: m.p_value(0.0, [1.0], "larger"), "similarity, distance"),
        (lambda: m.calibrated_score(1.0, [1.0, 1.0]), "already the best value"),
        (lambda: m.calibrated_score(0.5, 1 - 1e-15 * np.arange(8)), "already the best value"),
        (lambda: m.calibrated_score(math.inf, [1.0]), "finite"),
        (lambda: m.null_distribution(m.cca, X, Y, n=0), "n must be at least 1"),
        (lambda: m.null_distribution("CKA", X, Y), "metric must be one of"),
        (lambda: m.null_distribution("instance_dispersion", X, Y), "instance_null"),
        (lambda: m.null_distribution("cca", X, Y, permute="columns"), "rows, both"),
        (lambda: m.null_distribution(len, X, Y, permute="both"), "needs an RSM"),
        (lambda: m.significance(len, X, Y), "declared metric"),
        (lambda: m.instance_null([X, Y], n=0), "at least 1"),
    ],
    "retrieval": [
        (lambda: m.retrieval_f1([[1.0, 2.0]], [[1]], [[1]]), r"1 queries x 1 database images, but it is \(1, 2\)"),
        (lambda: m.retrieval_f1([[1.0]], [[1, 2]], [[1]]), "queries have 2 classes but the database has 1"),
        (lambda: m.retrieval_f1([[1.0]], [[-1]], [[1]]), "query_counts must not be negative"),
        (lambda: m.retrieval_f1([[NAN]], [[1]], [[1]]), "non-finite"),
        (lambda: m.retrieval_scores([[1.0]], [[1]], [[1]], score="map"), "f1, iou"),
        (lambda: m.most_similar([[1.0]], ["a"]), "both query_groups and database_groups"),
        (lambda: m.most_similar([[1.0]], ["a"], ["a", "b"]), "1 query_groups and 2 database_groups"),
        (lambda: m.most_similar([[1.0, 1.0]], ["a"], ["a", "a"]), "the first is query 0"),
        (lambda: ranking([[1.0, 2.0]], top=3), "top must lie between 1 and the 2 database images, got 3"),
        (lambda: ranking([[1.0, 2]], ["v"], ["v", "w"], top=2), "1 queries have fewer than 2 database images outside"),
        (lambda: m.centre_on_database(X, X[:, :2]), "queries have 3 units but the database has 2"),
        *((partial(m.most_similar, I3, [1, gap, 2], [3] * 3), r"query_groups\[1\] is .*hashable") for gap in MISSING),
        *((partial(m.most_similar, I3, [1, 2, 3], [4, 5, gap]), r"database_groups\[2\] is ") for gap in MISSING),
        *((partial(m.self_retrieval, I3, I3, groups=[gap, 1, 2]), r"groups\[0\] is ") for gap in MISSING),
    ],
}


@pytest.mark.parametrize(
    ("call", "message"), [pytest.param(*row, id=name) for name, rows in REFUSED.items() for row in rows]
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert len(FITTED.means_) == len(FITTED.scales_) == len(FITTED.rotations_) == 2
