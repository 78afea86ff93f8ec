"""RSMs from solvers that take many pairs in one call, and that may run in threads."""

import os
import threading
from contextlib import suppress

import joblib
import numpy as np
import pytest
import threadpoolctl

from semrsm_bench.rsm import compute_rsm, register_rsm
from semrsm_bench.rsm.sources import as_source
from semrsm_bench.rsm.tiles import one_thread
from semrsm_bench.solvers import InvalidMatchingError, MatchingProblem, register_solver, solve


def images(count=7, channels=6, size=40, seed=0):
    draw = np.random.default_rng(seed)
    basis = draw.normal(size=(5, channels))
    return np.maximum(draw.normal(size=(count, size, 5)) @ basis, 0).astype(np.float32).swapaxes(1, 2)


def reversed_solver(batch, **options):
    """Registers "backwards", which matches s with S - 1 - s, with a batch entry of its own; returns the log of calls."""
    log = []

    @register_solver("backwards", kind="baseline", batch=batch, **options)
    def backwards(problem, shift=0):
        log.append(problem.size)
        return np.roll(np.arange(problem.size)[::-1], shift)

    return log


@pytest.mark.parametrize("name", ["exact-auction", "auction-fine", "auction-coarse"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_matchings_are_those_of_solve(name, dtype):
    z = images().astype(dtype)
    _, perms = compute_rsm(z, matching=name, return_permutations=True)
    vectors = np.ascontiguousarray(z.swapaxes(1, 2))
    for i in range(len(z)):
        for j in range(i + 1, len(z)):
            assert np.array_equal(perms[i, j], solve(MatchingProblem(vectors[i], vectors[j]), name))


def test_special_pairs_of_a_batch_are_solved_too():
    z = images(8)
    z[1] = 0
    z[[2, 6]] *= np.float32(1e25)
    z[[3, 7]] *= np.float32(1e-25)
    z[4] = 1 + np.float32(1e-5) * z[4]
    z[5] = 0.3
    rsm = compute_rsm(z, matching="exact-auction")
    expected = compute_rsm(z.astype(np.float64), matching="scipy")
    assert np.allclose(rsm, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["exact-auction", "auction-coarse", "list-auction-fine"])
@pytest.mark.parametrize("block", [1, 5, None])
def test_threads_change_nothing(name, block):
    z = images(9)
    serial, perms = compute_rsm(z, matching=name, return_permutations=True)
    threaded, others = compute_rsm(z, matching=name, n_jobs=2, block=block, return_permutations=True)
    assert np.array_equal(serial, threaded)
    assert np.array_equal(perms, others)


@pytest.mark.parametrize("matrix_free", [False, True])
def test_a_batch_entry_of_ones_own_is_used_with_its_options(matrix_free):
    calls = []

    def batch(x, ys, affinities, shift=0):
        calls.append(len(ys))
        if matrix_free:
            assert affinities is None
        else:
            np.testing.assert_allclose(affinities, [x @ y.T for y in ys], rtol=1e-6, atol=1e-6)
        perm = np.roll(np.arange(len(x))[::-1], shift)
        return np.tile(perm.astype(np.int32), (len(ys), 1)), np.ones(len(ys), bool)

    log = reversed_solver(batch, matrix_free=matrix_free)
    z = images()
    plain, perms = compute_rsm(z, matching="backwards", options={"shift": 3}, return_permutations=True)
    assert log == []
    assert sum(calls) == 21
    assert np.array_equal(perms[0, 1], np.roll(np.arange(40)[::-1], 3))
    assert plain[0, 1] == pytest.approx((z[0].astype(float) * z[1][:, perms[0, 1]]).sum(), rel=1e-12)


def test_pairs_that_a_batch_leaves_go_to_the_function():
    def batch(x, ys, affinities):
        nonsense = np.full((len(ys), len(x)), -5)
        nonsense[0] = np.arange(len(x))[::-1]
        return nonsense, np.arange(len(ys)) == 0

    log = reversed_solver(batch)
    z = images()
    rsm = compute_rsm(z, matching="backwards")
    assert 0 < len(log) < 21
    z = z.astype(float)
    upper = np.triu_indices(len(z), 1)
    assert np.allclose(rsm[upper], np.einsum("ics,jcs->ij", z, z[:, :, ::-1])[upper], rtol=1e-12, atol=0)


IDENTITY = np.arange(40)


@pytest.mark.parametrize(
    ("perms", "message"),
    [
        (lambda b: np.zeros((b, 40), int), "matched 40 times"),
        (lambda b: np.tile(IDENTITY - 1, (b, 1)), "holds 0..39"),
        (lambda b: np.tile(IDENTITY + 1, (b, 1)), "holds 0..39"),
        (lambda b: np.tile(IDENTITY, (b + 1, 1)), "batch entry answers"),
        (lambda b: np.tile(IDENTITY[:-1], (b, 1)), "batch entry answers"),
        (lambda b: IDENTITY, "batch entry answers"),
        (lambda b: np.tile(IDENTITY.astype(float), (b, 1)), "holds integers"),
        (lambda b: None, "solved of shape"),
    ],
)
def test_a_batch_entry_that_returns_no_permutations_is_caught(perms, message):
    def batch(x, ys, affinities):
        found = perms(len(ys))
        return (np.tile(IDENTITY, (len(ys), 1)), True) if found is None else (found, np.ones(len(ys), bool))

    reversed_solver(batch)
    with pytest.raises(InvalidMatchingError, match=message):
        compute_rsm(images(), matching="backwards")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("what", ["solver", "batch", "rsm"])
def test_no_method_can_write_to_the_images(what, side):
    def vandal(*given):
        sides = (given[0].x, given[0].y) if what == "solver" else given
        sides[side][...] = 0

    if what == "rsm":
        register_rsm("backwards")(lambda z, z2: vandal(z, z2))
    elif what == "batch":
        reversed_solver(lambda x, ys, affinities: vandal(x, ys))
    else:
        register_solver("backwards", kind="approximate")(lambda problem: vandal(problem))
    with pytest.raises(ValueError, match="read-only"):
        compute_rsm(images(), matching="backwards")


def test_a_solver_that_releases_the_lock_runs_in_threads_of_this_process():
    seen = set()
    both = threading.Barrier(2, timeout=60)

    @register_solver("watched", kind="baseline", releases_gil=True)
    def watched(problem):
        if len(seen) < 2:
            seen.add((os.getpid(), threading.get_ident()))
            both.wait()
        return np.arange(problem.size)

    compute_rsm(images(8), matching="watched", n_jobs=2, block=2)
    assert {pid for pid, _ in seen} == {os.getpid()}
    assert len(seen) == 2


def limits():
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


def test_linear_algebra_stays_on_one_thread_until_the_last_has_left(monkeypatch):
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = limits()
        with suppress(RuntimeError), one_thread(), one_thread():
            assert limits() == [1] * len(before)
            raise RuntimeError
        assert limits() == before
    # Some BLAS libraries obey the main thread alone: what is asked of them is counted.
    asked = []

    class Controller:
        def limit(self, limits):
            asked.append(limits)
            return self

        def restore_original_limits(self):
            asked.append("lifted")

    def work():
        with one_thread():
            assert asked == [1]

    monkeypatch.setattr("semrsm_bench.rsm.tiles._controller", Controller)
    with one_thread():
        other = threading.Thread(target=work)
        other.start()
        other.join()
        assert asked == [1]
    assert asked == [1, "lifted"]


def test_workers_that_are_threads_keep_to_one_thread_each_and_the_limit_is_lifted_after_them():
    seen = []

    @register_solver("looks", kind="baseline", releases_gil=True)
    def looks(problem):
        seen.extend(limits())
        return np.arange(problem.size)

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = limits()
        compute_rsm(images(9), matching="looks", n_jobs=2, block=2)
        assert limits() == before
    assert set(seen) == {1}


@pytest.mark.parametrize("centring", ["none", "channel", "position"])
@pytest.mark.parametrize("query", [False, True])
def test_holding_the_images_changes_nothing(centring, query, monkeypatch):
    z, z2 = images(5), images(4, seed=1) if query else None
    calls = {}
    for limit in (2**27, 0):
        monkeypatch.setattr("semrsm_bench.rsm.images.BLOCK_BYTES", limit)
        calls[limit] = compute_rsm(z, z2, matching="exact-auction", centring=centring, n_jobs=2, block=2)
    assert np.array_equal(*calls.values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centring", ["none", "channel", "position"])
@pytest.mark.parametrize("matching", ["exact-auction", "pooled"])
def test_images_that_are_read_without_a_copy_are_not_changed(matching, centring, dtype):
    # In the layout and the precision of the call: what is read of them is the array itself.
    z = np.ascontiguousarray(images(5).swapaxes(1, 2), dtype=dtype)
    before = z.copy()
    assert np.shares_memory(as_source(z, layout="channels_last").read(1, 3), z)
    rsm = compute_rsm(z, matching=matching, layout="channels_last", centring=centring, n_jobs=2, kernel="rbf")
    assert np.array_equal(z, before)
    assert z.flags.writeable
    assert np.array_equal(rsm, compute_rsm(z.swapaxes(1, 2), matching=matching, centring=centring, kernel="rbf"))


def test_an_error_in_a_thread_ends_the_run():
    calls = []

    @register_solver("fails", kind="baseline", releases_gil=True)
    def fails(problem):
        calls.append(problem.size)
        raise ArithmeticError("no more")

    with pytest.raises(ArithmeticError, match="no more"):
        compute_rsm(images(30), matching="fails", n_jobs=2, block=1)
    # Two workers with two tiles waiting each: all others were never begun.
    assert len(calls) <= 4


def test_a_backend_that_the_user_names_is_kept():
    seen = []

    @register_solver("here", kind="baseline", releases_gil=True)
    def here(problem):
        seen.append(os.getpid())
        return np.arange(problem.size)

    z = images(6)
    with joblib.parallel_config(backend="loky"):
        processes = compute_rsm(z, matching="here", n_jobs=2, block=2)
    assert seen == []
    assert np.array_equal(processes, compute_rsm(z, matching="here", n_jobs=2, block=2))
    assert set(seen) == {os.getpid()}
