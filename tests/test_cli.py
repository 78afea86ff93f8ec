"""What holds for every verb: with --json, standard output carries the JSON alone; wrong use is one line and exit code 2."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from semrsm_bench.cli import cli, main
from semrsm_bench.cli.text import say
from tests.bench_data import small_cache
from tests.command_line import call
from tests.image_files import image_zip
from tests.test_check import ABSENT

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
LOUD_TASK = """
print("noise at import")
_score = Planted.score

def _loud(*given):
    print("noise in score")
    return _score(*given)

Planted.score = _loud
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    small_cache(folder / "data")
    image_zip(folder / "a.zip", per_class=1)
    torch.save({"w": torch.zeros(2)}, folder / "other.pt")
    np.save(folder / "z.npy", np.random.default_rng(0).normal(size=(6, 4, 9)).astype(np.float32))
    (folder / "loud.py").write_text(LOUD)
    (folder / "loud_task.py").write_text((ROOT / "examples" / "planted.py").read_text() + LOUD_TASK)
    (folder / "absent.py").write_text(ABSENT)
    (folder / "nothing.py").write_text("")
    return folder


def answer(folder, *words):
    """The JSON that a noisy command prints on standard output, and nothing else."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", NOISY, *words], cwd=folder, capture_output=True, text=True, env=given)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("noise\n") >= 8
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def measured(place):
    """The place with a run in it."""
    run = "run --data data --pairs 2 --centring none --solvers loud,identity --plugin loud.py --json --run-id one"
    assert set(answer(place, *run.split())["counts"]) == {"ok"}
    return place


@pytest.mark.parametrize(
    "words",
    [
        "run --plugin loud_task.py --problems 2 --positions 9 --methods identity,scipy --estimate",
        "run --data data --pairs 2 --solvers identity --estimate",
        "table one",
        "compare one one",
        "doctor --data data",
        "list --plugin loud.py",
        "list tasks --plugin loud_task.py",
        "list solvers",
        "check identity --case two",
        "check --list-cases",
        "data list --data data",
        "rsm z.npy --plugin loud.py --matching loud --out l.npy",
        "rsm z.npy --plugin loud.py --matching loud -j 2",
        "rsm z.npy --plugin loud.py --matching loud --estimate --sample-seconds 0.1",
    ],
)
def test_standard_output_is_json_whatever_else_is_printed(measured, words):
    assert answer(measured, *words.split(), "--json")


def test_json_is_printed_in_one_place():
    """So that what holds for the verbs above holds for all, the gate too."""
    printing = [p.name for p in (ROOT / "semrsm_bench" / "cli").glob("*.py") if "json.dumps" in p.read_text()]
    assert printing == ["text.py"]


@pytest.mark.parametrize("verb", ["run", "list"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_verb_with_one_line_and_its_exit_code(verb, number):
    code = (
        "from semrsm_bench import cli\n"
        "cli.signal.signal(cli.signal.SIGINT, cli.signal.default_int_handler)  # ignored where the tests run in the background\n"
        f"cli.cli.invoke = lambda ctx: cli.signal.raise_signal({number})\ncli.main(['{verb}'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    kept = "; what was measured so far is kept, the same command resumes there" if verb == "run" else ""
    assert (done.returncode, done.stderr.strip()) == (128 + number, f"interrupted{kept}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("dta", "Did you mean 'data'"),
        ("run --data data --solvers scypi", "did you mean 'scipy'"),
        ("run --data data --centring none,middle", "'middle' is not one of none, channel, position"),
        ("run --data data --layers layer7", "no layer 'layer7'"),
        ("run --data data --deadline -1", "-1.0 is not larger than 0"),
        ("run --data data --plugin no-such-file.py", "no such file"),
        ("run --data data --run-id ../up", "name of a folder"),
        ("run --data data --pairs 0", "--pairs"),
        ("run --data no-such-folder", "does not exist"),
        ("run outputs --kernels lineal", "did you mean 'linear'"),
        ("run matchng", "did you mean 'matching'"),
        ("check", "name a method, or a Python file"),
        ("check gredy", "unknown method 'gredy'; did you mean 'greedy'"),
        ("check gredy --kind solver", "unknown solver 'gredy'; did you mean 'greedy'"),
        ("check no_such_file.py", "no_such_file.py: no such file"),
        ("check greedy --case nothing", "unknown case 'nothing' of a solver; known are empty"),
        ("check absent --plugin absent.py", "'absent' is not available"),
        ("check nothing.py", "registers nothing"),
        ("list solver", "'solver' is not one of"),
        ("list solvers --kind exakt", "--kind: 'exakt' is no kind of solvers; did you mean 'exact'?"),
        ("data list --data nowhere", "does not exist"),
        ("data extract a.zip --model other.pt --out o.safetensors", "a state dict of another architecture"),
        ("rsm data", "name a layer"),
        ("rsm data --layer layer9", "no layer 'layer9'"),
        ("rsm z.npy --layer layer1", "z has no layer 'layer1'; it has z"),
        ("rsm z.npy --matching batch-optimal-128 --option blok_solver=scipy", "block_solver"),
        ("rsm z.npy --count 3", "--estimate"),
        ("rsm z.npy --estimate --sample-seconds 0", "--sample-seconds: 0.0 is not larger than 0"),
        ("rsm z.npy --estimate --matching identity --matching scipy", "one matching at a time"),
        ("rsm z.npy --kernel gauss", "kernel: 'gauss' is not one of"),
        ("rsm z.npy --matching identity --picture k.tiff9", "tiff9"),
        ("rsm z.npy --plugin missing.py", "no such file"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(place, kept_workers, monkeypatch, words, message):
    monkeypatch.chdir(place)
    before = [*place.glob("results/*")]
    assert message in call(*words.split(), code=2)[1]
    assert [*place.glob("results/*")] == before


@pytest.mark.parametrize("style", [{}, {"bold": True}])
def test_what_a_terminal_takes_as_a_command_is_shown_as_text(capsys, style):
    say("one \x1b[31mred\u202e\ttwo\x00\nnext", err=True, **style)
    assert capsys.readouterr().err == "one \\x1b[31mred\\u202e two\\x00\nnext\n"


def test_every_verb_prints_through_the_one_door_that_cleans():
    for path in (ROOT / "semrsm_bench").rglob("*.py"):
        if path.relative_to(ROOT / "semrsm_bench").parts not in {("cli", "text.py"), ("cli", "__init__.py")}:
            found = re.findall(r"click\.s?echo|(?<![\w.'\"])print\(", path.read_text().replace('"print(', ""))
            assert not found, f"{path.name}: use say() of cli/text.py"


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("Unable to allocate 8 TiB")])
def test_memory_that_runs_out_is_one_line(monkeypatch, capsys, error):
    monkeypatch.setattr(cli, "main", lambda **how: (_ for _ in ()).throw(error))
    with pytest.raises(SystemExit) as ended:
        main(["list"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"semrsm-bench: {error or 'out of memory'}: no memory is left: close something, or raise the limit (ulimit -v)\n"
    )
