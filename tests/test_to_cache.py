"""From networks and images to caches: what the hooks read, the layers and weights that are accepted, and the choice of images."""

import hashlib

import numpy as np
import pytest
import torch

from semrsm_bench.activations.images import find_images, load_images
from semrsm_bench.activations.models import Model, load_model, to_input, with_layers
from semrsm_bench.activations.reader import activations_of
from semrsm_bench.activations.resnet import ResNet, load_weights, save_weights
from semrsm_bench.activations.store import open_cache
from semrsm_bench.activations.to_cache import extract_to_cache
from tests.image_files import image_zip
from tests.small_networks import TinyViT


@pytest.fixture
def images(tmp_path):
    return find_images([image_zip(tmp_path / "a.zip", per_class=6)])


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_weights(tmp_path / "net.safetensors", ResNet("resnet18", 3, width=4), {"top1": None})
    return tmp_path / "net.safetensors"


def test_the_cache_holds_what_the_network_computes(tmp_path, images, weights, monkeypatch):
    # Three batches: of kept images, of both kinds, and of others.
    monkeypatch.setattr("semrsm_bench.activations.reader._BATCH", 4)
    keep = [1, 4, 9, 0, 11, 7]
    model = load_model(str(weights))
    out, provenance = tmp_path / "c.safetensors", {"dataset": "d", "command": "cmd"}
    metadata = extract_to_cache(model, images, out, keep=keep, mean_images=12, provenance=provenance)
    cache = open_cache(tmp_path / "c.safetensors")
    pixels = to_input(torch.from_numpy(load_images(images, 64)))
    with torch.no_grad():
        stages, logits = model.network.stages(pixels), model.network(pixels)
    assert cache.images == [images[i].name for i in keep]
    np.testing.assert_array_equal(cache.labels, [images[i].label for i in keep])
    np.testing.assert_allclose(cache.logits, logits[keep].numpy(), rtol=1e-4, atol=1e-4)
    for name, stage in zip(("layer1", "layer2", "layer3", "layer4"), stages):
        flat = stage.flatten(2).numpy()
        assert cache.grid(name) == tuple(stage.shape[2:])
        np.testing.assert_allclose(cache.activations(name, slice(None)), flat[keep], rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(cache.mean(name), flat.mean(axis=0), rtol=1e-4, atol=1e-4)
    assert metadata["mean_images"] == 12
    assert cache.metadata["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert cache.metadata.items() >= {**provenance, "model": "net"}.items()


def test_a_layer_before_an_activation_in_place_is_read_before_it(images):
    # The ReLU after bn1 works in place: what the hook saw must have been kept before.
    torch.manual_seed(0)
    network = ResNet("resnet10", 3, width=4).eval()
    pixels = load_images(images[:2])
    found = activations_of(Model("net", network, ("bn1",)), pixels).layers["bn1"]
    with torch.no_grad():
        expected = network.bn1(network.conv1(to_input(torch.from_numpy(pixels)))).flatten(2)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert (found < 0).any()


@pytest.mark.parametrize(("drop", "positions"), [(None, 16), (0, 17), (1, 16)])
def test_tokens_of_a_named_layer_become_positions(tmp_path, images, drop, positions):
    model = with_layers(Model("vit", TinyViT(), (), drop_tokens=drop), ["block"])
    extract_to_cache(model, images[:2], tmp_path / "c.safetensors")
    cache = open_cache(tmp_path / "c.safetensors")
    assert cache.shape("block") == (2, 8, positions)
    assert cache.grid("block") == ((4, 4) if positions == 16 else None)
    with torch.no_grad():
        patches = model.network.patch(to_input(torch.from_numpy(load_images(images[:2])))).flatten(2).numpy()
    np.testing.assert_allclose(cache.activations("block", slice(None))[:, :, -16:], patches, atol=1e-2)


def test_pictures_have_the_size_that_training_ended_with(tmp_path, weights):
    assert load_model(str(weights)).size == 64
    network = load_model(str(weights)).network
    save_weights(tmp_path / "small.safetensors", network, {"recipe": {"phases": [[16, 5], [32, 2]]}})
    assert load_model(str(tmp_path / "small.safetensors")).size == 32


def test_layers_must_exist_and_have_positions(tmp_path, images, weights):
    assert load_model(str(weights), ["layer2.0.conv1"]).layers == ("layer2.0.conv1",)
    with pytest.raises(ValueError, match="name layers with --layers; at the top are patch, block, head"):
        with_layers(Model("vit", TinyViT(), ("layer1",)))
    with pytest.raises(ValueError, match=r"layer 'head' returns \(2, 4\): needed are maps"):
        extract_to_cache(Model("vit", TinyViT(), ("head",)), images[:2], tmp_path / "c.safetensors")


def test_of_layers_that_a_wildcard_found_those_without_positions_are_left_out_and_counted(tmp_path, images):
    network = TinyViT()
    network.spare = torch.nn.Identity()
    model = with_layers(Model("vit", network, ()), ["*"])
    words = r"^2 layers that the wildcards of --layers found have no positions: head \(\(2, 4\)\), spare \(never runs\); they are"
    with pytest.warns(UserWarning, match=words):
        extract_to_cache(model, images[:2], tmp_path / "c.safetensors")
    assert open_cache(tmp_path / "c.safetensors").layers == ["patch", "block"]
    with pytest.raises(ValueError, match=r"1 layers .* head \(\(2, 4\)\), and none is left"):
        extract_to_cache(with_layers(model, ["h*"]), images[:2], tmp_path / "c.safetensors")
    # Who names one wants it.
    with pytest.raises(ValueError, match=r"layer 'head' returns \(2, 4\): needed are maps"):
        extract_to_cache(with_layers(model, ["*", "head"]), images[:2], tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match="layer 'spare' of vit never ran"):
        extract_to_cache(with_layers(model, ["*", "spare"]), images[:2], tmp_path / "c.safetensors")


def test_checkpoints_of_every_accepted_kind(tmp_path, weights):
    state = load_weights(weights)
    parallel = {f"module.{k}": v for k, v in state.items()}
    for content in (state, {"state_dict": state, "epoch": 3}, parallel):
        torch.save(content, tmp_path / "net.pt")
        assert load_weights(tmp_path / "net.pt").keys() == state.keys()


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bad.safetensors", b"1234", "not a readable"),
        ("net.bin", b"1234", "must be"),
        ("numbers.pt", {"a": 1}, "state dict of tensors"),
        (
            "trap.pt",
            Trap(),
            r"holds a pickled Python object \(.*print\), .*: save its weights, torch.save\(network.state_dict",
        ),
        ("module.pt", torch.nn.Linear(2, 3), r"object \(torch.nn.modules.linear.Linear\), .* by module:PACKAGE.MODULE"),
        ("cut.pt", b"PK\3\4", "cut.pt: cannot be read .*; write or copy it again"),
        ("absent.safetensors", None, "no such checkpoint .* nor one of hf:NAME, timm:NAME"),
        (
            "vit.pt",
            {"blocks.0.norm1.weight": torch.ones(8)},
            r"vit\.pt: a state dict of another architecture: expected conv1",
        ),
        ("vit.pt", {"blocks.0.norm1.weight": torch.ones(8)}, r"found 1 tensors: blocks\.0\.norm1\.weight \(8,\)"),
        (
            "flat.pt",
            {"fc.weight": torch.ones(3, 4), "conv1.weight": torch.ones(8)},
            "a state dict of another architecture",
        ),
    ],
)
def test_bad_checkpoints_are_named(tmp_path, capsys, name, content, words):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_model(str(tmp_path / name))
    assert not capsys.readouterr().out
