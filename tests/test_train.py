import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from semrsm_bench.activations.images import find_images, load_images
from semrsm_bench.activations.models import to_input
from semrsm_bench.activations.options import TrainOptions
from semrsm_bench.activations.train import Recipe, augment, parse_phases, resize, top1, train, train_network
from tests.image_files import image_zip

SMALL = Recipe(width=4, num_classes=2, phases=((16, 2), (32, 1)), batch=4, lr=0.05)


@pytest.fixture
def two_classes(tmp_path):
    images = find_images([image_zip(tmp_path / "a.zip", per_class=8, size=32)])
    return load_images(images, 32), np.array([i.label for i in images])


def test_a_run_that_was_interrupted_ends_like_one_that_was_not(tmp_path, two_classes):
    whole, log = train(SMALL, *two_classes, tmp_path / "whole.safetensors", quiet=True)
    assert log["steps"] == log["steps_done"] == 3 * 4
    for stop in (5, 4):
        train(SMALL, *two_classes, tmp_path / "parts.safetensors", max_steps=stop, quiet=True)
    parts, log = train(SMALL, *two_classes, tmp_path / "parts.safetensors", quiet=True)
    assert log["steps_done"] == 12
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=0, atol=0)


def test_a_finished_run_trains_no_further(tmp_path, two_classes):
    first, _ = train(SMALL, *two_classes, tmp_path / "c.safetensors", quiet=True)
    again, log = train(SMALL, *two_classes, tmp_path / "c.safetensors", quiet=True)
    assert log["steps_done"] == 12
    torch.testing.assert_close(again.fc.weight, first.fc.weight, rtol=0, atol=0)


def test_it_learns(tmp_path, two_classes):
    recipe = dataclasses.replace(SMALL, phases=((16, 6), (32, 2)))
    network, _ = train(recipe, *two_classes, tmp_path / "c.safetensors", quiet=True)
    assert top1(network, *two_classes, 32, quiet=True) == 1.0


def test_a_checkpoint_of_another_recipe_or_other_data_is_refused(tmp_path, two_classes):
    pixels, labels = two_classes
    train(SMALL, pixels, labels, tmp_path / "c.safetensors", max_steps=1, quiet=True)
    with pytest.raises(ValueError, match="another recipe or other data"):
        train(dataclasses.replace(SMALL, lr=0.1), pixels, labels, tmp_path / "c.safetensors", quiet=True)
    with pytest.raises(ValueError, match="another recipe or other data"):
        train(SMALL, 255 - pixels, labels, tmp_path / "c.safetensors", quiet=True)


def test_an_exploding_loss_says_what_to_do(tmp_path, two_classes):
    with pytest.raises(ValueError, match="lower --lr"):
        train(dataclasses.replace(SMALL, lr=1e30, warmup=0.0), *two_classes, tmp_path / "c.safetensors", quiet=True)


def test_labels_and_batches_are_checked(tmp_path, two_classes):
    pixels, labels = two_classes
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1; found 1\.\.2"):
        train(SMALL, pixels, labels + 1, tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match="do not fill one batch"):
        train(dataclasses.replace(SMALL, batch=100), pixels, labels, tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match="16 images but 3 labels"):
        train(SMALL, pixels, labels[:3], tmp_path / "c.safetensors")


def test_learning_rate_rises_then_falls_linearly():
    recipe = Recipe(lr=1.0, warmup=0.1)
    rates = [recipe.learning_rate(step, 100) for step in range(100)]
    assert max(rates) == 1.0
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    np.testing.assert_allclose(np.diff(rates[10:]), -1 / 90)
    assert rates[-1] == pytest.approx(1 / 90)


@pytest.mark.parametrize("text", ["32", "32:a", "32:5;64:1", ""])
def test_phases_are_read_or_refused(text):
    assert parse_phases("32:5,64:2") == ((32, 5), (64, 2))
    with pytest.raises(ValueError, match="must look like 32:5,64:2"):
        parse_phases(text)


def test_recipe_refuses_nonsense():
    for change in ({"phases": ()}, {"phases": ((64, 0),)}, {"batch": 1}, {"lr": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("size", [8, 16])
def test_augmentation_moves_and_mirrors_but_invents_nothing(size):
    # 24 of 64 pixels are three eighths of any image.
    shift = 3 * size // 8
    ramp = np.arange(size * size).reshape(size, size)
    pixels = torch.from_numpy(np.repeat(ramp[None, :, :, None], 200, axis=0).astype(np.uint8))
    moved = augment(pixels, 24, torch.Generator().manual_seed(0)).numpy()[..., 0]
    padded = np.pad(ramp, shift, mode="reflect")
    windows = [padded[i : i + size, j : j + size] for i in range(2 * shift + 1) for j in range(2 * shift + 1)]
    allowed = {w.tobytes() for w in windows} | {w[:, ::-1].tobytes() for w in windows}
    seen = {m.astype(ramp.dtype).tobytes() for m in moved}
    assert seen <= allowed
    assert len(seen) > 50
    # Without the mirrored ones, the moves reach to all four ends and are mirrored at the border.
    down, right = np.array([divmod(k, 2 * shift + 1) for k, w in enumerate(windows) if w.tobytes() in seen]).T - shift
    assert (down.min(), down.max(), right.min(), right.max()) == (-shift, shift, -shift, shift)
    still = augment(pixels, 0, torch.Generator().manual_seed(0)).numpy()[..., 0]
    assert {s.astype(ramp.dtype).tobytes() for s in still} == {ramp.tobytes(), ramp[:, ::-1].tobytes()}


def test_resizing_by_two_keeps_a_constant_and_the_mean():
    x = torch.rand(2, 3, 64, 64)
    small = resize(x, 32)
    assert small.shape == (2, 3, 32, 32)
    torch.testing.assert_close(resize(torch.ones(1, 3, 64, 64), 32), torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(small.mean(), x.mean(), atol=2e-3, rtol=0)
    assert resize(x, 64) is x


def test_input_is_normalised_by_channel():
    grey = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    np.testing.assert_allclose(
        to_input(grey)[0, :, 0, 0].numpy(), [(1 - 0.48) / 0.277, (1 - 0.448) / 0.269, (1 - 0.398) / 0.282], rtol=1e-5
    )


def test_the_whole_run_writes_float16_weights_with_their_recipe(tmp_path):
    archive = image_zip(tmp_path / "a.zip", per_class=8, size=64)
    options = TrainOptions(
        out=tmp_path / "net.safetensors",
        val=(archive,),
        width=4,
        phases="16:4,32:1",
        batch=4,
        lr=0.05,
    )
    told = train_network((archive,), options, quiet=True)
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        metadata = {k: json.loads(v) for k, v in file.metadata().items()}
        assert file.get_tensor("conv1.weight").dtype == torch.float16
    assert metadata["recipe"]["phases"] == [[16, 4], [32, 1]]
    assert metadata["images"] == metadata["val_images"] == 16
    assert f"top-1 {metadata['top1']:.2%} on 16 images" in told
    # Weights to start from change the run, and are part of its identity.
    start = tmp_path / "net.safetensors"
    more = dataclasses.replace(options, out=tmp_path / "more.safetensors", init=start, phases="32:1")
    train_network((archive,), more, quiet=True)
    with safe_open(tmp_path / "more.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["recipe"])["init_sha256"] == told.split()[-1]


def test_training_needs_class_folders(tmp_path):
    from tests.image_files import picture

    (tmp_path / "one.png").write_bytes(picture(0))
    with pytest.raises(ValueError, match=r"one\.png lies in no class directory"):
        train_network((tmp_path / "one.png",), TrainOptions(out=tmp_path / "net.safetensors"))
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        TrainOptions(out=tmp_path / "net.pt")
