"""A plugin of solvers that each break one promise; ``semrsm-bench check`` has to find out which."""

import ctypes
import os
import signal
import sys
import time

import numpy as np

import semrsm_bench as sb


def approximate(name, **claims):
    return sb.register_solver(name, **{"kind": "approximate", **claims})


approximate("bad-garbage")(lambda problem: "nonsense")
approximate("bad-duplicates")(lambda problem: np.zeros(problem.size, dtype=int))
# Wrong only where S is no multiple of a block.
approximate("bad-off-by-one")(lambda problem: np.arange(problem.size) + (problem.size % 64 == 63))
approximate("bad-random")(lambda problem: np.random.default_rng().permutation(problem.size))
# Looks at the process-wide generator without a draw from it.
approximate("bad-global-state")(lambda problem: np.resize(np.random.get_state()[1], problem.size).argsort())  # noqa: NPY002
approximate("bad-hangs-always")(lambda problem: time.sleep(1e6))
approximate("bad-not-matrix-free", matrix_free=True)(lambda problem: problem.affinity.sum(axis=1).argsort())
sb.register_solver("bad-not-exact", kind="exact")(lambda problem: sb.solve(problem, "greedy"))


@approximate("bad-writes")
def writes(problem):
    if problem.x.size:
        problem.x[0] = 0
    return np.arange(problem.size)


@approximate("bad-writes-behind")
def writes_behind(problem):
    """Write into the input behind numpy's back."""
    if problem.x.size:
        ctypes.memset(problem.x.ctypes.data, 1, 4)
    return np.arange(problem.size)


@approximate("bad-writes-affinity")
def writes_affinity(problem):
    if problem.has_affinity:
        ctypes.memset(problem.affinity.ctypes.data, 1, 4)
    return np.arange(problem.size)


@approximate("bad-global-random")
def global_random(problem):
    """Seed the process-wide generator that other code draws from."""
    np.random.seed(0)  # noqa: NPY002
    return np.random.permutation(problem.size)  # noqa: NPY002


@approximate("bad-memory")
def remember(problem, *, seen=[]):  # noqa: B006
    seen.append(problem.size)
    return np.roll(np.arange(problem.size), len(seen))


@approximate("bad-raises")
def raises(problem):
    """Give up on ties."""
    if problem.size and (problem.x == problem.x[0]).all():
        raise RuntimeError("singular matrix")
    return np.arange(problem.size)


def with_duals(name, u, v):
    """A solver whose duals are these values, for as many positions more than there are."""

    @approximate(name)
    def solver(problem):
        duals = tuple(np.full(problem.size + more, value) for value, more in (u, v))
        return sb.Solution(np.arange(problem.size), duals=duals)


with_duals("bad-duals", (-1e9, 0), (-1e9, 0))
with_duals("bad-short-duals", (0.0, 1), (0.0, 0))


@approximate("bad-fatal")
def fatal(problem):
    """Hang on S = 0, take the process along on S = 1, leave on S = 2."""
    while problem.size == 0:
        pass
    if problem.size == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if problem.size == 2:
        sys.exit(3)
    return np.arange(problem.size)


@approximate("good-but-chatty")
def chatty(problem):
    """Print what looks like an answer of the checking process."""
    print('{"reason": "forged", "seconds": 0}', flush=True)
    os.write(1, b'{"reason": "forged", "seconds": 0}\n')
    return np.arange(problem.size)
