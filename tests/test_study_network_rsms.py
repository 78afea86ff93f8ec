"""RSMs of networks and layers: what a rearrangement of the picture does, and which layers and sizes are chosen."""

import numpy as np
import pytest
import torch
from torch import nn

from semrsm_bench.activations.models import Model
from semrsm_bench.activations.resnet import STAGES, ResNet
from semrsm_bench.studies.network_rsms import (
    SEMANTIC,
    SPATIO_SEMANTIC,
    TRANSLATION,
    How,
    choose_layers,
    common_size,
    layer_rsms,
    network_rsms,
)


class Colours(nn.Module):
    """Activations are the pixels, logits their mean: neither depends on where a colour is."""

    def __init__(self, logits=True):
        super().__init__()
        self.pixels = nn.Identity()
        self.logits = logits

    def forward(self, x):
        x = self.pixels(x)
        return x.mean((2, 3)) if self.logits else x


def colours(**options):
    return Model("colours", Colours(**options), ("pixels",), size=8)


def resnet(size=64):
    torch.manual_seed(0)
    return Model("small", ResNet("resnet18", 10, 4).eval(), STAGES, size=size)


@pytest.fixture
def rearranged():
    """Six pictures, and the same six with their pixels in another order."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(6, 8, 8, 3)).astype(np.uint8)
    flat = pixels.reshape(6, 64, 3)
    moved = np.stack([picture[rng.permutation(64)] for picture in flat]).reshape(pixels.shape)
    return np.concatenate([pixels, moved])


def test_semantic_rsms_do_not_see_a_rearrangement_and_spatio_semantic_ones_do(rearranged):
    how = How(kernels=("linear", "cosine"), translation=True)
    (network,) = network_rsms([colours()], rearranged, how, quiet=True)
    (layer,) = network.layers
    assert (layer.positions, layer.channels, layer.solver, layer.exact) == (64, 3, "exact-auction", True)
    assert list(layer.rsms) == [SPATIO_SEMANTIC, TRANSLATION, SEMANTIC]
    semantic, spatial = layer.rsms[SEMANTIC]["cosine"], layer.rsms[SPATIO_SEMANTIC]["cosine"]
    assert np.allclose(np.diagonal(semantic, 6), 1)
    assert np.allclose(semantic[:6, :6], semantic[6:, 6:])
    assert np.diagonal(spatial, 6).max() < 0.7
    assert np.allclose(network.probabilities[:6], network.probabilities[6:])
    linear = [layer.rsms[kind]["linear"] for kind in (SPATIO_SEMANTIC, TRANSLATION, SEMANTIC)]
    assert (linear[0] <= linear[1] + 1e-6).all()
    assert (linear[1] <= linear[2] + 1e-6).all()


def test_large_layers_take_the_other_solver(rearranged):
    how = How(large_solver="batch-optimal-128", large_from=63)
    (network,) = network_rsms([colours()], rearranged, how, quiet=True)
    assert (network.layers[0].solver, network.layers[0].exact) == ("batch-optimal-128", False)


def test_a_network_without_logits_has_no_probabilities(rearranged):
    (network,) = network_rsms([colours(logits=False)], rearranged, How(), quiet=True)
    assert network.probabilities is None


def test_positions_without_a_grid_have_no_translation():
    z = np.random.default_rng(0).standard_normal((4, 3, 7))
    assert list(layer_rsms("n", "l", z, None, How(translation=True)).rsms) == [SPATIO_SEMANTIC, SEMANTIC]


def test_activations_that_are_not_finite_are_named():
    with pytest.raises(ValueError, match=r"a network, a layer: .*finite"):
        layer_rsms("a network", "a layer", np.full((3, 2, 4), np.nan), (2, 2), How())


@pytest.mark.parametrize("solver", ["identity", "translation"])
def test_a_semantic_rsm_needs_a_solver(solver, rearranged):
    with pytest.raises(ValueError, match="no matching of a semantic RSM"):
        network_rsms([colours()], rearranged, How(solver=solver), quiet=True)


def test_layers_by_words_and_by_name():
    model = resnet()
    assert choose_layers(model).layers == STAGES
    assert choose_layers(model, ("last",)).layers == ("layer4",)
    assert choose_layers(model, ("all",)).layers == tuple(f"layer{k}.{i}" for k in (1, 2, 3, 4) for i in (0, 1))
    assert choose_layers(model, ("layer2.1", "layer3")).layers == ("layer2.1", "layer3")
    with pytest.raises(ValueError, match="no submodule 'layer7'"):
        choose_layers(model, ("layer7",))
    with pytest.raises(ValueError, match="hold no blocks"):
        choose_layers(colours(), ("all",))


def test_pictures_have_the_size_that_all_networks_want():
    assert common_size([resnet(64), resnet(64)]) == 64
    assert common_size([resnet(64), resnet(32)], 48) == 48
    with pytest.raises(ValueError, match="32 and 64 pixels: choose one with --size"):
        common_size([resnet(64), resnet(32)])
