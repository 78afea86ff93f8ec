"""The examples, as a user has them: files in a folder of their own, one command each."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from semrsm_bench.cli import cli

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def semrsm_bench(tmp_path, monkeypatch):
    """The command line in a folder that holds copies of the examples; without figures, which `tests/test_cli_run.py` looks at."""
    for file in EXAMPLES.glob("*.py"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("semrsm_bench.report.figures.draw_all", lambda *_: [])

    def call(*arguments):
        done = CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False)
        assert done.return_value in (0, None), done.output
        return done.stdout

    return call


def table(semrsm_bench, task):
    cells = json.loads(semrsm_bench("table", "latest", task, "--json", "--plugin", "planted.py"))
    return {(c["method"], c.get("kernel") or c.get("noise") or c.get("pictures")): c for c in cells}


def test_a_metric_of_ones_own_has_its_row_in_the_table_of_layers(semrsm_bench):
    semrsm_bench(
        *("run", "layers", "--plugin", "mutual_knn.py", "--methods", "mutual-knn-5,mutual-knn-10,spectrum"),
        *("--count", "24", "--layers", "layer3,layer4", "--quiet"),
    )
    cells = json.loads(semrsm_bench("table", "latest", "layers", "--json"))
    assert {c["method"] for c in cells} == {"mutual-knn-5", "mutual-knn-10", "spectrum"}
    assert all(c["status"] == "ok" for c in cells)
    same = [c for c in cells if c["method"] == "mutual-knn-10" and c["networks"] == "same layer"]
    # A layer compared with itself names the same neighbours.
    assert [c["value"] for c in same] == [1.0] * len(same) != []


def test_an_rsm_method_of_ones_own_has_its_row_in_the_table_of_outputs(semrsm_bench):
    semrsm_bench(
        *("run", "outputs", "--plugin", "second_moment.py", "--methods", "second-moment,identity", "--count", "12"),
        *("--kernels", "cosine", "--quiet"),
    )
    cells = table(semrsm_bench, "outputs")
    assert {method for method, _ in cells} == {"second-moment", "identity"}
    assert all(c["status"] == "ok" and -1 <= c["pearson"] <= 1 for c in cells.values())


def test_a_score_of_single_stimuli_of_ones_own_has_its_row_in_the_table_of_instances(semrsm_bench):
    semrsm_bench(
        *("run", "instances", "--plugin", "weakest_pair.py", "--methods", "weakest-pair,pairwise_cosine"),
        *("--count", "24", "--layers", "layer4", "--quiet"),
    )
    cells = {c["method"]: c for c in json.loads(semrsm_bench("table", "latest", "instances", "--json"))}
    assert all(c["status"] == "ok" for c in cells.values())
    # The lowest cosine of all pairs of models is below their mean.
    assert -1 <= cells["weakest-pair"]["mean"] < cells["pairwise_cosine"]["mean"] <= 1


def test_a_task_of_ones_own_takes_one_file(semrsm_bench):
    semrsm_bench("run", "--plugin", "planted.py", "--problems", "3", "--positions", "32", "--quiet")
    cells = table(semrsm_bench, "planted")
    assert cells["exact-auction", "0.1"]["found"] == cells["ortools", "0.1"]["found"] == 1.0
    assert cells["identity", "0.1"]["found"] < 0.5 < cells["greedy", "0.1"]["found"]


@pytest.mark.parametrize("file", ["norm_sort.py", "mutual_knn.py", "second_moment.py", "weakest_pair.py"])
def test_every_example_of_a_method_passes_its_check(semrsm_bench, file):
    assert "cases passed" in semrsm_bench("check", file)
