"""The task retrieval: a random ranking against all draws, planted scenes, three kinds of data."""

import itertools
import math
from dataclasses import replace

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
from tests.observing import met, options, result


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


def side(counts, groups, name="q"):
    pixels = np.zeros((len(counts), 8, 8, 3), dtype=np.uint8)
    return RetrievalSide(pixels, np.array(counts), list(groups), [f"{name}{i}" for i in range(len(counts))])


def planted(queries=30, seed=0):
    """Scenes of three of six objects; every position shows one object, and each of three videos has them in another order.

    Returns the data, where the first video of each scene asks for the others, and activations (n, 6, 9) of both sides.
    """
    rng = np.random.default_rng(seed)
    objects = rng.integers(6, size=(queries, 3))
    counts = np.array([np.bincount(scene, minlength=6) for scene in objects])
    orders = rng.permuted(np.repeat(objects, 3, axis=0).repeat(3, axis=1), axis=1)
    z = np.eye(6)[orders].transpose(0, 2, 1) + 0.01 * rng.standard_normal((3 * queries, 6, 9))
    sides = (
        side(counts, [f"{scene}/0" for scene in range(queries)]),
        side(counts.repeat(2, axis=0), [f"{scene}/{video}" for scene in range(queries) for video in (1, 2)], "d"),
    )
    return RetrievalData(*sides, list("abcdef"), True, True), z[::3], z[np.arange(len(z)) % 3 > 0]


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


def test_images_of_the_same_video_are_left_out_and_the_best_of_five_is_at_least_the_first():
    data, asking, asked = planted(queries=12)
    # The database holds the queries themselves too: the most similar images by far, and of the same video.
    groups = data.queries.groups + data.database.groups
    both = replace(data, database=side(np.concatenate([data.queries.counts, data.database.counts]), groups, "d"))
    rsm = compute_rsm(asking, np.concatenate([asking, asked]), kernel="rbf", matching="ortools")
    assert (rsm.argmax(axis=1) == np.arange(12)).all()
    _, one = scored(both, rsm)
    assert one.raw["pairs"] == rsm.size
    for query, found in enumerate(one.arrays["found"]):
        assert data.queries.groups[query] not in {groups[i] for i in found}
        assert len(set(found)) == 5
    for score in ("f1", "iou"):
        assert (one.arrays[f"{score}_top5"] >= one.arrays[score]).all()
        assert one.raw["random"][f"{score}_top5"] > one.raw["random"][score]
    for name, value in one.scores.items():
        assert one.raw["random"][name] < value <= one.raw["best"][name]


def test_scores_are_means_over_the_drawn_queries_whose_score_is_defined():
    # Query 0 and the whole database show nothing: F1 is undefined.
    data = RetrievalData(side([[0], [1], [1]], "abb"), side([[0]] * 4 + [[1]], "ccccc", "d"), ["x"], True, True)
    case, one = scored(data, np.ones((3, 5)))
    assert (one.scores["f1"], one.raw["random"]["f1"], one.scores["iou"]) == (0, pytest.approx(0.4 / 3), 0)
    values = {"f1": [np.nan, 0.0, 1.0], "iou": [0.0, 0.5, 1.0]}
    one = replace(one, arrays={**one.arrays, **{name: np.array(v) for name, v in values.items()}})
    found = Retrieval().aggregate(
        [result(case, one)], np.array([[1.0, 1, 1], [2, 0, 0], [3, 2, 1]]), ["q2", "q0", "q1"]
    )
    np.testing.assert_allclose(found["f1"], [1 / 2, 1, 3 / 4])
    np.testing.assert_allclose(found["iou"], [1.5 / 3, 1, 3.5 / 6])


def cases(nets, **given):
    small = {"queries": 3, "database": 6, "size": 32, "model": (nets["a"],), **given}
    return list(Retrieval().cases(options(Retrieval(), **small)))


def test_a_random_rsm_ranks_as_a_random_ranking_may_expect(nets):
    found = [
        one
        for seed in range(6)
        for _, _, one in met(
            Retrieval(), ["random"], options(Retrieval(), seed=seed, kernels=("linear",), size=32, model=(nets["a"],))
        )
    ]
    for score in ("f1", "f1_top5"):
        expected = np.mean([one.raw["random"][score] for one in found])
        values = np.concatenate([one.arrays[score] for one in found])
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values))


def test_frames_of_composed_scenes_are_grouped_by_video(nets):
    data, other = (
        cases(nets, queries=20, database=60, kernels=("linear",), place=place)[0].known.data
        for place in ("scene", "video")
    )
    assert (data.queries.pixels != other.queries.pixels).any()
    # Ten scenes of four videos of two frames, all of which are drawn.
    frames = sorted(
        (int(name), group) for half in (data.queries, data.database) for name, group in zip(half.ids, half.groups)
    )
    assert frames == [(k, str(k // 2)) for k in range(80)]


@pytest.mark.parametrize(
    ("given", "shape", "counted"),
    [
        ({"object_classes": 2, "images": True}, (32, 32), True),
        ({"egoobjects": egoobjects, "any_format": True, "queries": 1, "database": 5}, (32, 32), True),
        ({"cityscapes": cityscapes, "database": 7}, (32, 64), False),
        ({"cityscapes": cityscapes, "database": 7, "frame": "square"}, (32, 32), False),
    ],
)
def test_pictures_of_every_source_have_their_frame_and_are_not_shareable(tmp_path, nets, given, shape, counted):
    if "images" in given:
        given = given | {"images": (image_zip(tmp_path / "mine.zip", ("a", "b", "c"), per_class=4),)}
    given = {name: value(tmp_path / "data") if callable(value) else value for name, value in given.items()}
    found = cases(nets, layers=("layer3", "layer4"), kernels=("cosine",), centring=("position",), **given)
    assert [case.name for case in found] == [f"a/{layer}/position/cosine" for layer in ("layer3", "layer4")]
    case, data = found[1], found[1].known.data
    assert data.queries.pixels.shape[1:3] == shape
    assert (data.counted, data.shareable) == (counted, False)
    assert set(data.queries.ids).isdisjoint(data.database.ids)
    height, width = (-(-side // 8) for side in shape)
    assert (case.size, case.settings["grid"]) == (height * width, (height, width))
    for name, half in (("z", data.queries), ("z2", data.database)):
        assert case.inputs()[name].shape == (len(half), 32, case.size)
    rsm = np.ones((len(data.queries), len(data.database)))
    one = Retrieval().score(case, case.inputs(), Answer({"rsm": rsm}), case.known, Declaration("rsm", "m"))
    assert set(one.scores) == ({"f1", "f1_top5"} if counted else set()) | {"iou", "iou_top5"}
    if not counted:
        # Images 0 and 5 of ulm show the classes of image 0 of lindau, and so on.
        assert one.raw["best"]["iou"] == 1
