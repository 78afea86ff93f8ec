"""The task retrieval: planted truths, the same figures as before, three kinds of data, bad input."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semrsm_bench.activations.retrieval import RetrievalData, RetrievalSide
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Case
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.tasks.retrieval import Retrieval, _QueryTruth, expected_best
from tests.data_sets import cityscapes, egoobjects
from tests.image_files import image_zip
from tests.reference import reference
from tests.task_driver import STUDY_NAMES, met, options, result

torch = pytest.importorskip("torch")

from semrsm_bench.activations.resnet import ResNet, save_weights  # noqa: E402

METHODS = ("identity", "translation", "exact-auction", "pooled")
SCORES = ("f1", "iou", "f1_top5", "iou_top5")


@given(
    st.lists(st.one_of(st.just(math.nan), st.integers(0, 4).map(lambda k: k / 4)), min_size=1, max_size=7),
    st.integers(1, 7),
)
def test_expected_best_of_a_random_draw_against_all_draws(scores, top):
    if top > len(scores):
        with pytest.raises(ValueError, match=f"cannot draw {top} of {len(scores)}"):
            expected_best(np.array(scores), top)
        return
    best = [
        max((s for s in draw if not math.isnan(s)), default=math.nan) for draw in itertools.combinations(scores, top)
    ]
    defined = [value for value in best if not math.isnan(value)]
    expected = np.mean(defined) if defined else math.nan
    assert expected_best(np.array(scores), top) == pytest.approx(expected, nan_ok=True)


def planted(queries=30, videos=2, seed=0):
    """Scenes of three of six objects; every position shows one object, and each video has an order of its own.

    Returns the data and activations (n, 6, 9) of queries and database.
    """
    rng = np.random.default_rng(seed)
    sides: list[list[tuple]] = [[], []]
    for scene in range(queries):
        objects = rng.integers(6, size=3)
        for video in range(videos + 1):
            positions = rng.permutation(np.repeat(objects, 3))
            z = np.eye(6)[positions].T + 0.01 * rng.standard_normal((6, 9))
            sides[video > 0].append((z, np.bincount(objects, minlength=6), f"{scene}/{video}"))
    made = [
        RetrievalSide(
            np.zeros((len(side), 8, 8, 3), dtype=np.uint8), np.stack([counts for _, counts, _ in side]),
            [group for *_, group in side], [f"image {i}" for i in range(len(side))],
        )
        for side in sides
    ]  # fmt: skip
    return RetrievalData(*made, list("abcdef"), True, True), *(np.stack([z for z, *_ in s]) for s in sides)


def scored(data, rsm):
    case = Case("c", {"model": "net"}, dict, {"query": tuple(data.queries.ids)})
    return case, Retrieval().score(case, {}, Answer({"rsm": rsm}), _QueryTruth(data), Declaration("rsm", "m"))


@pytest.mark.parametrize("kernel", ["cosine", "rbf"])
def test_planted_scenes_are_found_by_matched_positions_only(kernel):
    data, asking, asked = planted()
    found = {
        method: scored(data, compute_rsm(asking, asked, kernel=kernel, matching=method))[1].scores
        for method in ("identity", "ortools")
    }
    assert found["ortools"]["f1"] == 1
    assert found["identity"]["f1"] < 0.9


def test_own_video_is_left_out_and_the_best_of_five_is_at_least_the_first():
    data, asking, asked = planted(queries=12)
    # The database holds the queries themselves too: the most similar images by far, and of the same video.
    sides = (data.queries, data.database)
    pixels, counts = (np.concatenate([getattr(side, what) for side in sides]) for what in ("pixels", "counts"))
    groups = data.queries.groups + data.database.groups
    both = replace(data, database=RetrievalSide(pixels, counts, groups, [f"image {i}" for i in range(36)]))
    rsm = compute_rsm(asking, np.concatenate([asking, asked]), kernel="rbf", matching="ortools")
    assert (rsm.argmax(axis=1) == np.arange(12)).all()
    _, one = scored(both, rsm)
    for query, found in enumerate(one.arrays["found"]):
        assert data.queries.groups[query] not in {groups[i] for i in found}
        assert len(set(found)) == 5
    for score in ("f1", "iou"):
        assert (one.arrays[f"{score}_top5"] >= one.arrays[score]).all()
        assert one.raw["random"][f"{score}_top5"] > one.raw["random"][score]
    for name, value in one.scores.items():
        assert one.raw["random"][name] < value <= one.raw["best"][name]


def test_scores_are_means_over_the_queries_that_are_drawn():
    data, asking, asked = planted(queries=8)
    case, one = scored(data, compute_rsm(asking, asked, matching="identity"))
    draws = np.random.default_rng(0).multinomial(8, np.full(8, 1 / 8), size=4).astype(float)
    order = np.random.default_rng(1).permutation(8)
    units = [data.queries.ids[k] for k in order]
    found = Retrieval().aggregate([result(case, one)], np.concatenate([np.ones((1, 8)), draws]), units)
    for score in SCORES:
        values = one.arrays[score]
        expected = [np.repeat(values[order], draw.astype(int)).mean() for draw in draws]
        np.testing.assert_allclose(found[score], [one.scores[score], *expected])


def test_queries_whose_score_is_undefined_count_for_nothing():
    empty = RetrievalSide(np.zeros((2, 8, 8, 3), np.uint8), np.array([[0], [1]]), ["a", "b"], ["q0", "q1"])
    there = RetrievalSide(np.zeros((5, 8, 8, 3), np.uint8), np.array([[0]] * 5), ["c"] * 5, list("01234"))
    case, one = scored(RetrievalData(empty, there, ["x"], True, True), np.ones((2, 5)))
    assert (one.scores["f1"], one.raw["random"]["f1"]) == (0, 0)
    found = Retrieval().aggregate([result(case, one)], np.array([[1.0, 1], [2, 0]]), ["q0", "q1"])
    np.testing.assert_array_equal(found["f1"], [0, np.nan])


@pytest.mark.parametrize("rsm", [np.ones((30, 3)), np.full((30, 60), np.inf), None])
def test_what_is_no_rsm_is_invalid(rsm):
    with pytest.raises(ValueError, match="RSM"):
        scored(planted()[0], rsm)


NAMES = {"f1": "F1@1", "iou": "IoU@1", "f1_top5": "F1 best of 5", "iou_top5": "IoU best of 5"}


def test_the_figures_of_the_study_that_it_was():
    record, seen = reference.studies(), 0
    for method, case, one in met(Retrieval(), METHODS, options(Retrieval())):
        place = f"retrieval-quick/{case.cell['layer']}/{case.cell['kernel']}/{STUDY_NAMES[method]}"
        for score, old in NAMES.items():
            assert one.scores[score] == pytest.approx(record[f"{place}/{old}"], abs=1e-9)
            assert one.raw["random"][score] == pytest.approx(record[f"retrieval-quick/random ranking/{old}"])
            assert one.raw["best"][score] == pytest.approx(record[f"retrieval-quick/best in the database/{old}"])
        key = f"retrieval-quick/{case.cell['layer']}/{case.cell['kernel']}/{method}/retrieved"
        if key in record:
            assert one.arrays["found"][:, 0].tolist() == record[key]
        seen += 1
    assert seen == 12


# Sources


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """An untrained network, small enough for many runs."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "tiny.weights.safetensors"
    save_weights(path, ResNet("resnet10", num_classes=5, width=4), {})
    return str(path)


def test_a_random_rsm_ranks_as_a_random_ranking_may_expect(network):
    found = [
        one
        for seed in range(6)
        for _, _, one in met(
            Retrieval(), ["random"], options(Retrieval(), seed=seed, kernels=("linear",), size=32, model=(network,))
        )
    ]
    for score in ("f1", "f1_top5"):
        expected = np.mean([one.raw["random"][score] for one in found])
        values = np.concatenate([one.arrays[score] for one in found])
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values))


def cases(network, **given):
    small = {"queries": 3, "database": 6, "size": 32, "model": (network,), **given}
    return list(Retrieval().cases(options(Retrieval(), **small)))


def test_a_seed_repeats_the_data_and_another_place_changes_it(network):
    first, again, other = (cases(network, place=place)[0].data_sha256 for place in ("scene", "scene", "video"))
    assert first == again != other


def test_own_pictures_layers_kernels_and_centring(tmp_path, network):
    archive = image_zip(tmp_path / "own.zip", ("a", "b", "c"), per_class=4)
    found = cases(
        network, images=(archive,), layers=("layer3", "layer4"), kernels=("cosine",), centring=("position",),
        object_classes=2,
    )  # fmt: skip
    assert [case.name for case in found] == [f"tiny/{layer}/position/cosine" for layer in ("layer3", "layer4")]
    assert [case.size for case in found] == [64, 16]
    assert found[0].inputs()["z"].shape == (3, 16, 64)
    assert found[0].inputs()["z2"].shape == (6, 16, 64)
    assert not found[0].known.data.shareable
    assert len(found[0].known.data.classes) == 2


def test_egoobjects(tmp_path, network):
    folder = egoobjects(tmp_path / "ego")
    # Five wide images with objects and an upright one, of three videos and more.
    case = cases(network, egoobjects=folder, any_format=True, queries=1, database=5)[0]
    data = case.known.data
    assert data.queries.pixels.shape[1:3] == (32, 32)
    assert data.counted
    assert set(data.queries.ids).isdisjoint(data.database.ids)


def test_cityscapes(tmp_path, network):
    folder = cityscapes(tmp_path / "city", queries=3, database=7)
    case = cases(network, cityscapes=folder, queries=3, database=7)[0]
    # Twice as wide as high, and no counts of objects.
    assert case.known.data.queries.pixels.shape[1:3] == (32, 64)
    assert (case.size, case.settings["grid"]) == (4 * 8, (4, 8))
    one = Retrieval().score(case, case.inputs(), Answer({"rsm": np.ones((3, 7))}), case.known, Declaration("rsm", "m"))
    assert set(one.scores) == {"iou", "iou_top5"}
    # Images 0 and 5 of ulm show the classes of image 0 of lindau, and so on.
    assert one.raw["best"]["iou"] == 1
    assert cases(network, cityscapes=folder, queries=3, database=7, frame="square")[0].size == 4 * 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": ("layer7",)}, "no submodule 'layer7'"),
        ({"egoobjects": Path("ego"), "cityscapes": Path("city")}, "one of --images, --egoobjects and --cityscapes"),
        ({"cityscapes": Path("city")}, "asked for 3 images of Cityscapes val, there are 2"),
        ({"egoobjects": Path("ego")}, "asked for 3 and 6 images of EgoObjects test, there are 5"),
        ({"egoobjects": Path()}, "neither here nor in"),
        ({"cityscapes": Path()}, r"holds no leftImg8bit/val/"),
        ({"database": 4}, "database: 4 is not at least 5"),
        ({"place": "room"}, "place: 'room' is not one of"),
        ({"images": (Path("nowhere"),)}, "nowhere"),
        ({"model": ("nowhere.safetensors",)}, "no such checkpoint"),
    ],
)
def test_wrong_use_ends_in_one_message(tmp_path, monkeypatch, network, changed, message):
    monkeypatch.chdir(tmp_path)
    cityscapes(tmp_path / "city", queries=2, database=6)
    egoobjects(tmp_path / "ego")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        cases(network, **changed)
