"""Memory that nobody filled: whatever lies there, every method gives the same answers, bit by bit."""

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import semrsm_bench as sb

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("solver", "rsm", "metric")


def poison(monkeypatch):
    """Fill what ``np.empty`` and ``np.empty_like`` make."""

    def filling(make):
        def filled(*given, **more):
            array = make(*given, **more)
            kind, numbers = array.dtype.kind, np.iinfo(array.dtype).min if array.dtype.kind == "i" else 1
            array.fill(np.nan if kind in "fc" else numbers)
            return array

        return filled

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(np, name, filling(getattr(np, name)))


def methods(kind):
    return [name for name in getattr(sb, f"{kind}_names")() if not getattr(sb, f"get_{kind}")(name).reason]


def inputs(kind):
    """Small problems with ties, constants, other scales and types, as those of the kind's check."""
    rng = np.random.default_rng(0)
    if kind == "solver":
        for size, channels, dtype in (
            (0, 3, "f4"),
            (1, 3, "f4"),
            (2, 3, "f8"),
            (33, 5, "f4"),
            (70, 8, "f8"),
            (150, 4, "f4"),
        ):
            x, y = rng.normal(size=(2, size, channels)).astype(dtype)
            for scale in (1.0, 1e-25, 1e18):
                yield x * x.dtype.type(scale), y * y.dtype.type(scale)
            yield np.round(x), np.round(y)
            yield np.ones_like(x), y
    else:
        z = rng.normal(size=(60 if kind == "metric" else 6, 4, 9))
        yield from (z, np.round(z), z.astype(np.float32))


def answers(kind, name):
    """Everything that a method says of its inputs."""
    for given in inputs(kind):
        try:
            if kind == "solver":
                yield sb.solve(sb.MatchingProblem(*given), name)
            elif kind == "rsm":
                for matrix in sb.compute_rsm(given, matching=name, kernel=["linear", "rbf"], grid=(3, 3)).values():
                    yield np.asarray(matrix)
            else:
                metric, flat = sb.get_metric(name), given.reshape(len(given), -1).astype(float)
                sides = (flat, flat[::-1] ** 3)
                if metric.takes == "rsms":
                    sides = tuple(side @ side.T for side in sides)
                yield np.array(metric.compare(*map(metric.prepare, sides)))
        except ValueError as error:
            yield np.array(str(error))


def digest(arrays):
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def digests(kind):
    """By method, and of arrays that nobody fills, in Python and compiled."""
    empty = digest([np.empty(10_000)]), digest([numba.njit(lambda n: np.empty(n))(10_000)])
    return *empty, {name: digest(answers(kind, name)) for name in methods(kind)}


def poisoned(kind, byte):
    """What each method says where freed memory holds one byte everywhere, compiled code's too."""
    command = [sys.executable, "-c", f"import tests.test_poison as t; print(t.digests({kind!r}))"]
    given = {**os.environ, "MALLOC_PERTURB_": str(byte)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=given, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_what_memory_held(kind):
    (python, compiled, found), (other_python, other_compiled, other) = (poisoned(kind, byte) for byte in (1, 254))
    assert python != other_python
    assert compiled != other_compiled
    assert found
    assert found == other


@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_empty_arrays(kind, monkeypatch):
    """The part in Python: arrays that are made empty hold NaN, or a large negative number."""
    known = methods(kind)
    before = {name: [a.tobytes() for a in answers(kind, name)] for name in known}
    poison(monkeypatch)
    assert np.isnan(np.empty(3)).all()
    assert (np.empty_like(np.arange(2)) < -7).all()
    changed = [name for name in known if [a.tobytes() for a in answers(kind, name)] != before[name]]
    assert not changed
