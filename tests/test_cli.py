"""What holds for every verb: with --json, standard output carries the JSON alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bench_data import small_cache

ROOT = Path(__file__).resolve().parents[1]
# Every command prints in Python, past Python's buffers, into those of C, and in a child, before its work and after it.
NOISY = """
import atexit, ctypes, os, subprocess, click
def noise():
    print("noise")
    os.write(1, b"noise\\n")
    ctypes.CDLL(None).puts(b"noise")
    subprocess.run(["echo", "noise"])
atexit.register(noise)
invoke = click.Command.invoke
def noisy(self, ctx):
    noise()
    return invoke(self, ctx)
click.Command.invoke = noisy
from semrsm_bench.cli import main
main()
"""
# Prints where it is imported, and where it is called.
LOUD = """
import os
import numpy as np
import semrsm_bench as sb
print("noise at import")
os.write(1, b"noise at import\\n")

@sb.register_solver("loud", kind="approximate")
def loud(problem):
    "It talks."
    print("noise in a call")
    os.write(1, b"noise in a call\\n")
    return np.arange(problem.size)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    small_cache(folder / "data")
    np.save(folder / "z.npy", np.random.default_rng(0).normal(size=(6, 4, 9)).astype(np.float32))
    (folder / "loud.py").write_text(LOUD)
    (folder / "loud_task.py").write_text(
        (ROOT / "examples" / "planted.py").read_text()
        + "\nprint('noise at import')\n_score = Planted.score\n\n\ndef _loud(*given):\n    print('noise in score')\n"
        "    return _score(*given)\n\n\nPlanted.score = _loud\n"
    )
    run = ["run", "--data", "data", "--pairs", "2", "--solvers", "loud,identity", "--plugin", "loud.py", "--json"]
    facts = answer(folder, *run, "--run-id", "one")
    assert set(facts["counts"]) == {"ok"}
    return folder


def answer(folder, *words):
    """The JSON that a noisy command prints on standard output, and nothing else."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", NOISY, *words], cwd=folder, capture_output=True, text=True, env=given)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("noise\n") >= 8
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "words",
    [
        "run --plugin loud_task.py --problems 2 --positions 9",
        "run --data data --pairs 2 --solvers identity --estimate",
        "table one",
        "compare one one",
        "doctor --data data",
        "list --plugin loud.py",
        "list tasks --plugin loud_task.py",
        "solvers",
        "check identity --case two",
        "check --list-cases",
        "data list --data data",
        "rsm z.npy --plugin loud.py --matching loud --out l.npy",
        "rsm z.npy --plugin loud.py --matching loud -j 2",
        "rsm z.npy --plugin loud.py --matching loud --estimate --sample-seconds 0.1",
    ],
)
def test_standard_output_is_json_whatever_else_is_printed(place, words):
    assert answer(place, *words.split(), "--json")


def test_json_is_printed_in_one_place():
    """So that what holds for the verbs above holds for all, the gate too."""
    printing = [p.name for p in (ROOT / "semrsm_bench" / "cli").glob("*.py") if "json.dumps" in p.read_text()]
    assert printing == ["text.py"]
