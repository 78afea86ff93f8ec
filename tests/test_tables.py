"""Tables of a run in every format."""

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
from semrsm_bench.report.paper import printed
from semrsm_bench.report.results import NothingMeasuredError, collect
from semrsm_bench.report.tables import render_table, table_records
from semrsm_bench.tasks.registry import TASKS

from .synthetic_rows import ENVIRONMENT, SOLVERS, make_row, make_run, matching

UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


@pytest.fixture(scope="module")
def run():
    return make_run(pairs=6)


@pytest.fixture(scope="module")
def small():
    """Four solvers on two layers: enough for questions of layout."""
    return make_run((256, 4096), solvers=("ortools", "scipy", "identity", "batch-optimal-128"), pairs=4)


def plain_cells(rows: list[dict]) -> dict[tuple, dict[str, float]]:
    """A second aggregation, in plain Python."""
    pairs: dict[tuple, dict[str, list[dict]]] = {}
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


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def with_repeats(rows: list[dict]) -> list[dict]:
    """Each measurement three times, the third an outlier that a median does not see."""
    return [
        row | {"repeat": repeat, "seconds": None if row["seconds"] is None else row["seconds"] * factor}
        for repeat, factor in ((0, 1.0), (1, 1.02), (2, 50.0))
        for row in rows
    ]


@pytest.mark.parametrize("repeats", [False, True])
def test_csv_holds_the_figures_of_a_second_aggregation(run, repeats):
    rows = with_repeats(run) if repeats else run
    expected = plain_cells(rows)
    lines = read_csv(render_table(matching(rows), "csv"))
    seen = set()
    for line in lines:
        key = int(line["size"]), line["centring"], line["method"]
        if line["status"] == "skipped":
            assert key not in expected
            assert line["seconds"] == line["quality"] == ""
            continue
        seen.add(key)
        for name, value in expected[key].items():
            assert float(line[name]) == pytest.approx(value, rel=1e-9), (key, name)
        assert float(line["seconds_low"]) <= float(line["seconds"]) <= float(line["seconds_high"])
    assert seen == set(expected)


def text_cells(text: str) -> dict[tuple, list[str]]:
    """(size, centring, solver) -> entries, read from the printed panels by the positions of their columns."""
    cells = {}
    size, spans, centrings = 0, [], []
    for line in text.splitlines():
        if found := re.match(r"S = (\d+)", line):
            size, spans = int(found[1]), []
        elif "centring " in line and not spans:
            heads = list(re.finditer(r"centring (\w+)", line))
            centrings = [h[1] for h in heads]
        elif "Algorithm" in line:
            starts = [m.start() for m in re.finditer(r"\bc\b", line)]
            ends = [m.end() for m in re.finditer(r"\bT\b", line)]
            spans = list(zip(starts, ends))
            left = line.index("Algorithm")
        elif spans and line.strip() and not line.startswith("─") and line[left:].split()[:1]:
            name = line[left:].split()[0]
            if name in SOLVERS:
                previous = [0, *(end for _, end in spans)]
                for (_, end), begin, centring in zip(spans, previous, centrings):
                    # The first group begins behind the stub.
                    cells[size, centring, name] = re.split(r"\s{2,}", line[begin:end].strip())
    return cells


def printed_seconds(text: str) -> tuple[float, float]:
    value, unit = re.match(r"([\d.]+)(?:\s?±\s?[\d.]+)? (\w+)", text).groups()
    digits = len(value.partition(".")[2])
    return float(value) * UNITS[unit], 0.5000001 * 10**-digits * UNITS[unit]


def test_text_shows_the_figures_of_a_second_aggregation(run):
    expected = plain_cells(run)
    shown = text_cells(render_table(matching(run), "text", width=200))
    assert set(expected) <= set(shown)
    for key, cell in expected.items():
        c, quality, time = shown[key][-3:]
        value, half = printed_seconds(time)
        assert value == pytest.approx(cell["seconds"], abs=half)
        assert float(quality.split("±")[0].replace("−", "-")) == pytest.approx(100 * cell["quality"], abs=0.051)
        assert float(c.split("±")[0].replace("−", "-")) == pytest.approx(cell["c"], abs=6e-4)
    assert "skipped: too slow for quick" in shown[4096, "none", "scipy"]


def test_printed_margin_reaches_both_ends_of_the_interval(run):
    lines = {(int(r["size"]), r["centring"], r["method"]): r for r in read_csv(render_table(matching(run), "csv"))}
    for key, entries in text_cells(render_table(matching(run), "text", width=200)).items():
        if "skipped" in entries[-1]:
            continue
        found = re.match(r"([\d.]+)±([\d.]+) (\w+)", entries[-1])
        around, scale = float(found[2]), UNITS[found[3]]
        middle = float(lines[key]["seconds"])
        assert around * scale * (1 + 1e-6) >= float(lines[key]["seconds_high"]) - middle
        assert around * scale * (1 + 1e-6) >= middle - float(lines[key]["seconds_low"])


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
@pytest.mark.parametrize("paper", [False, True])
def test_text_stays_inside_the_terminal(small, width, paper):
    text = render_table(matching(small), "text", paper, width=width)
    assert max(map(len, text.splitlines())) <= max(width, 70)
    for size, centring in itertools.product((256, 4096), ("none", "channel")):
        assert f"S = {size}" in text
        assert f"centring {centring}" in text


def test_panels_too_wide_are_split_without_losing_a_column(small):
    narrow, wide = (render_table(matching(small), "text", width=w) for w in (70, 150))
    assert narrow.count("batch-optimal-128") == 2 * wide.count("batch-optimal-128")
    # What is said under the table is said under its last part.
    assert narrow.count("about 17 s a pair") == wide.count("about 17 s a pair") == 1
    # The affinity's line stands in both parts, each with the time of its own group.
    times = re.compile(r"[\d.]+±[\d.]+ [mµn]?s")
    assert sorted(times.findall(narrow)) == sorted(times.findall(wide))


def markdown_tables(text: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.M)
    return [
        [[c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in b.splitlines()] for b in blocks
    ]


def test_markdown_has_the_layout_of_table_5(run):
    tables = markdown_tables(render_table(matching(run), "md"))
    assert len(tables) == 2
    for centring, table in zip(("none", "channel"), tables):
        head, rule, *body = table
        assert head[:4] == ["Category", "Complexity", "Algorithm", "b"]
        assert [h.split(" (")[0] for h in head[4::3]] == ["S = 64", "S = 256", "S = 1024", "S = 4096"]
        assert {len(line) for line in table} == {4 + 3 * 4}
        assert all(set(r) <= set(":- ") for r in rule)
        assert [line[0] for line in body if line[0]] == ["Optimal", "Baseline", "Approximation", "Shared input"]
        by_name = {line[2]: line for line in body}
        assert by_name["batch-optimal-128"][3] == "128"
        assert by_name["topk-greedy-128"][3] == "128"
        assert by_name["ortools"][1:6] == ["O(S³)", "ortools", "–", "1", "100"]
        expected = plain_cells(run)[256, centring, "auction"]
        assert printed_seconds(by_name["auction"][9])[0] == pytest.approx(expected["seconds"], rel=0.01)


def test_order_is_category_then_the_order_of_the_run(run):
    shuffled = [run[i] for i in np.random.default_rng(0).permutation(len(run))]
    names = [line[2] for line in markdown_tables(render_table(matching(shuffled), "md"))[0][2:]]
    assert names[:-1] == list(SOLVERS)
    assert render_table(matching(shuffled), "csv") == render_table(matching(run), "csv")
    # A method that is not registered comes after the known ones of its category.
    names = [m.name for m in matching([make_row("mine"), make_row("auction"), make_row("ortools")]).methods]
    assert names == ["ortools", "auction", "mine"]


def test_caption_tells_machine_versions_pairs_data_and_run(small):
    for fmt in ("text", "md"):
        text = re.sub(r"\s+", " ", render_table(matching(small), fmt).replace("\\", ""))
        told = (
            "Example CPU_9 & Co",
            "1 thread",
            "Python 3.11.9",
            "ortools 9.11",
            "openblas 0.3.27",
            "4 pairs",
            "3 pairs",
        )
        run = ("run-1", "0123456789 with local changes", "2026-01-02", "resnet18-tiny-imagenet (sha256 ababababab)")
        for part in (*told, *run):
            assert part in text
    assert "unknown machine" in render_table(matching(small, {}), "text")


def test_affinity_has_a_line_and_end_to_end_adds_it(run):
    records = {(r["size"], r["centring"], r["method"]): r for r in table_records(matching(run))}
    one = records[1024, "none", "ortools"]
    assert one["total_seconds"] > one["seconds"]
    assert records[1024, "none", "identity"]["total_seconds"] == records[1024, "none", "identity"]["seconds"]
    times: dict[str, list[float]] = {}
    for row in run:
        if (row["cell"]["size"], row["cell"]["centring"]) == (1024, "none") and row["shared_seconds"]:
            times.setdefault(row["case"], []).append(row["shared_seconds"])
    median = statistics.median(map(statistics.median, times.values()))
    table = markdown_tables(render_table(matching(run), "md"))[0]
    (line,) = [row for row in table if row[2].startswith("affinity")]
    assert printed_seconds(line[4 + 3 * 2 + 2])[0] == pytest.approx(median, rel=0.01)
    total = markdown_tables(render_table(matching(run), "md", end_to_end=True))[0]
    assert total[0][6].endswith("T + affinity")
    (greedy,) = [row for row in total if row[2] == "greedy"]
    expected = plain_cells(run)[4096, "none", "greedy"]
    assert expected["total_seconds"] > 2 * expected["seconds"]
    assert printed_seconds(greedy[4 + 3 * 3 + 2])[0] == pytest.approx(expected["total_seconds"], rel=0.01)


def test_c_of_one_permutation_is_the_same_for_none_and_channel_and_both_stand_side_by_side():
    raw = make_row("greedy", k=70.0, k_opt=100.0, k_rand=40.0)
    # Channel centring takes the same constant off k, k_opt and k_rand of this pair.
    channel = make_row("greedy", centring="channel", k=25.0, k_opt=55.0, k_rand=-5.0)
    (entries_none, entries_channel) = text_cells(render_table(matching([raw, channel], {}), "text")).values()
    assert entries_none[-3:] == ["0.500", "70.0", "50.0 µs"]
    assert entries_channel[-3:] == ["0.500", "45.5", "50.0 µs"]


def test_a_ratio_without_a_positive_optimum_is_marked_and_c_stays():
    rows = [
        make_row("auction", pair="0-1", k_opt=10.0, k_rand=-10.0, c=0.9),
        make_row("auction", pair="0-2", k_opt=-2.0, k_rand=-12.0, c=0.8),
        make_row("ortools", pair="0-1", k_opt=10.0, k_rand=-10.0, c=1.0),
        make_row("ortools", pair="0-2", k_opt=-2.0, k_rand=-12.0, c=1.0),
    ]
    text = render_table(matching(rows), "text")
    c, quality, _ = text_cells(text)[256, "none", "auction"][-3:]
    assert quality == "*"
    assert c.startswith("0.850")
    assert "* k_opt is not positive in some pairs" in text
    assert "1 of 2" in text
    (record, _) = (r for r in table_records(matching(rows)))
    assert record["quality"] is None
    assert record["quality_undefined"] == 1


def test_where_only_a_bound_of_the_optimum_is_known_the_lower_bound_is_printed_as_one():
    rows = [
        *(
            make_row("auction", pair=f"0-{i}", k_opt=None, k_upper=100.0, k_rand=0.0, k=97.86 + i / 100)
            for i in range(3)
        )
    ]
    text = render_table(matching(rows), "text")
    entries = text_cells(text)[256, "none", "auction"]
    assert entries[-3:-1] == ["≥ 0.978", "≥ 97.8"]
    assert "certified lower bound" in text
    (record,) = table_records(matching(rows))
    assert record["c"] is record["quality"] is None
    assert record["c_bound"] == record["quality_bound"] == pytest.approx(0.9787)
    (record,) = table_records(matching([make_row("identity", k_opt=None, k_upper=100.0, k_rand=40.0, k=38.0)]))
    # Below chance: (38 - 40)/(100 - 40) = -0.033, but with k_opt = 60 the truth would be -0.1.
    assert record["c_bound"] is None
    assert record["quality_bound"] == pytest.approx(0.38)


def test_failures_are_shown_as_what_they_are():
    nothing = {"seconds": None, "k": None}
    absent = "not available: the module 'x' is not installed here"
    rows = [
        make_row("ortools"),
        make_row("scipy", status="timeout", message="no answer after 600 s", **nothing),
        make_row("lapjv", status="crashed", message="killed by signal 11", **nothing),
        make_row("greedy", status="invalid", message="3 twice", **nothing),
        make_row("auction", pair="", status="skipped", message="too slow for quick", **nothing),
        make_row("auction-fine", pair="", status="skipped", message=absent, **nothing),
    ]
    text = render_table(matching(rows), "text", width=150)
    cells = text_cells(text)
    assert cells[256, "none", "scipy"][-1] == "timeout"
    assert cells[256, "none", "lapjv"][-1] == "crashed"
    assert cells[256, "none", "greedy"][-1] == "invalid"
    assert cells[256, "none", "auction"][-1] == "skipped: too slow for quick"
    assert cells[256, "none", "auction-fine"][-1] == "skipped: not available"
    for reason in ("timeout: no answer after 600 s — scipy.", "signal 11", "the module 'x' is not installed here"):
        assert reason in text
    statuses = {r["method"]: r["status"] for r in table_records(matching(rows))}
    assert statuses["scipy"] == "timeout"
    assert statuses["auction"] == "skipped"


def test_an_exact_solver_that_was_wrong_once_stands_apart_in_every_cell():
    rows = [
        *(
            make_row(name, pair=f"0-{i}", size=size)
            for name in ("ortools", "scipy")
            for i in (1, 2)
            for size in (64, 256)
        ),
        make_row("ortools", pair="0-3", status="wrong", message="it misses the optimum", seconds=None, k=None),
    ]
    results = matching(rows)
    assert [(m.name, m.category) for m in results.methods] == [("scipy", "exact"), ("ortools", "wrong")]
    assert len(results.cells) == 4


def test_a_cell_with_fewer_pairs_says_so():
    rows = [
        *(make_row("ortools", pair=f"0-{i}") for i in range(4)),
        *(make_row("greedy", pair=f"0-{i}") for i in range(4)),
        *(make_row("scipy", pair=f"0-{i}") for i in range(3)),
        make_row("scipy", pair="0-3", status="timeout", message="no answer after 1 s", seconds=None, k=None),
        make_row("lapjv", pair="0-0"),
        make_row("lapjv", pair="", status="skipped", message="budget of 600 s: 1 of 4 pairs", seconds=None, k=None),
        *(make_row("auction", pair=f"0-{i}") for i in range(2)),
    ]
    text = render_table(matching(rows), "text", width=150)
    cells = text_cells(text)
    marked = {name for _, _, name in cells if "†" in " ".join(cells[256, "none", name])}
    assert marked == {"scipy", "lapjv", "auction"}
    note = re.sub(r"\s+", " ", text)
    assert "scipy: 3 of 4 pairs (1 timeout: no answer after 1 s)" in note
    assert "lapjv: budget of 600 s: 1 of 4 pairs" in note
    # None failed, and yet they are fewer.
    assert "auction: 2 pairs" in note
    assert "centring none, 4 pairs" in text


def test_of_two_numbers_of_pairs_as_common_the_larger_is_the_usual_one():
    rows = [make_row(name, pair=f"0-{i}") for name, count in (("ortools", 4), ("greedy", 2)) for i in range(count)]
    text = render_table(matching(rows), "text", width=150)
    cells = text_cells(text)
    assert {name for _, _, name in cells if "†" in " ".join(cells[256, "none", name])} == {"greedy"}
    assert "4 pairs" in text


def test_the_papers_figures_stand_beside_ours_and_never_among_them(run):
    plain, beside = (render_table(matching(run), "csv", p) for p in (False, True))
    ours = [{k: v for k, v in line.items() if not k.startswith("paper_")} for line in read_csv(beside)]
    assert ours == read_csv(plain)
    published = {(p.row, p.column): p.value for p in printed("5")}
    for line in read_csv(beside):
        seconds = published.get((line["method"], f"seconds/{line['size']}"))
        assert line["paper_seconds"] == ("" if seconds is None else repr(seconds))
    table = markdown_tables(render_table(matching(run), "md", paper=True))[0]
    columns = [i for i, head in enumerate(table[0]) if head.startswith("the paper")]
    by_name = {line[2]: [line[i] for i in columns] for line in table[2:]}
    assert by_name["ortools"] == ["100", "4.26 ms", "100", "69.6 ms", "100", "1.52 s"]
    assert by_name["batch-optimal-128"] == ["97.6", "2.41 ms", "94.5", "9.08 ms", "92.8", "43.4 ms"]
    assert by_name["identity"] == ["68.9", "1.40 µs", "67.0", "2.49 µs", "57.9", "4.36 µs"]
    assert set(by_name["auction"]) == {"–"}
    # Two of the paper's rows were not measured here; that is said, and nothing of ours is made up for them.
    (line,) = [line for line in table if line[2] == "batch-optimal-1024"]
    assert line[6] == "not run"
    assert "Wald" not in render_table(matching(run), "md")
    # Of two centrings side by side, one has the paper's figures beside it.
    panels = re.split(r"\n(?=S = )", render_table(matching(run), "text", paper=True, width=200))
    assert [panel.count("the paper ") for panel in panels if panel.startswith("S = 256")] == [1]
    for fmt in ("text", "md", "latex"):
        text = re.sub(r"\s+", " ", render_table(matching(run), fmt, paper=True))
        assert "Wald" in text
        assert "not measured here" in text


def test_solvers_that_differ_in_options_have_lines_of_their_own():
    rows = [
        make_row("batch-optimal-128", options={"b": 128}, pair="0-1"),
        make_row("batch-optimal-128", options={"b": 128, "block_solver": "scipy"}, pair="0-1", c=0.5),
    ]
    records = table_records(matching(rows))
    assert [r["c"] for r in records] == pytest.approx([0.82, 0.5])
    text = render_table(matching(rows), "text")
    assert "batch-optimal-128 (block_solver=scipy)" in text
    assert "(b=128" not in text


def test_cells_can_be_chosen(small):
    only = matching(small, where={"centring": ("channel",)})
    assert {r["centring"] for r in table_records(only)} == {"channel"}
    assert "centring none" not in render_table(only)
    with pytest.raises(
        NothingMeasuredError, match=r"no rows with centring position; this run has centring none, channel"
    ):
        matching(small, where={"centring": ("position",)})
    with pytest.raises(NothingMeasuredError, match=r"no rows with kernel rbf; this run has no kernel"):
        matching(small, where={"kernel": ("rbf",)})


def test_models_and_layers_of_equal_size_are_not_mixed():
    rows = [
        make_row(layer="blocks.1", size=196, seconds=1e-3),
        make_row(layer="blocks.2", size=196, seconds=3e-3),
        make_row(layer="blocks.1", size=196, seconds=5e-3, model="other"),
    ]
    assert [r["seconds"] for r in table_records(matching(rows))] == [5e-3, 1e-3, 3e-3]
    assert len(markdown_tables(render_table(matching(rows), "md"))) == 2
    assert "S = 196 (blocks.2)" in render_table(matching(rows), "md")


def test_an_empty_run_says_so():
    with pytest.raises(NothingMeasuredError, match="nothing was measured"):
        matching([])


@pytest.mark.parametrize("fmt", ["text", "md", "latex", "csv"])
def test_a_run_of_failures_only_still_has_a_table(fmt):
    rows = [make_row("ortools", status="memory", message="more than 4 GB", seconds=None, k=None, affinity_seconds=None)]
    assert "memory" in render_table(matching(rows), fmt)


@pytest.mark.parametrize("fmt", ["text", "md", "latex", "csv"])
def test_rows_of_an_older_schema_are_read_as_far_as_they_go(fmt):
    rows = [current({"solver": "ortools", "size": 256, "status": "ok", "seconds": 1.234e-3})]
    text = render_table(matching(rows, {}), fmt)
    assert ("0.001234" if fmt == "csv" else "1.23 ms") in text
    assert "nan" not in text.lower()


def test_rows_of_two_runs_and_unknown_tasks_are_refused(small):
    two = [*small, *({**row, "run_id": "run-2"} for row in small)]
    with pytest.raises(ValueError, match=r"rows of 2 runs \('run-1', 'run-2'\) cannot share a cell"):
        matching(two)
    with pytest.raises(ValueError, match="this run has no task 'outputs'; it has matching"):
        collect(small, {}, tasks=("outputs",))
    with pytest.raises(ValueError, match="the task 'mine', which is not known here; bring it with --plugin"):
        collect([{**small[0], "task": "mine"}], {})


def test_numbers_that_are_none_of_them_are_unknown():
    rows = [{**make_row("auction"), "seconds": None, "scores": {"c": None, "quality": None}, "raw": {}}]
    text = render_table(matching([*rows, make_row("ortools")], {}), "text")
    assert text_cells(text)[256, "none", "auction"][-3:] == ["–", "–", "–"]


def test_records_are_json(run):
    text = json.dumps(table_records(matching(run), paper=True), allow_nan=False)
    assert len(json.loads(text)) == 4 * 2 * len(SOLVERS)


def test_input_is_left_alone(small):
    before = json.dumps(small)
    render_table(matching(small))
    assert json.dumps(small) == before


HOSTILE = r"=a_b & 50 % #1 $\bad{$ {y} ~z ^w \n <v> | µ³ “Köln” 東京" + "\x1b[31m\n\u202e\t\x00|"


def hostile_run() -> list[dict]:
    return [
        make_row("ortools"),
        make_row("weird_solver", options={"mode": HOSTILE}, c=0.5),
        make_row("greedy", status="error", message=HOSTILE, seconds=None, k=None),
        make_row("auction", k_opt=None, k_upper=101.0, k=95.0),
        make_row("scipy", k_opt=-1.0, k_rand=-5.0),
    ]


@pytest.mark.parametrize("fmt", ["text", "md", "latex", "csv"])
def test_no_text_from_outside_moves_the_cursor_or_breaks_a_line(fmt):
    environment = ENVIRONMENT | {"cpu": {"model": HOSTILE}, "methods": {"solver:greedy": {"complexity": HOSTILE}}}
    rows = [{**row, "run_id": HOSTILE, "cell": {**row["cell"], "model": HOSTILE}} for row in hostile_run()]
    text = render_table(matching(rows, environment), fmt, True)
    assert all(line.isprintable() for line in text.splitlines())
    if fmt == "csv":
        assert {len(line) for line in csv.reader(io.StringIO(text))} == {len(next(csv.reader(io.StringIO(text))))}
        assert {line["model"][0] for line in read_csv(text)} == {"'"}
    if fmt == "md":
        assert all(len({len(line) for line in table}) == 1 for table in markdown_tables(text))


def latex_tabulars(text: str) -> list[tuple[int, list[str]]]:
    """Number of columns and lines of each tabular."""
    found = re.findall(r"\\begin\{tabular\}\{@\{\}([lrc]+)@\{\}\}(.*?)\\end\{tabular\}", text, flags=re.S)
    return [(len(spec), [line for line in body.splitlines() if line.endswith(r"\\")]) for spec, body in found]


@pytest.mark.parametrize("paper", [False, True])
def test_latex_lines_have_as_many_columns_as_the_table(small, paper):
    for rows in (small, hostile_run()):
        text = render_table(matching(rows, ENVIRONMENT | {"cpu": {"model": HOSTILE, "cores": 2}}), "latex", paper)
        assert text.isascii()
        tabulars = latex_tabulars(text)
        assert tabulars
        for columns, lines in tabulars:
            for line in lines:
                spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
                assert len(re.findall(r"(?<!\\)&", line)) + 1 + spans == columns
        for rule in ("\\toprule", "\\midrule", "\\bottomrule", "\\cmidrule"):
            assert rule in text
        for name in ("table*", "tabular"):
            assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here; the structure is tested above")
@pytest.mark.parametrize("packages", ["booktabs", "booktabs,graphicx"])
def test_latex_compiles(small, tmp_path, packages):
    tables = [render_table(matching(small), "latex", True), render_table(matching(hostile_run()), "latex")]
    body = "\n".join(tables)
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{" + packages + "}\\begin{document}\n" + body + "\n\\end{document}\n"
    )
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


@pytest.fixture
def toy():
    TASKS.add([Toy()])
    yield toy_rows
    TASKS.forget("toy")


def toy_rows(models=("a", "b"), kernels=("linear", "rbf"), right=None):
    right = right or {"plain": 0.5, "better": 0.8, "=cmd()": 0.5}
    fields = {"run_id": "run-1", "kind": "metric", "category": "", "cell": {}, "units": {}, "scores": {}}
    return [
        make_row()
        | fields
        | {
            "task": "toy",
            "method": method,
            "options": {},
            "case": f"{model}/{kernel}/{i}",
            "cell": {"model": model, "kernel": kernel},
            "units": {"query": [str(i)]},
            "scores": {"right": value + 0.01 * (i % 3), "error": None if method == "=cmd()" else -0.25},
            "shared_seconds": None,
        }
        for model in models
        for kernel in kernels
        for method, value in right.items()
        for i in range(6)
    ]


def test_any_task_has_a_table(toy):
    (results,) = collect(toy(), {})
    text = render_table(results)
    (header, *_) = [line for line in text.splitlines() if line.startswith("Metric")]
    assert re.split(r"\s{2,}", header.strip()) == ["Metric", *["right %", "error", "T"] * 2]
    assert "kernel linear, 6 queries" in text
    (plain, *_) = [line for line in text.splitlines() if line.startswith("plain")]
    assert re.split(r"\s{2,}", plain)[1:3] == ["51.0±0.7", "−0.250"]
    assert "right %: chance 50.0; error: lower is better" in text
    assert "T: median time per case. ±: the farther end of a 95 % bootstrap interval over queries." in re.sub(
        r"\s", " ", text
    )
    # No complexity, no option b, nothing shared: no column and no line for them.
    assert not re.search("Complexity|Shared|affinity", text)


def test_methods_are_compared_with_the_reference_by_paired_differences(toy):
    less = [{**row, "scores": {**row["scores"], "right": row["scores"]["right"] - 0.2}} for row in toy(models=("b",))]
    rows = [
        *toy(models=("a",)),
        *(row for row in less if row["method"] == "better"),
        *toy(models=("b",), right={"plain": 0.5, "=cmd()": 0.5}),
    ]
    (results,) = collect(rows, {})
    text = render_table(results)
    difference = text[text.index("differences from plain") :]
    (better, *_) = [line for line in difference.splitlines() if line.startswith("better")]
    # Every query gains the same, so the paired interval has no width, although each score has one.
    assert re.split(r"\s{2,}", better)[1:3] == ["+30.0", "0.008"]
    assert not [line for line in difference.splitlines() if line.startswith("plain")]
    assert "corrected by Holm's method for all 8 of them" in difference
    records = {(r["method"], r["model"], r["kernel"]): r for r in table_records(results)}
    assert records["better", "a", "rbf"]["difference"] == pytest.approx(0.3)
    assert records["better", "b", "rbf"]["difference"] == pytest.approx(0.1)
    assert records["better", "a", "rbf"]["difference_low"] == pytest.approx(0.3)
    assert records["plain", "a", "rbf"]["difference"] is None
    assert records["better", "a", "rbf"]["reference"] == "plain"


def test_a_score_without_a_value_is_marked_with_its_reason(toy):
    (results,) = collect(toy(), {})
    text = render_table(results)
    (line, *_) = [line for line in text.splitlines() if line.startswith("=cmd()")]
    assert re.split(r"\s{2,}", line)[2] == "*"
    assert "* nothing is defined where nothing is (kernel linear: 6 of 6; kernel rbf: 6 of 6)." in text


@pytest.mark.parametrize("width", [45, 60, 120])
def test_cells_that_do_not_fit_side_by_side_stand_below_each_other(toy, width):
    (results,) = collect(toy(models=("a",), kernels=("linear", "cosine", "rbf")), {})
    text = render_table(results, width=width)
    assert max(map(len, text.splitlines())) <= width
    for kernel in ("linear", "cosine", "rbf"):
        assert f"kernel {kernel}, 6 queries" in text


def test_names_that_look_like_formulas_are_text_in_csv_and_numbers_stay_numbers(toy):
    (results,) = collect(toy(), {})
    lines = read_csv(render_table(results, "csv"))
    assert {line["method"] for line in lines} == {"plain", "better", "'=cmd()"}
    assert float(next(line["error"] for line in lines if line["error"])) == -0.25


def test_tasks_of_one_run_stand_below_each_other(toy):
    both = collect([make_row("ortools"), *toy()], ENVIRONMENT)
    for fmt in ("text", "md"):
        text = render_table(both, fmt)
        assert text.index("matching: How fast") < text.index("S = 256") < text.index("toy: Which metric is right?")
        # What they have in common is said once.
        assert text.count("Versions: Python") == 1
    assert {line["task"] for line in read_csv(render_table(both, "csv"))} == {"matching", "toy"}
    assert [r.task.name for r in collect([make_row("ortools"), *toy()], ENVIRONMENT, tasks=("toy",))] == ["toy"]


def test_a_run_of_the_first_schema_is_read_with_its_environment():
    old = {"schema": 1, "solver": "greedy", "kind": "approximate", "size": 256, "layer": "layer3", "status": "ok"}
    old |= {"pair": "0-1", "seconds": 1e-3, "affinity_seconds": 2e-3, "chance_corrected": 0.8, "quality": 0.9}
    old |= {
        "k": 90.0,
        "k_opt": 100.0,
        "k_rand": 50.0,
        "k_upper": 100.0,
        "centring": "none",
        "channels": 4,
        "options": {},
    }
    text = render_table(matching([current(old)], {"solvers": {"greedy": {"complexity": "O(S^2)", "options": {}}}}))
    assert text_cells(text)[256, "none", "greedy"][-3:] == ["0.800", "90.0", "1.00 ms"]
    assert "O(S²)" in text
    assert re.search(r"affinity x @ y\.T .* 2\.00 ms", text)


def test_cells_that_were_skipped_as_a_whole_all_keep_their_row(tmp_path):
    nothing = {"pair": "", "status": "skipped", "message": "too slow", "seconds": None}
    rows = [make_row("scipy", size=size, **nothing) for size in (1024, 4096)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["cell"]["size"] for row in load_rows(tmp_path)] == [1024, 4096]


class Broad(Toy):
    """Of so many scores that even one cell is wider than a terminal."""

    name = "broad"
    scores = tuple(Score(f"score{i}", f"a score with a long title {i}") for i in range(6))
    reference = ""


def test_a_cell_that_is_too_wide_is_cut_between_its_columns():
    TASKS.add([Broad()])
    try:
        rows = [{**row, "task": "broad", "scores": {f"score{i}": i / 10 for i in range(5)}} for row in toy_rows()]
        (results,) = collect(rows, {})
        text = render_table(results, width=100)
    finally:
        TASKS.forget("broad")
    assert max(map(len, text.splitlines())) <= 100
    for i in range(5):
        assert f"a score with a long title {i}" in text
        assert f"  0.{i}00" in text
    # No cell has the sixth, so it has no column.
    assert "a score with a long title 5" not in text


def test_a_declared_precision_and_a_state_are_named_under_the_table(small):
    methods = {f"solver:{n}": {"facts": {"precision": {"scipy": 5e-4, "identity": None}.get(n, 1e-6)}} for n in SOLVERS}
    text = render_table(matching(small, {**ENVIRONMENT, "methods": methods}), "text")
    assert re.search(r"Exact up to what they declare[^:]*:\s+scipy\s+0\.0005;", text)
    methods["solver:scipy"]["facts"]["precision"] = 1e-6
    assert "what they declare" not in render_table(matching(small, {**ENVIRONMENT, "methods": methods}), "text")
    assert "Keeping state between calls" not in render_table(matching(small), "text")
    methods["solver:scipy"]["facts"]["stateful"] = True
    text = render_table(matching(small, {**ENVIRONMENT, "methods": methods}), "text")
    assert re.search(r"Keeping state between calls[^\n]*:\s+scipy\.", text)
