"""Workers: whatever a method does, its process is held to its limits and one outcome comes back."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from semrsm_bench.bench import pool, process
from semrsm_bench.bench.methods import describe
from semrsm_bench.bench.pool import Observer, Scratch, Workers
from semrsm_bench.bench.process import CallLimits, WorkerProcess, WorkerSetup
from semrsm_bench.core.method import Declaration
from semrsm_bench.solvers import MatchingProblem, matching_value, solve
from tests.bench_data import HOSTILE, is_gone, solver_file, wait_until

# A fresh checkout compiles its kernels first.
LIMITS = CallLimits(deadline=120.0, memory=300 << 20, warm_up=300.0)
SHORT = CallLimits(deadline=0.5, memory=300 << 20, warm_up=1.0)
ROOT = Path(__file__).resolve().parent.parent


def pair(size=24, seed=0, channels=5, dtype=np.float32):
    x, y = np.random.default_rng(seed).random((2, size, channels), dtype=np.float32).astype(dtype)
    return {"x": x, "y": y}


class Observed(contextlib.ExitStack):
    """One worker that knows the hostile solvers, or those of another file, and observations in it."""

    def __init__(self, plugin=HOSTILE, **setup):
        super().__init__()
        self.worker = self.enter_context(WorkerProcess(WorkerSetup(plugins=(str(plugin),), **setup)))
        self.scratch = self.enter_context(Scratch())
        self._observe = Observer(lambda method: self.worker, self.scratch)

    def __call__(self, name, limits=LIMITS, *, arrays=None, **how):
        return self._observe(Declaration("solver", name), arrays or pair(), limits, **how)


@pytest.fixture(scope="module")
def observe():
    """Shared by all tests: a worker that was killed by one is replaced for the next."""
    with Observed() as one:
        yield one


@pytest.fixture
def alone():
    """A worker for one test."""
    with Observed() as one:
        yield one


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Waits for the process that a hostile solver starts; its id."""
    note = tmp_path / "child"
    monkeypatch.setenv("HOSTILE_NOTE", str(note))

    def find():
        wait_until(lambda: note.exists() and note.read_text(), 10)
        return int(note.read_text())

    return find


def slow(*case):
    """A case that differs little from others, and costs a new process."""
    return pytest.param(*case, marks=pytest.mark.slow)


def assert_serves(observe):
    """The same worker, or its replacement, does honest work."""
    given = pair(seed=3)
    outcome = observe("scipy", arrays=given)
    assert outcome.status == "ok", outcome.message
    expected = solve(MatchingProblem(given["x"], given["y"]), "scipy")
    np.testing.assert_array_equal(outcome.value["arrays"]["perms"], [expected] * len(outcome.value["seconds"]))


@pytest.mark.parametrize("name", ["scipy", "ortools", "exact-auction"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("size", [1, 2, 7, 300])
def test_every_timed_answer_comes_back_as_it_belongs_to_the_pair(observe, name, size, dtype):
    given = pair(size, dtype=dtype)
    outcome = observe(name, arrays=given)
    assert outcome.status == "ok", outcome.message
    problem = MatchingProblem(given["x"], given["y"])
    perms, seconds = outcome.value["arrays"]["perms"], outcome.value["seconds"]
    assert perms.shape == (len(seconds), size)
    assert 1 <= len(seconds) <= max(1, min(20, size - 1))
    best = matching_value(problem, solve(problem, "scipy"))
    assert [matching_value(problem, p) for p in perms] == pytest.approx([best] * len(perms), rel=1e-6)
    assert all(0 < s < LIMITS.deadline for s in seconds + outcome.value["shared_seconds"])
    assert len(outcome.value["shared_seconds"]) == len(seconds)
    assert sum(seconds) < outcome.wall_seconds


@pytest.mark.parametrize("timed", [True, False])
def test_the_baseline_identity_stays_the_identity_under_every_shift(observe, timed):
    outcome = observe("identity", timed=timed).value
    assert (outcome["arrays"]["perms"] == np.arange(24)).all()
    assert len(outcome["arrays"]["perms"]) == len(outcome["seconds"])
    assert (len(outcome["seconds"]) > 1) == timed
    assert outcome["shared_seconds"] == []


def test_duals_belong_to_the_pair_as_it_was_given(observe):
    given = pair(40)
    outcome = observe("exact-auction", arrays=given)
    arrays = outcome.value["arrays"]
    affinity = given["x"].astype(float) @ given["y"].T.astype(float)
    slack = arrays["u"][:, None] + arrays["v"] - affinity
    assert slack.min() > -1e-4
    assert arrays["u"].sum() + arrays["v"].sum() == pytest.approx(
        affinity[range(40), arrays["perms"][0]].sum(), rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint64", "int16"])
@pytest.mark.parametrize("size", [24, 127, 200])
def test_permutations_of_any_integer_type_are_shifted_back_alike(observe, dtype, size):
    if size > np.iinfo(dtype).max:
        pytest.skip("the type does not hold the positions")
    given = pair(size)
    outcome = observe(f"sly-small-type-{dtype}", arrays=given)
    best = solve(MatchingProblem(given["x"], given["y"]), "scipy")
    np.testing.assert_array_equal(outcome.value["arrays"]["perms"], [best] * len(outcome.value["seconds"]))


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("hostile-segfault", "crashed", "SIGSEGV"),
        slow("hostile-exit", "crashed", "exited with code 7"),
        ("hostile-quit", "error", "SystemExit"),
        ("hostile-interrupt", "error", "KeyboardInterrupt"),
        ("hostile-raise", "error", "RuntimeError: no matching today"),
        ("hostile-mute", "error", "MuteError: (its message cannot be shown)"),
        ("hostile-long", "error", "ValueError: long long"),
        ("hostile-signal", "crashed", "signal 40"),
        ("hostile-kill", "crashed", "killed by SIGKILL"),
        ("hostile-map", "memory", "50.0 GiB"),
        ("hostile-reserve", "memory", "out of memory: no memory is left"),
        ("hostile-mutate", "invalid", "changed its inputs"),
        ("hostile-write", "error", "read-only"),
        ("hostile-liar", "invalid", "matrix_free"),
        ("hostile-garbage-none", "invalid", "NoneType"),
        ("hostile-garbage-text", "invalid", "str"),
        ("hostile-garbage-object", "invalid", "list"),
        ("hostile-garbage-short", "invalid", "(23,)"),
        ("hostile-garbage-matrix", "invalid", "(24, 24)"),
        ("hostile-garbage-float", "invalid", "float64"),
        ("hostile-garbage-ragged", "invalid", "list, not a permutation"),
        ("hostile-garbage-large", "invalid", "(100000000,)"),
        ("no-such-solver", "error", "unknown solver"),
        ("hostile-socket-close", "crashed", ""),
        slow("hostile-socket-all", "crashed", ""),
        slow("hostile-socket-shut", "crashed", ""),
        ("hostile-socket-text", "crashed", "something else"),
        *(slow(f"hostile-socket-{what}", "crashed", "something else") for what in ("long", "deep", "list")),
        slow("hostile-socket-stage", "crashed", "something else"),
        ("hostile-socket-compiling", "crashed", "something else"),
        ("hostile-socket-forged", "crashed", "lacks times"),
        ("hostile-socket-path", "crashed", "not its answer"),
        ("hostile-fork-leave", "crashed", "exited with code 5"),
    ],
)
def test_a_bad_solver_costs_only_its_own_outcome(observe, tmp_path, monkeypatch, name, status, words):
    if "socket" in name:
        observe.worker.close()  # numbers of messages begin anew
    victim = tmp_path / "victim.npy"
    np.save(victim, np.arange(24))
    monkeypatch.setenv("HOSTILE_VICTIM", str(victim))
    for _ in range(2 if status != "crashed" else 1):
        outcome = observe(name)
        assert outcome.status == status, outcome.message
        assert words in outcome.message
        assert len(outcome.message) <= 500
        assert "perms" not in outcome.value.get("arrays", {})
    assert victim.exists()
    if status != "crashed":  # those that crashed are followed by a test that finds a new process
        assert_serves(observe)


@pytest.mark.parametrize("what", ["twice", "negative", "huge"])
def test_what_has_the_shape_of_a_permutation_is_judged_where_it_is_scored(observe, what):
    outcome = observe(f"hostile-garbage-{what}")
    assert outcome.status == "ok"
    perms = outcome.value["arrays"]["perms"]
    assert not any(sorted(p) == list(range(24)) for p in perms)


@pytest.mark.parametrize("name", ["hostile-print", "hostile-fork-return"])
def test_only_the_worker_itself_answers_where_a_solver_prints_or_forks(observe, name):
    outcome = observe(name)
    assert outcome.status == "ok", outcome.message
    assert (outcome.value["arrays"]["perms"] == np.arange(24)).all()
    assert_serves(observe)


@pytest.mark.parametrize("name", ["hostile-grow", "hostile-child-grow"])
def test_a_solver_that_eats_memory_is_killed_early_with_its_children(observe, name):
    outcome = observe(name)
    assert outcome.status == "memory", outcome.message
    assert "300 MiB" in outcome.message
    assert observe.worker.pid is None
    assert_serves(observe)


def test_a_worker_that_the_system_killed_for_want_of_memory_says_so(observe, monkeypatch):
    """A kill counts since the worker was last heard of: also while it had nothing to do."""
    counted = [3]
    monkeypatch.setattr(process, "memory_kills", lambda: counted[-1])
    assert_serves(observe)
    counted.append(4)
    outcome = observe("hostile-kill")
    assert (outcome.status, outcome.message) == ("memory", "killed by the system for want of memory")
    assert observe("hostile-kill").status == "crashed"


def test_an_answer_that_cannot_be_written_is_the_machines_fault(observe, tmp_path, monkeypatch):
    monkeypatch.setattr(observe.scratch, "answer", lambda: tmp_path / "nowhere" / "answer")
    outcome = observe("scipy")
    assert (outcome.status, outcome.machine) == ("error", True)
    assert "its answer cannot be written" in outcome.message
    monkeypatch.undo()
    assert not observe("hostile-raise").machine
    assert_serves(observe)


def test_kills_for_want_of_memory_are_those_of_the_control_group(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_CGROUPS", tmp_path)
    everywhere = process.memory_kills()
    assert f"oom_kill {everywhere}\n" in Path("/proc/vmstat").read_text()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        (folder := tmp_path / controllers / group.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for name in ("memory.events", "memory.oom_control"):
            (folder / name).write_text(f"under_oom 0\noom_kill {everywhere + 7}\noom_group_kill 99\n")
    assert process.memory_kills() == everywhere + 7


@pytest.mark.parametrize(
    ("what", "status", "words"),
    [
        ("stay", "invalid", "(process {}) running after the call; killed"),
        ("away", "invalid", "(process {}) running after the call; killed"),
        ("raise", "error", "RuntimeError: and a child"),
    ],
)
def test_a_child_that_outlives_the_call_is_killed_and_named(alone, child, what, status, words):
    """Also one that left the worker's group and lost its parent, and that of a method that failed."""
    outcome = alone(f"hostile-fork-{what}", timed=False)
    assert (outcome.status, outcome.value.get("arrays", {})) == (status, {})
    assert words.format(child()) in outcome.message
    assert wait_until(lambda: is_gone(child()), 10)
    assert_serves(alone)


def test_a_solver_that_hangs_is_killed_with_its_children(alone, child):
    outcome = alone("hostile-hang-deaf", SHORT)
    assert (outcome.status, outcome.message) == ("timeout", "stopped after 1.5 s (warm-up)")
    assert alone.worker.pid is None
    assert wait_until(lambda: is_gone(child()), 10)
    # The allowance for compilation is granted once, not for every retry of a solver that hangs.
    for again in ({}, {"timed": False}):
        assert alone("hostile-hang-deaf", SHORT, **again).message.startswith("stopped after 0.5 s")


def test_a_process_serves_many_commands_and_has_one_thread_and_core():
    core = max(os.sched_getaffinity(0))
    with Observed(core=core) as one:
        one("scipy")
        pid = one.worker.pid
        one("greedy", arrays=pair(30))
        assert one.worker.pid == pid
        assert os.sched_getaffinity(pid) == {core}
        environment = psutil.Process(pid).environ()
        assert {environment[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "NUMBA")} == {"1"}


@pytest.mark.parametrize(
    "what", ["huge", "long", "many", "nan", "mute", "deep", "keys", "arrays", "surrogate", "none", "text", "endless"]
)
def test_whatever_a_solver_says_of_its_work_is_short_and_plain(observe, what):
    outcome = observe(f"hostile-info-{what}")
    assert outcome.status == "ok", outcome.message
    assert outcome.value["arrays"]["perms"].shape[1] == 24
    assert len(json.dumps(outcome.value["info"])) < 8500


def test_numbers_that_a_solver_tells_stay_numbers(observe):
    info = observe("hostile-info-arrays").value["info"]
    assert (info["b"], info["c"]) == (3, True)
    assert "0x" not in json.dumps(info)
    assert observe("hostile-info-huge").value["info"] == {"d": f"an integer of {(10**5000).bit_length()} bits"}


# The clock.


def test_a_method_cannot_stop_the_clock(alone):
    for _ in range(2):
        assert min(alone("sly-clock").value["seconds"]) >= 0.02


def test_a_clock_that_says_too_little_is_found_out_by_the_cpu_time(alone):
    outcome = alone("sly-main", timed=False)
    assert outcome.status == "invalid", outcome.value
    assert "a call that is said to have lasted" in outcome.message
    assert "CPU time" in outcome.message


def test_a_clock_that_stands_still_is_found_out(alone):
    outcome = alone("sly-stopped")
    assert (outcome.status, outcome.message) == ("invalid", "its clock stood still during a call")


@pytest.mark.parametrize(
    ("claimed", "wall", "used", "words"),
    [
        (1.0, 1.0, 1.0, ""),
        (1.0, 1.01, 3.0, "3.0 cores"),
        (1.0, 1.0, 1.3, ""),
        (1.0, 1.0, 1.4, "1.4 cores"),
        (1e-4, 0.001, 0.02, ""),  # one tick of the system's own count
        (0.001, 2.0, 1.9, "0.001 s took 1.9 s of CPU time"),
        (1.0, 6.9, 0.0, ""),  # this process may have looked late
        (1.0, 7.1, 0.0, "1 s took 7.1 s"),
        (50.0, 60.0, 50.0, ""),
    ],
)
def test_what_a_worker_claims_must_agree_with_this_process(claimed, wall, used, words):
    worker = WorkerProcess()
    worker._noted = {"prepared": (3.0, 1.0), "warm": (10.0, 5.0), "probed": (10.0 + wall, 5.0 + used)}
    found = worker._doubt([claimed, 1.0])
    assert words in found
    assert bool(words) == bool(found)
    assert worker._doubt([]) == ""
    worker._noted.pop("probed")
    assert worker._doubt([claimed]) == ""


def test_a_worker_imports_from_where_this_process_does(tmp_path, monkeypatch):
    """Also where that is the folder that an interactive session was started in."""
    (tmp_path / "semrsm_bench").mkdir()
    (tmp_path / "semrsm_bench" / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with WorkerProcess(WorkerSetup(folder=ROOT)) as worker:
        assert worker.ask({"do": "describe"}, 60).status == "error", "it is another package"
        assert Path(worker.package) == tmp_path / "semrsm_bench" / "__init__.py"


@pytest.mark.parametrize(("size", "status", "least", "most"), [(24, "ok", 0.0, 3.0), (5, "error", 3.0, 9e9)])
def test_neither_the_start_nor_the_warm_up_costs_a_cell_its_budget(tmp_path, size, status, least, most):
    """Of a method that takes its time to be imported and to compile; a failure in the warm-up costs all that it took."""
    body = (
        "calls.append(1)\ntime.sleep(3 * (len(calls) == 1))\nif problem.size == 5:\n    raise ValueError('no')\n"
        "return np.arange(problem.size)"
    )
    with Observed(solver_file(tmp_path, "compiles", body, "time.sleep(3)\ncalls = []", matrix_free=True)) as one:
        outcome = one("compiles", arrays=pair(size))
    assert outcome.status == status, outcome.message
    assert least < outcome.wall_seconds < most


def test_the_room_of_a_method_is_imported_before_its_first_case():
    """Its import belongs to no case: neither to the wall time of a row nor to a budget or an estimate."""
    script = (
        "import runpy, sys\n"
        f"worker = runpy.run_path({str(ROOT / 'semrsm_bench' / 'bench' / 'worker.py')!r}, run_name='worker')\n"
        "worker['Commands'](print).load([], False, ('solver', 'scipy'))\n"
        "assert 'semrsm_bench.solvers.exact' in sys.modules\n"
        "worker['Commands'](print).load([], False, ('solver', 'there is none'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Workers() as workers:
        assert workers.of(Declaration("solver", "scipy")).setup.method == ("solver", "scipy")


# Starting, ending.


PARENT = """
import sys, threading, time
from tests.test_process import CallLimits, Observed
one = Observed()
def tell():
    while one.worker.pid is None:
        time.sleep(0.05)
    time.sleep(1)
    print(one.worker.pid, flush=True)
if sys.argv[1] == "hostile-hang":
    threading.Thread(target=tell).start()
one(sys.argv[1], CallLimits(600, 1 << 30, 30))
print(one.worker.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("name", ["identity", "hostile-hang"])
def test_workers_die_with_a_parent_that_is_killed(name):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, name], stdout=subprocess.PIPE, cwd=ROOT)
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert wait_until(lambda: is_gone(pid), 10)


def test_a_busy_thread_takes_no_time_from_a_rival():
    """An idle worker is stopped, and goes on when it is asked again."""
    busy = next(method for method in describe((str(HOSTILE),), ["solver"]) if method.name == "hostile-thread")
    with Workers() as workers, Scratch() as scratch:
        observe = Observer(workers.of, scratch)
        outcome = observe(busy, pair(2), LIMITS, timed=False)
        assert outcome.status == "ok", outcome.message
        pid = workers.of(busy).pid
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 10)
        before = process.tree_cpu_seconds(pid)
        assert observe(Declaration("solver", "scipy"), pair(200), LIMITS).status == "ok"
        time.sleep(0.1)
        assert process.tree_cpu_seconds(pid) == before
        assert observe(busy, pair(2), LIMITS, timed=False).status == "ok"
        assert workers.of(busy).pid == pid


def test_the_cpu_time_of_all_children_counts():
    """Of two that have ended, and of one that is there."""
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\n"
    script = (
        "import subprocess, sys\n"
        f"start = lambda more: subprocess.Popen([sys.executable, '-c', {spin!r} + more], stdin=-1, stdout=-1)\n"
        "ended, alive = [start('') for _ in range(2)], start('input()')\n"
        "assert [child.wait() for child in ended] == [0, 0] and alive.stdout.readline()\n"
        "print(flush=True)\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1) as parent:
        assert parent.stdout.readline()
        used = process.tree_cpu_seconds(parent.pid)
        parent.kill()
    assert used >= 3 * 0.28


def test_every_kind_and_name_has_a_worker_of_its_own_with_its_own_plugins():
    methods = [Declaration(kind, name, plugins=(f"{kind}-{name}.py",)) for kind in ("rsm", "solver") for name in "ab"]
    with Workers() as workers:
        found = [workers.of(method) for method in methods]
        assert [worker.setup.plugins for worker in found] == [method.plugins for method in methods]
        assert all(workers.of(method) is worker for method, worker in zip(methods, found))


def test_workers_together_hold_no_more_memory_than_they_may(monkeypatch):
    monkeypatch.setattr(pool, "resident_bytes", lambda pid: 100)
    with Workers(most=200) as workers, Scratch() as scratch:
        observe = Observer(workers.of, scratch)
        for name, others in zip(("identity", "scipy", "greedy", "identity", "sliced-sort"), (0, 1, 2, 2, 2)):
            assert observe(Declaration("solver", name), pair(), LIMITS).status == "ok"
            alive = [key[1] for key, worker in workers._workers.items() if worker.pid is not None]
            assert len(alive) == 1 + others
    assert alive == ["greedy", "identity", "sliced-sort"]


COMPILING = """
import numpy as np
from semrsm_bench import register_solver
from semrsm_bench.core.compiled import njit

@njit()
def count_down(n):
    return np.arange(n)[::-1].copy()

@register_solver("down", kind="baseline")
@register_solver("down-too", kind="baseline")
def down(problem):
    return count_down(problem.size)
"""


def test_one_line_says_that_methods_wait_for_compilation_and_none_where_it_is_done(tmp_path):
    plugin = tmp_path / "compiling.py"
    plugin.write_text(COMPILING)
    told = []
    for _ in range(2):
        lines = []
        with Workers(report=lines.append) as workers, Scratch() as scratch:
            observe = Observer(workers.of, scratch)
            for name in ("down", "down-too"):
                reply = observe(Declaration("solver", name, plugins=(str(plugin),)), pair(), LIMITS)
                assert reply.status == "ok", reply
        told.append(lines)
    assert [len(lines) for lines in told] == [1, 0]
    assert "compiling" in told[0][0]


def test_processes_end_where_none_may_be_kept():
    with Workers(most=0) as workers, Scratch() as scratch:
        observe = Observer(workers.of, scratch)
        for name in ("identity", "scipy", "identity"):
            assert observe(Declaration("solver", name), pair(), LIMITS).status == "ok"
            alive = [w.pid for w in workers._workers.values() if w.pid is not None]
            assert len(alive) == 1
    assert wait_until(lambda: is_gone(alive[0]), 10)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import no_such_module", r"plugin .*broken\.py failed to load: .*no_such_module"),
        slow("import os; os._exit(3)", "exited with code 3"),
        ("import ctypes; ctypes.string_at(0)", "killed by SIGSEGV"),
    ],
)
def test_a_plugin_that_does_not_load_is_named(tmp_path, body, words):
    (tmp_path / "broken.py").write_text(body)
    with pytest.raises(ValueError, match=f"^{words}"):
        describe((str(tmp_path / "broken.py"),))


def test_options_that_json_does_not_know_are_declared_all_the_same(tmp_path):
    (tmp_path / "odd.py").write_text(
        "import numpy as np, semrsm_bench as sb\n"
        "@sb.register_solver('odd', kind='approximate', by=np.int64(3), key=len, where={1, 2}, far=10**30)\n"
        "def odd(problem, *, by, key, where, far, other=lambda: 1): ...\n"
    )
    (found,), (again,) = (describe((str(tmp_path / "odd.py"),), ["solver"]) for _ in range(2))
    assert found.options["by"] == 3
    assert found == again


# Arrays on the way.


def test_arrays_are_written_once_and_only_old_ones_go():
    with Scratch(kept_bytes=1000) as scratch:
        small, large = np.zeros(10), [np.full(100, i, dtype=float) for i in range(3)]
        first = scratch.write({"a": small, "b": small})
        assert first["a"] == first["b"]
        assert scratch.write({"a": small}) == {"a": first["a"]}
        for _ in range(2):
            paths = scratch.write({str(i): a for i, a in enumerate(large)})  # together more than are kept
            for i, a in enumerate(large):
                np.testing.assert_array_equal(np.load(paths[str(i)]), a)
        assert not Path(first["a"]).exists()
    assert not Path(scratch.name).exists()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(0, 3), (5, 0), (4, 3)])
def test_arrays_of_any_layout_reach_a_worker(observe, shape, order):
    given = {n: np.asarray(np.random.default_rng(1).random(shape), order=order) for n in "xy"}
    outcome = observe("scipy", arrays=given)
    assert outcome.status == "ok", outcome.message
    assert outcome.value["arrays"]["perms"].shape[1] == shape[0]
