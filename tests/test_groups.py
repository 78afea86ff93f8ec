"""Groups of networks: which there are, and that one command trains them all and resumes."""

import itertools
from collections import Counter

import pytest

from semrsm_bench.activations.folders import weights_metadata
from semrsm_bench.activations.groups import GROUPS, NetworkGroup, find_groups, networks_to_train
from semrsm_bench.activations.options import NetworksOptions
from semrsm_bench.core.options import OptionError
from tests.command_line import call
from tests.gate_repository import CHECKOUT
from tests.image_files import image_zip

TINY = (
    NetworkGroup("tiny", "tiny", (0, 1), architecture="resnet10", width=4, phases="16:1"),
    NetworkGroup("fresh", "more", (7,), "resnet10", 4, "16:0", design="fresh"),
    NetworkGroup("dots", "shortcuts", (8,), "resnet10", 4, "16:1", shortcut=1.0, design="dots"),
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr("semrsm_bench.activations.groups.GROUPS", TINY)


def test_groups_are_found_by_their_names_and_their_families():
    assert [group.name for group in find_groups(["labels", "w8"])] == ["labels-50", "labels-100", "w8"]
    assert [group.name for group in find_groups(["shortcut-50"])] == ["shortcut-50"]
    with pytest.raises(OptionError, match="'labels-7' is no group of networks; there are augmentation, aug"):
        find_groups(["labels-7"])


def test_no_two_networks_of_one_kind_start_from_the_same_weights():
    started = Counter((group.architecture, group.width, seed) for group in GROUPS for seed in group.seeds)
    # The plain networks of the shortcuts are some of those of width 8: the same files.
    twice = {start for start, count in started.items() if count > 1}
    assert twice == {("resnet18", 8, seed) for seed in range(5)}
    files = Counter(group.file(seed) for group in GROUPS for seed in group.seeds)
    assert {name for name, count in files.items() if count > 1} == {
        f"plain-resnet18-w8-seed{seed}.weights.safetensors" for seed in range(5)
    }


def test_networks_are_trained_once(tmp_path, tiny):
    archive, out = image_zip(tmp_path / "a.zip", per_class=64, size=16), tmp_path / "nets"
    command = ("data", "networks", archive, "--val", archive, "--group", "tiny,more", "--out", out)
    said, _ = call(*command, "--first", "1")
    assert said.count("top-1") == 2
    said, progress = call(*command)
    assert said.count("top-1") == 1
    assert "3 of 3: fresh-resnet10-w4-seed7.weights.safetensors" in progress
    names = [group.file(seed) for group in TINY[:2] for seed in group.seeds]
    # No checkpoint is left.
    assert sorted(path.name for path in out.glob("*.safetensors")) == sorted(names)
    before = {name: (out / name).stat().st_mtime_ns for name in names}
    (out / names[1]).unlink()
    said, progress = call(*command)
    assert said.count("top-1") == 1
    assert progress.count("is there") == 2
    assert [name for name in names if (out / name).stat().st_mtime_ns != before[name]] == [names[1]]
    assert [weights_metadata(out / name)["recipe"]["seed"] for name in names] == [0, 1, 7]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"--seed": "3"}, "another seed than 1"),
        ({"--phases": "32:0"}, "another phases than 16:0"),
        ({"--shortcut": "0.5"}, "another shortcut than None"),
        ({"--width": "5"}, "another width than 4"),
    ],
)
def test_weights_of_another_recipe_are_refused(tmp_path, monkeypatch, changes, what):
    group = NetworkGroup("fresh", "fresh", (1,), "resnet10", 4, "16:0")
    monkeypatch.setattr("semrsm_bench.activations.groups.GROUPS", (group,))
    archive = image_zip(tmp_path / "a.zip", per_class=6, size=16)
    options, there = NetworksOptions(group=("fresh",), out=tmp_path), tmp_path / group.file(1)
    recipe = {"--architecture": "resnet10", "--width": "4", "--phases": "16:0", "--seed": "1"}
    train = ("data", "train", archive, "--out", there)
    call(*train, *itertools.chain(*recipe.items()))
    assert [finished for _, finished in networks_to_train(options)] == [True]
    there.with_suffix(".ckpt.safetensors").unlink()
    call(*train, *itertools.chain(*{**recipe, **changes}.items()))
    with pytest.raises(ValueError, match=f"trained with {what}"):
        list(networks_to_train(options))


def test_the_page_of_the_data_shows_what_the_files_say():
    shown, _ = call("data", "groups", "--data", CHECKOUT / "data")
    assert f"```text\n{shown}```" in (CHECKOUT / "data" / "README.md").read_text()
