"""The task instances: planted truths, folds, held-out alignments, intervals, paired files, networks."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from semrsm_bench.core.task import Answer
from semrsm_bench.metrics import Barycenter, instance_similarity
from semrsm_bench.metrics.instances import KINDS, distance_from_mean, get_instance
from semrsm_bench.metrics.ranks import correlation, partial_correlation, weighted_ranks
from semrsm_bench.tasks import stimuli as stimuli_module
from semrsm_bench.tasks.held_out import assign_folds, disjoint_halves, held_out, nearest_is_own, resampling_units
from semrsm_bench.tasks.instances import Instances
from semrsm_bench.tasks.stimuli import Stimuli, output_facts, read_paired
from tests.image_files import image_zip
from tests.observing import met, options, result, scored
from tests.representations import centred, rotation

TASK = Instances()


# Planted truths


def plant(noise=400, count=10, units=32, group="orthogonal", seed=0):
    """Models that share a Gaussian latent, each through another map, and the noise level of each stimulus (or of so many)."""
    rng = np.random.default_rng(seed)
    noise = rng.permutation(np.geomspace(0.05, 2.0, noise)) if np.ndim(noise) == 0 else noise
    latent = rng.standard_normal((len(noise), units))
    models = []
    for _ in range(count):
        seen = latent + noise[:, None] * rng.standard_normal(latent.shape)
        seen = seen @ rotation(rng, units) if group == "orthogonal" else seen[:, rng.permutation(units)]
        models.append(seen + rng.standard_normal(units))
    return models, noise


def planted_networks(count=240, networks=4):
    """Networks that disagree the more, the brighter a picture is, in what they see late and in what they say."""
    rng = np.random.default_rng(0)
    brightness = rng.integers(20, 235, count)
    pixels = np.broadcast_to(brightness[:, None, None, None], (count, 8, 8, 3)).astype(np.uint8)
    strength = 2 * (brightness / 255) ** 2
    late, _ = plant(strength, networks, 10)
    logits = rng.standard_normal((count, 5)) + strength[:, None] * rng.standard_normal((networks, count, 5))
    outputs = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    seen = ({"early": rng.standard_normal((count, 6)), "late": model}.__getitem__ for model in late)
    ids = [f"p{i}" for i in range(count)]
    models = {f"n{k}": of_layer for k, of_layer in enumerate(seen)}
    return Stimuli(models, ["early", "late"], ids, ids, pixels, lambda: output_facts(outputs), "00"), brightness


def cases_of(stimuli, **given):
    """All cases by layer and part, with these stimuli in place of networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stimuli, "of_networks", classmethod(lambda cls, options: stimuli))
        return {(case.cell["layer"], case.known[0]): case for case in TASK.cases(options(TASK, **given))}


def rows(stimuli, *methods, **given):
    """Results of every method in every layer."""
    found = {}
    for (layer, _), case in cases_of(stimuli, **given).items():
        for method in methods:
            here = scored(TASK, case, method)
            assert here.status == "ok", here.message
            found.setdefault((method, layer), []).append(result(case, here))
    return found


def aggregated(results, draws=1, seed=0):
    """Scores over all groups, or an array of them over draws of groups."""
    units = results[0].units["group"]
    counts = np.random.default_rng(seed).multinomial(len(units), np.full(len(units), 1 / len(units)), size=draws)
    counts[0] = 1
    found = TASK.aggregate(results, counts.astype(float), list(units))
    return found if draws > 1 else {name: values[0] for name, values in found.items()}


def test_what_is_planted_comes_out():
    stimuli, brightness = planted_networks()
    found = rows(stimuli, "pairwise_cosine", "dispersion", "brightness", "edge_density")
    late, dispersion, bright, edges = (
        aggregated(of_layer) for (_, layer), of_layer in found.items() if layer == "late"
    )
    early = aggregated(found["pairwise_cosine", "early"])
    # What predicts disagreement: brighter is less agreement, and large values of a score with best="max" mean more.
    assert late["divergence"] > 0.6
    assert dispersion["divergence"] > 0.5
    assert abs(early["divergence"]) < 0.25
    assert bright["divergence"] < -0.6
    assert math.isnan(edges["divergence"])
    assert late["same_top"] > 0.2 > late["entropy"]
    # Scores repeat across networks, and beat what reordering gives.
    assert late["reliability"] > 0.4
    assert late["beyond"] > 0.7
    assert late["mean"] > 0.3 > 0.1 > abs(late["reordered"])
    assert dispersion["mean"] < dispersion["reordered"] - 0.3
    assert abs(early["mean"] - early["reordered"]) < 0.1
    assert early["beyond"] < 0.15
    assert abs(early["reliability"]) < 0.3
    # A row holds the same figures.
    main = found["pairwise_cosine", "late"][0]
    assert main.raw["part"] == "all"
    assert main.raw["with"]["brightness"] == pytest.approx(spearmanr(main.arrays["scores"], brightness).statistic)
    assert main.raw["with"]["divergence"] == pytest.approx(-late["divergence"])
    for name in ("divergence", "at_equal_length", "mean"):
        assert main.scores[name] == pytest.approx(late[name])
    assert main.arrays["ids"].tolist() == list(stimuli.ids)


def test_three_networks_have_no_halves_and_networks_without_outputs_no_divergence():
    stimuli, _ = planted_networks(networks=3)
    silent = Stimuli(stimuli.models, ["late"], stimuli.ids, stimuli.groups, stimuli.pixels, dict, "00")
    (results,) = rows(silent, "pairwise_cosine").values()
    found = aggregated(results)
    assert {"reliability", "divergence", "entropy"}.isdisjoint(found)
    assert results[0].scores == {"mean": pytest.approx(found["mean"])}
    # Without the row of all networks there is nothing to resample.
    assert TASK.aggregate(results[1:], np.ones((1, 1)), ["0"]) == {}


def test_scores_of_another_shape_or_not_finite_are_invalid():
    case = cases_of(planted_networks(40)[0])["late", "all"]
    for scores, said in ((np.zeros(39), "shape"), (np.full(40, np.nan), "40 of its scores are not finite")):
        found = TASK.score(case, case.inputs(), Answer({"scores": scores}), {}, get_instance("dispersion").declare())
        assert (found.status, said in found.message) == ("invalid", True)


def test_every_reordering_is_another_one():
    cases = cases_of(planted_networks(40)[0], reorderings=4)
    fold = cases["late", "all"].known[2]
    blocks = np.split(cases["late", "reordered"].inputs()["aligned"], 4, axis=1)
    for block, other in itertools.combinations([cases["late", "all"].inputs()["aligned"], *blocks], 2):
        for model, again in zip(block, other):
            assert (model != again).any()
            for name in np.unique(fold):
                np.testing.assert_array_equal(*(np.sort(side[fold == name], axis=0) for side in (model, again)))


@pytest.mark.parametrize("group", ["orthogonal", "permutation"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_kind_recovers_the_order_of_planted_noise(group, seed):
    models, noise = plant(group=group, seed=seed)
    aligned = held_out(models, assign_folds(np.arange(400), 2), group)
    for kind in KINDS:
        sign = 1 if kind == "dispersion" else -1
        assert spearmanr(noise, sign * instance_similarity(aligned, kind)).statistic >= 0.9
    # Reordering the units cannot bring rotated models together, so the check above can fail.
    lost = held_out(plant(seed=seed)[0], assign_folds(np.arange(400), 2), "permutation")
    assert spearmanr(noise, -instance_similarity(lost)).statistic < 0.8


# Folds and held-out alignments


@given(
    groups=st.lists(st.integers(0, 12), min_size=8, max_size=60), folds=st.integers(1, 6), seed=st.integers(0, 2**32)
)
def test_groups_are_never_parted_and_folds_are_even(groups, folds, seed):
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(groups) < 10 or folds < 2 or len(sizes) < folds:
        with pytest.raises(ValueError, match=f"stimuli are too few|at least 2|there are {len(sizes)}"):
            assign_folds(groups, folds, seed)
        return
    fold = assign_folds(groups, folds, seed)
    filled = np.bincount(fold, minlength=folds)
    for name in range(folds):
        inside = np.unique(number[fold == name])
        assert set(np.flatnonzero(np.isin(number, inside))) == set(np.flatnonzero(fold == name))
        # Every group went to the emptiest fold, large ones first: without its smallest, a fold is no fuller than any other.
        assert filled[name] - sizes[inside].min() <= filled.min()
    np.testing.assert_array_equal(fold, assign_folds(groups, folds, seed))
    assert (assign_folds(np.arange(50), 5, seed) != assign_folds(np.arange(50), 5, seed + 1)).any()


@pytest.fixture(scope="module")
def planted():
    """Four models of 200 stimuli, and their folds."""
    return plant(200, 4, 12)[0], assign_folds(np.arange(200), 4, 3)


def test_scores_are_those_of_an_alignment_of_the_other_folds(planted):
    models, fold = planted
    test = fold == 2
    aligned = Barycenter(scale=True).fit([x[~test] for x in models]).transform([x[test] for x in models])
    np.testing.assert_allclose(instance_similarity(held_out(models, fold))[test], instance_similarity(aligned))


def test_what_a_held_out_stimulus_is_like_changes_no_other_score_of_its_fold(planted):
    models, fold = planted
    changed = [x.copy() for x in models]
    changed[1][7] = 100.0
    before, after = (instance_similarity(held_out(x, fold)) for x in (models, changed))
    same_fold = (fold == fold[7]) & (np.arange(200) != 7)
    np.testing.assert_array_equal(before[same_fold], after[same_fold])
    # The stimulus is a training one in the other folds, where it must matter: the check above can fail.
    assert (before[fold != fold[7]] != after[fold != fold[7]]).any()


def test_rotating_shifting_and_scaling_a_model_changes_nothing(planted):
    models, fold = planted
    rng = np.random.default_rng(1)
    moved = [3.0**k * x @ rotation(rng, 12) + rng.standard_normal(12) for k, x in enumerate(models)]
    first, second = held_out(models, fold), held_out(moved, fold)
    for kind in KINDS:
        np.testing.assert_allclose(instance_similarity(first, kind), instance_similarity(second, kind), rtol=1e-3)
    np.testing.assert_allclose(distance_from_mean(first), distance_from_mean(second), rtol=1e-6)


def test_lengths_are_one_on_average_and_grow_with_the_distance_from_the_mean():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((300, 5)) * rng.uniform(0.2, 3, 300)[:, None]
    length = distance_from_mean(held_out([latent, latent[:, ::-1]], assign_folds(np.arange(300), 5)))
    assert np.sqrt(np.mean(length**2)) == pytest.approx(1, abs=0.05)
    assert spearmanr(length, np.linalg.norm(centred(latent), axis=1)).statistic > 0.99


def test_more_units_than_training_stimuli_and_ragged_widths_work():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((30, 4))
    models = [(latent @ rng.standard_normal((4, d))).astype(np.float16) for d in (50, 7)]
    aligned = held_out(models, assign_folds(np.arange(30), 7))
    assert aligned.shape[:2] == (2, 30)
    assert instance_similarity(aligned).min() > 0.5


@pytest.mark.parametrize(("count", "divisions"), [(0, 0), (3, 0), (4, 3), (5, 10), (6, 10), (12, 10)])
def test_divisions_are_disjoint_complete_and_different(count, divisions):
    found = disjoint_halves(count, seed=1)
    assert len(found) == len({frozenset((frozenset(a), frozenset(b))) for a, b in found}) == divisions
    for first, second in found:
        assert sorted(first + second) == list(range(count))
        assert abs(len(first) - len(second)) <= 1
    assert found == disjoint_halves(count, seed=1)


def test_each_item_is_nearest_to_itself_in_equal_models_and_not_in_unrelated_ones():
    rng = np.random.default_rng(0)
    fold = assign_folds(np.arange(100), 5)
    same, other = rng.standard_normal((2, 100, 10))
    assert nearest_is_own(np.stack([same, 2 * same]), fold, np.arange(100)) == (1.0, pytest.approx(1 / 20))
    assert nearest_is_own(np.stack([same, other]), fold, np.arange(100))[0] < 0.2
    one = np.eye(4)
    captions = np.stack([one, one[[1, 0, 3, 2]]]), np.zeros(4, dtype=int)
    # The second model holds each item's other caption.
    assert nearest_is_own(*captions, np.array([0, 0, 1, 1])) == (1.0, 0.5)
    assert nearest_is_own(*captions, np.arange(4))[0] == 0.0


def test_outputs_of_networks_that_agree_and_of_those_that_do_not():
    one, other = np.array([[1.0, 0, 0], [0, 1, 0]]), np.array([[1.0, 0, 0], [0, 0, 1]])
    found = output_facts([one, other])
    np.testing.assert_allclose(found["entropy"], [0, math.log(2)], atol=1e-12)
    np.testing.assert_allclose(found["divergence"], [0, math.log(2)], atol=1e-12)
    np.testing.assert_array_equal(found["same_top"], [1, 0])
    np.testing.assert_array_equal(found["confidence"], [1, 1])
    for outputs in ([None, None], [np.eye(3), None], [np.eye(3), np.full((3, 4), 0.25)]):
        assert output_facts(outputs) == {}


# Correlations in many samples


@given(seed=st.integers(0, 2**32), n=st.integers(3, 30))
def test_correlations_of_weighted_samples_are_those_of_the_samples_themselves(seed, n):
    rng = np.random.default_rng(seed)
    a, b, c = rng.integers(0, 6, (3, n)).astype(float)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=4)
    weights = draws.astype(float)
    ranks = [weighted_ranks(v, weights) for v in (a, b, c)]
    plain, partial = correlation(*ranks[:2], weights), partial_correlation(*ranks, weights)
    for k, drawn in enumerate(draws):
        sample = [np.repeat(v, drawn) for v in (a, b, c)]
        if min(np.ptp(v) for v in sample) == 0:
            assert np.isnan(plain[k]) == (min(np.ptp(v) for v in sample[:2]) == 0)
            continue
        ab, ac, bc = (spearmanr(*pair).statistic for pair in (sample[:2], sample[::2], sample[1:]))
        assert plain[k] == pytest.approx(ab)
        if (1 - ac**2) * (1 - bc**2) > 1e-9:
            assert partial[k] == pytest.approx((ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2)))


def test_intervals_resample_groups_and_many_groups_are_put_together():
    names, unit = resampling_units(["b", "a", "b", "c"])
    assert (names, unit.tolist()) == (("0", "1", "2"), [1, 0, 1, 2])
    names, unit = resampling_units(np.arange(1000), seed=1)
    assert len(names) == 100
    assert np.bincount(unit).tolist() == [10] * 100
    assert (unit != resampling_units(np.arange(1000), seed=2)[1]).any()


def test_repeating_every_stimulus_inside_its_group_does_not_narrow_the_interval():
    stimuli, _ = planted_networks(40)
    many = {name: (lambda layer, of=of: np.repeat(of(layer), 5, axis=0)) for name, of in stimuli.models.items()}
    outputs = {name: np.repeat(values, 5) for name, values in stimuli.outputs().items()}
    ids = np.repeat(stimuli.ids, 5).tolist()
    grouped = Stimuli(many, ["late"], ids, ids, np.repeat(stimuli.pixels, 5, axis=0), lambda: outputs, "00")
    one, five = (
        aggregated(rows(of, "brightness", folds=2)["brightness", "late"], 300)["divergence"]
        for of in (stimuli, grouped)
    )
    np.testing.assert_allclose(np.quantile(five, [0.025, 0.975]), np.quantile(one, [0.025, 0.975]), atol=0.02)


# Paired files


def saved(folder, *arrays):
    paths = [folder / f"array{k}.npy" for k in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        np.save(path, array)
    return tuple(paths)


def test_paired_files_rank_items_by_the_noise_that_was_planted_and_items_of_one_name_stay_together(tmp_path):
    models, noise = plant(300, 3, 16, seed=5)
    (tmp_path / "names.txt").write_text("\n".join(f"item {i // 2}" for i in range(300)) + "\n")
    given = options(TASK, features=saved(tmp_path, *(x.astype(np.float16) for x in models)), ids=tmp_path / "names.txt")
    results = {}
    for kind, case, found in met(TASK, KINDS, given):
        results.setdefault(kind, []).append(result(case, found))
        assert case.settings == {"lacks": ["pixels"]}
        if found.raw["part"] == "all":
            sign = 1 if found.raw["best"] == "min" else -1
            assert spearmanr(found.arrays["scores"], sign * noise).statistic > 0.85
            assert found.raw["nearest"] > 0.6 > 0.1 > found.raw["nearest_by_chance"]
            shared = {"layer": "array0 + array1 + array2", "networks": 3, "stimuli": 300, "group": "orthogonal"}
            assert case.cell == shared
            assert len(case.units["group"]) == 100
            first, second = found.arrays["fold"].reshape(150, 2).T
            np.testing.assert_array_equal(first, second)
    assert aggregated(results["pairwise_cosine"])["beyond"] > 0.9


GOOD = np.random.default_rng(0).standard_normal((12, 3))


def spoiled(value, rows=5, columns=1):
    array = GOOD.copy()
    array[rows, columns] = value
    return array


# In pieces of four rows a fault of the sixth row lies in the second.
@pytest.mark.parametrize("piece", [4, 4096])
@pytest.mark.parametrize(
    ("second", "ids", "said"),
    [
        (None, None, "at least two files"),
        (GOOD[:9], None, r"their rows differ: array0.npy 12, array1.npy 9"),
        (spoiled(np.nan), None, r"array1.npy: row 5, column 1 is nan"),
        (spoiled(np.inf), None, "column 1 is inf"),
        (np.ones((12, 2)), None, "all rows are the same"),
        (GOOD[:, 0], None, r"needed is an array \(n, d\)"),
        (GOOD.astype(complex), None, "complex128"),
        (np.zeros((12, 0)), None, r"\(12, 0\) float64"),
        (GOOD, "a\nb\n", "2 lines, but the arrays have 12 rows"),
        ("text.npy", None, r"text.npy: not a readable array \(it is no \.npy file; numpy\.save writes one array\)"),
        ("names.txt", None, r"read from \.npy files"),
        ("nowhere.npy", None, "No such file"),
    ],
)
def test_files_that_are_no_paired_arrays(tmp_path, monkeypatch, piece, second, ids, said):
    monkeypatch.setattr(stimuli_module, "_ROWS", piece)
    for name in ("text.npy", "names.txt"):
        (tmp_path / name).write_text(ids or "a\n")
    arrays = [second] if isinstance(second, np.ndarray) else []
    paths = [*saved(tmp_path, GOOD, *arrays), *([tmp_path / second] if isinstance(second, str) else [])]
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        read_paired(paths, ids and tmp_path / "names.txt")
    # Rows may differ in one piece of a file alone.
    differing = np.ones((12, 2))
    differing[7] = 2
    arrays, _ = read_paired(saved(tmp_path, GOOD, differing))
    np.testing.assert_array_equal(arrays[1], differing)
    with pytest.raises(ValueError, match="two of the files have the same name"):
        Stimuli.of_files(TASK.options(features=paths[:1] * 2))


# Networks


def test_networks_on_crops_and_on_pictures_of_a_user(nets, tmp_path):
    given = {"model": (nets["a"], nets["wide"]), "layers": ("layer4",), "size": 16}
    case = next(iter(TASK.cases(options(TASK, count=44, **given))))
    arrays = case.inputs()
    assert arrays["pixels"].shape == (44, 16, 16, 3)
    assert arrays["aligned"].shape[:2] == (2, 44)
    _, stimuli, fold, _ = case.known
    assert stimuli.models["a"]("layer4").shape == (44, 32)
    for photograph in set(stimuli.groups):
        assert len(set(fold[np.array(stimuli.groups) == photograph])) == 1
    assert set(scored(TASK, case, "pairwise_cosine").raw["with"]) == {
        "divergence", "entropy", "confidence", "same_top", "length", "brightness", "contrast", "colourfulness",
        "edge_density",
    }  # fmt: skip
    archive = image_zip(tmp_path / "pictures.zip", ("dark", "light", "middle"), per_class=8, size=32)
    given |= {"images": (archive,), "count": 24}
    case = next(iter(TASK.cases(options(TASK, pooling="none", components=5, **given))))
    assert len(case.units["group"]) == 24
    assert case.known[1].models["a"]("layer4").shape == (24, 4 * 32)
    assert case.inputs()["aligned"].shape == (2, 24, 5)
    # Reordering keeps all 32 units; rotations have no more dimensions than there are stimuli to fit them on.
    permuted = next(iter(TASK.cases(options(TASK, **given | {"model": (nets["a"], nets["b"])}, group="permutation"))))
    assert permuted.inputs()["aligned"].shape == (2, 24, 32)
    with pytest.raises(ValueError, match="at least two networks, got a alone"):
        list(TASK.cases(options(TASK, model=(nets["a"],), size=16)))
