"""Networks of the family: torchvision's names and sizes, and state dicts that say which network they are."""

import pytest
import torch

from semrsm_bench.activations.resnet import ARCHITECTURES, STAGES, ResNet, resnet_from_state

# Published parameter counts of torchvision's models (1000 classes, 7x7 stem); ours differ by the stem alone.
TORCHVISION_PARAMETERS = {
    "resnet10": 5_418_792,  # its ResNet(BasicBlock, [1, 1, 1, 1])
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
}
STEM_DIFFERENCE = 64 * 3 * (7 * 7 - 3 * 3)


def test_key_names_are_torchvisions():
    plain, bottleneck = ResNet("resnet18").state_dict(), ResNet("resnet50").state_dict()
    assert (len(plain), len(bottleneck)) == (122, 320)
    stem = {"conv1.weight", "bn1.running_mean", "fc.weight", "fc.bias"}
    assert stem | {"layer1.1.bn2.bias", "layer2.0.downsample.1.num_batches_tracked", "layer4.1.conv2.weight"} <= set(
        plain
    )
    assert "layer1.0.downsample.0.weight" not in plain
    assert bottleneck["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert bottleneck["layer3.5.conv3.weight"].shape == (1024, 256, 1, 1)
    # torchvision puts the stride on the 3x3 convolution.
    assert ResNet("resnet50").layer2[0].conv2.stride == (2, 2)


@pytest.mark.parametrize(("name", "expansion"), [("resnet18", 1), ("resnet50", 4)])
def test_stages_have_the_four_sizes(name, expansion):
    network = ResNet(name, num_classes=7, width=8).eval()
    x = torch.randn(2, 3, 64, 64)
    stages = network.stages(x)
    for k, stage in enumerate(stages):
        assert stage.shape == (2, 8 * 2**k * expansion, 64 // 2**k, 64 // 2**k)
    pooled = stages[-1].mean(dim=(2, 3))
    torch.testing.assert_close(network(x), pooled @ network.fc.weight.T + network.fc.bias)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_are_torchvisions_but_for_the_stem_and_their_state_says_which_network_it_is(name):
    network = ResNet(name, num_classes=1000)
    assert sum(p.numel() for p in network.parameters()) == TORCHVISION_PARAMETERS[name] - STEM_DIFFERENCE
    state = ResNet(name, num_classes=5, width=4).state_dict()
    again = resnet_from_state({k: v.half() if v.is_floating_point() else v for k, v in state.items()})
    assert (again.architecture, again.width, again.fc.out_features) == (name, 4, 5)
    for key, value in again.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda state: {"weight": torch.zeros(1)},
            r"another architecture: expected .*fc\.weight, found 1 tensors: weight \(1,\)",
        ),
        (lambda state: {**state, "conv1.weight": torch.zeros(4, 3, 7, 7)}, "7x7"),
        (lambda state: {k: v for k, v in state.items() if not k.startswith(STAGES[3])}, "no network of this family"),
        (lambda state: {k: v for k, v in state.items() if k != "layer1.0.bn1.bias"}, "does not fit"),
    ],
)
def test_a_stranger_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        resnet_from_state(change(ResNet("resnet18", width=4).state_dict()))
    with pytest.raises(ValueError, match="unknown architecture 'resnet19'"):
        ResNet("resnet19")
