"""The task translation: planted separations, and networks whose answer is known."""

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
from tests.observing import met, options

torch = pytest.importorskip("torch")

from semrsm_bench.activations.models import Model  # noqa: E402
from tests.small_networks import TinyViT, of_one_layer  # noqa: E402

VALUES = st.floats(-5, 5, width=16)


@given(arrays.arrays(np.float64, st.integers(1, 12), elements=VALUES), arrays.arrays(np.float64, 7, elements=VALUES))
def test_auroc_is_that_of_scikit_learn(positive, negative):
    truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    expected = roc_auc_score(truth, np.r_[positive, negative])
    assert auroc(positive, negative) == pytest.approx(expected, abs=1e-12)
    assert auroc(negative, positive) == pytest.approx(1 - expected, abs=1e-12)
    assert auroc(np.exp(positive), np.exp(negative)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("overlap", "expected"), [(2.0, 1.0), (-1.0, 0.0)])
def test_a_planted_off_diagonal_is_separated_and_found(overlap, expected):
    """Partners have the similarity ``overlap``, all others less than 1; the diagonal plays no part."""
    rsm = np.random.default_rng(0).random((10, 10))
    rsm = (rsm + rsm.T) / 2
    rsm[np.arange(10), (np.arange(10) + 5) % 10] = overlap
    np.fill_diagonal(rsm, 1e6)
    task, inputs = Translation(), {"z": np.zeros((10, 1, 1))}
    case = Case("c", {"model": "net"}, dict, {"batch": ("0",)})
    truth = task.truth(case, inputs, None)
    found = task.score(case, inputs, Answer({"rsm": rsm}), truth, Declaration("rsm", "m"))
    assert found.scores == {"auroc": expected, "partner_first": expected}
    assert found.raw["overlapping"] == overlap
    assert found.raw["pairs"] == 45
    assert 0 < found.raw["unrelated"] < 1
    assert not found_partners(np.ones((6, 6))).any(), "equal similarities find no partner"


def test_what_differs_by_rounding_alone_is_equal():
    up = 1 + 3e-16
    assert auroc(np.full(5, up), np.ones(7)) == auroc(np.ones(5), np.full(7, up)) == 0.5
    rsm = np.ones((6, 6))
    rsm[np.arange(6), (np.arange(6) + 3) % 6] = up
    assert not found_partners(rsm).any()


# Networks whose answer is known


METHODS = ("identity", "translation", "exact-auction", "pooled")


@pytest.fixture
def archive(tmp_path):
    """Pictures of noise: only the same place in the same picture looks alike."""
    return image_zip(tmp_path / "noise.zip", classes=("only",), per_class=20, size=20)


def measured(monkeypatch, model, archive, **given):
    """Means of AUROC and similarities, by shift and method."""
    monkeypatch.setattr(translation, "load_networks", lambda *_: [model])
    found = {}
    for method, case, one in met(Translation(), METHODS, options(Translation(), images=(archive,), **given)):
        for name, value in {**one.scores, **one.raw}.items():
            if name != "scenes":
                found.setdefault((case.cell["shift"], method), {}).setdefault(name, []).append(value)
    assert all(len(values["auroc"]) == 2 for values in found.values()), "20 pictures are two batches"
    return {place: {name: np.mean(values) for name, values in of.items()} for place, of in found.items()}


def test_matching_sees_what_moved_and_same_positions_do_not(monkeypatch, archive):
    """The mean of each tile moves with the picture, tile by tile, and knows no border."""
    model = of_one_layer("tiles", torch.nn.AvgPool2d(2), 16)
    found = measured(monkeypatch, model, archive, shift=((4, 0), (4, 4), (3, 1)), seed=1)
    for shift in ("4x0", "4x4"):
        # Moved by whole tiles: the shared tiles are equal numbers at other places.
        assert found[shift, "translation"]["auroc"] == 1
        assert found[shift, "exact-auction"]["auroc"] > 0.98
        assert found[shift, "identity"]["auroc"] < 0.8
    # By part of a tile every mean is of other pixels, and less is left to see.
    whole, part = (found[shift, "translation"] for shift in ("4x0", "3x1"))
    assert part["overlapping"] - part["unrelated"] < whole["overlapping"] - whole["unrelated"]


def test_tokens_are_positions_without_the_class_token_and_shifted_only_on_a_grid(monkeypatch, archive):
    monkeypatch.setattr(translation, "load_networks", lambda *_: [Model("vit", TinyViT(patch=4), ("block",), 32)])
    cases = list(Translation().cases(options(Translation(), images=(archive,))))
    # 5/16 of 32 pixels, no multiple of the patch of 4.
    assert {(c.cell["shift"], c.size, tuple(c.settings["grid"])) for c in cases} == {("10x0", 64, (8, 8))}
    # 64 patches and a class token that is not left out.
    odd = Model("odd", TinyViT(patch=2), ("block",), 16, drop_tokens=0)
    found = measured(monkeypatch, odd, archive)
    assert {method for _, method in found} == {"identity", "exact-auction", "pooled"}
