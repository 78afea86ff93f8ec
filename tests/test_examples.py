"""The examples, as a user has them: files in a folder of their own, one command each."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import jensenshannon, pdist, squareform
from scipy.special import softmax

import semrsm_bench as sb
from semrsm_bench.activations.folders import list_caches, shipped_folder
from semrsm_bench.activations.store import open_cache
from semrsm_bench.tasks.registry import task_names
from tests import docs_commands as docs
from tests.command_line import call
from tests.images92 import write_images92

pytestmark = pytest.mark.usefixtures("kept_workers")

EXAMPLES = Path(__file__).parent.parent / "examples"
REGISTER = (EXAMPLES.parent / "docs" / "register.md").read_text()


@pytest.fixture(autouse=True)
def _folder(tmp_path, user_cache, monkeypatch):
    """The current folder holds copies of the examples. Without figures, which `tests/test_cli_run.py` draws."""
    for file in EXAMPLES.glob("*.py"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("semrsm_bench.report.figures.draw_all", lambda *_, **__: [])


def cells_of(task, words, *plugins):
    """The cells of a table after a run, all of them measured."""
    call("run", *words.split(), "--quiet")
    cells = json.loads(call("table", "latest", task, "--json", *plugins)[0])["rows"]
    assert {cell["status"] for cell in cells} == {"ok"}
    return cells


def test_a_metric_of_ones_own_has_its_row_in_the_table_of_layers(tmp_path):
    rng = np.random.default_rng(0)
    z = {layer: rng.standard_normal((40, 4)) for layer in ("one", "two")}
    np.savez(tmp_path / "nets.npz", **{f"a:{i}/{layer}": z[layer] + i for i in range(3) for layer in z})
    chosen = f"--methods mutual-knn-5,mutual-knn-10,spectrum --features {tmp_path / 'nets.npz'}"
    cells = cells_of("layers", f"layers --plugin mutual_knn.py {chosen}")
    assert {c["method"] for c in cells} == {"mutual-knn-5", "mutual-knn-10", "spectrum"}
    # Networks that differ by an offset name the same neighbours.
    found = [c for c in cells if c["method"] == "mutual-knn-10" and c["networks"] == "a"]
    assert [(c["identification"], c["same"]) for c in found] == [(1.0, 1.0)]
    # What has no model is named by its task, so that `merge` can tell data of two tasks apart.
    (environment,) = Path("results").glob("*/environment.json")
    assert [data["name"] for data in json.loads(environment.read_text())["data"]] == ["layers"]


def test_a_metric_of_ones_own_has_its_row_in_the_table_of_every_task_for_metrics():
    (command,) = (c for c in docs.commands(REGISTER) if c.startswith("semrsm-bench run layers exchange "))
    tasks = command.removeprefix("semrsm-bench run ").removesuffix(" --plugin examples/mutual_knn.py")
    assert set(tasks.split()) == set(task_names("metric"))
    small = "--networks 2 --count 60 --sizes 30 --units 8 --methods mutual-knn-5,linear_cka --quiet"
    call("run", *tasks.split(), "--plugin", "mutual_knn.py", *small.split())
    for table in json.loads(call("table", "latest", "--json")[0]):
        rows = [row for row in table["rows"] if row["method"] == "mutual-knn-5"]
        assert rows, table["task"]
        assert {row["status"] for row in rows} == {"ok"}
        tasks = tasks.replace(table["task"], "")
    assert not tasks.split()


def test_an_rsm_method_of_ones_own_has_its_row_in_the_table_of_outputs():
    chosen = "--methods covariance,identity --count 12 --kernels cosine"
    cells = cells_of("outputs", f"outputs --plugin covariance.py {chosen}")
    assert {c["method"] for c in cells} == {"covariance", "identity"}
    found = {c["method"]: c["pearson"] for c in cells if c["layer"] == "layer4"}
    (cache,) = map(open_cache, list_caches(shipped_folder("outputs")))
    classes, pairs = softmax(cache.logits[:12].astype(np.float64), axis=1), np.triu_indices(12, 1)
    divergence = jensenshannon(*(classes[side] for side in pairs), axis=1) ** 2
    maps = np.stack([cache.positions("layer4", i, "none") for i in range(12)]).astype(np.float64)
    maps -= maps.mean(axis=(0, 1))  # centring by channel, over these pictures
    vectors = {"covariance": [np.cov(z.T).ravel() for z in maps], "identity": [z.ravel() for z in maps]}
    for name, v in vectors.items():
        cosines = 1 - squareform(pdist(v, "cosine"))
        assert found[name] == pytest.approx(np.corrcoef(cosines[pairs], divergence)[0, 1], abs=1e-4)


def test_a_score_of_single_stimuli_of_ones_own_has_its_row_in_the_table_of_instances():
    chosen = "--methods weakest-pair,pairwise_cosine --count 24 --layers layer4"
    mean = {c["method"]: c["mean"] for c in cells_of("instances", f"instances --plugin weakest_pair.py {chosen}")}
    # The lowest cosine of all pairs of models is below their mean.
    assert -1 <= mean["weakest-pair"] < mean["pairwise_cosine"] <= 1


def test_a_task_of_ones_own_takes_one_file():
    words = "--plugin planted.py --problems 3 --positions 32"
    found = {(c["method"], c["noise"]): c["found"] for c in cells_of("planted", words, "--plugin", "planted.py")}
    assert found["exact-auction", "0.1"] == found["ortools", "0.1"] == 1.0
    assert found["identity", "0.1"] < 0.5 < found["greedy", "0.1"]


@pytest.mark.parametrize("file", ["norm_sort.py", "mutual_knn.py", "covariance.py", "weakest_pair.py"])
def test_every_example_of_a_method_passes_its_check(file):
    assert "cases passed" in call("check", file)[0]


@pytest.mark.parametrize("file", ["norm_sort.py", "mutual_knn.py", "covariance.py", "weakest_pair.py"])
def test_the_page_about_plugins_shows_the_examples_as_they_are(file):
    code = (EXAMPLES / file).read_text()
    if code.startswith('"""'):  # what the file is for: the page says it in its own words
        code = code.split('"""', 2)[2].lstrip()
    assert code in [block.text for block in docs.blocks(REGISTER)]


def test_a_metric_takes_fifteen_lines():
    assert sum(bool(line.strip()) for line in (EXAMPLES / "mutual_knn.py").read_text().splitlines()) <= 15


def test_the_metric_in_two_parts_passes_its_check_and_prepares_each_side_once(tmp_path):
    (code,) = (block.text for block in docs.blocks(REGISTER) if "def prepare(self" in block.text)
    (tmp_path / "parts.py").write_text(code)
    assert "cases passed" in call("check", "parts.py")[0]
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "nets.npz", **{f"a:{i}/{layer}": rng.normal(size=(40, 4)) for i in range(3) for layer in "bcd"})
    (tmp_path / "parts.py").write_text(code.replace("z = np", "open('calls', 'a').write('1')\n        z = np"))
    call("run", "layers", "--features", "nets.npz", "--plugin", "parts.py", "--methods", "gram-cosine", "--quiet")
    groups = {cell["networks"]: cell for cell in json.loads(call("table", "latest", "layers", "--json")[0])["rows"]}
    assert {*groups} >= {"a", "a permuted"}
    # Nine layers, also equalised or with their stimuli in another order; and the two of a first call.
    assert len((tmp_path / "calls").read_text()) <= 9 * len(groups) + 2


def test_published_rdms_are_compared_with_an_rsm_of_ones_own_by_their_ids(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    import images92

    points = write_images92(tmp_path)
    order = np.random.default_rng(0).permutation(92)
    names = [images92.IDS[i] for i in order]
    sb.save_activations(tmp_path / "net.safetensors", {"a": points[order, :, None]}, ids=names)
    call(
        "rsm", tmp_path / "net.safetensors", "--matching", "identity", "--kernel", "rbf", "--out", "mine.npy", "--quiet"
    )
    images92.main(tmp_path, tmp_path / "mine.rbf.npy")
    shown = capsys.readouterr().out.splitlines()
    found = {line[:14].strip(): line[14:].split() for line in shown[1:]}
    # The judgements are distances of the same points; those of another order would give about 0.
    assert float(found["mine.rbf"][2]) > 0.9
    assert float(found["human IT"][2]) > 0.8


@pytest.mark.parametrize("flat", [False, True])
def test_the_exact_auction_stays_exact_without_any_of_its_ideas(flat):
    names, rng = sb.load_plugin("ablation.py"), np.random.default_rng(0)
    x, y = (np.maximum(rng.standard_normal((150, 6)) + 0.5, 0).astype(np.float32) for _ in range(2))
    if flat:
        x[40:], y[:90] = x[0], y[-1]
    problem = sb.MatchingProblem(x, y)
    rows, columns = linear_sum_assignment(problem.affinity.astype(np.float64), maximize=True)
    optimum = problem.affinity[rows, columns].sum(dtype=np.float64)
    assert len(names) == 7
    for name in names:
        found = sb.get_solver(name).run(problem)
        assert sb.matching_value(problem, found.perm) == pytest.approx(optimum, rel=1e-6)
        assert flat or "fallback" not in found.info, name
