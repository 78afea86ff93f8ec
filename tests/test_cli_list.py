"""``semrsm-bench list``: every registry, on the same lines."""

import json
import shutil
from pathlib import Path

import pytest

import semrsm_bench as sb
from semrsm_bench.cli.list import ROOMS
from semrsm_bench.core.registry import registry_of
from tests.command_line import call

EXAMPLE = Path(__file__).parent.parent / "examples" / "mutual_knn.py"


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "families"])
def test_all_entries_of_a_registry_are_listed_with_a_line_about_each(room):
    rows = json.loads(call("list", room, "--json")[0])
    registry = registry_of(ROOMS[room][0])
    assert [row["name"] for row in rows] == registry.names()
    assert all(row["summary"] and row["registry"] == ROOMS[room][0] for row in rows)
    text = call("list", room)[0]
    assert all(f"  {name} " in text for name in registry.names())


def test_without_a_word_everything_is_listed():
    rows = json.loads(call("list", "--json")[0])
    assert list(dict.fromkeys(row["registry"] for row in rows)) == [noun for noun, _ in ROOMS.values()]
    solvers = call("list", "solvers")
    assert solvers[0] in call("list")[0]


def test_the_files_of_a_plugin_of_any_kind_are_listed_and_not_imported(tmp_path):
    file = shutil.copy(EXAMPLE, tmp_path)
    rows = {row["name"]: row for row in json.loads(call("list", "metrics", "--plugin", file, "--json")[0])}
    assert (rows["mutual-knn-5"]["options"], rows["mutual-knn-5"]["takes"]) == ({"k": 5}, "features")
    assert "mutual-knn-5" not in sb.metric_names()


@pytest.mark.parametrize("kind", ["exact", "approximate", "baseline"])
def test_one_kind_is_listed(kind):
    rows = json.loads(call("list", "solvers", "--kind", kind, "--json")[0])
    assert [row["name"] for row in rows] == sb.solver_names(kind)


@pytest.mark.parametrize(
    ("room", "kind", "some"),
    [
        ("metrics", "baseline", ["spectrum", "width", "norms", "random"]),
        ("metrics", "statistic", ["magnitude_difference", "concentricity_difference", "uniformity_difference"]),
        ("rsms", "matching", ["identity", "exact-auction"]),
        ("rsms", "matching-free", ["pooled", "second-moment"]),
        ("instances", "baseline", ["brightness", "distance_from_mean"]),
        ("tasks", "rsm", ["outputs", "retrieval"]),
    ],
)
def test_one_kind_of_anything_that_has_kinds_is_listed_under_its_name(room, kind, some):
    rows = json.loads(call("list", room, "--kind", kind, "--json")[0])
    assert set(some) <= {row["name"] for row in rows}
    assert {row["kind"] for row in rows} == {kind}
    text = call("list", room, "--kind", kind)[0]
    assert text.startswith(f"{ROOMS[room][1]} ({kind})\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("metrics --kind basline", "'basline' is no kind of metrics; did you mean 'baseline'?"),
        ("solvers --kind x", "'x' is no kind of solvers; known are approximate, baseline, exact"),
        (
            "families --kind exact",
            "families have no kinds: leave --kind out; solvers, rsms, metrics, instances, tasks have",
        ),
        ("--kind x", "'x' is no kind of anything that is listed; known are approximate, baseline, exact,"),
    ],
)
def test_a_kind_that_is_not_there_is_answered_by_a_sentence_with_those_that_are(words, said):
    assert said in " ".join(call("list", *words.split(), code=2)[1].split())


def test_a_metric_says_direction_range_symmetry_unit_and_what_changes_nothing(tmp_path):
    rows = {row["name"]: row for row in json.loads(call("list", "metrics", "--json")[0])}
    for name, row in rows.items():
        metric = sb.get_metric(name)
        assert (row["best"], row["symmetric"], row["unit"]) == (metric.best, metric.symmetric, metric.measured_in)
        assert row["range"] == [end if abs(end) < float("inf") else None for end in metric.range]
        assert row["invariances"] == [list(words) for words in metric.invariances]
    lines = [line.strip() for line in call("list", "metrics")[0].splitlines()]

    def told(name):
        start = next(i for i, line in enumerate(lines) if line.startswith(f"{name} "))
        return lines[start + 1]

    assert told("procrustes_centred") == (
        "min; [0, inf), the unit of the features; symmetric; unchanged by unit permutation, orthogonal, zero units, translation"
    )
    assert told("procrustes_angular").startswith("min; [0, pi/2], radians; symmetric; ")
    assert told("rsa_noise_ceiling").startswith("max; (-inf, inf); symmetric; unchanged by unit permutation, ")
    assert told("random") == "max; [0, 1]; symmetric; unchanged by nothing"
    assert told("pwcca").startswith(
        "max; [0, 1]; not symmetric; unchanged by X: unit permutation, zero units, translation, isotropic scaling; Y: unit "
    )
    instances = {row["name"]: row for row in json.loads(call("list", "instances", "--json")[0])}
    assert (instances["dispersion"]["best"], instances["dispersion"]["range"]) == ("min", [0.0, None])
    assert instances["dispersion"]["invariances"] == [["orthogonal", "translation", "model_order"]]
    # From another process, as a plugin's.
    file = shutil.copy(EXAMPLE, tmp_path)
    rows = {row["name"]: row for row in json.loads(call("list", "metrics", "--plugin", file, "--json")[0])}
    mine = rows["mutual-knn-5"]
    assert (mine["best"], mine["range"], mine["symmetric"], len(mine["invariances"][1])) == ("max", [0.0, 1.0], True, 5)
