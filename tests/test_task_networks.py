"""Networks on pictures: layers, sizes, activations one layer at a time, bandwidth; as representations that tasks compare."""

import sys

import numpy as np
import pytest

from semrsm_bench.metrics import cka, linear_cka
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.tasks import networks
from semrsm_bench.tasks.features import FeatureOptions
from semrsm_bench.tasks.layers import Layers
from semrsm_bench.tasks.networks import (
    LazyLayer,
    NetworkActivations,
    choose_layers,
    common_size,
    identity_bandwidth,
    load_networks,
)

torch = pytest.importorskip("torch")

from semrsm_bench.activations.models import Model  # noqa: E402
from semrsm_bench.activations.resnet import STAGES, ResNet  # noqa: E402
from tests.observing import scored  # noqa: E402
from tests.small_networks import of_one_layer  # noqa: E402


def resnet(size=64):
    torch.manual_seed(0)
    return Model("small", ResNet("resnet18", 10, 4).eval(), STAGES, size=size, weights_sha256="ab")


def pixels(n=6, side=32):
    return np.random.default_rng(0).integers(256, size=(n, side, side, 3)).astype(np.uint8)


def test_layers_by_words_and_by_name():
    model = resnet()
    assert choose_layers(model).layers == choose_layers(model, ("stages",)).layers == STAGES
    assert choose_layers(model, ("last",)).layers == ("layer4",)
    assert choose_layers(model, ("all",)).layers == tuple(f"layer{k}.{i}" for k in (1, 2, 3, 4) for i in (0, 1))
    assert choose_layers(model, ("layer2.1", "layer3", "layer3")).layers == ("layer2.1", "layer3")
    with pytest.raises(ValueError, match="hold no blocks"):
        choose_layers(of_one_layer("flat", torch.nn.Identity(), 8), ("all",))


def test_pictures_have_the_size_that_all_networks_want():
    assert common_size([resnet(64), resnet(64)]) == 64
    assert common_size([resnet(64), resnet(32)], 48) == 48
    with pytest.raises(ValueError, match="32 and 64 pixels: choose one with --size"):
        common_size([resnet(64), resnet(32)])


@pytest.mark.parametrize("together", [0, 1 << 30])
def test_activations_are_those_of_the_network_whichever_way_they_are_made(together, monkeypatch):
    monkeypatch.setattr(networks, "_TOGETHER", together)
    model, images = resnet(), pixels()
    seen = NetworkActivations(model, images)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (model.mean, model.std))
    with torch.inference_mode():
        stages, logits = model.network.stages((x - mean) / std), model.network((x - mean) / std)
    np.testing.assert_allclose(seen.activations("layer3"), stages[2].flatten(2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen.probabilities, torch.softmax(logits.double(), 1), atol=1e-6)
    assert seen.shape("layer3") == seen.activations("layer3").shape == (6, 16, 64)
    assert seen.grid("layer3") == (8, 8)


def test_of_layers_that_a_wildcard_found_those_with_positions_are_compared():
    model = choose_layers(resnet(), ("layer[34]", "f*"))
    assert model.layers == ("layer3", "layer4", "fc")
    seen = NetworkActivations(model, pixels())
    with pytest.warns(UserWarning, match=r"1 layers .* have no positions: fc"):
        assert seen.layers == ("layer3", "layer4")
    np.testing.assert_array_equal(
        seen.activations("layer4"), NetworkActivations(resnet(), pixels()).activations("layer4")
    )


def test_the_activations_used_last_stay_and_are_the_same_array(monkeypatch):
    monkeypatch.setattr(networks, "_TOGETHER", 0)
    monkeypatch.setattr(networks, "_REMEMBERED", 65_000)
    seen = NetworkActivations(resnet(), pixels())
    # 12 kB of layer4 and 49 kB of layer2 fit together; 25 kB of layer3 beside layer4 alone.
    first = seen.activations("layer4")
    second = seen.activations("layer2")
    assert first is seen.activations("layer4")
    assert not first.flags.writeable
    seen.activations("layer3")
    assert sum(a.nbytes for a in networks._held.values()) <= 65_000
    assert first is seen.activations("layer4"), "layer2 was used longest ago"
    again = seen.activations("layer2")
    assert again is not second
    np.testing.assert_array_equal(again, second)


def test_the_digest_tells_weights_and_pictures_apart():
    model, images = resnet(), pixels()
    other = images.copy()
    other[3, 2, 1, 0] ^= 1
    digests = {
        NetworkActivations(model, images).sha256,
        NetworkActivations(model, other).sha256,
        NetworkActivations(Model("small", model.network, STAGES, weights_sha256="cd"), images).sha256,
    }
    assert len(digests) == 3
    assert NetworkActivations(model, images.copy()).sha256 in digests


def test_a_layer_is_an_array_that_is_made_when_it_is_used():
    seen = NetworkActivations(resnet(), pixels())
    whole, order = seen.activations("layer4"), np.array([4, 0, 2])
    lazy = LazyLayer(seen, "layer4", np.arange(6))[order][1:]
    assert (lazy.shape, len(lazy)) == ((2, 32, 16), 2)
    np.testing.assert_array_equal(np.asarray(lazy), whole[[0, 2]])
    np.testing.assert_array_equal(np.mean(lazy, axis=2), whole[[0, 2]].mean(axis=2))


def test_logits_are_those_of_the_network_or_none():
    model, images = resnet(), pixels()
    with torch.inference_mode():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in (model.mean, model.std))
        expected = model.network((x - mean) / std)
    np.testing.assert_allclose(NetworkActivations(model, images).logits, expected, rtol=1e-4, atol=1e-5)
    assert NetworkActivations(of_one_layer("flat", torch.nn.Identity(), 8), images).logits is None


@pytest.fixture(scope="module")
def pictured(nets):
    """Untrained networks on crops that packages ship."""
    return FeatureOptions(model=tuple(nets.values()), layers=("layer3", "layer4"), size=16, count=12).read(())


def test_networks_on_pictures_are_grouped_by_architecture_and_width(pictured):
    found = {group: [network.name for network in networks] for group, networks in pictured.groups.items()}
    assert found == {"resnet10-w4": ["a", "b"], "resnet18-w4": ["deep"], "resnet10-w6": ["wide"]}
    assert len(pictured.ids) == len(set(pictured.ids)) == len(pictured.labels) == 12
    for network in pictured.networks:
        assert network.logits.shape == (12, 10)
        assert network.grids == {"layer3": (4, 4), "layer4": (2, 2)}
        np.testing.assert_allclose(
            network.pooled["layer4"], np.asarray(network.layers["layer4"]).mean(axis=2), rtol=1e-5
        )


def test_metrics_get_the_means_of_a_layer_and_composites_its_positions(pictured, nets):
    chosen = FeatureOptions(model=(nets["a"], nets["b"]), layers=("layer3", "layer4"), size=16, count=12)
    a, b = (network for network in pictured.networks if network.name in "ab")
    for case in Layers().cases(chosen):
        if case.cell["networks"] == "resnet10-w4":
            values = {name: scored(Layers(), case, name).raw["values"] for name in ("linear_cka", "cka[exact-auction]")}
    assert values["linear_cka"][1] == pytest.approx(linear_cka(a.pooled["layer3"], b.pooled["layer4"]), rel=1e-5)
    rsms = [
        compute_rsm(np.asarray(z), matching="exact-auction", kernel="linear", centring="channel")
        for z in (a.layers["layer3"], b.layers["layer4"])
    ]
    assert values["cka[exact-auction]"][1] == pytest.approx(cka(*rsms), rel=1e-5)


def test_there_are_at_most_as_many_pictures_as_are_there(nets):
    few = {"model": (nets["a"],), "layers": ("layer4",), "size": 64}
    assert len(FeatureOptions(**few, count=10_000).read(()).ids) < 1_000
    with pytest.raises(ValueError, match="layer9"):
        FeatureOptions(**{**few, "layers": ("layer9",)}, count=12).read(())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"features": ("f.npz",), "model": ("a",)}, "--model is for networks on pictures"),
        ({"features": ("f.npz",), "images": ("folder",)}, "--images is for networks on pictures"),
        ({"size": 32}, "give --model or --images"),
        ({"classes": "classes.tsv", "model": ("a",)}, "give --images too"),
    ],
)
def test_options_of_pictures_without_pictures(given, said):
    with pytest.raises(ValueError, match=said):
        FeatureOptions(**given)


@pytest.mark.parametrize("centring", ["none", "channel", "position"])
@pytest.mark.parametrize("step", [1, 1 << 24])
def test_the_bandwidth_is_that_of_the_identity_rsm(centring, step, monkeypatch):
    monkeypatch.setattr(networks, "_DISTANCE_ENTRIES", step * 60)
    rng = np.random.default_rng(0)
    z, z2 = (rng.standard_normal((n, 3, 8)).astype(np.float32) for n in (20, 40))
    for sides in ((z,), (z, z2)):
        by_rule, given = (
            compute_rsm(*sides, kernel="rbf", matching="identity", centring=centring, sigma=sigma)
            for sigma in ("offdiag_median", identity_bandwidth(*sides))
        )
        np.testing.assert_allclose(given, by_rule, rtol=1e-5)


def test_equal_images_have_no_bandwidth():
    with pytest.raises(ValueError, match="bandwidth"):
        identity_bandwidth(np.ones((5, 2, 3), dtype=np.float32))


def test_without_torch_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        ImportError, match=r"a network on pictures needs torch, .*`pip install 'semrsm-bench\[study\]'`"
    ):
        load_networks([], [])
