"""A plugin whose solvers do everything a solver must not do; the runner has to survive each of them."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import semrsm_bench as sb


@sb.register_solver("hostile-hang", kind="approximate")
def hang(problem):
    """Never return, in Python."""
    while True:
        time.sleep(0.05)


@sb.register_solver("hostile-hang-deaf", kind="approximate")
def hang_deaf(problem):
    """Never return, ignoring every signal that can be ignored, with a child of its own."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if note := os.environ.get("HOSTILE_NOTE"):
        Path(note).write_text(str(child.pid))
    while True:
        pass


@sb.register_solver("hostile-segfault", kind="approximate")
def segfault(problem):
    """Read address zero."""
    ctypes.string_at(0)


@sb.register_solver("hostile-exit", kind="approximate")
def leave(problem):
    """Leave the process without a word."""
    os._exit(7)


@sb.register_solver("hostile-quit", kind="approximate")
def quit_python(problem):
    """Raise SystemExit."""
    sys.exit("done with this")


@sb.register_solver("hostile-map", kind="approximate")
def map_memory(problem):
    """Ask for 50 GB at once."""
    return np.ones(50 * 2**30, dtype=np.uint8)[: problem.size]


@sb.register_solver("hostile-grow", kind="approximate")
def grow(problem):
    """Fill 50 GB piece by piece."""
    held = []
    for _ in range(50 * 64):
        held.append(np.ones(2**24, dtype=np.uint8))
    return np.arange(len(held))[: problem.size]


@sb.register_solver("hostile-raise", kind="approximate")
def complain(problem):
    """Raise."""
    raise RuntimeError("no matching today")


@sb.register_solver("hostile-mutate", kind="approximate")
def mutate(problem):
    """Overwrite the inputs it was lent, as compiled code can."""
    for array in (problem.x, problem.affinity):
        ctypes.memset(array.ctypes.data, 1, array.nbytes)
    return np.arange(problem.size)


@sb.register_solver("hostile-write", kind="approximate")
def write(problem):
    """Try to write into the inputs."""
    problem.x[:] = 0
    return np.arange(problem.size)


@sb.register_solver("hostile-liar", kind="approximate", matrix_free=True)
def liar(problem):
    """Claim not to need the affinity, and use it."""
    return np.argsort(problem.affinity[0])


@sb.register_solver("hostile-chatty", kind="approximate", matrix_free=True)
def chatty(problem):
    """Write a lot to both outputs, and do its work."""
    print("x" * 100_000)
    print("y" * 100_000, file=sys.stderr)
    return np.arange(problem.size)


@sb.register_solver(
    "hostile-garbage",
    kind="approximate",
    grid={"what": ["none", "short", "twice", "float", "negative", "text", "huge", "object", "matrix"]},
)
def garbage(problem, *, what="none"):
    """Return something that is no permutation."""
    s = problem.size
    return {
        "none": None,
        "short": np.arange(max(0, s - 1)),
        "twice": np.zeros(s, dtype=np.intp),
        "float": np.arange(s) + 0.5,
        "negative": np.arange(s) - 1,
        "text": "a permutation",
        "huge": np.full(s, 2**62),
        "object": [object()] * s,
        "matrix": np.eye(s, dtype=np.intp),
    }[what]


@sb.register_solver("hostile-moody", kind="approximate", matrix_free=True)
def moody(problem):
    """Work on most problems, and die on those whose first value is negative."""
    if problem.x[0, 0] < 0:
        os.kill(os.getpid(), signal.SIGABRT)
    return np.arange(problem.size)
