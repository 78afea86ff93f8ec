"""Folds that never part a group, and scores of stimuli that the alignment did not see."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from semrsm_bench.metrics import Barycenter
from semrsm_bench.metrics.instances import KINDS
from semrsm_bench.studies.held_out import (
    agreement_order,
    assign_folds,
    held_out_scores,
    nearest_is_own,
    null_p_values,
)
from semrsm_bench.studies.planted_noise import plant


@given(
    groups=st.lists(st.integers(0, 12), min_size=10, max_size=60), folds=st.integers(2, 6), seed=st.integers(0, 2**32)
)
def test_groups_are_never_parted_and_folds_are_even(groups, folds, seed):
    _, sizes = np.unique(groups, return_counts=True)
    if len(sizes) < folds:
        with pytest.raises(ValueError, match=f"there are {len(sizes)}"):
            assign_folds(groups, folds, seed)
        return
    fold = assign_folds(groups, folds, seed)
    for name in set(groups):
        assert len(set(fold[np.array(groups) == name])) == 1
    filled = np.bincount(fold, minlength=folds)
    assert filled.min() > 0
    assert np.ptp(filled) <= sizes.max()
    np.testing.assert_array_equal(fold, assign_folds(groups, folds, seed))


def test_another_seed_gives_other_folds():
    assert (assign_folds(np.arange(50), 5, 0) != assign_folds(np.arange(50), 5, 1)).any()


def test_one_fold_leaves_nothing_to_fit_on():
    with pytest.raises(ValueError, match="at least 2"):
        assign_folds(np.arange(50), 1)


def test_too_few_stimuli():
    with pytest.raises(ValueError, match="9 stimuli are too few"):
        assign_folds(np.arange(9), 2)


@pytest.fixture(scope="module")
def planted():
    return plant(count=4, stimuli=200, units=12)


def test_scores_are_those_of_an_alignment_of_the_other_folds(planted):
    fold = assign_folds(np.arange(200), 4, 3)
    held = held_out_scores(planted.models, fold, kinds=("pairwise_cosine",))
    test = fold == 2
    barycenter = Barycenter(scale=True).fit([x[~test] for x in planted.models])
    aligned = barycenter.transform([x[test] for x in planted.models])
    for place, i in enumerate(np.flatnonzero(test)):
        rows = [a[place] / np.linalg.norm(a[place]) for a in aligned]
        expected = np.mean([rows[k] @ rows[j] for k in range(4) for j in range(k)])
        assert held.scores["pairwise_cosine"][i] == pytest.approx(expected)


def test_what_a_held_out_stimulus_is_like_changes_no_other_score_of_its_fold(planted):
    fold = assign_folds(np.arange(200), 4)
    before = held_out_scores(planted.models, fold).scores
    changed = [x.copy() for x in planted.models]
    changed[1][7] = 100.0
    after = held_out_scores(changed, fold).scores
    same_fold = (fold == fold[7]) & (np.arange(200) != 7)
    for kind in KINDS:
        np.testing.assert_array_equal(before[kind][same_fold], after[kind][same_fold])
        assert before[kind][7] != after[kind][7]
    # The stimulus is a training one in the other folds, where it must matter: the check above can fail.
    assert (before["pairwise_cosine"][fold != fold[7]] != after["pairwise_cosine"][fold != fold[7]]).any()


def test_rotating_shifting_and_scaling_a_model_changes_nothing(planted):
    fold = assign_folds(np.arange(200), 4)
    rng = np.random.default_rng(1)
    moved = [
        3.0**k * x @ np.linalg.qr(rng.standard_normal((12, 12)))[0] + rng.standard_normal(12)
        for k, x in enumerate(planted.models)
    ]
    first, second = held_out_scores(planted.models, fold), held_out_scores(moved, fold)
    for kind in KINDS:
        np.testing.assert_allclose(first.scores[kind], second.scores[kind], rtol=1e-3)
    np.testing.assert_allclose(first.length, second.length, rtol=1e-6)


@pytest.mark.parametrize("group", ["orthogonal", "permutation"])
def test_planted_noise_comes_out_in_order_for_every_kind(group):
    planted = plant(group, count=6, stimuli=300, units=24, seed=2)
    held = held_out_scores(planted.models, assign_folds(np.arange(300), 3), group=group)
    for kind, values in held.scores.items():
        order = agreement_order(values, kind)
        assert spearmanr(np.argsort(order), planted.noise).statistic > 0.9
        assert np.median(planted.noise[order[-20:]]) > 4 * np.median(planted.noise[order[:20]])


def test_lengths_are_one_on_average_and_grow_with_the_distance_from_the_mean():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((300, 5)) * rng.uniform(0.2, 3, 300)[:, None]
    held = held_out_scores([latent, latent[:, ::-1]], assign_folds(np.arange(300), 5))
    assert np.sqrt(np.mean(held.length**2)) == pytest.approx(1, abs=0.05)
    distance = np.linalg.norm(latent - latent.mean(axis=0), axis=1)
    assert spearmanr(held.length, distance).statistic > 0.99
    np.testing.assert_allclose(held.scores["pairwise_cosine"], 1)
    np.testing.assert_allclose(held.scores["dispersion"], 0, atol=1e-12)


def test_more_units_than_training_stimuli_and_ragged_widths_work():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((30, 4))
    models = [(latent @ rng.standard_normal((4, d))).astype(np.float16) for d in (50, 7)]
    held = held_out_scores(models, assign_folds(np.arange(30), 7), draws=3)
    assert held.null["dispersion"].shape == (3, 30)
    assert held.scores["pairwise_cosine"].min() > 0.5
    assert len({a.shape for a in held.aligned}) == 1


def test_models_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"features\[1\] holds 9 stimuli"):
        held_out_scores([np.eye(10), np.eye(9)], np.arange(10) % 2)


@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["pairwise_cosine", "dispersion"]))
def test_p_values_count_the_null_values_that_agree_as_much(seed, kind):
    rng = np.random.default_rng(seed)
    # Few distinct values, so that ties occur.
    scores, null = rng.integers(0, 6, 9) / 5, rng.integers(0, 6, (4, 9)) / 5
    found = null_p_values(scores, null, kind)
    for value, p in zip(scores, found, strict=True):
        extreme = sum(v <= value if kind == "dispersion" else v >= value for v in null.ravel())
        assert p == pytest.approx((1 + extreme) / (1 + null.size))


def test_p_values_are_uniform_where_stimuli_do_not_correspond():
    rng = np.random.default_rng(3)
    models = [rng.standard_normal((400, 6)) for _ in range(3)]
    held = held_out_scores(models, assign_folds(np.arange(400), 4), draws=100)
    p = null_p_values(held.scores["pairwise_cosine"], held.null["pairwise_cosine"])
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)
    assert np.mean(p <= 0.05) < 0.1


def test_each_item_is_nearest_to_itself_in_equal_models_and_not_in_unrelated_ones():
    rng = np.random.default_rng(0)
    fold = assign_folds(np.arange(100), 5)
    same, other = rng.standard_normal((2, 100, 10))
    assert nearest_is_own([same, 2 * same], fold, np.arange(100)) == (1.0, pytest.approx(1 / 20))
    share, _ = nearest_is_own([same, other], fold, np.arange(100))
    assert share < 0.2


def test_items_that_occur_twice_count_as_their_own_counterpart():
    one = np.eye(4)
    shown = np.array([0, 0, 1, 1])
    # The second model holds each item's other caption.
    share, chance = nearest_is_own([one, one[[1, 0, 3, 2]]], np.zeros(4, dtype=int), shown)
    assert (share, chance) == (1.0, 0.5)
    assert nearest_is_own([one, one[[1, 0, 3, 2]]], np.zeros(4, dtype=int), np.arange(4))[0] == 0.0
