"""Pictures of the task `instances`: scores by layer, what goes with them, reliability, pictures at both ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.stats import spearmanr

from semrsm_bench.core.stats import bootstrap_draws, interval_of
from semrsm_bench.core.task import Floats, Result
from semrsm_bench.metrics.ranks import correlation, partial_correlation, weighted_ranks
from semrsm_bench.report.figures.parts import contact_sheet, heat
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import BLUE, GREEN, VERMILION, Drawing, new_figure, new_panels, short

# The parts of each layer: all networks, reordered pictures, halves of the networks.
Layers = Mapping[str, Mapping[str, Result]]

# What the pictures show of all scores that were measured, where it is among them.
_PREFERRED = "pairwise_cosine"
_ALL, _REORDERED, _LENGTH = "all", "reordered", "length"
_WORDS = {_LENGTH: "distance from the mean", "entropy": "output entropy", "divergence": "output divergence"}
_COLUMNS = 8


def draw(results: TaskResults) -> Iterator[Drawing]:
    """All pictures that the rows of a run allow.

    They show one score: ``pairwise_cosine``, or else the first that was measured.
    """
    names = list(dict.fromkeys(row["method"] for row, _ in results.found if row["raw"]["part"] == _ALL))
    if not names:
        return
    name = _PREFERRED if _PREFERRED in names else names[0]
    layers: dict[str, dict[str, Result]] = {}
    for row, result in results.found:
        if row["method"] == name:
            layers.setdefault(str(row["cell"]["layer"]), {})[row["raw"]["part"]] = result
    layers = {layer: parts for layer, parts in layers.items() if _ALL in parts}
    yield _draw_scores(name, layers)
    yield _draw_predictors(name, layers)
    yield from _draw_reliability(name, layers)
    yield from _draw_pictures(name, layers)


def _scores(result: Result) -> Floats:
    return np.asarray(result.arrays["scores"], dtype=np.float64)


def _draw_scores(name: str, layers: Layers) -> Drawing:
    """One histogram a layer with that of reordered pictures as a line, on one axis."""
    nulls = {layer: _scores(parts[_REORDERED]) for layer, parts in layers.items() if _REORDERED in parts}
    every = np.concatenate(
        [
            *(_scores(parts[_ALL]) for parts in layers.values()),
            *(np.quantile(null, (0.001, 0.999)) for null in nulls.values()),
        ]
    )
    bins = np.linspace(every.min(), every.max(), 71)
    figure, grid = new_panels(len(layers), 1, (6.4, 1.15), (0.0, 0.6), sharex=True)
    for axes, (layer, parts) in zip(grid[:, 0], layers.items(), strict=True):
        words = "pictures that the alignment has not seen"
        axes.hist(_scores(parts[_ALL]), bins, density=True, color=BLUE, alpha=0.75, label=words)
        if layer in nulls:
            look = {"histtype": "step", "color": VERMILION, "lw": 1.2}
            axes.hist(nulls[layer], bins, density=True, label="reordered", **look)
            end = np.quantile(nulls[layer], 0.95 if parts[_ALL].raw["best"] == "max" else 0.05)
            axes.axvline(end, color=VERMILION, lw=0.8, ls=":", label="95 % of the reordered")
        axes.set_yticks([])
        axes.set_title(short(layer), loc="left", fontsize=8.5)
        axes.spines["left"].set_visible(False)
    figure.legend(*grid[0][0].get_legend_handles_labels(), fontsize=7, ncols=3, loc="outside lower center")
    grid[-1][0].set_xlabel(name)
    one = next(iter(layers.values()))[_ALL].cell
    return Drawing(
        "scores",
        figure,
        f"{name} of {one['stimuli']:,} stimuli in {one['networks']} aligned networks, each scored by an alignment that has not "
        "seen it; and of the same with the stimuli of every network reordered.",
        "Histograms of the scores by layer, beside those of reordered stimuli",
    )


def _draw_predictors(name: str, layers: Layers) -> Drawing:
    """Left: rank correlations at the last layer, with intervals over drawn units of pictures; right: by layer."""
    main, last = list(layers)[-1], list(layers.values())[-1][_ALL]
    names = sorted(last.raw["with"], key=lambda n: n == _LENGTH)
    unit = last.arrays["unit"]
    weights = bootstrap_draws(int(unit.max()) + 1)[:, unit]
    # Larger for pictures that the networks represent more alike.
    agreement = weighted_ranks(_scores(last) if last.raw["best"] == "max" else -_scores(last), weights)
    ranks = {n: weighted_ranks(last.arrays[n], weights) for n in names}
    simple = [interval_of(correlation(agreement, ranks[n], weights)) for n in names]
    # The last name is the distance itself.
    others = names[:-1] if _LENGTH in names else []
    partial = [interval_of(partial_correlation(agreement, ranks[n], ranks[_LENGTH], weights)) for n in others]
    figure = new_figure(7.6, 1.1 + 0.34 * len(names))
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    for shift, colour, mark, intervals, label in (
        (-0.15, BLUE, "o", simple, "Spearman"),
        (0.15, GREEN, "D", partial, "at equal distance from the mean"),
    ):
        y = np.arange(len(intervals)) + shift
        left.hlines(y, [i.low for i in intervals], [i.high for i in intervals], color=colour, lw=1.4)
        left.plot([i.value for i in intervals], y, mark, ms=4, color=colour, label=label)
    left.axvline(0, color="#444444", lw=0.7)
    left.set_yticks(range(len(names)), [_WORDS.get(n, n.replace("_", " ")) for n in names])
    left.set(ylim=(len(names) - 0.5, -0.5), xlabel=f"with agreement by {name} at {short(main)}")
    left.grid(axis="x")
    figure.legend(*left.get_legend_handles_labels(), fontsize=7, ncols=2, loc="outside lower center")
    table = np.array([[p[_ALL].raw["with"].get(n, np.nan) for p in layers.values()] for n in names], dtype=np.float64)
    # The rows are those of the panel at the left.
    heat(right, table, [""] * len(names), list(layers), ends=(-1.0, 1.0), bar=False, aspect="auto")
    right.set_title("Spearman by layer", fontsize=8.5)
    return Drawing(
        "predictors",
        figure,
        f"What goes with the agreement of networks on a picture, by {name}: Spearman correlations, with 95 % bootstrap intervals "
        "over groups of pictures, also at equal distance from the mean.",
        "Dots with intervals for each predictor at the last layer; a heat map of the correlations by layer",
    )


def _draw_reliability(name: str, layers: Layers) -> Iterator[Drawing]:
    main, last = list(layers.items())[-1]
    halves = next(((a, f"{a[:-1]}b") for a in last if a.startswith("half-") and f"{a[:-1]}b" in last), None)
    count = bool(halves) + (len(layers) > 1)
    if not count:
        return
    figure, grid = new_panels(count, count, (3.9, 3.6))
    panels = list(grid[0])
    if halves:
        axes, (a, b) = panels.pop(0), (_scores(last[half]) for half in halves)
        axes.plot(a, b, "o", ms=3, color=BLUE, alpha=0.4, mew=0)
        axes.set(xlabel="by some of the networks", ylabel="by the others", box_aspect=1)
        axes.set_title(f"{name} at {short(main)}: Spearman {spearmanr(a, b).statistic:.2f}", fontsize=8.5)
        axes.grid()
    if len(layers) > 1:
        every = [_scores(parts[_ALL]) for parts in layers.values()]
        table = np.array([[spearmanr(a, b).statistic for b in every] for a in every])
        heat(panels[0], table, list(layers), list(layers), ends=(-1.0, 1.0), bar=False)
        panels[0].set_title("Spearman between layers", fontsize=8.5)
    yield Drawing(
        "reliability",
        figure,
        f"Left: {name} of each picture by two disjoint sets of networks, each aligned on its own. Right: rank correlation of the "
        "scores of two layers.",
        "Scores by two sets of networks against each other; heat map of rank correlations between layers",
    )


def _draw_pictures(name: str, layers: Layers) -> Iterator[Drawing]:
    main, last = list(layers.items())[-1]
    result = last[_ALL]
    if "pictures" not in result.arrays:
        return
    shown, scores = result.arrays["shown"], _scores(result)
    each = len(shown) // 2
    columns = min(_COLUMNS, each)
    rows = each // columns
    chosen = [*range(rows * columns), *range(2 * each - rows * columns, 2 * each)]
    captions = []
    for i in chosen:
        file = str(result.arrays["ids"][shown[i]]).rsplit("/", 1)[-1].rsplit(".", 1)[0]
        captions.append(f"{scores[shown[i]]:.2f}\n{file if len(file) <= 16 else f'{file[:7]}…{file[-8:]}'}")
    yield Drawing(
        "pictures",
        contact_sheet(
            result.arrays["pictures"][chosen],
            captions,
            columns,
            f"Pictures by agreement ({name} at {short(main)})",
            row_labels=["agree\nmost", *[""] * (2 * rows - 2), "agree\nleast"],
        ),
        f"The pictures on which the networks agree most and least, by {name} at {main}.",
        "Contact sheet of pictures with their scores",
        shareable=bool(result.raw["shareable"]),
    )
