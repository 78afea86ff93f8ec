"""What holds for all tasks: scores over many rows, the studies that they were, equal cases for equal seeds, wrong use."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.core.stats import counts_of, row_weights, weighted_mean
from semrsm_bench.core.task import Answer, Result, Score, Scored
from semrsm_bench.rsm.registry import get_rsm
from semrsm_bench.tasks.networks import identity_bandwidth
from semrsm_bench.tasks.registry import get_task
from tests.data_sets import cityscapes, egoobjects
from tests.observing import met, options
from tests.reference import reference
from tests.toy_tasks import Toy, toy

UNITS = ("a", "b", "c", "d")
IDS = st.lists(st.sampled_from(UNITS), max_size=3, unique=True)
VALUES = st.none() | st.floats(-1e3, 1e3)


# Scores over many rows


@given(st.lists(st.tuples(IDS, VALUES, VALUES), max_size=8), st.lists(st.sampled_from(UNITS), min_size=1, max_size=5))
def test_scores_are_means_over_the_rows_that_a_draw_of_units_makes(rows, drawn):
    """Drawn as often as tuples of drawn units are the row's; rows without units count once; each score by itself."""
    task = toy(scores=(Score("value", "v"), Score("other", "o"), Score("never", "n")))
    results = [Result("", {}, {"item": tuple(ids)}, {"value": v, "other": o}) for ids, v, o in rows]
    draws = np.array([[1, 1, 1, 1], [drawn.count(unit) for unit in UNITS]], dtype=float)
    found = task.aggregate(results, draws, UNITS)
    for name in ("value", "other", "never"):
        known = [(r.units["item"], r.scores[name]) for r in results if r.scores.get(name) is not None]
        assert (name in found) == bool(known)
        for b, units in enumerate((UNITS, drawn) if known else ()):
            copies = [v for ids, v in known for made in itertools.product(units, repeat=len(ids)) if made == ids]
            expected = np.mean(copies) if copies else np.nan
            assert found[name][b] == pytest.approx(expected, nan_ok=True, rel=1e-9, abs=1e-9)


@given(st.lists(IDS, max_size=5), st.integers(0, 3))
def test_the_weight_of_a_row_is_the_product_of_its_units(rows, seed):
    draws = np.random.default_rng(seed).integers(0, 4, size=(6, len(UNITS))).astype(float)
    found = row_weights(rows, draws, UNITS)
    assert found.shape == (6, len(rows))
    for b, r in itertools.product(range(6), range(len(rows))):
        assert found[b, r] == np.prod([draws[b, UNITS.index(unit)] for unit in rows[r]])
    for ids in rows:
        np.testing.assert_array_equal(counts_of(ids, draws, UNITS), draws[:, [UNITS.index(unit) for unit in ids]])


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=6), st.integers(0, 3))
def test_a_weighted_mean_is_of_what_is_known(values, seed):
    weights = np.random.default_rng(seed).integers(0, 3, size=(5, len(values))).astype(float)
    found = weighted_mean(np.array([np.nan if v is None else v for v in values]), weights)
    for b, mean in enumerate(found):
        copies = [v for v, w in zip(values, weights[b]) if v is not None for _ in range(int(w))]
        assert (not copies and np.isnan(mean)) or mean == pytest.approx(np.mean(copies), rel=1e-9, abs=1e-6)


def test_what_is_undefined_is_none_in_a_row_and_nan_in_sums():
    assert Scored({"a": float("nan"), "b": 0.0, "c": None}).scores == {"a": None, "b": 0.0, "c": None}
    result = Result("case", {}, {}, {"b": 0.0, "c": None})
    assert result.score("b") == 0.0
    assert np.isnan([result.score("c"), result.score("not there")]).all()


def test_cells_stand_in_the_order_of_their_size():
    cells = [{"size": 36}, {"size": "16"}, {"layer": "x"}, {"size": 4}]
    assert [c.get("size") for c in sorted(cells, key=Toy().cell_order)] == [None, 4, "16", 36]


# The studies that these tasks were

TRAINED = "data/resnet18-tiny-imagenet.weights.safetensors"
FOUR = {
    "identity": "spatio-semantic", "translation": "translation", "exact-auction": "semantic (exact-auction)",
    "pooled": "mean over positions",
}  # fmt: skip
# Task, options, methods as the study named them, its key up to the score, its names of the scores, number of figures.
STUDIES = {
    "outputs": (
        "outputs", {"model": (TRAINED, "data/resnet10-quarter-seed0.weights.safetensors"), "count": 40},
        {"identity": "spatio-semantic", "translation": "translation", "exact-auction": "semantic"},
        "outputs/{model}/{layer}/{kernel}/{old}", {"pearson": "pearson", "spearman": "spearman"}, 36,
    ),
    "matching-quality": (
        "outputs",
        {"model": (TRAINED,), "count": 32, "layers": ("layer4",), "kernels": ("linear", "cosine"),
         "centring": ("none", "channel")},
        {"identity": "identity"}, "matching-quality/{layer}/{centring}/{old}/{kernel}",
        {"agreement": "spearman", "agreement_cka": "cka", "same_neighbour": "same_neighbour"}, 12,
    ),
    "translation": (
        "translation", {}, FOUR, "translation/{layer}/rbf/{old}",
        {"auroc": "AUROC", "partner_first": "partner first %"}, 24,
    ),
    "retrieval": (
        "retrieval", {"shipped": False}, FOUR, "retrieval-quick/{layer}/{kernel}/{old}",
        {"f1": "F1@1", "iou": "IoU@1", "f1_top5": "F1 best of 5", "iou_top5": "IoU best of 5"}, 48 + 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
def test_tasks_reproduce_the_figures_of_the_studies_that_they_were(name):
    pytest.importorskip("torch")
    task, given, methods, place, scores, count = STUDIES[name]
    record, found = reference.studies(), {}
    for method, case, one in met(get_task(task), methods, options(get_task(task), **given)):
        values = {place.format(**case.cell, old=methods[method]): one.scores}
        for part, old in (("random", "random ranking"), ("best", "best in the database")):
            values[f"retrieval-quick/{old}"] = one.raw.get(part, {})
        for where, by_name in values.items():
            for score in scores.keys() & by_name.keys():
                found.setdefault(f"{where}/{scores[score]}", []).append(by_name[score])
        retrieved = f"retrieval-quick/{case.cell['layer']}/{case.cell['kernel']}/{method}/retrieved"
        if name == "retrieval" and retrieved in record:
            assert one.arrays["found"][:, 0].tolist() == record[retrieved]
    assert len(found) == count
    for key, values in found.items():
        factor = 100 if name == "translation" and key.endswith("%") else 1
        # The study of outputs pooled the bandwidth over its matchings: that moves the RBF values, and hardly their ranks.
        off = 2e-3 if key.endswith("/pearson") and "/rbf/" in key else 1e-6
        assert factor * np.mean(values) == pytest.approx(record[key], abs=off), key


# Tasks on networks

RSMS = ("outputs", "translation", "retrieval")
ON_NETWORKS = (*RSMS, "instances")


@pytest.fixture
def small(nets):
    """Cases of a task on untrained networks and few pictures."""

    def cases(name, **given):
        task = get_task(name)
        count = {"queries": 3, "database": 6} if name == "retrieval" else {"count": 20}
        given = {"model": (nets["a"], nets["b"]), "layers": ("layer4",), "size": 32, **count, **given}
        return list(task.cases(options(task, **given)))

    return cases


@pytest.mark.parametrize("name", ON_NETWORKS)
def test_a_seed_repeats_the_data_and_another_changes_all_of_them(name, small):
    one, again, other = ({case.name: case.data_sha256 for case in small(name, seed=seed)} for seed in (0, 0, 1))
    assert one == again
    assert one.keys() == other.keys()
    assert not {*one.values()} & {*other.values()}


@pytest.mark.parametrize("name", RSMS)
def test_kernels_and_centrings_of_a_layer_share_arrays_and_bandwidth(name, small):
    kernels, centrings = ("linear", "cosine", "rbf"), ("none", "channel")
    found = {}
    for case in small(name, layers=("layer3", "layer4"), kernels=kernels, centring=centrings):
        place = case.cell["model"], case.cell["layer"], str(case.units)
        found.setdefault(place, []).append(case)
    for cases in found.values():
        assert [(c.cell["centring"], c.cell["kernel"]) for c in cases] == [*itertools.product(centrings, kernels)]
        for key in cases[0].inputs():
            assert len({id(case.inputs()[key]) for case in cases}) == 1
        assert {case.settled()["sigma"] for case in cases} == {identity_bandwidth(**cases[0].inputs())}
        assert {case.size for case in cases} == {cases[0].inputs()["z"].shape[2]}
        assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("name", RSMS)
def test_a_layer_without_a_bandwidth_costs_the_rbf_kernel_alone(name, small, monkeypatch):
    def none(*sides, **named):
        raise ValueError("the median is 0")

    monkeypatch.setattr("semrsm_bench.tasks.rsms.identity_bandwidth", none)
    for case in small(name, kernels=("linear", "rbf")):
        assert (case.settled()["kernels"], case.settled()["sigma"]) == (["linear"], None)


@pytest.mark.parametrize("name", RSMS)
def test_layers_with_too_many_positions_are_left_out(name, small):
    cases = small(name, layers=("layer1", "layer4"), largest=1000)
    said = {"layer1": "1,024 positions; the limit is 1,000 (--largest)", "layer4": ""}
    assert {case.cell["layer"]: case.skip for case in cases} == said


@pytest.mark.parametrize("name", RSMS)
def test_what_is_no_rsm_is_refused(name, small):
    task, case = get_task(name), small(name)[0]
    arrays = case.inputs()
    truth, declared = task.truth(case, arrays, None), get_rsm("identity").declare()
    shape = len(arrays["z"]), len(arrays.get("z2", arrays["z"]))
    bad = {"no RSM": None, "of shape": np.ones((shape[0], shape[1] + 1)), "non-finite": np.full(shape, np.nan)}
    if "z2" not in arrays:
        bad["symmetric"] = np.arange(float(np.prod(shape))).reshape(shape)
    for said, rsm in bad.items():
        with pytest.raises(ValueError, match=said):
            task.score(case, arrays, Answer({"rsm": rsm}), truth, declared)


COMMON = [
    ({"model": ("nowhere.safetensors",)}, "no such checkpoint"),
    ({"layers": ("layer9",)}, "no submodule 'layer9'"),
    ({"classes": Path("names.txt")}, "give --images too"),
    ({"images": (Path("none.zip"),)}, "none.zip: no such folder"),
]
COUNTED = [({"count": 100_000}, "the installed photographs give")]
WRONG = {
    "outputs": [*COUNTED, ({"count": 9}, "at least 10 pictures"), ({"kernels": ("gauss",)}, "'gauss' is not one of")],
    "translation": [
        *COUNTED,
        ({"count": 15}, "15 pictures do not make batches of 10; take a multiple"),
        ({"shift": ((64, 0),)}, "do not overlap"),
        ({"shift": ((0, 0),)}, "a shift goes down"),
    ],
    "retrieval": [
        ({"egoobjects": Path("ego"), "cityscapes": Path("city")}, "one of --images, --egoobjects and --cityscapes"),
        ({"cityscapes": Path("city")}, "asked for 3 images of Cityscapes val, there are 2"),
        ({"egoobjects": Path("ego")}, "asked for 3 and 6 images of EgoObjects test, there are 5"),
        ({"egoobjects": Path()}, "neither here nor in"),
        ({"cityscapes": Path()}, "holds no leftImg8bit/val/"),
    ],
    "instances": [
        *COUNTED,
        ({"count": 9}, "9 stimuli are too few"),
        ({"folds": 12}, "12 folds need at least as many groups"),
        ({"components": 2, "group": "permutation"}, "--components is for rotations"),
        ({"features": (Path("a.npy"), Path("b.npy"))}, "--model is for networks"),
        ({"ids": Path("names.txt")}, "--ids names the rows of --features"),
    ],
}


@pytest.mark.parametrize(
    ("name", "given", "said"), [(name, *wrong) for name in ON_NETWORKS for wrong in COMMON + WRONG[name]]
)
def test_wrong_use_ends_in_one_message(name, given, said, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "retrieval":
        cityscapes(tmp_path / "city", queries=2, database=6)
        egoobjects(tmp_path / "ego")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        small(name, **given)


@pytest.mark.parametrize("name", ON_NETWORKS)
def test_wrong_networks_or_amounts_end_in_one_message(name, small, nets):
    with pytest.raises(ValueError, match="two networks are called 'a'"):
        small(name, model=(nets["a"], nets["a"]))
    task = get_task(name)
    with pytest.raises(ValueError, match=r"say how many .* or choose a profile"):
        list(task.cases(task.options(model=(nets["a"], nets["b"]), size=32)))
