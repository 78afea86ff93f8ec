"""The task translation: separation, networks whose answer is known, the same figures as before, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Case
from semrsm_bench.tasks import translation
from semrsm_bench.tasks.translation import Translation, auroc, found_partners
from tests.image_files import image_zip
from tests.reference import reference
from tests.task_driver import STUDY_NAMES, met, options, result

torch = pytest.importorskip("torch")

from semrsm_bench.activations.models import Model  # noqa: E402
from tests.small_networks import TinyViT  # noqa: E402

VALUES = st.floats(-5, 5, width=16)


@given(arrays.arrays(np.float64, st.integers(1, 12), elements=VALUES), arrays.arrays(np.float64, 7, elements=VALUES))
def test_auroc_is_that_of_scikit_learn(positive, negative):
    truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    expected = roc_auc_score(truth, np.r_[positive, negative])
    assert auroc(positive, negative) == pytest.approx(expected, abs=1e-12)
    assert auroc(negative, positive) == pytest.approx(1 - expected, abs=1e-12)
    assert auroc(np.exp(positive), np.exp(negative)) == pytest.approx(expected, abs=1e-12)


def planted(n, overlap, seed=0):
    """RSM of 2 n crops: partners have the similarity ``overlap``, all others less than 1."""
    values = np.random.default_rng(seed).random((2 * n, 2 * n))
    values = (values + values.T) / 2
    partner = (np.arange(2 * n) + n) % (2 * n)
    values[np.arange(2 * n), partner] = overlap
    return values


def scored(rsm, number=0):
    given = {"z": np.zeros((len(rsm), 1, 1))}
    case = Case("c", {"model": "net"}, dict, {"batch": (str(number),)})
    task = Translation()
    return case, task.score(case, given, Answer({"rsm": rsm}), task.truth(case, given, None), Declaration("rsm", "m"))


@pytest.mark.parametrize(("overlap", "expected"), [(2.0, 1.0), (-1.0, 0.0)])
def test_a_planted_off_diagonal_is_separated_and_found(overlap, expected):
    rsm = planted(5, overlap)
    # The diagonal plays no part.
    np.fill_diagonal(rsm, 1e6)
    _, found = scored(rsm)
    assert found.scores == {"auroc": expected, "partner_first": expected}
    assert found.raw["overlapping"] == overlap
    assert 0 < found.raw["unrelated"] < 1
    assert not found_partners(np.ones((6, 6))).any(), "equal similarities find no partner"


@pytest.mark.parametrize("rsm", [np.ones((5, 6)), np.arange(16.0).reshape(4, 4), np.full((4, 4), np.nan)])
def test_what_is_no_rsm_of_crops_is_invalid(rsm):
    with pytest.raises(ValueError, match="RSM"):
        scored(rsm)


def test_scores_are_means_over_the_batches_that_are_drawn():
    met_all = [scored(planted(4, overlap, k), k) for k, overlap in enumerate((2.0, 0.5, -1.0))]
    draws = np.array([[1.0, 1, 1], [0, 3, 0], [2, 0, 1]])
    found = Translation().aggregate([result(*one) for one in met_all], draws, ["0", "1", "2"])
    values = np.array([one.scores["auroc"] for _, one in met_all])
    np.testing.assert_allclose(found["auroc"], [values.mean(), values[1], (2 * values[0] + values[2]) / 3])


# Networks whose answer is known


def tiles(side, stride):
    """A "network" whose only layer is the mean of each tile: it moves with the picture, tile by tile, and knows no border."""
    network = torch.nn.Sequential()
    network.add_module("tiles", torch.nn.AvgPool2d(stride))
    return Model(f"tiles-{stride}", network.eval(), ("tiles",), side)


METHODS = ("identity", "translation", "exact-auction", "pooled")


def measured(monkeypatch, model, archive, **given):
    """AUROC and RSMs by shift and method, of pictures of noise: only the same place in the same picture looks alike."""
    monkeypatch.setattr(translation, "load_networks", lambda *_: [model])
    found = {}
    for method, case, one in met(Translation(), METHODS, options(Translation(), images=(archive,), **given)):
        found.setdefault((case.cell["shift"], method), []).append(one)
    return found


@pytest.fixture
def archive(tmp_path):
    return image_zip(tmp_path / "noise.zip", classes=("only",), per_class=20, size=20)


def mean(found, shift, method, what="auroc"):
    return np.mean([{**one.scores, **one.raw}[what] for one in found[shift, method]])


def test_matching_sees_what_moved_and_same_positions_do_not(monkeypatch, archive):
    found = measured(monkeypatch, tiles(16, 2), archive, shift=((4, 0), (4, 4), (3, 1)), seed=1)
    assert all(len(batches) == 2 for batches in found.values())
    for shift in ("4,0", "4,4"):
        # Moved by whole tiles: the shared tiles are equal numbers at other places.
        assert mean(found, shift, "translation") == 1
        assert mean(found, shift, "exact-auction") > 0.98
        assert mean(found, shift, "identity") < 0.8
    # By part of a tile every mean is of other pixels, and less is left to see.
    apart = [
        mean(found, s, "translation", "overlapping") - mean(found, s, "translation", "unrelated")
        for s in ("4,0", "3,1")
    ]
    assert apart[1] < apart[0]


def test_a_transformers_tokens_are_positions_without_the_class_token(monkeypatch, archive):
    model = Model("tiny-vit", TinyViT(patch=4), ("block",), 32)
    monkeypatch.setattr(translation, "load_networks", lambda *_: [model])
    cases = list(Translation().cases(options(Translation(), images=(archive,))))
    # 5/16 of 32 pixels, no multiple of the patch of 4.
    assert {case.cell["shift"] for case in cases} == {"10,0"}
    assert {(case.size, tuple(case.settings["grid"])) for case in cases} == {(64, (8, 8))}


def test_tokens_that_are_no_grid_are_not_shifted(monkeypatch, archive):
    # 64 patches and a class token that is not left out.
    model = Model("odd", TinyViT(patch=2), ("block",), 16, drop_tokens=0)
    assert {method for _, method in measured(monkeypatch, model, archive)} == {"identity", "exact-auction", "pooled"}


def test_the_figures_of_the_study_that_it_was():
    record = reference.studies()
    found, layers = {}, set()
    for method, case, one in met(Translation(), METHODS, options(Translation())):
        layers.add(case.cell["layer"])
        found.setdefault(f"translation/{case.cell['layer']}/rbf/{STUDY_NAMES[method]}", []).append(one.scores)
    assert layers == {"layer2", "layer3", "layer4"}
    for place, scores in found.items():
        assert np.mean([one["auroc"] for one in scores]) == pytest.approx(record[f"{place}/AUROC"], abs=1e-9)
        first = 100 * np.mean([one["partner_first"] for one in scores])
        assert first == pytest.approx(record[f"{place}/partner first %"], abs=1e-9)


def test_another_seed_makes_other_batches(monkeypatch, archive):
    monkeypatch.setattr(translation, "load_networks", lambda *_: [tiles(16, 2)])
    found = [list(Translation().cases(options(Translation(), images=(archive,), seed=seed))) for seed in (0, 0, 1)]
    names, digests = ([[getattr(case, what) for case in cases] for cases in found] for what in ("name", "data_sha256"))
    assert names[0] == names[1] == names[2]
    assert digests[0] == digests[1]
    assert not set(digests[0]) & set(digests[2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 15}, "15 pictures do not make batches of 10; take a multiple"),
        ({"count": 1000}, "photographs give"),
        ({"shift": ((64, 0),)}, "do not overlap"),
        ({"shift": ((0, 0),)}, "a shift goes down"),
        ({"layers": ("layer9",)}, "layer9"),
        ({"batch": 1}, "batch: 1 is not at least 2"),
        ({"kernels": ("gauss",)}, "gauss"),
        ({"model": ("no-such-file",)}, "no-such-file"),
        ({"images": ("none.zip",)}, "none.zip"),
    ],
)
def test_wrong_use_ends_in_one_message(given, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        list(Translation().cases(options(Translation(), **given)))
