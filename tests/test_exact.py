"""Exact solvers against every permutation, SciPy and one another, and the traps of each library."""

import importlib.metadata
import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import semrsm_bench as sb
from semrsm_bench.solvers import exact
from semrsm_bench.solvers.exact import integer_costs, unit_costs
from tests.hard_problems import activations, best_by_trying_all, best_value, rounding, true_affinity

EXACT = sb.solver_names("exact", available_only=True)
INTEGERS = [name for name in ("ortools", "lapjv") if name in EXACT]

# Whole numbers tie often; fractions hardly ever.
entries = st.integers(-2, 2).map(float) | st.floats(-4, 4, width=16) | st.sampled_from([1e3, 1e-3])
small_pairs = st.tuples(st.integers(0, 6), st.integers(0, 4), st.sampled_from([np.float32, np.float64])).flatmap(
    lambda s: st.tuples(*[hnp.arrays(s[2], s[:2], elements=entries) for _ in "xy"])
)


def value(problem, name, **options):
    return sb.matching_value(problem, sb.solve(problem, name, **options))


def promised(problem, name):
    """How far k may lie below the optimum: rounding, and where costs are whole one of their 2**24 levels for each row."""
    whole = name in INTEGERS and problem.size
    return rounding(problem) + (problem.size * np.ptp(problem.affinity) / 2**24 if whole else 0.0) + 1e-12


def test_the_optional_peers_of_the_test_environment_are_there():
    assert {"ortools", "scipy", "lapjv", "exact-auction"} < set(EXACT)
    assert ("lap" in EXACT) != ("lapx" in EXACT)


@pytest.mark.parametrize("name", EXACT)
@given(pair=small_pairs)
def test_optimal_among_all_permutations(name, pair):
    problem = sb.MatchingProblem(*pair)
    assert value(problem, name) >= best_by_trying_all(true_affinity(problem)) - promised(problem, name)


@pytest.mark.parametrize("name", EXACT)
def test_centring_moves_no_optimum(name):
    problem = activations(200, 6)
    draw = np.random.default_rng(1)
    moved = sb.MatchingProblem(*(z + 3 * draw.normal(size=6) for z in (problem.x, problem.y)))
    assert value(problem, name) == pytest.approx(best_value(problem), rel=1e-6)
    assert sb.matching_value(problem, sb.solve(moved, name)) == pytest.approx(best_value(problem), rel=1e-6)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.timeout(60)
def test_rows_that_compete_by_the_last_digit_end(name):
    draw = np.random.default_rng(0)
    problem = sb.MatchingProblem(np.outer(draw.normal(size=129), draw.normal(size=8)), draw.normal(size=(129, 8)))
    assert value(problem, name) >= best_value(problem) - promised(problem, name)


@pytest.mark.parametrize("name", INTEGERS)
@given(affinity=hnp.arrays(np.float64, (6, 6), elements=st.floats(-1e3, 1e3, width=32)), levels=st.integers(2, 64))
def test_few_levels_lose_no_more_than_the_docstring_says(name, affinity, levels):
    problem = sb.MatchingProblem(affinity, np.eye(6))
    loss = best_by_trying_all(affinity) - value(problem, name, levels=levels)
    assert loss <= 6 * np.ptp(affinity) / levels + 1e-9


@given(
    hnp.arrays(st.sampled_from([np.float32, np.float64]), st.integers(1, 9).map(lambda n: (n, n)), elements=entries),
    st.integers(2, 2**40),
)
def test_integer_costs_are_the_nearest_level(affinity, levels):
    with mock.patch.object(exact, "_ROWS_PER_PASS", 4):
        costs = integer_costs(affinity, levels)
    if np.ptp(affinity) == 0 or len(affinity) < 2:  # no library is asked where every permutation is as good
        assert costs is None is unit_costs(affinity)
        return
    wide = affinity.astype(np.float64)
    ideal = (wide.max() - wide) / np.ptp(wide) * levels
    assert (costs.min(), costs.max()) == (0, levels)
    assert np.abs(costs - ideal).max() <= 0.5 + 1e-9 * levels


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e-30, "f8"), (1e-30, "f4"), (1.0, "f4"), (1.0, "f8"), (1e30, "f4"), (1e60, "f8")]
)
def test_unit_costs_are_the_affinity_upside_down_on_another_scale(scale, dtype):
    affinity = (np.random.default_rng(0).standard_normal((30, 30)) * scale).astype(dtype)
    costs, wide = unit_costs(affinity), affinity.astype(np.float64)
    assert (costs.dtype, costs.min()) == (np.float64, 0.0)
    assert 0.5 <= costs.max() <= 1.0
    ideal = (wide.max() - wide) * (costs.max() / np.ptp(wide))
    np.testing.assert_allclose(costs, ideal, rtol=0, atol=2 * float(np.finfo(dtype).eps))


def test_lapjv_gets_whole_costs_so_that_its_steps_are_limited(monkeypatch):
    library, seen = pytest.importorskip("lapjv"), []
    solve = library.lapjv
    monkeypatch.setattr(library, "lapjv", lambda costs, **options: (seen.append(costs), solve(costs, **options))[1])
    sb.solve(activations(40, 5), "lapjv")
    (costs,) = seen
    assert costs.dtype == np.float64
    assert np.array_equal(costs, np.rint(costs))
    assert (costs.min(), costs.max()) == (0, 2**24)


def test_levels_beyond_64_bits_are_refused():
    problem, most = activations(1024, 2), 2**60 // (1024 * 1025)
    for levels in (1, most + 1):
        with pytest.raises(ValueError, match=rf"levels must lie in 2\.\.{most} at S=1024, got {levels}"):
            sb.solve(problem, "ortools", levels=levels)
    assert value(problem, "ortools", levels=most) == pytest.approx(best_value(problem), rel=1e-12)


def test_the_index_arrays_are_those_of_the_complete_graph_and_are_reused(monkeypatch):
    left, right = exact._arcs(5)
    assert list(zip(left.tolist(), right.tolist())) == list(itertools.product(range(5), repeat=2))
    exact._arcs(7)
    assert exact._arcs(5)[0] is left
    with pytest.raises(ValueError, match="read-only"):
        left[0] = 1
    monkeypatch.setattr(exact, "_LARGEST_KEPT", 4)
    exact._arcs.cache_clear()
    sb.solve(activations(5, 2), "ortools")
    assert exact._arcs.cache_info().currsize == 0, "large ones are made, and not kept"


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
            assert not owner or name == owner or f"belongs to the package {owner!r}" in reason
    finally:
        exact._owner_of_module_lap.cache_clear()
