"""The frame of the studies: what they give back, where it is written, the pictures and networks they look at."""

import json
import subprocess
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from semrsm_bench.activations.forward import activations_of
from semrsm_bench.activations.models import Model
from semrsm_bench.cli.study import common_options, picture_options
from semrsm_bench.report.style import new_figure
from semrsm_bench.solvers import InvalidMatchingError
from semrsm_bench.studies.pictures import photographs, study_pictures
from semrsm_bench.studies.study import (
    ROWS_FILE,
    STUDY_FILE,
    Drawing,
    StudyResult,
    Table,
    cell_text,
    read_study,
    write_study,
)
from tests.image_files import image_zip


def result(**changes):
    figure = new_figure(2, 2)
    figure.subplots().plot([1, 2])
    values = {
        "name": "demo",
        "title": "A demonstration",
        "sentence": "It shows 3.",
        "tables": [Table("Main", ["what", "value"], [["a", 1.5], ["b", float("nan")]], "a note")],
        "rows": [{"what": "a", "value": 1.5}, {"what": "b", "value": None}],
        "drawings": [Drawing("curve", figure, "A curve.", "a rising line")],
        "inputs": {"n": np.int64(3), "sigma": np.float64("inf")},
        "paper": [Table("The paper's Table 1", ["x"], [[0.5]])],
        "notes": ["small"],
    }
    return StudyResult(**{**values, **changes})


def written(folder, **changes):
    return write_study(result(**changes), folder, command="c", options={"count": 3}, seconds=1.26, quick=True)


def test_a_written_study_reads_back(tmp_path):
    content = written(tmp_path / "demo")
    assert read_study(tmp_path / "demo") == content
    assert content["tables"][0] == {
        "title": "Main",
        "columns": ["what", "value"],
        "rows": [["a", 1.5], ["b", None]],
        "note": "a note",
    }
    assert content["inputs"] == {"n": 3, "sigma": None}
    assert content["quick"] is True
    assert content["seconds"] == 1.3
    assert (tmp_path / "demo" / ROWS_FILE).read_text().splitlines() == ["what,value", "a,1.5", "b,"]
    with Image.open(tmp_path / "demo" / content["figures"][0]["file"]) as picture:
        assert picture.format == "PNG"
    assert {"commit", "cpu", "packages"} <= set(content["environment"])


def test_a_study_that_fails_to_draw_leaves_no_study_file_behind(tmp_path):
    written(tmp_path)
    with pytest.raises(AttributeError):
        written(tmp_path, drawings=[Drawing("curve", None, "", "")])
    assert not (tmp_path / STUDY_FILE).exists()


@pytest.mark.parametrize(("text", "match"), [("{", "not readable"), (json.dumps({"schema": 99}), "schema 99")])
def test_a_damaged_or_newer_study_says_so(tmp_path, text, match):
    (tmp_path / STUDY_FILE).write_text(text)
    with pytest.raises(ValueError, match=match):
        read_study(tmp_path)


def test_a_row_that_does_not_fit_its_table_is_refused():
    with pytest.raises(ValueError, match="2 columns"):
        Table("t", ["a", "b"], [[1, 2], [1]])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        ("auction", "auction"),
        (True, "True"),
        (12345, "12,345"),
        (0.0, "0.000"),
        (0.12345, "0.123"),
        (-12.345, "-12.3"),
        (3e-7, "3.00e-07"),
        (1.5e6, "1.50e+06"),
    ],
)
def test_cells_are_readable(value, text):
    assert cell_text(value) == text


def test_package_crops_are_cut_from_different_places_and_repeat_with_their_seed():
    pictures = study_pictures(count=40, seed=3)
    assert pictures.pixels.shape == (40, 64, 64, 3)
    assert pictures.pixels.dtype == np.uint8
    assert len(set(pictures.ids)) == 40
    assert pictures.shareable
    counts = np.bincount(pictures.labels)
    assert counts.max() - counts[counts > 0].min() <= 1
    again = study_pictures(count=40, seed=3)
    np.testing.assert_array_equal(again.pixels, pictures.pixels)
    assert study_pictures(count=40, seed=4).ids != pictures.ids
    # The id names the photograph and the corner that the crop was cut at.
    named = dict(photographs())
    name, corner = pictures.ids[7].split("@")
    top, left = map(int, corner.split(","))
    np.testing.assert_array_equal(pictures.pixels[7], named[name][top : top + 64, left : left + 64])


def test_more_crops_than_there_are_is_an_error_that_says_how_many():
    with pytest.raises(ValueError, match=r"installed photographs give \d+"):
        study_pictures(count=100_000)


def test_classes_without_images_are_refused(tmp_path):
    (tmp_path / "classes.tsv").write_text("n01\n")
    with pytest.raises(ValueError, match="give --images"):
        study_pictures(count=2, classes=tmp_path / "classes.tsv")


def test_own_pictures_come_with_their_classes(tmp_path):
    archive = image_zip(tmp_path / "mine.zip", per_class=4, size=32)
    pictures = study_pictures([archive], count=6)
    assert pictures.source == "mine.zip"
    assert not pictures.shareable
    assert sorted(np.bincount(pictures.labels)) == [3, 3]


def tiny_model(layers=("first", "last")):
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential()
    network.add_module("first", torch.nn.Conv2d(3, 5, 4, stride=4))
    network.add_module("last", torch.nn.Conv2d(5, 7, 2, stride=2))
    network.add_module("pool", torch.nn.AdaptiveAvgPool2d(1))
    network.add_module("flat", torch.nn.Flatten())
    return Model("tiny", network.eval(), tuple(layers))


def test_activations_do_not_depend_on_the_batch_they_came_in():
    pixels = study_pictures(count=40).pixels
    found = activations_of(tiny_model(), pixels)
    assert found.layers["first"].shape == (40, 5, 256)
    assert found.grids == {"first": (16, 16), "last": (8, 8)}
    alone = activations_of(tiny_model(), pixels[37:38])
    np.testing.assert_allclose(alone.layers["last"][0], found.layers["last"][37], rtol=1e-4, atol=1e-5)
    # The classifier of this network is the mean over positions of its last layer.
    np.testing.assert_allclose(found.logits, found.layers["last"].mean(axis=2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert activations_of(tiny_model(), pixels[:2], ["last"]).layers.keys() == {"last"}


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 64, 64), np.uint8), np.zeros((2, 64, 64, 3), np.float32), np.zeros((0, 64, 64, 3), np.uint8)],
)
def test_pixels_of_another_kind_are_refused(pixels):
    with pytest.raises(ValueError, match="uint8"):
        activations_of(tiny_model(), pixels)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no layer 'middle'"):
        activations_of(tiny_model(), np.zeros((1, 64, 64, 3), np.uint8), ["middle"])


def test_a_network_without_logits_has_no_probabilities():
    model = tiny_model()
    found = activations_of(Model("maps", model.network[:2], ("first",)), np.zeros((1, 64, 64, 3), np.uint8))
    assert found.logits is None
    with pytest.raises(ValueError, match="no logits"):
        _ = found.probabilities


@click.command("demo")
@picture_options
@click.option("--scale", default=2.0)
@common_options
def demo(*, quick, quiet, images, classes, count, seed, scale):
    """Demonstrate."""
    return result(sentence=f"{count} {scale} {quick}")


def test_the_common_options_write_and_print(tmp_path):
    ran = CliRunner().invoke(demo, ["--count", "3", "--quick", "--out", str(tmp_path), "--format", "svg"])
    assert ran.exit_code == 0, ran.output
    assert "3 2.0 True" in ran.output
    assert "A demonstration" not in ran.stderr
    assert (tmp_path / "curve.svg").exists()
    content = read_study(tmp_path)
    assert content["options"] == {"images": [], "classes": None, "count": 3, "seed": 0, "scale": 2.0}
    assert content["figures"][0]["file"] == "curve.png"


def test_json_is_what_was_written(tmp_path):
    ran = CliRunner().invoke(demo, ["--out", str(tmp_path), "--json"])
    assert json.loads(ran.stdout) == read_study(tmp_path)


def test_no_folder_of_this_machine_is_written(tmp_path):
    model = tmp_path / "models" / "net.weights.safetensors"
    options = ["--model", str(model), "--model", "timm:vit_tiny", "--out", str(tmp_path / "out"), "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "demo", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    content = read_study(tmp_path / "out")
    assert content["options"]["models"] == ["net.weights.safetensors", "timm:vit_tiny"]
    assert content["command"].endswith("demo --model net.weights.safetensors --model timm:vit_tiny --out out --quiet")


_PROGRAM = """
import click
from semrsm_bench.cli.study import common_options
from semrsm_bench.studies.study import StudyResult

@click.command()
@click.option("--model", "models", multiple=True)
@common_options
def demo(*, quick, quiet, models):
    return StudyResult("demo", "A demonstration", "It ran.", [], [])

click.Group(commands={"demo": demo})()
"""


def test_a_solver_that_fails_ends_in_one_line_and_exit_code_3(tmp_path):
    @click.command("broken")
    @common_options
    def broken(*, quick, quiet):
        raise InvalidMatchingError("solver 'mine': column 3 is used twice")

    ran = CliRunner().invoke(broken, ["--out", str(tmp_path)], standalone_mode=False)
    assert ran.return_value == 3
    assert ran.stderr.strip() == "semrsm-bench: solver 'mine': column 3 is used twice"
    assert not list(tmp_path.iterdir())
