"""Plans: the arithmetic is exact, the measured parts are real."""

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.rsm import compute_rsm, estimate_rsm
from semrsm_bench.rsm.registry import rsm_names
from semrsm_bench.solvers import solver_names

Z = np.random.default_rng(0).normal(size=(5, 4, 25)).astype(np.float32)


@pytest.mark.parametrize("matching", [name for name in rsm_names() if name not in set(solver_names()[2:])])
def test_pairs_disk_and_time_follow_from_the_counts(matching):
    plan = estimate_rsm(Z.reshape(5, 4, 5, 5), matching=matching, seconds=0.05)
    assert (plan.rows, plan.columns, plan.positions, plan.channels, plan.pairs) == (5, 5, 25, 4, 10)
    assert plan.result_bytes == compute_rsm(Z, matching="identity").nbytes
    assert plan.input_bytes == Z.astype(np.float16).nbytes
    assert plan.seconds == pytest.approx(plan.seconds_per_pair * 10)
    assert plan.seconds_low <= plan.seconds <= plan.seconds_high
    assert plan.seconds_per_pair > 0
    assert plan.sampled_chunks >= 3
    assert plan.worker_bytes > 2 * Z[: plan.block].nbytes


def test_counts_may_exceed_the_images_there_are():
    alone = estimate_rsm(Z, matching="scipy", count=1000, seconds=0.05)
    assert alone.pairs == 1000 * 999 // 2
    database = estimate_rsm(Z, matching="scipy", count=1000, count2=300, n_jobs=2, seconds=0.05)
    assert (database.pairs, database.workers) == (300_000, 2)
    assert database.seconds == pytest.approx(database.seconds_per_pair * 150_000)
    assert estimate_rsm(Z, Z[:2], matching="scipy", seconds=0.05).pairs == 10


def test_memory_includes_what_a_method_takes_and_grows_with_the_tile_where_the_method_takes_it_whole():
    held = 2**25

    @sb.register_solver("hungry", kind="approximate", matrix_free=True)
    def hungry(problem):
        return np.argsort(np.ones(held if problem.size > 8 else problem.size)[: problem.size], kind="stable")

    @sb.register_rsm("hungry-too")
    def whole(z, z2):
        return np.ones(held)[: len(z) * len(z2)].reshape(len(z), len(z2))

    def taken(matching, block):
        return estimate_rsm(Z, matching=matching, block=block, seconds=0.05).worker_bytes

    assert taken("hungry", 50) > taken("greedy", 50) + 2 * held
    # Five images are timed, a tile has fifty.
    assert taken("hungry-too", 50) > 10 * 2 * held


def test_only_pairs_of_different_images_are_timed():
    seen = []

    @sb.register_solver("watching", kind="approximate", matrix_free=True)
    def watching(problem):
        seen.append(problem.size == 25 and np.array_equal(problem.x, problem.y))
        return np.arange(problem.size)

    estimate_rsm(Z, matching="watching", seconds=0.05)
    assert len(seen) > 3
    assert not any(seen)


def test_what_cannot_be_planned_is_named():
    with pytest.raises(ValueError, match="single image"):
        estimate_rsm(Z[:1], matching="scipy")
    for wrong in ({"count": 0}, {"count2": 0}, {"seconds": 0.0}):
        with pytest.raises(ValueError, match="positive"):
            estimate_rsm(Z, matching="scipy", **wrong)
    with pytest.raises(ValueError, match="did you mean"):
        estimate_rsm(Z, matching="scippy")
    with pytest.raises(ValueError, match="not finite"):
        estimate_rsm(np.full((2, 3, 4), np.nan), matching="scipy")
