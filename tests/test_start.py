"""A worker that is a copy of the template is like one that was started anew."""

import json
import multiprocessing
import os
import sys
import threading
from pathlib import Path

import psutil
import pytest

from semrsm_bench.bench import start
from semrsm_bench.bench.process import WorkerProcess, WorkerSetup

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux alone")

# A plugin that writes down in what kind of process it is imported; scikit-learn's import sets a variable that begins with KMP.
SPY = """
import gc, json, os, pathlib, random, resource, signal, sys
import numpy as np
import semrsm_bench as sb
sb.register_solver("spy", kind="exact")(lambda problem: None)
pathlib.Path({out!r}).write_text(json.dumps({{
    "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0) == os.getsid(0) == os.getpid(), "folder": os.getcwd(),
    "environment": {{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "KMP_"))}}, "path": sys.path,
    "cores": sorted(os.sched_getaffinity(0)),
    "limits": [resource.getrlimit(k) for k in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)],
    "signals": [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)],
    "streams": [s.fileno() for s in (sys.stdin, sys.stdout, sys.stderr)], "outputs": [os.fstat(i).st_ino for i in (1, 2)],
    "open": len(os.listdir("/proc/self/fd")), "hash": hash("a"),
    "draws": [float(np.random.rand()), random.random()],
}}))
"""


@pytest.fixture
def spied(tmp_path):
    """Start a worker and return what the plugin saw, with the number of the template that was there then."""

    def run(**setup):
        out = tmp_path / "seen.json"
        plugin = tmp_path / "spy.py"
        plugin.write_text(SPY.format(out=str(out)))
        with WorkerProcess(WorkerSetup((str(plugin),), **setup)) as worker:
            reply = worker.ask({"do": "reference"}, 60)
            assert reply.status == "ok", reply.message
            seen = json.loads(out.read_text())
            assert seen["pid"] == worker.pid
        assert not psutil.pid_exists(seen["pid"])  # ended, and no zombie either
        return seen, start._template and start._template._process.pid

    start.close_template()  # one that another test's thread has started ends with that thread
    yield run
    start.close_template()


@pytest.fixture
def no_copies(monkeypatch):
    def fail(*given):
        raise OSError("no template")

    return lambda: monkeypatch.setattr(start, "_copy", fail)


@pytest.mark.parametrize("setup", [{}, {"core": max(os.sched_getaffinity(0))}, {"folder": Path("/")}], ids=str)
def test_a_copy_is_like_a_process_started_anew(spied, no_copies, setup):
    copied, template = spied(**setup)
    assert template is not None
    no_copies()
    anew, _ = spied(**setup)
    for name in copied.keys() - {"pid", "draws", "outputs"}:
        assert copied[name] == anew[name], name
    assert copied["parent"] == os.getpid()
    assert copied["outputs"][0] == copied["outputs"][1]


def test_workers_share_one_template_and_no_random_numbers(spied):
    (first, template), (second, same) = spied(), spied()
    assert template == same
    assert first["pid"] != second["pid"]
    assert not set(first["draws"]) & set(second["draws"])


@pytest.mark.parametrize("change", ["environment", "path", "dead"])
def test_another_template_is_started_where_the_old_one_does_not_serve(spied, monkeypatch, change, tmp_path):
    _, before = spied()
    if change == "environment":
        monkeypatch.setenv("SEMRSM_BENCH_TEST", "yes")
    elif change == "path":
        monkeypatch.syspath_prepend(str(tmp_path))
    else:
        psutil.Process(before).kill()
        start._template._process.wait()
    seen, after = spied()
    assert seen["environment"].get("SEMRSM_BENCH_TEST") == os.environ.get("SEMRSM_BENCH_TEST")
    assert set(sys.path) <= set(seen["path"])
    assert after not in (None, before)
    assert not psutil.pid_exists(before)


def test_threads_start_workers_at_the_same_time(tmp_path):
    replies = []

    def ask():
        with WorkerProcess() as worker:
            replies.append(worker.ask({"do": "reference"}, 60).status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == ["ok"] * 4


def _ask_in_a_fork(answers):
    with WorkerProcess() as worker:
        answers.put((worker.ask({"do": "reference"}, 60).status, start._template._process.pid))


def test_a_fork_of_this_process_has_a_template_of_its_own(spied):
    _, ours = spied()
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_ask_in_a_fork, args=(answers,))
    child.start()
    status, theirs = answers.get()
    child.join()
    assert status == "ok"
    assert theirs != ours
    assert spied()[1] == ours
