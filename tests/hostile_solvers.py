"""A plugin whose solvers do everything a solver must not do; the engine has to survive each of them."""

import ctypes
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from hostile_info import INFO

import semrsm_bench as sb

CHILD = [sys.executable, "-c"]


class MuteError(Exception):
    """An error that cannot be shown."""

    def __str__(self):
        raise RuntimeError("no words")


def note(process):
    """Write down the id of a process for the test."""
    if file := os.environ.get("HOSTILE_NOTE"):
        Path(file).write_text(str(process))


def fail(error):
    raise error


def spin_for_ever():
    while True:
        pass


def hang_deaf(problem):
    """Never return, ignoring every signal that can be ignored, and have a child."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    note(subprocess.Popen([*CHILD, "import time; time.sleep(600)"]).pid)
    spin_for_ever()


def grow(problem):
    held = [np.ones(2**24, dtype=np.uint8) for _ in range(50 * 64)]
    return np.arange(len(held))[: problem.size]


def child_grow(problem):
    code = "import time; held = [bytearray(b'x' * (1 << 24)) for _ in range(50 * 64)]; time.sleep(600)"
    subprocess.run([*CHILD, code], check=True)


def mutate(problem):
    """Overwrite the inputs it was lent, as compiled code can."""
    for array in (problem.x, problem.affinity):
        ctypes.memset(array.ctypes.data, 1, array.nbytes)
    return np.arange(problem.size)


def write(problem):
    problem.x[:] = 0


def print_much(problem):
    for stream in (sys.stdout, sys.stderr):
        stream.write("z" * 10_000_000)
        stream.flush()
    return np.arange(problem.size)


def busy_thread(problem):
    threading.Thread(target=spin_for_ever, daemon=True).start()
    return np.arange(problem.size)


ACTS = {
    "hang": lambda problem: time.sleep(10**6),
    "hang-deaf": hang_deaf,
    "segfault": lambda problem: ctypes.string_at(0),
    "exit": lambda problem: os._exit(7),
    "quit": lambda problem: sys.exit("done with this"),
    "raise": lambda problem: fail(RuntimeError("no matching today")),
    "mute": lambda problem: fail(MuteError),
    "interrupt": lambda problem: fail(KeyboardInterrupt),
    "long": lambda problem: fail(ValueError("long " * 2_000_000)),
    # As the system does for want of memory, and by a signal that has no name
    "kill": lambda problem: os.kill(os.getpid(), signal.SIGKILL),
    "signal": lambda problem: os.kill(os.getpid(), 40),
    "reserve": lambda problem: len(mmap.mmap(-1, 50 << 30)),
    "map": lambda problem: np.ones(50 * 2**30, dtype=np.uint8)[: problem.size],
    "grow": grow,
    "child-grow": child_grow,
    "mutate": mutate,
    "write": write,
    "print": print_much,
    "thread": busy_thread,
}


@sb.register_solver("hostile", kind="approximate", grid={"what": list(ACTS)})
def act(problem, *, what):
    return ACTS[what](problem)


@sb.register_solver("hostile-liar", kind="approximate", matrix_free=True)
def liar(problem):
    """Claim not to need the affinity, and use it."""
    return np.argsort(problem.affinity[0])


GARBAGE = {
    "none": lambda size: None,
    "short": lambda size: np.arange(max(0, size - 1)),
    "twice": lambda size: np.zeros(size, dtype=np.intp),
    "float": lambda size: np.arange(size) + 0.5,
    "negative": lambda size: np.arange(size) - 1,
    "text": lambda size: "a permutation",
    "huge": lambda size: np.full(size, 2**62),
    "object": lambda size: [object()] * size,
    "matrix": lambda size: np.eye(size, dtype=np.intp),
    "ragged": lambda size: [[0], [1, 2]],
    "large": lambda size: np.zeros(10**8, dtype=np.int8),
}


@sb.register_solver("hostile-garbage", kind="approximate", grid={"what": list(GARBAGE)})
def garbage(problem, *, what):
    return GARBAGE[what](problem.size)


def sockets():
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                yield number
        except OSError:
            continue


@sb.register_solver(
    "hostile-socket",
    kind="approximate",
    grid={"what": ["close", "all", "shut", "text", "long", "list", "deep", "forged", "stage", "compiling", "path"]},
)
def disturb(problem, *, what):
    """Do something to the socket that leads to the parent."""
    victim = Path(os.environ.get("HOSTILE_VICTIM", "/nonexistent"))
    stages = b'{"id": 2, "stage": "prepared", "bytes": 0}\n' * 3
    writings = {
        "text": b"hello, parent\n",
        "long": b"x" * (20 << 20),
        "list": b"[1]\n",
        "deep": b"[" * 200_000 + b"]" * 200_000 + b"\n",
        "forged": b'{"id": 2, "done": {"status": "ok", "seconds": "fast"}}\n',
        "stage": stages,
        "compiling": stages.replace(b"prepared", b"compiling"),
        "path": json.dumps({"id": 2, "done": {"status": "ok", "arrays": {"perms": str(victim)}}}).encode() + b"\n",
    }
    for number in list(sockets()):
        if what == "close":
            os.close(number)
        elif what == "shut":
            with socket.socket(fileno=os.dup(number)) as one:
                one.shutdown(socket.SHUT_RDWR)
        elif what in writings:
            data = writings[what]
            while data:
                data = data[os.write(number, data) :]
            break
    if what == "all":
        os.closerange(0, 1000)
    return np.arange(problem.size)


@sb.register_solver("hostile-fork", kind="approximate", grid={"what": ["return", "leave", "stay", "away", "raise"]})
def fork(problem, *, what):
    """Leave a second process behind."""
    if what == "return":
        os.fork()
    elif what == "leave":  # the child keeps the socket open
        if os.fork() == 0:
            time.sleep(600)
        os._exit(5)
    elif os.fork() == 0:
        if what == "away":
            os.setsid()
            if os.fork():
                os._exit(0)
        note(os.getpid())
        time.sleep(600)
    if what == "raise":
        raise RuntimeError("and a child")
    return np.arange(problem.size)


@sb.register_solver("hostile-info", kind="approximate", matrix_free=True, grid={"what": list(INFO)})
def talkative(problem, *, what):
    return sb.Solution(np.arange(problem.size), info=INFO[what]())


def best(problem):
    return sb.solve(problem, "scipy")


class Later:
    """An answer that is worked out when it is read."""

    def __init__(self, problem):
        self.problem = problem

    def __array__(self, dtype=None, copy=None):
        time.sleep(0.02)
        return best(self.problem)


@sb.register_solver("sly-lazy", kind="approximate")
def lazy(problem):
    """Promise an answer at once and work it out later."""
    return Later(problem)


SEEN = {}


def remembered(key, problem, seconds=0.0):
    """The best matching that was found when the key came first, which takes so long."""
    if key not in SEEN:
        time.sleep(seconds)
        SEEN[key] = best(problem)
    return SEEN[key]


@sb.register_solver("sly-last", kind="approximate")
def last(problem):
    """Keep the first answer for every S."""
    return remembered(problem.size, problem)


@sb.register_solver("sly-memo", kind="approximate")
def memo(problem):
    """Keep answers by the bytes of the inputs."""
    return remembered((problem.x.tobytes(), problem.y.tobytes()), problem, 0.01)


@sb.register_solver("sly-disk", kind="approximate")
def disk(problem):
    """Keep all that may identify a problem in a file, from run to run, and take long for a new one."""
    file = Path(os.environ["SLY_FILE"])
    known = set(file.read_text().split()) if file.exists() else set()
    keys = {f"{zlib.crc32(part.tobytes()):x}" for part in (problem.x, problem.y, problem.affinity)}
    if known.isdisjoint(keys):
        time.sleep(0.01)
        file.write_text(" ".join(known | keys))
    return best(problem)


@sb.register_solver("sly-main", kind="approximate")
def stop_the_workers_clock(problem):
    """Put another clock into the worker itself, and work for a while."""
    stopped = time.perf_counter_ns()
    sys.modules["_semrsm_worker_core_clock"].perf_counter_ns = lambda: stopped
    end = time.process_time() + 0.4
    while time.process_time() < end:
        pass
    return np.arange(problem.size)


COUNTS = Counter()


@sb.register_solver("sly-once", kind="approximate")
def once(problem):
    """Work in the warm-up and in the first timed call; from then on guess."""
    COUNTS[problem.size] += 1
    return best(problem) if COUNTS[problem.size] <= 2 else np.roll(np.arange(problem.size), 7)


@sb.register_solver("sly-half", kind="approximate")
def half(problem):
    """Give no permutation in the fifth call of each S."""
    key = "half", problem.size
    COUNTS[key] += 1
    return np.zeros(problem.size, dtype=int) if COUNTS[key] == 5 else np.arange(problem.size)


@sb.register_solver("sly-clock", kind="approximate")
def stop_the_clock(problem):
    """Put another clock in the place of the one that times it."""
    time.perf_counter_ns = lambda: 0
    time.perf_counter = lambda: 0.0
    time.sleep(0.02)
    return np.arange(problem.size)


@sb.register_solver("sly-stopped", kind="approximate")
def freeze_the_clock(problem):
    """Stop the worker's own clock, and wait for a moment."""
    sys.modules["_semrsm_worker_core_clock"].perf_counter_ns = lambda: 10**9
    time.sleep(0.02)
    return np.arange(problem.size)


@sb.register_solver("sly-small-type", kind="approximate", grid={"dtype": ["uint8", "int8", "uint64", "int16"]})
def small_type(problem, *, dtype):
    """The best matching, in a narrow or unsigned type."""
    return best(problem).astype(dtype)
