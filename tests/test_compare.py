"""Comparison of runs, asv results and pytest-benchmark files: readers, intervals, rules, exit codes."""

import dataclasses
import itertools
import json
import re
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

from semrsm_bench.bench.compare import CellKey, Figures, Measurements, compare, parse_rule, read_measurements
from semrsm_bench.bench.results import ENVIRONMENT_FILE, RunWriter
from semrsm_bench.cli.compare import compare as command
from tests.bench_data import make_row
from tests.toy_tasks import ToyOptions

PAIRS = [f"0-{i}" for i in range(1, 9)]


def sides(seconds=(1.0, 1.0), gaps=(0.05, 0.05), pairs=PAIRS, noise=0.2):
    """Two sides of one cell whose pairs differ among themselves by ``noise`` and between the sides as given."""
    rng = np.random.default_rng(0)
    factors = np.exp(noise * rng.standard_normal(len(pairs)))
    made = []
    for second, gap in zip(seconds, gaps):
        figures = Figures(
            {p: [second * n * 1e-3] for p, n in zip(pairs, factors)}, {p: [gap * n] for p, n in zip(pairs, factors)}
        )
        made.append(Measurements("side", "cpu", "data", {CellKey("greedy", 256, "none"): figures}))
    return made


def verdicts(before, after):
    return {change.metric: change.verdict for change in compare(before, after).changes}


@pytest.mark.parametrize(
    ("seconds", "gaps", "expected"),
    [
        ((1, 1), (0.05, 0.05), ("same", "same")),
        ((1, 1.5), (0.05, 0.05), ("worse", "same")),
        ((1.5, 1), (0.05, 0.05), ("better", "same")),
        ((1, 1), (0.05, 0.06), ("same", "worse")),
        ((1, 1), (0.06, 0.05), ("same", "better")),
        ((1, 1.05), (0.05, 0.0502), ("same", "same")),
        ((1, 1.7), (0.05, 0.03), ("worse", "better")),
    ],
)
def test_both_directions_beyond_noise(seconds, gaps, expected):
    found = verdicts(*sides(seconds, gaps))
    assert (found["time"], found["gap"]) == expected
    swapped = {"worse": "better", "better": "worse", "same": "same"}
    assert verdicts(*sides(seconds[::-1], gaps[::-1])) == {metric: swapped[found[metric]] for metric in found}


def test_pairs_that_differ_wildly_do_not_hide_a_steady_change():
    (change, _) = compare(*sides((1, 1.3), noise=2.0)).changes
    assert (change.verdict, change.paired) == ("worse", True)
    assert change.change.value == pytest.approx(1.3)
    assert change.change.low == pytest.approx(1.3)


def test_noise_between_the_sides_is_no_change():
    rng = np.random.default_rng(1)
    before, after = sides()
    figures = next(iter(after.cells.values()))
    for pair, factor in zip(PAIRS, np.exp(0.3 * rng.standard_normal(len(PAIRS)))):
        figures.seconds[pair] = [figures.seconds[pair][0] * factor]
    assert verdicts(before, after)["time"] == "same"


def test_different_pairs_are_compared_with_wide_intervals():
    before, after = sides((1, 1.4))
    figures = next(iter(after.cells.values()))
    renamed = Figures({f"9-{p}": v for p, v in figures.seconds.items()}, {f"9-{p}": v for p, v in figures.gaps.items()})
    after.cells[next(iter(after.cells))] = renamed
    found = compare(before, after)
    assert not any(change.paired for change in found.changes)
    assert found.changes[0].change.low < 1.4 < found.changes[0].change.high
    assert any("not of the same pairs" in notice for notice in found.notices)


def test_cells_of_one_side_only():
    before, after = sides()
    before.cells[CellKey("old", 64, "none")] = Figures({"0-1": [1.0]}, {})
    before.cells[CellKey("never", 64, "none")] = Figures(failures={"0-1": "error: no"})
    after.cells[CellKey("new", 64, "none")] = Figures({"0-1": [1.0]}, {})
    found = compare(before, after)
    assert (found.only_before, found.only_after) == ([CellKey("old", 64, "none")], [CellKey("new", 64, "none")])
    assert found.lost == {CellKey("old", 64, "none"): "no time of 1 of 1 cases: absent"}
    assert found.missing(["old"]) == found.missing(["all"]) == {}
    assert found.missing(["other"]) == found.lost


def test_other_machines_and_other_data_are_noticed():
    before, after = sides()
    other = dataclasses.replace(after, machine="another", data="other")
    notices = " ".join(compare(before, other).notices)
    assert "machines differ" in notices
    assert "different data" in notices


def test_rules():
    limits = {"gap:0.5%": 0.005, "gap:0.005": 0.005, "gap: 2 %": 0.02, "time:2x": 2.0, "time:1.5": 1.5, "time:50%": 1.5}
    for text, limit in limits.items():
        assert parse_rule(text) == (text.partition(":")[0], pytest.approx(limit))
    for text in ("", "gap", "gap:", "gap:2x", "time:1x", "time:0.5", "speed:2x", "time:..x", "gap:-1%"):
        with pytest.raises(ValueError, match=r"gap:0\.5%"):
            parse_rule(text)


def test_a_rule_needs_a_change_beyond_noise_and_beyond_the_limit():
    rules = [parse_rule("gap:0.5%"), parse_rule("time:2x")]
    assert compare(*sides((1, 1.9), (0.05, 0.054))).broken(rules) == []
    assert {c.metric for c in compare(*sides((1, 2.1), (0.05, 0.056))).broken(rules)} == {"time", "gap"}
    assert compare(*sides((2.1, 1), (0.056, 0.05))).broken(rules) == []
    on_the_limit = compare(*sides((1, 1), (1 - 0.990, 1 - 0.985), noise=0))
    assert [c.verdict for c in on_the_limit.changes] == ["same", "worse"]
    assert on_the_limit.broken(rules) == [], "5.000000000000004e-3 is not beyond .5 %"


# Files of all three kinds that say the same: `factor` on times, `rise` of gaps.


def write_run(folder, factor=1.0, rise=0.0, **changes):
    with RunWriter(folder) as writer:
        for size, pair in itertools.product((64, 256), PAIRS):
            row = {"method": "greedy", "size": size, "layer": f"layer-{size}", "pair": pair, "c": 5 / 6 - rise}
            writer.append(make_row(**{**row, "seconds": 1e-5 * size * factor, **changes}))
    (folder / ENVIRONMENT_FILE).write_text(json.dumps({"cpu": {"model": "A"}}))
    return folder


def write_asv(folder, factor=1.0, rise=0.0, commit="a" * 40, date=1):
    params = [["'scipy'", "'greedy'"], ["64", "256"], ["'none'"]]
    times = [None, None, *(1e-5 * size * factor for size in (64, 256))]
    gaps = [0.0, 0.0, *[100 * (1 / 6 + rise)] * 2]
    content = {
        "commit_hash": commit,
        "date": date,
        "params": {"cpu": "A"},
        "result_columns": ["result", "params", "version"],
        "results": {
            "bench_solvers.Runtime.track_solve_seconds": [times, params, "1"],
            "bench_solvers.Quality.track_gap_percent": [gaps, params, "1"],
            "bench_solvers.Runtime.track_rel_time": [times, params, "1"],
            "bench_solvers.timeraw_import": [[0.1], [], "1"],
        },
        "version": 2,
    }
    machine = folder / "machine"
    machine.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text("{}")
    (machine / "machine.json").write_text("{}")
    path = machine / f"{commit[:8]}-env.json"
    path.write_text(json.dumps(content))
    return path


def write_pytest(path, factor=1.0, rise=0.0):
    benchmarks = [
        {
            "name": f"test_solve[greedy-{size}-none]",
            "extra_info": {"solver": "greedy", "size": size, "centring": "none", "pair": "0-1"}
            | {"gap_of_pair": dict.fromkeys(PAIRS, 1 / 6 + rise)},
            "stats": {"data": [1e-5 * size * factor] * 5, "median": 1e-5 * size * factor},
        }
        for size in (64, 256)
    ]
    benchmarks.append({"name": "test_something_else", "extra_info": {}, "stats": {"data": [1.0]}})
    path.write_text(json.dumps({"machine_info": {"cpu": {"brand_raw": "A"}}, "benchmarks": benchmarks}))
    return path


WRITERS = {
    "run": lambda folder, *a: write_run(folder / "run", *a),
    "asv": lambda folder, *a: write_asv(folder / "asv", *a),
    "pytest": lambda folder, *a: write_pytest(folder / "pytest.json", *a),
}
PLACE = dict.fromkeys(WRITERS, "none") | {"run": "none tiny/layer-256"}


@pytest.mark.parametrize("kinds", list(itertools.product(WRITERS, WRITERS)), ids="-".join)
@pytest.mark.parametrize(("verdict", "changes"), [("same", ()), ("worse", (3.0, 0.02))])
def test_every_kind_against_every_kind(tmp_path, kinds, verdict, changes):
    for name in "ab":
        (tmp_path / name).mkdir()
    before = read_measurements(WRITERS[kinds[0]](tmp_path / "a"))
    after = read_measurements(WRITERS[kinds[1]](tmp_path / "b", *changes))
    greedy = {(c.cell.size, c.metric): c for c in compare(before, after).changes if c.cell.method == "greedy"}
    assert set(greedy) == set(itertools.product((64, 256), ("time", "gap")))
    assert {c.verdict for c in greedy.values()} == {verdict}
    for (_, metric), change in greedy.items() if changes else ():
        assert change.change.value == pytest.approx(3.0 if metric == "time" else 0.02)


def test_layers_that_share_a_size_stay_apart(tmp_path):
    write_run(tmp_path / "run")
    with RunWriter(tmp_path / "run") as writer:
        writer.append(make_row(method="greedy", size=64, layer="other", pair="0-1"))
    found = read_measurements(tmp_path / "run")
    assert set(found.cells) == {
        ("greedy", 64, "none", "matching", "tiny/layer-64"),
        ("greedy", 64, "none", "matching", "tiny/other"),
        ("greedy", 256, "none", "matching", "tiny/layer-256"),
    }


@pytest.mark.parametrize("other", [{"layer": "b"}, {"model": "b"}])
def test_another_layer_of_the_same_size_is_no_stand_in(tmp_path, other):
    """Of two runs; files that know no layers are compared by S, as long as there is one layer of it."""
    sides = []
    for name, changes in (("first", {}), ("second", other), ("third", {"pair": "2-3", **other})):
        with RunWriter(tmp_path / name) as writer:
            writer.append(make_row(**{"pair": "0-1", **changes}))
            if name == "third":
                writer.append(make_row(pair="0-1"))
        sides.append(read_measurements(tmp_path / name))
    first, second, third = sides
    found = compare(first, second)
    assert (found.changes, list(found.lost.values())) == ([], ["no time of 1 of 1 cases: absent"])
    assert {c.metric for c in compare(first, third).changes} == {"time", "gap"}
    assert not compare(first, third).lost
    asv = dataclasses.replace(
        second, source="asv", cells={CellKey("scipy", 16, "none"): next(iter(second.cells.values()))}
    )
    assert {c.metric for c in compare(first, asv).changes} == {"time", "gap"}
    assert not compare(third, asv).changes


def test_several_entries_of_a_cell_or_a_pair_are_kept_beside_each_other(tmp_path):
    def entry(pair, seconds, gap):
        extra = {"solver": "greedy", "size": 64, "centring": "none", "pair": pair, "gap_of_pair": {pair: gap}}
        return {"name": f"test[{pair}]", "extra_info": extra, "stats": {"data": [seconds] * 3}}

    def write(name, *entries):
        (tmp_path / name).write_text(json.dumps({"machine_info": {}, "benchmarks": entries}))
        return read_measurements(tmp_path / name)

    first = write("a.json", entry("0-1", 0.1, 0.2), entry("2-3", 0.2, 0.3), entry("0-1", 0.3, 0.4))
    (figures,) = first.cells.values()
    assert figures.seconds == {"0-1": [0.1] * 3 + [0.3] * 3, "2-3": [0.2] * 3}
    assert figures.gaps == {"0-1": [0.2, 0.4], "2-3": [0.3]}
    second = write("b.json", entry("0-1", 0.2, 0.1), entry("2-3", 0.4, 0.1))
    gap = next(change for change in compare(first, second).changes if change.metric == "gap")
    assert (gap.paired, gap.before, gap.after) == (True, pytest.approx(0.3), pytest.approx(0.1))
    with RunWriter(tmp_path) as writer:
        for repeat, c in enumerate((0.9, 0.7)):
            writer.append(make_row(repeat=repeat, c=c, seconds=0.1 * (1 + repeat)))
    (figures,) = read_measurements(tmp_path).cells.values()
    assert figures.gaps == {"0-1": pytest.approx([0.1, 0.3])}
    assert figures.seconds == {"0-1": pytest.approx([0.1, 0.2])}


def write_tasks(folder, factor=1.0, score=0.75, task="translation"):
    cell = {"model": "net", "layer": "layer1", "size": 16, "channels": 6, "centring": "none", "kernel": "rbf"}
    with RunWriter(folder) as writer:
        for kernel, batch in itertools.product(("linear", "rbf"), "01234"):
            row = {
                "task": task,
                "kind": "rsm",
                "method": "identity",
                "cell": {**cell, "kernel": kernel},
                "raw": {"pairs": 4},
            }
            row |= {"case": f"net/{kernel}/{batch}", "units": {"batch": [batch]}, "scores": {"auroc": score}}
            writer.append(dataclasses.replace(make_row(seconds=factor * (1 + int(batch))), **row))
    return read_measurements(folder)


def test_cells_of_any_task_are_compared(tmp_path):
    before, after = write_tasks(tmp_path / "a"), write_tasks(tmp_path / "b", 2.0, 0.65)
    found = compare(before, after)
    assert {change.cell.place for change in found.changes} == {"net layer1 none linear", "net layer1 none rbf"}
    assert {change.cell.task for change in found.changes} == {"translation"}
    for change in found.changes:
        expected = 2.0 if change.metric == "time" else 0.1
        assert (change.paired, change.verdict) == (True, "worse")
        assert change.change.value == pytest.approx(expected)
    shown = invoke(tmp_path / "a", tmp_path / "b").output
    assert "translation: net layer1 none rbf" in shown


def test_a_task_that_is_not_known_here_is_compared_by_its_times_and_said_so(tmp_path):
    found = compare(write_tasks(tmp_path / "a", task="elsewhere"), write_tasks(tmp_path / "b", task="elsewhere"))
    assert {change.metric for change in found.changes} == {"time"}
    assert any("'elsewhere' is not known here" in notice for notice in found.notices)


def test_a_score_that_exists_only_over_many_rows_is_compared(tmp_path):
    from semrsm_bench.core.task import Profile, Score, Task
    from semrsm_bench.tasks.registry import register_task

    @register_task
    class Many(Task):
        """The largest raw value of all."""

        name, question, kind, options = "many", "How large?", "rsm", ToyOptions
        scores = (Score("largest", "largest", "min", low=0.0),)
        unit = "batch"
        profiles = {"quick": Profile("")}  # noqa: RUF012

        def cases(self, options):
            return []

        def score(self, *given):
            raise AssertionError

        def aggregate(self, results, draws, units):
            return {"largest": np.full(len(draws), max(r.raw["value"] for r in results))}

    def write(folder, top):
        with RunWriter(folder) as writer:
            for batch in range(3):
                row = {
                    "task": "many",
                    "kind": "rsm",
                    "cell": {"layer": "x"},
                    "raw": {"value": top - batch},
                    "scores": {},
                }
                writer.append(dataclasses.replace(make_row(case=f"{batch}", units={"batch": [f"{batch}"]}), **row))
        return read_measurements(folder)

    (gap,) = (c for c in compare(write(tmp_path / "a", 5.0), write(tmp_path / "b", 7.0)).changes if c.metric == "gap")
    assert (gap.before, gap.after, gap.verdict) == (5.0, 7.0, "worse")


def edited(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def without_run(tmp_path, how):
    """A run of which the last row of greedy at S = 256 is as said; None: the row is not there."""
    folder = write_run(tmp_path / "run")
    rows = folder / "rows.jsonl"
    lines = rows.read_text().splitlines()
    row = json.loads(lines.pop())
    if how == "failed":
        row |= {"status": "timeout", "message": "stopped after 30 s", "seconds": None, "scores": {}}
    elif how == "skipped":
        row |= {"status": "skipped", "message": "too slow", "seconds": None, "scores": {}}
    elif how == "null":
        row["scores"]["c"] = None
    elif how == "NaN":
        row["seconds"] = float("nan")
    rows.write_text("\n".join([*lines, *([json.dumps(row)] if how != "absent" else [])]) + "\n")
    return folder


def without_asv(tmp_path, how):
    def change(content):
        for name in ("bench_solvers.Runtime.track_solve_seconds", "bench_solvers.Quality.track_gap_percent"):
            result = content["results"][name]
            if how == "failed":
                result[0] = None
            elif how == "absent":
                result[1][1] = ["64"]
            else:
                result[0][3] = None if how == "null" else float("nan")

    return edited(write_asv(tmp_path / "asv"), change)


def without_pytest(tmp_path, how):
    def change(content):
        last = content["benchmarks"][1]
        if how == "absent":
            del content["benchmarks"][1]
        elif how == "failed":
            last["stats"] = {}
        else:
            last["extra_info"]["gap_of_pair"]["0-3"] = None if how == "null" else float("nan")

    return edited(write_pytest(tmp_path / "p.json"), change)


WITHOUT = {"run": without_run, "asv": without_asv, "pytest": without_pytest}


@pytest.mark.parametrize(
    ("kind", "how"), [("run", "skipped"), *itertools.product(WITHOUT, ("failed", "null", "NaN", "absent"))]
)
def test_missing_is_not_passing(tmp_path, kind, how):
    """Whatever a file calls it: what was measured before and is not now fails, unless it is allowed."""
    for name in "ab":
        (tmp_path / name).mkdir()
    before = WRITERS[kind](tmp_path / "a")
    after = WITHOUT[kind](tmp_path / "b", how)
    found = compare(read_measurements(before), read_measurements(after))
    assert ("greedy", 256, "none") in {key[:3] for key in found.lost}
    assert compare(read_measurements(after), read_measurements(before)).lost == {}
    failed = invoke(before, after)
    assert failed.return_value == 1
    assert f"MISSING  greedy at S=256 ({PLACE[kind]}): no " in failed.output
    assert invoke(before, after, "--fail", "gap:50%", "--allow-missing", "greedy,scipy").return_value == 0
    assert invoke(before, after, "--fail", "gap:50%", "--allow-missing", "all").return_value == 0


def failed_everywhere(folder, kind):
    """A file of this kind in which nothing was measured."""
    if kind == "run":
        return write_run(folder, status="timeout", message="stopped after 30 s", seconds=None, scores={})
    if kind == "asv":
        return without_asv(folder, "failed")

    def change(content):
        for entry in content["benchmarks"]:
            entry["stats"] = {}
            entry["extra_info"] |= {"gap_of_pair": None}

    return edited(WRITERS[kind](folder), change)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("rules", [(), ("--fail", "time:2x")])
def test_nothing_measured_on_a_side_is_not_passing(tmp_path, kind, rules):
    for name in "abc":
        (tmp_path / name).mkdir()
    failed, also = (failed_everywhere(tmp_path / name, kind) for name in "ab")
    fine = WRITERS[kind](tmp_path / "c")
    for before, after in ((failed, also), (failed, fine)):
        found = invoke(before, after, *rules)
        assert found.return_value == 4, found.output
        assert "NOTHING TO JUDGE: no cell has a figure on both sides" in found.output
        assert "PASS" not in found.output
        assert "greedy at S=256" in found.output.partition("NOTHING")[2]
        assert json.loads(invoke(before, after, *rules, "--json").output)["not_compared"] == ["figure"]
    assert invoke(fine, fine, *rules).return_value == 0


def test_a_rule_about_what_neither_side_has_is_not_passing(tmp_path):
    def untimed(content):
        content["results"]["bench_solvers.Runtime.track_solve_seconds"][0] = None

    side = edited(write_asv(tmp_path), untimed)
    found = invoke(side, side, "--fail", "gap:1%", "--fail", "time:2x")
    assert found.return_value == 4
    assert "no cell has a time on both sides" in found.output
    assert invoke(side, side, "--fail", "gap:1%").return_value == 0


def without_time(path, kind, value):
    """A file of this kind whose times at S = 256 are this value."""
    if kind == "run":
        write_run(path)
        rows = path / "rows.jsonl"
        made = [json.loads(line) for line in rows.read_text().splitlines()]
        made = [row | {"seconds": value if row["cell"]["size"] == 256 else row["seconds"]} for row in made]
        rows.write_text("".join(json.dumps(row) + "\n" for row in made))
        return path

    def change(content):
        if kind == "asv":
            times = content["results"]["bench_solvers.Runtime.track_solve_seconds"]
            times[0][3] = value
        else:
            content["benchmarks"][1]["stats"] = {"data": [value] * 5}

    return edited(WRITERS[kind](path), change)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("value", [0, 0.0, -1.0])
def test_a_time_that_is_none_is_left_out_and_named(tmp_path, kind, value):
    for name in "ab":
        (tmp_path / name).mkdir()
    odd, fine = without_time(tmp_path / "a", kind, value), WRITERS[kind](tmp_path / "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before, after = invoke(odd, fine, "--fail", "time:2x"), invoke(fine, odd, "--fail", "time:2x")
    name = read_measurements(odd).name
    assert (before.return_value, after.return_value) == (0, 1), (before.output, after.output)
    for found in (before, after):
        assert f"notice: {name}: greedy at S=256 ({PLACE[kind]}): left out, seconds {value}" in found.output
    assert f"MISSING  greedy at S=256 ({PLACE[kind]}): no time" in after.output


def test_a_repeat_that_fails_now_is_not_hidden_by_the_others(tmp_path):
    for name, changes in (("a", {}), ("b", {"status": "timeout", "message": "why", "seconds": None, "scores": {}})):
        with RunWriter(tmp_path / name) as writer:
            writer.append(make_row())
            writer.append(make_row(repeat=1, **changes))
    before, after = (read_measurements(tmp_path / name) for name in "ab")
    assert list(compare(before, after).lost.values()) == ["no time of 1 of 1 cases: timeout: why"]
    assert compare(after, before).lost == compare(after, after).lost == {}


def test_methods_with_several_options_are_told_apart_and_replaced_rows_are_named(tmp_path):
    with RunWriter(tmp_path) as writer:
        for options, c in (({"b": 1}, 0.9), ({"b": 2}, 0.8), ({"b": 2}, 0.7)):
            writer.append(make_row(options=options, c=c))
    found = read_measurements(tmp_path)
    assert {key.place: figures.gaps["0-1"] for key, figures in found.cells.items()} == {
        'none {"b": 1}': [pytest.approx(0.1)],
        'none {"b": 2}': [pytest.approx(0.3)],
    }
    assert found.notices == ("1 rows were replaced by later ones: scipy on tiny/layer1/none/0-1",)


def test_rows_that_a_run_itself_measured_again_are_no_news(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.append(make_row(c=0.9))
        writer.append(make_row(c=0.8, replaces="drift: the reference kernel took 1.5 times its usual time"))
    assert read_measurements(tmp_path).notices == ()


def test_what_is_missing_is_counted_and_of_nothing_in_common_it_is_said_what_there_is(tmp_path):
    written = {"before": ("flat", "scipy", "lapjv"), "after": ("flat", "lapjv"), "other": ("euclidean", "greedy")}
    for name, (model, *solvers) in written.items():
        with RunWriter(tmp_path / name) as writer:
            for solver, layer in itertools.product(solvers, range(15)):
                writer.append(make_row(method=solver, model=model, layer=f"layer{layer}", pair="0-1"))
    sides = [tmp_path / name for name in written]
    lost = invoke(*sides[:2]).output
    assert lost.count("MISSING  scipy at S=16 (none flat/layer") == 12
    assert "MISSING  also 3 cells of scipy (--json names all)\n" in lost
    allowed = invoke(*sides[:2], "--allow-missing", "all", "--all").output
    assert "missing, as allowed: 15 cells of scipy\n" in allowed
    assert "MISSING" not in allowed
    assert "only before" not in allowed  # the same cells
    nothing = invoke(sides[0], sides[2])
    assert nothing.return_value == 4
    assert "before has model flat; S = 16; place none; method lapjv, scipy\n" in nothing.output
    assert "after  has model euclidean; S = 16; place none; method greedy\n" in nothing.output


def test_of_many_methods_that_are_missing_the_first_are_named(tmp_path):
    for name, count in (("before", 30), ("after", 1)):
        with RunWriter(tmp_path / name) as writer:
            for i in range(count):
                writer.append(make_row(method=f"method-{i:02}", pair="0-1"))
    allowed = invoke(tmp_path / "before", tmp_path / "after", "--allow-missing", "all").output
    assert "missing, as allowed: 29 cells of method-01, " in allowed
    assert ", method-12, ...\n" in allowed


def test_an_asv_folder_gives_the_newest_result_or_that_of_a_commit(tmp_path):
    write_asv(tmp_path, 1.0, commit="a" * 40, date=1)
    write_asv(tmp_path, 3.0, commit="b" * 40, date=2)
    assert read_measurements(tmp_path).name == "asv bbbbbbbb"
    assert read_measurements(f"{tmp_path}@aaaa").name == "asv aaaaaaaa"
    with pytest.raises(FileNotFoundError, match="aaaaaaaa, bbbbbbbb"):
        read_measurements(f"{tmp_path}@cccc")


@pytest.mark.parametrize(
    "content",
    ["{}", "[]", "no json", '{"benchmarks": [], "machine_info": {}}', '{"result_columns": [], "results": {}}'],
)
def test_files_of_no_kind(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.json"):
        read_measurements(tmp_path / "x.json")


@pytest.mark.parametrize("runs", [0, 1])
def test_a_mistyped_name_is_named(tmp_path, runs):
    if runs:
        write_run(tmp_path / "monday")
    (tmp_path / "empty").mkdir()
    there = "; there are monday" if runs else "make one with"
    for name in ("mondya", "mondya/rows.jsonl", "results.jsn", ".asv/resluts@abc"):
        with pytest.raises(FileNotFoundError, match=f"^{name}: there is no such file or folder, and no run.*{there}"):
            read_measurements(name, tmp_path)
    with pytest.raises(FileNotFoundError, match="empty holds no run"):
        read_measurements(tmp_path / "empty", tmp_path)


def invoke(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)


def test_command_line(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    before, worse = write_run(tmp_path / "a" / "run"), write_pytest(tmp_path / "b" / "p.json", 3.0, 0.02)
    shown = invoke(before, worse)
    assert shown.return_value == 0
    assert "time: 2 slower, 0 faster, 0 unchanged; gap: 2 worse, 0 better, 0 unchanged" in shown.output
    failed = invoke(before, worse, "--fail", "gap:0.5%", "--fail", "time:2x")
    assert failed.return_value == 1
    assert failed.output.count("FAIL") == 5
    assert invoke(before, worse, "--fail", "gap:3%", "--fail", "time:4x").return_value == 0
    assert invoke(worse, before, "--fail", "gap:0.5%", "--fail", "time:2x").return_value == 0
    assert invoke(before, before).return_value == 0
    as_json = json.loads(invoke(before, worse, "--fail", "time:2x", "--json").output)
    assert (as_json["exit_code"], sum(c["broken"] for c in as_json["changes"])) == (1, 2)
    for change in as_json["changes"]:
        scale, unit, spec = (1e3, "ms", ".3g") if change["metric"] == "time" else (100, "%", ".3f")
        both = (f"{scale * change[side]:{spec}} {unit}" for side in ("before", "after"))
        assert re.search(r"\s+".join(both), shown.output)
    other = write_run(tmp_path / "c" / "run", method="scipy")
    assert invoke(before, other).return_value == 4
    wrong = CliRunner().invoke(command, [str(before), str(tmp_path / "nowhere")], standalone_mode=False)
    assert f"{tmp_path / 'nowhere'}: there is no" in str(wrong.exception)


@pytest.mark.parametrize("kind", ["asv", "pytest"])
@pytest.mark.parametrize("odd", [3, [["x"], [["'greedy'"], ["64"], ["'none'"]]]])
def test_a_file_that_is_laid_out_otherwise_is_named(tmp_path, kind, odd):
    path = WRITERS[kind](tmp_path)
    content = json.loads(path.read_text())
    if kind == "asv":
        content["results"]["bench_solvers.Quality.track_gap_percent"] = odd if isinstance(odd, list) else [[0], [odd]]
    else:
        content["benchmarks"][0] = odd
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(f"{path} is not laid out as expected: ")):
        read_measurements(path)


def test_a_benchmark_of_one_pair_may_say_its_gap_alone(tmp_path):
    extra = {"solver": "greedy", "size": 64, "centring": "none", "pair": "0-1", "gap": 0.2}
    (tmp_path / "one.json").write_text(json.dumps({"machine_info": {}, "benchmarks": [{"extra_info": extra}]}))
    (figures,) = read_measurements(tmp_path / "one.json").cells.values()
    assert figures.gaps == {"0-1": [0.2]}
