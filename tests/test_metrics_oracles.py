"""The metrics against public packages. Each is optional (the ``oracles`` extra); what they check is checked without them too."""

import math

import numpy as np
import pytest

from semrsm_bench.metrics import (
    Barycenter,
    canonical_correlations,
    cca,
    cka,
    compare_rsms,
    hsic,
    linear_cka,
    match_units,
    minibatch_cka,
    procrustes_distance,
    pwcca,
    rbf_cka,
    rbf_rsm,
    svcca,
)


def pairs():
    for seed, (n, p, q) in enumerate([(20, 3, 5), (50, 8, 8), (80, 30, 4)]):
        rng = np.random.default_rng(seed)
        latent = rng.standard_normal((n, 3))
        yield tuple(latent @ rng.standard_normal((3, w)) + rng.standard_normal((n, w)) + 1 for w in (p, q))


PAIRS = list(pairs())


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair[0].shape))
class TestRepsim:
    def test_biased_cka_and_hsic(self, pair):
        repsim = pytest.importorskip("repsim")
        X, Y = pair
        assert linear_cka(X, Y) == pytest.approx(repsim.cka([X, Y], "linear", "gretton")[0, 1])
        # Its median rule squares the median of the distances where ours takes the median of the squares.
        assert rbf_cka(X, Y) == pytest.approx(repsim.cka([X, Y], "rbf", "gretton")[0, 1], rel=2e-3)
        assert hsic(X @ X.T, Y @ Y.T) == pytest.approx(repsim.hsic([X, Y], "linear", "gretton")[0, 1])

    def test_debiased_hsic(self, pair):
        repsim = pytest.importorskip("repsim")
        X, Y = pair
        assert hsic(X @ X.T, Y @ Y.T, "debiased") == pytest.approx(repsim.hsic([X, Y], "linear", "song")[0, 1])

    def test_canonical_correlations(self, pair):
        repsim = pytest.importorskip("repsim")
        X, Y = pair
        # What it calls Pillai's summary is the mean correlation, and Yanai's the mean of the squares.
        assert cca(X, Y) == pytest.approx(repsim.cca([X, Y], "pillai")[0, 1])
        assert cca(X, Y, summary="r2") == pytest.approx(repsim.cca([X, Y], "yanai")[0, 1])

    def test_pwcca_averages_both_weightings(self, pair):
        repsim = pytest.importorskip("repsim")
        X, Y = pair
        assert pwcca(X, Y, "mean") == pytest.approx(repsim.pwcca([X, Y])[0, 1])


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair[0].shape))
class TestCkatorch:
    def test_cka(self, pair):
        torch, ckatorch = pytest.importorskip("torch"), pytest.importorskip("ckatorch")
        X, Y = pair
        tensors = [torch.tensor(side) for side in pair]
        for unbiased, estimator in ((False, "biased"), (True, "debiased")):
            assert linear_cka(X, Y, estimator) == pytest.approx(float(ckatorch.cka_base(*tensors, unbiased=unbiased)))
        assert linear_cka(X, Y) == pytest.approx(float(ckatorch.cka_base(*tensors, method="hsic")))

    def test_hsic(self, pair):
        torch, ckatorch = pytest.importorskip("torch"), pytest.importorskip("ckatorch")
        K, L = (side @ side.T for side in pair)
        k, l = torch.tensor(K), torch.tensor(L)  # noqa: E741
        assert hsic(K, L) == pytest.approx(float(ckatorch.hsic0(k, l)))
        assert hsic(K, L, "debiased") == pytest.approx(float(ckatorch.hsic1(k[None], l[None])))

    def test_rbf(self, pair):
        torch, ckatorch = pytest.importorskip("torch"), pytest.importorskip("ckatorch")
        X, Y = (side[:-1] if len(side) % 2 == 0 else side for side in pair)
        # An odd number of stimuli: torch's median is the lower of the middle two, which only differ for an even n * n.
        for t in (0.5, 1.0):
            expected = ckatorch.cka_base(torch.tensor(X), torch.tensor(Y), kernel="rbf", threshold=t)
            assert rbf_cka(X, Y, sigma="kornblith", t=t) == pytest.approx(float(expected))
        K = rbf_rsm(X, sigma="kornblith")
        np.testing.assert_allclose(K, ckatorch.rbf_kernel(torch.tensor(X)).numpy(), rtol=1e-9)

    def test_minibatches(self, pair):
        torch, ckatorch = pytest.importorskip("torch"), pytest.importorskip("ckatorch")
        X, Y = (np.stack([side[i * 5 : i * 5 + 5] for i in range(4)]) for side in pair)
        expected = float(ckatorch.cka_batch(torch.tensor(X), torch.tensor(Y)))
        batches = [(x @ x.T, y @ y.T) for x, y in zip(X, Y, strict=True)]
        assert minibatch_cka(batches) == pytest.approx(expected)
        assert cka(*batches[0], "debiased") != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("pearson", "corr"),
        ("spearman", "spearman"),
        ("kendall_a", "tau-a"),
        ("kendall_b", "tau-b"),
        ("rho_a", "rho-a"),
        ("cosine", "cosine"),
    ],
)
def test_rsatoolbox(ours, theirs, levels):
    rdm = pytest.importorskip("rsatoolbox.rdm")
    rng = np.random.default_rng(levels)
    values = rng.integers(1, levels, (2, 15, 15)).astype(float)
    K, L = values + values.transpose(0, 2, 1)
    for M in (K, L):
        np.fill_diagonal(M, 0)
    expected = rdm.compare(rdm.RDMs(K[None]), rdm.RDMs(L[None]), theirs)[0, 0]
    assert compare_rsms(K, L, ours) == pytest.approx(expected)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair[0].shape))
class TestQcProcrustes:
    def test_orthogonal(self, pair):
        procrustes = pytest.importorskip("procrustes")
        X, Y = pair
        settings = {"raw": {}, "centred": {"translate": True}, "centred_unit": {"translate": True, "scale": True}}
        for variant, options in settings.items():
            result = procrustes.orthogonal(X, Y, pad=True, **options)
            assert procrustes_distance(X, Y, variant) == pytest.approx(math.sqrt(result.error))

    def test_unit_matching(self, pair):
        procrustes = pytest.importorskip("procrustes")
        X, Y = (side[:, :3] - side[:, :3].mean(0) for side in pair)
        result = procrustes.permutation(X, Y)
        match = match_units(X, Y, "covariance")
        np.testing.assert_array_equal(match.y_units, result.t.argmax(axis=1))

    def test_generalised(self, pair):
        generalized = pytest.importorskip("procrustes").generalized
        rng = np.random.default_rng(0)
        latent = pair[0] - pair[0].mean(0)
        models = [latent @ np.linalg.qr(rng.standard_normal((latent.shape[1],) * 2))[0] for _ in range(4)]
        models = [X + 0.5 * rng.standard_normal(X.shape) for X in models]
        models = [X - X.mean(0) for X in models]
        aligned, _ = generalized(models, tol=1e-12, n_iter=500)
        mean = np.mean(aligned, axis=0)
        theirs = sum(np.square(a - mean).sum() for a in aligned)
        ours = Barycenter(tol=1e-12, max_iter=500).fit(models).objective_
        assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: str(pair[0].shape))
def test_scikit_learn_cca(pair):
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    X, Y = pair
    count = min(X.shape[1], Y.shape[1])
    model = decomposition.CCA(n_components=count, max_iter=20000, tol=1e-12).fit(X, Y)
    a, b = model.transform(X, Y)
    expected = sorted((abs(np.corrcoef(a[:, i], b[:, i])[0, 1]) for i in range(count)), reverse=True)
    np.testing.assert_allclose(canonical_correlations(X, Y), expected, atol=1e-4)
    assert cca(X, Y) == pytest.approx(np.mean(expected), abs=1e-4)
    assert 0 < svcca(X, Y) <= 1
