"""Exact solvers against all permutations and one another, and the traps of each library."""

import importlib.metadata
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import semrsm_bench as sb
from semrsm_bench.activations.folders import find_data, list_caches
from semrsm_bench.activations.store import open_cache
from semrsm_bench.solvers import exact, random_value
from semrsm_bench.solvers.exact import integer_costs, unit_costs

LIBRARIES = [name for name in ("ortools", "scipy", "lapjv", "lap", "lapx") if sb.get_solver(name).available]

# Whole numbers tie often; fractions hardly ever.
entries = st.one_of(st.integers(-2, 2).map(float), st.floats(-4, 4, width=16))
small_pairs = st.tuples(st.integers(0, 6), st.integers(1, 3), st.sampled_from([np.float32, np.float64])).flatmap(
    lambda s: st.tuples(*[hnp.arrays(s[2], s[:2], elements=entries) for _ in "xy"])
)


def features(size, channels, dtype=np.float64, seed=0):
    rng = np.random.default_rng([seed, size])
    common = rng.standard_normal((size, channels))
    return [np.maximum(common + rng.standard_normal((size, channels)), 0).astype(dtype) for _ in "xy"]


def best_by_trying_all(affinity):
    rows = np.arange(len(affinity))
    return max(affinity[rows, list(p)].sum() for p in itertools.permutations(range(len(affinity))))


def assert_same_k(problem, k, best, tolerance=1e-6):
    assert abs(best - k) <= tolerance * (best - random_value(problem)) + 1e-12 * abs(best)


def test_the_optional_peers_of_the_test_environment_are_there():
    assert {"ortools", "scipy", "lapjv"} < set(LIBRARIES)
    assert ("lap" in LIBRARIES) != ("lapx" in LIBRARIES)


@pytest.mark.parametrize("name", LIBRARIES)
@given(pair=small_pairs)
def test_optimal_among_all_permutations(name, pair):
    problem = sb.MatchingProblem(*pair)
    best = best_by_trying_all(problem.x.astype(np.float64) @ problem.y.astype(np.float64).T)
    k = sb.matching_value(problem, sb.solve(problem, name))
    assert k == pytest.approx(best, rel=2e-6, abs=1e-5)


@pytest.mark.parametrize("name", [n for n in LIBRARIES if n != "scipy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [64, 130, 256])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_the_libraries_agree(name, dtype, size, offset):
    x, y = features(size, 16, dtype)
    problem = sb.MatchingProblem(x + dtype(offset), y)
    best = sb.matching_value(problem, sb.solve(problem, "scipy"))
    assert_same_k(problem, sb.matching_value(problem, sb.solve(problem, name)), best)


@pytest.fixture(scope="module")
def activations():
    place = find_data()
    return open_cache(place if place.is_file() else list_caches(place)[0])


@pytest.mark.parametrize(("layer", "count"), [("layer4", 12), ("layer3", 6), ("layer2", 1)])
@pytest.mark.parametrize("centring", ["none", "channel"])
def test_the_libraries_agree_on_real_activations(activations, layer, count, centring):
    chosen = list(itertools.combinations(range(len(activations.images)), 2))
    for i, j in chosen[:: max(1, len(chosen) // count)][:count]:
        problem = sb.MatchingProblem(*(activations.positions(layer, n, centring=centring) for n in (i, j)))
        values = {name: sb.matching_value(problem, sb.solve(problem, name)) for name in LIBRARIES}
        assert max(values.values()) - min(values.values()) <= 1e-6 * (max(values.values()) - random_value(problem)), (
            values
        )


@pytest.mark.parametrize("name", LIBRARIES)
def test_constants_added_to_rows_and_columns_move_no_optimum(name):
    x, y = features(60, 8)
    rng = np.random.default_rng(1)
    plain = sb.MatchingProblem(x, y)
    shifted = sb.MatchingProblem.trusted(x, y, plain.affinity + rng.normal(0, 20, (60, 1)) + rng.normal(0, 20, 60))
    values = [sb.matching_value(plain, sb.solve(p, name)) for p in (plain, shifted)]
    assert_same_k(plain, values[1], values[0])


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("factor", [1e-30, 1e-4, 1e7, 1e30])
def test_the_scale_of_the_activations_does_not_matter(name, factor):
    x, y = features(80, 6, np.float32)
    problem = sb.MatchingProblem(x * np.float32(factor), y * np.float32(factor))
    best = sb.matching_value(problem, sb.solve(sb.MatchingProblem(x, y), "scipy"))
    assert_same_k(problem, sb.matching_value(problem, sb.solve(problem, name)), best)


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("size", [0, 1, 2, 50])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e30])
def test_constant_affinities(name, size, value):
    perm = sb.solve(sb.MatchingProblem(np.full((size, 2), value), np.ones((size, 2))), name)
    assert sorted(perm) == list(range(size))


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("case", ["zero rows", "few distinct rows", "whole numbers"])
def test_ties_by_the_hundred(name, case):
    x, y = features(150, 4)
    rng = np.random.default_rng(0)
    if case == "zero rows":
        x[::2], y[::3] = 0, 0
    elif case == "few distinct rows":
        x, y = x[rng.integers(0, 4, 150)], y[rng.integers(0, 4, 150)]
    else:
        x, y = np.round(x), np.round(y)
    problem = sb.MatchingProblem(x, y)
    best = sb.matching_value(problem, sb.solve(problem, "scipy"))
    assert_same_k(problem, sb.matching_value(problem, sb.solve(problem, name)), best)


@pytest.mark.parametrize("name", ["ortools", "lapjv"])
@given(affinity=hnp.arrays(np.float64, (6, 6), elements=st.floats(-1e3, 1e3, width=32)), levels=st.integers(2, 64))
def test_few_levels_lose_no_more_than_the_docstring_says(name, affinity, levels):
    problem = sb.MatchingProblem(affinity, np.eye(6))
    loss = best_by_trying_all(affinity) - sb.matching_value(problem, sb.solve(problem, name, levels=levels))
    assert loss <= 6 * (affinity.max() - affinity.min()) / levels + 1e-9


@given(
    hnp.arrays(st.sampled_from([np.float32, np.float64]), st.integers(2, 9).map(lambda n: (n, n)), elements=entries),
    st.integers(2, 2**40),
)
def test_integer_costs_are_the_nearest_level(affinity, levels):
    costs = integer_costs(affinity, levels)
    if affinity.max() == affinity.min():
        assert costs is None
        return
    wide = affinity.astype(np.float64)
    ideal = (wide.max() - wide) / (wide.max() - wide.min()) * levels
    assert costs.min() == 0
    assert costs.max() == levels
    assert np.abs(costs - ideal).max() <= 0.5 + 1e-9 * levels


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.timeout(60)
def test_rows_that_compete_by_the_last_digit_end(name):
    rng = np.random.default_rng(0)
    problem = sb.MatchingProblem(np.outer(rng.normal(size=129), rng.normal(size=8)), rng.normal(size=(129, 8)))
    best = sb.matching_value(problem, sb.solve(problem, "scipy"))
    assert_same_k(problem, sb.matching_value(problem, sb.solve(problem, name)), best)


def test_lapjv_gets_whole_costs_so_that_its_steps_are_limited(monkeypatch):
    library, seen = pytest.importorskip("lapjv"), []
    solve = library.lapjv
    monkeypatch.setattr(library, "lapjv", lambda costs, **options: (seen.append(costs), solve(costs, **options))[1])
    sb.solve(sb.MatchingProblem(*features(40, 5)), "lapjv")
    (costs,) = seen
    assert costs.dtype == np.float64
    assert np.array_equal(costs, np.rint(costs))
    assert (costs.min(), costs.max()) == (0, 2**24)


def test_integer_costs_of_more_rows_than_one_pass_takes():
    affinity = np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
    expected = np.rint(
        (affinity.max().astype(np.float64) - affinity) / np.float64(np.ptp(affinity.astype(np.float64))) * 2**24
    )
    np.testing.assert_array_equal(integer_costs(affinity, 2**24), expected.astype(np.int64))


def test_levels_beyond_64_bits_are_refused():
    problem = sb.MatchingProblem(*features(1024, 2))
    with pytest.raises(ValueError, match=r"levels must lie in 2\.\.\d+ at S=1024"):
        sb.solve(problem, "ortools", levels=2**42)
    with pytest.raises(ValueError, match="levels must lie in"):
        sb.solve(problem, "ortools", levels=1)
    most = 2**60 // (1024 * 1025)
    best = sb.matching_value(problem, sb.solve(problem, "scipy"))
    assert_same_k(problem, sb.matching_value(problem, sb.solve(problem, "ortools", levels=most)), best, 1e-12)


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e-30, "f8"), (1e-30, "f4"), (1.0, "f4"), (1.0, "f8"), (1e30, "f4"), (1e60, "f8")]
)
def test_unit_costs_are_the_affinity_upside_down_on_another_scale(scale, dtype):
    affinity = (np.random.default_rng(0).standard_normal((30, 30)) * scale).astype(dtype)
    costs = unit_costs(affinity)
    assert costs.dtype == np.float64
    assert costs.min() == 0.0
    assert 0.5 <= costs.max() <= 1.0
    wide = affinity.astype(np.float64)
    ratio = costs.max() / np.ptp(wide)
    np.testing.assert_allclose(costs, (wide.max() - wide) * ratio, rtol=0, atol=2 * float(np.finfo(dtype).eps))


def test_the_index_arrays_are_those_of_the_complete_graph_and_are_reused(monkeypatch):
    left, right = exact._arcs(5)
    assert list(zip(left.tolist(), right.tolist())) == list(itertools.product(range(5), repeat=2))
    assert left.dtype == right.dtype == np.int32
    exact._arcs(7)
    assert exact._arcs(5)[0] is left
    with pytest.raises(ValueError, match="read-only"):
        left[0] = 1
    monkeypatch.setattr(exact, "_LARGEST_KEPT", 4)
    exact._arcs.cache_clear()
    sb.solve(sb.MatchingProblem(*features(5, 2)), "ortools")
    assert exact._arcs.cache_info().currsize == 0, "large ones are made, and not kept"


def test_threads_that_share_the_index_arrays_agree_with_one():
    problems = [sb.MatchingProblem(*features(size, 4, seed=seed)) for seed in range(6) for size in (20, 21, 90, 130)]
    serial = [sb.solve(p, "ortools") for p in problems]
    exact._arcs.cache_clear()
    for one, other in zip(serial, sb.solve_many(problems, "ortools", n_jobs=2)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("installed", "module", "owner"),
    [
        ({}, None, ""),
        ({"lap": "0.5.12"}, "0.5.12", "lap"),
        ({"lapx": "0.9.1"}, "0.9.1", "lapx"),
        ({"lap": "0.5.12", "lapx": "0.9.1"}, "0.5.12", "lap"),
        ({"lap": "0.5.12", "lapx": "0.9.1"}, "0.9.1", "lapx"),
        ({"lap": "0.5.12", "lapx": "0.5.12"}, "0.5.12", "lap"),
    ],
)
def test_which_of_lap_and_lapx_is_there(monkeypatch, tmp_path, installed, module, owner):
    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.delitem(__import__("sys").modules, "lap", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    if module is not None:
        (tmp_path / "lap.py").write_text(f"__version__ = {module!r}\n")
    exact._owner_of_module_lap.cache_clear()
    try:
        assert exact._owner_of_module_lap() == owner
        for name in ("lap", "lapx"):
            reason = exact._reason_without(name)
            assert (reason == "") == (name == owner)
            if owner and name != owner:
                assert f"belongs to the package {owner!r}" in reason
    finally:
        exact._owner_of_module_lap.cache_clear()


def test_lap_survives_costs_beyond_a_million():
    name = "lap" if "lap" in LIBRARIES else "lapx"
    x = np.array([[1e7, 0.0], [0.0, 3e7]])
    for y, expected in ((np.eye(2), [0, 1]), (np.eye(2)[::-1], [1, 0])):
        assert sb.solve(sb.MatchingProblem(x, y), name).tolist() == expected


def test_identity_is_no_matching_at_all():
    problem = sb.MatchingProblem(*features(7, 2))
    assert sb.solve(problem, "identity").tolist() == list(range(7))
    assert not problem.has_affinity
    assert sb.get_solver("identity").kind == "baseline"


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_library_ever_sees_what_is_not_finite(name, bad):
    x, y = features(20, 3)
    x[3, 1] = bad
    with pytest.raises(ValueError, match="x is not finite"):
        sb.solve(sb.MatchingProblem(x, y), name)
