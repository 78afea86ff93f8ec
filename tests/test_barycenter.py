"""Barycentric alignment: planted maps, fixed points, theorems for two models, and what must raise."""

import itertools
from functools import partial

import numpy as np
import pytest

from semrsm_bench.metrics import Barycenter, procrustes_distance
from semrsm_bench.metrics.procrustes import GROUPS
from tests.representations import centred, rotation


def random_map(rng, group, d):
    return rotation(rng, d) if group == "orthogonal" else np.eye(d)[rng.permutation(d)]


def copies(group, rng, n=40, d=6, count=4, noise=0.0):
    """A latent matrix, and noisy copies of it by random maps of the group."""
    latent = rng.standard_normal((n, d)) * np.arange(d, 0, -1)
    shown = [latent + noise * rng.standard_normal((n, d)) for _ in range(count)]
    return latent, [X @ random_map(rng, group, d) + 5 * rng.standard_normal(d) for X in shown]


def objective_of(aligned):
    return sum(np.square(a - np.mean(aligned, axis=0)).sum() for a in aligned)


def plain_descent(models, start, rounds=3000):
    """A second formulation: the update without momentum, gauge or reduction; the objective that it ends at."""
    M, last = start, np.inf
    for _ in range(rounds):
        decompositions = [np.linalg.svd(X.T @ M) for X in models]
        aligned = [X @ u @ vt for X, (u, _, vt) in zip(models, decompositions, strict=True)]
        M, objective = np.mean(aligned, axis=0), objective_of(aligned)
        if last - objective < 1e-12 * objective:
            break
        last = objective
    return objective


@pytest.mark.parametrize("group", GROUPS)
class TestBothGroups:
    @pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 20)])
    def test_planted_maps_are_undone_on_held_out_stimuli_too(self, group, n, d):
        latent, models = copies(group, np.random.default_rng(7), n + 20, d)
        b = Barycenter(group).fit([X[:n] for X in models])
        assert b.converged_
        assert b.objective_ < 1e-20 * np.square(latent).sum()
        known = range(n) if group == "orthogonal" and n <= d else range(n + 20)
        shift = (latent - latent[:n].mean(axis=0))[known]
        for a in b.transform([X[known] for X in models]):
            np.testing.assert_allclose(a @ a.T, shift @ shift.T, atol=1e-8 * np.square(shift).sum())
        alone = b.transform([X[n + 5 : n + 6] for X in models])
        np.testing.assert_allclose(alone[2], b.transform([X[n:] for X in models])[2][5:6], atol=1e-12)

    @pytest.mark.parametrize("noise", [0.1, 1.0, 10.0])
    def test_objective_is_of_maps_of_the_group_and_never_rises(self, group, noise):
        _, models = copies(group, np.random.default_rng(1), noise=noise)
        b = Barycenter(group).fit(models)
        aligned = b.transform(models)
        np.testing.assert_allclose(b.barycenter_, np.mean(aligned, axis=0), atol=1e-10)
        assert b.objective_ == pytest.approx(objective_of(aligned), rel=1e-10)
        assert b.objective_ == b.objective_history_[-1]
        assert (np.diff(b.objective_history_) <= 0).all()
        assert b.n_iter_ == len(b.objective_history_) - 1
        assert b.n_iter_ > 0 or (group, noise < 10) == ("permutation", True)
        for X, R, a in zip(models, b.rotations_, aligned, strict=True):
            np.testing.assert_allclose(R @ R.T, np.eye(6), atol=1e-12)
            np.testing.assert_allclose(a, centred(X) @ R, atol=1e-12 * np.abs(X).max())
            assert group == "orthogonal" or set(np.unique(R)) == {0.0, 1.0}

    def test_gauge_does_not_depend_on_how_models_are_turned_or_ordered(self, group):
        rng = np.random.default_rng(3)
        _, models = copies(group, rng, noise=0.3)
        width = models[0].shape[1]
        turned = [X @ random_map(rng, group, width) + 7 for X in models]
        first, *others = (Barycenter(group, tol=1e-14).fit(given) for given in (models, turned, models[::-1]))
        for other in others:
            np.testing.assert_allclose(other.barycenter_, first.barycenter_, atol=1e-5)
            assert other.objective_ == pytest.approx(first.objective_)
        norms = np.linalg.norm(first.barycenter_, axis=0)
        assert (np.diff(norms) <= 0).all()
        if group == "orthogonal":
            np.testing.assert_allclose(
                first.barycenter_.T @ first.barycenter_, np.diag(norms**2), atol=1e-9 * norms[0] ** 2
            )
            assert (first.barycenter_.max(axis=0) >= -first.barycenter_.min(axis=0)).all()

    def test_same_seed_same_result(self, group):
        _, models = copies(group, np.random.default_rng(4), noise=2.0)
        first, second = (Barycenter(group, n_starts=6, seed=1).fit(models) for _ in range(2))
        np.testing.assert_array_equal(first.barycenter_, second.barycenter_)
        threads = Barycenter(group, n_starts=6, seed=1, n_jobs=3).fit(models)
        np.testing.assert_allclose(threads.barycenter_, first.barycenter_, rtol=1e-12)

    def test_scale(self, group):
        _, models = copies(group, np.random.default_rng(6), noise=0.2)
        sizes = [0.01, 1.0, 30.0, 1000.0]
        larger = [s * X for s, X in zip(sizes, models, strict=True)]
        plain, scaled = (Barycenter(group, scale=True).fit(given) for given in (models, larger))
        np.testing.assert_allclose(scaled.barycenter_, plain.barycenter_, atol=1e-9)
        np.testing.assert_allclose(plain.scales_, [np.linalg.norm(centred(X)) for X in models])
        np.testing.assert_allclose(np.array(scaled.scales_) / plain.scales_, sizes)
        np.testing.assert_allclose([np.linalg.norm(a) for a in scaled.transform(larger)], 1.0)

    def test_added_models_join_without_moving_the_others_and_another_fit_forgets_them(self, group):
        latent, models = copies(group, np.random.default_rng(8), n=60, count=5)
        train, test = ([X[rows] for X in models] for rows in (slice(40), slice(40, None)))
        b = Barycenter(group).fit(train[:4])
        before, held_out = b.barycenter_.copy(), b.transform(test[:4])
        assert b.add_model(train[4]) is b
        np.testing.assert_array_equal(b.barycenter_, before)
        np.testing.assert_allclose(b.transform(test)[4], held_out[0], atol=1e-9)
        np.testing.assert_array_equal(b.transform(test[:4]), held_out)
        narrow = b.fit(train[:4]).add_model(train[4][:, :2])
        assert narrow.transform([*test[:4], test[4][:, :2]])[4].shape == (20, latent.shape[1])


class TestOrthogonal:
    def test_two_models_are_half_their_procrustes_distance_away(self):
        X, Y = np.random.default_rng(2).standard_normal((2, 30, 4))
        assert Barycenter().fit([X, Y]).objective_ == pytest.approx(procrustes_distance(X, Y, "centred") ** 2 / 2)

    @pytest.mark.parametrize("seed", range(4))
    def test_the_plain_iteration_ends_no_lower(self, seed):
        _, models = copies("orthogonal", np.random.default_rng(seed), noise=3.0)
        b = Barycenter(tol=1e-10, max_iter=3000).fit(models)
        models = [centred(X) for X in models]
        assert b.objective_ < plain_descent(models, models[b.medoid_]) * (1 + 1e-6)

    @pytest.mark.parametrize("seed", range(4))
    def test_medoid_is_the_model_nearest_to_all(self, seed):
        # Of different widths and sizes: neither the smallest nor the largest model is it by its size alone.
        rng = np.random.default_rng(seed)
        latent = rng.standard_normal((30, 6))
        models = [
            size * (latent[:, :width] + s * rng.standard_normal((30, width))) @ rotation(rng, width)
            for s, width, size in ((2.0, 4, 1.0), (1.0, 6, 0.6), (0.05, 5, 1.0), (1.5, 6, 0.5), (3.0, 3, 0.4))
        ]
        sums = [sum(procrustes_distance(X, Y) ** 2 for Y in models) for X in models]
        assert Barycenter(max_iter=2000).fit(models).medoid_ == np.argmin(sums)

    def test_of_models_that_are_equally_near_the_first_is_the_medoid(self):
        rng = np.random.default_rng(5)
        X = rng.standard_normal((30, 4))
        assert Barycenter().fit([X @ rotation(rng, 4) for _ in range(4)]).medoid_ == 0

    @pytest.mark.parametrize(("n", "widths"), [(10, (25, 25, 25)), (10, (3, 40, 12)), (12, (12, 12, 30)), (2, (5, 5))])
    def test_fewer_stimuli_than_units(self, n, widths):
        rng = np.random.default_rng(4)
        latent = rng.standard_normal((n, 3))
        models = [latent @ rng.standard_normal((3, w)) + 0.1 * rng.standard_normal((n, w)) for w in widths]
        b = Barycenter(tol=1e-12, max_iter=1000).fit(models)
        assert b.barycenter_.shape == (n, min(max(widths), n - 1))
        assert [r.shape[0] for r in b.rotations_] == list(widths)
        full = [np.hstack([centred(X), np.zeros((n, max(widths) - X.shape[1]))]) for X in models]
        assert b.objective_ == pytest.approx(plain_descent(full, full[b.medoid_]), rel=1e-6)
        for a, X in zip(b.transform(models), models, strict=True):
            np.testing.assert_allclose(a @ a.T, centred(X) @ centred(X).T, atol=1e-9)

    def test_components(self):
        rng = np.random.default_rng(5)
        latent, models = copies("orthogonal", rng, n=80, d=6, noise=0.05)
        b = Barycenter(n_components=2).fit(models)
        assert b.barycenter_.shape == (80, 2)
        assert [r.shape for r in b.rotations_] == [(6, 2)] * 4
        for X, a in zip(models, b.transform(models), strict=True):
            _, vectors = np.linalg.eigh(np.cov(X.T))
            top = centred(X) @ vectors[:, -2:]
            np.testing.assert_allclose(a @ a.T, top @ top.T, atol=1e-9)
        b.add_model(np.hstack([latent, 0.01 * rng.standard_normal((80, 30))]))
        np.testing.assert_allclose(b.rotations_[-1].T @ b.rotations_[-1], np.eye(2), atol=1e-12)
        assert Barycenter(n_components=4).fit([latent[:, :3], latent]).barycenter_.shape == (80, 4)

    def test_stopping_early_warns(self):
        _, models = copies("orthogonal", np.random.default_rng(6), noise=5.0)
        with pytest.warns(RuntimeWarning, match="max_iter=2"):
            b = Barycenter(max_iter=2, tol=0.0).fit(models)
        assert not b.converged_
        assert b.n_iter_ <= 2
        assert Barycenter(max_iter=2000).fit(models).converged_


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("widths", [(4, 4, 4), (2, 4, 3)])
def test_three_models_against_all_permutations(seed, widths):
    rng = np.random.default_rng(seed)
    first, widest, third = models = [rng.standard_normal((8, width)) for width in widths]
    maps = [[np.eye(4)[list(p)] for p in itertools.permutations(range(4), width)] for width in (widths[0], widths[2])]
    best = min(
        objective_of([centred(first) @ P, centred(widest), centred(third) @ Q]) for P, Q in itertools.product(*maps)
    )
    assert Barycenter("permutation", n_starts=20).fit(models).objective_ == pytest.approx(best, rel=1e-12)


def test_a_failed_fit_leaves_nothing_to_transform_with():
    X, Y = np.random.default_rng(0).standard_normal((2, 8, 3))
    b = Barycenter().fit([X, Y])
    for call, message in (
        (partial(b.fit, [X, Y * np.nan]), "non-finite"),
        (partial(b.transform, [X, Y]), "call fit first"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
