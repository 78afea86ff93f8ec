"""Opponents in environments of their own agree with the optimum; `make test-environments` makes the environments first."""

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.bench.methods import describe
from semrsm_bench.core.environments import Environment
from semrsm_bench.solvers import opponents
from tests.bench_data import Bench

APART = [name for name in sb.solver_names() if sb.get_solver(name).environment]


def test_opponents_name_exact_versions_and_a_source():
    assert len(APART) > 15
    for name in APART:
        solver = sb.get_solver(name)
        assert all("==" in requirement for requirement in solver.environment)
        assert solver.kind == "approximate" or solver.precision <= 1e-5
        assert f"package {solver.distribution}" in solver.reference


@pytest.mark.parametrize("affinity", [np.zeros((0, 0)), np.ones((1, 1)), np.full((3, 3), 2.0)])
def test_problems_without_a_choice_never_reach_a_library(affinity):
    assert opponents._costs(affinity) is None


def test_costs_keep_the_precision_and_the_order():
    affinity = np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)
    costs = opponents._costs(affinity)
    assert costs.dtype == np.float32
    assert costs.min() == 0
    assert np.array_equal(costs.ravel().argsort(), affinity.ravel().argsort()[::-1])


def test_matched_pairs_come_in_any_order():
    assert opponents._perm_of(np.array([2, 0, 1]), np.array([0, 1, 2])).tolist() == [1, 2, 0]
    assert opponents._perm_of(np.array([], int), np.array([], int)).tolist() == []


@pytest.mark.environments
def test_every_opponent_finds_the_optimum(tmp_path):
    """Rows of exact solvers are held to the certified optimum: beyond their precision they are ``wrong``."""
    made = [m.name for m in describe((), ["solver"]) if m.environment and Environment(m.environment).versions]
    assert set(made) == set(APART), "semrsm-bench env create --all makes what is missing"
    found = Bench(tmp_path, sizes=(1, 2, 3, 36, 144), channels=12)(*APART, pairs={"": 2}, centring=("none", "channel"))
    assert found.by_method == {name: {"ok": 20} for name in APART}
    missed = {name for name in APART if any(row["scores"]["c"] < 1 - 1e-5 for row in found.of(name))}
    assert missed <= {"lapx-lapmod"}
