"""Rows to figures: what counts, what is bounded, what is paired."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from semrsm_bench.bench.summary import KeptArrays, summarise
from semrsm_bench.core.stats import bootstrap_draws, median_interval
from semrsm_bench.core.task import Score
from semrsm_bench.tasks.registry import get_task, task_names
from tests.bench_data import make_row
from tests.toy_tasks import toy

CELL = {"model": "tiny", "layer": "layer1", "size": 16, "channels": 6, "centring": "none"}


def row(pair="0-1", **changes):
    units = {"pair": [pair], "image": pair.split("-")}
    return make_row(case=f"tiny/layer1/none/{pair}" if pair else "", units=units if pair else {}, **changes)


def summary(*rows):
    return summarise([r.as_dict() for r in rows], get_task("matching"))


def pairs_of(values_by_method):
    """Rows of methods with a value of c for each pair."""
    return [
        row(f"0-{i}", method=method, scores={"c": float(value), "quality": 0.5})
        for method, values in values_by_method.items()
        for i, value in enumerate(values)
    ]


def summary_of_toy(task, rows):
    """Rows given as changes, of a task of toys."""
    same = {"task": "toy", "category": "", "cell": {"cell": 0}, "units": {}}
    return summarise([make_row(**{**same, **changes}).as_dict() for changes in rows], task)


def directed(**score):
    """A task of toys whose only score is this one."""
    return type("Directed", (type(toy()),), {"scores": (Score("value", "value", **score),)})()


def test_a_cell_is_summed_up_by_its_pairs():
    (line,) = summary(*(row(f"0-{i}", seconds=s, shared_seconds=0.1) for i, s in enumerate((1.0, 2.0, 9.0), start=1)))
    assert (line.ok, line.seconds.value, line.total_seconds.value, line.shared_seconds) == (3, 2.0, 2.1, 0.1)
    assert line.scores["quality"].value == line.worst["quality"] == pytest.approx(0.9)
    assert line.scores["c"].value == pytest.approx(5 / 6)


def test_repeats_of_a_pair_count_as_one_pair():
    rows = [row(repeat=r, seconds=s, scores={"c": s / 10, "quality": 0.5}) for r, s in enumerate((1.0, 5.0, 6.0))]
    (line,) = summary(*rows, row("0-2", seconds=7.0, scores={"c": 0.3, "quality": 0.5}))
    assert (line.ok, line.seconds.value) == (2, 6.0)
    assert line.scores["c"].value == pytest.approx(0.375), "the mean of all"


def test_quality_is_unknown_where_one_optimum_is_not_positive_but_c_is_not():
    raw = {"k": -3.0, "k_opt": -1.0, "k_rand": -9.0, "k_upper": -1.0}
    (line,) = summary(row(), row("0-2", raw=raw, scores={"c": 0.75, "quality": None}))
    assert math.isnan(line.scores["quality"].value)
    assert line.undefined["quality"] == 1
    assert line.scores["c"].value == pytest.approx((5 / 6 + 0.75) / 2)
    assert line.worst["c"] == 0.75


def test_an_unknown_optimum_is_bounded_from_above():
    raw = {"k": 9.0, "k_opt": None, "k_rand": 4.0, "k_upper": 12.0}
    (line,) = summary(row(raw=raw, scores={"c": None, "quality": None}))
    assert line.bounds == pytest.approx({"quality": 9 / 12, "c": 5 / 8})


def test_what_shares_nothing_takes_its_own_time_only():
    (line,) = summary(row(shared_seconds=None))
    assert line.total_seconds == line.seconds
    assert math.isnan(line.shared_seconds)


def test_failures_are_named_and_do_not_count():
    failed = row("0-2", status="timeout", seconds=None, scores={}, raw={}, message="stopped")
    skipped = row("", status="skipped", seconds=None, scores={}, raw={}, message="not tried further")
    (line,) = summary(row(), failed, skipped)
    assert (line.status, line.ok, line.message, line.failure) == ("ok", 1, "stopped", "timeout")
    assert line.counts == {"ok": 1, "timeout": 1, "skipped": 1}
    (alone,) = summary(failed, skipped)
    assert (alone.status, alone.ok) == ("timeout", 0)
    (cut,) = summary(row(), skipped)
    assert (cut.status, cut.failure, cut.message) == ("ok", "skipped", "not tried further")
    assert math.isnan(alone.seconds.value)


def test_cells_stand_apart_and_in_order():
    rows = [row(method=m, cell={**CELL, "centring": c}) for c in ("none", "channel") for m in ("b", "a")]
    found = [(line.method, line.place["centring"]) for line in summary(*rows)]
    assert found == [("b", "none"), ("a", "none"), ("b", "channel"), ("a", "channel")]


def test_the_order_of_rows_changes_no_interval():
    rng = np.random.default_rng(0)
    rows = [
        row(f"0-{i}", seconds=float(s), scores={"c": float(s), "quality": 0.5}) for i, s in enumerate(rng.random(12))
    ]
    (first,), (second,) = summary(*rows), summary(*(rows[i] for i in rng.permutation(12)))
    assert (first.scores, first.seconds) == (second.scores, second.seconds)


def test_intervals_are_those_of_images_drawn_with_their_pairs_written_out():
    rng = np.random.default_rng(1)
    pairs = [(i, j) for i in range(5) for j in range(i) if (i, j) != (3, 1)]
    values = rng.random(len(pairs))
    rows = [row(f"{i}-{j}", seconds=v, scores={"c": v, "quality": 0.5}) for (i, j), v in zip(pairs, values)]
    (line,) = summary(*rows)
    assert (line.unit, line.units) == ("image", 5)
    # Images come in the order of the cases, 1-0 first.
    met = [
        np.concatenate([[v] * (draw[i] * draw[j]) for (i, j), v in zip(pairs, values)])
        for draw in bootstrap_draws(5)[1:, [1, 0, 2, 3, 4]].astype(int)
    ]
    for found, middle in ((line.scores["c"], np.mean), (line.seconds, np.median)):
        ends = np.quantile([middle(each) for each in met if len(each)], [0.025, 0.975])
        assert found == pytest.approx((middle(values), *ends))


def test_pairs_are_resampled_where_no_two_share_an_image_or_none_names_one():
    times = (1.0, 2.0, 9.0)
    apart = [row(f"{2 * i}-{2 * i + 1}", seconds=s) for i, s in enumerate(times)]
    (line,), (other,) = (
        summary(*rows) for rows in (apart, [replace(r, units={"pair": r.units["pair"]}) for r in apart])
    )
    assert (line.unit, line.units) == (other.unit, other.units) == ("pair", 3)
    assert line.seconds == other.seconds == median_interval(times)
    assert line.jackknife["c"] == other.jackknife["c"]


def test_an_image_matched_with_itself_counts_once_in_each_of_its_pairs():
    values = {(i, change): 1.0 + i + 0.1 * change for i in range(4) for change in range(2)}
    rows = [
        replace(row(f"{i}-{i}-{change}", seconds=s), units={"pair": [f"{i}-{i}-{change}"], "image": [str(i)] * 2})
        for (i, change), s in values.items()
    ]
    (line,) = summary(*rows)
    assert (line.unit, line.units) == ("image", 4)
    drawn = [[s for (i, _), s in values.items() for _ in range(n[i])] for n in bootstrap_draws(4)[1:].astype(int)]
    assert line.seconds[1:] == pytest.approx(np.quantile([np.median(d) for d in drawn], [0.025, 0.975]))


@pytest.mark.parametrize(("best", "worst"), [("max", -0.25), ("min", 0.75)])
def test_the_worst_case_is_the_worst_in_the_direction_of_the_score(best, worst):
    rows = [{"method": "m", "case": str(i), "scores": {"value": v}} for i, v in enumerate((0.5, -0.25, 0.75, None))]
    (line,) = summary_of_toy(directed(best=best, low=-1.0), rows)
    assert line.worst == {"value": worst}


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut short", b"no archive"])
def test_arrays_of_a_row_that_are_gone_or_damaged_are_named(tmp_path, content):
    path = tmp_path / "row.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"^{re.escape(str(path))}: the arrays of a row are (gone|damaged); run the task again"
    ):
        KeptArrays(path)["rsm"]


def test_what_a_metric_prepares_is_part_of_its_time_and_an_affinity_is_not():
    cell = {"networks": "a"}
    rows = [row(seconds=1.0, shared_seconds=0.25), row("0-2", seconds=2.0, shared_seconds=0.25)]
    (solver,) = summary(*rows)
    assert (solver.seconds.value, solver.shared_seconds, solver.total_seconds.value) == (1.5, 0.25, 1.75)
    of_metric = {
        "task": "layers",
        "kind": "metric",
        "cell": cell,
        "units": {"network": ["a", "b"]},
        "scores": {"same": 0.5},
    }
    (metric,) = summarise([{**r.as_dict(), **of_metric} for r in rows], get_task("layers"))
    assert (metric.seconds.value, metric.total_seconds.value) == (1.75, 1.75)
    assert math.isnan(metric.shared_seconds)


def test_a_time_of_many_pairs_is_shown_as_that_of_one_and_not_at_all_where_rows_do_not_say_how_many():
    """So that an RSM of 10 images and one of 30 compare."""
    same = {"method": "m", "scores": {"value": 1.0}, "shared_seconds": None}
    rows = [
        {"case": "a", "seconds": 4.5, "raw": {"pairs": 45}, **same},
        {"case": "b", "seconds": 43.5, "raw": {"pairs": 435}, **same},
        {"case": "c", "seconds": 90.0, "raw": {"pairs": 45}, **same},
    ]
    (call,) = summary_of_toy(toy(), rows)
    per_pair = type("PerPair", (type(toy()),), {"time_per": "pair of images"})()
    (pair,) = summary_of_toy(per_pair, rows)
    assert (call.seconds.value, pair.seconds.value, pair.total_seconds.value) == pytest.approx((43.5, 0.1, 0.1))
    (unsaid,) = summary_of_toy(per_pair, [{**row, "raw": {}} for row in rows])
    assert math.isnan(unsaid.seconds.value)


def test_every_task_of_rsms_shows_the_time_of_a_pair_of_images():
    for task in map(get_task, task_names()):
        assert task.time_per == ("pair of images" if task.kind == "rsm" else "")
