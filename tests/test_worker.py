import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from semrsm_bench.bench.measure import SAMPLE_NS, Task, sample
from semrsm_bench.bench.worker import Limits, Worker, WorkerPool
from semrsm_bench.solvers import solve
from semrsm_bench.solvers.problem import MatchingProblem
from tests.bench_data import HOSTILE

LIMITS = Limits(deadline=20.0, memory=300 << 20, warm_up=20.0)
SHORT = Limits(deadline=0.5, memory=300 << 20, warm_up=3.0)


def task(size=24, seed=0, **changes):
    rng = np.random.default_rng(seed)
    x, y = (rng.random((size, 5), dtype=np.float32) for _ in range(2))
    return Task(**{"x": x, "y": y, "options": {}, "memory": LIMITS.memory, **changes})


@pytest.fixture
def worker():
    made = []

    def make(name, **options):
        made.append(Worker(name, [HOSTILE], **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_solver_is_timed_and_its_matching_comes_back(worker):
    given = task()
    outcome = worker("scipy").solve(given, LIMITS)
    assert outcome.status == "ok"
    np.testing.assert_array_equal(outcome.perm, solve(MatchingProblem(given.x, given.y), "scipy"))
    assert len(outcome.seconds) > 1
    assert all(0 < s < LIMITS.deadline for s in outcome.seconds + outcome.affinity_seconds)
    assert outcome.peak_bytes is not None


def test_matrix_free_solvers_get_no_affinity(worker):
    outcome = worker("identity").solve(task(), LIMITS)
    assert outcome.status == "ok"
    assert outcome.affinity_seconds == []


def test_options_reach_the_solver_and_unknown_ones_are_errors(worker):
    one = worker("hostile-garbage-none")
    assert one.solve(task(options={"what": "twice"}), LIMITS).perm.tolist() == [0] * 24
    outcome = one.solve(task(options={"wat": "twice"}), LIMITS)
    assert outcome.status == "error"
    assert "did you mean 'what'" in outcome.message


def test_a_process_serves_many_tasks_and_has_one_thread_and_core(worker):
    core = max(os.sched_getaffinity(0))
    one = worker("scipy", core=core)
    one.solve(task(), LIMITS)
    pid = one.pid
    one.solve(task(size=30), LIMITS)
    assert one.pid == pid
    assert os.sched_getaffinity(pid) == {core}
    environment = psutil.Process(pid).environ()
    assert {environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")} == {"1"}


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("hostile-segfault", "crashed", "SIGSEGV"),
        ("hostile-exit", "crashed", "exited with code 7"),
        ("hostile-quit", "error", "SystemExit"),
        ("hostile-raise", "error", "RuntimeError: no matching today"),
        ("hostile-map", "memory", "50.0 GiB"),
        ("hostile-mutate", "invalid", "changed its inputs"),
        ("hostile-write", "error", "read-only"),
        ("hostile-liar", "invalid", "matrix_free"),
        ("hostile-garbage-none", "invalid", "NoneType"),
        ("hostile-garbage-text", "invalid", "str"),
        ("hostile-garbage-object", "invalid", "list"),
        ("no-such-solver", "error", "unknown solver"),
    ],
)
def test_a_bad_solver_costs_only_its_own_outcome(worker, name, status, words):
    one = worker(name)
    for _ in range(2):
        outcome = one.solve(task(), LIMITS)
        assert (outcome.status, outcome.perm) == (status, None)
        assert words in outcome.message


def test_a_solver_that_eats_memory_is_killed_early(worker):
    one = worker("hostile-grow")
    outcome = one.solve(task(), LIMITS)
    assert outcome.status == "memory"
    assert "300 MiB" in outcome.message
    assert one.pid is None


def test_a_replaced_worker_goes_on(worker):
    one = worker("hostile-moody")
    good, bad = task(), task()
    bad.x[0, 0] = -1.0
    assert [one.solve(t, LIMITS).status for t in (good, bad, good)] == ["ok", "crashed", "ok"]


def test_words_on_the_outputs_do_no_harm(worker):
    outcome = worker("hostile-chatty").solve(task(), LIMITS)
    assert outcome.status == "ok"
    assert sorted(outcome.perm) == list(range(24))


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until_gone(pid):
    end = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return is_gone(pid)


def test_a_solver_that_hangs_is_killed_with_its_children(worker, tmp_path, monkeypatch):
    note = tmp_path / "child"
    monkeypatch.setenv("HOSTILE_NOTE", str(note))
    one = worker("hostile-hang-deaf")
    outcome = one.solve(task(), SHORT)
    assert outcome.status == "timeout"
    assert "stopped after 3.5 s (warm-up)" in outcome.message
    assert one.pid is None
    assert wait_until_gone(int(note.read_text()))
    # The allowance for compilation is granted once, not for every retry of a solver that hangs.
    assert "stopped after 0.5 s" in one.solve(task(), SHORT).message


def test_a_deadline_holds_for_one_call_not_for_the_warm_up(worker):
    assert worker("hostile-hang").solve(task(timed=False), SHORT).message == "stopped after 0.5 s"


PARENT = """
import sys, time
from pathlib import Path
import numpy as np
from semrsm_bench.bench.measure import Task
from semrsm_bench.bench.worker import Limits, Worker
x = np.ones((8, 2), dtype=np.float32)
worker = Worker(sys.argv[1], [Path(sys.argv[2])])
if sys.argv[1] == "identity":
    worker.solve(Task(x, x, {}, 1 << 30), Limits(30, 1 << 30, 30))
    print(worker.pid, flush=True)
    time.sleep(600)
else:
    import threading
    threading.Timer(1.5, lambda: print(worker.pid, flush=True)).start()
    worker.solve(Task(x, x, {}, 1 << 30), Limits(600, 1 << 30, 30))
"""


@pytest.mark.parametrize("name", ["identity", "hostile-hang"])
def test_workers_die_with_a_parent_that_is_killed(name):
    root = Path(__file__).resolve().parent.parent
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, name, str(HOSTILE)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_until_gone(pid)


def test_a_pool_keeps_no_more_processes_than_it_may():
    with WorkerPool([HOSTILE], kept=1) as pool:
        for name in ("identity", "scipy", "identity"):
            assert pool.solve(name, task(), LIMITS).status == "ok"
            alive = [w.pid for w in pool._workers.values() if w.pid is not None]
            assert len(alive) == 1
    assert wait_until_gone(alive[0])


def test_limits_that_cannot_be_held_are_refused():
    for wrong in ({"deadline": 0}, {"memory": -1}, {"warm_up": -1}):
        with pytest.raises(ValueError, match="positive"):
            Limits(**wrong)


def test_samples_last_a_millisecond_and_measure_one_call():
    calls = []

    def nap():
        calls.append(None)
        time.sleep(2e-4)

    seconds = sample(nap, 2e-4)
    assert 1 <= len(seconds) <= 5
    assert min(seconds) >= 2e-4
    loops = len(calls) / len(seconds)
    assert min(seconds) * loops * 1e9 >= SAMPLE_NS


def test_a_cold_probe_does_not_make_samples_too_short():
    calls = []
    seconds = sample(lambda: calls.append(None), 5e-3)
    assert len(calls) >= len(seconds) * SAMPLE_NS / (1e9 * max(seconds))


def test_a_long_probe_is_its_own_sample():
    assert sample(lambda: pytest.fail("called again"), 3.0) == [3.0]
