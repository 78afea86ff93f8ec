"""Solvers that are programs: what they get, what comes of what they do, and what is left of them."""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.solvers.command import ProgramError
from tests.bench_data import Bench, is_gone, wait_until
from tests.command_line import call

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
ENDS = "{problem} {answer}"


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return Bench(tmp_path, sizes=(16,))


@pytest.fixture
def program(tmp_path):
    """Writes a program in Python; ``affinity`` and ``write`` are there for it."""

    def write(name, body):
        path = tmp_path / f"{name}.py"
        path.write_text(
            f"#!{sys.executable}\n"
            "import os, signal, sys, time\nimport numpy as np\n\n"
            "def write(perm, path=sys.argv[-1]):\n    np.save(open(path, 'wb'), np.asarray(perm))\n\n"
            f"{textwrap.dedent(body)}"
        )
        path.chmod(0o755)
        return str(path)

    return write


def problem_of(size=12, channels=5, dtype=np.float32):
    x, y = np.random.default_rng(size).standard_normal((2, size, channels)).astype(dtype)
    return sb.MatchingProblem(x, y)


def greedy_by_hand(affinity):
    """Each row in turn the best column that is left, one entry after the other."""
    left, perm = set(range(len(affinity))), []
    for row in affinity.tolist():
        perm.append(max(sorted(left), key=row.__getitem__))
        left.remove(perm[-1])
    return perm


# What a program does with its files -> the status of its rows, and words of their message.
DEEDS = {
    "good": ("write(np.arange(16, dtype=np.int32)); print('seconds 0.25')", "ok", ""),
    "silent": ("write(np.arange(16)[::-1])", "ok", ""),
    "fails": ("print('no such luck'); sys.exit(3)", "crashed", "exited with code 3: no such luck"),
    "floats": ("write(np.arange(16.0))", "invalid", "shape (16,) and dtype float64, not a permutation"),
    "doubles": ("write(np.zeros(16, int))", "invalid", "is matched 16 times"),
    "sleeps": ("time.sleep(600)", "timeout", "stopped after"),
    "hoards": ("held = b'x' * (3 << 30)", "memory", ""),
    "leaves": (
        "import subprocess; subprocess.Popen(['sleep', '600']); write(np.arange(16))",
        "invalid",
        "running after",
    ),
}
# The same without a worker.
FAILURES = {
    "dies": ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "killed by SIGSEGV"),
    "lacks": ("raise MemoryError('of 3 GB')", "memory", "out of memory: MemoryError: of 3 GB"),
    "mute": ("pass", "invalid", "it wrote no answer"),
    "garbles": ("open(sys.argv[-1], 'w').write('0 1 2')", "invalid", "its answer cannot be read"),
    "pickles": ("np.save(open(sys.argv[-1], 'wb'), np.array([{}]), allow_pickle=True)", "invalid", "cannot be read"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_program_without_an_answer_says_why(program, name):
    body, status, words = FAILURES[name]
    sb.register_command(name, f"{program(name, body)} {ENDS}")
    with pytest.raises(ProgramError) as error:
        sb.solve(problem_of(), name)
    assert error.value.status == status
    assert words in str(error.value)


@pytest.mark.parametrize(("said", "seconds"), [("seconds 0.5", 0.5), ("seconds fast", None), ("0.5", None)])
def test_what_a_program_says_of_its_time(program, said, seconds):
    sb.register_command("says", f"{program('says', f'write(np.arange(12)); print({said!r})')} {ENDS}")
    assert sb.get_solver("says").run(problem_of()).info.get("program_seconds") == seconds


def test_what_a_program_does_is_in_its_row_in_the_words_of_all_solvers(bench, program, tmp_path):
    before = {*tmp_path.iterdir()}
    commands = {name: f"{program(name, body)} {ENDS}" for name, (body, *_) in DEEDS.items()}
    commands["absent"] = f"{tmp_path}/no-such-program {ENDS}"
    found = bench(*commands, commands=commands, deadline=3.0, memory=1 << 30, pairs={"": 1})
    rows = {name: found.of(name)[-1] for name in commands}
    for name, (_, status, words) in DEEDS.items():
        assert rows[name]["status"] == status, (name, rows[name])
        assert words in rows[name]["message"], name
    assert rows["absent"]["status"] == "skipped"
    assert "there is no program" in rows["absent"]["message"]
    # The harness's time is T; the program's word is apart.
    assert rows["good"]["program_seconds"] == 0.25 != rows["good"]["seconds"]
    assert rows["silent"]["program_seconds"] is None
    assert rows["good"]["peak_bytes"] is None
    assert rows["good"]["raw"]["k"] == pytest.approx(sb.matching_value(the_pair_of(bench), np.arange(16)))
    # Nothing of theirs is left.
    assert {p.name for p in {*tmp_path.iterdir()} - before if p.name.startswith("semrsm-bench-")} == set()


def the_pair_of(bench):
    from semrsm_bench.activations.store import open_cache
    from semrsm_bench.tasks.sources import choose_pairs

    ((i, j),) = choose_pairs(5, 1)
    cache = open_cache(bench.cache)
    return sb.MatchingProblem(*(cache.positions("layer1", image, "none") for image in (i, j)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_program_gets_what_the_docs_promise(program, tmp_path, dtype):
    copy = "for name, path in zip('pxy', sys.argv[1:]):\n    open(f'{sys.argv[4]}-{name}', 'wb').write(open(path, 'rb').read())\n"
    path = program("copies", copy + "write(np.arange(12))")
    sb.register_command("copies", f"{path} {{problem}} {{x}} {{y}} {tmp_path}/kept {{answer}}")
    problem = problem_of(dtype=dtype)
    assert sb.solve(problem, "copies").tolist() == [*range(12)]
    for name, expected in zip("pxy", (problem.affinity, problem.x, problem.y)):
        array = np.load(f"{tmp_path}/kept-{name}")
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert np.array_equal(array, expected)


def test_a_program_without_the_affinity_is_matrix_free(bench, program):
    body = "x, y = (np.load(p) for p in sys.argv[1:3])\nperm = np.empty(len(x), int)\n"
    body += "perm[np.argsort(np.linalg.norm(x, axis=1))] = np.argsort(np.linalg.norm(y, axis=1))\nwrite(perm)"
    found = bench("sorts", commands={"sorts": f"{program('sorts', body)} {{x}} {{y}} {{answer}}"})
    assert {row["status"] for row in found.rows} == {"ok"}
    assert all(row["raw"]["matrix_free"] and row["shared_seconds"] is None for row in found.rows)


PERSISTENT = """
    open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')
    for number, line in enumerate(sys.stdin):
        problem, answer = line.rstrip('\\n').split('\\t')
        size = len(np.load(problem))
        write(np.arange(size), answer)
        print({answer!r}, flush=True)
"""


def persistent_plugin(folder, path, name="stays", *words):
    file = folder / f"plugin_{name}.py"
    command = [path, *map(str, words), "{problem}", "{answer}"]
    file.write_text(f"import semrsm_bench as sb\nsb.register_command({name!r}, {command!r}, persistent=True)\n")
    return file


def test_a_persistent_program_is_started_once_and_ends_with_the_run(bench, program, tmp_path):
    log = tmp_path / "pids"
    path = program("stays", PERSISTENT.replace("{answer!r}", "'done 0.125'"))
    found = bench("stays", plugins=(persistent_plugin(tmp_path, path, "stays", log),), pairs={"": 3})
    assert [row["status"] for row in found.rows] == ["ok"] * 3
    assert {row["program_seconds"] for row in found.rows} == {0.125}
    assert sum(row["samples"] for row in found.rows) > 3
    (pid,) = map(int, log.read_text().split())
    assert wait_until(lambda: is_gone(pid))


def test_the_program_of_a_killed_run_does_not_outlive_it(program, tmp_path):
    log = tmp_path / "pids"
    path = program("stays", PERSISTENT.replace("{answer!r}", "'done'"))
    sb.register_command("stays", [path, log, "{problem}", "{answer}"], persistent=True)
    code = (
        "import sys, os, signal, numpy as np, semrsm_bench as sb\n"
        f"sb.load_plugin({str(persistent_plugin(tmp_path, path, 'stays', log))!r})\n"
        "sb.solve(sb.MatchingProblem(np.eye(3), np.eye(3)), 'stays')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES.parent, check=False)
    (pid,) = map(int, log.read_text().split())
    assert wait_until(lambda: is_gone(pid))


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("'error too hard'", "error", "too hard"),
        ("'hello'", "invalid", "'hello\\n', where done or error is due"),
        ("exec('print(\"out\", file=sys.stderr); os._exit(4)')", "crashed", "exited with code 4: out"),
    ],
)
def test_a_persistent_program_that_fails_says_why_and_is_started_again(program, tmp_path, answer, status, words):
    log = tmp_path / "pids"
    path = program("fails", PERSISTENT.replace("{answer!r}", answer))
    sb.register_command("fails", [path, log, "{problem}", "{answer}"], persistent=True)
    for _ in range(2):
        with pytest.raises(ProgramError) as error:
            sb.solve(problem_of(), "fails")
        assert error.value.status == status
        assert words in str(error.value)
    assert len({*log.read_text().split()}) == 2


def test_a_second_answer_to_one_request_is_not_taken_for_one_to_the_next(program, tmp_path):
    twice = PERSISTENT.replace("{answer!r}", "'done\\ndone'")
    sb.register_command("twice", [program("twice", twice), tmp_path / "pids", "{problem}", "{answer}"], persistent=True)
    sb.solve(problem_of(), "twice")
    with pytest.raises(ProgramError, match="before it was asked"):
        sb.solve(problem_of(), "twice")


@pytest.mark.parametrize(
    "command", ["./solver", "./solver {problem}", "./solver {answer}", "{problem} {answer}", "./s {z} {answer}"]
)
def test_a_command_that_cannot_work_is_refused(command):
    with pytest.raises(ValueError, match="command 'mine'"):
        sb.register_command("mine", command)


def test_a_rebuilt_program_is_another_method(program):
    def code():
        sb.register_command("mine", f"{path} {ENDS}")
        found = sb.get_solver("mine").declare().code
        from semrsm_bench.solvers.registry import SOLVERS

        SOLVERS.forget("mine")
        return found

    path = program("mine", "write(np.arange(12))")
    first = code()
    assert code() == first
    program("mine", "write(np.arange(12)[::-1])")
    assert code() != first


def test_programs_are_no_rsm_methods(program):
    sb.register_command("mine", f"{program('mine', 'pass')} {ENDS}")
    assert "mine" not in sb.rsm_names()
    with pytest.raises(KeyError, match="registered as solver, not as RSM"):
        sb.get_rsm("mine")


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_c_example_is_greedy(tmp_path, monkeypatch, dtype):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["cc", "-O2", "-std=c99", "-Wall", "-Werror", "-o", "greedy", EXAMPLES / "greedy.c"], check=True)
    sb.register_command("c-greedy", f"./greedy {ENDS}")
    for size in (0, 1, 2, 40):
        problem = problem_of(size, dtype=dtype)
        assert sb.solve(problem, "c-greedy").tolist() == greedy_by_hand(problem.affinity)
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    done = subprocess.run(["./greedy", "bad.npy", "answer.npy"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "greedy: the problem is no .npy file\n")


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_a_c_program_goes_from_source_to_the_table_in_three_steps(bench, tmp_path, monkeypatch):
    """The three commands of docs/any-language.md, on a small cache."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EXAMPLES, "examples")
    page = (EXAMPLES.parent / "docs" / "any-language.md").read_text()
    steps = [line for line in page.split("```sh")[1].split("```")[0].splitlines() if line]
    assert [step.split()[:2] for step in steps] == [["cc", "-O2"], ["semrsm-bench", "check"], ["semrsm-bench", "run"]]
    subprocess.run(steps[0], shell=True, check=True)
    command = steps[2].split('"')[1]
    assert command in steps[1]
    monkeypatch.setattr("semrsm_bench.report.figures.draw_all", lambda *_, **__: [])
    call("check", "--command", command, "--case", "two", "--case", "float64")
    call(
        "run",
        "matching",
        "--command",
        command,
        "--solvers",
        "c-greedy,greedy",
        "--data",
        str(bench.cache),
        "--pairs",
        "2",
    )
    text = call("table", "latest")[0]
    assert "c-greedy" in text
    assert "T says: its own word, not checked" in text
    rows = json.loads(call("table", "latest", "--json")[0])["rows"]
    said = {row["method"]: row["program_seconds"] for row in rows}
    assert said["greedy"] is None
    assert 0 <= said["c-greedy"] < min(row["seconds"] for row in rows if row["method"] == "c-greedy")
