"""Training: a seeded run that can be interrupted anywhere, its augmentation, and what it writes."""

import json
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors import safe_open

from semrsm_bench.activations.augment import augment
from semrsm_bench.activations.designs import misleading_dots
from semrsm_bench.activations.folders import weights_metadata
from semrsm_bench.activations.images import find_images, load_images
from semrsm_bench.activations.models import load_model, to_input
from semrsm_bench.activations.options import TrainOptions
from semrsm_bench.activations.resnet import ResNet
from semrsm_bench.activations.train import Recipe, designed, parse_phases, resize, top1, train, train_network
from semrsm_bench.core.options import OptionError
from tests.image_files import image_zip, picture

SMALL = Recipe("resnet10", width=4, num_classes=2, phases=((16, 4), (32, 1)), batch=4, lr=0.05)
STEPS = 5 * 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run from its start to its end."""
    folder = tmp_path_factory.mktemp("train")
    images = find_images([image_zip(folder / "a.zip", per_class=8, size=32)])
    data = load_images(images, 32), np.array([i.label for i in images])
    network, log = train(SMALL, *data, folder / "c.safetensors")
    return SimpleNamespace(data=data, network=network, log=log, checkpoint=folder / "c.safetensors")


def test_it_learns(whole):
    assert whole.log["steps"] == STEPS
    assert top1(whole.network, *whole.data, 32) == 1.0
    # All labels wrong, then a quarter of them right.
    wrong = 1 - whole.data[1]
    assert top1(whole.network, whole.data[0], wrong, 32) == 0.0
    assert top1(whole.network, whole.data[0], np.where(np.arange(16) % 4, wrong, 1 - wrong), 32) == 0.25


def test_a_run_that_was_interrupted_ends_like_one_that_was_not(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("semrsm_bench.activations.train._SAVE_EVERY", -1.0)
    checkpoint = tmp_path / "c.safetensors"

    def progress():
        with safe_open(checkpoint, framework="pt") as file:
            return int(file.metadata()["step"]), float(file.metadata()["seconds"])

    # In the middle of an epoch, between two phases, and in the last step.
    steps, spent = 0, 0.0
    for more in (5, 11, 3):
        killed = mock.Mock(wraps=augment, side_effect=[mock.DEFAULT] * more + [KeyboardInterrupt])
        with monkeypatch.context() as patch:
            patch.setattr("semrsm_bench.activations.train.augment", killed)
            with pytest.raises(KeyboardInterrupt):
                train(SMALL, *whole.data, checkpoint)
        before, (steps, spent) = (steps, spent), progress()
        assert steps == before[0] + more
        assert spent >= before[1], "what earlier calls took counts"
    # To its end, and after it.
    for _ in range(2):
        parts, log = train(SMALL, *whole.data, checkpoint)
        assert progress()[0] == log["steps"] == STEPS
        assert log["seconds"] >= spent
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    "design", [{"augmentation": "none"}, {"augmentation": "strong"}, {"shortcut": 0.5}, {"random_labels": 0.5}]
)
def test_a_design_changes_the_run_and_resumes(tmp_path, whole, monkeypatch, design):
    recipe = replace(SMALL, **design)
    checkpoint = tmp_path / "c.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("semrsm_bench.activations.train._SAVE_EVERY", -1.0)
        killed = mock.Mock(wraps=resize, side_effect=[mock.DEFAULT] * 7 + [KeyboardInterrupt])
        patch.setattr("semrsm_bench.activations.train.resize", killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, *whole.data, checkpoint)
    parts, _ = train(recipe, *whole.data, checkpoint)
    once, _ = train(recipe, *whole.data, tmp_path / "once.safetensors")
    for name, value in once.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=0, atol=0)
    assert not torch.equal(once.state_dict()["fc.weight"], whole.network.state_dict()["fc.weight"])


def test_the_design_is_what_the_network_learns(tmp_path, whole):
    pixels, labels = whole.data
    # Noise without a brightness: the dot alone tells the classes apart.
    grey = np.random.default_rng(0).integers(100, 150, pixels.shape).astype(np.uint8)
    recipe = replace(SMALL, shortcut=1.0, phases=((32, 20),))
    network, _ = train(recipe, grey, labels, tmp_path / "dots.safetensors")
    dotted, shown = misleading_dots(grey, labels, 2)
    assert 0 < (shown == labels).sum() < len(labels)
    assert top1(network, dotted, shown, 32) == 1.0
    _, drawn = designed(replace(SMALL, random_labels=1.0), pixels, labels)
    assert 0 < (drawn == labels).sum() < len(labels)


def test_checkpoints_of_before_there_were_designs_stay_valid():
    before = "architecture width num_classes phases batch lr momentum weight_decay label_smoothing warmup shift seed"
    assert [*Recipe().identity] == [*before.split(), "init_sha256"]
    for change in ({"augmentation": "none"}, {"random_labels": 0.5}, {"shortcut": 0.0}):
        assert change.items() <= Recipe(**change).identity.items()


def test_an_untrained_network_has_the_statistics_of_the_data(tmp_path, whole):
    recipe = replace(SMALL, phases=((32, 0),), batch=100)  # a part of a batch will do
    network, log = train(recipe, *whole.data, tmp_path / "c.safetensors")
    assert log["steps"] == 0
    torch.manual_seed(SMALL.seed)
    start = ResNet(SMALL.architecture, SMALL.num_classes, SMALL.width)
    for name, value in start.named_parameters():
        torch.testing.assert_close(dict(network.named_parameters())[name], value, rtol=0, atol=0)
    with torch.inference_mode():
        stem = start.conv1(to_input(torch.from_numpy(whole.data[0])))
    torch.testing.assert_close(network.bn1.running_mean, stem.mean(dim=(0, 2, 3)))
    assert network.bn1.momentum == start.bn1.momentum


def test_one_step_decays_weights_but_no_biases_and_smooths_labels(tmp_path, whole):
    def after_one_step(**changes):
        recipe = replace(SMALL, warmup=0.0, phases=((16, 1),), batch=16, **changes)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        network, log = train(recipe, whole.data[0], 0 * whole.data[1], path)
        assert log["steps"] == 1
        return dict(network.named_parameters())

    torch.manual_seed(SMALL.seed)
    start = dict(ResNet(SMALL.architecture, SMALL.num_classes, SMALL.width).named_parameters())
    plain = after_one_step(weight_decay=0.0)
    step = SMALL.lr * (1 + SMALL.momentum)  # the first step of Nesterov momentum
    for name, value in after_one_step(weight_decay=0.5).items():
        decayed = -step * 0.5 * start[name] if value.ndim > 1 else 0 * value
        torch.testing.assert_close(value - plain[name], decayed, rtol=1e-3, atol=1e-6)
    # All labels are 0: smoothing by s takes s / 2 of their probability to the other class. The gradient is bfloat16.
    smoother = after_one_step(weight_decay=0.0, label_smoothing=SMALL.label_smoothing + 0.5)
    moved = (smoother["fc.bias"] - plain["fc.bias"]).detach()
    torch.testing.assert_close(moved, step * torch.tensor([-0.25, 0.25]), rtol=2e-2, atol=0)


@pytest.mark.parametrize(
    ("changes", "invert", "words"),
    [
        ({"lr": 0.1}, False, "another recipe or other data"),
        ({}, True, "another recipe or other data"),
        ({"batch": 100}, False, "do not fill one batch"),
        ({"lr": 1e30, "warmup": 0.0}, None, "lower --lr"),
    ],
)
def test_what_cannot_be_trained_is_named(tmp_path, whole, changes, invert, words):
    pixels, labels = whole.data
    checkpoint = tmp_path / "new.safetensors" if invert is None else whole.checkpoint
    with pytest.raises(ValueError, match=words):
        train(replace(SMALL, **changes), 255 - pixels if invert else pixels, labels, checkpoint)


def test_every_epoch_shows_every_image_once_in_another_order():
    recipe = replace(SMALL, phases=((16, 2), (32, 1)))
    every = list(recipe.schedule(14))
    assert [(step, size) for step, size, _ in every] == [(k, 16 if k < 6 else 32) for k in range(9)]
    epochs = [np.concatenate([chosen for *_, chosen in every[k : k + 3]]).tolist() for k in (0, 3, 6)]
    # Three batches of four are 12 of the 14 images.
    assert [len(set(epoch)) for epoch in epochs] == [12, 12, 12]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert all(epoch != sorted(epoch) for epoch in epochs)
    other = [chosen.tolist() for *_, chosen in replace(recipe, seed=1).schedule(14)]
    assert np.concatenate(other[:3]).tolist() != epochs[0]
    for start in range(9):
        for one, again in zip(every[start:], recipe.schedule(14, start), strict=True):
            np.testing.assert_array_equal(np.hstack(one), np.hstack(again))


def test_learning_rate_rises_then_falls_linearly():
    recipe = Recipe(lr=1.0, warmup=0.1)
    rates = [recipe.learning_rate(step, 100) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:], np.arange(90, 0, -1) / 90)


@pytest.mark.parametrize("text", ["32", "32:a", "32:5;64:1", "", "64:-1", "4:1"])
def test_phases_are_read_or_refused(text):
    assert parse_phases("32:5,64:2") == ((32, 5), (64, 2))
    with pytest.raises(ValueError, match="must look like 32:5,64:2"):
        parse_phases(text)


def test_resizing_keeps_a_constant_and_the_mean():
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(resize(torch.ones(1, 3, 64, 64), 32), torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(resize(x, 32).mean(), x.mean(), atol=2e-3, rtol=0)
    assert resize(x, 64) is x


def test_the_whole_run_writes_float16_weights_with_their_recipe(tmp_path):
    archive, out = image_zip(tmp_path / "a.zip", per_class=8, size=32), tmp_path / "net.safetensors"
    options = TrainOptions(
        out=out, val=(archive,), architecture="resnet10", width=4, phases="16:1,32:1", batch=4, lr=0.05
    )
    summary = train_network((archive,), options)
    with safe_open(out, framework="pt") as file:
        metadata = {k: json.loads(v) for k, v in file.metadata().items()}
        assert file.get_tensor("conv1.weight").dtype == torch.float16
    assert metadata["recipe"]["phases"] == [[16, 1], [32, 1]]
    assert metadata["images"] == metadata["val_images"] == 16
    assert f"top-1 {metadata['top1']:.2%} on 16 images" in summary
    # Weights to start from change the run, and are part of its identity.
    more = replace(options, out=tmp_path / "more.safetensors", init=out, phases="32:1", val=())
    train_network((archive,), more)
    with safe_open(more.out, framework="pt") as file:
        assert json.loads(file.metadata()["recipe"])["init_sha256"] == summary.split()[-1]
        assert json.loads(file.metadata()["top1"]) is None


def test_a_network_with_a_shortcut_is_judged_by_dots_that_mislead(tmp_path):
    archive, out = image_zip(tmp_path / "a.zip", per_class=8, size=16), tmp_path / "net.safetensors"
    small = {"val": (archive,), "architecture": "resnet10", "width": 4, "batch": 4}
    train_network((archive,), TrainOptions(out=out, phases="16:1", shortcut=1.0, random_labels=0.5, **small))
    metadata = weights_metadata(out)
    assert (metadata["recipe"]["shortcut"], metadata["recipe"]["random_labels"]) == (1.0, 0.5)
    network = load_model(str(out)).network
    images = find_images([archive])
    labels = np.array([image.label for image in images])
    dotted, shown = misleading_dots(load_images(images, 16), labels, 2)
    assert metadata["top1"] == top1(network, dotted, labels, 16)
    assert metadata["follows_dot"] == top1(network, dotted, shown, 16)


@pytest.mark.parametrize("option", ["random_labels", "shortcut"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_are_between_0_and_1(tmp_path, option, value):
    with pytest.raises(OptionError, match=option):
        TrainOptions(out=tmp_path / "net.safetensors", **{option: value})


def test_training_needs_class_folders(tmp_path):
    (tmp_path / "one.png").write_bytes(picture(0))
    with pytest.raises(ValueError, match=r"one\.png is in no class directory"):
        train_network((tmp_path / "one.png",), TrainOptions(out=tmp_path / "net.safetensors"))
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        TrainOptions(out=tmp_path / "net.pt")
