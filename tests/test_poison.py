"""Memory that was not filled: whatever lies there, every method gives the same answers, bit by bit."""

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
    return [name for name in getattr(sb, f"{kind}_names")() if getattr(sb, f"get_{kind}")(name).available]


def inputs(kind):
    """Small problems with ties, constants, other scales and types, as those of the kind's check."""
    rng = np.random.default_rng(0)
    if kind == "solver":
        for size, dtype in ((0, "f4"), (1, "f4"), (2, "f8"), (33, "f4"), (70, "f8"), (150, "f4")):
            x, y = rng.normal(size=(2, size, 4)).astype(dtype)
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
    """By method, and of arrays that are not filled, in Python and compiled."""
    empty = {"": digest([np.empty(10_000)]), "compiled": digest([numba.njit(lambda n: np.empty(n))(10_000)])}
    return empty | {name: digest(answers(kind, name)) for name in methods(kind)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_what_memory_held(kind):
    found = []
    for byte in ("1", "254"):  # what freed memory holds everywhere, compiled code's too
        command = [sys.executable, "-c", f"import tests.test_poison as t; print(t.digests({kind!r}))"]
        given = {**os.environ, "MALLOC_PERTURB_": byte}
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=given, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        found.append(ast.literal_eval(done.stdout))
    assert {name for name in found[0] if found[0][name] != found[1][name]} == {"", "compiled"}
    assert len(found[0]) == len(found[1]) > 2


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
