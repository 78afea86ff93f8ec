"""Barycentric alignment: planted maps, fixed points, theorems for two models, and what must raise."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.linalg

from semrsm_bench.metrics import Barycenter, procrustes_distance


def rotation(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def rotated_copies(rng, n=40, d=5, count=4, noise=0.0):
    latent = rng.standard_normal((n, d)) * np.arange(d, 0, -1)
    models = []
    for _ in range(count):
        X = (latent + noise * rng.standard_normal((n, d))) @ rotation(rng, d) + 5 * rng.standard_normal(d)
        models.append(X)
    return latent, models


def permuted_copies(rng, n=40, d=6, count=4, noise=0.0):
    latent = rng.standard_normal((n, d)) * np.arange(d, 0, -1)
    return latent, [(latent + noise * rng.standard_normal((n, d)))[:, rng.permutation(d)] + 3 for _ in range(count)]


def centred(X):
    return X - X.mean(axis=0)


COPIES = {"orthogonal": rotated_copies, "permutation": permuted_copies}


@pytest.mark.parametrize("group", COPIES)
class TestBothGroups:
    def test_planted_maps_are_undone(self, group):
        latent, models = COPIES[group](np.random.default_rng(0))
        b = Barycenter(group).fit(models)
        assert b.objective_ < 1e-20 * np.square(latent).sum()
        assert b.converged_
        first, *others = b.transform(models)
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-10)
        np.testing.assert_allclose(np.linalg.norm(first, axis=1), np.linalg.norm(centred(latent), axis=1), atol=1e-10)

    @pytest.mark.parametrize("noise", [0.1, 1.0, 10.0])
    def test_objective_is_what_it_says_and_never_rises(self, group, noise):
        _, models = COPIES[group](np.random.default_rng(1), noise=noise)
        b = Barycenter(group).fit(models)
        aligned = b.transform(models)
        mean = np.mean(aligned, axis=0)
        np.testing.assert_allclose(b.barycenter_, mean, atol=1e-10)
        assert b.objective_ == pytest.approx(sum(np.square(a - mean).sum() for a in aligned), rel=1e-10)
        assert b.objective_ == b.objective_history_[-1]
        assert (np.diff(b.objective_history_) <= 0).all()
        assert b.n_iter_ == len(b.objective_history_) - 1

    def test_two_models_are_half_their_procrustes_distance_away(self, group):
        rng = np.random.default_rng(2)
        X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 4))
        if group == "orthogonal":
            expected = procrustes_distance(X, Y, "centred") ** 2 / 2
        else:
            expected = min(np.square(centred(X)[:, p] - centred(Y)).sum() for p in itertools.permutations(range(4))) / 2
        assert Barycenter(group).fit([X, Y]).objective_ == pytest.approx(expected)

    def test_gauge_does_not_depend_on_how_models_are_turned_or_ordered(self, group):
        rng = np.random.default_rng(3)
        _, models = COPIES[group](rng, noise=0.3)
        reference = Barycenter(group, tol=1e-14).fit(models)
        width = models[0].shape[1]
        turn = (
            (lambda: rotation(rng, width)) if group == "orthogonal" else (lambda: np.eye(width)[rng.permutation(width)])
        )
        turned = Barycenter(group, tol=1e-14).fit([X @ turn() + 7 for X in models])
        np.testing.assert_allclose(turned.barycenter_, reference.barycenter_, atol=1e-5)
        reordered = Barycenter(group, tol=1e-14).fit(models[::-1])
        np.testing.assert_allclose(reordered.barycenter_, reference.barycenter_, atol=1e-5)
        assert turned.objective_ == pytest.approx(reference.objective_)

    def test_same_seed_same_result(self, group):
        _, models = COPIES[group](np.random.default_rng(4), noise=2.0)
        first, second = (Barycenter(group, n_starts=6, seed=1).fit(models) for _ in range(2))
        np.testing.assert_array_equal(first.barycenter_, second.barycenter_)
        threads = Barycenter(group, n_starts=6, seed=1, n_jobs=3).fit(models)
        np.testing.assert_allclose(threads.barycenter_, first.barycenter_, rtol=1e-12)

    def test_ragged_widths_are_the_same_as_zero_padded(self, group):
        rng = np.random.default_rng(5)
        latent = rng.standard_normal((30, 7)) * np.arange(7, 0, -1)
        models = [latent[:, :w] + 0.1 * rng.standard_normal((30, w)) for w in (3, 7, 5)]
        padded = [np.hstack([X, np.zeros((30, 7 - X.shape[1]))]) for X in models]
        ragged, full = (Barycenter(group, tol=1e-12).fit(m) for m in (models, padded))
        assert ragged.objective_ == pytest.approx(full.objective_)
        np.testing.assert_allclose(ragged.barycenter_, full.barycenter_, atol=1e-5)
        assert [r.shape for r in ragged.rotations_] == [(3, 7), (7, 7), (5, 7)]
        for rotation_ in ragged.rotations_:
            np.testing.assert_allclose(rotation_ @ rotation_.T, np.eye(len(rotation_)), atol=1e-12)

    def test_scale(self, group):
        _, models = COPIES[group](np.random.default_rng(6), noise=0.2)
        sizes = [0.01, 1.0, 30.0, 1000.0]
        plain = Barycenter(group, scale=True).fit(models)
        scaled = Barycenter(group, scale=True).fit([s * X for s, X in zip(sizes, models, strict=True)])
        np.testing.assert_allclose(scaled.barycenter_, plain.barycenter_, atol=1e-9)
        np.testing.assert_allclose(np.array(scaled.scales_) / plain.scales_, sizes)
        for a in scaled.transform([s * X for s, X in zip(sizes, models, strict=True)]):
            assert np.linalg.norm(a) == pytest.approx(1.0)
        assert plain.scales_[0] == pytest.approx(np.linalg.norm(centred(models[0])))

    def test_held_out_stimuli_use_the_training_mean(self, group):
        latent, models = COPIES[group](np.random.default_rng(7), n=60)
        b = Barycenter(group).fit([X[:40] for X in models])
        held_out = b.transform([X[40:] for X in models])
        for a in held_out[1:]:
            np.testing.assert_allclose(a, held_out[0], atol=1e-9)
        shift = latent[40:] - latent[:40].mean(axis=0)
        np.testing.assert_allclose(held_out[0] @ held_out[0].T, shift @ shift.T, atol=1e-8)
        alone = b.transform([X[45:46] for X in models])
        np.testing.assert_allclose(alone[2], held_out[2][5:6], atol=1e-12)

    def test_added_models_join_without_moving_the_others(self, group):
        latent, models = COPIES[group](np.random.default_rng(8), n=60, count=5)
        b = Barycenter(group).fit([X[:40] for X in models[:4]])
        before = b.barycenter_.copy(), b.transform([X[40:] for X in models[:4]])
        assert b.add_model(models[4][:40]) is b
        np.testing.assert_array_equal(b.barycenter_, before[0])
        aligned = b.transform([X[40:] for X in models])
        np.testing.assert_allclose(aligned[4], aligned[0], atol=1e-9)
        np.testing.assert_array_equal(b.transform([X[40:] for X in models[:4]])[1], before[1][1])
        narrow = Barycenter(group).fit([X[:40] for X in models[:4]]).add_model(models[4][:40, :2])
        assert narrow.transform([*(X[40:] for X in models[:4]), models[4][40:, :2]])[4].shape == (20, latent.shape[1])

    def test_refitting_forgets(self, group):
        _, models = COPIES[group](np.random.default_rng(9), count=3)
        b = Barycenter(group).fit(models).add_model(models[0])
        again = b.fit(models[:2])
        assert len(again.transform(models[:2])) == 2
        assert len(b.rotations_) == len(b.means_) == len(b.scales_) == 2


class TestOrthogonal:
    def test_result_is_a_fixed_point(self):
        # Stationary: every Q_k' X_k' M is symmetric and positive semi-definite, that is Q_k = U V' of X_k' M.
        _, models = rotated_copies(np.random.default_rng(0), noise=1.0)
        b = Barycenter(tol=1e-15, max_iter=2000).fit(models)
        for X, Q in zip(models, b.rotations_, strict=True):
            S = Q.T @ centred(X).T @ b.barycenter_
            assert np.abs(S - S.T).max() < 1e-4 * np.abs(S).max()
            assert np.linalg.eigvalsh(S + S.T).min() > -1e-6 * np.abs(S).max()

    def test_no_small_rotation_of_one_model_lowers_the_objective(self):
        rng = np.random.default_rng(1)
        _, models = rotated_copies(rng, noise=1.5)
        b = Barycenter(tol=1e-14, max_iter=2000).fit(models)
        aligned = b.transform(models)
        for _ in range(200):
            k = rng.integers(len(models))
            small = scipy.linalg.expm(1e-3 * ((A := rng.standard_normal((5, 5))) - A.T))
            moved = [a @ small if j == k else a for j, a in enumerate(aligned)]
            mean = np.mean(moved, axis=0)
            assert sum(np.square(a - mean).sum() for a in moved) > b.objective_ * (1 - 1e-9)

    def test_gauge_is_principal_axes_with_positive_peaks(self):
        _, models = rotated_copies(np.random.default_rng(2), noise=0.5)
        M = Barycenter().fit(models).barycenter_
        variances = (M.T @ M).diagonal()
        np.testing.assert_allclose(M.T @ M, np.diag(variances), atol=1e-9 * variances[0])
        assert (np.diff(variances) < 0).all()
        peaks = M[np.abs(M).argmax(axis=0), np.arange(M.shape[1])]
        assert (peaks > 0).all()

    def test_the_plain_iteration_ends_no_lower(self):
        # A second formulation: the update without momentum, gauge or reduction, from the same start.
        for seed in range(4):
            rng = np.random.default_rng(seed)
            _, models = rotated_copies(rng, noise=3.0)
            b = Barycenter(tol=1e-10, max_iter=3000).fit(models)
            M = centred(models[b.medoid_])
            objective = np.inf
            for _ in range(3000):
                aligned = []
                for X in map(centred, models):
                    u, _, vt = np.linalg.svd(X.T @ M)
                    aligned.append(X @ u @ vt)
                M = np.mean(aligned, axis=0)
                last, objective = objective, sum(np.square(a - M).sum() for a in aligned)
                if last - objective < 1e-10 * objective:
                    break
            assert b.objective_ < objective * (1 + 1e-6)

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
        # A second way: pad to the full width, iterate there.
        full = [np.hstack([centred(X), np.zeros((n, max(widths) - X.shape[1]))]) for X in models]
        M = full[b.medoid_]
        for _ in range(1000):
            aligned = []
            for X in full:
                u, _, vt = np.linalg.svd(X.T @ M)
                aligned.append(X @ u @ vt)
            M = np.mean(aligned, axis=0)
        assert b.objective_ == pytest.approx(sum(np.square(a - M).sum() for a in aligned), rel=1e-6)
        for a, X in zip(b.transform(models), models, strict=True):
            np.testing.assert_allclose(a @ a.T, centred(X) @ centred(X).T, atol=1e-9)

    def test_components(self):
        rng = np.random.default_rng(5)
        latent, models = rotated_copies(rng, n=80, d=6, noise=0.05)
        b = Barycenter(n_components=2).fit(models)
        assert b.barycenter_.shape == (80, 2)
        assert [r.shape for r in b.rotations_] == [(6, 2)] * 4
        for X, a in zip(models, b.transform(models), strict=True):
            _, vectors = np.linalg.eigh(np.cov(X.T))
            top = centred(X) @ vectors[:, -2:]
            np.testing.assert_allclose(a @ a.T, top @ top.T, atol=1e-9)
        wider = b.add_model(np.hstack([latent, 0.01 * rng.standard_normal((80, 30))]))
        np.testing.assert_allclose(wider.rotations_[-1].T @ wider.rotations_[-1], np.eye(2), atol=1e-12)
        ragged = Barycenter(n_components=4).fit([latent[:, :3], latent])
        assert ragged.barycenter_.shape == (80, 4)

    def test_stopping_early_warns(self):
        _, models = rotated_copies(np.random.default_rng(6), noise=5.0)
        with pytest.warns(RuntimeWarning, match="max_iter=2"):
            b = Barycenter(max_iter=2, tol=0.0).fit(models)
        assert not b.converged_
        assert b.n_iter_ <= 2
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Barycenter(max_iter=2000).fit(models)


class TestPermutation:
    def test_maps_are_permutations_and_transform_moves_columns(self):
        _, models = permuted_copies(np.random.default_rng(0), noise=0.5)
        b = Barycenter("permutation").fit(models)
        for X, R, a in zip(models, b.rotations_, b.transform(models), strict=True):
            assert set(np.unique(R)) == {0.0, 1.0}
            np.testing.assert_array_equal(R @ R.T, np.eye(6))
            np.testing.assert_allclose(a, centred(X)[:, R.argmax(axis=0)], atol=1e-12)

    def test_three_models_against_all_permutations(self):
        hits = 0
        for seed in range(10):
            rng = np.random.default_rng(seed)
            models = [centred(rng.standard_normal((8, 4))) for _ in range(3)]
            orders = [list(p) for p in itertools.permutations(range(4))]
            best = min(
                sum(np.square(a - np.mean(c, axis=0)).sum() for a in c)
                for p in orders for q in orders for c in [[models[0], models[1][:, p], models[2][:, q]]]
            )  # fmt: skip
            found = Barycenter("permutation", n_starts=20).fit(models).objective_
            assert found > best * (1 - 1e-12)
            hits += found == pytest.approx(best)
        assert hits == 10

    def test_gauge_is_by_descending_norm(self):
        _, models = permuted_copies(np.random.default_rng(1), noise=0.5)
        M = Barycenter("permutation").fit(models).barycenter_
        assert (np.diff(np.linalg.norm(M, axis=0)) <= 0).all()

    def test_more_units_than_stimuli(self):
        rng = np.random.default_rng(3)
        latent = rng.standard_normal((6, 20))
        models = [latent[:, rng.permutation(20)] for _ in range(3)]
        b = Barycenter("permutation").fit(models)
        assert b.barycenter_.shape == (6, 20)
        assert b.objective_ < 1e-20


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"group": "affine"}, "orthogonal, permutation"),
            ({"group": "permutation", "n_components": 2}, "leaves a permutation nothing"),
            ({"n_components": 0}, "n_components must be at least 1"),
            ({"max_iter": 0}, "max_iter must be at least 1"),
            ({"n_starts": 0}, "n_starts must be at least 1"),
            ({"n_jobs": 0}, "n_jobs must be at least 1"),
            ({"tol": -1.0}, "tol must not be negative"),
            ({"tol": float("nan")}, "tol must not be negative"),
        ],
    )
    def test_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Barycenter(**arguments)

    def test_models(self):
        X = np.random.default_rng(0).standard_normal((8, 3))
        with pytest.raises(ValueError, match="at least two models"):
            Barycenter().fit([X])
        with pytest.raises(ValueError, match=r"same stimuli, but they have \[7, 8\]"):
            Barycenter().fit([X, X[:7]])
        with pytest.raises(ValueError, match=r"models\[1\] cannot be aligned"):
            Barycenter().fit([X, np.full((8, 2), 0.1)])
        with pytest.raises(ValueError, match=r"models\[1\] has 1 non-finite"):
            Barycenter().fit([X, np.where(np.arange(24).reshape(8, 3) == 4, np.nan, X)])
        with pytest.raises(ValueError, match="n_components=4"):
            Barycenter(n_components=4).fit([X, X])
        with pytest.raises(ValueError, match="at least 2 stimuli"):
            Barycenter().fit([X[:1], X[:1]])

    def test_order_of_calls_and_shapes(self):
        X, Y = np.random.default_rng(0).standard_normal((2, 8, 3))
        b = Barycenter()
        for call in (lambda: b.transform([X]), lambda: b.add_model(X)):
            with pytest.raises(ValueError, match="call fit first"):
                call()
        b.fit([X, Y])
        with pytest.raises(ValueError, match="needs the 2 models of fit in their order; got 1"):
            b.transform([X])
        with pytest.raises(ValueError, match=r"models\[1\] was fitted with 3 units, but now has 2"):
            b.transform([X, Y[:, :2]])
        with pytest.raises(ValueError, match="same stimuli"):
            b.transform([X, Y[:4]])
        with pytest.raises(ValueError, match="8 training stimuli of fit, but has 7"):
            b.add_model(X[:7])
        with pytest.raises(ValueError, match="model has 4 dimensions but the barycenter only 3"):
            b.add_model(np.random.default_rng(0).standard_normal((8, 4)))
        assert len(b.means_) == len(b.scales_) == 2
        b.add_model(Y)
        with pytest.raises(ValueError, match="or 3 with those added, in their order; got 4"):
            b.transform([X] * 4)

    def test_a_failed_fit_leaves_nothing_to_transform_with(self):
        X, Y = np.random.default_rng(0).standard_normal((2, 8, 3))
        b = Barycenter().fit([X, Y])
        with pytest.raises(ValueError, match="non-finite"):
            b.fit([X, Y * np.nan])
        with pytest.raises(ValueError, match="call fit first"):
            b.transform([X, Y])
