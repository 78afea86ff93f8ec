import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.bench.cases import PROFILES, TOO_SLOW, Options, choose_pairs, make_plan
from semrsm_bench.solvers import register_solver, solver_names
from semrsm_bench.solvers.registry import UnknownSolverError
from tests.bench_data import small_cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return small_cache(tmp_path_factory.mktemp("data"), images=5, sizes=(16, 36))


def in_order(problem):
    return np.arange(problem.size)


@given(st.integers(2, 25), st.integers(0, 400), st.integers(0, 3))
def test_every_beginning_of_the_pairs_uses_all_images_alike(images, count, seed):
    pairs = choose_pairs(images, count, seed)
    assert len(pairs) == len(set(pairs)) == min(count, images * (images - 1) // 2)
    assert all(0 <= i < j < images for i, j in pairs)
    assert pairs == choose_pairs(images, count, seed)
    used = Counter(dict.fromkeys(range(images), 0))
    used.update(itertools.chain.from_iterable(pairs))
    # An odd number of images leaves one out in each round, which is made up for in later ones.
    assert max(used.values()) - min(used.values()) <= 1 + images % 2


def test_all_pairs_are_all_pairs():
    assert sorted(choose_pairs(24, 1000)) == list(itertools.combinations(range(24), 2))


def test_few_pairs_are_the_beginning_of_many():
    assert choose_pairs(24, 20) == choose_pairs(24, 276)[:20]


def test_one_image_makes_no_pair():
    with pytest.raises(ValueError, match="two images"):
        choose_pairs(1, 3)


def test_quick_has_the_pairs_it_promises():
    quick = PROFILES["quick"]
    assert [quick.pairs_at(s) >= n for s, n in ((64, 20), (256, 20), (1024, 20), (4096, 3))] == [True] * 4
    assert PROFILES["paper"].pairs_at(4096) == 1000
    assert PROFILES["large"].pairs_at(10**6) == PROFILES["large"].pairs_at(65536)


def test_a_plan_holds_every_combination_smallest_first(cache):
    plan = make_plan(Options(data=cache, solvers=("identity", "scipy")))
    assert [(c.size, c.centring, c.solver) for c in plan.cells] == list(
        itertools.product((16, 36), ("none", "channel"), ("identity", "scipy"))
    )
    assert {len(c.pairs) for c in plan.cells} == {10}
    assert plan.cells[0].problem((1, 3)) == "tiny/layer2/none/1-3"
    assert len(make_plan(Options(data=cache, solvers=("identity",), pairs=4)).cells[0].pairs) == 4
    everything = make_plan(Options(data=cache))
    assert {c.solver for c in everything.cells} == set(solver_names())


def test_layers_can_be_chosen(cache):
    plan = make_plan(Options(data=cache, solvers=("identity",), layers=("layer1",)))
    assert {c.layer for c in plan.cells} == {"layer1"}
    with pytest.raises(ValueError, match="no layer 'layer9' in tiny; there are layer2, layer1"):
        make_plan(Options(data=cache, layers=("layer1", "layer9")))


def test_a_folder_of_caches_is_measured_whole(tmp_path):
    small_cache(tmp_path, name="one", sizes=(16,))
    small_cache(tmp_path, name="two", sizes=(9,))
    plan = make_plan(Options(data=tmp_path, solvers=("identity",), centrings=("none",)))
    assert [(c.cache, c.size) for c in plan.cells] == [("two", 9), ("one", 16)]


def test_wrong_choices_are_refused_with_what_there_is(cache):
    for wrong, text in (
        ({"profile": "fast"}, "unknown profile 'fast'; there are quick, paper, large"),
        ({"centrings": ("middle",)}, "unknown centring 'middle'"),
        ({"centrings": ()}, "at least one"),
        ({"solvers": ("scipy", "scipy")}, "none twice"),
        ({"deadline": 0.0}, "deadline must be positive"),
        ({"budget": float("nan")}, "budget must be positive"),
    ):
        with pytest.raises(ValueError, match=text):
            Options(**wrong)
    with pytest.raises(UnknownSolverError, match="did you mean 'scipy'"):
        make_plan(Options(data=cache, solvers=("scypi",)))
    with pytest.raises(ValueError, match="needs layers of at least 4097 positions"):
        make_plan(Options(data=cache, profile="large"))


def test_the_large_profile_finds_the_caches_of_large_images(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SEMRSM_BENCH_DATA", raising=False)
    with pytest.raises(ValueError, match="semrsm-bench data large"):
        make_plan(Options(profile="large", solvers=("identity",), layers=("layer4",)))
    small_cache(tmp_path / "semrsm_bench" / "large", images=3, sizes=(16, 4225))
    plan = make_plan(Options(profile="large", solvers=("identity",), centrings=("none",)))
    assert [(c.cache, c.size, len(c.pairs)) for c in plan.cells] == [("tiny", 4225, 3)]
    # What is named counts more.
    with pytest.raises(ValueError, match="needs layers of at least 4097 positions"):
        make_plan(Options(data=cache, profile="large"))
    monkeypatch.setenv("SEMRSM_BENCH_DATA", str(cache))
    with pytest.raises(ValueError, match="needs layers of at least 4097 positions"):
        make_plan(Options(profile="large"))


def test_cells_that_cannot_be_measured_stay_with_a_reason(cache):
    register_solver("cases-small-only", kind="approximate", max_size=20)(in_order)
    register_solver("cases-missing", kind="approximate", requires=["no_such_module"])(in_order)
    plan = make_plan(Options(data=cache, solvers=("cases-small-only", "cases-missing"), centrings=("none",)))
    reasons = {(c.solver, c.size): c.skip for c in plan.cells}
    assert reasons["cases-small-only", 16] == ""
    assert reasons["cases-small-only", 36] == "meant for S up to 20"
    assert "no_such_module" in reasons["cases-missing", 16]


def test_an_affinity_that_does_not_fit_is_not_tried_but_matrix_free_solvers_are(cache):
    plan = make_plan(Options(data=cache, solvers=("scipy", "identity"), memory=4 * 36 * 36 - 1, centrings=("none",)))
    assert {(c.solver, c.size): bool(c.skip) for c in plan.cells} == {
        ("scipy", 16): False,
        ("identity", 16): False,
        ("scipy", 36): True,
        ("identity", 36): False,
    }


def test_slow_solvers_are_skipped_in_quick_only(tmp_path):
    cache = small_cache(tmp_path, images=2, sizes=(4096,))
    quick, paper = (make_plan(Options(data=cache, profile=p, solvers=("scipy", "ortools"))) for p in ("quick", "paper"))
    assert [c.skip for c in quick.cells] == [TOO_SLOW, ""] * 2
    assert [c.skip for c in paper.cells] == [""] * 4


def test_a_plan_describes_all_that_decides_what_is_measured(cache):
    base = make_plan(Options(data=cache, solvers=("scipy",))).describe()
    for change in ({"pairs": 2}, {"repeats": 2}, {"deadline": 1.0}, {"budget": 1.0}, {"memory": 10**9}):
        assert make_plan(Options(data=cache, solvers=("scipy",), **change)).describe() != base
    assert make_plan(Options(data=cache, solvers=("scipy", "identity"))).describe() != base
    assert make_plan(Options(data=cache, solvers=("scipy",), centrings=("none",))).describe() != base
