"""The registry: registering, looking up, running, and what each error says."""

import inspect
import itertools
import re
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.core.registry import REGISTRIES, Registry, UnknownNameError, plugin_entries
from semrsm_bench.solvers import InvalidMatchingError, SolverUnavailableError, UnknownSolverError, warm_up


def problem(size=9, channels=3, seed=0):
    return sb.MatchingProblem(*np.random.default_rng(seed).standard_normal((2, size, channels)))


def reverse(problem, *, shift=0):
    """Backwards."""
    return np.roll(np.arange(problem.size)[::-1], shift)


def test_the_example_of_the_design():
    @sb.register_solver("norm-sort", kind="approximate", grid={"order": [1, 2]}, matrix_free=True)
    def norm_sort(problem, *, order=2):
        """Pair positions by the rank of their norm: O(S log S), no affinity."""
        rows = np.argsort(np.linalg.norm(problem.x, ord=order, axis=1))
        cols = np.argsort(np.linalg.norm(problem.y, ord=order, axis=1))
        perm = np.empty(len(rows), dtype=np.intp)
        perm[rows] = cols
        return perm

    assert sb.solver_names()[-2:] == ["norm-sort-1", "norm-sort-2"]
    solver = sb.get_solver("norm-sort-1")
    assert (solver.kind, dict(solver.options), solver.matrix_free, solver.available) == (
        "approximate",
        {"order": 1},
        True,
        True,
    )
    assert solver.summary == "Pair positions by the rank of their norm: O(S log S), no affinity."
    x = np.array([[1.0, 1.0], [0.0, 1.5], [3.0, 0.0]])
    y = np.array([[5.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    # By the 1-norm the ranks of x are 1, 0, 2 and those of y 2, 0, 1; by the 2-norm x has 0, 1, 2.
    assert sb.solve(sb.MatchingProblem(x, y), "norm-sort-1").tolist() == [2, 1, 0]
    assert sb.solve(sb.MatchingProblem(x, y), "norm-sort-2").tolist() == [1, 2, 0]
    assert sb.solve(sb.MatchingProblem(x, y), "norm-sort-2", order=1).tolist() == [2, 1, 0]


def test_a_grid_of_two_options_is_their_product():
    @sb.register_solver("grid", kind="approximate", grid={"a": [1, 2], "fast": [True, False]})
    def f(problem, *, a, fast):
        return np.arange(problem.size)

    assert sb.solver_names()[-4:] == ["grid-1-true", "grid-1-false", "grid-2-true", "grid-2-false"]
    assert dict(sb.get_solver("grid-2-false").options) == {"a": 2, "fast": False}


def test_a_taken_name_names_its_owner_and_registers_nothing_of_the_grid():
    sb.register_solver("mine-2", kind="approximate")(reverse)
    with pytest.raises(ValueError, match=r"'mine-2' is registered already, by .*test_registry\.reverse"):
        sb.register_solver("mine", kind="approximate", grid={"shift": [1, 2]})(reverse)
    assert "mine-1" not in sb.solver_names()
    with pytest.raises(ValueError, match=r"'ortools' is registered already, by semrsm_bench\.solvers\.exact\.ortools"):
        sb.register_solver("ortools", kind="exact")(reverse)
    with pytest.raises(ValueError, match="'twice-1' is registered already"):
        sb.register_solver("twice", kind="approximate", grid={"shift": [1, 1]})(reverse)


@pytest.mark.parametrize("name", ["", "Upper", "two words", " padded", "a,b", "a/b", "-first", "ü"])
def test_malformed_names(name):
    with pytest.raises(ValueError, match="lower case"):
        sb.register_solver(name, kind="approximate")(reverse)


def test_other_mistakes_in_registering():
    with pytest.raises(ValueError, match="kind must be one of exact, approximate, baseline, got 'heuristic'"):
        sb.register_solver("a", kind="heuristic")
    with pytest.raises(ValueError, match="empty grid"):
        sb.register_solver("a", kind="approximate", grid={"shift": []})(reverse)
    with pytest.raises(TypeError, match="'a' has no option 'shfit'; did you mean 'shift'"):
        sb.register_solver("a", kind="approximate", shfit=2)(reverse)
    with pytest.raises(TypeError, match="first argument"):
        sb.register_solver("a", kind="approximate")(lambda: None)
    assert "a" not in sb.solver_names()


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownSolverError, match=r"unknown solver 'OrTool'; did you mean 'ortools'\?"):
        sb.get_solver("OrTool")
    with pytest.raises(KeyError, match="known are ortools, scipy"):
        sb.solve(problem(), "zzzzzzzz")
    with pytest.raises(ValueError, match="kind must be one of"):
        sb.solver_names("quick")


def test_a_wrong_option_is_answered_with_the_nearest():
    with pytest.raises(TypeError, match="no option 'levls'; did you mean 'levels'"):
        sb.solve(problem(), "ortools", levls=3)
    with pytest.raises(TypeError, match="it takes none"):
        sb.solve(problem(), "scipy", xyz=3)


def test_only_problems_are_solved():
    with pytest.raises(TypeError, match=r"takes a MatchingProblem\(x, y\), got ndarray"):
        sb.solve(np.eye(3), "scipy")


@pytest.mark.parametrize("answer", [None, "nonsense", [0] * 9, np.arange(9.0), np.arange(8), [[1], [1, 2]], {}])
def test_an_answer_that_is_no_permutation(answer):
    sb.register_solver("bad", kind="approximate")(lambda problem: answer)
    with pytest.raises(InvalidMatchingError, match="solver 'bad': "):
        sb.solve(problem(), "bad")


def test_the_answer_is_the_callers_own():
    kept = np.arange(9)
    sb.register_solver("keeps", kind="approximate")(lambda problem: kept)
    sb.solve(problem(), "keeps")[:] = 0
    assert kept.tolist() == list(range(9))


def test_a_solution_keeps_its_duals_and_facts():
    duals = np.ones(9), np.zeros(9)
    sb.register_solver("dual", kind="approximate")(
        lambda p: sb.Solution(np.arange(9, dtype=np.int8), duals, {"rounds": 3})
    )
    solution = sb.get_solver("dual").run(problem())
    assert solution.perm.dtype == np.intp
    assert solution.duals is duals
    assert solution.info == {"rounds": 3}


def test_a_missing_library_keeps_the_solver_listed_with_the_reason():
    sb.register_solver("absent", kind="exact", requires=["numpy", "no_such_module.inner"])(reverse)
    sb.register_solver("moody", kind="exact", unavailable=lambda: "it is Sunday")(reverse)
    assert {"absent", "moody"} <= set(sb.solver_names())
    assert not {"absent", "moody"} & set(sb.solver_names(available_only=True))
    assert sb.get_solver("absent").reason == "needs the module 'no_such_module.inner', which is not installed"
    with pytest.raises(
        SolverUnavailableError, match=r"'absent' is not available: needs the module 'no_such_module\.inner'"
    ):
        sb.solve(problem(), "absent")
    with pytest.raises(SolverUnavailableError, match="it is Sunday"):
        sb.solve(problem(), "moody")


def test_versions():
    import scipy

    assert sb.get_solver("scipy").version == scipy.__version__
    assert sb.get_solver("greedy").version == sb.__version__
    sb.register_solver("ad-hoc", kind="approximate")(reverse)
    assert sb.get_solver("ad-hoc").version == "unknown"


def test_defaults_tell_bound_and_free_options():
    assert sb.get_solver("batch-optimal-256").defaults == {"b": 256, "block_solver": "ortools"}


def test_callable_objects_are_functions_too():
    class Shift:
        def __call__(self, problem, *, by=1):
            return np.roll(np.arange(problem.size), by)

    sb.register_solver("object", kind="approximate")(Shift())
    assert sb.solve(problem(4), "object", by=2).tolist() == [2, 3, 0, 1]
    with pytest.raises(ValueError, match="'object' is registered already"):
        sb.register_solver("object", kind="approximate")(Shift())


@pytest.mark.parametrize("solver", ["ortools", "scipy", "greedy", "topk-greedy-128", "batch-optimal-128"])
def test_many_problems_in_two_threads_are_solved_as_one_by_one(solver):
    problems = [problem(size, 4, seed) for seed in range(4) for size in (1, 30, 140, 201)]
    serial = sb.solve_many(problems, solver)
    threaded = sb.solve_many(iter(problems), solver, n_jobs=2)
    assert len(serial) == len(problems)
    for p, one, other in zip(problems, serial, threaded):
        np.testing.assert_array_equal(one, sb.solve(p, solver))
        np.testing.assert_array_equal(one, other)


def test_options_reach_every_one_of_many():
    sb.register_solver("shifted", kind="approximate")(reverse)
    perms = sb.solve_many([problem(3), problem(4)], "shifted", n_jobs=2, shift=1)
    assert [p.tolist() for p in perms] == [[0, 2, 1], [0, 3, 2, 1]]


def test_no_problems_no_answers():
    assert sb.solve_many([], "scipy") == []
    assert sb.solve_many([], "scipy", n_jobs=2) == []


def test_a_failing_problem_ends_the_call_and_no_more_are_begun():
    begun = []

    @sb.register_solver("fails-at-three", kind="approximate")
    def fails(problem):
        begun.append(problem.size)
        if problem.size == 3:
            raise RuntimeError("three")
        return np.arange(problem.size)

    with pytest.raises(RuntimeError, match="three"):
        sb.solve_many((problem(size) for size in range(2, 500)), "fails-at-three", n_jobs=2)
    assert len(begun) < 490


def test_warm_up_runs_with_and_without_the_affinity():
    seen = []

    @sb.register_solver("watch", kind="approximate")
    def watch(problem, *, depth=1):
        seen.append((problem.x.dtype, problem.has_affinity, depth))
        return np.arange(problem.size)

    warm_up("watch", "float64", depth=2)
    assert {dtype for dtype, _, _ in seen} == {np.dtype("float64")}
    assert {has for _, has, _ in seen} == {True, False}
    assert {depth for _, _, depth in seen} == {2}


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout.split()


def test_the_order_of_the_tables_does_not_depend_on_what_was_imported_first():
    first = run_python("import semrsm_bench.solvers.norm_order, semrsm_bench as sb; print(*sb.solver_names('exact'))")
    assert first[:5] == ["ortools", "scipy", "lapjv", "lap", "lapx"]
    names = run_python("import semrsm_bench.solvers.norm_order, semrsm_bench as sb; print(*sb.solver_names())")
    assert names == run_python("import semrsm_bench as sb; print(*sb.solver_names())")
    assert (
        names.index("ortools")
        < names.index("greedy")
        < names.index("topk-greedy-128")
        < names.index("batch-optimal-128")
    )


def test_looking_up_from_many_threads_at_once_sees_every_solver():
    code = """
import threading, semrsm_bench as sb
gate, seen = threading.Barrier(8), []
def look():
    gate.wait()
    seen.append(tuple(sb.solver_names()))
threads = [threading.Thread(target=look) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(set(seen)), len(seen))
"""
    assert run_python(code) == ["1", "8"]


def test_every_builtin_solver_tells_what_it_is():
    for name in sb.solver_names():
        solver = sb.get_solver(name)
        assert solver.summary.endswith("."), name
        assert solver.complexity, name
        assert solver.reference, name
        assert re.fullmatch(r"[a-z0-9-]+", name)


# Any kind.


@dataclass(frozen=True)
class Thing:
    name: str
    module: str = "tests"
    file: str = ""


@pytest.fixture
def things():
    yield Registry(
        "thing", "semrsm_bench.core", (), derive=lambda name: Thing(name) if name.startswith("made-") else None
    )
    del REGISTRIES["thing"]


NAMES = ["a", "a-1", "cka", "a.b_c+d-e", "0"]


def test_entries_come_back_by_name_in_order(things):
    things.add(map(Thing, NAMES))
    assert things.names() == NAMES
    assert [things.get(name).name for name in NAMES] == NAMES
    things.forget("cka")
    assert things.find("cka") is None
    things.add([Thing("cka")])
    assert things.names() == [*(n for n in NAMES if n != "cka"), "cka"]


@pytest.mark.parametrize("taken", NAMES)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_all_entries_are_added_or_none(things, taken, place):
    things.add(map(Thing, NAMES))
    fresh = ["new-1", "new-2"]
    fresh.insert(place, taken)
    with pytest.raises(ValueError, match=re.escape(f"thing {taken!r} is registered already, by tests")):
        things.add(map(Thing, fresh))
    with pytest.raises(ValueError, match="lower case"):
        things.add([Thing("new-1"), Thing("No Name")])
    with pytest.raises(ValueError, match="'new-1' is registered already"):
        things.add([Thing("new-1"), Thing("new-1")])
    assert things.names() == NAMES


def test_names_that_are_not_registered_may_be_made(things):
    things.add([Thing("made-up")])
    assert things.get("made-to-order").name == "made-to-order"
    assert things.names() == ["made-up"]
    with pytest.raises(UnknownNameError, match=r"unknown thing 'maid-up'; did you mean 'made-up'\?"):
        things.get("maid-up")
    with pytest.raises(KeyError, match="unknown thing 'x'; known are made-up"):
        things.get("x")


def test_only_what_an_entry_lacks_is_filled_in(things):
    things.add([Thing("bare"), Thing("full", file="own.py")])
    for name in ("bare", "full"):
        things.update(name, file="given.py", unknown="x")
    assert [things.get(name).file for name in ("bare", "full")] == ["given.py", "own.py"]


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


@pytest.mark.parametrize("kinds", [("solver",), ("rsm",), ("metric",), ("solver", "metric"), ("task",)], ids=str)
def test_one_file_may_bring_several_kinds_of_methods(tmp_path, kinds):
    file = tmp_path / "many.py"
    file.write_text("import semrsm_bench as sb\n" + "".join({**KINDS, "task": TASK}[kind] for kind in kinds))
    assert plugin_entries(file) == [(kind, "added") for kind in kinds]
    for kind in kinds:
        assert getattr(sb, f"get_{kind}")("added").name == "added"


@pytest.mark.parametrize("kind", KINDS)
def test_methods_and_tasks_of_one_file_are_refused_and_nothing_stays(tmp_path, kind):
    file = tmp_path / "both.py"
    file.write_text("import semrsm_bench as sb\n" + TASK + KINDS[kind])
    with pytest.raises(ValueError, match="one file brings methods or tasks, not both"):
        sb.load_plugin(file)
    for noun in (kind, "task"):
        assert "added" not in getattr(sb, f"{noun}_names")()


@pytest.mark.parametrize("lacking", ["name", "question", "kind", "scores", "options", "cases", "score"])
def test_a_task_that_lacks_something_is_refused(tmp_path, lacking):
    file = tmp_path / "half.py"
    text = TASK.replace(f"def {lacking}(", "def other(") if lacking in ("cases", "score") else TASK
    names = ("name", "question", "kind", "scores", "options")
    text = text.replace(", ".join(names), ", ".join(f"x_{n}" if n == lacking else n for n in names))
    file.write_text("import semrsm_bench as sb\n" + text)
    with pytest.raises(ValueError, match=lacking):
        sb.load_plugin(file)
    assert "added" not in sb.task_names()


@pytest.mark.parametrize(
    ("field", "advice"),
    [
        ("n: int = 3", r"Options.n is no option, .*; write `n: int = option\(3, help=...\)`"),
        ("n: str", r"write `n: str = option\(..., help=...\)`"),
        ("n: 'int | None' = dataclasses.field(default=None)", r"write `n: int \| None = option\(None, help=...\)`"),
    ],
)
def test_a_field_of_a_tasks_options_that_no_user_could_choose_is_refused(tmp_path, field, advice):
    file = tmp_path / "silent.py"
    file.write_text("import semrsm_bench as sb\n" + TASK.replace('n: int = option(3, help="How many.")', field))
    with pytest.raises(ValueError, match=advice):
        sb.load_plugin(file)
    assert "added" not in sb.task_names()


def test_the_options_of_a_task_are_a_dataclass(tmp_path):
    file = tmp_path / "bare.py"
    file.write_text("import semrsm_bench as sb\n" + TASK.replace("@dataclasses.dataclass(frozen=True)\n", ""))
    with pytest.raises(ValueError, match=r"T\.options is a dataclass"):
        sb.load_plugin(file)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("approximate", 1e-3), ("exact", -1e-9), ("exact", 2e-3), ("exact", 0.99), ("exact", np.nan)],
)
def test_a_precision_is_the_promise_of_an_exact_solver(kind, precision):
    with pytest.raises(ValueError, match="precision is what an exact solver promises"):
        sb.register_solver("promises", kind=kind, precision=precision)(reverse)
    assert "promises" not in sb.solver_names()


def test_every_exact_solver_declares_what_it_promises():
    sb.register_solver("promises-much", kind="exact")(reverse)
    sb.register_solver("promises-less", kind="exact", precision=1e-3)(reverse)
    promised = {name: sb.get_solver(name).declare().facts["precision"] for name in sb.solver_names()}
    assert promised["promises-much"] == 1e-6
    assert promised["promises-less"] == 1e-3
    for name in sb.solver_names():
        assert (promised[name] is not None) == (sb.get_solver(name).kind == "exact")


def test_a_solver_that_keeps_state_says_so():
    sb.register_solver("keeps", kind="approximate", stateful=True)(reverse)
    told = {name: sb.get_solver(name).declare().facts["stateful"] for name in sb.solver_names()}
    assert [name for name, stateful in told.items() if stateful] == ["keeps"]
