"""Features of groups of networks in one file: what the forward pass gives, by name, and what is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from semrsm_bench.activations.designs import misleading_dots
from semrsm_bench.activations.features import layers_of
from semrsm_bench.activations.folders import file_sha256, read_manifest
from semrsm_bench.activations.images import find_images, load_images
from semrsm_bench.activations.models import load_model, to_input
from semrsm_bench.activations.resnet import ResNet, save_weights
from semrsm_bench.activations.store import list_caches
from tests.command_line import call
from tests.image_files import image_zip
from tests.test_groups import TINY, tiny  # noqa: F401
from tests.test_store import make_cache

LAYERS = ["stem", "layer1.0", "layer2.0", "layer3.0", "layer4.0"]


@pytest.fixture
def networks(tmp_path):
    """Two networks of the first tiny group, one of the last."""
    for group, seed in ((TINY[0], 0), (TINY[0], 1), (TINY[2], 8)):
        torch.manual_seed(seed)
        network = ResNet("resnet10", 2, 4)
        save_weights(tmp_path / group.file(seed), network, {"top1": seed / 10, "recipe": {"seed": seed}})
    return tmp_path


def written(networks, *more):
    archive = image_zip(networks / "a.zip", per_class=6, size=16)
    call("data", "features", archive, "--networks", networks, "--size", "16", *more, "--out", networks / "out")
    found = []
    for group in ("tiny", "dots"):
        path = networks / "out" / f"{'positions' if '--positions' in more else 'features'}-{group}.safetensors"
        if path.exists():
            with safe_open(path, framework="np") as file:
                metadata = {name: json.loads(text) for name, text in file.metadata().items() if name != "format"}
            found.append((load_file(path), metadata))
    return found


@pytest.mark.usefixtures("tiny")
def test_features_are_means_over_positions_of_what_the_blocks_return(networks):
    files = written(networks, "--group", "tiny,shortcuts")
    images = find_images([networks / "a.zip"])
    labels = np.array([image.label for image in images])
    pixels = load_images(images, 16)
    dotted, _ = misleading_dots(pixels, labels, 2)
    for (arrays, metadata), (group, seeds, seen) in zip(
        files, ((TINY[0], (0, 1), pixels), (TINY[2], (8,), dotted)), strict=True
    ):
        assert metadata["ids"] == [image.name for image in images]
        assert metadata["layers"] == LAYERS
        np.testing.assert_array_equal(arrays.pop("labels"), labels)
        for seed in seeds:
            path, name = networks / group.file(seed), f"{group.name}:seed{seed}"
            for layer, value in zip([*LAYERS, "logits"], forward(path, seen), strict=True):
                np.testing.assert_allclose(arrays.pop(f"{name}/{layer}"), value, rtol=2e-3, atol=1e-3)
            about = metadata["networks"][name]
            assert (about["top1"], about["weights_sha256"]) == (seed / 10, file_sha256(path))
        assert not arrays
        # No folder of this machine, and no cache for the tasks that take whole activations.
        assert str(networks) not in json.dumps(metadata)
        options = f"--networks {networks.name} --group {group.name} --size 16 --out out"
        assert metadata["command"] == f"semrsm-bench data features a.zip {options}"
        assert read_manifest(networks / "out")[f"features-{group.name}.safetensors"]["kind"] == "features"
    assert list_caches(networks / "out") == []


def forward(path, pixels):
    """Means over positions after the stem and each block, and logits, step by step."""
    network = load_model(str(path)).network.eval()
    with torch.inference_mode():
        x = torch.relu(network.bn1(network.conv1(to_input(torch.from_numpy(pixels)))))
        means = [x.mean(dim=(2, 3))]
        for stage in range(1, 5):
            x = getattr(network, f"layer{stage}")(x)
            means.append(x.mean(dim=(2, 3)))
        return [*means, network.fc(means[-1])]


@pytest.mark.usefixtures("tiny")
def test_positions_are_what_the_means_are_of(networks):
    ((means, _),) = written(networks, "--group", "tiny")
    ((some, metadata),) = written(
        networks, "--group", "tiny", "--layers", "layer4,layer1.0", "--positions", "--first", "1"
    )
    assert metadata["layers"] == ["layer4", "layer1.0"]
    assert metadata["grids"] == {"layer4": [2, 2], "layer1.0": [16, 16]}
    assert sorted(some) == ["labels", *(f"tiny:seed0/{layer}" for layer in ("layer1.0", "layer4", "logits"))]
    assert some["tiny:seed0/layer1.0"].shape == (12, 4, 16 * 16)
    np.testing.assert_allclose(
        some["tiny:seed0/layer4"].mean(axis=2, dtype=float), means["tiny:seed0/layer4.0"], rtol=2e-3, atol=1e-3
    )


@pytest.mark.usefixtures("tiny")
def test_groups_say_how_good_their_networks_are(networks):
    (plain, _), (seen, _) = written(networks, "--group", "tiny,shortcuts")
    right = {
        name: (plain[f"{name}/logits"].argmax(1) == plain["labels"]).mean() for name in ("tiny:seed0", "tiny:seed1")
    }
    images = find_images([networks / "a.zip"])
    _, shown = misleading_dots(load_images(images, 16), seen["labels"], 2)
    listed = json.loads(call("data", "groups", "--data", data_folder(networks), "--json")[0])
    assert [row["group"] for row in listed] == ["tiny", "dots"]
    assert listed[0]["top1"] == right
    assert "follows_dot" not in listed[0]
    assert listed[1]["follows_dot"] == {"dots:seed8": (seen["dots:seed8/logits"].argmax(1) == shown).mean()}
    text, _ = call("data", "groups", "--data", data_folder(networks))
    percent = [100 * share for share in right.values()]
    assert f"{sum(percent) / 2:.1f} ({min(percent):.1f} - {max(percent):.1f})" in text
    assert (
        "resnet10, width 4, sees dots, trained with dots that tell the class with probability 1.0, phases 16:1" in text
    )


def data_folder(networks):
    """The folder of the files, with a cache, as every folder of data has one."""
    make_cache(networks / "out" / "c.safetensors")
    return networks / "out"


@pytest.mark.usefixtures("tiny")
def test_what_cannot_be_written_is_named(networks):
    archive = image_zip(networks / "a.zip", per_class=6, size=16)
    command = ("data", "features", archive, "--size", "16", "--out", networks, "--networks", networks)
    _, said = call(*command, "--group", "more", code=2)
    assert "holds no weights of fresh, such as fresh-resnet10-w4-seed7" in said
    path = networks / TINY[0].file(1)
    network = load_model(str(path)).network
    network.fc.bias.data[0] = 65_000.0
    network.fc.weight.data[0] = 30_000.0
    save_weights(path, network, {})
    _, said = call(*command, "--group", "tiny", code=2)
    assert f"{path.name}: logits is not finite in float16" in said


def test_layers_are_the_stem_and_all_blocks():
    assert layers_of("resnet10") == LAYERS
    assert len(layers_of("resnet18")) == 9
