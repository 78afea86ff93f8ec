"""RSMs from solvers that take many pairs in one call, and that may run in threads."""

import os
import threading
from contextlib import nullcontext, suppress

import joblib
import numpy as np
import pytest
import threadpoolctl

from semrsm_bench.rsm import compute_rsm
from semrsm_bench.rsm.registry import register_rsm
from semrsm_bench.rsm.sources import as_source
from semrsm_bench.rsm.tiles import one_thread
from semrsm_bench.solvers import InvalidMatchingError, register_solver


def images(count=7, channels=6, size=40, seed=0):
    draw = np.random.default_rng(seed)
    basis = draw.normal(size=(5, channels))
    return np.maximum(draw.normal(size=(count, size, 5)) @ basis, 0).astype(np.float32).swapaxes(1, 2)


def watched_solver(together=0, **declared):
    """Registers "backwards", which matches s with S - 1 - s; returns the processes and threads in which it was called.

    The first calls wait for one another, as many as there are to be at work together.
    """
    log, gate = [], threading.Barrier(together, timeout=60) if together else None

    @register_solver("backwards", kind="baseline", **declared)
    def backwards(problem, shift=0):
        log.append((os.getpid(), threading.get_ident()))
        if gate is not None and len(log) <= together:
            gate.wait()
        return np.roll(np.arange(problem.size)[::-1], shift)

    return log


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


@pytest.mark.parametrize("matrix_free", [False, True])
@pytest.mark.parametrize("most", [40, 1])
def test_a_batch_entry_is_used_with_its_options_and_leaves_pairs_to_the_function(matrix_free, most):
    calls = []

    def batch(x, ys, affinities, shift=0):
        calls.append(len(ys))
        if matrix_free:
            assert affinities is None
        else:
            np.testing.assert_allclose(affinities, [x @ y.T for y in ys], rtol=1e-6, atol=1e-6)
        perms = np.full((len(ys), len(x)), -5, np.int32)
        perms[:most] = np.roll(np.arange(len(x))[::-1], shift)
        return perms, np.arange(len(ys)) < most

    log, z = watched_solver(batch=batch, matrix_free=matrix_free), images()
    rsm, perms = compute_rsm(z, matching="backwards", options={"shift": 3}, return_permutations=True)
    assert sum(calls) == 21
    assert len(log) == sum(max(0, number - most) for number in calls)
    perm = np.roll(np.arange(40)[::-1], 3)
    upper = np.triu_indices(7, 1)
    assert (perms[upper] == perm).all()
    z = z.astype(float)
    assert rsm[upper] == pytest.approx(np.einsum("ics,jcs->ij", z, z[:, :, perm])[upper], rel=1e-12)


IDENTITY = np.arange(40)
NO_PERMUTATION = [np.zeros(40, int), IDENTITY - 1, IDENTITY + 1, IDENTITY * 1.0, IDENTITY[:-1], [[0, 1], [2, 3]], None]


@pytest.mark.parametrize("answer", NO_PERMUTATION, ids=str)
@pytest.mark.parametrize("in_batches", [False, True])
def test_what_is_no_permutation_is_caught(answer, in_batches):
    def batch(x, ys, affinities):
        return np.tile(answer, (len(ys), 1)), np.ones(len(ys), bool)

    register_solver("liar", kind="approximate", batch=batch if in_batches else None)(lambda problem: answer)
    with pytest.raises(InvalidMatchingError, match="solver 'liar': "):
        compute_rsm(images(), matching="liar")


@pytest.mark.parametrize(
    "answer",
    [
        lambda b: (np.tile(IDENTITY, (b + 1, 1)), np.ones(b, bool)),
        lambda b: (IDENTITY, np.ones(b, bool)),
        lambda b: (np.tile(IDENTITY, (b, 1)), True),
    ],
)
def test_a_batch_entry_answers_for_every_pair(answer):
    watched_solver(batch=lambda x, ys, affinities: answer(len(ys)))
    with pytest.raises(InvalidMatchingError, match="batch entry answers"):
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
        watched_solver(batch=lambda x, ys, affinities: vandal(x, ys))
    else:
        register_solver("backwards", kind="approximate")(lambda problem: vandal(problem))
    with pytest.raises(ValueError, match="read-only"):
        compute_rsm(images(), matching="backwards")


@pytest.mark.parametrize(("backend", "threads"), [(None, 2), ("loky", 0)])
def test_a_solver_that_releases_the_lock_runs_in_threads_unless_the_user_names_processes(backend, threads):
    log, z = watched_solver(releases_gil=True, together=threads), images(8)
    with nullcontext() if backend is None else joblib.parallel_config(backend=backend):
        found = compute_rsm(z, matching="backwards", n_jobs=2, block=2)
    assert len(set(log)) == threads
    assert {process for process, _ in log} <= {os.getpid()}
    assert np.array_equal(found, compute_rsm(z, matching="backwards"))


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
    register_solver("looks", kind="baseline", releases_gil=True)(lambda problem: seen.extend(limits()) or IDENTITY)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = limits()
        compute_rsm(images(9), matching="looks", n_jobs=2, block=2)
        assert limits() == before
    assert set(seen) == {1}


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
