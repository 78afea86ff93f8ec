"""Layer identification: composites, planted rearrangements, credit by hand, intervals, and the shipped networks."""

import numpy as np
import pytest

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import interval_of, jackknife_draws
from semrsm_bench.core.task import Answer, Case, Result
from semrsm_bench.metrics import cka, linear_cka, linear_rsm
from semrsm_bench.metrics.registry import get_metric
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.tasks.layers import ACROSS, ALIKE, ITSELF, SAME_WIDTH, WITHIN, Layer, Layers
from tests.observing import answer, options, result, scored

N = 16
TASK = Layers()


@pytest.fixture(scope="module")
def activations():
    """A mean per position that all images share, and something of their own."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((1, 3, 9)) + rng.standard_normal((N, 3, 9))).astype(np.float32)


def moved(z, seed=1):
    """Every image with its positions in an order of its own."""
    rng = np.random.default_rng(seed)
    return np.stack([image[:, rng.permutation(z.shape[2])] for image in z])


def value(name, zx, zy, **settings):
    inputs = {"x": zx.mean(axis=2), "y": zy.mean(axis=2), "zx": zx, "zy": zy}
    return answer("metric", name, inputs, {"centring": "channel", **settings})["arrays"]


# Composites


@pytest.mark.parametrize("centring", ["none", "channel"])
@pytest.mark.parametrize("kernel", ["linear", "cosine", "rbf"])
def test_semantic_cka_does_not_see_rearranged_positions_and_that_of_the_identity_does(activations, centring, kernel):
    pair = activations, moved(activations)
    semantic = value(f"cka_debiased[exact-auction,{kernel}]", *pair, centring=centring)["value"][0]
    identity = value(f"cka_debiased[identity,{kernel}]", *pair, centring=centring)["value"][0]
    assert semantic == pytest.approx(1, abs=1e-6)
    assert identity < 0.9


def test_centring_by_position_breaks_that_invariance(activations):
    found = value("cka_debiased[exact-auction]", activations, moved(activations), centring="position")
    assert found["value"][0] < 0.98


@pytest.mark.parametrize("estimator", ["cka", "cka_debiased"])
def test_centring_does_not_change_linear_cka_of_the_identity(activations, estimator):
    """All centrings change a linear RSM by u 1' + 1 u' only, which CKA takes away."""
    other = activations[::-1] ** 2 + activations
    values = [
        value(f"{estimator}[identity]", activations, other, centring=centring)["value"][0]
        for centring in ("none", "channel", "position")
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-4)


def test_a_composite_of_two_rsm_methods_takes_one_on_each_side(activations):
    other = activations**3
    found = value("cka[identity|exact-auction]", activations, other)
    rsms = [compute_rsm(z, matching=["identity", "exact-auction"], centring="channel") for z in (activations, other)]
    assert found["value"][0] == pytest.approx(cka(rsms[0]["identity"], rsms[1]["exact-auction"]))
    assert found["value_yx"][0] == pytest.approx(cka(rsms[1]["identity"], rsms[0]["exact-auction"]))


@pytest.mark.parametrize("name", ["cka_debiased", "linear_cka_debiased", "cka_debiased[exact-auction]"])
def test_values_without_each_picture_and_with_pictures_reordered(activations, name):
    other = activations**3
    found = value(name, activations, other, leave_one_out=True)
    without = [value(name, np.delete(activations, i, 0), np.delete(other, i, 0))["value"][0] for i in (0, N - 1)]
    # Centring by channel is by the mean of the pictures that are there.
    assert found["without"][[0, N - 1]] == pytest.approx(without, abs=0.01 if "[" in name else 1e-9)
    order = np.random.default_rng(7).permutation(N)
    permuted = value(name, activations, other, permuted=7)["value"][0]
    assert permuted == pytest.approx(value(name, activations, other[order])["value"][0])
    assert permuted < found["value"][0] - 0.1


def test_the_jackknife_has_the_width_of_the_spread_over_samples():
    """Fresh images each time: the deviation of debiased CKA over samples, against what one sample's jackknife says."""
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((6, 6))
    values, widths = [], []
    for _ in range(80):
        x = rng.standard_normal((40, 6)) * np.array([2, 1.5, 1, 1, 1, 1])
        y = x @ mixing + 2 * rng.standard_normal((40, 6))
        found = answer("metric", "linear_cka_debiased", {"x": x, "y": y}, {"leave_one_out": True})["arrays"]
        interval = interval_of(np.r_[found["value"][0], found["without"]], "jackknife")
        values.append(interval.value)
        widths.append((interval.high - interval.low) / 2 / 1.96)
    assert np.median(widths) == pytest.approx(np.std(values), rel=0.35)


def test_features_go_to_metrics_of_rsms_as_linear_rsms(activations):
    x, y = activations.mean(axis=2), (activations**3).mean(axis=2)
    assert value("cka", activations, activations**3)["value"][0] == pytest.approx(cka(linear_rsm(x), linear_rsm(y)))


# Scores of one case


class Seen:
    """A network that is nothing but its activations."""

    def __init__(self, name, shapes, seed=0):
        rng = np.random.default_rng(seed)
        self.name, self.sha256 = name, "ab" * 32
        self._z = {layer: rng.standard_normal((N, *shape)).astype(np.float32) for layer, shape in shapes.items()}
        self.layers = tuple(shapes)

    def shape(self, layer):
        return self._z[layer].shape

    def grid(self, layer):
        return None

    def activations(self, layer):
        return self._z[layer]


@pytest.fixture
def case():
    seen = Seen("net", {"a": (4, 9), "b": (6, 4)})
    sides = Layer(seen, "a", 0), Layer(seen, "b", 1)
    return Case("net/a/net/b", {}, lambda: {"x": sides[0].pooled, "y": sides[1].pooled}, known=(sides, False))


def judged(case, values, back=None, low=0, high=1):
    declared = Declaration("metric", "m", facts={"range": [low, high], "best": "max", "takes": "features"})
    arrays = {"value": np.array(values, float), "value_yx": np.array([values[0] if back is None else back], float)}
    return TASK.score(case, {}, Answer(arrays), None, declared)


def test_a_row_says_which_layers_were_compared(case):
    found = judged(case, [0.5, 0.5 + 1e-9], 0.25)
    assert found.scores == {"value": 0.5}
    assert found.raw == {
        "value_yx": 0.25, "best": "max", "same": False, "network": "net", "layer": "a", "place": 0, "channels": 4,
        "positions": 9, "other_network": "net", "other_layer": "b", "other_place": 1, "other_channels": 6,
        "other_positions": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "back", "limits", "said"),
    [
        ([1.2], None, (0, 1), "outside of its range, 0 to 1"),
        ([0.5], -0.1, (0, 1), "-0.1 is outside"),
        ([-3.0], None, (-1, None), "outside of its range, -1 to inf"),
        ([0.5, 0.6], None, (0, 1), "in another order on both sides it gave 0.6, not 0.5"),
        ([0.5, np.nan], None, (0, 1), "in another order"),
    ],
)
def test_values_that_cannot_be_are_invalid(case, values, back, limits, said):
    found = judged(case, values, back, *limits)
    assert found.status == "invalid"
    assert said in found.message


def test_what_is_undefined_is_no_value_and_no_fault(case):
    found = judged(case, [np.nan, np.nan])
    assert (found.status, found.scores) == ("ok", {"value": None})
    assert np.isnan(found.raw["value_yx"])
    given = answer("metric", "cca", {"x": np.eye(6)[:, :5], "y": np.eye(6)[:, :5]})
    assert np.isnan(given["arrays"]["value"]).all()
    assert "use more stimuli than units" in given["info"]["undefined"]


# Aggregation


def row(a, b, value, back=None, *, best="max", order="channel"):
    """A row that compares layers such as "A1" and "B2"; the same digit is the same layer."""
    raw = {"network": a[0], "layer": a[1], "other_network": b[0], "other_layer": b[1], "same": a[1] == b[1]}
    raw |= {"best": best, "value_yx": value if back is None else back}
    units = {"network": tuple(dict.fromkeys((a[0], b[0])))}
    return Result(f"{a}/{b}/{order}", {}, units, {"value": value}, raw)


def aggregated(rows, draws=None, units="AB"):
    found = TASK.aggregate(rows, np.ones((1, len(units))) if draws is None else np.array(draws, float), list(units))
    return {name: values.tolist() for name, values in found.items()}


def test_identification_by_hand_in_both_directions():
    # A1 is nearest to B1, A2 to B1; B1 to A2, B2 to A2.
    rows = [row("A1", "B1", 0.8), row("A1", "B2", 0.1), row("A2", "B1", 0.9), row("A2", "B2", 0.7)]
    found = aggregated(rows)
    assert found["identification"] == [pytest.approx((1 / 2 + 1 / 2) / 2)]
    assert found["same"] == [pytest.approx(0.75)]
    assert found["value"] == [pytest.approx(2.5 / 4)]
    distances = [row(r.raw["network"] + r.raw["layer"], r.raw["other_network"] + r.raw["other_layer"],
                     1 - r.scores["value"], best="min") for r in rows]  # fmt: skip
    assert aggregated(distances)["identification"] == found["identification"]


def test_each_direction_has_its_own_values():
    rows = [row("A1", "B1", 0.9, 0.1), row("A1", "B2", 0.2, 0.8), row("A2", "B1", 0.1, 0.9), row("A2", "B2", 0.8, 0.2)]
    # From A all is right; from B all is wrong.
    assert aggregated(rows)["identification"] == [pytest.approx(0.5)]


def test_ties_share_the_credit_and_what_is_undefined_earns_none():
    tied = [row(f"A{i}", f"B{j}", 0.5) for i in range(4) for j in range(4)]
    assert aggregated(tied)["identification"] == [pytest.approx(1 / 4)]
    undefined = [row(f"A{i}", f"B{j}", None) for i in range(2) for j in range(2)]
    assert aggregated(undefined)["identification"] == [0.0]
    # Only the right one is undefined: the layers are not found.
    half = [row(f"A{i}", f"B{j}", None if i == j else 0.1) for i in range(2) for j in range(2)]
    assert aggregated(half)["identification"] == [0.0]


def test_draws_of_networks_weigh_pairs_and_drop_what_was_not_drawn():
    rows = [
        *(row(f"A{i}", f"B{j}", float(i == j)) for i in range(2) for j in range(2)),
        *(row(f"A{i}", f"C{j}", float(i != j)) for i in range(2) for j in range(2)),
    ]
    draws = [[1, 1, 1], [1, 2, 1], [1, 0, 1], [0, 1, 1], [3, 0, 0]]
    found = aggregated(rows, draws, "ABC")["identification"]
    assert found[:3] == pytest.approx([1 / 2, 2 / 3, 0])
    assert np.isnan(found[3:]).all()
    assert aggregated(rows, jackknife_draws(3), "ABC")["identification"][3] == 1


def test_reorderings_are_identified_apart_and_layers_without_a_partner_not_at_all():
    rows = [
        *(row(f"A{i}", f"B{j}", float(i == j), order="permuted-0") for i in range(2) for j in range(2)),
        *(row(f"A{i}", f"B{j}", float(i != j), order="permuted-1") for i in range(2) for j in range(2)),
    ]
    assert aggregated(rows)["identification"] == [pytest.approx(0.5)]
    lonely = [row("A1", "B1", 0.5), row("A1", "B9", 0.1), row("A7", "B1", 0.4), row("A7", "B9", 0.9)]
    assert aggregated(lonely)["identification"] == [1.0]
    assert "identification" not in aggregated([row("A1", "B2", 0.3)])
    # A single candidate is no choice.
    assert "identification" not in aggregated([row("A1", "B1", 0.3)])


def test_pairs_within_a_network_are_averaged():
    found = aggregated([row("A1", "A2", 0.2), row("A1", "A3", 0.6), row("B1", "B2", 0.1)], [[1, 1], [2, 0]])
    assert found == {"value": [pytest.approx(0.3), pytest.approx(0.4)]}


# Networks

torch = pytest.importorskip("torch")

from semrsm_bench.activations.resnet import ResNet, save_weights  # noqa: E402


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Untrained networks: two alike, a deeper one of their width, a wider one."""
    folder = tmp_path_factory.mktemp("networks")
    made = {"a": ("resnet10", 4), "b": ("resnet10", 4), "deep": ("resnet18", 4), "wide": ("resnet10", 6)}
    for k, (name, (architecture, width)) in enumerate(made.items()):
        torch.manual_seed(k)
        save_weights(folder / f"{name}.weights.safetensors", ResNet(architecture, 10, width), {})
    return {name: str(folder / f"{name}.weights.safetensors") for name in made}


@pytest.fixture(scope="module")
def cases(nets):
    return list(TASK.cases(options(TASK, model=tuple(nets.values()), layers=("layer3", "layer4"), count=12, size=16)))


def test_all_pairs_of_layers_are_cases_grouped_by_what_the_networks_share(cases):
    by_group = {}
    for case in cases:
        by_group.setdefault((case.cell["networks"], case.cell["pictures"]), []).append(case)
    counts = {key: len(found) for key, found in by_group.items()}
    assert counts == {
        (ITSELF, "matched"): 8, (WITHIN, "matched"): 4,
        (ALIKE, "matched"): 4, (ALIKE, "permuted"): 4,
        (SAME_WIDTH, "matched"): 8, (SAME_WIDTH, "permuted"): 8,
        (ACROSS, "matched"): 12, (ACROSS, "permuted"): 12,
    }  # fmt: skip
    assert len({case.name for case in cases}) == len(cases)
    assert {case.units["network"] for case in by_group[ALIKE, "matched"]} == {("a", "b")}
    assert {case.units["network"] for case in by_group[WITHIN, "matched"]} == {("a",), ("b",), ("deep",), ("wide",)}
    for case in cases:
        first, second = case.known[0]
        assert case.known[1] == (first.name == second.name and case.cell["networks"] != WITHIN)
        assert case.size == max(first.shape[2], second.shape[2])


def test_layers_share_their_arrays_and_positions_are_made_only_for_those_who_ask(cases):
    found = {}
    for case in cases:
        arrays = case.inputs()
        assert callable(arrays["zx"])
        for side, layer in zip("xy", case.known[0]):
            assert found.setdefault(layer.path, arrays[side]) is arrays[side]
            assert arrays[side].shape == layer.shape[:2]
    first, second = cases[0].inputs(), cases[2].inputs()
    np.testing.assert_allclose(first["zx"]().mean(axis=2), first["x"], rtol=1e-5, atol=1e-6)
    assert first["zx"]() is second["zx"]()


@pytest.mark.parametrize("name", ["width", "spectrum", "linear_cka_debiased"])
def test_reordered_pictures_take_away_what_real_metrics_see_and_nothing_from_baselines(cases, name):
    found = {}
    for case in cases:
        if case.cell["networks"] == ALIKE:
            found.setdefault(case.cell["pictures"], []).append(result(case, scored(TASK, case, name)))
    scores = {
        pictures: {k: float(v[0]) for k, v in TASK.aggregate(rows, np.ones((1, 2)), ["a", "b"]).items()}
        for pictures, rows in found.items()
    }
    if name == "linear_cka_debiased":
        assert scores["permuted"]["same"] < scores["matched"]["same"] - 0.2
    else:
        assert scores["permuted"] == pytest.approx(scores["matched"], rel=1e-5)
    if name == "width":
        assert scores["matched"]["identification"] == 1


def test_values_are_those_of_the_pooled_features(cases):
    for case in cases[:3]:
        x, y = (layer.pooled for layer in case.known[0])
        assert scored(TASK, case, "linear_cka").scores["value"] == pytest.approx(linear_cka(x, y))
        found = scored(TASK, case, "pwcca")
        if found.scores["value"] is not None:
            assert found.raw["value_yx"] == pytest.approx(get_metric("pwcca").run(y, x))


def test_rbf_rsms_of_one_layer_share_a_bandwidth(cases):
    """With one sigma the semantic RBF RSM is nowhere below that of the identity; with one each it would be."""
    case = next(c for c in cases if c.cell["networks"] == ITSELF and c.known[0][0].name == "layer4")
    z, sigma = case.inputs()["zx"](), case.settled()["sigma_x"]
    rsms = compute_rsm(z, matching=["identity", "exact-auction"], kernel="rbf", sigma=sigma, centring="channel")
    assert scored(TASK, case, "cka[identity|exact-auction,rbf]").scores["value"] == pytest.approx(
        cka(rsms["identity"], rsms["exact-auction"])
    )


def test_layers_are_the_same_by_name_or_else_by_place(nets):
    def partners(*names):
        first, second = (Seen(str(k), dict.fromkeys(layers, (2, 4))) for k, layers in enumerate(names))
        from semrsm_bench.tasks.layers import _partners

        sides = ([Layer(seen, name, k) for k, name in enumerate(seen.layers)] for seen in (first, second))
        return [(a.name, b.name) for a, b in _partners(*sides)]

    assert partners("xyz", "zxq") == [("x", "x"), ("z", "z")]
    assert partners("abc", "xyz") == [("a", "x"), ("b", "y"), ("c", "z")]
    assert partners("abc", "xy") == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 9}, "at least 10 pictures"),
        ({"count": 100000}, "the installed photographs give"),
        ({"layers": ("layer9",)}, "no submodule 'layer9'"),
        ({"model": ("nowhere.safetensors",)}, "no such checkpoint"),
        ({"centring": "batch"}, "'batch' is not one of"),
        ({"permuted": -1}, "permuted"),
    ],
)
def test_bad_input_is_one_message(nets, given, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        list(TASK.cases(options(TASK, **{"model": (nets["a"],), "size": 16, **given})))
