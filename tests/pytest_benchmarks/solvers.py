"""The cases of `benchmarks/common.py` under pytest-benchmark: ``make pytest-benchmark``.

The name keeps pytest from collecting this with the tests; it is run by its path.
"""

import itertools
import math
import os
import statistics

import pytest

from benchmarks.common import (
    CENTRINGS,
    FAMILIES,
    FAMILY_SOLVERS,
    SIZES,
    SOLVERS,
    matching_of,
    observed,
    shifted,
    solver_for,
)
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
    measure(benchmark, solver, problems[size, centring], size=size, centring=centring)


@pytest.mark.parametrize(("solver", "family"), FAMILY_CELLS, ids=["-".join(cell) for cell in FAMILY_CELLS])
def test_solve_family(benchmark, solver, family):
    # Under the key that tells cells apart in `semrsm-bench compare`.
    measure(benchmark, solver, [family_problem(family)], size=256, centring=family)


def measure(benchmark, solver, cell, *, size, centring):
    try:
        registered = solver_for(solver, size)
    except NotImplementedError as error:
        pytest.skip(str(error))
    scores = {problem.pair: problem.score(matching_of(solver, problem)) for problem in cell}
    ratios = [ratio for ratio, _ in scores.values()]
    shifts = itertools.count(1)  # every call gets other bytes
    corrected = statistics.fmean(c for _, c in scores.values())
    benchmark.extra_info.update(
        solver=solver,
        size=size,
        centring=centring,
        pair=cell[0].pair,
        quality=None if any(map(math.isnan, ratios)) else statistics.fmean(ratios),
        chance_corrected=corrected,
        gap=1.0 - corrected,
        gap_of_pair={pair: 1.0 - c for pair, (_, c) in scores.items()},
    )
    benchmark.pedantic(
        lambda given: registered.function(given, **registered.options),
        setup=lambda: ((shifted(cell[0], next(shifts), registered.matrix_free)[0],), {}),
        rounds=max(3, len(observed(solver, cell[0]).seconds)),
    )
    assert all(c <= 1 + 1e-6 for _, c in scores.values())
    if registered.kind == "exact":
        assert all(c >= 1 - 1e-6 for _, c in scores.values())
