"""The task layers: composites, planted rearrangements, credit against a loop, intervals, networks."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import interval_of, jackknife_draws
from semrsm_bench.core.task import Answer, Case, Result
from semrsm_bench.metrics import cka, linear_cka, linear_rsm
from semrsm_bench.metrics.registry import get_metric
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.tasks.layers import ACROSS, ALIKE, ITSELF, SAME_WIDTH, WITHIN, Layer, Layers, _partners
from tests.observing import answer, options, result, scored

N = 16
TASK = Layers()


@pytest.fixture(scope="module")
def activations():
    """A mean per position that all images share, and noise of each image."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((1, 3, 9)) + rng.standard_normal((N, 3, 9))).astype(np.float32)


def moved(z, seed=1):
    """Every image with its positions in another order."""
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
    # Centring by position breaks that invariance.
    by_position = value(f"cka_debiased[exact-auction,{kernel}]", *pair, centring="position")["value"][0]
    assert by_position < 0.98


@pytest.mark.parametrize("estimator", ["cka", "cka_debiased"])
def test_centring_does_not_change_linear_cka_of_the_identity(activations, estimator):
    """All centrings change a linear RSM by u 1' + 1 u' only, which CKA takes away."""
    other = activations[::-1] ** 2 + activations
    values = [
        value(f"{estimator}[identity]", activations, other, centring=centring)["value"][0]
        for centring in ("none", "channel", "position")
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-4)


def test_a_metric_that_is_not_symmetric_is_given_both_ways_round(activations):
    other = activations[::-1] ** 2 + activations
    x, y = (z.mean(axis=2) for z in (activations, other))
    found, (one, back) = value("pwcca", activations, other), (get_metric("pwcca").run(*s) for s in ((x, y), (y, x)))
    assert abs(one - back) > 1e-4
    assert (found["value"][0], found["value_yx"][0]) == pytest.approx((one, back), rel=1e-6)


def test_a_composite_of_two_rsm_methods_takes_one_on_each_side(activations):
    other = activations**3
    found = value("cka[identity|exact-auction]", activations, other)
    rsms = [compute_rsm(z, matching=["identity", "exact-auction"], centring="channel") for z in (activations, other)]
    assert found["value"][0] == pytest.approx(cka(rsms[0]["identity"], rsms[1]["exact-auction"]))
    assert found["value_yx"][0] == pytest.approx(cka(rsms[1]["identity"], rsms[0]["exact-auction"]))
    # A metric of RSMs that names none gets linear ones of the features.
    linear = [linear_rsm(z.mean(axis=2)) for z in (activations, other)]
    assert value("cka", activations, other)["value"][0] == pytest.approx(cka(*linear))


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


# Scores of one case


def judged(values, back=None, low=0, high=1):
    """The score of values of a metric on two layers of one network."""
    seen = SimpleNamespace(name="net", shape={"a": (N, 4, 9), "b": (N, 6, 4)}.get)
    case = Case("net/a/net/b", {}, dict, known=((Layer(seen, "a", 0), Layer(seen, "b", 1)), False))
    declared = Declaration("metric", "m", facts={"range": [low, high], "best": "max", "takes": "features"})
    arrays = {"value": np.array(values, float), "value_yx": np.array([values[0] if back is None else back], float)}
    return TASK.score(case, {}, Answer(arrays), None, declared)


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
def test_values_that_cannot_be_are_invalid(values, back, limits, said):
    found = judged(values, back, *limits)
    assert found.status == "invalid"
    assert said in found.message


def test_a_row_says_which_layers_were_compared_and_what_is_undefined_is_no_fault():
    found = judged([0.5, 0.5 + 1e-9], 0.25)
    sides = {"network": "net", "layer": "a", "place": 0, "channels": 4, "positions": 9}
    sides |= {"other_network": "net", "other_layer": "b", "other_place": 1, "other_channels": 6, "other_positions": 4}
    assert (found.scores, found.raw) == ({"value": 0.5}, {"value_yx": 0.25, "best": "max", "same": False, **sides})
    found = judged([np.nan, np.nan])
    assert (found.status, found.scores) == ("ok", {"value": None})
    assert np.isnan(found.raw["value_yx"])
    given = answer("metric", "cca", {"x": np.eye(6)[:, :5], "y": np.eye(6)[:, :5]})
    assert np.isnan(given["arrays"]["value"]).all()
    assert "use more stimuli than units" in given["info"]["undefined"]


# Aggregation


def row(a, b, value, back=None, *, best="max", order="channel"):
    """A row that compares layers such as "A1" and "B2"; the same digit is the same layer."""
    raw = {"network": a[0], "layer": a[1], "other_network": b[0], "other_layer": b[1], "same": a[1] == b[1]}
    units = {"network": tuple(dict.fromkeys((a[0], b[0])))}
    return Result(f"{a}/{b}/{order}", {}, units, {"value": value}, {**raw, "best": best, "value_yx": back})


def aggregated(rows, draws=None, units="AB"):
    found = TASK.aggregate(rows, np.ones((1, len(units))) if draws is None else np.array(draws, float), list(units))
    return {name: values.tolist() for name, values in found.items()}


@given(
    data=st.data(), sizes=st.lists(st.integers(1, 3), min_size=2, max_size=3), shift=st.integers(0, 1),
    best=st.sampled_from(["max", "min"]), draw=st.lists(st.integers(0, 2), min_size=3, max_size=3),
)  # fmt: skip
def test_identification_against_a_loop(data, sizes, shift, best, draw):
    """In both directions, each with its values, for every reordering: ties share the credit, what is undefined earns none."""
    layers = {name: [f"{name}{k * shift + i}" for i in range(sizes[k])] for k, name in enumerate("ABC"[: len(sizes)])}
    known = st.none() | st.integers(-2, 2).map(float)
    rows, credits = [], {}
    for networks, order in itertools.product(itertools.combinations(layers, 2), ("permuted-0", "permuted-1")):
        values = {pair: data.draw(st.tuples(known, known)) for pair in itertools.product(*map(layers.get, networks))}
        rows += [row(*pair, *value, best=best, order=order) for pair, value in values.items()]
        for side in (0, 1):
            for layer in layers[networks[side]]:
                found = {pair[1 - side]: value[side] for pair, value in values.items() if pair[side] == layer}
                partner = networks[1 - side] + layer[1]
                # One candidate is no choice, and without a partner there is nothing to find.
                if len(found) > 1 and partner in found:
                    defined = [v for v in found.values() if v is not None]
                    top = {"max": max, "min": min}[best](defined, default=None)
                    ties = [other for other, v in found.items() if v == top]
                    credits.setdefault((networks, side), []).append((partner in ties) / len(ties) if defined else 0)
    draws = [[1, 1, 1], draw, *jackknife_draws(3)]
    found = aggregated(rows, draws, "ABC").get("identification")
    assert (found is None) == (not credits)
    for counts, share in zip(draws, found or ()):
        # A pair of networks counts as often as both are drawn.
        often = [np.prod([counts["ABC".index(name)] for name in networks]) for networks, _ in credits]
        means = [np.mean(of_side) for of_side in credits.values()]
        assert share == pytest.approx(np.average(means, weights=often) if any(often) else np.nan, nan_ok=True)


def test_matches_that_differ_by_rounding_share_the_credit():
    rows = [row(f"A{i}", f"B{j}", *[1.0 if i == j else 1 + 3e-16] * 2) for i in range(2) for j in range(2)]
    assert aggregated(rows)["identification"] == [0.5]


def test_values_are_averaged_over_all_pairs_and_over_those_of_the_same_layer():
    within = [row("A1", "A2", 0.2), row("A1", "A3", 0.6), row("B1", "B2", 0.1)]
    assert aggregated(within, [[1, 1], [2, 0]]) == {"value": [pytest.approx(0.3), pytest.approx(0.4)]}
    across = [row("A1", "B1", 0.8, 0.8), row("A1", "B2", 0.1, 0.1)]
    assert aggregated(across)["same"] == [0.8]
    assert aggregated(across)["value"] == [pytest.approx(0.45)]


# Networks


@pytest.fixture(scope="module")
def cases(nets):
    small = {"layers": ("layer3", "layer4"), "count": 12, "size": 16, "leave_one_out": True}
    return list(TASK.cases(options(TASK, model=tuple(nets.values()), **small)))


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
        # What chance gives needs no intervals over pictures.
        assert case.settings["leave_one_out"] == (case.cell["pictures"] == "matched")


def test_layers_share_their_arrays_and_positions_are_made_only_for_those_who_ask(cases):
    found = {}
    for case in cases:
        arrays = case.inputs()
        assert callable(arrays["zx"])
        for side, layer in zip("xy", case.known[0]):
            assert found.setdefault((layer.seen.name, layer.name), arrays[side]) is arrays[side]
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


def test_values_are_those_of_pooled_features_and_of_rsms_with_the_bandwidth_of_the_identity(cases):
    for case in cases[:3]:
        x, y = (layer.pooled for layer in case.known[0])
        assert scored(TASK, case, "linear_cka").scores["value"] == pytest.approx(linear_cka(x, y))
    case = next(c for c in cases if c.cell["networks"] == ITSELF and c.known[0][0].name == "layer4")
    z, sigma = case.inputs()["zx"](), case.settled()["sigma_x"]
    rsms = compute_rsm(z, matching=["identity", "exact-auction"], kernel="rbf", sigma=sigma, centring="channel")
    found = scored(TASK, case, "cka[identity|exact-auction,rbf]").scores["value"]
    assert found == pytest.approx(cka(rsms["identity"], rsms["exact-auction"]))


@pytest.mark.parametrize(
    ("first", "second", "pairs"), [("xyz", "zxq", ["xx", "zz"]), ("abc", "xyz", ["ax", "by", "cz"]), ("abc", "xy", [])]
)
def test_layers_are_the_same_by_name_or_else_by_place(first, second, pairs):
    sides = ([Layer(None, name, k) for k, name in enumerate(names)] for names in (first, second))
    assert [a.name + b.name for a, b in _partners(*sides)] == pairs
