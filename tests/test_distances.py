"""Metrics of distances, and of single numbers, against second formulations."""

import itertools
import math

import numpy as np
import pytest

from semrsm_bench.metrics import cka, get_metric, linear_rsm, rbf_rsm


def sides(seed, n=14, p=5, q=3):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    return x, x @ rng.standard_normal((p, q)) + rng.standard_normal((n, q)) + 1.0


def distances(x):
    return np.array([[math.dist(a, b) for b in x] for a in x])


@pytest.mark.parametrize("seed", range(3))
def test_distance_correlation_is_made_of_all_quadruples(seed):
    # dCov^2 as Szekely, Rizzo & Bakirov's equation 2.18: S1 + S2 - 2 S3, without any centring.
    a, b = map(distances, sides(seed))
    covariance = lambda u, v: (u * v).mean() + u.mean() * v.mean() - 2 * (u.mean(axis=1) * v.mean(axis=1)).mean()  # noqa: E731
    expected = math.sqrt(covariance(a, b) / math.sqrt(covariance(a, a) * covariance(b, b)))
    assert get_metric("distance_correlation").run(*sides(seed)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_unbiased_distance_correlation_is_debiased_cka_of_negative_distances(seed):
    # Sejdinovic et al. 2013: distance covariance is HSIC with the kernel that the distance induces.
    a, b = map(distances, sides(seed))
    expected = cka(-a, -b, estimator="debiased")
    assert get_metric("distance_correlation_unbiased").run(*sides(seed)) == pytest.approx(expected, rel=1e-9)


def test_unbiased_distance_correlation_of_unrelated_sides_is_about_zero():
    rng = np.random.default_rng(0)
    values = [
        get_metric("distance_correlation_unbiased").run(rng.standard_normal((20, 50)), rng.standard_normal((20, 50)))
        for _ in range(300)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(300)
    biased = get_metric("distance_correlation").run(rng.standard_normal((20, 50)), rng.standard_normal((20, 50)))
    assert biased > 0.8


@pytest.mark.parametrize("kernel", [linear_rsm, rbf_rsm])
@pytest.mark.parametrize("seed", range(3))
def test_whitened_rsa_whitens_by_the_covariance_of_distances(seed, kernel):
    k, l = map(kernel, sides(seed, n=9))  # noqa: E741
    n = len(k)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    contrasts = np.zeros((len(pairs), n))
    for row, (i, j) in zip(contrasts, pairs, strict=True):
        row[i], row[j] = 1, -1
    covariance = (contrasts @ contrasts.T) ** 2
    vectors = []
    for rsm in (k, l):
        d = np.array([rsm[i, i] + rsm[j, j] - 2 * rsm[i, j] for i, j in pairs])
        vectors.append(d - d.mean())
    a, b = (np.linalg.solve(covariance, d) for d in vectors)
    expected = (vectors[0] @ b) / math.sqrt((vectors[0] @ a) * (vectors[1] @ b))
    assert get_metric("rsa_whitened").run(k, l) == pytest.approx(expected, rel=1e-8)


def test_whitened_rsa_of_rsatoolbox():
    rsatoolbox = pytest.importorskip("rsatoolbox")
    k, l = map(linear_rsm, sides(4, n=12))  # noqa: E741
    upper = np.triu_indices(12, 1)
    rdms = [rsatoolbox.rdm.RDMs((np.diag(m)[:, None] + np.diag(m) - 2 * m)[upper][None]) for m in (k, l)]
    theirs = float(rsatoolbox.rdm.compare(*rdms, method="corr_cov")[0, 0])
    assert get_metric("rsa_whitened").run(k, l) == pytest.approx(theirs, rel=1e-6)


def test_whitened_rsa_without_relation():
    with pytest.raises(ValueError, match="are equal"):
        get_metric("rsa_whitened").run(3 * np.eye(6), linear_rsm(sides(0, n=6)[0]))


@pytest.mark.parametrize("n", [5, 12])
def test_the_noise_ceiling_is_the_mean_reliability_of_all_halves(n):
    x, y = (side @ np.ones((side.shape[1],) * 2) + side for side in sides(5, n=n, p=4, q=6))

    def variance(units):
        return np.var([math.dist(a, b) ** 2 for a, b in itertools.combinations(units, 2)])

    def reliability(side):
        p = side.shape[1]
        halves = [(list(h), [u for u in range(p) if u not in h]) for h in itertools.combinations(range(p), p // 2)]
        # Flanagan and Rulon: one minus the part of the variance that halves do not share.
        return np.mean([2 * (1 - sum(variance(side[:, h]) for h in both) / variance(side)) for both in halves])

    raw = np.corrcoef([[math.dist(a, b) ** 2 for a, b in itertools.combinations(side, 2)] for side in (x, y)])[0, 1]
    expected = raw / math.sqrt(reliability(x) * reliability(y))
    assert get_metric("rsa_noise_ceiling").run(x, y) == pytest.approx(expected, rel=1e-10)


def test_samples_of_units_are_alike_as_their_populations_are():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((30, 5))
    draws = [[signal @ rng.standard_normal((5, 20)) + rng.standard_normal((30, 20)) for _ in "xy"] for _ in range(60)]
    plain = np.mean([get_metric("rsa_pearson").run(*(linear_rsm(s - s.mean(0)) for s in pair)) for pair in draws])
    found = [get_metric("rsa_noise_ceiling").run(*pair) for pair in draws]
    assert plain < 0.8
    assert np.mean(found) == pytest.approx(1.0, abs=4 * np.std(found) / math.sqrt(60))


def test_without_two_units_that_agree_there_is_no_noise_ceiling():
    x = sides(5)[1] @ (np.eye(3) + np.ones((3, 3)))
    assert get_metric("rsa_noise_ceiling").run(x, x) > 0
    for given in (x[:, :1], np.eye(14)):
        assert math.isnan(get_metric("rsa_noise_ceiling").run(x, given))


def test_norm_difference():
    k, l = map(linear_rsm, sides(1))  # noqa: E741
    expected = math.sqrt(sum((a - b) ** 2 for a, b in zip(k.ravel(), l.ravel(), strict=True)))
    assert get_metric("rsm_norm_difference").run(k, l) == pytest.approx(expected)
    assert get_metric("rsm_norm_difference").run(k * 2.0**600, l * 2.0**600) == pytest.approx(expected * 2.0**600)


def angle(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


ONE_NUMBER = {
    "magnitude_difference": lambda x: np.linalg.norm(x.mean(axis=0)),
    "concentricity_difference": lambda x: np.mean([angle(row, x.mean(axis=0)) for row in x]),
    "uniformity_difference": lambda x: math.log(np.mean([math.exp(-2 * d * d) for d in distances(x).ravel()])),
}


@pytest.mark.parametrize("name", ONE_NUMBER)
def test_differences_of_one_number(name):
    x, y = sides(2)
    assert get_metric(name).run(x, y) == pytest.approx(abs(ONE_NUMBER[name](x) - ONE_NUMBER[name](y)), rel=1e-10)


@pytest.mark.parametrize("name", ["distance_correlation", "distance_correlation_unbiased", "rsa_whitened"])
@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scale(name, scale):
    x, y = sides(3)
    metric = get_metric(name)
    make = linear_rsm if metric.takes == "rsms" else (lambda a: a)
    assert metric.run(make(x) * scale, make(y)) == pytest.approx(metric.run(make(x), make(y)), rel=1e-9)
