"""The registry: registering, looking up, running, and what each error says."""

import importlib.metadata
import inspect
import itertools
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.core.registry import REGISTRIES, Registry, UnknownNameError
from semrsm_bench.solvers import InvalidMatchingError, SolverUnavailableError, UnknownSolverError, warm_up


def problem(size=9, channels=3, seed=0):
    return sb.MatchingProblem(*np.random.default_rng(seed).standard_normal((2, size, channels)))


def reverse(problem, *, shift=0):
    """Backwards."""
    return np.roll(np.arange(problem.size)[::-1], shift)


class Shift:
    """A callable object serves as a function."""

    def __call__(self, problem, *, by=1):
        return np.roll(np.arange(problem.size), by)


def added(name="added", function=reverse, *, kind="approximate", **declared):
    """A solver registered for the test."""
    sb.register_solver(name, kind=kind, **declared)(function)
    return sb.get_solver(sb.solver_names()[-1])


def test_a_grid_registers_the_product_of_its_options():
    def f(problem, *, a, fast):
        """Match the same places."""
        return np.roll(np.arange(problem.size), a)

    solver = added("grid", f, grid={"a": [1, 2], "fast": [True, False]}, matrix_free=True)
    assert sb.solver_names()[-4:] == ["grid-1-true", "grid-1-false", "grid-2-true", "grid-2-false"]
    assert (solver.kind, dict(solver.options), solver.matrix_free) == ("approximate", {"a": 2, "fast": False}, True)
    assert (solver.available, solver.summary) == (True, "Match the same places.")
    assert sb.solve(problem(4), "grid-2-true").tolist() == [2, 3, 0, 1]
    assert sb.solve(problem(4), "grid-2-true", a=1).tolist() == [3, 0, 1, 2]
    assert sb.get_solver("batch-optimal-256").defaults == {"b": 256, "block_solver": "ortools"}


@pytest.mark.parametrize("values", [[2, 1, 3], [1, 2, 3], [1, 3, 2], [1, 3, 3]])
def test_of_a_grid_with_a_taken_name_nothing_is_registered(values):
    added("mine-2", Shift())
    names, taken = sb.solver_names(), 3 if values.count(3) > 1 else 2
    with pytest.raises(ValueError, match=rf"'mine-{taken}' is registered already, by .*test_registry\.(reverse|Shift)"):
        added("mine", grid={"shift": values})
    assert sb.solver_names() == names


@pytest.mark.parametrize(
    ("error", "message", "given"),
    [(ValueError, "lower case", {"name": n}) for n in ("", "Upper", "two words", " x", "a,b", "a/b", "-first", "ü")]
    + [
        (ValueError, f"precision is what an exact solver promises.* got {p}", {"kind": kind, "precision": p})
        for kind, p in (("approximate", 1e-3), ("exact", -1e-9), ("exact", 2e-3), ("exact", np.nan))
    ]
    + [
        (ValueError, "kind must be one of exact, approximate, baseline, got 'heuristic'", {"kind": "heuristic"}),
        (ValueError, r"is registered already, by semrsm_bench\.solvers\.exact\.ortools", {"name": "ortools"}),
        (ValueError, "empty grid", {"grid": {"shift": []}}),
        (TypeError, "'a' has no option 'shfit'; did you mean 'shift'", {"shfit": 2}),
        (TypeError, "first argument", {"function": lambda: None}),
    ],
)
def test_mistakes_in_registering_register_nothing(error, message, given):
    names = sb.solver_names()
    with pytest.raises(error, match=message):
        added(**{"name": "a", **given})
    assert sb.solver_names() == names


@pytest.mark.parametrize(
    ("error", "message", "name", "options"),
    [
        (UnknownSolverError, "unknown solver 'OrTool'; did you mean 'ortools'", "OrTool", {}),
        (KeyError, "known are ortools, scipy", "zzzzzzzz", {}),
        (TypeError, "no option 'levls'; did you mean 'levels'", "ortools", {"levls": 3}),
        (TypeError, "it takes none", "scipy", {"xyz": 3}),
    ],
)
def test_mistakes_in_calling_are_answered_with_what_was_meant(error, message, name, options):
    with pytest.raises(error, match=message):
        sb.solve(problem(), name, **options)
    with pytest.raises(TypeError, match=r"takes a MatchingProblem\(x, y\), got ndarray"):
        sb.solve(np.eye(3), "scipy")
    with pytest.raises(ValueError, match="kind must be one of"):
        sb.solver_names("quick")


@pytest.mark.parametrize("answer", [None, "nonsense", [0] * 9, np.arange(9.0), [[1], [1, 2]], {}])
def test_an_answer_that_is_no_permutation(answer):
    with pytest.raises(InvalidMatchingError, match="solver 'added': "):
        added(function=lambda problem: answer).run(problem())


def test_the_answer_is_the_callers_and_keeps_its_duals_and_facts():
    kept, duals = np.arange(9, dtype=np.int8), (np.ones(9), np.zeros(9))
    solution = added(function=lambda p: sb.Solution(kept, duals, {"rounds": 3})).run(problem())
    assert (solution.perm.dtype, solution.info) == (np.intp, {"rounds": 3})
    assert solution.duals is duals
    assert added("object", Shift()).run(problem(4), by=2).perm.tolist() == [2, 3, 0, 1]
    places = np.arange(9)
    added("keeps", lambda p: places).run(problem()).perm[:] = 0
    assert places.tolist() == list(range(9))


def test_a_missing_library_keeps_the_solver_listed_with_the_reason():
    why = {"absent": "needs the module 'no_such_module.inner', which is not installed", "moody": "it is Sunday"}
    added("absent", requires=["numpy", "no_such_module.inner"])
    added("moody", unavailable=lambda: why["moody"])
    assert set(why) <= set(sb.solver_names())
    assert not set(why) & set(sb.solver_names(available_only=True))
    for name, reason in why.items():
        with pytest.raises(SolverUnavailableError, match=f"'{name}' is not available: {re.escape(reason)}"):
            sb.solve(problem(), name)


@pytest.mark.parametrize(
    ("solver", "options"),
    [("ortools", {}), ("scipy", {}), ("greedy", {}), ("topk-greedy-128", {"k": 9}), ("batch-optimal-128", {"b": 7})],
)
def test_many_problems_in_threads_are_solved_as_one_by_one(solver, options):
    def slowly():
        for size in (1, 30, 140, 201) * 3:
            time.sleep(0.002)  # another thread asks for the next problem meanwhile
            yield problem(size, 4, size)

    expected = [sb.solve(p, solver, **options).tolist() for p in slowly()]
    for n_jobs in (1, 2, 4):
        assert [perm.tolist() for perm in sb.solve_many(slowly(), solver, n_jobs=n_jobs, **options)] == expected
        assert sb.solve_many([], solver, n_jobs=n_jobs) == []


def test_a_failing_problem_ends_the_call_and_no_more_are_begun():
    begun = []

    def fails(problem):
        begun.append(problem.size)
        return np.arange(problem.size) if problem.size != 3 else 1 / 0

    added("fails", fails)
    with pytest.raises(ZeroDivisionError):
        sb.solve_many((problem(size) for size in range(2, 500)), "fails", n_jobs=2)
    assert len(begun) < 490


def test_warm_up_runs_with_and_without_the_affinity():
    seen = set()

    def watch(problem, *, depth=1):
        seen.add((str(problem.x.dtype), problem.has_affinity, depth))
        return np.arange(problem.size)

    added("watch", watch)
    warm_up("watch", "float64", depth=2)
    assert seen == {("float64", True, 2), ("float64", False, 2)}


TOGETHER = """
import threading, semrsm_bench as sb
gate = threading.Barrier(8)
def look():
    gate.wait()
    seen.append(sb.solver_names())
seen, threads = [], [threading.Thread(target=look) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
"""


@pytest.mark.parametrize(
    "first", ["import semrsm_bench.solvers.norm_order, semrsm_bench as sb; seen = [sb.solver_names()]", TOGETHER]
)
def test_the_order_of_the_tables_depends_neither_on_imports_nor_on_threads(first):
    command = [sys.executable, "-c", f"{first}\nfor names in seen: print(*names)"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert set(printed) == {" ".join(sb.solver_names())}
    assert len(printed) == (8 if first is TOGETHER else 1)


def test_every_builtin_solver_says_what_it_is():
    names = sb.solver_names()
    assert names[:5] == ["ortools", "scipy", "lapjv", "lap", "lapx"]
    assert names.index("greedy") < names.index("topk-greedy-128") < names.index("batch-optimal-128")
    for solver in map(sb.get_solver, names):
        assert solver.summary.endswith("."), solver.name
        assert solver.complexity, solver.name
        assert solver.reference, solver.name
        assert re.fullmatch(r"[a-z0-9-]+", solver.name)
        assert (solver.declare().facts["precision"] is not None) == (solver.kind == "exact")
        assert not solver.declare().facts["stateful"]
    assert sb.get_solver("scipy").version == importlib.metadata.version("scipy")
    assert sb.get_solver("greedy").version == sb.__version__


@pytest.mark.parametrize("precision", [None, 0.0, 1e-3])
def test_what_a_solver_promises_and_keeps_is_declared(precision):
    declared = added(kind="exact", precision=precision, stateful=True).declare()
    assert declared.facts["precision"] == (1e-6 if precision is None else precision)
    assert declared.facts["stateful"] is True
    assert declared.version == "unknown"


@pytest.mark.parametrize("environment", ["", ["toy==1", ""], "--index-url=somewhere", [3]])
def test_what_is_no_requirement_is_not_given_to_pip(environment):
    with pytest.raises(ValueError, match="requirements such as"):
        added(environment=environment)


# Any kind.


@dataclass(frozen=True)
class Thing:
    name: str
    module: str = "tests"
    file: str = ""


def test_names_may_be_made_and_only_what_an_entry_lacks_is_filled_in():
    things = Registry(
        "thing", "semrsm_bench.core", (), derive=lambda name: Thing(name) if name[:5] == "made-" else None
    )
    del REGISTRIES["thing"]
    things.add([Thing("made-up"), Thing("full", file="own.py")])
    for name in ("made-up", "full"):
        things.update(name, file="given.py", unknown="x")
    assert [things.get(name).file for name in ("made-up", "full", "made-to-order")] == ["given.py", "own.py", ""]
    assert things.names() == ["made-up", "full"]
    with pytest.raises(UnknownNameError, match=r"unknown thing 'maid-up'; did you mean 'made-up'\?"):
        things.get("maid-up")


NOUNS = {name: name for name in ("solver", "metric", "task")}
NOUNS |= {"rsm": "RSM method", "instance": "score of single stimuli"}


@pytest.mark.parametrize("kind", NOUNS)
def test_every_kind_is_registered_looked_up_and_listed_alike(kind):
    names, get = getattr(sb, f"{kind}_names")(), getattr(sb, f"get_{kind}")
    assert len(names) == len(set(names)) > 0
    assert [get(name).name for name in names] == names
    with pytest.raises(UnknownNameError, match=f"^unknown {NOUNS[kind]} '.*did you mean '{re.escape(names[0])}'"):
        get(names[0][:-1] + "~")
    assert callable(getattr(sb, f"register_{kind}"))


def test_a_name_of_another_kind_is_answered_with_its_kind():
    named = {"solver": "greedy", "rsm": "pooled", "metric": "cka", "instance": "dispersion", "task": "layers"}
    for kind, other in itertools.permutations(named, 2):
        if (kind, other) != ("rsm", "solver"):  # a solver is an RSM method too
            with pytest.raises(
                UnknownNameError, match=f"^{named[other]} is registered as {NOUNS[other]}, not as {NOUNS[kind]}$"
            ):
                getattr(sb, f"get_{kind}")(named[other])


MEASURED = {"best": "max", "range": (0, 1)}
OWN = {
    "solver": {"kind": "approximate"}, "rsm": {}, "metric": {"takes": "features", **MEASURED}, "instance": MEASURED,
}  # fmt: skip


@pytest.mark.parametrize("kind", OWN)
def test_every_kind_of_method_takes_the_common_declarations(kind):
    given = {"complexity": "O(1)", "reference": "here", "requires": "no_such_module", "files": "table.bin"}
    given |= {"unavailable": lambda: "", "distribution": "numpy", "max_size": 64, "slow_from": 32}
    register = getattr(sb, f"register_{kind}")
    function = register("declared", grid={"k": [1, 2]}, j=3, **given, **OWN[kind])(lambda x, *y, j=0, k=0: None)
    for k in (1, 2):
        found = getattr(sb, f"get_{kind}")(f"declared-{k}")
        assert found.function is function
        assert dict(found.options) == {"j": 3, "k": k}
        assert (found.requires, found.files) == (("no_such_module",), ("table.bin",))
        assert (found.complexity, found.reference, found.version) == ("O(1)", "here", np.__version__)
        assert (found.declare().max_size, found.declare().slow_from) == (64, 32)
        assert "no_such_module" in found.reason
    with pytest.raises(TypeError, match="no option 'refrence'; did you mean 'reference'"):
        register("mistyped", refrence="here", **OWN[kind])(lambda x, *y: None)
    with pytest.raises(TypeError, match="no option 'kk'; did you mean 'k'"):
        register("mistyped", kk=1, **OWN[kind])(lambda x, *y, k=0: None)
    assert "mistyped" not in getattr(sb, f"{kind}_names")()
    assert all(word in inspect.getdoc(register) for word in ("grid", *given, *OWN[kind]))


KINDS = {
    "solver": "@sb.register_solver('added', kind='approximate')\ndef f(problem): ...\n",
    "rsm": "@sb.register_rsm('added')\ndef g(z, z2): ...\n",
    "metric": "@sb.register_metric('added', takes='features', best='max', range=(0, 1))\ndef h(x, y): ...\n",
}
TASK = """
import dataclasses
from semrsm_bench.core.options import option
@dataclasses.dataclass(frozen=True)
class Options:
    n: int = option(3, help="How many.")
@sb.register_task
class T(sb.Task):
    name, question, kind, scores, options = "added", "?", "metric", (), Options
    def cases(self, options): ...
    def score(self, case, arrays, answer, truth, declared): ...
"""


@pytest.mark.parametrize("kinds", [*[(kind,) for kind in (*KINDS, "task")], ("solver", "metric")], ids=str)
def test_one_file_brings_several_kinds_of_methods_or_tasks(tmp_path, kinds):
    file = tmp_path / "many.py"
    texts = {"task": TASK, **KINDS}
    file.write_text("import semrsm_bench as sb\n" + "".join(texts[kind] for kind in kinds))
    assert sb.load_plugin(file) == ["added"] * len(kinds)
    for kind in kinds:
        assert getattr(sb, f"get_{kind}")("added").name == "added"
    both = tmp_path / "both.py"
    mixed = file.read_text() + (KINDS["rsm"] if kinds == ("task",) else TASK)
    both.write_text(mixed.replace("added", "other"))
    with pytest.raises(ValueError, match="one file brings methods or tasks, not both"):
        sb.load_plugin(both)
    for kind in (*kinds, "task"):
        assert "other" not in getattr(sb, f"{kind}_names")()


OPTION, FIELDS = 'n: int = option(3, help="How many.")', "name, question, kind, scores, options ="


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [(FIELDS, FIELDS.replace(lacking, f"x_{lacking}"), lacking) for lacking in FIELDS[:-2].split(", ")]
    + [(f"def {lacking}(", "def other(", lacking) for lacking in ("cases", "score")]
    + [
        ("@dataclasses.dataclass(frozen=True)\n", "", r"T\.options is a dataclass"),
        (OPTION, "n: int = 3", r"Options.n is no option, .*; write `n: int = option\(3, help=...\)`"),
        (OPTION, "n: str", r"write `n: str = option\(..., help=...\)`"),
        (OPTION, "n: 'int | None' = dataclasses.field(default=None)", r"write `n: int \| None = option\(None, help"),
    ],
)
def test_a_task_that_lacks_something_is_refused(tmp_path, old, new, message):
    file = tmp_path / "half.py"
    assert old in TASK
    file.write_text("import semrsm_bench as sb\n" + TASK.replace(old, new))
    with pytest.raises(ValueError, match=message):
        sb.load_plugin(file)
    assert "added" not in sb.task_names()


@pytest.mark.parametrize("get", [sb.get_solver, sb.get_rsm, sb.get_metric, sb.get_task, sb.get_instance])
@pytest.mark.parametrize("given", [np.ones((2, 2)), None, sb.MatchingProblem(np.eye(3), np.eye(3)), ["greedy"]])
def test_what_is_no_name_is_refused_with_what_is_wanted(get, given):
    with pytest.raises(TypeError, match=rf": wanted is a name, text such as '[\w-]+', got {type(given).__name__}$"):
        get(given)


def test_arguments_in_another_order_are_told_the_order():
    x = np.eye(3)
    problem = sb.MatchingProblem(x, x)
    for call, words in (
        (
            lambda: sb.solve("greedy", problem),
            r"solver: .* got MatchingProblem; the arguments are solve\(problem, name\)",
        ),
        (
            lambda: sb.solve(x, x),
            r"got ndarray; the arguments are solve\(problem, name\), with problem = MatchingProblem",
        ),
        (lambda: sb.solve_many("greedy", [problem]), r"got list; the arguments are solve_many\(problems, name\)"),
    ):
        with pytest.raises(TypeError, match=words):
            call()
