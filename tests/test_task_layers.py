"""The task layers: planted layers, credit against a loop, equal spectra, cells, composites."""

import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from semrsm_bench.activations.folders import shipped_data
from semrsm_bench.bench.plan import RunOptions, make_plan, settled
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Case
from semrsm_bench.metrics import linear_cka
from semrsm_bench.metrics.registry import get_metric
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.tasks.features import FeatureOptions
from semrsm_bench.tasks.layers import Layers, equalised
from semrsm_bench.tasks.orders import credits
from semrsm_bench.tasks.pairs import Side
from tests.observing import met, options, scored

N = 60
TASK = Layers()


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Layers that all networks share, seen by each through a rotation of its own, with noise; those of group b are narrower."""
    rng = np.random.default_rng(0)
    # All of one spectrum: it gives no layer away.
    shared = {name: 8 * np.linalg.qr(rng.standard_normal((N, 20)))[0] for name in ("one", "two", "three", "four")}
    arrays = {}
    for group, width in (("a", 20), ("b", 12)):
        for seed, (layer, z) in itertools.product(range(3), shared.items()):
            seen = z @ np.linalg.qr(rng.standard_normal((20, width)))[0]
            arrays[f"{group}:{seed}/{layer}"] = seen + 0.3 * rng.standard_normal(seen.shape)
    path = tmp_path_factory.mktemp("planted") / "planted.npz"
    np.savez(path, **arrays)
    return path


def identified(planted, *methods, **given):
    """Layers that each metric finds, and the share that is undefined, mean over the rows of each cell."""
    found = {}
    for method, case, one in met(TASK, methods, options(TASK, features=(planted,), **given)):
        assert one.status == "ok", one.message
        found.setdefault((method, case.cell["networks"]), []).append(one.scores)
    return {key: {name: np.mean([s[name] or 0.0 for s in rows]) for name in rows[0]} for key, rows in found.items()}


def test_chance_is_one_in_the_number_of_layers(planted):
    for _, _, one in met(TASK, ["width"], options(TASK, features=(planted,))):
        assert TASK.by_chance(one.raw) == 0.25


WITHIN = [f"{group}{form}" for group in "ab" for form in ("", " equalised")]
CELLS = [f"{cell}{word}" for cell in (*WITHIN, "a x b") for word in ("", " permuted")]


def test_metrics_find_planted_layers_and_what_ignores_the_stimuli_does_not(planted):
    found = identified(planted, "linear_cka", "mutual_knn", "spectrum", "width")
    assert {cell for _, cell in found} == {*CELLS}
    for cell in CELLS:
        score = {
            method: found[method, cell]["identification"]
            for method in ("linear_cka", "mutual_knn", "spectrum", "width")
        }
        if cell.endswith(" permuted"):
            assert max(score.values()) < 0.6
        else:
            assert score["linear_cka"] == 1.0
            assert score["mutual_knn"] > 0.9
            assert score["spectrum"] < 0.6
        assert score["width"] == 0.25  # all are as wide: ties share the credit
        value = found["linear_cka", cell]
        assert (value["same"] > value["other"] + 0.3) != cell.endswith(" permuted")


@pytest.mark.parametrize("cell", ["a permuted", "a equalised permuted", "a x b permuted"])
def test_every_network_has_an_order_of_its_own(planted, cell):
    """One order for all would agree with the other side by one luck in all pairs."""
    plain, moved = (
        {case.units["network"][1]: case.inputs()["y"] for case in found if case.cell["networks"] == name}
        for name in (cell.removesuffix(" permuted"), cell)
        for found in [[*TASK.cases(options(TASK, features=(planted,)))]]
    )
    orders = [
        tuple(((y[:, None] - plain[network]) ** 2).sum(axis=2).argmin(axis=1))
        for network, y in moved.items()
        if network in plain
    ]
    assert len({*orders}) == len(orders) > 1
    for order in orders:
        assert sorted(order) == [*range(N)]


def test_equal_spectra_leave_nothing_to_what_ignores_the_stimuli(planted):
    given = {"features": (planted,), "networks": 2, "groups": ("a",)}
    case = next(c for c in TASK.cases(options(TASK, **given)) if c.cell["networks"] == "a equalised")
    x = case.inputs()["x"]
    ends = np.cumsum([0, *case.settled()["widths_x"]])
    spectra = [np.linalg.svd(x[:, a:b] - x[:, a:b].mean(axis=0), compute_uv=False) for a, b in itertools.pairwise(ends)]
    np.testing.assert_allclose(spectra, [spectra[0]] * 4, rtol=1e-5)
    assert len(spectra[0]) == 16
    for part in (x[:, a:b] for a, b in itertools.pairwise(ends)):
        norms = np.linalg.norm(part - part.mean(axis=0), axis=1)
        np.testing.assert_allclose(norms, norms[0], rtol=1e-3)
    found = identified(planted, "linear_cka", "norms", "spectrum")
    assert found["linear_cka", "a equalised"]["identification"] == 1.0
    assert max(found[name, "a equalised"]["identification"] for name in ("norms", "spectrum")) < 0.5


def test_layers_narrower_than_the_components_and_of_low_rank_are_equalised():
    rng = np.random.default_rng(1)
    sides = [Side((rng.standard_normal((30, 5)), np.outer(rng.standard_normal(30), np.ones(8)))) for _ in range(2)]
    parts = [part for side in equalised(sides, 0) for part in side.features]
    assert [part.shape for part in parts] == [(30, 5)] * 4
    spectra = [np.linalg.svd(part, compute_uv=False) for part in parts]
    np.testing.assert_allclose(spectra, [spectra[0]] * 4, rtol=1e-9)


@pytest.mark.parametrize("constant", [0.0, 3.1, 6e4])
def test_a_layer_that_is_the_same_for_all_stimuli_is_zero_and_changes_no_other(constant):
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, 30, 6))
    still = np.full((30, 6), constant, dtype=np.float16)
    (found,) = equalised([Side((one, still, two))], 0)
    assert not found.features[1].any()
    (without,) = equalised([Side((one, two))], 0)
    for x, y in zip((found.features[0], found.features[2]), without.features):
        assert np.linalg.svd(x, compute_uv=False) == pytest.approx(np.linalg.svd(y, compute_uv=False))
    assert not equalised([Side((still, still))], 0)[0].features[0].any()


def test_a_constant_layer_is_found_by_no_metric_and_costs_no_run(planted, tmp_path):
    arrays = dict(np.load(planted))
    arrays |= {name: np.ones_like(x) for name, x in arrays.items() if name.endswith("/two")}
    path = tmp_path / "constant.npz"
    np.savez(path, **arrays)
    found = identified(path, "linear_cka", "cca")
    for cell in ("a", "a equalised"):
        assert found["linear_cka", cell]["identification"] == pytest.approx(0.75)
        assert found["linear_cka", cell]["undefined"] > 0


@given(
    rows=st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(st.none() | st.integers(-2, 2), min_size=n, max_size=n), min_size=n, max_size=n)
    )
)
def test_credit_against_a_loop(rows):
    """Ties share the credit, and what is undefined earns none."""
    expected = []
    for i, row in enumerate(rows):
        known = [v for v in row if v is not None]
        ties = [j for j, v in enumerate(row) if known and v == max(known)]
        expected.append((i in ties) / len(ties) if ties else 0.0)
    assert credits(np.array(rows, dtype=float), np.eye(len(rows), dtype=bool)) == pytest.approx(expected)


def test_matches_that_differ_by_rounding_share_the_credit():
    assert credits(np.array([[1.0, 1 + 3e-16], [1.0, 1 - 3e-16]]), np.eye(2, dtype=bool)) == [0.5, 0.5]


def judged(values, back=None, *, low=0, high=1, best="max", layers=2):
    """The scores of values of a metric on two networks of two layers."""
    facts = {"range": [low, high], "best": best, "symmetric": back is None}
    arrays = {"values": np.atleast_2d(np.array(values, float)), "values_yx": np.ravel(values if back is None else back)}
    arrays["values_yx"] = np.asarray(arrays["values_yx"], float)
    return TASK.score(
        Case("a/b", {}, dict, known=[f"layer{i}" for i in range(layers)]),
        {},
        Answer(arrays),
        None,
        Declaration("metric", "m", facts=facts),
    )


def test_both_directions_are_judged_each_with_its_values_in_the_metrics_own_direction():
    forth, back = [0.9, 0.1, 0.8, 0.2], [0.9, 0.8, 0.1, 0.7]
    found = judged(forth, back)
    # Rows: 0 finds 0, 1 finds 0. Columns by the metric of (y, x): 0 finds 0, 1 finds row 0.
    assert found.scores["identification"] == pytest.approx((1 + 0 + 1 + 0) / 4)
    assert found.scores["same"] == pytest.approx((0.9 + 0.45) / 2)
    assert found.raw == {"values": forth, "values_yx": back, "layers": ["layer0", "layer1"]}
    distances = judged([0.1, 0.9, 0.9, 0.1], best="min")
    assert (distances.scores["identification"], distances.scores["same"]) == (1.0, pytest.approx(0.1))
    assert "values_yx" not in distances.raw


def test_what_is_undefined_is_counted_and_earns_nothing():
    found = judged([np.nan, 0.1, 0.2, 0.9])
    assert found.scores == {"identification": 0.5, "same": None, "other": pytest.approx(0.15), "undefined": 0.25}
    assert judged([np.nan] * 4).scores["identification"] == 0.0
    assert found.raw["values"] == [None, 0.1, 0.2, 0.9]


@pytest.mark.parametrize(
    ("values", "back", "limits", "said"),
    [
        ([1.2, 0, 0, 0], None, (0, 1), "1.2 is outside of its range, 0 to 1"),
        ([0.5] * 4, [-0.1, 0.5, 0.5, 0.5], (0, 1), "-0.1 is outside"),
        ([-3.0] * 4, None, (-1, None), "outside of its range, -1 to inf"),
    ],
)
def test_values_that_cannot_be_are_invalid(values, back, limits, said):
    found = judged(values, back, low=limits[0], high=limits[1])
    assert found.status == "invalid"
    assert said in found.message


def test_a_value_that_moves_with_the_order_of_the_stimuli_is_invalid():
    facts = {"range": [0, 1], "best": "max", "symmetric": True}
    for other in (0.6, np.nan):
        answer = Answer({"values": np.array([[0.5], [other]]), "values_yx": np.array([0.5])})
        found = TASK.score(
            Case("a", {}, dict, known=("one",)), {}, answer, None, Declaration("metric", "m", facts=facts)
        )
        assert (found.status, "in another order" in found.message) == ("invalid", True)


def test_groups_with_other_layers_are_not_compared_and_units_are_networks(tmp_path):
    arrays = {f"a:{i}/{layer}": np.random.default_rng(i).standard_normal((N, 4)) for i in range(3) for layer in "xy"}
    arrays |= {f"b:0/{layer}": np.ones((N, 3)) for layer in "vw"}
    np.savez(tmp_path / "some.npz", **arrays)
    cases = list(TASK.cases(options(TASK, features=(tmp_path / "some.npz",))))
    assert {case.cell["networks"] for case in cases} == {"a", "a permuted", "a equalised", "a equalised permuted"}
    plain = [case for case in cases if case.cell["networks"] == "a"]
    assert [case.units["network"] for case in plain] == [("a:0", "a:1"), ("a:0", "a:2"), ("a:1", "a:2")]
    # One array for a network, so that it is sent once.
    assert plain[0].inputs()["x"] is plain[1].inputs()["x"]
    assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("name", ["cka[identity]", "cka_debiased[exact-auction,cosine]", "cka[identity|pooled]"])
def test_composites_get_the_rsms_of_positions(tmp_path, name):
    rng = np.random.default_rng(2)
    layers = {f"a:{i}/{layer}": rng.standard_normal((N, 3, 6)) for i in range(2) for layer in "xy"}
    np.savez(tmp_path / "some.npz", **layers)
    case = next(iter(TASK.cases(options(TASK, features=(tmp_path / "some.npz",)))))
    found = scored(TASK, case, name)
    metric = get_metric(name)
    sides = [
        {
            which: compute_rsm(
                layers[f"a:{i}/{which}"].astype(np.float32), matching=rsm, kernel=kernel, centring="channel"
            )
            for which in "xy"
        }
        for i, (rsm, kernel) in enumerate(metric.rsms)
    ]
    expected = [metric.compare(metric.prepare(sides[0][a]), metric.prepare(sides[1][b])) for a in "xy" for b in "xy"]
    assert found.raw["values"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("grid", [None, (2, 3)])
def test_composites_that_shift_a_grid_need_one(tmp_path, grid):
    rng = np.random.default_rng(2)
    layers = {f"a:{i}/{layer}": rng.standard_normal((N, 3, 6)).astype(np.float32) for i in range(2) for layer in "xy"}
    path = tmp_path / "some.safetensors"
    save_file(layers, path, {"grids": json.dumps(dict.fromkeys("xy", grid))} if grid else None)
    options = {"layers": FeatureOptions(features=(path,))}
    shifting, metric = Declaration("rsm", "translation", facts={"needs_grid": True}), get_metric("cka").declare()
    plan = make_plan(RunOptions(methods=("cka[translation]",)), [TASK], options, [metric, shifting])
    reasons = {cell.skip for cell in plan.cells if cell.place["networks"] == "a"}
    assert reasons == {"" if grid else "it shifts a grid, and these positions are on none"}


def test_a_plan_makes_no_equal_spectra(planted, monkeypatch):
    monkeypatch.setattr("semrsm_bench.tasks.layers.equalised", lambda *_: pytest.fail("made before it is asked for"))
    assert any(case.cell["networks"] == "a equalised" for case in TASK.cases(options(TASK, features=(planted,))))


def test_composites_need_positions_and_the_files_that_are_named_have_them(planted):
    case = next(iter(TASK.cases(options(TASK, features=(planted,)))))
    assert {*case.settings["lacks"]} == {"zx", "zy"}
    for said in case.settings["lacks"].values():
        named = re.findall(r"positions-\w+\.safetensors", said)
        assert named == ["positions-w16.safetensors", "positions-w8.safetensors"]
        for name in named:
            found = options(TASK, features=(shipped_data() / name,))
            assert not next(iter(TASK.cases(found))).settings["lacks"]


def test_values_are_those_of_the_metric_on_the_layers(planted):
    case = next(iter(TASK.cases(options(TASK, features=(planted,), networks=2))))
    found = scored(TASK, case, "linear_cka").raw["values"]
    with np.load(planted) as content:
        layers = [[content[f"a:{i}/{name}"] for name in ("one", "two", "three", "four")] for i in (0, 1)]
    expected = [linear_cka(x, y) for x, y in itertools.product(*layers)]
    assert found == pytest.approx(expected, rel=1e-5)


def test_quick_compares_networks_of_the_second_width_with_the_first_alone():
    def cells(**given):
        quick = settled(TASK.options(**given), TASK.profiles["quick"])
        return list(dict.fromkeys(case.cell["networks"] for case in TASK.cases(quick)))

    across = ["w16 x w8", "w16 x w8 permuted"]
    forms = ("", " permuted", " equalised", " equalised permuted")
    first, second = ([name + form for form in forms] for name in ("w16", "w8"))
    assert cells() == [*first, *across]
    assert cells(within=0) == across
    # Groups that somebody names are all of interest.
    assert cells(groups=("w16", "w8")) == cells(within=2) == [*first, *second, *across]
