"""Pictures of tasks: what they draw is what the rows and their arrays hold."""

import itertools
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from semrsm_bench.activations.retrieval import from_scenes
from semrsm_bench.activations.scenes import parts_of_packages
from semrsm_bench.bench.summary import results_of, summarise
from semrsm_bench.core.stats import Interval
from semrsm_bench.metrics.registry import get_metric
from semrsm_bench.report.figures import draw_all, instances, layers, matching, outputs, retrieval, translation
from semrsm_bench.report.figures.parts import by_depth, contact_sheet, heat, method_looks, words_of
from semrsm_bench.report.results import TaskResults, read_results
from semrsm_bench.report.style import RC, new_figure
from semrsm_bench.tasks.networks import thumbnails
from semrsm_bench.tasks.registry import get_task

from .image_files import image_zip
from .synthetic_rows import make_row
from .task_runs import write_task_run

pytest.importorskip("torch")

NETWORKS = [f"data/resnet{depth}-quarter-seed{seed}.weights.safetensors" for seed in (0, 1) for depth in (10, 18)]
SMALL = NETWORKS[:2]


class Drawn:
    """A run of one task with its pictures."""

    def __init__(self, module, folder, methods, **given):
        self.task, self.folder = get_task(module.__name__.rpartition(".")[2]), folder / "run"
        self.rows = write_task_run(self.folder, self.task, methods, **{"layers": ("layer3", "layer4"), **given})
        with mpl.rc_context(dict(RC)):
            self.drawings = {d.name: d for d in module.draw(self.results())}
            for drawing in self.drawings.values():
                assert drawing.caption
                assert drawing.alt
                drawing.figure.canvas.draw()

    def results(self):
        return TaskResults(self.task, self.rows, summarise(self.rows, self.task, self.folder), {}, self.folder)

    def arrays(self, method, **cell):
        """Arrays of the rows of a method in a cell, in order."""
        mine = [r for r in self.rows if r["method"] == method and all(r["cell"][k] == v for k, v in cell.items())]
        return [result.arrays for result in results_of(mine, self.folder)]

    def summary(self, method, **cell):
        found = summarise(self.rows, self.task, self.folder)
        (one,) = [s for s in found if s.method == method and all(s.place[k] == v for k, v in cell.items())]
        return one

    def panels(self, name, title):
        """Axes of a figure whose title starts so."""
        axes = self.drawings[name].figure.axes
        return [a for a in axes if any(t.startswith(title) for t in (a.get_title(), a.get_title(loc="left")))]


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    shifts = (20, 0), (13, 7)
    methods = ("pooled", "identity", "greedy")
    return Drawn(
        translation, tmp_path_factory.mktemp("crops"), methods, model=SMALL[:1], shift=shifts, count=8, batch=4
    )


def test_rsms_are_those_of_the_first_batch_and_figures_are_the_aurocs_of_the_summaries(crops):
    assert set(crops.drawings) == {"rsms-20x0", "rsms-13x7", "auroc", "crops"}
    figure = crops.drawings["rsms-13x7"].figure
    # From the input on, methods in their order with baselines last.
    assert [a.get_title() for a in figure.axes if a.get_title()] == ["layer3, S = 256", "layer4, S = 64"]
    methods, depths = ("identity", "greedy", "pooled"), ("layer3", "layer4")
    assert [a.get_ylabel() for a in figure.axes if a.get_ylabel()][:3] == [*methods]
    images = [a.images[0].get_array() for a in figure.axes if a.images and len(a.images[0].get_array()) == 8]
    for image, (method, layer) in zip(images, itertools.product(methods, depths), strict=True):
        np.testing.assert_array_equal(image, crops.arrays(method, layer=layer, shift="13x7")[0]["rsm"])
    (below,) = [a for a in figure.axes if a.get_ylabel().startswith("similarity")]
    (axes,) = crops.panels("auroc", "shift 13x7")
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    for method, text in zip(methods, below.texts, strict=True):
        aurocs = [crops.summary(method, layer=la, shift="13x7").scores["auroc"].value for la in depths]
        assert lines[method] == pytest.approx(aurocs)
        assert text.get_text() == f"{aurocs[0]:.2f}"
    assert "8 overlapping and 48 unrelated pairs" in crops.drawings["rsms-13x7"].caption


def test_crops_are_framed_where_they_were_cut(crops):
    axes = crops.drawings["crops"].figure.axes[0]
    frames = {p.get_label(): (p.get_x() + 0.5, p.get_y() + 0.5, p.get_width()) for p in axes.patches}
    assert frames == {"first crop": (0, 0, 64), "shifted by 20x0": (0, 20, 64), "shifted by 13x7": (7, 13, 64)}
    assert axes.images[0].get_array().shape == (84, 84, 3)
    assert crops.drawings["crops"].shareable


def test_pictures_of_a_user_are_marked(tmp_path):
    mine = image_zip(tmp_path / "mine.zip")
    drawn = Drawn(
        translation, tmp_path, ("pooled",), images=(mine,), model=SMALL[:1], layers=("layer4",), count=8, batch=4
    )
    assert {name for name, d in drawn.drawings.items() if not d.shareable} == {"crops"}
    results = read_results(drawn.folder)
    for private in (False, True):
        files = draw_all(results, tmp_path / str(private), formats=["png"], private=private)
        assert ("crops.png" in {path.name for path in files}) == private
        assert {"rsms.png", "auroc.png"} <= {path.name for path in files}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    given = {"model": SMALL[:1], "queries": 6, "database": 20, "kernels": ("linear", "cosine")}
    return Drawn(retrieval, tmp_path_factory.mktemp("found"), ("identity", "pooled"), **given)


def test_the_contact_sheet_shows_what_was_found(found):
    data = from_scenes(parts_of_packages(), 6, 20, 64)
    images = [a.images[0].get_array() for a in found.drawings["pictures"].figure.axes]
    texts = [a.get_xlabel() for a in found.drawings["pictures"].figure.axes]
    rankings = [found.arrays(m, layer="layer4", kernel="cosine")[0]["found"] for m in ("identity", "pooled")]
    shown = [(query, ranking) for query in range(3) for ranking in rankings]
    assert len(images) == 4 * len(shown)
    for row, (query, ranking) in enumerate(shown):
        np.testing.assert_array_equal(images[4 * row], data.queries.pixels[query])
        for column, image in enumerate(ranking[query, :3], start=1):
            np.testing.assert_array_equal(images[4 * row + column], data.database.pixels[image])
            counts, other = data.queries.counts[query], data.database.counts[image]
            f1 = 2 * np.minimum(counts, other).sum() / (counts.sum() + other.sum())
            caption = texts[4 * row + column].replace("\n", " ")
            assert caption.startswith(f"{f1:.2f}: ")
            for index in np.flatnonzero(other):
                assert data.classes[index] in caption


def test_scores_of_retrieval_are_those_of_the_table_with_chance_beside_them(found):
    (axes,) = found.panels("scores", "F1@1, layer4")
    single = [line for line in axes.lines if line.get_marker() not in ("None", "") and len(line.get_xdata()) == 1]
    places = itertools.product(("identity", "pooled"), ("linear", "cosine"))
    of_place = [found.summary(method, layer="layer4", kernel=kernel).scores for method, kernel in places]
    expected = [scores[name].value for scores in of_place for name in ("f1", "f1_top5")]
    assert sorted(line.get_xdata()[0] for line in single) == pytest.approx(sorted(expected))
    random = next(r["raw"]["random"]["f1"] for r in found.rows)
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == pytest.approx([random])


def test_all_pairs_are_drawn_with_their_correlation(tmp_path):
    given = {"model": SMALL, "count": 12, "kernels": ("linear",), "centring": ("none", "channel")}
    said = Drawn(outputs, tmp_path, ("identity", "exact-auction"), **given)
    assert set(said.drawings) == {"pairs", "correlations"}
    (axes,) = said.panels("pairs", "identity, Pearson")
    assert axes.collections[0].get_array().sum() == 66
    arrays = said.arrays("identity", model="resnet10-quarter-seed0", layer="layer4", centring="none")[0]
    assert axes.get_title().endswith(f"{np.corrcoef(arrays['rsm'], arrays['divergence'])[0, 1]:.3f}")


@pytest.fixture(scope="module")
def agreed(tmp_path_factory):
    given = {"model": NETWORKS, "count": 48, "folds": 3, "reorderings": 2}
    return Drawn(instances, tmp_path_factory.mktemp("agreed"), ("dispersion", "pairwise_cosine"), **given)


def test_pictures_at_both_ends_are_those_with_the_largest_and_smallest_scores(agreed):
    assert set(agreed.drawings) == {"scores", "predictors", "reliability", "pictures"}
    arrays = agreed.arrays("pairwise_cosine", layer="layer4")[0]
    scores, chosen = arrays["scores"], get_task("instances").options(count=48).pictures(64)
    figure = agreed.drawings["pictures"].figure
    order = np.argsort(-scores, kind="stable")
    for axes, picture in zip(figure.axes, [*order[:16], *order[-16:]], strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), chosen.pixels[picture])
    assert figure.axes[0].get_xlabel().startswith(f"{scores.max():.2f}\n")
    assert figure.axes[31].get_xlabel().startswith(f"{scores.min():.2f}\n")
    assert agreed.drawings["pictures"].shareable


def test_predictors_and_reliability_are_rank_correlations_and_histograms_count_every_picture(agreed):
    shallow, deep = (agreed.arrays("pairwise_cosine", layer=layer)[0] for layer in ("layer3", "layer4"))
    left, right = agreed.drawings["predictors"].figure.axes
    names = [t.get_text() for t in left.get_yticklabels()]
    assert names[-1] == "distance from the mean"
    (simple,) = [line for line in left.lines if line.get_label() == "Spearman"]
    place = names.index("edge density")
    expected = spearmanr(deep["scores"], deep["edge_density"]).statistic
    assert simple.get_xdata()[place] == right.images[0].get_array()[place, 1] == pytest.approx(expected)
    # Bars are drawn in the order of the dots, and hold them.
    low, high = np.array([s[:, 0] for s in left.collections[0].get_segments()]).T
    assert ((low <= simple.get_xdata() + 1e-12) & (simple.get_xdata() <= high + 1e-12)).all()
    table = agreed.drawings["reliability"].figure.axes[1].images[0].get_array()
    assert table[0, 1] == pytest.approx(spearmanr(shallow["scores"], deep["scores"]).statistic)
    assert list(np.diag(table)) == pytest.approx([1, 1])
    first, second = agreed.drawings["scores"].figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("layer3", "layer4")
    bars = first.patches[:70]
    assert sum(b.get_height() * b.get_width() for b in bars) == pytest.approx(1)
    assert min(b.get_x() for b in bars if b.get_height()) <= shallow["scores"].min()


def test_arrays_without_pictures_are_drawn_without_them(tmp_path):
    files = tuple(tmp_path / f"{name}.npy" for name in "ab")
    for k, file in enumerate(files):
        np.save(file, np.random.default_rng(k).standard_normal((40, 4)))
    drawn = Drawn(instances, tmp_path, ("dispersion",), features=files, layers=(), folds=2, reorderings=1)
    assert set(drawn.drawings) == {"scores", "predictors"}


# Parts


def test_looks_are_different_and_baselines_come_last():
    names = ["random", *(f"m{i}" for i in range(40)), "translation", "identity"]
    looks = method_looks(name for name in names)
    assert list(looks)[:2] == ["identity", "translation"]
    assert list(looks)[-1] == "random"
    assert len(set(looks.values())) == len(names)


def test_cells_are_told_apart_by_what_differs():
    places = [{"model": "a", "layer": la, "size": s, "kernel": "rbf"} for la, s in (("x", 4), ("y", 16))]
    assert words_of(places) == ["x", "y"]
    assert words_of(places, ["layer"]) == ["", ""]
    assert by_depth(places) == ["y", "x"]
    assert words_of([{"size": 4}, {"size": 8}]) == ["4", "8"]


def test_maps_of_layers_are_means_over_pairs_of_networks_and_both_directions(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"a:{i}/{layer}": rng.standard_normal((20, 4)) for i in range(3) for layer in ("early", "late")}
    np.savez(tmp_path / "some.npz", **arrays)
    chosen = {"features": (tmp_path / "some.npz",), "layers": ()}
    drawn = Drawn(layers, tmp_path, ("linear_cka", "linear_regression", "width"), **chosen)
    assert set(drawn.drawings) == {"maps-a", "maps-a-equalised"}
    expected = np.zeros((2, 2))
    for one, other in itertools.combinations(range(3), 2):
        for (i, x), (j, y) in itertools.product(enumerate(("early", "late")), repeat=2):
            sides = arrays[f"a:{one}/{x}"], arrays[f"a:{other}/{y}"]
            both = (get_metric("linear_regression").run(*given) for given in (sides, sides[::-1]))
            expected[i, j] += sum(both) / 2 / 3
    (axes,) = drawn.panels("maps-a", "linear_regression")
    np.testing.assert_allclose(axes.images[0].get_array(), expected, rtol=1e-4)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["early", "late"]
    found = 100 * drawn.summary("linear_regression", networks="a").scores["identification"].value
    assert axes.get_title() == f"linear_regression: {found:.1f} %"


def test_rows_that_were_kept_without_values_have_no_maps():
    scores = {"identification": Interval(0.5, 0.4, 0.6)}
    results = SimpleNamespace(
        task=get_task("layers"),
        places={"a x b": {"networks": "a x b"}},
        summaries=[SimpleNamespace(place={"networks": "a x b"}, method="linear_cka", scores=scores)],
        rows=[{"status": "ok", "cell": {"networks": "a x b"}, "method": "linear_cka", "raw": {"layers": ["a", "b"]}}],
    )
    assert [*layers.draw(results)] == []


def test_a_point_of_a_method_is_nearer_to_its_own_layer_than_to_another():
    places = [
        {"model": "m", "shift": "20x0", "centring": "none", "kernel": "rbf", "layer": f"layer{i}", "size": 4**i}
        for i in (2, 3)
    ]
    scores = {"auroc": Interval(0.9, 0.8, 1.0)}
    summaries = [
        SimpleNamespace(place=place, method=f"method-{m}", category="", options={}, scores=scores, ok=1)
        for place in places
        for m in range(20)
    ]
    drawn = translation._draw_auroc(summaries)
    drawn_at = [
        x
        for line in drawn.figure.axes[0].lines
        if len(line.get_xdata()) == 2
        for x in enumerate(sorted(line.get_xdata()))
    ]
    assert len(drawn_at) >= 40
    assert all(abs(x - layer) < 0.5 for layer, x in drawn_at if x == x)


def test_a_map_is_empty_where_no_pair_of_networks_has_a_value():
    rows = [
        {"raw": {"values": [0.5, None, None, 1.0], "layers": ["a", "b"]}},
        {"raw": {"values": [1.0, 0.25, None, None], "layers": ["a", "b"]}},
    ]
    np.testing.assert_array_equal(layers.mean_map(rows), [[0.75, 0.25], [np.nan, 1.0]])


def test_a_heat_map_leaves_unknown_cells_empty_and_signs_differences():
    figure = new_figure(2, 2)
    axes = figure.subplots()
    heat(axes, np.array([[0.5, np.nan], [-0.25, -0.001]]), "ab", "cd", ends=(-0.5, 0.5))
    assert [t.get_text() for t in axes.texts] == ["+0.50", "-0.25", "+0.00"]
    assert axes.images[0].norm.vmin == -0.5


@given(st.integers(1, 420), st.integers(1, 420))
def test_thumbnails_are_means_of_blocks_with_128_pixels_or_more_on_the_shorter_side(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    small, step = thumbnails(pixels), max(1, min(height, width) // 128)
    assert small.shape == (2, height // step, width // step, 3)
    top, left = step * (small.shape[1] - 1), step * (small.shape[2] - 1)
    assert small[1, -1, -1, 2] == round(pixels[1, top : top + step, left : left + step, 2].mean())


# What matching changes, pair by pair


def pairs(k, k_opt, **changes):
    return [
        make_row("identity", pair=f"{i}-{i + 1}", k=float(a), k_opt=float(b), **changes)
        for i, (a, b) in enumerate(zip(k, k_opt))
    ]


def gains(rows, folder):
    task = get_task("matching")
    results = TaskResults(task, rows, summarise(rows, task, folder), {}, folder)
    return list(matching.draw(results))


def dots_of(axes):
    (dots,) = [line for line in axes.lines if line.get_marker() == "."]
    return np.column_stack(dots.get_data())


def test_every_pair_is_a_dot_with_the_variation_over_pairs(tmp_path):
    k_opt = np.array([100.0, 200.0, 400.0])
    rows = [
        *pairs(k_opt / 2, k_opt, layer="layer3", size=256, centring="none"),
        *pairs(k_opt - 30, k_opt, layer="layer2", size=1024, centring="none"),
        *pairs([60.0, 10.0, -20.0], [10.0, 30.0, -5.0], layer="layer2", size=1024, centring="channel"),
        make_row("greedy"),
        make_row("identity", status="timeout", layer="layer2", size=1024),
    ]
    (drawing,) = gains(rows, tmp_path)
    panels = {axes.get_title(loc="left").split("\n")[0]: axes for axes in drawing.figure.axes if axes.get_visible()}
    assert list(panels) == ["layer2, S = 1024, none", "layer3, S = 256, none", "layer2, S = 1024, channel"]
    told = {title: axes.get_title(loc="left").split("\n")[1] for title, axes in panels.items()}
    assert told["layer3, S = 256, none"].startswith("CV: ratio 0.00, gain 0.5"), "one factor for all pairs"
    assert told["layer2, S = 1024, none"].endswith("gain 0.00; rho 1.00"), "one amount for all pairs"
    assert told["layer2, S = 1024, channel"].startswith("CV: ratio –"), "a ratio to a negative optimum means nothing"
    dots, unit = dots_of(panels["layer3, S = 256, none"]), k_opt.mean()
    np.testing.assert_allclose(dots[np.argsort(dots[:, 0])], np.column_stack([k_opt / 2, k_opt]) / unit)


def test_pairs_without_a_known_optimum_are_left_out_and_three_are_needed(tmp_path):
    rows = [*pairs([1.0, 2.0, 4.0], [2.0, 3.0, 5.0]), make_row("identity", pair="8-9", k=1.0, k_opt=None)]
    (drawing,) = gains(rows, tmp_path)
    assert len(dots_of(drawing.figure.axes[0])) == 3
    for few in ([], [make_row("greedy")], rows[1:]):
        assert not gains(few, tmp_path)


def test_a_sheet_shows_every_picture_at_its_place_with_its_caption():
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    pixels = np.array(colours, dtype=np.uint8)[:, None, None].repeat(16, axis=1).repeat(16, axis=2)
    figure = contact_sheet(pixels, ["red", "green\nsecond line", "blue"], 2, "Colours", row_labels=["a", "b"])
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    for axes, colour in zip(figure.axes, colours, strict=True):
        box = axes.get_position()
        row, column = int((1 - box.y0 - box.height / 2) * len(drawn)), int((box.x0 + box.width / 2) * drawn.shape[1])
        assert drawn[row, column].tolist() == list(colour)
    assert [axes.get_xlabel() for axes in figure.axes] == ["red", "green\nsecond line", "blue"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", "", "b"]
    assert figure.get_suptitle() == "Colours"
    first, right, below = (axes.get_position() for axes in figure.axes)
    assert (first.y0, first.x0) == (pytest.approx(right.y0), pytest.approx(below.x0))
    assert first.y0 > below.y1
    assert first.x0 < right.x0
