"""The solvers on real activations: the checkout's cache, or the four images that the package carries."""

import numpy as np
import pytest

from semrsm_bench.activations.folders import find_data, list_caches
from semrsm_bench.activations.store import open_cache
from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value, random_value, solver_names
from semrsm_bench.solvers.bounds import dual_value
from semrsm_bench.tasks.sources import choose_pairs
from tests.hard_problems import corrected


def real_problems(size, number, centring):
    found = find_data()
    cache = open_cache(found if found.is_file() else list_caches(found)[0])
    layer = next((name for name in cache.layers if cache.shape(name)[2] == size), None)
    if layer is None:
        pytest.fail(f"{cache.path} has no layer with {size} positions: {cache.layers}")
    for i, j in choose_pairs(len(cache), number, seed=1):
        yield MatchingProblem(*(cache.positions(layer, k, centring) for k in (i, j)))


@pytest.mark.parametrize("centring", ["none", "channel"])
@pytest.mark.parametrize(("size", "number"), [(64, 300), (256, 120), (1024, 4)])
def test_exact_auction_is_never_worse_than_its_peers_and_proves_it(size, number, centring):
    for n, problem in enumerate(real_problems(size, number, centring)):
        solution = get_solver("exact-auction").run(problem)
        assert "fallback" not in solution.info
        k, chance = matching_value(problem, solution.perm), random_value(problem)
        rounding = 1e-6 * size * np.abs(problem.affinity).max()
        for name in solver_names("exact", available_only=True) if n < 6 else ["ortools"]:
            theirs = matching_value(problem, get_solver(name).run(problem).perm)
            assert theirs - 1e-2 * rounding <= k <= theirs + min(rounding, 1e-5 * (k - chance)), name
        if n < 40:
            assert k <= dual_value(problem, solution.duals[1], dtype=np.float64) <= k + 1e-5 * (k - chance)


@pytest.mark.parametrize(
    ("name", "size", "least"),
    [
        ("auction-coarse", 256, 0.985),
        ("auction-fine", 256, 0.999),
        ("auction-certified", 256, 0.99),
        ("list-auction-coarse", 1024, 0.985),
        ("list-auction-fine", 1024, 0.998),
    ],
)
def test_approximations_are_as_good_as_the_documentation_says(name, size, least):
    for problem in real_problems(size, 24 if size == 256 else 5, "none"):
        assert corrected(problem, get_solver(name).run(problem).perm) >= least
