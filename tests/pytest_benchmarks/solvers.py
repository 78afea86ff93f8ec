"""The cases of `benchmarks/common.py` under pytest-benchmark: ``make pytest-benchmark``.

The name keeps pytest from collecting this with the tests; it is run by its path.
"""

import itertools
import os

import pytest

from benchmarks.calls import measure
from benchmarks.common import CENTRINGS, FAMILIES, FAMILY_SOLVERS, SIZES, SOLVERS
from benchmarks.problems import family_problem, load_problems


def chosen(variable, values):
    """Values named in an environment variable, separated by commas, or all of them."""
    wanted = os.environ.get(variable)
    return values if not wanted else [v for v in values if str(v) in wanted.split(",")]


CELLS = list(
    itertools.product(chosen("PYTEST_BENCHMARK_SOLVERS", SOLVERS), chosen("PYTEST_BENCHMARK_SIZES", SIZES), CENTRINGS)
)


FAMILY_CELLS = list(itertools.product(chosen("PYTEST_BENCHMARK_SOLVERS", FAMILY_SOLVERS), FAMILIES))


@pytest.fixture(scope="module")
def problems():
    return load_problems()


@pytest.mark.parametrize(("solver", "size", "centring"), CELLS, ids=["-".join(map(str, cell)) for cell in CELLS])
def test_solve(benchmark, problems, solver, size, centring):
    measure(benchmark, solver, problems[size, centring], centring=centring)


@pytest.mark.parametrize(("solver", "family"), FAMILY_CELLS, ids=["-".join(cell) for cell in FAMILY_CELLS])
def test_solve_family(benchmark, solver, family):
    # Under the key that tells cells apart in `semrsm-bench compare`.
    measure(benchmark, solver, [family_problem(family)], centring=family)
