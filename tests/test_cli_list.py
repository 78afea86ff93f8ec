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
