"""``semrsm-bench list``: every registry, on the same lines."""

import json

import pytest
from click.testing import CliRunner

import semrsm_bench as sb
from semrsm_bench.cli import cli
from semrsm_bench.cli.list import ROOMS
from semrsm_bench.core.registry import registry_of

METRIC = """
import semrsm_bench as sb

@sb.register_metric("file-metric", takes="features", best="max", range=(0, 1), grid={"k": [5, 10]})
def file_metric(x, y, *, k=10):
    "Always one."
    return 1.0
"""


def invoke(*arguments):
    return CliRunner().invoke(cli, ["list", *arguments], catch_exceptions=False)


@pytest.mark.parametrize("room", ROOMS)
def test_all_entries_of_a_registry_are_listed_with_a_line_about_each(room):
    rows = json.loads(invoke(room, "--json").stdout)
    registry = registry_of(ROOMS[room][0])
    assert [row["name"] for row in rows] == registry.names()
    assert all(row["summary"] and row["registry"] == ROOMS[room][0] for row in rows)
    text = invoke(room).stdout
    assert all(f"  {name} " in text for name in registry.names())


def test_without_a_word_everything_is_listed():
    rows = json.loads(invoke("--json").stdout)
    assert list(dict.fromkeys(row["registry"] for row in rows)) == [noun for noun, _ in ROOMS.values()]
    assert invoke("solvers").stdout == CliRunner().invoke(cli, ["solvers"]).stdout
    assert invoke("solvers").stdout in invoke().stdout


def test_the_files_of_a_plugin_of_any_kind_are_listed_and_not_imported(tmp_path):
    file = tmp_path / "file_metric.py"
    file.write_text(METRIC)
    rows = {row["name"]: row for row in json.loads(invoke("metrics", "--plugin", str(file), "--json").stdout)}
    assert rows["file-metric-5"]["options"] == {"k": 5}
    assert rows["file-metric-5"]["takes"] == "features"
    assert "file-metric-5" not in sb.metric_names()


def test_one_kind_is_listed_and_a_kind_that_is_not_there_is_wrong_use():
    exact = json.loads(invoke("solvers", "--kind", "exact", "--json").stdout)
    assert [row["name"] for row in exact] == sb.solver_names("exact")
    wrong = invoke("solvers", "--kind", "exakt")
    assert wrong.exit_code == 2
    assert "--kind: 'exakt' is not one of approximate, baseline, exact" in wrong.stderr
    assert invoke("solver").exit_code == 2
