"""Tables of a run in every format: the figures of a second aggregation, the marks, the layout, hostile names, any task."""

import csv
import io
import itertools
import json
import re
import shutil
import statistics
import subprocess

import numpy as np
import pytest

from semrsm_bench.bench.results import load_rows
from semrsm_bench.core.row import current
from semrsm_bench.core.task import Score, Scored, Task
from semrsm_bench.report.paper import WALD, printed
from semrsm_bench.report.results import NothingMeasuredError, collect
from semrsm_bench.report.tables import render_table, table_records
from semrsm_bench.tasks.registry import TASKS

from .synthetic_rows import ENVIRONMENT, NO_FIGURES, SOLVERS, make_pairs, make_row, make_run, matching
from .toy_tasks import toy as toy_task

FORMATS = ("text", "md", "latex", "csv")
UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


@pytest.fixture(scope="module")
def run():
    return make_run(pairs=6)


@pytest.fixture(scope="module")
def small():
    """Four solvers on two layers: enough for questions of layout."""
    return make_run((256, 4096), solvers=("ortools", "scipy", "identity", "batch-optimal-128"), pairs=4)


def unwrapped(text):
    return re.sub(r"\s+", " ", text.replace("\\", ""))


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def records_of(rows, *more):
    return {(r["size"], r["centring"], r["method"]): r for r in table_records(matching(rows), *more)}


def text_cells(text):
    """(size, centring, solver) -> the entries of the cell, as a wide terminal shows them."""
    cells = {}
    for line in text.splitlines():
        words = re.split(r"\s{2,}", line.strip())
        if found := re.match(r"S = (\d+)", line):
            size = int(found[1])
        elif centrings := re.findall(r"centring (\w+), ", line):
            places = [(size, centring) for centring in centrings]
        elif "Algorithm" in words:
            name, start, count = (
                words.index("Algorithm"),
                words.index("c"),
                len(words[words.index("c") :]) // len(places),
            )
        elif len(words) > name + 1 and words[name] in SOLVERS:
            entries = iter(words[start:])
            for place in places:
                # A status spans its group.
                first = next(entries)
                more = 0 if first[0].isalpha() else count - 1
                cells[(*place, words[name])] = [first, *itertools.islice(entries, more)]
    return cells


def cells_at_256(rows, environment=ENVIRONMENT):
    """The text of a table, and its entries by solver where there is one cell."""
    text = render_table(matching(rows, environment), width=150)
    return unwrapped(text), {name: entries for (*_, name), entries in text_cells(text).items()}


def markdown_tables(text):
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.M)
    return [
        [[c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in b.splitlines()] for b in blocks
    ]


def printed_seconds(text):
    """Seconds, half a unit of the last digit, and the margin of a printed time."""
    value, margin, unit = re.match(r"([\d.]+)(?:\s?±\s?([\d.]+))? (\w+)", text).groups()
    digits = len(value.partition(".")[2])
    return float(value) * UNITS[unit], 0.5000001 * 10**-digits * UNITS[unit], float(margin or 0) * UNITS[unit]


def plain_cells(rows):
    """A second aggregation, in plain Python."""
    pairs = {}
    for row in rows:
        if row["status"] == "ok":
            key = row["cell"]["size"], row["cell"]["centring"], row["method"]
            numbers = {"seconds": row["seconds"], "total": row["seconds"] + (row["shared_seconds"] or 0), **row["raw"]}
            pairs.setdefault(key, {}).setdefault(row["case"], []).append(numbers)
    cells = {}
    for key, by_pair in pairs.items():
        medians = [{name: statistics.median(r[name] for r in rs) for name in rs[0]} for rs in by_pair.values()]
        c = [(m["k"] - m["k_rand"]) / (m["k_opt"] - m["k_rand"]) for m in medians]
        cells[key] = {
            "seconds": statistics.median(m["seconds"] for m in medians),
            "total_seconds": statistics.median(m["total"] for m in medians),
            "quality": statistics.fmean(m["k"] / m["k_opt"] for m in medians),
            "c": statistics.fmean(c),
            "c_worst": min(c),
            "cases_ok": len(by_pair),
        }
    return cells


@pytest.mark.parametrize("repeats", [(1.0,), (1.0, 1.02, 50.0)], ids=["once", "with an outlier"])
def test_every_format_shows_the_figures_of_a_second_aggregation(run, repeats):
    rows = [
        row | {"repeat": i, "seconds": row["seconds"] and row["seconds"] * factor}
        for i, factor in enumerate(repeats)
        for row in run
    ]
    before = json.dumps(rows)
    results, expected = matching(rows), plain_cells(rows)
    lines = {(int(r["size"]), r["centring"], r["method"]): r for r in read_csv(render_table(results, "csv"))}
    shown, total = (text_cells(render_table(results, width=200, end_to_end=whole)) for whole in (False, True))
    records = json.loads(json.dumps(table_records(results), allow_nan=False))
    assert set(lines) == set(shown) == {(r["size"], r["centring"], r["method"]) for r in records}
    assert len(records) == len(lines) == 4 * 2 * len(SOLVERS)
    for key in set(lines) - set(expected):
        assert lines[key]["status"] == "skipped"
        assert lines[key]["seconds"] == lines[key]["quality"] == ""
        assert shown[key] == ["skipped: too slow for quick"]
    for key, cell in expected.items():
        exact = {name: float(lines[key][name]) for name in (*cell, "seconds_low", "seconds_high")}
        assert {name: exact[name] for name in cell} == pytest.approx(cell, rel=1e-9)
        assert exact["seconds_low"] <= exact["seconds"] <= exact["seconds_high"]
        c, quality, time = shown[key]
        assert float(c.split("±")[0].replace("−", "-")) == pytest.approx(cell["c"], abs=6e-4)
        assert float(quality.split("±")[0].replace("−", "-")) == pytest.approx(100 * cell["quality"], abs=0.051)
        for text, name in ((time, "seconds"), (total[key][-1], "total_seconds")):
            value, half, _ = printed_seconds(text)
            assert value == pytest.approx(cell[name], abs=half)
        # The margin reaches both ends of the interval.
        farther = max(exact["seconds_high"] - exact["seconds"], exact["seconds"] - exact["seconds_low"])
        assert printed_seconds(time)[2] * (1 + 1e-6) >= farther
    assert json.dumps(rows) == before


def test_what_is_shared_has_a_line_that_end_to_end_adds(run):
    times = {}
    for row in run:
        if (row["cell"]["size"], row["cell"]["centring"]) == (1024, "none") and row["shared_seconds"]:
            times.setdefault(row["case"], []).append(row["shared_seconds"])
    median = statistics.median(map(statistics.median, times.values()))
    (line,) = [row for row in markdown_tables(render_table(matching(run), "md"))[0] if row[2].startswith("affinity")]
    assert printed_seconds(line[4 + 3 * 2 + 2])[0] == pytest.approx(median, rel=0.01)
    total = render_table(matching(run), "md", end_to_end=True)
    assert markdown_tables(total)[0][0][6].endswith("T + affinity")
    identity = records_of(run)[1024, "none", "identity"]
    assert identity["total_seconds"] == identity["seconds"]


def test_markdown_has_the_layout_of_table_5(run):
    tables = markdown_tables(render_table(matching(run), "md"))
    assert len(tables) == 2
    for head, rule, *body in tables:
        assert head[:4] == ["Category", "Complexity", "Algorithm", "b"]
        assert [h.split(" (")[0] for h in head[4::3]] == ["S = 64", "S = 256", "S = 1024", "S = 4096"]
        assert {len(line) for line in (head, rule, *body)} == {4 + 3 * 4}
        assert set("".join(rule)) <= set(":- ")
        assert [line[0] for line in body if line[0]] == ["Optimal", "Baseline", "Approximation", "Shared input"]
        by_name = {line[2]: line for line in body}
        assert by_name["batch-optimal-128"][3] == by_name["topk-greedy-128"][3] == "128"
        assert by_name["ortools"][1:6] == ["O(S³)", "ortools", "–", "1", "100"]


def test_order_is_category_then_the_order_of_the_run(run):
    shuffled = [run[i] for i in np.random.default_rng(0).permutation(len(run))]
    names = [line[2] for line in markdown_tables(render_table(matching(shuffled), "md"))[0][2:]]
    assert names[:-1] == list(SOLVERS)
    assert render_table(matching(shuffled), "csv") == render_table(matching(run), "csv")
    # A method that is not registered comes after the known ones of its category.
    names = [m.name for m in matching([make_row("mine"), make_row("auction"), make_row("ortools")]).methods]
    assert names == ["ortools", "auction", "mine"]


@pytest.mark.parametrize("fmt", ["text", "md"])
def test_caption_says_machine_versions_pairs_data_and_run(small, fmt):
    text = unwrapped(render_table(matching(small), fmt))
    machine = ("Example CPU_9 & Co", "1 thread", "Python 3.11.9", "ortools 9.11", "openblas 0.3.27")
    run = ("run-1", "0123456789 with local changes", "2026-01-02", "resnet18-tiny-imagenet (sha256 ababababab)")
    for part in (*machine, *run, "4 pairs", "3 pairs"):
        assert part in text
    assert "unknown machine" in render_table(matching(small, {}), fmt)


def test_c_of_one_permutation_is_the_same_for_none_and_channel_and_both_stand_side_by_side():
    raw = make_row("greedy", k=70.0, k_opt=100.0, k_rand=40.0)
    # Channel centring takes the same constant off k, k_opt and k_rand of this pair.
    channel = make_row("greedy", centring="channel", k=25.0, k_opt=55.0, k_rand=-5.0)
    shown = text_cells(render_table(matching([raw, channel], {})))
    assert list(shown.values()) == [["0.500", "70.0", "50.0 µs"], ["0.500", "45.5", "50.0 µs"]]


def test_a_ratio_without_a_positive_optimum_is_marked_and_c_stays():
    rows = [
        make_row(name, pair=pair, k_opt=k_opt, k_rand=k_opt - room, c=c)
        for pair, k_opt, room, loss in (("0-1", 10.0, 20.0, 0.1), ("0-2", -2.0, 10.0, 0.2))
        for name, c in (("auction", 1 - loss), ("ortools", 1.0))
    ]
    text, cells = cells_at_256(rows)
    assert cells["auction"][0].startswith("0.850")
    assert cells["auction"][1] == "*"
    assert re.search(r"\* k_opt is not positive in some pairs[^.]*\(1 of 2\)\.", text)
    record = records_of(rows)[256, "none", "auction"]
    assert (record["quality"], record["quality_undefined"]) == (None, 1)


def test_where_only_a_bound_of_the_optimum_is_known_the_lower_bound_is_printed_as_one():
    bound = {"k_opt": None, "k_upper": 100.0}
    rows = [make_row("auction", pair=f"0-{i}", **bound, k_rand=0.0, k=97.86 + i / 100) for i in range(3)]
    text, cells = cells_at_256(rows)
    assert cells["auction"][:2] == ["≥ 0.978", "≥ 97.8"]
    assert "certified lower bound" in text
    (record,) = table_records(matching(rows))
    assert record["c"] is record["quality"] is None
    assert record["c_bound"] == record["quality_bound"] == pytest.approx(0.9787)
    (record,) = table_records(matching([make_row("identity", **bound, k_rand=40.0, k=38.0)]))
    # Below chance: (38 - 40)/(100 - 40) = -0.033, but with k_opt = 60 the truth would be -0.1.
    assert (record["c_bound"], record["quality_bound"]) == (None, pytest.approx(0.38))


def test_failures_are_shown_as_what_they_are():
    failed = [
        ("scipy", "timeout", "no answer after 600 s", "timeout"),
        ("lapjv", "crashed", "killed by signal 11", "crashed"),
        ("greedy", "invalid", "3 twice", "invalid"),
        ("auction", "skipped", "too slow for quick", "skipped: too slow for quick"),
        ("auction-fine", "skipped", "not available: the module 'x' is missing", "skipped: not available"),
    ]
    rows = [make_row(name, status=status, message=message, **NO_FIGURES) for name, status, message, _ in failed]
    text, cells = cells_at_256([make_row("ortools"), *rows])
    for name, status, message, shown in failed:
        assert cells[name] == [shown]
        # What the cell says is not said again below.
        assert (f"{status}: {message} — {name}." in text) == (shown != f"{status}: {message}")
        assert records_of(rows)[256, "none", name]["status"] == status


def test_an_exact_solver_that_was_wrong_once_stands_apart_in_every_cell():
    good = [row for size in (64, 256) for name in ("ortools", "scipy") for row in make_pairs(name, 2, size=size)]
    wrong = make_row("ortools", pair="0-9", status="wrong", message="it misses the optimum", **NO_FIGURES)
    results = matching([*good, wrong])
    assert [(m.name, m.category) for m in results.methods] == [("scipy", "exact"), ("ortools", "wrong")]
    assert len(results.cells) == 4


def test_a_cell_with_fewer_pairs_says_so():
    rows = [
        *(
            row
            for name, n in (("ortools", 4), ("greedy", 4), ("scipy", 3), ("auction", 2))
            for row in make_pairs(name, n)
        ),
        make_row("scipy", pair="0-9", status="timeout", message="no answer after 1 s", **NO_FIGURES),
        make_row("lapjv", pair="0-1"),
        make_row("lapjv", status="skipped", message="budget of 600 s: 1 of 4 pairs", **NO_FIGURES),
    ]
    text, cells = cells_at_256(rows)
    assert {name for name in cells if "†" in cells[name][-1]} == {"scipy", "lapjv", "auction"}
    assert "scipy: 3 of 4 pairs (1 timeout: no answer after 1 s)" in text
    assert "lapjv: budget of 600 s: 1 of 4 pairs" in text
    # None failed, and yet they are fewer.
    assert "auction: 2 pairs" in text
    assert "centring none, 4 pairs" in text
    # Those that had fewer for their budget are no measure of the others, however many they are.
    text, cells = cells_at_256([*make_pairs("ortools", 4), *make_pairs("greedy", 1), *make_pairs("scipy", 1)])
    assert {name for name in cells if "†" in cells[name][-1]} == {"greedy", "scipy"}
    assert "centring none, 4 pairs" in text


def test_the_papers_figures_stand_beside_ours_and_never_among_them(run):
    results = matching(run)
    plain, beside = (read_csv(render_table(results, "csv", p)) for p in (False, True))
    assert [{k: v for k, v in line.items() if not k.startswith("paper_")} for line in beside] == plain
    published = {(p.row, p.column): p.value for p in printed(WALD, "5")}
    for line in beside:
        seconds = published.get((line["method"], f"seconds/{line['size']}"))
        assert line["paper_seconds"] == ("" if seconds is None else repr(seconds))
    table = markdown_tables(render_table(results, "md", paper=True))[0]
    columns = [i for i, head in enumerate(table[0]) if head.startswith("the paper")]
    by_name = {line[2]: [line[i] for i in columns] for line in table[2:]}
    assert by_name["ortools"] == ["100", "4.26 ms", "100", "69.6 ms", "100", "1.52 s"]
    assert by_name["identity"] == ["68.9", "1.40 µs", "67.0", "2.49 µs", "57.9", "4.36 µs"]
    assert set(by_name["auction"]) == {"–"}
    # Two of the paper's rows were not measured here; nothing of ours is made up for them.
    (line,) = [line for line in table if line[2] == "batch-optimal-1024"]
    assert line[6] == "not run"
    # Of two centrings side by side, one has the paper's figures beside it.
    panels = re.split(r"\n(?=S = )", render_table(results, paper=True, width=200))
    assert [panel.count("the paper ") for panel in panels if panel.startswith("S = 256")] == [1]
    for fmt, paper in itertools.product(("text", "md", "latex"), (False, True)):
        text = unwrapped(render_table(results, fmt, paper=paper))
        assert ("Wald" in text) == ("not measured here" in text) == paper


def test_solvers_that_differ_in_options_have_lines_of_their_own():
    rows = [make_row("batch-optimal-128", options={"b": 128, **more}) for more in ({}, {"block_solver": "scipy"})]
    text = render_table(matching(rows))
    assert len(table_records(matching(rows))) == 2
    assert "batch-optimal-128 (block_solver=scipy)" in text
    assert "(b=128" not in text


def test_cells_can_be_chosen(small):
    only = matching(small, where={"centring": ("channel",)})
    assert {r["centring"] for r in table_records(only)} == {"channel"}
    assert "centring none" not in render_table(only)


def test_models_and_layers_of_equal_size_are_not_mixed():
    places = [{"layer": "blocks.1", "seconds": 1e-3}, {"layer": "blocks.2", "seconds": 3e-3}]
    places.append({"layer": "blocks.1", "seconds": 5e-3, "model": "other"})
    results = matching([make_row(size=196, **place) for place in places])
    assert [r["seconds"] for r in table_records(results)] == [5e-3, 1e-3, 3e-3]
    text = render_table(results, "md")
    assert len(markdown_tables(text)) == 2
    assert "S = 196 (blocks.2)" in text


def test_what_gives_no_table_is_refused_with_the_reason(small):
    two = [*small, *({**row, "run_id": "run-2"} for row in small)]
    for rows, chosen, error, words in (
        ([], {}, NothingMeasuredError, "nothing was measured"),
        (
            small,
            {"where": {"centring": ("position",)}},
            NothingMeasuredError,
            "position; this run has centring none, channel",
        ),
        (
            small,
            {"where": {"kernel": ("rbf",)}},
            NothingMeasuredError,
            "no rows with kernel rbf; this run has no kernel",
        ),
        (two, {}, ValueError, r"rows of 2 runs \('run-1', 'run-2'\) cannot share a cell"),
        (small, {"tasks": ("outputs",)}, ValueError, "this run has no task 'outputs'; it has matching"),
        (
            [{**small[0], "task": "mine"}],
            {},
            ValueError,
            "task 'mine', which is not known here; bring it with --plugin",
        ),
    ):
        with pytest.raises(error, match=words):
            collect(rows, {}, **chosen)


UNMEASURED = make_row("auction") | {"seconds": None, "scores": {"c": None, "quality": None}, "raw": {}}
OLD = current({"solver": "ortools", "size": 256, "status": "ok", "seconds": 1.234e-3})


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([make_row("ortools", status="memory", message="more than 4 GB", **NO_FIGURES)], {"": "memory"}),
        ([OLD], {"": "1.23 ms", "csv": "0.001234"}),
        ([UNMEASURED, make_row("ortools")], {"": "auction"}),
    ],
    ids=["failures only", "the first schema with little", "no figures"],
)
def test_odd_runs_have_a_table_in_every_format(rows, shown, fmt):
    text = render_table(matching(rows, {}), fmt)
    assert shown.get(fmt, shown[""]) in text
    assert "nan" not in text.lower()


def test_numbers_that_are_none_of_them_are_unknown():
    _, cells = cells_at_256([UNMEASURED, make_row("ortools")])
    assert cells["auction"] == ["–", "–", "–"]


def test_cases_without_a_value_are_counted_by_method():
    task = toy_task("patchy")
    rows = [
        {**make_row(name, pair=f"0-{i}"), "task": "patchy", "kind": "metric", "scores": {"value": value}}
        for name, values in {"whole": [0.5] * 4, "patchy": [0.5, None, None, 0.5], "empty": [None] * 4}.items()
        for i, value in enumerate(values)
    ]
    TASKS.add([task])
    try:
        text = render_table(collect(rows, {}))
    finally:
        TASKS.forget("patchy")
    assert "value has no value in some cases: patchy 2 of 4." in text
    assert words_of_line(text, "empty")[1] == "*"
    assert "(4 of 4)" in text


def test_a_run_of_the_first_schema_is_read_with_its_environment():
    old = {"schema": 1, "solver": "greedy", "kind": "approximate", "size": 256, "layer": "layer3", "status": "ok"}
    old |= {"pair": "0-1", "seconds": 1e-3, "affinity_seconds": 2e-3, "chance_corrected": 0.8, "quality": 0.9}
    old |= {"k": 90.0, "k_opt": 100.0, "k_rand": 50.0, "k_upper": 100.0, "centring": "none", "channels": 4}
    environment = {"cpu": {"model": "Example"}}
    text, cells = cells_at_256([current(old | {"options": {}})], environment)
    assert cells["greedy"] == ["0.800", "90.0", "1.00 ms"]
    assert "O(S²)" in text
    assert re.search(r"affinity x @ y\.T .* 2\.00 ms", text)


def test_cells_that_were_skipped_as_a_whole_all_keep_their_row(tmp_path):
    rows = [make_row("scipy", size=size, status="skipped", message="too slow", **NO_FIGURES) for size in (1024, 4096)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["cell"]["size"] for row in load_rows(tmp_path)] == [1024, 4096]


def test_nothing_is_said_of_how_methods_ran_that_did_not_run():
    about = {
        f"solver:{name}": {"facts": {"stateful": True, "precision": 5e-4}, "environment": [f"{name}==1"]}
        for name in ("scipy", "lapjv")
    }
    absent = make_row("lapjv", status="skipped", message="not available: its environment is not there", **NO_FIGURES)
    text = render_table(matching([make_row("scipy"), absent], {**ENVIRONMENT, "methods": about}), width=1000)
    assert "timed there by the same clock: scipy (scipy==1)." in text
    assert "may take longer: scipy." in text
    assert "as a share of k_opt - k_rand: scipy 0.0005;" in text


def test_a_declared_precision_and_a_state_are_named_under_the_table(small):
    methods = {f"solver:{n}": {"facts": {"precision": {"scipy": 5e-4, "identity": None}.get(n, 1e-6)}} for n in SOLVERS}
    environment = {**ENVIRONMENT, "methods": methods}
    assert (
        "Exact up to what they declare, as a share of k_opt - k_rand: scipy 0.0005;"
        in cells_at_256(small, environment)[0]
    )
    methods["solver:scipy"]["facts"] = {"precision": 1e-6, "stateful": True}
    text, _ = cells_at_256(small, environment)
    assert "what they declare" not in text
    assert re.search(r"Keeping state between calls[^:]*: scipy\.", text)
    assert "Keeping state between calls" not in cells_at_256(small)[0]


HOSTILE = r"=a_b & 50 % #1 $\bad{$ {y} ~z ^w \n <v> | µ³ “Köln” 東京" + "\x1b[31m\n\u202e\t\x00|"


def hostile_results():
    """Names, messages, options and facts of the machine that are live in every format."""
    rows = [
        make_row("ortools"),
        make_row("weird_solver", options={"mode": HOSTILE}, c=0.5),
        make_row("greedy", status="error", message=HOSTILE, **NO_FIGURES),
        make_row("auction", k_opt=None, k_upper=101.0, k=95.0),
        make_row("scipy", k_opt=-1.0, k_rand=-5.0),
    ]
    rows = [{**row, "run_id": HOSTILE, "cell": {**row["cell"], "model": HOSTILE}} for row in rows]
    hostile = {"cpu": {"model": HOSTILE, "cores": 2}, "methods": {"solver:greedy": {"complexity": HOSTILE}}}
    return matching(rows, ENVIRONMENT | hostile)


@pytest.mark.parametrize("fmt", FORMATS)
def test_no_text_from_outside_moves_the_cursor_or_breaks_a_line(fmt):
    text = render_table(hostile_results(), fmt, True)
    assert all(line.isprintable() for line in text.splitlines())
    if fmt == "csv":
        assert len({len(line) for line in csv.reader(io.StringIO(text))}) == 1
        assert {line["model"][0] for line in read_csv(text)} == {"'"}
    if fmt == "md":
        assert all(len({len(line) for line in table}) == 1 for table in markdown_tables(text))


@pytest.mark.parametrize(
    ("complexity", "shown"),
    [
        ("O(S^2) in practice, O(S^3) at worst", "O(S²) in practice  "),
        ("O(n min(n, p)); O(p), once", "O(n min(n, p)); O(p)  "),
    ],
)
def test_a_terminal_shows_the_first_clause_of_a_complexity(complexity, shown):
    told = {"methods": {"solver:greedy": {"complexity": complexity}}}
    (line,) = (
        t for t in render_table(matching([make_row("greedy")], ENVIRONMENT | told)).splitlines() if "greedy" in t
    )
    assert line.startswith(shown)


@pytest.mark.parametrize("paper", [False, True])
def test_latex_lines_have_as_many_columns_as_the_table(small, paper):
    for results in (matching(small), hostile_results()):
        text = render_table(results, "latex", paper)
        assert text.isascii()
        tabulars = re.findall(r"\\begin\{tabular\}\{@\{\}([lrc]+)@\{\}\}(.*?)\\end\{tabular\}", text, flags=re.S)
        assert tabulars
        for columns, body in tabulars:
            for line in (line for line in body.splitlines() if line.endswith(r"\\")):
                spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
                assert len(re.findall(r"(?<!\\)&", line)) + 1 + spans == len(columns)
        for rule in ("\\toprule", "\\midrule", "\\bottomrule", "\\cmidrule"):
            assert rule in text
        for name in ("table*", "tabular"):
            assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here; the structure is tested above")
@pytest.mark.parametrize("packages", ["booktabs", "booktabs,graphicx"])
def test_latex_compiles(small, tmp_path, packages):
    tables = "\n".join([render_table(matching(small), "latex", True), render_table(hostile_results(), "latex")])
    head = f"\\documentclass{{article}}\\usepackage{{{packages}}}\\begin{{document}}\n"
    (tmp_path / "t.tex").write_text(f"{head}{tables}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000


class Toy(Task):
    """A task of metrics with all that one may have: a reference, two kernels, undefined scores, units of its own."""

    name = "toy"
    question = "Which metric is right?"
    kind = "metric"
    scores = (
        Score("right", "right %", style="percent", chance=0.5),
        Score("error", "error", best="min", low=-1.0, undefined="nothing is defined where nothing is"),
    )
    unit = "query"
    across = ("model", "kernel")
    reference = "plain"
    options = object

    def cases(self, options):
        """None; rows are made up."""
        return ()

    def score(self, case, arrays, answer, truth, declared):
        """Never asked."""
        return Scored()


class Broad(Toy):
    """Of so many scores that even one cell is wider than a terminal."""

    name = "broad"
    scores = tuple(Score(f"score{i}", f"a score with a long title {i}") for i in range(6))
    reference = ""


@pytest.fixture
def toy():
    TASKS.add([Toy(), Broad()])
    yield toy_rows
    for name in ("toy", "broad"):
        TASKS.forget(name)


def toy_rows(models=("a", "b"), kernels=("linear", "rbf"), right=None, **fields):
    right = right or {"plain": 0.5, "better": 0.8, "=cmd()": 0.5}
    fields = {"task": "toy", "kind": "metric", "category": "", "options": {}, "shared_seconds": None, **fields}
    return [
        make_row()
        | {
            "method": method,
            "case": f"{model}/{kernel}/{i}",
            "cell": {"model": model, "kernel": kernel},
            "units": {"query": [str(i)]},
            "scores": {"right": value + 0.01 * (i % 3), "error": None if method == "=cmd()" else -0.25},
        }
        | fields
        for model in models
        for kernel in kernels
        for method, value in right.items()
        for i in range(6)
    ]


def words_of_line(text, start):
    """The columns of the first line that begins so."""
    return re.split(r"\s{2,}", next(line for line in text.splitlines() if line.startswith(start)).strip())


def test_any_task_has_a_table(toy, monkeypatch):
    (results,) = collect(toy(), {})
    text = render_table(results)
    assert words_of_line(text, "Metric") == ["Metric", *["right %", "error", "T"] * 2]
    assert "kernel linear, 6 queries" in text
    assert words_of_line(text, "plain")[1:3] == ["51.0±0.7", "−0.250"]
    assert "right %: chance 50.0; error: lower is better" in text
    assert "T: median time per case. " in unwrapped(text)
    assert "±: the farther end of a 95 % bootstrap interval over queries." in unwrapped(text)
    monkeypatch.setattr(Toy, "time_per", "pair of images", raising=False)
    (per_pair,) = collect(toy(raw={"pairs": 10}), {})
    assert "T: median time per pair of images." in unwrapped(render_table(per_pair))
    assert table_records(per_pair)[0]["seconds"] == pytest.approx(table_records(results)[0]["seconds"] / 10)
    # No complexity, no option b, nothing shared: no column and no line for them.
    assert not re.search("Complexity|Shared|affinity", text)
    assert words_of_line(text, "=cmd()")[2] == "*"
    assert "* nothing is defined where nothing is (kernel linear: 6 of 6; kernel rbf: 6 of 6)." in text
    # A name that looks like a formula is text in csv, and numbers stay numbers.
    lines = read_csv(render_table(results, "csv"))
    assert {line["method"] for line in lines} == {"plain", "better", "'=cmd()"}
    assert {line["error"] for line in lines} == {"-0.25", ""}


def test_methods_are_compared_with_the_reference_by_paired_differences(toy):
    # In the second model the better method gains less.
    rows = [*toy(("a",)), *toy(("b",), right={"plain": 0.5, "better": 0.6, "=cmd()": 0.5})]
    (results,) = collect(rows, {})
    difference = render_table(results).partition("differences from plain")[2]
    # Every query gains the same, so the paired interval has no width, although each score has one.
    assert words_of_line(difference, "better")[1:3] == ["+30.0", "0.250"]  # 8 times 2^-5
    assert not [line for line in difference.splitlines() if line.startswith("plain")]
    assert "corrected by Holm's method for all 8 of them" in difference
    records = {(r["method"], r["model"], r["kernel"]): r for r in table_records(results)}
    for model, gain in (("a", 0.3), ("b", 0.1)):
        record = records["better", model, "rbf"]
        assert [record[f"difference{end}"] for end in ("", "_low", "_high")] == pytest.approx([gain] * 3)
    assert records["plain", "a", "rbf"]["difference"] is None
    assert records["better", "a", "rbf"]["reference"] == "plain"


@pytest.mark.parametrize("width", [45, 60, 80, 100, 120, 160])
def test_no_table_is_wider_than_the_terminal_and_none_loses_a_figure(small, toy, width):
    many = {f"score{i}": i / 10 for i in range(5)}
    for results, titles, smallest in (
        (matching(small), ["S = 256", "S = 4096", "centring none", "centring channel"], 60),
        (
            collect(toy(("a",), ("linear", "cosine", "rbf")), {}),
            [f"kernel {k}" for k in ("linear", "cosine", "rbf")],
            45,
        ),
        # No cell has the sixth score, so it has no column.
        (collect(toy(task="broad", scores=many), {}), [f"a score with a long title {i}" for i in range(5)], 60),
    ):
        if width < smallest:
            continue
        narrow, wide = render_table(results, width=width), render_table(results, width=1000)
        assert max(map(len, narrow.splitlines())) <= width
        assert all(title in narrow for title in titles)
        assert "a score with a long title 5" not in narrow
        # Each figure stands in one part, and a note under the last one.
        figures = re.compile(r"\d+\.\d+(?:±[\d.]+)?")
        assert sorted(figures.findall(narrow)) == sorted(figures.findall(wide))
        for note in ("about 17 s a pair", "nothing is defined where nothing is", "Holm's method"):
            assert unwrapped(narrow).count(note) == unwrapped(wide).count(note) < 2


def test_tasks_of_one_run_stand_below_each_other(toy):
    rows = [make_row("ortools"), *toy()]
    both = collect(rows, ENVIRONMENT)
    for fmt in ("text", "md"):
        text = render_table(both, fmt)
        assert text.index("matching: How fast") < text.index("S = 256") < text.index("toy: Which metric is right?")
        # What they have in common is said once.
        assert text.count("Versions: Python") == 1
    assert {line["task"] for line in read_csv(render_table(both, "csv"))} == {"matching", "toy"}
    assert [r.task.name for r in collect(rows, ENVIRONMENT, tasks=("toy",))] == ["toy"]


def test_the_best_are_of_the_leading_cell_with_all_baselines_and_a_users_own():
    """Identity is a baseline; of the others one may stay, and the worst, which a plugin brought."""
    scores = {"identity": 0.0, "greedy": 0.3, "auction": 0.9, "auction-fine": 0.6, "mine": 0.1}
    rows = [make_row(name, size=size, c=c) for name, c in scores.items() for size in (256, 1024)]
    described = {"methods": {"solver:mine": {"version": "sha256:0123", "facts": {}}}}
    text = render_table(matching(rows, described), best=1)
    assert [name for name in scores if f" {name} " in text] == ["identity", "auction", "mine"]
    assert "S = 1024" in text
    assert "S = 256" not in text
    assert "k/k_opt" not in text


def test_who_is_above_chance_where_nothing_real_is_left_is_named(toy, monkeypatch):
    rows = toy(("a", "a moved"), ("linear",), right={"plain": 0.45, "better": 0.8, "worse": 0.2})
    assert "Above chance" not in render_table(collect(rows, {}))
    monkeypatch.setattr(Toy, "leak", "moved")
    text = unwrapped(render_table(collect(rows, {})))
    assert "Above chance where nothing real is left, but for numbers of one side" in text
    assert "better 81.0 (chance 50.0)." in text, "the others' intervals hold chance, or are below it"
