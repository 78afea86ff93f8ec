"""The study `translation`: crops, separation, planted networks whose answer is known, and the command."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score

from semrsm_bench.activations.crops import Shift, batches, overlapping_crops, scene_side
from semrsm_bench.activations.models import Model
from semrsm_bench.bench.stats import Interval
from semrsm_bench.cli import main
from semrsm_bench.cli.studies.translation import command
from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC, TRANSLATION, How
from semrsm_bench.studies.separation import POOLED, auroc, crop_pairs, found_partners, separate
from semrsm_bench.studies.study import read_study
from semrsm_bench.studies.translation import Key, translation
from semrsm_bench.studies.translation_figures import spread_layers
from semrsm_bench.studies.translation_report import sentence, verdicts
from tests.image_files import image_zip

torch = pytest.importorskip("torch")


# Crops


@given(st.integers(8, 40), st.integers(0, 39), st.integers(0, 39))
def test_crops_share_the_pixels_that_their_shift_says(size, down, right):
    if down + right == 0 or max(down, right) >= size:
        with pytest.raises(ValueError, match="shift"):
            Shift(down, right).shared(size)
        return
    shift = Shift(down, right)
    side = scene_side(size, [shift])
    scenes = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    crops = overlapping_crops(scenes, size, shift)
    assert crops.shape == (4, size, size, 3)
    height, width = shift.shared(size)
    np.testing.assert_array_equal(crops[:2, down:, right:], crops[2:, :height, :width])


def test_the_paper_s_crops_share_44_by_64_pixels_of_an_84_pixel_picture():
    usual = Shift.usual(64)
    assert (usual.down, usual.right) == (20, 0)
    assert usual.shared(64) == (44, 64)
    assert scene_side(64, [usual]) == 84


@pytest.mark.parametrize("text", ["20", "a,b", "1,2,3", "", "-3,0", "0,0", "1.5,0"])
def test_a_shift_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="shift"):
        Shift.parse(text)


def test_pictures_too_small_for_a_shift_are_refused():
    with pytest.raises(ValueError, match="hold no crops"):
        overlapping_crops(np.zeros((2, 64, 64, 3), np.uint8), 64, Shift(1, 0))


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=60), st.integers(2, 10), st.integers(0, 5))
def test_batches_hold_every_picture_once(labels, size, seed):
    labels = np.array(labels)
    if len(labels) % size:
        with pytest.raises(ValueError, match="batches of"):
            batches(labels, size, seed)
        return
    found = batches(labels, size, seed)
    assert [len(batch) for batch in found] == [size] * (len(labels) // size)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(labels)))


def test_pictures_of_one_photograph_do_not_share_a_batch_where_that_is_possible():
    labels = np.repeat(np.arange(10), 7)
    for batch in batches(labels, 10, seed=3):
        assert len(set(labels[batch].tolist())) == 10


# Separation

VALUES = st.floats(-5, 5, width=16)


@given(arrays.arrays(np.float64, st.integers(1, 12), elements=VALUES), arrays.arrays(np.float64, 7, elements=VALUES))
def test_auroc_is_that_of_scikit_learn(positive, negative):
    truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    expected = roc_auc_score(truth, np.r_[positive, negative])
    assert auroc(positive, negative) == pytest.approx(expected, abs=1e-12)
    assert auroc(negative, positive) == pytest.approx(1 - expected, abs=1e-12)
    assert auroc(np.exp(positive), np.exp(negative)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("positive", "negative"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0])])
def test_auroc_of_nothing_or_nan_is_refused(positive, negative):
    with pytest.raises(ValueError, match="AUROC"):
        auroc(positive, negative)


def test_pairs_of_crops_are_counted_as_the_paper_s_batches_have_them():
    rows, columns, same = crop_pairs(10)
    assert len(rows) == 190
    assert same.sum() == 10
    assert np.all(columns[same] - rows[same] == 10)


def planted(n, overlap, seed=0):
    """RSM of 2 n crops: partners have the similarity ``overlap``, all others less than 1."""
    values = np.random.default_rng(seed).random((2 * n, 2 * n))
    values = (values + values.T) / 2
    rows, columns, same = crop_pairs(n)
    values[rows[same], columns[same]] = values[columns[same], rows[same]] = overlap
    return values


@pytest.mark.parametrize(("overlap", "expected", "partners"), [(2.0, 1.0, 1.0), (-1.0, 0.0, 0.0)])
def test_a_planted_off_diagonal_is_separated_and_found(overlap, expected, partners):
    found = separate([planted(5, overlap, seed) for seed in range(3)])
    assert found.auroc == Interval(expected, expected, expected)
    assert found.partners == partners
    assert found.overlapping.shape == (15,)
    assert found.unrelated.shape == (3 * 40,)


def test_equal_similarities_find_no_partner():
    assert not found_partners(np.ones((6, 6))).any()


def test_the_diagonal_plays_no_part():
    rsm = planted(4, 0.5)
    other = rsm.copy()
    np.fill_diagonal(other, 1e6)
    np.testing.assert_array_equal(separate([rsm]).per_batch, separate([other]).per_batch)
    assert separate([rsm]).partners == separate([other]).partners


@pytest.mark.parametrize(
    "rsm", [np.ones((2, 2)), np.ones((5, 5)), np.arange(16.0).reshape(4, 4), np.full((4, 4), np.nan)]
)
def test_what_is_no_rsm_of_crops_is_refused(rsm):
    with pytest.raises(ValueError):
        separate([rsm])


# Networks whose answer is known


def tiles(side, stride):
    """A "network" whose only layer is the mean of each tile: it moves with the picture, tile by tile, and knows no border."""
    network = torch.nn.Sequential()
    network.add_module("tiles", torch.nn.AvgPool2d(stride))
    return Model(f"tiles-{stride}", network.eval(), ("tiles",), side)


def noise_archive(path, pictures=20, side=20):
    """Pictures of coarse noise: nothing but the same place in the same picture looks alike."""
    return image_zip(path, classes=("only",), per_class=pictures, size=side)


def found(result, matching, shift):
    rows = pd.DataFrame(result.rows)
    return rows[(rows.matching == matching) & (rows["shift"] == shift)]


def separation(result, matching, shift):
    rows = found(result, matching, shift)
    return auroc(rows[rows.overlapping].similarity, rows[~rows.overlapping].similarity)


def test_matching_sees_what_moved_and_same_positions_do_not(tmp_path):
    archive = noise_archive(tmp_path / "noise.zip")
    shifts = [Shift(4, 0), Shift(4, 4), Shift(3, 1)]
    result = translation([tiles(16, 2)], images=[archive], count=20, shifts=shifts, seed=1)
    for shift in ("4,0", "4,4"):
        # Moved by whole tiles: the shared tiles are equal numbers at other places.
        assert separation(result, TRANSLATION, shift) == 1
        assert separation(result, SEMANTIC, shift) > 0.98
        assert separation(result, SPATIO_SEMANTIC, shift) < 0.8
    # By part of a tile every mean is of other pixels, and less is left to see.
    apart = {s: found(result, TRANSLATION, s).groupby("overlapping").similarity.mean() for s in ("4,0", "3,1")}
    assert apart["3,1"][True] - apart["3,1"][False] < apart["4,0"][True] - apart["4,0"][False]
    assert result.rows[0].keys() == result.rows[-1].keys()
    assert len(result.rows) == 4 * 3 * 2 * 190
    assert "better than the spatio-semantic one in 3 of 3 cases (1 layer, 3 shifts)" in result.sentence
    assert "shifted by 4,0; 4,4; 3,1 pixels" in result.sentence


def test_a_semantic_rsm_is_never_below_the_others_of_its_layer(tmp_path):
    archive = noise_archive(tmp_path / "noise.zip")
    result = translation([tiles(16, 2)], images=[archive], count=10, shifts=[Shift(3, 2)])
    values = {m: found(result, m, "3,2").similarity.to_numpy() for m in (SPATIO_SEMANTIC, TRANSLATION, SEMANTIC)}
    assert np.all(values[SPATIO_SEMANTIC] <= values[TRANSLATION] + 1e-6)
    assert np.all(values[TRANSLATION] <= values[SEMANTIC] + 1e-6)


def test_centring_by_channel_and_the_bandwidth_change_no_auroc_of_the_rbf_kernel(tmp_path):
    archive = noise_archive(tmp_path / "noise.zip")
    tables = []
    for how in (How(("rbf",)), How(("rbf",), centring="none"), How(("rbf",), sigma="kornblith")):
        result = translation([tiles(16, 2)], images=[archive], count=20, shifts=[Shift(3, 2)], how=how)
        tables.append([row[5] for row in result.tables[0].rows])
    np.testing.assert_allclose(tables[1], tables[0], atol=1e-9)
    np.testing.assert_allclose(tables[2], tables[0], atol=1e-9)


class TinyTransformer(torch.nn.Module):
    """Patches, a class token, one block of attention; untrained."""

    def __init__(self, side, patch, width=12):
        super().__init__()
        torch.manual_seed(0)
        self.patches = torch.nn.Conv2d(3, width, patch, stride=patch)
        self.token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.place = torch.nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2 + 1, width))
        self.block = torch.nn.TransformerEncoderLayer(width, 2, 24, dropout=0.0, batch_first=True)
        self.head = torch.nn.Linear(width, 7)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1) + self.place
        return self.head(self.block(tokens)[:, 0])


def test_a_transformer_s_tokens_are_positions_without_the_class_token(tmp_path):
    archive = noise_archive(tmp_path / "noise.zip", side=44)
    model = Model("tiny-vit", TinyTransformer(32, 4).eval(), ("block",), 32)
    result = translation([model], images=[archive], count=20)
    # 5/16 of 32 pixels, no multiple of the patch of 4.
    assert {row["shift"] for row in result.rows} == {"10,0"}
    assert {row["positions"] for row in result.rows} == {64}
    assert {row["matching"] for row in result.rows} == {SPATIO_SEMANTIC, TRANSLATION, SEMANTIC, POOLED}
    assert result.inputs["networks"][0]["model"] == "tiny-vit"


def test_tokens_that_are_no_grid_leave_out_translation_and_are_drawn(tmp_path):
    archive = noise_archive(tmp_path / "noise.zip", side=20)

    class Tokens(torch.nn.Module):
        def forward(self, x):
            return x.flatten(2).transpose(1, 2)[:, :90]

    network = torch.nn.Sequential()
    network.add_module("tokens", Tokens())
    result = translation([Model("odd", network, ("tokens",), 16)], images=[archive], count=20)
    assert {row["matching"] for row in result.rows} == {SPATIO_SEMANTIC, SEMANTIC, POOLED}


def test_the_same_seed_gives_the_same_rows_and_another_one_other_batches():
    models = [tiles(64, 8)]
    first, again, other = (translation(models, count=20, seed=s).rows for s in (0, 0, 1))
    assert first == again
    assert first != other


# Words


def key(layer, matching):
    return Key("net", Shift(20, 0), layer, matching, "rbf")


@pytest.mark.parametrize(
    ("semantic", "spatial", "expected"),
    [
        (2.0, 0.5, "better than the spatio-semantic one in 1 of 1 layer, worse in 0, with no clear difference in 0"),
        (-1.0, 0.5, "better than the spatio-semantic one in 0 of 1 layer, worse in 1, with no clear difference in 0"),
        (0.5, 0.5, "better than the spatio-semantic one in 0 of 1 layer, worse in 0, with no clear difference in 1"),
    ],
)
def test_the_sentence_says_which_way_it_fell(semantic, spatial, expected):
    from semrsm_bench.studies.translation_report import differences

    values = {SEMANTIC: semantic, SPATIO_SEMANTIC: spatial, POOLED: 0.5}
    separations = {key("a", m): separate([planted(5, v, seed) for seed in range(4)]) for m, v in values.items()}
    compared = differences(separations)
    assert expected in sentence(separations, compared)
    assert sum(verdicts(compared, SEMANTIC)) == 1


def test_one_batch_gives_no_verdict():
    separations = {key("a", m): separate([planted(5, 0.5)]) for m in (SEMANTIC, SPATIO_SEMANTIC, POOLED)}
    assert "without an interval" in sentence(separations, {})


@given(st.integers(1, 40), st.integers(2, 8))
@settings(max_examples=30)
def test_layers_to_draw_are_few_and_keep_both_ends(count, most):
    layers = [f"l{k}" for k in range(count)]
    drawn = spread_layers(layers, most)
    assert len(drawn) == len(set(drawn)) == min(count, most)
    assert (drawn[0], drawn[-1]) == (layers[0], layers[-1])


# The command


def test_quick_on_the_defaults_writes_everything(tmp_path):
    ran = CliRunner().invoke(command, ["--quick", "--quiet", "--jobs", "1", "--out", str(tmp_path), "--json"])
    assert ran.exit_code == 0, ran.output
    content = read_study(tmp_path)
    assert json.loads(ran.stdout) == content
    assert content["quick"] is True
    assert {figure["file"] for figure in content["figures"]} == {"rsms.png", "auroc.png", "crops.png"}
    assert all((tmp_path / figure["file"]).stat().st_size > 5000 for figure in content["figures"])
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert set(rows.layer) == {"layer2", "layer3", "layer4"}
    assert len(content["inputs"]["picture_ids"]) == 20
    # Each table's AUROC is the mean over batches of that of the rows.
    layer = rows[(rows.layer == "layer3") & (rows.matching == SEMANTIC)]
    values = [auroc(b[b.overlapping].similarity, b[~b.overlapping].similarity) for _, b in layer.groupby("batch")]
    line = next(r for r in content["tables"][0]["rows"] if r[0] == "layer3" and r[2] == "semantic (exact-auction)")
    assert line[5] == pytest.approx(np.mean(values))
    assert content["sentence"].endswith("without any matching.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "15"], "15 pictures do not make batches of 10; take 10 or 20"),
        (["--count", "1000"], "photographs give"),
        (["--shift", "64,0"], "do not overlap"),
        (["--shift", "down"], "DOWN,RIGHT"),
        (["--layers", "layer9"], "layer9"),
        (["--matching", "exact-aucton"], "exact-auction"),
        (["--kernel", "gauss"], "gauss"),
        (["--model", "no-such-file"], "no-such-file"),
        (["--layers", "layer1"], "--quick leaves out layers"),
    ],
)
def test_wrong_use_is_told_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["study", "translation", "--quick", "--quiet", "--jobs", "1", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_missing_pictures_are_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["study", "translation", "--images", str(tmp_path / "none.zip")])
    assert stopped.value.code == 2
    assert "none.zip" in capsys.readouterr().err
