"""The tasks exchange, noise and function: planted networks, what is left unchanged, the probe, cells, wrong use."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Case
from semrsm_bench.metrics import linear_cka
from semrsm_bench.tasks.function import probe_accuracy
from semrsm_bench.tasks.graded import order
from semrsm_bench.tasks.registry import get_task
from tests.observing import met, options, scored
from tests.representations import BASELINES

N, CLASSES, SEEDS = 120, 6, 3
NAMES = ("exchange", "noise", "function")
LAYERS = ("early", "late")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Networks that all see the same through a rotation of their own, with noise.

    The class is the largest of the first components. They are normal as all others: the form of the cloud does not tell them.
    """
    rng = np.random.default_rng(0)
    shared = {layer: rng.standard_normal((N, 24)) for layer in LAYERS}
    shared["late"][:, :CLASSES] = shared["early"][:, :CLASSES]
    arrays = {"labels": shared["early"][:, :CLASSES].argmax(axis=1)}
    for (layer, z), seed in itertools.product(shared.items(), range(SEEDS)):
        seen = z * np.geomspace(3, 0.3, 24) @ np.linalg.qr(rng.standard_normal((24, 24)))[0]
        arrays[f"a:{seed}/{layer}"] = seen + 0.5 * rng.standard_normal(seen.shape) + 0.5
    path = tmp_path_factory.mktemp("planted") / "planted.npz"
    np.savez(path, **arrays)
    return path


def cases(name, path, **given):
    task = get_task(name)
    return list(task.cases(options(task, features=(path,), **given)))


def means(name, path, methods, score="spearman", **given):
    """The score of each metric, mean over the rows of each cell."""
    task, found = get_task(name), {}
    for method, case, one in met(task, methods, options(task, features=(path,), **given)):
        assert one.status == "ok", one.message
        found.setdefault((method, case.cell["networks"]), []).append(one.scores[score])
    return {key: np.mean(values) for key, values in found.items()}


def parts(case, side):
    """Representations of a side as the worker gets them."""
    ends = np.cumsum([0, *case.settled()[f"widths_{side}"]])
    return [case.inputs()[side][:, a:b] for a, b in itertools.pairwise(ends)]


REAL = ("linear_cka", "mutual_knn", "procrustes_angular")


@pytest.mark.parametrize("name", NAMES)
def test_metrics_have_the_planted_order_and_what_ignores_the_stimuli_has_none(name, planted):
    # Two partners give every network all others: 6 rows of 2 layers.
    given = {"partners": 2, "depths": 2, "steps": 8}
    found = means(name, planted, (*REAL, *BASELINES), **given)
    forms = ("", " equalised") if name == "noise" else ("",)
    assert {cell for _, cell in found} == {f"a{form}{word}" for form in forms for word in ("", " permuted")}
    contest = "a equalised" if name == "noise" else "a"
    for method in REAL:
        assert found[method, "a"] > 0.6
        assert found[method, contest] > 0.6
    for method in BASELINES:
        # Exchanges leave these exactly as they are.
        assert abs(found[method, contest]) <= (0 if name == "exchange" else 0.35)
    assert found["width", contest] == found["spectrum", contest] == 0


@pytest.mark.parametrize("name", NAMES)
def test_reordered_stimuli_leave_metrics_nothing_to_see(name, planted):
    """Debiased CKA, which no spectrum moves, over four seeds of the draws."""
    given = {"partners": 2, "depths": 2, "steps": 12}
    found = [means(name, planted, ("linear_cka_debiased",), seed=seed, **given) for seed in range(4)]
    assert abs(np.mean([f["linear_cka_debiased", "a permuted"] for f in found])) < 0.3
    assert np.mean([f["linear_cka_debiased", "a"] for f in found]) > 0.7


def test_noise_shows_in_the_spectrum_unless_it_is_put_back(planted):
    found = means("noise", planted, ("spectrum", "procrustes_angular"), steps=8, depths=2, partners=2)
    assert found["spectrum", "a"] > 0.4
    assert found["spectrum", "a permuted"] > 0.4
    assert found["spectrum", "a equalised"] == 0
    # Reordered stimuli agree by chance alone, yet the distance falls as noise makes the spectrum flatter.
    assert found["procrustes_angular", "a permuted"] < -0.3
    assert abs(found["procrustes_angular", "a equalised permuted"]) < 0.3


def test_exchanges_are_of_so_many_stimuli_as_the_truth_says(planted):
    case = next(iter(cases("exchange", planted, steps=5, depths=2, partners=1)))
    truth = case.known()
    assert truth.tolist() == [[-0.0, -6.0, -12.0, -18.0, -24.0]] * 2
    for layer, moved in enumerate(truth):
        ys = parts(case, "y")[5 * layer : 5 * layer + 5]
        assert [-(y != ys[0]).any(axis=1).sum() for y in ys] == moved.tolist()
        for y in ys:
            assert {*map(bytes, y)} == {*map(bytes, ys[0])}
    with np.load(planted) as content:
        np.testing.assert_array_equal(parts(case, "x")[0], content["a:0/early"].astype(np.float32))
        np.testing.assert_array_equal(parts(case, "y")[0], content["a:1/early"].astype(np.float32))


def test_noise_is_of_the_strength_that_the_truth_says(planted):
    plain, equal = (
        next(c for c in cases("noise", planted, steps=6, depths=2, partners=1) if c.cell["networks"] == cell)
        for cell in ("a", "a equalised")
    )
    assert plain.known()[0] == pytest.approx([0, -0.02, -0.02 * 10**0.25, -0.02 * 10**0.5, -0.02 * 10**0.75, -0.2])
    ys = parts(plain, "y")[:6]
    rms = np.sqrt(np.mean((ys[0] - ys[0].mean(axis=0)) ** 2))
    assert [-np.std(y - ys[0]) / rms for y in ys] == pytest.approx(plain.known()[0].tolist(), rel=0.05)
    for y, same in zip(ys, parts(equal, "y")[:6]):
        # The spectrum of the start, in the directions of the noisy layer.
        u, _, vt = np.linalg.svd(y.astype(float) - y.mean(axis=0), full_matrices=False)
        start = np.linalg.svd(ys[0].astype(float) - ys[0].mean(axis=0), compute_uv=False)
        np.testing.assert_allclose(same - same.mean(axis=0), u * start @ vt, atol=1e-4)
        np.testing.assert_allclose(same.mean(axis=0), ys[0].mean(axis=0), atol=1e-4)


def test_subsets_have_one_spectrum_and_come_from_ever_more_components(planted):
    case = next(iter(cases("function", planted, steps=4, depths=2, partners=1)))
    sides = parts(case, "x") + parts(case, "y")
    spectra = [np.linalg.svd(z, compute_uv=False) for z in sides[:1] + sides[2:6]]
    np.testing.assert_allclose(spectra, [spectra[0]] * 5, rtol=1e-4)
    assert len(spectra[0]) == 12  # half of the 24 units
    assert np.sum(spectra[0] ** 2) == pytest.approx(N)
    with np.load(planted) as content:
        z, labels = content["a:1/early"].astype(np.float32), content["labels"]
    u = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)[0]
    shares = []
    for y, among in zip(parts(case, "y")[:4], (12, 16, 20, 24)):
        basis = np.linalg.qr(y)[0]
        used = np.square(u.T @ basis).sum(axis=1)
        np.testing.assert_allclose(used[used > 0.5], np.ones(12), atol=1e-3)
        assert np.flatnonzero(used > 0.5).max() < among
        shares.append(used[:12].sum())
    assert shares[0] == pytest.approx(12, abs=1e-3)
    assert shares[-1] < 10
    # The truth is the accuracy of a probe on what the metric gets.
    expected = [probe_accuracy(y, labels) for y in parts(case, "y")]
    np.testing.assert_allclose(case.known().ravel(), expected, atol=0.01)


def nearest_by_loop(z, labels):
    """Least squares on indicators by the normal equations, two halves, every other stimulus of a class."""
    kept = [i for i, label in enumerate(labels) if label >= 0 and list(labels).count(label) > 1]
    seen, half = {}, {}
    for i in kept:
        half[i] = seen.setdefault(labels[i], 0) % 2
        seen[labels[i]] += 1
    classes, right = sorted(seen), 0
    for trained in (0, 1):
        train = [i for i in kept if half[i] == trained]
        A = np.array([[*z[i], 1.0] for i in train])
        targets = np.array([[float(labels[i] == c) for c in classes] for i in train])
        weights = np.linalg.solve(A.T @ A, A.T @ targets)
        for i in kept:
            if half[i] != trained:
                right += labels[i] == classes[int(np.argmax(np.array([*z[i], 1.0]) @ weights))]
    return right / len(kept)


@given(st.integers(0, 1000))
def test_probe_against_the_normal_equations(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 3, 40)
    z = rng.standard_normal((40, 3)) + np.eye(3)[labels] * (labels >= 0)[:, None]
    assert probe_accuracy(z, labels) == pytest.approx(nearest_by_loop(z, labels))


def test_a_probe_knows_separate_classes_and_does_not_care_for_an_invertible_map():
    rng = np.random.default_rng(0)
    labels = np.repeat([3, 5, 9], 10)
    z = np.eye(3)[np.repeat([0, 1, 2], 10)] + 0.01 * rng.standard_normal((30, 3))
    assert probe_accuracy(z, labels) == 1.0
    noisy = z + rng.standard_normal(z.shape)
    assert probe_accuracy(noisy @ rng.standard_normal((3, 3)) + 7, labels) == probe_accuracy(noisy, labels)


@pytest.mark.parametrize("labels", [None, np.zeros(N, dtype=int), np.arange(N)])
def test_without_labels_of_classes_there_is_no_function(planted, tmp_path, labels):
    with np.load(planted) as content:
        arrays = {name: content[name] for name in content.files if name != "labels"}
    np.savez(tmp_path / "other.npz", **arrays, **({} if labels is None else {"labels": labels}))
    given = {"steps": 3, "depths": 1, "partners": 1}
    assert all("at least two classes" in case.skip for case in cases("function", tmp_path / "other.npz", **given))
    assert not any(case.skip for case in cases("noise", tmp_path / "other.npz", **given))


# Scores of one case


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=8))
def test_the_order_is_spearmans_and_0_where_values_are_constant(pairs):
    a, b = np.array(pairs, dtype=float).T
    expected = np.nan if np.ptp(b) == 0 else 0.0 if np.ptp(a) == 0 else spearmanr(a, b).statistic
    assert order(a, b) == pytest.approx(expected, nan_ok=True)


def test_differences_below_those_of_float32_are_ties():
    truth = np.arange(4.0)
    assert order(0.5 + 1e-8 * truth, truth) == 0.0
    assert order(0.5 + 1e-5 * truth, truth) == 1.0
    assert order(np.zeros(4), truth) == 0.0


def judged(values, truth, back=None, best="max", name="noise"):
    facts = {"range": [None, None], "best": best, "symmetric": back is None}
    arrays = {
        "values": np.atleast_2d(np.array(values, float)),
        "values_yx": np.array(values if back is None else back, float),
    }
    case = Case("a/b", {}, dict, known=lambda: np.array(truth, float))
    return get_task(name).score(case, {}, Answer(arrays), None, Declaration("metric", "m", facts=facts)).scores


def test_the_score_is_the_mean_over_layers_in_the_direction_of_agreement():
    truth = [[0, -1, -2], [0, -1, -2]]
    assert judged([3, 2, 1, 1, 2, 3], truth)["spearman"] == pytest.approx(0)
    assert judged([3, 2, 1, 9, 5, 0], truth)["spearman"] == pytest.approx(1)
    found = judged([1, 2, 3, 0, 5, 9], truth, best="min")
    assert (found["spearman"], found["first"], found["last"]) == (pytest.approx(1), 0.5, 6.0)
    # Of both directions the mean.
    assert judged([3, 2, 1] * 2, truth, back=[0, 2, 4] * 2)["spearman"] == pytest.approx(-1)
    assert judged([3, 2, 1] * 2, truth, back=[0, 0.5, 1] * 2)["spearman"] == pytest.approx(1)


def test_an_undefined_value_is_in_the_wrong_place():
    truth = [[0, -1, -2]] * 2
    assert judged([3, 2, 1, np.nan, 2, 1], truth)["spearman"] == pytest.approx(
        (1 + spearmanr([0, 2, 1], [2, 1, 0])[0]) / 2
    )
    found = judged([3, 2, 1, np.nan, np.nan, np.nan], truth)
    assert (found["spearman"], found["undefined"]) == (pytest.approx(0), 0.5)


def test_means_that_are_0_up_to_rounding_are_no_order_in_function():
    values, truth = [1e-8, 2e-8, 3e-8], [[3, 2, 1]]
    assert judged(values, truth, best="min", name="function")["spearman"] == 0
    assert judged(values, truth, best="min", name="noise")["spearman"] == 1


# Cells


@pytest.mark.parametrize("name", NAMES)
def test_each_network_meets_the_next_ones_and_units_are_networks(name, planted):
    found = [c for c in cases(name, planted, steps=3, depths=1, partners=1) if c.cell["networks"] == "a"]
    assert [case.units["network"] for case in found] == [("a:0", "a:1"), ("a:1", "a:2"), ("a:2", "a:0")]
    every = cases(name, planted, steps=3, depths=2, partners=9)
    plain = [case.units["network"] for case in every if case.cell["networks"] == "a"]
    assert sorted(plain) == sorted(itertools.permutations(("a:0", "a:1", "a:2"), 2))
    assert len({case.name for case in every}) == len(every)
    assert len([case for case in every if case.cell["networks"] == "a permuted"]) == 2
    for case in every[:1]:
        assert case.settled()["pairs"] == [[0, 0], [0, 1], [0, 2], [1, 3], [1, 4], [1, 5]]
        assert {*case.settled()["lacks"]} == {"zx", "zy"}


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_repeats_the_draws_and_another_changes_them(name, planted):
    given = {"steps": 4, "depths": 2, "partners": 1}
    one, again, other = (next(iter(cases(name, planted, seed=seed, **given))) for seed in (0, 0, 1))
    assert one.data_sha256 == again.data_sha256 != other.data_sha256
    np.testing.assert_array_equal(one.inputs()["y"], again.inputs()["y"])
    assert (one.inputs()["y"] != other.inputs()["y"]).any()
    fewer = next(iter(cases(name, planted, **{**given, "steps": 3})))
    assert (fewer.name, fewer.data_sha256 != one.data_sha256) == (one.name, True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": 2}, "steps: 2"),
        ({"partners": 0}, "partners: 0"),
        ({"layers": ("deep",)}, "no layer 'deep'"),
        ({"networks": 1}, "two networks of a group, and no group has two: there is "),
    ],
)
def test_wrong_use_is_refused(name, given, said, planted):
    with pytest.raises(ValueError, match=said):
        cases(name, planted, **given)


def test_values_are_those_of_the_metric(planted):
    given = {"steps": 4, "depths": 2, "partners": 1}
    case = cases("noise", planted, **given)[0]
    xs, ys = parts(case, "x"), parts(case, "y")
    expected = [linear_cka(xs[i], ys[j]) for i, j in case.settled()["pairs"]]
    assert scored(get_task("noise"), case, "linear_cka").raw["values"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_networks_on_pictures_are_compared_within_an_architecture(name, nets):
    task, given = get_task(name), {"layers": ("layer3", "layer4"), "size": 16, "count": 24}
    found = list(task.cases(options(task, model=tuple(nets.values()), **given)))
    pairs = {case.units["network"] for case in found}
    assert len(pairs) == 2
    assert {network.rpartition(":")[2] for pair in pairs for network in pair} == {"a", "b"}
    assert found[0].inputs()["y"].shape[0] == 24
