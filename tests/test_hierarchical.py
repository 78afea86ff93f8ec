"""The hierarchical matching: blocks of positions that belong together, and prices of the whole from prices of blocks."""

import numpy as np
import pytest

from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value, solve
from semrsm_bench.solvers.bounds import dual_value
from semrsm_bench.solvers.hierarchical import match_blocks
from tests.hard_problems import KINDS, activations, corrected, hard_problem

NAMES = ["hierarchical-coarse", "hierarchical-fine"]


@pytest.mark.parametrize("channels", [6, 40])
@pytest.mark.parametrize(("name", "least"), [*zip(NAMES, (0.97, 0.99))])
def test_quality_of_the_named_solvers(name, least, channels):
    problem = activations(3000, channels)
    perm = solve(problem, name)
    assert not problem.has_affinity
    assert least <= corrected(problem, perm) < 1


def test_a_problem_no_larger_than_a_block_is_solved_exactly():
    problem = activations(500, 8)
    perm = solve(problem, "hierarchical-coarse")
    assert not problem.has_affinity
    assert matching_value(problem, perm) == pytest.approx(matching_value(problem, solve(problem, "scipy")), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [2, 3, 16])
def test_hard_problems_end_with_a_permutation(kind, block):
    for size, channels in [(1, 2), (2, 1), (3, 5), (40, 3), (150, 2), (200, 35)]:
        problem = hard_problem(kind, size, channels, 1)
        perm = get_solver("hierarchical-coarse").run(problem, block=block, rounds=2).perm
        assert np.array_equal(np.sort(perm), np.arange(size))
        assert not problem.has_affinity


def test_clusters_that_belong_together_are_found_whatever_their_order():
    draw = np.random.default_rng(0)
    centres = 50 * draw.normal(size=(8, 5))
    groups = [draw.permutation(np.repeat(np.arange(8), 32)) for _ in "xy"]
    x, y = (centres[g] + draw.normal(size=(256, 5)) for g in groups)
    perm = get_solver("hierarchical-coarse").run(MatchingProblem(x, y), block=32, rounds=0).perm
    # Squared distances and inner products have the same optimum.
    assert np.array_equal(groups[1][perm], groups[0])


def test_no_round_makes_a_matching_worse():
    problem = activations(900, 7)
    values = [
        matching_value(problem, get_solver("hierarchical-coarse").run(problem, block=64, rounds=rounds).perm)
        for rounds in range(6)
    ]
    assert values == sorted(values)
    assert values[0] < values[-1] <= matching_value(problem, solve(problem, "scipy"))


def test_rounds_make_prices_better():
    problem = activations(1500, 9)
    x, y = problem.x, problem.y
    best = matching_value(problem, solve(problem, "exact-auction"))
    bounds = []
    for rounds in (0, 2, 8):
        prices = np.zeros(1500, np.float32)
        match_blocks(x, y, 256, rounds, 0, prices)
        bounds.append(dual_value(problem, prices))
    assert bounds[0] > bounds[1] > bounds[2] >= best


def test_the_seed_decides_the_blocks_and_repeats():
    problem = activations(700, 6)
    runs = [get_solver("hierarchical-coarse").run(problem, block=64, seed=seed).perm for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("options", [{"block": 1}, {"block": -5}, {"rounds": -1}])
def test_rejects_options_out_of_range(options):
    with pytest.raises(ValueError, match="block must be at least 2 and rounds not negative"):
        get_solver("hierarchical-fine").run(activations(20, 3), **options)
