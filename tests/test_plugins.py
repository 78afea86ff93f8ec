"""Solvers of other people: from an installed distribution, and from a file."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import semrsm_bench as sb
from semrsm_bench.bench.process import WorkerProcess, WorkerSetup
from semrsm_bench.bench.results import load_rows
from semrsm_bench.cli import cli
from semrsm_bench.cli.show import SelectionOptions, select
from tests.bench_data import distribution, small_cache, solver_file

HERE = Path(__file__).resolve().parent

SHIFT = """
import numpy as np
import semrsm_bench as sb

@sb.register_solver("file-shift", kind="approximate", grid={"by": [1, 2]}, complexity="O(S)", reference="nowhere")
def shift(problem, *, by):
    '''Move everything along.'''
    return np.roll(np.arange(problem.size), by)
"""


def run(*arguments, path):
    places = os.pathsep.join(map(str, [path, HERE.parent, *filter(None, [os.environ.get("PYTHONPATH")])]))
    how = {"env": {**os.environ, "PYTHONPATH": places}, "cwd": path, "timeout": 300}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **how)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder into which pip has really installed the second distribution, without a network."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(HERE / "plugin_distribution", folder / "source")
    target = folder / "site"
    command = ["-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = run(*command, "--target", str(target), str(source), path=folder)
    assert done.returncode == 0, done.stderr
    return target


def test_solvers_of_an_installed_distribution_are_listed_and_checked_like_any_other(installed):
    done = run("-m", "semrsm_bench", "list", "solvers", "--json", path=installed)
    assert (done.returncode, done.stderr) == (0, "")
    listed = json.loads(done.stdout)
    assert "ortools" in {row["name"] for row in listed}
    expected = {"version": "2.3.1", "available": True, "matrix_free": True}
    for order, row in zip((1, 2), listed[-2:]):
        assert row.items() >= {"name": f"norm-sort-{order}", "options": {"order": order}, **expected}.items()
    done = run("-m", "semrsm_bench", "check", "norm-sort-2", path=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('out of order')", "ValueError: out of order"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(5)", "SystemExit: 5"),
        (
            "import semrsm_bench as sb\n"
            "@sb.register_solver('half-done', kind='exact')\ndef f(problem): ...\n"
            "sb.register_solver('scipy', kind='exact')(f)\n",
            "ValueError: solver 'scipy' is registered already, by semrsm_bench.solvers.exact.scipy; choose another name",
        ),
    ],
)
@pytest.mark.parametrize(
    "command",
    [("-c", "import semrsm_bench as sb; print(*sb.solver_names())"), ("-m", "semrsm_bench", "list", "solvers")],
)
def test_a_broken_installed_plugin_is_named_and_left_out(tmp_path, body, reason, command):
    (tmp_path / "broken_plugin_module.py").write_text(body)
    announce(tmp_path, "broken_plugin_module")
    done = run(*command, path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"RuntimeWarning: the plugin 'broken_plugin_module' of brittle is left out: {reason}" in done.stderr
    assert "scipy" in done.stdout.split()
    assert "half-done" not in done.stdout.split()


@pytest.fixture
def shift(tmp_path):
    """The file of a plugin."""
    (tmp_path / "shift.py").write_text(SHIFT)
    return tmp_path / "shift.py"


def test_a_file_registers_its_solvers_once_and_two_of_one_name_are_two_plugins(shift):
    (shift.parent / "other").mkdir()
    other = shift.parent / "other" / shift.name
    other.write_text(SHIFT.replace("file-shift", "other-shift"))
    for file, name in ((shift, "file-shift"), (other, "other-shift")):
        assert [sb.load_plugin(given) for given in (file, str(file))] == [[f"{name}-1", f"{name}-2"]] * 2
        assert sb.solve(sb.MatchingProblem(np.eye(3), np.eye(3)), f"{name}-2").tolist() == [1, 2, 0]
        assert sb.get_solver(f"{name}-1").version == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def test_a_file_may_register_what_it_imports(tmp_path):
    file = tmp_path / "borrowed.py"
    file.write_text(
        "import functools, numpy as np, semrsm_bench as sb\n"
        "def f(problem, shift): return np.roll(np.arange(problem.size), shift)\n"
        "sb.register_solver('borrowed', kind='approximate')(functools.partial(f, shift=1))\n"
    )
    assert [sb.load_plugin(file) for _ in range(2)] == [["borrowed"]] * 2
    assert sb.solve(sb.MatchingProblem(np.eye(3), np.eye(3)), "borrowed").tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "it registers nothing; decorate a function with @semrsm_bench.register_solver"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit", "SystemExit"),
        (SHIFT + "\n1 / 0\n", "ZeroDivisionError: division by zero"),
        (
            SHIFT.replace("file-shift", "batch-optimal").replace("[1, 2]", "[1, 128]"),
            "'batch-optimal-128' is registered already",
        ),
    ],
)
def test_a_file_that_fails_leaves_nothing_behind(tmp_path, text, message):
    file = tmp_path / "broken.py"
    file.write_text(text)
    names = sb.solver_names()
    modules = set(sys.modules)
    for _ in range(2):
        with pytest.raises(ValueError, match=message) as caught:
            sb.load_plugin(file)
        assert str(file) in str(caught.value)
    assert sb.solver_names() == names
    assert not [name for name in set(sys.modules) - modules if "plugin" in name]


def test_files_that_are_no_plugins(tmp_path):
    (tmp_path / "notes.txt").write_text("x = 1")
    with pytest.raises(ValueError, match="not a Python file"):
        sb.load_plugin(tmp_path / "notes.txt")
    for path in (tmp_path / "nowhere.py", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"{path.name}: no such file"):
            sb.load_plugin(path)


def test_the_list_shows_what_a_plugin_says_and_why_a_solver_is_not_available(shift):
    sb.register_solver("absent", kind="exact", requires=["no_such_module"])(lambda problem: None)
    output = CliRunner().invoke(cli, ["list", "solvers", "--plugin", str(shift)], catch_exceptions=False).output
    assert "file-shift-2          Move everything along.\n" in output
    assert "O(S); by=2; nowhere" in output
    assert "not available: needs the module 'no_such_module', which is not installed" in output
    sections = [output.index(title) for title in ("Exact\n", "Approximate\n", "Baselines\n")]
    assert sections == sorted(sections)


# Where plugins are imported, from outside: by files, and by distributions that announce them.

PATCHING = """
import json, os, sys, time
with open(os.environ["IMPORTED"], "a") as file:
    file.write(f"{os.getpid()} {sys.argv[0]}\\n")
time.perf_counter_ns = time.monotonic = lambda: 0
json.dumps = lambda *args, **options: "patched"
# A comment and a text are no tasks: @register_task
text = "@register_task"
"""
CLEAN = """
clean = time.perf_counter_ns() > 0 and json.dumps(1) == "1"
return sb.Solution(np.arange(problem.size), info={"clean": clean, "pid": os.getpid()})
"""
PLANTED = (HERE.parent / "examples" / "planted.py").read_text()


def announce(folder, module, name="brittle"):
    distribution(folder, name, **{"entry_points.txt": f"[semrsm_bench.plugins]\nsnap = {module}\n"})


@pytest.fixture(params=["file", "entry point"])
def patching(request, tmp_path, monkeypatch):
    """Command line with a plugin that patches the clock and JSON, and an honest one; returns who imported the first."""
    honest = solver_file(tmp_path, "honest", CLEAN, "import json", matrix_free=True)
    package = tmp_path / "site" / "patching"
    package.mkdir(parents=True)
    plugin = solver_file(package, "patching", CLEAN, PATCHING, matrix_free=True)
    given = ["--plugin", str(honest)]
    if request.param == "file":
        given += ["--plugin", str(plugin)]
    else:
        (package / "__init__.py").write_text(PATCHING)
        announce(package.parent, "patching.patching")
    noted = tmp_path / "imported"
    monkeypatch.setenv("IMPORTED", str(noted))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))

    def call(*words, code=0):
        noted.write_text("")
        done = run("-m", "semrsm_bench", *words, *given, path=package.parent)
        assert done.returncode == code, done.stderr
        processes = dict(line.split(maxsplit=1) for line in noted.read_text().splitlines())
        assert all(program.endswith("worker.py") for program in processes.values()), processes
        return done, {*map(int, processes)}

    call.folder = tmp_path
    return call


def test_a_plugin_can_neither_patch_the_engine_nor_a_rival(patching):
    results = str(patching.folder / "results")
    words = ["run", "--methods", "honest,patching,scipy", "--centring", "none", "--estimate", "--pairs", "1"]
    words += ["--layers", "layer2", "--data"]
    _, importing = patching(*words, str(small_cache(patching.folder / "data")), "--out", results)
    (folder,) = Path(results).iterdir()
    rows = {row["method"]: row for row in load_rows(folder)}
    assert set(rows) == {"honest", "patching", "scipy"}
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["honest"]["info"]["clean"] is True
    assert rows["patching"]["info"]["clean"] is False
    # One process has read its declaration, and one has measured it.
    assert len(importing) == 2
    assert rows["patching"]["info"]["pid"] in importing
    assert rows["honest"]["info"]["pid"] not in importing
    assert all(row["seconds"] > 0 for row in rows.values())
    done, importing = patching("table", "--results", results)
    assert "patching" in done.stdout
    assert not importing


def test_a_plugin_is_listed_and_checked_without_being_imported_by_the_command(patching):
    done, importing = patching("list", "solvers", "--json")
    assert [row["name"] for row in json.loads(done.stdout)][-2:] == ["honest", "patching"]
    assert len(importing) == 1
    for name, processes in (("honest", 1), ("patching", 2)):
        done, importing = patching("check", name, "--kind", "solver", "--case", "empty")
        assert "1 of 1 cases passed" in done.stdout
        assert len(importing) == processes


def test_tasks_of_a_distribution_are_imported_where_answers_are_scored(tmp_path):
    (tmp_path / "planting.py").write_text(PLANTED)
    announce(tmp_path, "planting")
    listed = run("-m", "semrsm_bench", "list", "tasks", "--json", path=tmp_path)
    assert [row["name"] for row in json.loads(listed.stdout)][-1] == "planted"
    words = ["run", "planted", "--problems", "1", "--positions", "9", "--methods", "scipy", "--estimate"]
    assert run("-m", "semrsm_bench", *words, path=tmp_path).returncode == 0
    shown = run("-m", "semrsm_bench", "table", "planted", path=tmp_path)
    assert "scipy" in shown.stdout, shown.stderr


@pytest.mark.parametrize("here", ["import semrsm_bench as sb; print(*sb.solver_names(), *sb.task_names())", "list"])
@pytest.mark.parametrize("where", ["named", "hidden"])
def test_a_distribution_brings_methods_or_tasks_and_not_both(tmp_path, here, where):
    other = solver_file(tmp_path, "added")
    more = other.read_text() if where == "named" else "import added\n"
    (tmp_path / "both.py").write_text("print('imported')\n" + PLANTED + more)
    announce(tmp_path, "both")
    done = run(*(["-m", "semrsm_bench", here] if here == "list" else ["-c", here]), path=tmp_path)
    assert done.returncode == 0
    assert "'both' of brittle is left out" in done.stderr
    assert "methods" in done.stderr
    assert not {"added", "planted"} & {*done.stdout.split()}
    assert ("imported" in done.stdout) == (where == "hidden")


def test_two_distributions_with_one_name_cost_the_second_and_no_run(tmp_path):
    for name in ("first", "second"):
        solver_file(tmp_path, "same", before=f"# {name}").rename(tmp_path / f"{name}.py")
        announce(tmp_path, name, name=name)
    done = run("-m", "semrsm_bench", "list", "solvers", "--json", path=tmp_path)
    assert [row["name"] for row in json.loads(done.stdout)].count("same") == 1
    assert "is left out: another plugin brings a solver named 'same'" in done.stderr


def test_the_worker_of_a_commit_knows_what_is_installed_there_and_a_methods_worker_does_not(tmp_path, monkeypatch):
    solver_file(tmp_path, "announced")
    announce(tmp_path, "announced")
    monkeypatch.syspath_prepend(tmp_path)
    for setup in (WorkerSetup(search=(tmp_path, HERE.parent)), WorkerSetup()):
        with WorkerProcess(setup) as worker:
            declared = worker.ask({"do": "describe", "kinds": ["solver"]}, 300).value["declared"]
        assert ("announced" in {method["name"] for method in declared}) == (setup.search is not None)


def test_a_limit_ends_with_what_it_is_for(tmp_path):
    solver_file(tmp_path, "announced")
    announce(tmp_path, "announced")
    code = (
        "import semrsm_bench as sb\nfrom semrsm_bench.core.registry import entry_points_limited_to\n"
        "with entry_points_limited_to('tasks'):\n    print('announced' in sb.solver_names())\n"
        "print('announced' in sb.solver_names())"
    )
    assert run("-c", code, path=tmp_path).stdout.split() == ["False", "True"]


def test_a_verb_that_shows_a_run_knows_the_tasks_of_files(tmp_path):
    file = tmp_path / "planting.py"
    file.write_text(PLANTED)
    with pytest.raises(FileNotFoundError):
        select([], tmp_path / "no-results", SelectionOptions(plugins=(file,)))
    assert "planted" in sb.task_names()
