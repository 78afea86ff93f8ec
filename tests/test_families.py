"""Families of instances: the same in every run, of the shapes they promise, and with the optimum that theory gives."""

import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

import semrsm_bench as sb
from semrsm_bench.activations.folders import shipped_folder
from semrsm_bench.activations.store import open_cache
from semrsm_bench.bench.plan import settled
from semrsm_bench.tasks import synthetic
from semrsm_bench.tasks.families import FAMILIES, SAMPLE_SIZES, places_of
from semrsm_bench.tasks.matching import MatchingOptions, MatchingTask
from semrsm_bench.tasks.sources import changed_pairs
from tests.command_line import call

TASK = MatchingTask()
EXACT = [
    name for name in sb.solver_names(available_only=True) if (s := sb.get_solver(name)).kind == "exact" and s.in_process
]
MATRICES = ("uniform_small", "uniform_large", "euclidean", "two_cost", "machol_wien")
# What is there in any checkout.
SHIPPED = [name for name, family in FAMILIES.items() if not family.command or name in ("self", "resnet18-quarter")]


def problem_of(arrays):
    return sb.MatchingProblem.from_affinity(**arrays) if "affinity" in arrays else sb.MatchingProblem(**arrays)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# Problems made by code.


@pytest.mark.parametrize("name", [*MATRICES, "low_rank"])
def test_every_exact_solver_agrees_with_scipy_on_every_synthetic_family(name):
    make = getattr(synthetic, name)
    for size, seed in ((1, 0), (2, 1), (30, 2), (120, 3)):
        problem = problem_of(make(size, 4, np.random.default_rng(seed)))
        assert problem.size == size
        affinity = problem.affinity.astype(np.float64)
        k_opt = affinity[linear_sum_assignment(affinity, maximize=True)].sum()
        slack = 1e-5 * (k_opt - affinity.sum() / size) + 1e-6 * np.abs(affinity).max()
        for solver in EXACT:
            k = sb.matching_value(problem, sb.solve(problem, solver))
            assert abs(k_opt - k) <= slack, solver
        assert k_opt - slack <= sb.upper_bound(problem, effort="exact") <= k_opt + 10 * slack


@given(st.integers(1, 40), st.integers(0, 9))
@settings(max_examples=30)
def test_the_optimum_of_machol_and_wien_is_that_of_the_rearrangement_inequality(size, seed):
    problem = problem_of(synthetic.machol_wien(size, 0, np.random.default_rng(seed)))
    numbers = np.arange(1, size + 1)
    assert sb.matching_value(problem, sb.solve(problem, "exact-auction")) == -(numbers * numbers[::-1]).sum()


@given(st.integers(2, 60), st.integers(0, 9))
@settings(max_examples=30)
def test_two_costs_are_a_maximum_bipartite_matching(size, seed):
    problem = problem_of(synthetic.two_cost(size, 0, np.random.default_rng(seed)))
    cheap = int((maximum_bipartite_matching(csr_array(problem.affinity == -1)) >= 0).sum())
    least = cheap + (size - cheap) * 1_000_000
    assert -sb.matching_value(problem, sb.solve(problem, "scipy")) == least
    assert -sb.matching_value(problem, sb.solve(problem, "exact-auction")) == pytest.approx(least, rel=1e-6)


@given(st.integers(1, 60), st.integers(0, 9))
@settings(max_examples=30)
def test_one_channel_is_matched_by_sorting(size, seed):
    x, y = synthetic.low_rank(size, 1, np.random.default_rng(seed)).values()
    problem = sb.MatchingProblem(x, y)
    best = float(np.sort(x[:, 0].astype(np.float64)) @ np.sort(y[:, 0].astype(np.float64)))
    assert sb.matching_value(problem, sb.solve(problem, "exact-auction")) == pytest.approx(best, rel=1e-5, abs=1e-5)


def test_costs_are_what_they_are_said_to_be():
    small, large, points, two, products = (
        -getattr(synthetic, name)(300, 0, np.random.default_rng(1))["affinity"] for name in MATRICES
    )
    assert set(np.unique(small)) == set(range(1, 101))
    assert large.min() >= 1
    assert 900_000 < large.max() <= 1_000_000
    assert points.min() >= 0
    assert points.max() <= math.sqrt(2)
    assert points.mean() == pytest.approx(0.5214, abs=0.03)  # of two points of the unit square
    assert set(np.unique(two)) == {1, 1_000_000}
    assert (two == 1).sum(axis=1).mean() == pytest.approx(math.log(300), abs=0.6)
    assert np.array_equal(np.sort(products.ravel()), np.sort(np.multiply.outer(*[np.arange(1, 301)] * 2).ravel()))


# Maps that ship, changed by code.


def instances(name, size, count=6):
    place = next(place for place in FAMILIES[name].places() if place.size == size)
    return list(place.instances(count))


def test_a_map_matches_itself_moved_or_mirrored_perfectly():
    found = instances("self-maps", 64)
    for i, instance in enumerate(found):
        for centring in ("none", "channel"):
            problem = problem_of(instance.arrays(centring))
            norm = float((problem.x.astype(np.float64) ** 2).sum())
            k_opt = sb.matching_value(problem, sb.solve(problem, "exact-auction"))
            if i % 3 < 2:
                assert k_opt == pytest.approx(norm, rel=1e-5)
                assert sb.matching_value(problem, range(64)) < 0.99 * norm
            else:
                assert not np.array_equal(problem.x, problem.y)
                assert np.corrcoef(problem.x.ravel(), problem.y.ravel())[0, 1] == pytest.approx(0.995, abs=0.004)


def test_every_picture_meets_every_change():
    place = next(place for place in FAMILIES["self-maps"].places() if place.size == 64)
    images = len({instance.units["image"] for instance in place.instances(1000)})
    found = list(place.instances(1000))
    assert len(found) == 3 * images
    different = {i.units["image"]: [] for i in found}
    for instance in found:
        different[instance.units["image"]].append(instance.arrays("none")["y"])
    assert all(len({y.tobytes() for y in ys}) == 3 for ys in different.values())


def test_half_of_the_positions_of_a_flat_map_are_equal():
    for size in (64, 256):
        for instance in instances("flat-maps", size, 2):
            for values in instance.arrays("none").values():
                _, counts = np.unique(values, axis=0, return_counts=True)
                assert counts.max() >= size // 2


def test_pairs_of_self_are_a_picture_and_itself_after_a_change():
    cache = open_cache(min(shipped_folder("shifts").glob("*.safetensors")))
    pairs = changed_pairs(cache, 1000)
    names = [(cache.images[i], cache.images[j]) for i, j in pairs]
    assert len(set(pairs)) == len(pairs) == len(cache) - sum("#" not in image for image in cache.images)
    assert all(after.partition("#")[0] == before for before, after in names)
    assert len({after.partition("#")[2] for _, after in names[:3]}) == 3


def test_a_picture_and_itself_are_one_unit_that_intervals_resample_and_two_pictures_are_two():
    for name, units in (("self", 1), ("self-maps", 1), ("flat-maps", 2), ("plain-resnet18-w8", 2)):
        for place in FAMILIES[name].places():
            found = list(place.instances(30))
            assert {len(instance.units["image"]) for instance in found} == {units}
            assert len({i for instance in found for i in instance.units["image"]}) <= 24
    assert all(i.units.keys() == {"pair"} for i in instances("euclidean", 256))


# The families as such.


@pytest.mark.parametrize("name", SHIPPED)
def test_a_family_that_ships_is_the_same_in_every_run_and_has_the_shapes_it_names(name, user_cache):
    family = FAMILIES[name]
    places = family.places()
    shapes = {(place.size, place.channels) for place in places}
    assert shapes
    assert shapes <= set(family.shapes)
    assert family.command or shapes == set(family.shapes)
    again = family.places()
    for place, other in zip(places, again, strict=True):
        if place.size > 1024:
            continue
        firsts = list(place.instances(3))
        names = [instance.name for instance in firsts]
        assert len(set(names)) == 3 == len(firsts)
        arrays = [instance.arrays("none") for instance in firsts]
        assert all(same(a, b.arrays("none")) for a, b in zip(arrays, other.instances(3), strict=True))
        assert not same(arrays[0], arrays[1])
        problem = problem_of(arrays[0])
        assert problem.size == place.size
        assert place.channels == (0 if problem.is_matrix else problem.channels)


def cases_of(profile="quick", **options):
    return list(TASK.cases(settled(MatchingOptions(**options), TASK.profiles[profile])))


def test_a_quick_run_has_resnet18_and_a_sample_of_the_families_that_need_no_torch():
    models = {case.cell["model"] for case in cases_of()}
    sample = {name for name, family in FAMILIES.items() if family.in_sample}
    assert models == {"resnet18-tiny-imagenet", *sample}
    others = [case for case in cases_of() if case.cell["model"] in sample]
    counts = Counter((case.cell["model"], case.size) for case in others)
    assert counts == {(name, size): 2 for name in sample for size in SAMPLE_SIZES}
    assert {case.cell["model"] for case in cases_of(layers=("layer3",))} == {"resnet18-tiny-imagenet"}
    assert {case.cell["model"] for case in cases_of(sample={"": 0})} == {"resnet18-tiny-imagenet"}
    assert {case.cell["model"] for case in cases_of("paper", pairs={"": 1})} == {"resnet18-tiny-imagenet"}


def test_families_that_are_named_are_measured_at_all_sizes_and_pairs():
    found = cases_of(family=("low-rank", "flat-maps", "low-rank"), pairs={"1024": 4})
    assert {(case.cell["model"], case.size) for case in found} == {
        *(("low-rank", size) for size in (256, 1024)),
        *(("flat-maps", size) for size in (64, 256, 1024)),
    }
    assert sum(case.cell["model"] == "low-rank" for case in found) == 8
    assert len({case.name for case in found}) == len(found)
    assert {place.model for place in places_of(("all",))} >= {FAMILIES[name].name for name in SHIPPED} - {"resnet18"}


# The command line.


def test_families_run_from_the_command_line_and_lacking_ones_say_how_they_are_made(
    tmp_path, kept_workers, user_cache, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    chosen = ["--methods", "scipy,identity,greedy", "--pairs", "256=2", "--quiet", "--run-id", "r"]
    call("run", "matching", "--family", "machol-wien,flat-maps", "--centring", "none", *chosen)
    rows = [json.loads(line) for line in (tmp_path / "results" / "r" / "rows.jsonl").read_text().splitlines()]
    by_model = {model: [row for row in rows if row["cell"]["model"] == model] for model in ("machol-wien", "flat-maps")}
    assert {row["status"] for row in by_model["flat-maps"]} == {"ok"}
    matrix = [row for row in by_model["machol-wien"] if row["method"] == "scipy"]
    numbers = np.arange(1, 257)
    assert [row["raw"]["k_opt"] for row in matrix] == 2 * [-(numbers * numbers[::-1]).sum()]
    for words, said in (
        (["flatt"], "did you mean 'flat'"),
        (["all,flatt"], "did you mean 'flat'"),
        (["flat"], "family flat is not here; make it with: semrsm-bench data family flat"),
        (["flat-maps", "--problems", "mine.npz"], "family: it takes the place of --data"),
        (["flat-maps", "--layers", "layer9"], "no layer 'layer9' in flat-maps"),
    ):
        assert said in call("run", "matching", "--family", *words, *chosen, code=2)[1]


def notices_of(profile="quick", **options):
    return [*TASK.notices(settled(MatchingOptions(**options), TASK.profiles[profile]))]


def test_sizes_of_a_family_that_are_not_here_are_said_with_what_makes_them(user_cache):
    assert notices_of(family=("resnet18-quarter", "flat-maps")) == [
        "family resnet18-quarter, not here: S = 4096, 1024; make it with: semrsm-bench data family resnet18-quarter"
    ]
    assert notices_of(family=("plain-resnet18-w8", "low-rank")) == notices_of() == []
    (line,) = notices_of(family=("all",))
    assert "semrsm-bench list families" in line
    assert {"vit", "self", "large"} <= set(line.rpartition(": ")[2].split(", "))
    assert not {"resnet18", "low-rank"} & set(line.rpartition(": ")[2].split(", "))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"family": ("self",), "smallest": 200}, "S = 4096, 1024, 256; make it with: semrsm-bench data family self$"),
        ({"family": ("resnet18-quarter",), "layers": ("layer1",)}, "no layer 'layer1'.*data family resnet18-quarter$"),
        ({"family": ("plain-resnet18-w8",), "smallest": 200}, "the largest S is 64"),
        ({"smallest": 5000}, "the largest S is 4096; larger images, .* semrsm-bench data large$"),
    ],
)
def test_what_is_too_small_or_lacks_a_layer_says_what_makes_it(options, said, user_cache):
    with pytest.raises(ValueError, match=said):
        cases_of(**options)


def test_a_size_that_gets_no_pair_is_said(tmp_path, user_cache):
    assert notices_of(family=("low-rank", "flat-maps"), pairs={"256": 2}) == [
        f"{name} gets no pair at S = 1024, 4096: --pairs ends at S = 256; add --pairs 4096=N"
        for name in ("low-rank", "flat-maps")
    ]
    assert notices_of(pairs={"256": 2, "": 1}) == []
    np.savez(tmp_path / "mine.npz", **{"a/costs": np.eye(5), "b/costs": np.eye(9)})
    expected = "mine gets no pair at S = 9: --pairs ends at S = 5; add --pairs 9=N"
    assert notices_of(problems=tmp_path / "mine.npz", pairs={"5": 2}) == [expected]


def test_a_run_shows_what_it_leaves_out_and_one_of_nothing_says_why(tmp_path, kept_workers, user_cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = ["--family", "plain-resnet18-w8", "--centring", "none", "--methods", "identity"]
    err = call("run", "matching", *chosen, "--pairs", "16=2")[1]
    assert "notice: plain-resnet18-w8 gets no pair at S = 64: --pairs ends at S = 16; add --pairs 64=N\n" in err
    err = call("run", "matching", *chosen, "--pairs", "8=2", code=2)[1]
    assert "there is nothing to measure" in err
    assert "gets no pair at S = 16, 64" in err


def test_a_run_records_and_shows_every_family_that_is_made_of_one_cache(
    tmp_path, kept_workers, user_cache, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    chosen = ["--centring", "none", "--methods", "identity", "--pairs", "64=1", "--quiet", "--run-id", "r"]
    call("run", "matching", "--family", "self-maps,flat-maps,resnet18", *chosen)
    names = ["self-maps", "flat-maps", "resnet18-tiny-imagenet"]
    recorded = json.loads((tmp_path / "results" / "r" / "environment.json").read_text())["data"]
    assert Counter(one["name"] for one in recorded) == Counter(names)
    (sha256,) = {one["sha256"] for one in recorded}
    for words, shown in (([], names), (["--where", "model=self-maps"], ["self-maps"])):
        (found,) = re.findall(r"Data:\s+(.*)\s+\(sha256\s+(\w+)\)", call("table", "r", "--width", "300", *words)[0])
        assert (set(found[0].split(" and ")), found[1]) == (set(shown), sha256[:10])


def test_the_list_of_families_says_what_is_here(user_cache):
    rows = {row["name"]: row for row in json.loads(call("list", "families", "--json")[0])}
    assert rows.keys() == FAMILIES.keys()
    assert {name for name, row in rows.items() if row["available"]} == set(SHIPPED)
    assert all(rows[name]["reason"] == "" for name in SHIPPED if not FAMILIES[name].command)
    text = call("list", "families")[0]
    assert all(family.source in text and family.reason in text for family in FAMILIES.values())
    assert "not here: make it with: semrsm-bench data family flat\n" in text


def test_a_package_without_a_checkout_lists_its_families_and_has_the_sample(user_cache, tmp_path, monkeypatch):
    monkeypatch.setattr("semrsm_bench.activations.folders._places", lambda: [tmp_path / "none"])
    rows = {row["name"]: row for row in json.loads(call("list", "families", "--json")[0])}
    assert rows["plain-resnet18-w8"]["reason"].endswith("or by `semrsm-bench data fetch`")
    assert rows["self"]["reason"].endswith("make it with: semrsm-bench data family self")
    assert rows["flat-maps"]["available"]
    with pytest.raises(ValueError, match="plain-resnet18-w8 is not here; it comes with a checkout"):
        places_of(("plain-resnet18-w8",))
    assert {case.cell["model"] for case in cases_of()} >= {"low-rank", "machol-wien", "uniform-small"}
