"""The retrieval study: planted truths, its sentence whichever way the figures fall, its command line on three kinds of data."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.activations.resnet import ResNet
from semrsm_bench.activations.weights import save_weights
from semrsm_bench.cli import cli, main
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.studies.retrieval_data import RetrievalData, Side, Source
from semrsm_bench.studies.retrieval_paper import paper_tables
from semrsm_bench.studies.retrieval_report import finding
from semrsm_bench.studies.retrieval_scores import (
    BEST,
    RANDOM,
    Line,
    baselines,
    differences,
    expected_best,
    interval,
    score_line,
)
from tests.data_sets import cityscapes, egoobjects
from tests.image_files import image_zip


@given(
    st.lists(st.one_of(st.just(math.nan), st.integers(0, 4).map(lambda k: k / 4)), min_size=1, max_size=7),
    st.integers(1, 7),
)
def test_expected_best_of_a_random_draw_against_all_draws(scores, top):
    if top > len(scores):
        with pytest.raises(ValueError, match=f"cannot draw {top} of {len(scores)}"):
            expected_best(np.array(scores), top)
        return
    best = [
        max((s for s in draw if not math.isnan(s)), default=math.nan) for draw in itertools.combinations(scores, top)
    ]
    defined = [value for value in best if not math.isnan(value)]
    expected = np.mean(defined) if defined else math.nan
    assert expected_best(np.array(scores), top) == pytest.approx(expected, nan_ok=True)


def planted(queries=30, videos=2, seed=0):
    """Scenes of three of six objects; every position shows one object, and each video has an order of its own.

    Returns the data and activations (n, 6, 9) of queries and database.
    """
    rng = np.random.default_rng(seed)
    sides: list[list[tuple]] = [[], []]
    for scene in range(queries):
        objects = rng.integers(6, size=3)
        for video in range(videos + 1):
            positions = rng.permutation(np.repeat(objects, 3))
            z = np.eye(6)[positions].T + 0.01 * rng.standard_normal((6, 9))
            sides[video > 0].append((z, np.bincount(objects, minlength=6), f"{scene}/{video}"))
    blank = [np.zeros((len(side), 8, 8, 3), dtype=np.uint8) for side in sides]
    made = [
        Side(pixels, np.stack([counts for _, counts, _ in side]), [group for *_, group in side])
        for pixels, side in zip(blank, sides, strict=True)
    ]
    data = RetrievalData(made[0], made[1], list("abcdef"), ("f1", "iou"), "planted", "videos", True)
    return data, *(np.stack([z for z, *_ in side]) for side in sides)


def test_planted_scenes_are_found_by_matched_positions_only():
    data, asking, asked = planted()
    rsms = compute_rsm(asking, asked, kernel=["linear", "cosine", "rbf"], matching=["identity", "ortools"])
    lines = [score_line(data, rsms[m][k], "planted", k, m) for k in ("cosine", "rbf") for m in ("identity", "ortools")]
    value = {(line.kernel, line.matching): interval(line.values["f1", 1]).value for line in lines}
    for kernel in ("cosine", "rbf"):
        assert value[kernel, "ortools"] == 1
        assert value[kernel, "identity"] < 0.9
    found = {(d.kernel, d.score): d for d in differences(lines)}
    assert len(found) == 4
    for d in found.values():
        assert (d.first, d.second) == ("ortools", "identity")
        assert d.interval.low > 0
    assert found["cosine", "f1"].interval.value == pytest.approx(1 - value["cosine", "identity"])
    sentence = finding([*lines, *baselines(data)], differences(lines), "planted", "f1", data)
    assert "under all 2 kernels surpass spatio-semantic ones" in sentence
    assert "with the cosine kernel 1.000 against" in sentence


def test_own_video_is_left_out_and_the_best_of_five_is_at_least_the_first():
    data, asking, asked = planted(queries=12)
    # The database holds the queries themselves too: the most similar images by far, and of the same video.
    database = Side(
        np.concatenate([data.queries.pixels, data.database.pixels]),
        np.concatenate([data.queries.counts, data.database.counts]),
        data.queries.groups + data.database.groups,
    )
    both = RetrievalData(data.queries, database, data.classes, data.scores, "planted", "videos", True)
    K = compute_rsm(asking, np.concatenate([asking, asked]), kernel="rbf", matching="ortools")
    assert (K.argmax(axis=1) == np.arange(12)).all()
    line = score_line(both, K, "planted", "rbf", "ortools")
    for query, found in enumerate(line.found):
        assert all(both.database.groups[i] != both.queries.groups[query] for i in found)
        assert len(set(found)) == 5
    for score in ("f1", "iou"):
        assert (line.values[score, 5] >= line.values[score, 1]).all()
    bounds = {line.matching: line for line in baselines(both)}
    for key, values in line.values.items():
        assert (bounds[BEST].values[key] >= values - 1e-12).all()
    assert (bounds[RANDOM].values["f1", 5] > bounds[RANDOM].values["f1", 1]).all()


def lines_with(differences_by_kernel, n=40):
    """Rankings whose semantic scores differ from the spatio-semantic ones by that much, with a little noise."""
    rng = np.random.default_rng(0)
    base = 0.5 + 0.1 * rng.standard_normal(n)
    lines = []
    for kernel, (gap, noise) in differences_by_kernel.items():
        for matching, shift in (
            ("identity", 0.0),
            ("translation", 0.0),
            ("ortools", gap + noise * rng.standard_normal(n)),
        ):
            lines.append(Line("layer9", kernel, matching, None, {("f1", 1): base + shift}))
    return lines


@pytest.mark.parametrize(
    ("gaps", "words"),
    [
        ({"linear": (0.2, 0.01), "cosine": (0.1, 0.01)}, "under all 2 kernels surpass spatio-semantic"),
        ({"linear": (-0.2, 0.01), "cosine": (-0.1, 0.01)}, "under all 2 kernels fall behind spatio-semantic"),
        ({"rbf": (0.0, 0.3)}, "under the kernel measured cannot be told from spatio-semantic"),
        (
            {"linear": (0.2, 0.01), "cosine": (-0.1, 0.01), "rbf": (0.0, 0.3)},
            "under linear surpass, under cosine fall behind, under rbf cannot be told from spatio-semantic",
        ),
        (
            {"linear": (0.2, 0.01), "cosine": (0.0, 0.0)},
            "under linear surpass, under cosine cannot be told from spatio",
        ),
    ],
)
def test_the_sentence_says_what_the_figures_say(gaps, words):
    data, *_ = planted(queries=5)
    lines = lines_with(gaps)
    sentence = finding([*lines, *baselines(data)], differences(lines), "layer9", "f1", data)
    assert words in sentence
    kernel = "cosine" if "cosine" in gaps else next(iter(gaps))
    gap = next(d for d in differences(lines) if (d.kernel, d.second, d.first) == (kernel, "identity", "ortools"))
    assert f"paired difference {gap.interval.value:+.3f}" in sentence
    assert sentence.endswith("5 queries, database of 10).")


def test_the_papers_figures_and_the_differences_it_prints():
    egoobjects_table, cityscapes_table = paper_tables()
    printed = [
        (0.541, 0.555, 0.515), (0.315, 0.343, 0.241), (0.576, 0.589, 0.561), (0.075, 0.049, 0.032), (0.072, 0.047, 0.033),
        (0.099, 0.066, 0.045), (0.129, 0.096, 0.068), (0.122, 0.093, 0.069), (0.208, 0.167, 0.118), (0.100, 0.073, 0.049),
        (0.090, 0.068, 0.044), (0.196, 0.156, 0.114), (0.226, 0.190, 0.151), (0.183, 0.158, 0.126), (0.332, 0.310, 0.267),
    ]  # fmt: skip
    assert len(egoobjects_table.rows) == len(printed)
    for row, gaps in zip(egoobjects_table.rows, printed, strict=True):
        # The paper rounds the figures and their difference apart.
        np.testing.assert_allclose(np.subtract(row[3::2], row[2::2]), gaps, atol=0.0021)
    for table in (egoobjects_table, cityscapes_table):
        assert table.title.startswith("Wald et al. 2024, Table")
        assert "other networks, other data" in table.note


# The command line.


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """An untrained network, small enough for many runs."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "tiny.weights.safetensors"
    save_weights(path, ResNet("resnet10", num_classes=5, width=4), {})
    return path


def run(folder, *arguments):
    """What study.json holds."""
    words = ["study", "retrieval", *map(str, arguments), "--out", str(folder), "--quiet", "--json"]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def fails(capsys, *arguments):
    """Standard error of a run that ends with exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        main(["study", "retrieval", *map(str, arguments), "--quiet"])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_quick_on_the_defaults(tmp_path):
    content = run(tmp_path, "--quick")
    assert content["quick"]
    assert content["inputs"]["pictures"]["queries"] == 20
    assert content["inputs"]["networks"][0]["model"] == "resnet18-tiny-imagenet"
    for name in ("scores.png", "pictures.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    rows = pd.read_csv(tmp_path / "rows.csv", keep_default_na=False)
    # Three kernels by three matchings and the mean over positions, a random ranking and the best there is; a row for each query.
    assert len(rows) == (12 + 2) * 20
    measured = rows[rows["kernel"] != ""]
    assert (
        measured["query_group"].astype(str) != measured["retrieved_group"].astype(float).astype(int).astype(str)
    ).all()
    scores = content["tables"][0]
    by_name = {(row[2], row[3]): row for row in scores["rows"]}
    one = measured[(measured["kernel"] == "cosine") & (measured["matching"] == "identity")]["f1_at_1"].astype(float)
    column = scores["columns"].index("F1@1")
    assert by_name["cosine", "spatio-semantic"][column] == pytest.approx(one.mean())
    assert all(row[column] > by_name["–", RANDOM][column] for row in scores["rows"][:12])
    assert str(tmp_path) not in json.dumps({k: v for k, v in content.items() if k != "environment"})


def test_a_seed_repeats_the_study_and_another_place_changes_it(tmp_path, network):
    small = ("--queries", 6, "--database", 12, "--size", 32, "--model", network)
    once = run(tmp_path / "a", *small)
    assert run(tmp_path / "b", *small)["tables"] == once["tables"]
    assert (tmp_path / "a" / "pictures.png").read_bytes() == (tmp_path / "b" / "pictures.png").read_bytes()
    assert run(tmp_path / "c", *small, "--place", "video")["tables"] != once["tables"]


def test_own_pictures_layers_kernels_and_solvers(tmp_path, network):
    archive = image_zip(tmp_path / "own.zip", ("a", "b", "c"), per_class=4)
    content = run(
        tmp_path / "out", "--images", archive, "--queries", 5, "--database", 10, "--model", network, "--layer", "layer3",
        "--layer", "layer4", "--kernel", "cosine", "--matching", "greedy", "--matching", "ortools", "--size", 32,
        "--centring", "position", "--object-classes", 2,
    )  # fmt: skip
    rows = content["tables"][0]["rows"]
    names = ("spatio-semantic", "translation", "semantic (greedy)", "semantic (ortools)", "mean over positions")
    assert [row[:4] for row in rows[:-2]] == [
        [layer, size, "cosine", name] for layer, size in (("layer3", 64), ("layer4", 16)) for name in names
    ]
    assert content["inputs"]["pictures"]["classes"] == 2
    assert content["inputs"]["pictures"]["source"].startswith("2 scenes composed by the study: own.zip")
    assert content["options"]["images"] == ["own.zip"]


def test_egoobjects(tmp_path, network):
    folder = egoobjects(tmp_path / "ego")
    # Five wide images with objects, of three videos and more; two are queries.
    words = ("--egoobjects", folder, "--any-format", "--queries", 1, "--database", 5, "--size", 32, "--model", network)
    content = run(tmp_path / "square", *words)
    assert content["inputs"]["pictures"]["source"] == "EgoObjects, test, all formats"
    assert content["inputs"]["pictures"]["size"] == [32, 32]
    assert content["tables"][0]["columns"][4] == "F1@1"


def test_cityscapes(tmp_path, network):
    folder = cityscapes(tmp_path / "city", queries=3, database=7)
    words = ("--cityscapes", folder, "--queries", 3, "--database", 7, "--size", 32, "--model", network)
    content = run(tmp_path / "whole", *words)
    # Twice as wide as high, and no counts of objects.
    assert content["inputs"]["pictures"]["size"] == [32, 64]
    assert content["tables"][0]["columns"][4:] == ["IoU@1", "low", "high", "IoU best of 5"]
    assert content["tables"][0]["rows"][0][1] == 4 * 8
    best = next(row for row in content["tables"][0]["rows"] if row[3] == BEST)
    # Images 0 and 5 of ulm show the classes of image 0 of lindau, and so on.
    assert best[4] == 1
    assert "with the same classes (IoU@1" in content["sentence"]
    assert run(tmp_path / "square", *words, "--frame", "square")["tables"][0]["rows"][0][1] == 4 * 4


def test_wrong_use_ends_with_exit_code_2(tmp_path, capsys, network):
    small = ("--queries", 3, "--database", 6, "--size", 32, "--model", network)
    city = cityscapes(tmp_path / "city", queries=2, database=6)
    ego = egoobjects(tmp_path / "ego")
    assert "did you mean 'ortools'" in fails(capsys, *small, "--matching", "ortols")
    assert "'identity' is always measured" in fails(capsys, *small, "--matching", "identity")
    assert "no submodule 'layer7'" in fails(capsys, *small, "--layer", "layer7")
    assert "one of --images, --egoobjects and --cityscapes" in fails(
        capsys, *small, "--egoobjects", ego, "--cityscapes", city
    )
    assert "asked for 3 images of Cityscapes val, there are 2" in fails(capsys, *small, "--cityscapes", city)
    assert "asked for 3 and 6 images of EgoObjects test, there are 5" in fails(capsys, *small, "--egoobjects", ego)
    assert "neither here nor in" in fails(capsys, *small, "--egoobjects", tmp_path)
    assert "leftImg8bit/val: no such folder".replace("/", "") in fails(
        capsys, *small, "--cityscapes", tmp_path
    ).replace("/", "")
    assert "Invalid value for '--database'" in fails(capsys, "--database", 4)
    assert "does not exist" in fails(capsys, "--images", tmp_path / "nowhere")
    assert "no such checkpoint" in fails(capsys, *small[:-1], "nowhere.safetensors")


def test_a_source_needs_images_on_both_sides():
    with pytest.raises(ValueError, match="at least one query and one database image, got 0 and 5"):
        Source().read(0, 5, 32)
