"""The metrics against public packages. Each is optional (the ``oracles`` extra); what they check is checked without them too."""

import math

import numpy as np
import pytest

from semrsm_bench.metrics import (
    Barycenter,
    canonical_correlations,
    cca,
    compare_rsms,
    get_metric,
    hsic,
    linear_cka,
    match_units,
    minibatch_cka,
    procrustes_distance,
    pwcca,
    rbf_cka,
)
from tests.representations import centred, related, rotation

PAIRS = [related(seed, n, widths) for seed, (n, *widths) in enumerate([(21, 3, 5), (51, 8, 8), (81, 30, 4)])]
of_pairs = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair[0].shape))


# What repsim calls Pillai's summary is the mean correlation, and Yanai's the mean of the squares. Its median rule squares the
# median of the distances where ours takes the median of the squares.
REPSIM = {
    "cka": (linear_cka, lambda r, x, y: r.cka([x, y], "linear", "gretton"), 1e-9),
    "rbf": (rbf_cka, lambda r, x, y: r.cka([x, y], "rbf", "gretton"), 2e-3),
    "hsic": (lambda x, y: hsic(x @ x.T, y @ y.T), lambda r, x, y: r.hsic([x, y], "linear", "gretton"), 1e-9),
    "debiased": (
        lambda x, y: hsic(x @ x.T, y @ y.T, "debiased"), lambda r, x, y: r.hsic([x, y], "linear", "song"), 1e-9,
    ),
    "cca": (cca, lambda r, x, y: r.cca([x, y], "pillai"), 1e-6),
    "r2": (lambda x, y: cca(x, y, summary="r2"), lambda r, x, y: r.cca([x, y], "yanai"), 1e-6),
    "pwcca": (lambda x, y: pwcca(x, y, "mean"), lambda r, x, y: r.pwcca([x, y]), 1e-6),
}  # fmt: skip


@of_pairs
@pytest.mark.parametrize("name", REPSIM)
def test_repsim(name, pair):
    ours, theirs, tolerance = REPSIM[name]
    assert ours(*pair) == pytest.approx(theirs(pytest.importorskip("repsim"), *pair)[0, 1], rel=tolerance)


# An odd number of stimuli: torch's median is the lower of the middle two, which only differ for an even n * n.
CKATORCH = {
    "biased": (linear_cka, lambda c, x, y: c.cka_base(x, y, unbiased=False)),
    "debiased": (lambda x, y: linear_cka(x, y, "debiased"), lambda c, x, y: c.cka_base(x, y, unbiased=True)),
    "rbf": (
        lambda x, y: rbf_cka(x, y, sigma="kornblith", t=0.5), lambda c, x, y: c.cka_base(x, y, kernel="rbf", threshold=0.5),
    ),
    "batches": (
        lambda x, y: minibatch_cka([(a @ a.T, b @ b.T) for a, b in zip(*(s[:20].reshape(4, 5, -1) for s in (x, y)))]),
        lambda c, x, y: c.cka_batch(*(s[:20].reshape(4, 5, -1) for s in (x, y))),
    ),
}  # fmt: skip


@of_pairs
@pytest.mark.parametrize("name", CKATORCH)
def test_ckatorch(name, pair):
    torch, ckatorch = pytest.importorskip("torch"), pytest.importorskip("ckatorch")
    ours, theirs = CKATORCH[name]
    assert ours(*pair) == pytest.approx(float(theirs(ckatorch, *map(torch.tensor, pair))))


DCOR = {"distance_correlation": "distance_correlation", "distance_correlation_unbiased": "u_distance_correlation_sqr"}


@of_pairs
@pytest.mark.parametrize("name", DCOR)
def test_dcor(name, pair):
    expected = getattr(pytest.importorskip("dcor"), DCOR[name])(*pair)
    assert get_metric(name).run(*pair) == pytest.approx(expected, rel=1e-9)


RSATOOLBOX = {"pearson": "corr", "kendall_a": "tau-a", "kendall_b": "tau-b", "rho_a": "rho-a"}


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize("method", [*RSATOOLBOX, "spearman", "cosine"])
def test_rsatoolbox(method, levels):
    rdm = pytest.importorskip("rsatoolbox.rdm")
    values = np.random.default_rng(levels).integers(1, levels, (2, 15, 15)).astype(float)
    K, L = values + values.transpose(0, 2, 1)
    for M in (K, L):
        np.fill_diagonal(M, 0)
    expected = rdm.compare(rdm.RDMs(K[None]), rdm.RDMs(L[None]), RSATOOLBOX.get(method, method))[0, 0]
    assert compare_rsms(K, L, method) == pytest.approx(expected)


@of_pairs
def test_qc_procrustes(pair):
    procrustes = pytest.importorskip("procrustes")
    X, Y = pair
    settings = {"raw": {}, "centred": {"translate": True}, "centred_unit": {"translate": True, "scale": True}}
    for variant, options in settings.items():
        result = procrustes.orthogonal(X, Y, pad=True, **options)
        assert procrustes_distance(X, Y, variant) == pytest.approx(math.sqrt(result.error))
    X, Y = (centred(side[:, :3]) for side in pair)
    expected = procrustes.permutation(X, Y).t.argmax(axis=1)
    np.testing.assert_array_equal(match_units(X, Y, "covariance").y_units, expected)


@of_pairs
def test_generalised_procrustes(pair):
    generalized = pytest.importorskip("procrustes").generalized
    rng = np.random.default_rng(0)
    models = [pair[0] @ rotation(rng, pair[0].shape[1]) for _ in range(4)]
    models = [centred(X + 0.5 * rng.standard_normal(X.shape)) for X in models]
    aligned, _ = generalized(models, tol=1e-12, n_iter=500)
    mean = np.mean(aligned, axis=0)
    ours = Barycenter(tol=1e-12, max_iter=500).fit(models).objective_
    assert ours == pytest.approx(sum(np.square(a - mean).sum() for a in aligned), rel=1e-5)


@of_pairs
def test_scikit_learn_cca(pair):
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    X, Y = pair
    count = min(X.shape[1], Y.shape[1])
    a, b = decomposition.CCA(n_components=count, max_iter=20000, tol=1e-12).fit(X, Y).transform(X, Y)
    expected = sorted((abs(np.corrcoef(a[:, i], b[:, i])[0, 1]) for i in range(count)), reverse=True)
    np.testing.assert_allclose(canonical_correlations(X, Y), expected, atol=1e-4)
