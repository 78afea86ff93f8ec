"""What a run measures: profiles, options, methods, and cells that are skipped with a reason."""

import dataclasses
import itertools
import shutil

import pytest

import semrsm_bench as sb
from semrsm_bench.bench import plan as planning
from semrsm_bench.bench.plan import PROFILES, TOO_SLOW, RunOptions, make_plan, settled, task_digest
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import describe
from semrsm_bench.core.registry import UnknownNameError
from semrsm_bench.core.task import Profile
from semrsm_bench.solvers import get_solver, solver_names
from semrsm_bench.tasks.matching import MatchingOptions
from semrsm_bench.tasks.registry import get_task, task_names
from tests.bench_data import small_cache
from tests.toy_tasks import Toy, ToyOptions, toy


@pytest.fixture(autouse=True)
def _code_that_stands_still(request, monkeypatch):
    """The package may be edited while its tests run."""
    if "task_digest" not in request.node.name:
        monkeypatch.setattr(planning, "task_digest", lambda task: f"code of {task.name}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return small_cache(tmp_path_factory.mktemp("data"), images=5, sizes=(16, 36))


@pytest.fixture(scope="module")
def declared():
    return [get_solver(name).declare() for name in solver_names()]


@pytest.fixture
def plan_of(cache, declared):
    def make(*methods, more=(), profile="quick", options=None, **more_of_matching):
        matching = MatchingOptions(**{"data": cache, "centring": ("none",), **more_of_matching})
        run = RunOptions(methods=methods or None, profile=profile, **(options or {}))
        return make_plan(run, [get_task("matching")], {"matching": matching}, [*declared, *more])

    return make


def method(name, **facts):
    return Declaration("solver", name, **{"category": "approximate", "code": f"code of {name}", **facts})


def test_a_plan_holds_every_combination_smallest_first(plan_of):
    plan = plan_of("identity", "scipy", centring=("none", "channel"))
    assert [(c.size, c.place["centring"], c.method.name) for c in plan.cells] == list(
        itertools.product((16, 36), ("none", "channel"), ("identity", "scipy"))
    )
    assert {len(c.cases) for c in plan.cells} == {10}
    assert "tiny/layer2/none/1-3" in {case.name for case in plan.cells[0].cases}
    assert len(set(plan.cells)) == len(plan.cells)
    here = {name for name in solver_names() if not get_solver(name).is_elsewhere}
    made = {name for name in solver_names() if not get_solver(name).reason} - here
    assert {c.method.name for c in plan_of().cells} == here | made


def test_layers_can_be_chosen(plan_of):
    assert {c.place["layer"] for c in plan_of("identity", layers=("layer1",)).cells} == {"layer1"}
    with pytest.raises(ValueError, match="no layer 'layer9' in tiny; there are layer2, layer1"):
        plan_of("identity", layers=("layer1", "layer9"))


# Methods.


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("scypi",), "unknown solver 'scypi'; did you mean 'scipy'?"),
        (("identity", "zzzzzzzzzz"), "unknown solver 'zzzzzzzzzz'; known are ortools, scipy"),
        (("IDENTITY",), "did you mean 'identity'"),
        (("cka",), "cka is registered as metric, not as solver"),
    ],
)
def test_an_unknown_method_is_answered_with_the_nearest(plan_of, names, message):
    with pytest.raises(UnknownNameError) as caught:
        plan_of(*names)
    assert message in str(caught.value)


def test_methods_of_plugins_take_part_although_a_task_names_its_own(declared):
    task = toy(kind="solver", methods=("scipy", "identity"))
    extra = [method("mine", plugins=("mine.py",)), method("installed")]
    plan = make_plan(RunOptions(), [task], {}, [*declared, *extra])
    assert {c.method.name for c in plan.cells} == {"scipy", "identity", "mine"}
    chosen = make_plan(RunOptions(methods=("installed",)), [task], {}, [*declared, *extra])
    assert {c.method.name for c in chosen.cells} == {"installed"}


def test_a_task_that_names_a_method_that_there_is_not_is_refused(declared):
    with pytest.raises(UnknownNameError, match="task 'toy' names the solver 'scypi'; did you mean 'scipy'"):
        make_plan(RunOptions(), [toy(kind="solver", methods=("identity", "scypi"))], {}, declared)


def test_a_method_is_met_by_the_tasks_of_its_kind_alone(declared):
    metrics = [Declaration("metric", "scipy", code="x"), Declaration("metric", "only-metric", code="y")]
    tasks = [toy("solves", kind="solver"), toy("compares", kind="metric")]
    plan = make_plan(RunOptions(methods=("scipy", "only-metric")), tasks, {}, [*declared, *metrics])
    found = {(cell.task.name, cell.method.kind, cell.method.name) for cell in plan.cells}
    assert found == {
        ("solves", "solver", "scipy"),
        *(("compares", "metric", name) for name in ("scipy", "only-metric")),
    }


def test_a_composite_is_made_of_the_code_and_the_files_of_its_parts():
    task = toy(kind="metric")
    parts = [
        Declaration("metric", "cka", code="a", plugins=("one.py",), files={"one.py": "1"}, max_size=64),
        Declaration(
            "rsm", "best", code="b", plugins=("two.py",), files={"tool": "2"}, reason="no library", max_size=49
        ),
        Declaration("rsm", "plain", code="c", slow_from=36, max_size=81),
    ]
    plan = make_plan(RunOptions(methods=("cka[plain]", "cka[plain|best]", "cka[best]")), [task], {}, parts)
    found = {c.method.name: c for c in plan.cells}
    assert found["cka[best]"].method.plugins == ("one.py", "two.py")
    assert (found["cka[best]"].skip, found["cka[plain]"].skip) == ("not available: no library", "")
    assert found["cka[plain|best]"].method.files == {"one.py": "1", "tool": "2"}
    sizes = {name: (cell.method.max_size, cell.method.slow_from) for name, cell in found.items()}
    assert sizes == {"cka[plain]": (64, 36), "cka[plain|best]": (49, 36), "cka[best]": (49, None)}
    assert len({c.code for c in found.values()}) == 3
    changed = [dataclasses.replace(parts[1], code="other"), *parts[::2]]
    again = {c.method.name: c for c in make_plan(RunOptions(methods=tuple(found)), [task], {}, changed).cells}
    assert {n for n in found if again[n].code != found[n].code} == {"cka[best]", "cka[plain|best]"}
    with pytest.raises(UnknownNameError, match="unknown RSM method 'bset'; did you mean 'best'"):
        make_plan(RunOptions(methods=("cka[bset]",)), [task], {}, parts)


# What is skipped, and why.


AFFINITY, MISSING = 4 * 36 * 36, {"reason": "needs the module 'x', which is not installed"}
GRID = "it shifts a grid, and these positions are on none"
SHIFTS, POSITIONS = {"facts": {"needs_grid": True}}, {"facts": {"inputs": ["zx", "zy"]}}


@pytest.mark.parametrize(
    ("facts", "settings", "options", "skip"),
    [
        ({}, {}, {}, ""),
        ({"max_size": 36}, {}, {}, ""),
        ({"max_size": 35}, {}, {}, "meant for S up to 35"),
        (MISSING, {}, {}, "not available: needs the module 'x', which is not installed"),
        ({"slow_from": 37}, {}, {}, ""),
        ({"slow_from": 36}, {}, {}, TOO_SLOW),
        ({"slow_from": 36}, {}, {"profile": "paper"}, ""),
        ({}, {}, {"memory": AFFINITY}, ""),
        ({}, {}, {"memory": AFFINITY - 1}, "its affinity alone takes 0.0 GiB, beyond the memory limit"),
        ({"facts": {"matrix_free": True}}, {}, {"memory": AFFINITY - 1}, ""),
        *((SHIFTS, grid, {}, "") for grid in ({}, {"grid": (6, 6)}, {"grid_x": (6, 6), "grid_y": (4, 9)})),
        *((SHIFTS, grid, {}, GRID) for grid in ({"grid": None}, {"grid_x": (6, 6), "grid_y": None}, {"grid_x": None})),
        ({}, {"grid": None}, {}, ""),
        (POSITIONS, {"lacks": ["zx"]}, {}, "it takes zx, of which there are none here"),
        (POSITIONS, {"lacks": {"zx": "it takes layers", "zy": "it takes layers"}}, {}, "it takes layers"),
        (POSITIONS, {"lacks": ["x"]}, {}, ""),
        ({}, {"lacks": ["zx"]}, {}, ""),
    ],
)
def test_a_cell_that_cannot_be_measured_stays_with_the_reason(facts, settings, options, skip):
    task = toy(kind="solver", size=36, settings=settings)
    (cell,) = make_plan(RunOptions(**options), [task], {}, [method("m", **facts)]).cells
    assert cell.skip == skip


@pytest.mark.parametrize(
    ("skips", "cells"),
    [
        ({"0": "too many pictures", "3": "no grid"}, [(2, ""), (2, "")]),
        (dict.fromkeys(("0", "2", "4"), "no grid"), [(3, "no grid"), (3, "")]),
    ],
)
def test_a_case_that_no_method_can_take_is_left_out_and_a_cell_of_them_is_skipped(skips, cells):
    plan = make_plan(RunOptions(), [toy(skips=skips, cells=2)], {}, [Declaration("metric", "m")])
    assert [(len(cell.cases), cell.skip) for cell in plan.cells] == cells


# Profiles and options.


def test_the_profile_stands_in_for_what_is_not_given():
    profile = Profile("x", {"cases": 3, "unknown": 7})
    assert settled(ToyOptions(), profile) == ToyOptions(cases=3)
    assert settled(ToyOptions(cases=5), profile) == ToyOptions(cases=5)
    assert settled(ToyOptions(cases=5, noise=0.0), Profile("x", {"noise": 1.0})).noise == 0.0


@pytest.mark.parametrize("name", task_names())
def test_every_task_has_the_profiles_which_name_its_options_alone_and_methods_that_there_are(name):
    task = get_task(name)
    assert [getattr(sb, f"get_{task.kind}")(method).name for method in task.methods or ()] == list(task.methods or ())
    assert {"quick", "paper"} <= set(task.profiles) <= set(PROFILES)
    options = {info.field: info for info in describe(task.options)}
    for profile in task.profiles.values():
        assert set(profile.settings) <= set(options)
        assert all(options[k].default is None for k in profile.settings), "only None is filled in"
        assert profile.deadline > 0
        assert profile.budget >= profile.deadline
        full = settled(task.options(), profile)
        assert [k for k in profile.settings if getattr(full, k) != profile.settings[k]] == []


def test_limits_of_a_run_come_before_those_of_the_profile(plan_of):
    plan = plan_of("scipy", options={"deadline": 1.5, "budget": 2.5})
    profile = plan.cells[0].profile
    assert (profile.deadline, profile.budget) == (1.5, 2.5)
    assert plan_of("scipy").cells[0].profile == get_task("matching").profiles["quick"]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"profile": "fast"}, "'fast' is not one of quick, paper, large"),
        ({"methods": ()}, "at least one"),
        ({"methods": ("scipy", "scipy")}, "none twice"),
        ({"budget": float("nan")}, "budget"),
        ({"repeats": 0}, "at least 1"),
    ],
)
def test_wrong_choices_are_refused_with_what_there_is(wrong, text):
    with pytest.raises(ValueError, match=text):
        RunOptions(**wrong)


def test_a_profile_that_a_task_does_not_have_and_a_plan_of_nothing_are_refused():
    with pytest.raises(ValueError, match="task 'toy' has no profile 'large'; it has quick, paper"):
        make_plan(RunOptions(profile="large"), [toy()], {}, [Declaration("metric", "m")])
    for declared, given in (([], {}), ([Declaration("metric", "m")], {"toy": ToyOptions(cases=0)})):
        with pytest.raises(ValueError, match="nothing to measure"):
            make_plan(RunOptions(), [toy()], given, declared)


def test_of_several_tasks_those_that_judge_no_method_that_is_named_are_left_out():
    declared = [Declaration("metric", "m"), Declaration("rsm", "r")]
    tasks = [toy("one"), toy("two", kind="rsm")]
    plan = make_plan(RunOptions(methods=("m",)), tasks, {}, declared)
    assert list(plan.tasks) == ["one"]
    assert all(command.startswith("semrsm-bench run one ") for command in plan.commands)
    with pytest.raises(LookupError, match=r"unknown method .other.; known are m, r"):
        make_plan(RunOptions(methods=("other",)), tasks, {}, declared)


@pytest.mark.parametrize(
    "change",
    [
        {"pairs": 2},
        {"centring": ("channel",)},
        {"layers": ("layer1",)},
        *({"options": o} for o in ({"repeats": 2}, {"deadline": 1.0}, {"budget": 1.0}, {"memory": 10**9})),
        {"profile": "paper"},
    ],
    ids=str,
)
def test_a_plan_describes_all_that_decides_what_is_measured(plan_of, change):
    base = plan_of("scipy").describe()
    assert plan_of("scipy", **change).describe() != base
    assert plan_of("scipy", "identity").describe() != base
    # A default that is written out resumes the same run.
    assert plan_of("scipy", options={"deadline": 30.0}).describe() == base


# Code.


def test_a_cells_code_is_that_of_the_method_and_of_the_task(plan_of, monkeypatch):
    def codes():
        plan = plan_of(
            "one", "twin", "other", more=[method(n, code=c) for n, c in zip(("one", "twin", "other"), "aab")]
        )
        assert list(plan.codes) == ["matching"]
        assert {cell.code for cell in plan.cells} == set(plan.codes["matching"].values())
        return plan.codes["matching"]

    assert list(plan_of("scipy", "identity").codes["matching"]) == ["scipy", "identity"]
    before = codes()
    assert list(before) == ["one", "twin", "other"]
    assert before["one"] == before["twin"] != before["other"]
    assert codes() == before
    monkeypatch.setattr(planning, "task_digest", lambda task: "another scorer")
    after = codes()
    assert after["one"] == after["twin"] != after["other"]
    assert not set(after.values()) & set(before.values())


@pytest.mark.parametrize("room", ["core", "tasks", "metrics", "solvers", "activations", "rsm", "bench"])
def test_task_digest_is_of_all_that_a_task_may_use(tmp_path, monkeypatch, room):
    package = shutil.copytree(
        planning.package_folder(), tmp_path / "semrsm_bench", ignore=shutil.ignore_patterns("*.pyc", "*.js")
    )
    monkeypatch.setattr(planning, "package_folder", lambda: package)
    before = task_digest(get_task("matching"))
    for elsewhere in (package / "report" / "style.py", package / "cli" / "run.py"):
        elsewhere.write_text("")
    assert task_digest(get_task("matching")) == before
    changed = package / "bench" / "observe.py" if room == "bench" else sorted((package / room).glob("*.py"))[-1]
    changed.write_text(changed.read_text() + "\n# another line\n")
    assert task_digest(get_task("matching")) != before


class Lacking(Toy):
    """A task whose library is missing."""

    def cases(self, options):
        raise ImportError("toy needs torch; install the extra study")
        yield


def test_what_nobody_named_is_left_out_where_it_lacks_something_and_says_so(plan_of, cache, declared):
    tasks = [get_task("matching"), Lacking(), toy("slim", profiles={"paper": Profile("all")}), toy("none-of-these")]
    options = {"matching": MatchingOptions(data=cache, centring=("none",))}
    said = []
    plan = make_plan(RunOptions(methods=("identity",)), tasks[::3], options, declared, said.append)
    assert ([*plan.tasks], said) == (["matching"], []), "no method of the other is named"
    metric = Declaration("metric", "size", code="code")
    plan = make_plan(RunOptions(methods=("identity", "size")), tasks, options, [*declared, metric], said.append)
    assert [*plan.tasks] == ["matching", "none-of-these"]
    assert said == [
        "task 'toy' is left out: toy needs torch; install the extra study",
        "task 'slim' has no profile 'quick'; it has paper",
    ]
    with pytest.raises(ImportError):  # nothing else is left to measure
        make_plan(RunOptions(methods=("size",)), [tasks[1]], {}, [metric], said.append)
    for task, error in ((tasks[1], ImportError), (tasks[2], ValueError)):
        with pytest.raises(error):
            make_plan(RunOptions(methods=("size",)), [task], {}, [metric])


def test_a_solver_that_is_named_alone_is_measured_as_a_solver(cache, declared):
    """Though every solver is an RSM method, too."""
    tasks, twin = [get_task("matching"), toy("rsms", kind="rsm")], Declaration("rsm", "scipy", code="code")
    options = {"matching": MatchingOptions(data=cache, centring=("none",))}

    def planned(methods, leave_out=lambda text: None):
        run = RunOptions(methods=methods)
        return [*make_plan(run, tasks, options, [*declared, twin, Declaration("rsm", "own")], leave_out).tasks]

    assert planned(("scipy",)) == ["matching"]
    assert planned(("scipy", "own")) == planned(None) == ["matching", "rsms"]
    assert planned(("scipy",), None) == ["matching", "rsms"], "tasks that are named are measured"
