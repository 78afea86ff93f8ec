"""CKA of semantic and spatio-semantic RSMs: theorems, planted rearrangements, intervals, the command, bad input."""

import numpy as np
import pandas as pd
import pytest
import torch

from semrsm_bench.activations.locate import shipped_weights
from semrsm_bench.activations.models import Model
from semrsm_bench.activations.resnet import STAGES, ResNet
from semrsm_bench.cli import main
from semrsm_bench.metrics import cka as cka_of_two
from semrsm_bench.metrics import linear_rsm
from semrsm_bench.studies.cka import cka, sentence
from semrsm_bench.studies.cka_comparison import ALIKE, UNLIKE, architecture_relations, compare, same_layers
from semrsm_bench.studies.cka_figures import draw_across, draw_own, draw_within
from semrsm_bench.studies.cka_tables import across_table, own_table, within_table
from semrsm_bench.studies.cka_values import Estimate, all_cka, chance_level, negative_share
from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC, How, LayerRsms, layer_rsms
from semrsm_bench.studies.study import read_study

N = 16


@pytest.fixture(scope="module")
def activations():
    """A mean per position that all images share, and something of their own."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((1, 3, 9)) + rng.standard_normal((N, 3, 9))


def moved(z, seed=1):
    """Every image with its positions in an order of its own."""
    rng = np.random.default_rng(seed)
    return np.stack([image[:, rng.permutation(z.shape[2])] for image in z])


def comparison_of(first, second, centring="channel", estimator="debiased", kernel="linear"):
    how = How(kernels=(kernel,), centring=centring)
    return compare([layer_rsms(n, "last", z, (3, 3), how) for n, z in (("a", first), ("b", second))], kernel, estimator)


@pytest.mark.parametrize("centring", ["none", "channel"])
@pytest.mark.parametrize("kernel", ["linear", "cosine", "rbf"])
def test_semantic_cka_does_not_see_rearranged_positions_and_spatio_semantic_cka_does(activations, centring, kernel):
    found = comparison_of(activations, moved(activations), centring, kernel=kernel)
    # The bandwidth is the median over both RSMs of a layer, of which one has changed.
    assert found.between(0, 1, SEMANTIC).value == pytest.approx(1, abs=1e-3 if kernel == "rbf" else 1e-6)
    assert found.between(0, 1, SPATIO_SEMANTIC).value < 0.9
    assert found.change(0, 1).value > 0.1


def test_centring_by_position_breaks_that_invariance(activations):
    found = comparison_of(activations, moved(activations), "position")
    assert found.between(0, 1, SEMANTIC).value < 0.98


@pytest.mark.parametrize("estimator", ["biased", "debiased"])
def test_centring_does_not_change_linear_cka_of_spatio_semantic_rsms(activations, estimator):
    """All centrings change a linear RSM by u 1' + 1 u' only, which CKA takes away."""
    other = activations[::-1] ** 2 + activations
    values = [
        comparison_of(activations, other, centring, estimator).between(0, 1, SPATIO_SEMANTIC).value
        for centring in ("none", "channel", "position")
    ]
    assert values == pytest.approx([values[0]] * 3)


@pytest.mark.parametrize("estimator", ["biased", "debiased"])
def test_all_values_are_those_of_pairs_with_images_left_out(activations, estimator):
    found = comparison_of(activations, activations**3, estimator=estimator)
    first, second = (layer.rsms for layer in found.layers)
    K, L = first[SEMANTIC]["linear"], second[SPATIO_SEMANTIC]["linear"]
    estimate = found.cka[2, 1]
    assert estimate.value == pytest.approx(cka_of_two(K, L, estimator))
    for i in (0, N - 1):
        kept = np.delete(np.arange(N), i)
        assert estimate.without[i] == pytest.approx(cka_of_two(K[np.ix_(kept, kept)], L[np.ix_(kept, kept)], estimator))
    own = cka_of_two(first[SEMANTIC]["linear"], first[SPATIO_SEMANTIC]["linear"], estimator)
    assert found.own(0).value == pytest.approx(own)


def test_the_interval_has_the_width_of_the_spread_over_samples():
    """Fresh images each time: the deviation of debiased CKA over samples, against what one sample's jackknife says."""
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((6, 6))
    values, widths = [], []
    for _ in range(80):
        x = rng.standard_normal((40, 6)) * np.array([2, 1.5, 1, 1, 1, 1])
        y = x @ mixing + 2 * rng.standard_normal((40, 6))
        estimate = all_cka([linear_rsm(x), linear_rsm(y)], "debiased", quiet=True)[0, 1]
        values.append(estimate.value)
        widths.append((estimate.interval.high - estimate.interval.low) / 2 / 1.96)
    assert np.median(widths) == pytest.approx(np.std(values), rel=0.35)


def test_differences_of_estimates_are_paired():
    one = Estimate(0.9, np.array([0.8, 0.9, 1.0]))
    other = Estimate(0.6, np.array([0.5, 0.6, 0.7]))
    assert (one - other).interval == pytest.approx((0.3, 0.3, 0.3))
    assert Estimate.mean([one, other]).value == pytest.approx(0.75)
    # (n - 1) / n * sum of squares = 2 / 3 * 0.02.
    assert one.interval.high - 0.9 == pytest.approx(1.96 * np.sqrt(0.04 / 3), abs=1e-4)
    assert np.isnan(Estimate.mean([]).value)


def test_the_most_negative_eigenvalue_of_what_is_left_after_centring():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.column_stack([np.ones(6), rng.standard_normal((6, 5))]))[0]
    rsm = basis @ np.diag([50.0, 4, 2, 1, 0.5, -1]) @ basis.T
    assert negative_share(rsm) == pytest.approx(-0.25)
    assert negative_share(linear_rsm(rng.standard_normal((8, 3)))) == 0
    with pytest.raises(ValueError, match="constant"):
        negative_share(np.ones((4, 4)))


def test_chance_is_near_zero_for_the_debiased_estimator_and_far_above_for_the_biased():
    rng = np.random.default_rng(0)
    pairs = [tuple(linear_rsm(x) for x in rng.standard_normal((2, 30, 200)))]
    assert chance_level(pairs, "debiased", 50) < 0.15
    assert chance_level(pairs, "biased", 50) > 0.8
    assert chance_level(pairs, "debiased", 50, 1) == chance_level(pairs, "debiased", 50, 1)


def swapped(found):
    layers = [
        LayerRsms(
            one.network, one.layer, one.positions, one.channels, one.solver, one.exact,
            {SPATIO_SEMANTIC: one.rsms[SEMANTIC], SEMANTIC: one.rsms[SPATIO_SEMANTIC]},
        )
        for one in found.layers
    ]  # fmt: skip
    return compare(layers, found.kernel, "debiased")


def test_the_sentence_follows_the_figures(activations):
    relations = {("a", "b"): ALIKE}
    up = comparison_of(activations, moved(activations))
    assert "rises between layers of one name in networks of the same architecture" in sentence(up, relations)
    assert "falls between layers of one name in networks" in sentence(swapped(up), relations)
    same = comparison_of(activations, activations)
    assert "does not change clearly between layers" in sentence(same, relations)
    alone = compare(up.layers[:1], "linear", "debiased")
    assert sentence(alone, {}).startswith("The CKA of a layer's semantic with its spatio-semantic RSM goes from")


def test_networks_are_alike_by_the_shapes_of_their_parameters():
    def model(name, architecture, seed):
        torch.manual_seed(seed)
        return Model(name, ResNet(architecture, 5, 4), STAGES)

    relations = architecture_relations(
        [model("a", "resnet10", 0), model("b", "resnet10", 1), model("c", "resnet18", 0)]
    )
    assert relations == {("a", "b"): ALIKE, ("a", "c"): UNLIKE, ("b", "c"): UNLIKE}


def layered(activations, names):
    how = How()
    return [
        layer_rsms(network, layer, activations ** (k + 1), (3, 3), how)
        for network, layers in names.items()
        for k, layer in enumerate(layers)
    ]


def test_only_layers_of_one_name_are_compared_across_networks(activations):
    found = compare(layered(activations, {"a": ["x", "y"], "b": ["y", "z"]}), "linear", "debiased")
    relations = {("a", "b"): UNLIKE}
    assert same_layers(found, relations) == {(UNLIKE, "y"): [(1, 2)]}
    (row,) = across_table(found, relations, "debiased", 20, 0).rows
    assert row[:3] == [UNLIKE, "y", 1]
    assert row[3] == pytest.approx(found.between(1, 2, SPATIO_SEMANTIC).value)
    assert len(within_table(found).rows) == 2
    assert len(own_table(found).rows) == 4


def test_figures_of_many_layers_and_of_one_network(activations):
    many = compare(layered(activations, {"a": [f"l{k}" for k in range(12)]}), "linear", "debiased")
    assert draw_across(many) == []
    for drawing in (draw_own(many), draw_within(many)):
        drawing.figure.canvas.draw()
        assert drawing.alt


def test_quick_on_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["study", "cka", "--quick", "--quiet", "--jobs", "1"])
    assert end.value.code == 0
    folder = tmp_path / "results/studies/cka"
    content = read_study(folder)
    rows = pd.read_csv(folder / "rows.csv")
    # Four networks of two layers: every layer with itself, every pair by two kinds and their difference.
    assert len(rows) == 8 + 3 * (8 * 7 // 2)
    assert set(rows["relation"]) == {"same network", ALIKE, UNLIKE}
    values = rows[rows["what"] != "difference"]
    assert values["cka"].between(-1, 1 + 1e-9).all()
    assert len(content["figures"]) == 3
    assert all((folder / figure["file"]).stat().st_size > 10_000 for figure in content["figures"])
    assert "mean CKA" in content["sentence"]
    assert str(tmp_path) not in (folder / "study.json").read_text()


def test_each_kernel_has_its_figures():
    result = cka(
        models=[str(shipped_weights())], layers=["layer4"], count=10, how=How(kernels=("linear", "rbf")), quiet=True
    )
    assert {row["kernel"] for row in result.rows} == {"linear", "rbf"}
    assert len(result.drawings) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "9"], "at least 10 pictures"),
        (["--count", "100000"], "the installed photographs give"),
        (["--images", "nowhere.zip"], "does not exist"),
        (["--layers", "layer2,layer9"], "no submodule 'layer9'"),
        (["--matching", "batch-optimal-12"], "did you mean 'batch-optimal-"),
        (["--large-matching", "translation"], "no matching of a semantic RSM"),
        (["--estimator", "unbiased"], "'unbiased' is not one of"),
        (["--centring", "batch"], "'batch' is not one of"),
        (["--model", "nowhere.safetensors"], "no such checkpoint"),
    ],
)
def test_bad_input_ends_in_one_message(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["study", "cka", "--quick", "--quiet", "--model", str(shipped_weights()), *arguments])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "results").exists()
