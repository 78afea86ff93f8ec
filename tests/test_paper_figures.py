"""The papers' printed figures: complete, and beside our own."""

import io
import json
import math
import runpy
from pathlib import Path

import pytest

import semrsm_bench as sb
from semrsm_bench.report.paper import KORNBLITH, RESI, WALD, note_on, printed, printed_tables, published, published_note

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TABLE_5 = published("matching")


def by_name(size):
    """Name of a solver -> its scores, and "seconds"."""
    return {m.name: found for m, found in TABLE_5[size].items()}


def figures(solver):
    """By S."""
    return {size: found[solver] for size in TABLE_5 if solver in (found := by_name(size))}


def test_table_agrees_with_what_the_paper_says_in_its_prose():
    ortools, lapjv, batch = (figures(name)[4096] for name in ("ortools", "lapjv", "batch-optimal-128"))
    assert ortools["seconds"] == 1.52
    assert lapjv["seconds"] / ortools["seconds"] == pytest.approx(4, rel=0.02)  # "four times faster than the lapjv"
    assert ortools["seconds"] / batch["seconds"] == pytest.approx(36, rel=0.04)  # "improving run-time x36"
    assert 1 - batch["quality"] < 0.08  # "< 8% error"
    assert 1 - figures("identity")[4096]["quality"] == pytest.approx(0.42, abs=0.005)  # "42% deviation"


def test_times_grow_with_s_and_qualities_with_the_block():
    assert list(TABLE_5) == [256, 1024, 4096]
    for solver in by_name(256):
        seconds = [found["seconds"] for found in figures(solver).values()]
        assert seconds == sorted(seconds)
    for methods in map(by_name, TABLE_5):
        qualities = [methods[f"batch-optimal-{b}"]["quality"] for b in (128, 256, 512, 1024)]
        assert qualities[0] > 0
        assert qualities == sorted(qualities)


def test_sources_are_named_and_what_the_paper_does_not_measure_is_missing():
    for part in ("T. Wald", "Table 5", "not measured here"):
        assert part in published_note("matching")
    methods = {m.name: (m.category, m.block_size, found["seconds"]) for m, found in TABLE_5[256].items()}
    assert "greedy" not in methods
    assert methods["ortools"] == ("exact", "", 4.26e-3)
    assert methods["batch-optimal-128"][:2] == ("approximate", "128")
    assert methods["identity"][:2] == ("baseline", "")
    # Tables of other networks stand apart.
    assert (published("outputs"), printed_tables("matching")) == ({}, [])
    titles = [title.partition(":")[0] for title, _ in printed_tables("outputs")]
    assert titles == ["Wald et al. 2024, Table 1", "Wald et al. 2024, Table 4"]


# The other tables: data that was typed in, so what the paper prints twice must agree.


def by_place(table, *wanted):
    return {(p.row, *p.parts): p.value for p in printed(WALD, table) if set(wanted) <= set(p.parts)}


def test_two_tables_of_pearson_agree_but_for_one_sign():
    first, fourth = by_place("1", "pearson"), by_place("4", "pearson")
    assert first.keys() == fourth.keys()
    assert len(first) == 7 * 6
    assert [place for place in first if abs(first[place] - fourth[place]) > 0.06] == [
        ("ResNet18", "pearson", "rbf", "identity")
    ]
    assert by_place("4", "spearman").keys() == {(row, "spearman", *rest) for row, _, *rest in fourth}
    noted = [p for p in printed(WALD, "1") if p.note]
    assert [(p.value, p.note) for p in noted] == [(0.176, "-0.174 in Table 4")]


def test_differences_that_the_paper_prints_of_its_retrieval():
    gaps = [
        (0.541, 0.555, 0.515), (0.315, 0.343, 0.241), (0.576, 0.589, 0.561), (0.075, 0.049, 0.032), (0.072, 0.047, 0.033),
        (0.099, 0.066, 0.045), (0.129, 0.096, 0.068), (0.122, 0.093, 0.069), (0.208, 0.167, 0.118), (0.100, 0.073, 0.049),
        (0.090, 0.068, 0.044), (0.196, 0.156, 0.114), (0.226, 0.190, 0.151), (0.183, 0.158, 0.126), (0.332, 0.310, 0.267),
    ]  # fmt: skip
    values = by_place("2", "f1")
    places = list(dict.fromkeys((row, kernel) for row, _, kernel, *_ in values))
    for (network, kernel), printed_gaps in zip(places, gaps, strict=True):
        for size, gap in zip(("2500", "5000", "10000"), printed_gaps):
            ours = values[network, "f1", kernel, "semantic", size] - values[network, "f1", kernel, "identity", size]
            # The paper rounds the figures and their difference apart.
            assert ours == pytest.approx(gap, abs=0.0021)


def test_every_table_has_a_caption_and_a_reference():
    for paper, table in {(figure.paper, figure.table) for figure in printed()}:
        assert note_on(paper, table, "caption")
        assert note_on(paper, table, "conditions")
    assert note_on(WALD).endswith("(NeurIPS 2024)")
    assert not [figure for figure in printed() if math.isnan(figure.value)]
    assert len({(p.paper, p.table, p.row, p.column) for p in printed()}) == len(printed()) == 294 + 9 + 22


def test_the_other_papers_rank_metrics_that_there_are():
    orders = {p.row: p.value for p in printed(RESI)}
    assert set(orders.values()) == set(range(1, 25)) - {9, 17}  # two that are left out, as docs/metrics.md says
    identified = {p.row: p.value for p in printed(KORNBLITH)}
    assert (orders.keys() | identified.keys()) - set(sb.metric_names()) == {"svcca_r2"}
    assert max(identified, key=identified.get) == "linear_cka"
    ((title, figures),) = printed_tables("layers")
    assert title.startswith("Kornblith et al. 2019, Table 2")
    assert figures == printed(KORNBLITH)


def test_the_example_ranks_metrics_beside_resi(monkeypatch, capsys):
    theirs = {p.row: p.value for p in printed(RESI)}
    rows = [{"method": name, "cell": "w8", "score": -place} for name, place in theirs.items()]
    rows += [{"method": name, "cell": "w8 permuted", "score": place} for name, place in theirs.items()]
    rows += [{"method": "spectrum", "cell": "w8", "score": 99.0}]
    worse = [{"method": name, "cell": "w8", "score": None if name == "jaccard" else 0.0} for name in theirs]
    best, least = {"name": "s", "best": "max"}, {"name": "d", "best": "min"}
    tables = [{"task": "a", "score": best, "rows": rows}, {"task": "b", "score": least, "rows": worse}]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(tables)))
    runpy.run_path(str(EXAMPLES / "beside_resi.py"))
    out = capsys.readouterr().out
    # The first of task a comes last in task b, where it has no value and all others are equal.
    assert "| `jaccard` | 1 | 11.5 | 1.0 | 22.0 |" in out
    assert "| `distance_correlation` | 2 | 6.5 | 2.0 | 11.0 |" in out
    assert f"over {len(theirs)} metrics" in out
