"""The task matching: which pairs, what is known of them, and how an answer is scored."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.activations.store import open_cache
from semrsm_bench.bench.optimum import Optimum, find_optimum
from semrsm_bench.bench.plan import settled
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Result
from semrsm_bench.solvers import MatchingProblem, matching_value, random_value, solve
from semrsm_bench.tasks.matching import MatchingOptions, MatchingTask, pairs_at
from semrsm_bench.tasks.sources import choose_pairs
from tests.bench_data import small_cache
from tests.test_optimum import here

TASK = MatchingTask()
EXACT = Declaration("solver", "exact-one", category="exact")
ROUGH = Declaration("solver", "rough-one", category="approximate", facts={"matrix_free": True})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return small_cache(tmp_path_factory.mktemp("data"), images=5, sizes=(16, 36))


def cases_of(cache, profile="quick", **options):
    return list(TASK.cases(settled(MatchingOptions(**{"data": cache, **options}), TASK.profiles[profile])))


# Pairs.


@given(st.integers(2, 25), st.integers(0, 400), st.integers(0, 3))
def test_every_beginning_of_the_pairs_uses_all_images_alike(images, count, seed):
    pairs = choose_pairs(images, count, seed)
    assert len(pairs) == len(set(pairs)) == min(count, images * (images - 1) // 2)
    assert all(0 <= i < j < images for i, j in pairs)
    assert pairs == choose_pairs(images, count, seed) == choose_pairs(images, 400, seed)[:count]
    used = Counter(dict.fromkeys(range(images), 0))
    used.update(itertools.chain.from_iterable(pairs))
    # An odd number of images leaves one out in each round, which is made up for in later ones.
    assert max(used.values()) - min(used.values()) <= 1 + images % 2
    with pytest.raises(ValueError, match="two images"):
        choose_pairs(1, count)


def test_the_profiles_have_the_pairs_they_promise():
    pairs = {name: profile.settings["pairs"] for name, profile in TASK.profiles.items()}
    # With 12 pairs each of the 24 images that ship is in one.
    assert [pairs_at(pairs["quick"], s) for s in (64, 256, 1024, 4096)] == [12, 12, 12, 3]
    assert sorted(i for pair in choose_pairs(24, 12) for i in pair) == list(range(24))
    assert pairs_at(pairs["paper"], 4096) == 1000
    assert pairs_at(pairs["large"], 10**6) == pairs_at(pairs["large"], 65536)


@given(st.dictionaries(st.integers(1, 50), st.integers(0, 9)), st.integers(0, 9) | st.none(), st.integers(1, 60))
def test_the_smallest_size_that_reaches_says_how_many_pairs(limits, rest, size):
    pairs = {str(k): v for k, v in limits.items()} | ({} if rest is None else {"": rest})
    reaching = [k for k in limits if size <= k]
    assert pairs_at(pairs, size) == (limits[min(reaching)] if reaching else rest or 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pairs": {"x": 3}},
        {"pairs": {"": 0}},
        {"pairs": {}, "sample": {"x": 3}},
        {"centring": ("middle",)},
        {"smallest": -1},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MatchingOptions(**wrong)


# Cases.


def test_cases_come_by_size_with_the_ids_of_their_images(cache):
    assert {case.cell["centring"] for case in cases_of(cache, pairs=4)} == {"none"}
    cases = cases_of(cache, pairs=4, centring=("none", "channel"))
    assert [case.size for case in cases] == [16] * 8 + [36] * 8
    assert len({case.name for case in cases}) == len(cases)
    opened = open_cache(cache)
    for case in cases:
        (pair,), images = case.units["pair"], case.units["image"]
        assert pair == "-".join(images)
        assert case.name == f"tiny/{case.cell['layer']}/{case.cell['centring']}/{pair}"
        arrays = case.inputs()
        for name, image in zip("xy", images):
            expected = opened.positions(case.cell["layer"], int(image), case.cell["centring"])
            np.testing.assert_array_equal(arrays[name], expected)
            assert arrays[name].shape == (case.size, case.channels) == (case.cell["size"], case.cell["channels"])
        assert case.data_sha256 == opened.sha256
    # An image of several pairs is sent once.
    assert len({id(a) for case in cases for a in case.inputs().values()}) < 2 * len(cases)


def test_a_folder_of_caches_is_measured_whole(tmp_path):
    small_cache(tmp_path, name="one", sizes=(16,))
    small_cache(tmp_path, name="two", sizes=(9,))
    cases = cases_of(tmp_path, centring=("none",), pairs=1)
    assert [(case.cell["model"], case.size) for case in cases] == [("two", 9), ("one", 16)]


def test_the_large_profile_finds_the_caches_of_large_images(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SEMRSM_BENCH_DATA", raising=False)
    with pytest.raises(ValueError, match="semrsm-bench data large"):
        cases_of(None, "large", layers=("layer4",))
    small_cache(tmp_path / "semrsm_bench" / "large", images=3, sizes=(16, 4225))
    cases = cases_of(None, "large", centring=("none",))
    assert [(case.cell["model"], case.size) for case in cases] == [("tiny", 4225)] * 3
    # What is named counts more.
    for data in (cache, None):
        monkeypatch.setenv("SEMRSM_BENCH_DATA", str(cache))
        with pytest.raises(ValueError, match="needed are layers of at least 4097 positions, and tiny has none"):
            cases_of(data, "large")


# Scores.


@pytest.fixture(scope="module")
def known(cache):
    """A case with its arrays and truth."""
    case = cases_of(cache, centring=("none",), pairs=1)[1]
    arrays = case.inputs()
    return case, arrays, TASK.truth(case, arrays, lambda problem: find_optimum(problem, here))


def score(known, perms, declared=ROUGH, truth=None):
    case, arrays, found = known
    return TASK.score(case, arrays, Answer({"perms": np.asarray(perms)}), truth or found, declared)


@given(st.lists(st.permutations(range(36)), min_size=1, max_size=4))
def test_every_answer_counts_alike(known, perms):
    problem, k_rand, optimum = known[2]
    scored = score(known, perms)
    k = np.mean([matching_value(problem, p) for p in perms])
    assert scored.status == "ok"
    assert scored.raw["k"] == pytest.approx(k, rel=1e-12)
    assert scored.scores["c"] == pytest.approx((k - k_rand) / (optimum.k_opt - k_rand))
    assert scored.scores["quality"] == pytest.approx(k / optimum.k_opt)
    assert scored.raw["answers"] == len({tuple(p) for p in perms})
    assert scored.raw["matrix_free"] is True


@pytest.mark.parametrize(
    "perms",
    [np.arange(36), np.arange(35)[None], np.zeros((1, 36, 2)), np.arange(36.0)[None]]
    + [
        np.insert(np.tile(np.arange(36), (2, 1)), at, bad, axis=0)
        for at in range(3)
        for bad in (np.zeros(36, int), np.arange(36) - 1, np.full(36, 2**62))
    ],
    ids=str,
)
def test_one_answer_that_is_no_permutation_spoils_the_row(known, perms):
    scored = score(known, perms)
    assert (scored.status, dict(scored.scores)) == ("invalid", {})
    assert "permutation" in scored.message or "integers" in scored.message or "shape" in scored.message


def test_an_exact_solver_keeps_the_precision_that_it_declares_in_every_call(known):
    """Swapping any two positions of the best matching costs something; a promise of less is broken, one of more is not."""
    problem, k_rand, optimum = known[2]
    best = solve(problem, "scipy")
    swapped = []
    for i, j in itertools.combinations(range(36), 2):
        swapped.append(best.copy())
        swapped[-1][[i, j]] = best[[j, i]]
    nearly = max(swapped, key=lambda perm: matching_value(problem, perm))
    loss = (optimum.k_opt - matching_value(problem, nearly)) / (optimum.k_opt - k_rand)
    assert 1e-5 < loss < 0.1
    assert score(known, [best, best], EXACT).status == "ok"
    assert score(known, [best, nearly], ROUGH).status == "ok"
    for factor, status in ((0.5, "wrong"), (1.0, "ok")):
        scored = score(known, [best, nearly], dataclasses.replace(EXACT, facts={"precision": factor * loss}))
        assert scored.status == status, scored.message
    wrong = score(known, [best, nearly], EXACT)
    assert (wrong.status, dict(wrong.scores)) == ("wrong", {})
    assert "registered as exact" in wrong.message


def test_entries_of_a_matrix_have_no_rounding_to_hide_a_loss_in():
    """Of whole numbers from 1 to 100 an exact solver misses nothing, not even 1 of some 1,000."""
    problem = MatchingProblem.from_costs(np.random.default_rng(0).integers(1, 101, (1024, 1024), dtype=np.int16))
    best = solve(problem, "exact-auction")
    matched = problem.affinity[:, best].astype(np.float64)
    losses = np.diag(matched)[:, None] + np.diag(matched) - matched - matched.T
    i, j = np.argwhere(losses == 1)[0]
    worse = best.copy()
    worse[[i, j]] = best[[j, i]]
    known = None, {}, (problem, random_value(problem), find_optimum(problem, here))
    for perm, status in ((best, "ok"), (worse, "wrong")):
        assert score(known, [perm], dataclasses.replace(EXACT, facts={"precision": 1e-5})).status == status


def test_a_value_above_what_is_certified_is_an_alarm_and_a_bound_alone_is_no_score(known):
    case, arrays, (problem, k_rand, optimum) = known
    assert case.channels == problem.channels
    assert k_rand == random_value(MatchingProblem(arrays["x"], arrays["y"]))
    best = solve(problem, "scipy")
    assert optimum.k_opt == matching_value(problem, best)
    low = k_rand + 0.9 * (optimum.k_opt - k_rand)
    for declared in (EXACT, ROUGH):
        scored = score(known, [best], declared, (problem, k_rand, Optimum(low, low, 0.0, "scipy")))
        assert (scored.status, dict(scored.scores)) == ("invalid", {})
        assert "above what is certified" in scored.message
    scored = score(known, [best], ROUGH, (problem, k_rand, Optimum(None, optimum.k_upper + 1, None, "")))
    assert (scored.status, scored.scores) == ("ok", {"c": None, "quality": None})
    assert scored.raw["k"] <= scored.raw["k_upper"]


# Over many pairs.


def results(values):
    units = [{"pair": (f"{2 * i}-{2 * i + 1}",), "image": (str(2 * i), str(2 * i + 1))} for i in range(len(values))]
    return [Result(u["pair"][0], {}, u, {"c": v}) for u, v in zip(units, values)]


@given(st.lists(st.floats(-2, 1), min_size=1, max_size=8), st.integers(0, 3))
def test_scores_are_means_over_the_pairs_of_drawn_images(values, seed):
    rows, images = results(values), 2 * len(values)
    drawn = np.random.default_rng(seed).integers(images, size=(20, images))
    draws = np.array([np.bincount(d, minlength=images) for d in drawn], dtype=float)
    found = TASK.aggregate(rows, draws, list(map(str, range(images))))
    for mean, images in zip(found["c"], drawn.tolist(), strict=True):
        met = [v for i, v in enumerate(values) for _ in range(images.count(2 * i) * images.count(2 * i + 1))]
        assert mean == (pytest.approx(np.mean(met), abs=1e-12) if met else pytest.approx(np.nan, nan_ok=True))


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_one_pair_without_a_score_leaves_the_mean_open(unknown):
    rows = results([0.5, unknown, 0.7])
    assert np.isnan(TASK.aggregate(rows, np.ones((2, 6)), list(map(str, range(6))))["c"]).all()


@pytest.mark.parametrize(("centre", "status"), [(0.0, "ok"), (100.0, "wrong")])
def test_nothing_is_exact_where_affinities_are_too_coarse_to_say(centre, status):
    """With an offset, float32 loses more than any solver may promise; what is right in spite of it is."""
    rng = np.random.default_rng(0)
    x, y = (centre + rng.standard_normal((36, 6)) * 0.02 for _ in range(2))
    problem = MatchingProblem(*(side.astype(np.float32) for side in (x, y)))
    exact, rough = solve(problem, "exact-auction"), solve(problem, "scipy")
    known = None, {}, (problem, random_value(problem), find_optimum(problem, here))
    assert score(known, [exact], EXACT).status == "ok"
    assert score(known, [np.arange(36)], EXACT).status == "wrong"
    assert score(known, [rough], EXACT).status == status
    said = "affinities in float32 are too coarse for these vectors: subtract means (--centring)"
    assert (said in score(known, [np.arange(36)], EXACT).message) == (status == "wrong")
