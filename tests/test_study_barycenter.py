"""The study of instance-level agreement: planted truths, its command line, what it says whichever way the figures fall."""

import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.stats import spearmanr

from semrsm_bench.activations.forward import activations_of
from semrsm_bench.activations.models import load_model
from semrsm_bench.activations.resnet import ResNet
from semrsm_bench.activations.weights import save_weights
from semrsm_bench.bench.stats import Interval
from semrsm_bench.cli import cli, main
from semrsm_bench.studies.agreement import Features, disjoint_halves, network_features, output_predictors
from semrsm_bench.studies.barycenter import barycenter
from semrsm_bench.studies.barycenter_tables import level_clause, predictor_clause, reliability_clause
from semrsm_bench.studies.held_out import HeldOut
from semrsm_bench.studies.instance_findings import LENGTH, Settings, analyse
from semrsm_bench.studies.paired_arrays import paired_arrays, read_paired
from semrsm_bench.studies.planted_noise import plant
from tests.image_files import image_zip

QUICK = Settings(folds=3, draws=20, resampled=40)


def run(*arguments):
    """What study.json holds."""
    result = CliRunner().invoke(
        cli, ["study", "barycenter", *map(str, arguments), "--quiet", "--json"], standalone_mode=False
    )
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def fails(capsys, *arguments):
    """Exit code and standard error."""
    with pytest.raises(SystemExit) as stopped:
        main(["study", "barycenter", *map(str, arguments), "--quiet"])
    return stopped.value.code, capsys.readouterr().err


def table(content, start):
    return next(t for t in content["tables"] if t["title"].startswith(start))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four untrained networks of two widths, and pictures of three classes."""
    folder = tmp_path_factory.mktemp("networks")
    for k, width in enumerate((4, 4, 6, 6)):
        torch.manual_seed(k)
        save_weights(folder / f"net{k}.weights.safetensors", ResNet("resnet10", 10, width), {})
    image_zip(folder / "pictures.zip", ("dark", "light", "middle"), per_class=8, size=32)
    return folder


def nets(folder, count):
    return [word for k in range(count) for word in ("--model", folder / f"net{k}.weights.safetensors")]


# Planted truths


def planted_pictures(count=240, seed=0):
    """Four networks that disagree the more, the brighter a picture is; outputs that tell nothing."""
    rng = np.random.default_rng(seed)
    brightness = rng.integers(20, 235, count)
    pixels = np.repeat(brightness, 8 * 8 * 3).reshape(count, 8, 8, 3).astype(np.uint8)
    latent = rng.standard_normal((count, 10))
    networks = {}
    for k in range(4):
        noisy = latent + 2 * (brightness / 255)[:, None] ** 2 * rng.standard_normal((count, 10))
        turned = noisy @ np.linalg.qr(rng.standard_normal((10, 10)))[0]
        unrelated = rng.standard_normal((count, 6))
        odds = rng.dirichlet(np.ones(5), count)
        networks[f"n{k}"] = Features({"early": unrelated, "late": turned}, odds)
    return networks, pixels, brightness


def test_planted_dependence_on_brightness_comes_out():
    networks, pixels, brightness = planted_pictures()
    found = analyse(networks, pixels, np.arange(240), brightness > 128, QUICK, quiet=True)
    assert found.main == "late"
    assert found.correlations["brightness"].high < -0.6
    assert found.by_layer["late"]["brightness"] == found.correlations["brightness"].value
    assert abs(found.by_layer["early"]["brightness"]) < 0.25
    assert found.explained["image"].r2.value > 0.3 > found.explained["outputs"].r2.value
    assert found.explained["image and outputs"] is found.regression
    assert found.label.adjusted > 0.2
    assert "falls most clearly with brightness" in predictor_clause(
        found.correlations, found.partial | {LENGTH: found.correlations[LENGTH]}
    )
    assert np.median(brightness[found.order[:20]]) < 80 < 180 < np.median(brightness[found.order[-20:]])
    assert set(found.correlations) == {*found.predictors, LENGTH}


def test_scores_repeat_across_networks_where_they_agree_and_not_across_unrelated_layers():
    networks, pixels, _ = planted_pictures()
    found = analyse(networks, pixels, np.arange(240), np.zeros(240), QUICK, quiet=True)
    divisions = [r for r in found.repeats if r.what == "networks"]
    assert len(divisions) == 3
    assert min(r.spearman.value for r in divisions) > 0.4
    (between,) = [r for r in found.repeats if r.what == "layers"]
    assert abs(between.spearman.value) < 0.3
    assert len([r for r in found.repeats if r.what == "depth"]) == 6
    assert found.label is None


def test_networks_that_share_nothing_do_not_beat_the_null():
    rng = np.random.default_rng(0)
    networks = {f"n{k}": Features({"only": rng.standard_normal((200, 6))}, None) for k in range(3)}
    pixels = rng.integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
    found = analyse(networks, pixels, np.arange(200), np.arange(200), QUICK, quiet=True)
    assert "do not clearly agree more" in level_clause(found.scored["only"], "networks", "pictures", 3)
    assert found.repeats == []
    assert set(found.explained) == {"image"}


# Parts


@pytest.mark.parametrize("count", [0, 2, 3])
def test_too_few_networks_for_two_sets(count):
    assert disjoint_halves(count) == []


@pytest.mark.parametrize(("count", "divisions"), [(4, 3), (5, 10), (6, 10), (12, 10)])
def test_divisions_are_disjoint_complete_and_different(count, divisions):
    found = disjoint_halves(count, seed=1)
    assert len(found) == divisions
    assert len({frozenset((frozenset(a), frozenset(b))) for a, b in found}) == divisions
    for first, second in found:
        assert sorted(first + second) == list(range(count))
        assert abs(len(first) - len(second)) <= 1
    assert found == disjoint_halves(count, seed=1)


def test_outputs_of_networks_that_agree_and_of_those_that_do_not():
    one, other = np.array([[1.0, 0, 0], [0, 1, 0]]), np.array([[1.0, 0, 0], [0, 0, 1]])
    found = output_predictors([one, other])
    np.testing.assert_allclose(found["output entropy"], [0, math.log(2)], atol=1e-12)
    np.testing.assert_allclose(found["output divergence"], [0, math.log(2)], atol=1e-12)
    np.testing.assert_array_equal(found["same top class"], [1, 0])
    np.testing.assert_array_equal(found["confidence"], [1, 1])
    even = output_predictors([np.full((2, 4), 0.25)] * 3)
    np.testing.assert_allclose(even["output entropy"], math.log(4))
    np.testing.assert_allclose(even["confidence"], 0.25)


@pytest.mark.parametrize("outputs", [[None, None], [np.eye(3), None], [np.eye(3), np.full((3, 4), 0.25)]])
def test_outputs_that_cannot_be_compared_give_no_predictor(outputs):
    assert output_predictors(outputs) == {}


def test_features_are_means_over_positions_or_all_positions(folder):
    model = load_model(str(folder / "net2.weights.safetensors"))
    pixels = np.random.default_rng(0).integers(0, 256, (130, 16, 16, 3), dtype=np.uint8)
    direct = activations_of(model, pixels, ["layer3"], quiet=True)
    pooled = network_features(model, pixels, ["layer3", "logits"], quiet=True)
    np.testing.assert_allclose(pooled.layers["layer3"], direct.layers["layer3"].mean(axis=2), atol=1e-5)
    np.testing.assert_allclose(pooled.layers["logits"], direct.logits, atol=1e-4)
    np.testing.assert_allclose(pooled.probabilities, direct.probabilities, atol=1e-5)
    flat = network_features(model, pixels, ["layer3"], "none", quiet=True)
    np.testing.assert_allclose(flat.layers["layer3"], direct.layers["layer3"].reshape(130, -1), atol=1e-5)
    with pytest.raises(ValueError, match="pooling must be one of mean, none"):
        network_features(model, pixels, ["layer3"], "max", quiet=True)


# Sentences


def held(score, null):
    return HeldOut({"pairwise_cosine": np.array(score)}, {"pairwise_cosine": np.array(null)}, np.ones(len(score)), [])


def test_the_level_is_said_both_ways():
    null = np.linspace(-1, 1, 80).reshape(40, 2)
    assert "2 networks agree more at x than on" in level_clause(
        held([1.5, 1.2], null), "networks", "pictures", 2, " at x"
    )
    assert "do not clearly agree more" in level_clause(held([0.1, 0.2], null), "networks", "pictures", 2)
    assert "do not clearly agree more" in level_clause(held([-0.5, -0.2], null), "networks", "pictures", 2)


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        ({"a": Interval(0.3, 0.1, 0.5), "b": Interval(-0.4, -0.6, -0.1)}, "falls most clearly with b (Spearman -0.40"),
        ({"a": Interval(0.3, 0.1, 0.5), "b": Interval(-0.4, -0.6, 0.1)}, "rises most clearly with a"),
        ({"a": Interval(0.3, -0.1, 0.5)}, "every interval includes 0"),
        ({"a": Interval(math.nan, math.nan, math.nan)}, "every interval includes 0"),
    ],
)
def test_the_strongest_clear_predictor_is_named(intervals, said):
    clause = predictor_clause(intervals, dict.fromkeys(intervals, Interval(0.05, 0.0, 0.1)))
    assert said in clause
    assert ("most clearly" in clause) == ("+0.05 at equal distance" in clause)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.7, 0.5, 0.6], "much alike (mean Spearman 0.60, 0.50 to 0.70 over 3 divisions)"),
        ([0.3], "somewhat alike (mean Spearman 0.30)"),
        ([-0.3, 0.1], "hardly alike"),
        ([], "fewer than four networks"),
    ],
)
def test_reliability_is_said_as_it_is(values, said):
    assert said in reliability_clause(values)


# The command line, on networks


def test_quick_on_the_defaults(tmp_path):
    content = run("--quick", "--out", tmp_path)
    assert content["inputs"]["pictures"] == {
        "source": "crops of photographs shipped by scikit-image, scikit-learn and matplotlib", "count": 88, "size": 64,
    }  # fmt: skip
    assert len(content["inputs"]["networks"]) == 4
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert len(rows) == 4 * 88
    assert rows.groupby("label")["fold"].nunique().max() == 1
    for figure in content["figures"]:
        with Image.open(tmp_path / figure["file"]) as picture:
            assert picture.format == "PNG"
    assert {f["file"] for f in content["figures"]} == {
        f"{n}.png" for n in ("pictures", "scores", "predictors", "reliability")
    }
    last = rows[rows["layer"] == "layer4"]
    assert f"{last['pairwise_cosine'].mean():.3f} against" in content["sentence"]
    shown = table(content, "Agreed on most")["rows"][0]
    best, worst = last.loc[last["pairwise_cosine"].idxmax()], last.loc[last["pairwise_cosine"].idxmin()]
    assert shown[1:] == [
        best["id"],
        pytest.approx(best["pairwise_cosine"]),
        worst["id"],
        pytest.approx(worst["pairwise_cosine"]),
    ]


def test_own_pictures_with_their_classes_and_a_layer(folder, tmp_path):
    arguments = [
        *nets(folder, 3),
        "--images",
        folder / "pictures.zip",
        "--layers",
        "layer2,logits",
        "--size",
        32,
    ]
    content = run(*arguments, "--quick", "--folds", 3, "--out", tmp_path / "first")
    assert [r[:2] for r in table(content, "Similarity of held-out")["rows"]][:2] == [
        ["layer2", "pairwise_cosine"], ["logits", "pairwise_cosine"],
    ]  # fmt: skip
    assert any(row[0].startswith("class (3)") for row in table(content, "Share of the variance")["rows"])
    assert "fewer than four networks" in content["sentence"]
    assert any("mind their licence" in note for note in content["notes"])
    rows = pd.read_csv(tmp_path / "first" / "rows.csv")
    assert sorted(rows["label"].unique()) == [0, 1, 2]
    assert len(rows) == 2 * 24
    # In study.json, a table's Spearman is that of the rows.
    found = {r[1]: r[2] for r in table(content, "What goes with")["rows"]}
    late = rows[rows["layer"] == "logits"]
    expected = spearmanr(late["pairwise_cosine"], late["brightness"]).statistic
    assert found["brightness"] == pytest.approx(expected)
    again = run(*arguments, "--quick", "--folds", 3, "--out", tmp_path / "second")
    assert again["tables"] == content["tables"]
    assert str(folder) not in json.dumps(content)


def test_one_layer_of_two_networks_with_all_positions(folder, tmp_path):
    content = run(
        *nets(folder, 2), "--images", folder / "pictures.zip", "--layers", "layer4", "--pooling", "none", "--size", 32,
        "--quick", "--components", 5, "--group", "orthogonal", "--out", tmp_path,
    )  # fmt: skip
    assert {f["file"] for f in content["figures"]} == {"pictures.png", "scores.png", "predictors.png"}
    assert table(content, "Do other networks")["rows"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "layr4"], "no submodule 'layr4'"),
        (["--count", "9", "--folds", "2"], "9 stimuli are too few"),
        (["--count", "90000"], "the installed photographs give"),
        (["--images", "{folder}/pictures.zip", "--count", "25"], "asked for 25 images of 24"),
        (["--images", "{folder}/nowhere.zip"], "does not exist"),
        (["--folds", "12"], "12 folds need at least as many groups"),
        (["--folds", "10", "--images", "{folder}/pictures.zip", "--count", "12"], "a single stimulus"),
        (["--draws", "19"], "19 is not in the range"),
        (["--folds", "1"], "1 is not in the range"),
        (["--group", "permutation", "--components", "3"], "mixes units"),
        (["--pooling", "max"], "'max' is not one of"),
        (["--model", "{folder}/net0.weights.safetensors"], "two networks are called 'net0'"),
        (["--model", "{folder}/none.safetensors"], "no such checkpoint"),
        (["--ids", "{folder}/pictures.zip"], "--ids names the rows of --features"),
    ],
)
def test_bad_input_is_refused_in_words(folder, capsys, tmp_path, arguments, message):
    filled = [argument.format(folder=folder) for argument in arguments]
    code, said = fails(capsys, *nets(folder, 2), "--quick", "--out", tmp_path / "out", *filled)
    assert code == 2
    assert message in said
    assert not (tmp_path / "out" / "study.json").exists()


def test_one_network_is_not_enough(folder, capsys):
    code, said = fails(capsys, *nets(folder, 1))
    assert code == 2
    assert "at least two networks, got net0 alone" in said


def test_networks_of_other_sizes_need_one(folder, monkeypatch):
    import semrsm_bench.studies.networks as networks

    one, other = (load_model(str(folder / f"net{k}.weights.safetensors")) for k in range(2))
    other = type(other)(other.name, other.network, other.layers, 224)
    monkeypatch.setattr(networks, "study_networks", lambda *_: [one, other])
    with pytest.raises(ValueError, match=r"64 and 224 pixels.*--size"):
        barycenter(quiet=True)


def test_a_network_without_logits_is_left_its_features(folder, monkeypatch):
    import semrsm_bench.studies.networks as networks

    loaded = [load_model(str(folder / f"net{k}.weights.safetensors"), ["layer1"]) for k in range(2)]
    loaded[1].network.classify = lambda last: last
    monkeypatch.setattr(networks, "study_networks", lambda *_: loaded)
    result = barycenter(count=44, quiet=True, quick=True, size=16, settings=QUICK)
    assert any("Predictors from outputs are left out" in note for note in result.notes)
    monkeypatch.setattr(networks, "study_networks", lambda *_: loaded)
    with pytest.raises(ValueError, match="net1 returns no logits"):
        barycenter(count=44, quiet=True, quick=True, size=16, layers=["layer1", "logits"], settings=QUICK)


# Paired arrays


def saved(folder, *arrays):
    paths = [folder / f"array{k}.npy" for k in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        np.save(path, array)
    return paths


def feature_options(paths):
    return [word for path in paths for word in ("--features", path)]


def test_paired_arrays_rank_items_by_the_noise_that_was_planted(tmp_path):
    planted = plant(count=3, stimuli=300, units=16, seed=5)
    paths = saved(tmp_path, *(x.astype(np.float16) for x in planted.models))
    (tmp_path / "names.txt").write_text("\n".join(f"item {i}" for i in range(300)) + "\n")
    content = run(*feature_options(paths), "--ids", tmp_path / "names.txt", "--quick", "--out", tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "rows.csv")
    assert rows["id"].tolist() == [f"item {i}" for i in range(300)]
    for kind, sign in (
        ("pairwise_cosine", -1),
        ("dispersion", 1),
        ("barycenter_cosine", -1),
        ("leave_one_out_cosine", -1),
    ):
        assert spearmanr(rows[kind], sign * planted.noise).statistic > 0.85
    ends = table(content, "Agreed on most")["rows"]
    noise = {f"item {i}": value for i, value in enumerate(planted.noise)}
    assert max(noise[r[1]] for r in ends) < min(noise[r[3]] for r in ends)
    assert np.quantile(planted.noise, 0.8) < np.median([noise[r[3]] for r in ends])
    assert table(content, "The same item")["rows"][0][0] > 0.6
    assert [f["shape"] for f in content["inputs"]["features"]] == [[300, 16]] * 3
    assert "agree more" in content["sentence"]
    assert str(tmp_path) not in json.dumps({k: v for k, v in content.items() if k != "environment"})


def test_arrays_that_share_nothing_do_not_beat_the_null(tmp_path):
    rng = np.random.default_rng(0)
    result = paired_arrays(
        saved(tmp_path, rng.standard_normal((200, 8)), rng.standard_normal((200, 5))), None, QUICK, quiet=True
    )
    assert "do not clearly agree more" in result.sentence


def test_items_of_one_name_stay_on_one_side(tmp_path):
    rng = np.random.default_rng(0)
    latent = np.repeat(rng.standard_normal((30, 6)), 3, axis=0)
    paths = saved(tmp_path, latent + rng.normal(scale=0.1, size=latent.shape), latent[:, ::-1])
    (tmp_path / "names.txt").write_text("\n".join(str(i // 3) for i in range(90)))
    result = paired_arrays(paths, tmp_path / "names.txt", QUICK, quiet=True)
    rows = pd.DataFrame(result.rows)
    assert rows.groupby("id")["fold"].nunique().max() == 1
    assert next(t for t in result.tables if t.title.startswith("The same item")).rows[0][0] == 1.0


def test_more_columns_than_training_items_is_said(tmp_path):
    rng = np.random.default_rng(0)
    paths = saved(tmp_path, rng.standard_normal((20, 40)), rng.standard_normal((20, 3)))
    assert any("only 13 training items" in note for note in paired_arrays(paths, None, QUICK, quiet=True).notes)
    limited = paired_arrays(paths, None, Settings(folds=3, draws=20, components=3), quiet=True)
    assert not any("training items" in note for note in limited.notes)


def good():
    return np.random.default_rng(0).standard_normal((12, 3))


def with_nan():
    array = good()
    array[5, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda: good()[:11], "array0.npy 12, array1.npy 11"),
        (with_nan, "row 5, column 1 is nan"),
        (lambda: np.full((12, 3), np.inf), "row 0, column 0 is inf"),
        (lambda: good() + 1j, "complex128"),
        (lambda: np.zeros(12), r"this one is (12,)"),
        (lambda: np.zeros((12, 0)), "no columns"),
        (lambda: np.ones((12, 3)), "all rows are the same"),
        (lambda: np.array([["a"]] * 12), "real numbers"),
    ],
)
def test_arrays_that_cannot_be_compared_are_refused_by_name(tmp_path, capsys, second, message):
    code, said = fails(capsys, *feature_options(saved(tmp_path, good(), second())), "--out", tmp_path / "out")
    assert code == 2
    assert message in said
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_arrays(tmp_path, capsys):
    (one,) = saved(tmp_path, good())
    (tmp_path / "text.csv").write_text("1,2")
    (tmp_path / "broken.npy").write_bytes(one.read_bytes()[:90])
    np.save(tmp_path / "objects.npy", np.array([{}] * 12, dtype=object), allow_pickle=True)
    for name, message in (
        ("text.csv", ".npy files"),
        ("broken.npy", "not a readable array"),
        ("objects.npy", "not a readable"),
    ):
        code, said = fails(capsys, *feature_options([one, tmp_path / name]))
        assert code == 2
        assert message in said
        assert name in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "{one}"], "at least two files"),
        (["--features", "{one}", "--features", "{few}"], "rows differ"),
        (["--features", "{few}", "--features", "{few}"], "9 stimuli are too few"),
        (["--features", "{one}", "--features", "{one}", "--ids", "{few}.txt"], "2 lines, but the arrays have 12 rows"),
        (["--features", "{one}", "--features", "{one}", "--count", "5"], "--count is for networks"),
        (["--features", "{one}", "--features", "{one}", "--pooling", "none"], "--pooling is for networks"),
        (["--features", "{one}", "--features", "{one}", "--folds", "13"], "13 folds"),
    ],
)
def test_wrong_use_of_paired_arrays(tmp_path, capsys, arguments, message):
    np.save(tmp_path / "one.npy", good())
    np.save(tmp_path / "few.npy", good()[:9])
    (tmp_path / "few.npy.txt").write_text("a\nb\n")
    places = {"one": tmp_path / "one.npy", "few": tmp_path / "few.npy"}
    code, said = fails(capsys, *(argument.format(**places) for argument in arguments))
    assert code == 2
    assert message in said


def test_arrays_are_mapped_not_read(tmp_path):
    arrays, names = read_paired(saved(tmp_path, good(), good()[::-1]))
    assert all(isinstance(array, np.memmap) for array in arrays)
    assert names == [str(i) for i in range(12)]


def test_paired_arrays_work_without_torch(tmp_path):
    paths = saved(tmp_path, good(), good() + 1)
    script = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("no torch here")

sys.meta_path.insert(0, Missing())
import semrsm_bench.studies.barycenter
from semrsm_bench.cli import main
main(sys.argv[1:])
"""
    arguments = ["study", "barycenter", *feature_options(paths), "--folds", "2", "--quiet", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "study.json").exists()
