"""Pictures of the task `instances`: scores by layer, what goes with them, reliability, pictures at both ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.stats import Interval, bootstrap_draws, interval_of
from semrsm_bench.core.task import Result
from semrsm_bench.metrics.ranks import correlation, partial_correlation, weighted_ranks
from semrsm_bench.report.figures.parts import contact_sheet, heat
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import BLUE, GREEN, VERMILION, Drawing, new_figure, short

Floats = NDArray[np.float64]
# The parts of one layer: all networks, reordered pictures, halves of the networks.
Parts = Mapping[str, Result]

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
    yield from _draw_repeats(name, layers)
    yield from _draw_pictures(name, layers)


def _scores(result: Result) -> Floats:
    return np.asarray(result.arrays["scores"], dtype=np.float64)


def _agreement(result: Result) -> Floats:
    """Larger for pictures that the networks represent more alike."""
    return _scores(result) if result.raw["best"] == "max" else -_scores(result)


def _draw_scores(name: str, layers: Mapping[str, Parts]) -> Drawing:
    """One histogram a layer with that of reordered pictures as a line, on one axis."""
    found = {layer: (_scores(parts[_ALL]), parts.get(_REORDERED)) for layer, parts in layers.items()}
    nulls = {layer: None if null is None else _scores(null) for layer, (_, null) in found.items()}
    every = [v for score, _ in found.values() for v in (score.min(), score.max())]
    every += [q for null in nulls.values() if null is not None for q in np.quantile(null, (0.001, 0.999))]
    bins = np.linspace(min(every), max(every), 71)
    figure = new_figure(6.4, 0.6 + 1.15 * len(layers))
    panels = figure.subplots(len(layers), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (layer, (score, _)) in zip(panels, found.items(), strict=True):
        axes.hist(score, bins, density=True, color=BLUE, alpha=0.75, label="pictures that the alignment has not seen")
        if (null := nulls[layer]) is not None:
            axes.hist(null, bins, density=True, histtype="step", color=VERMILION, lw=1.2, label="reordered")
            end = np.quantile(null, 0.95 if layers[layer][_ALL].raw["best"] == "max" else 0.05)
            axes.axvline(end, color=VERMILION, lw=0.8, ls=":", label="95 % of the reordered")
        axes.set_yticks([])
        axes.set_title(short(layer), loc="left", fontsize=8.5)
        axes.spines["left"].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, frameon=False, ncols=3, loc="outside lower center")
    panels[-1].set_xlabel(name)
    one = next(iter(layers.values()))[_ALL].cell
    return Drawing(
        "scores",
        figure,
        f"{name} of {one['stimuli']:,} stimuli in {one['networks']} aligned networks, each scored by an alignment that has not "
        "seen it; and of the same with the stimuli of every network reordered.",
        "Histograms of the scores by layer, beside those of reordered stimuli",
    )


def _draw_predictors(name: str, layers: Mapping[str, Parts]) -> Drawing:
    """Left: rank correlations at the last layer, with intervals; right: by layer."""
    main, last = list(layers)[-1], list(layers.values())[-1][_ALL]
    names = sorted(last.raw["with"], key=lambda n: n == _LENGTH)
    simple, partial = _correlations(last, names)
    figure = new_figure(7.6, 1.1 + 0.34 * len(names))
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    for shift, colour, mark, intervals, label in (
        (-0.15, BLUE, "o", simple, "Spearman"),
        (0.15, GREEN, "D", partial, "at equal distance from the mean"),
    ):
        shown = [(place, intervals[n]) for place, n in enumerate(names) if n in intervals]
        y = [place + shift for place, _ in shown]
        left.hlines(y, [i.low for _, i in shown], [i.high for _, i in shown], color=colour, lw=1.4)
        left.plot([i.value for _, i in shown], y, mark, ms=4, color=colour, label=label)
    left.axvline(0, color="#444444", lw=0.7)
    left.set_yticks(range(len(names)), [_WORDS.get(n, n.replace("_", " ")) for n in names])
    left.set_ylim(len(names) - 0.5, -0.5)
    left.grid(axis="x")
    left.set_xlabel(f"with agreement by {name} at {short(main)}")
    figure.legend(*left.get_legend_handles_labels(), fontsize=7, frameon=False, ncols=2, loc="outside lower center")
    table = np.array([[p[_ALL].raw["with"].get(n, np.nan) for p in layers.values()] for n in names], dtype=np.float64)
    # The rows are those of the panel at the left.
    heat(right, table, [""] * len(names), list(layers), limit=1.0, bar=False, aspect="auto")
    right.set_title("Spearman by layer", fontsize=8.5)
    return Drawing(
        "predictors",
        figure,
        f"What goes with the agreement of networks on a picture, by {name}: Spearman correlations, with 95 % bootstrap intervals "
        "over groups of pictures, also at equal distance from the mean.",
        "Dots with intervals for each predictor at the last layer; a heat map of the correlations by layer",
    )


def _correlations(result: Result, names: Sequence[str]) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Rank correlations of agreement, and those at equal distance from the mean, over the drawn units of pictures."""
    unit = result.arrays["unit"]
    weights = bootstrap_draws(int(unit.max()) + 1)[:, unit]
    agreement, ranks = _agreement(result), {n: weighted_ranks(result.arrays[n], weights) for n in names}
    own = weighted_ranks(agreement, weights)
    simple = {n: interval_of(correlation(own, r, weights)) for n, r in ranks.items()}
    others = {n: r for n, r in ranks.items() if n != _LENGTH and _LENGTH in ranks}
    partial = {n: interval_of(partial_correlation(own, r, ranks[_LENGTH], weights)) for n, r in others.items()}
    return simple, partial


def _draw_repeats(name: str, layers: Mapping[str, Parts]) -> Iterator[Drawing]:
    """Left: the scores by two disjoint sets of networks; right: rank correlation between layers."""
    main, last = list(layers.items())[-1]
    halves = next(((a, f"{a[:-1]}b") for a in last if a.startswith("half-") and f"{a[:-1]}b" in last), None)
    count = bool(halves) + (len(layers) > 1)
    if not count:
        return
    figure = new_figure(3.9 * count, 3.6, None)
    panels = list(figure.subplots(1, count, squeeze=False)[0])
    if halves:
        scatter, (a, b) = panels.pop(0), (_scores(last[half]) for half in halves)
        scatter.plot(a, b, "o", ms=3, color=BLUE, alpha=0.4, mew=0)
        scatter.set(xlabel="by some of the networks", ylabel="by the others")
        scatter.set_title(f"{name} at {short(main)}: Spearman {_spearman(a, b):.2f}", fontsize=8.5)
        scatter.grid()
    if len(layers) > 1:
        every = [_scores(parts[_ALL]) for parts in layers.values()]
        table = np.array([[_spearman(a, b) for b in every] for a in every])
        heat(panels[0], table, list(layers), list(layers), limit=1.0, bar=False)
        panels[0].set_title("Spearman between layers", fontsize=8.5)
    figure.tight_layout()
    yield Drawing(
        "reliability",
        figure,
        f"Left: {name} of each picture by two disjoint sets of networks, each aligned on its own. Right: rank correlation of the "
        "scores of two layers.",
        "Scores by two sets of networks against each other; heat map of rank correlations between layers",
    )


def _spearman(a: Floats, b: Floats) -> float:
    one = np.ones((1, len(a)))
    return float(correlation(weighted_ranks(a, one), weighted_ranks(b, one), one)[0])


def _draw_pictures(name: str, layers: Mapping[str, Parts]) -> Iterator[Drawing]:
    """The pictures at both ends, with their scores."""
    main, last = list(layers.items())[-1]
    result = last[_ALL]
    if "pictures" not in result.arrays:
        return
    shown, pixels, scores = result.arrays["shown"], result.arrays["pictures"], _scores(result)
    each = len(shown) // 2
    columns = min(_COLUMNS, each)
    rows = each // columns
    chosen = [*range(rows * columns), *range(2 * each - rows * columns, 2 * each)]
    ids = [str(result.arrays["ids"][shown[i]]) for i in chosen]
    yield Drawing(
        "pictures",
        contact_sheet(
            pixels[chosen],
            [f"{scores[shown[i]]:.2f}\n{_brief(name)}" for i, name in zip(chosen, ids, strict=True)],
            columns,
            f"Pictures by agreement ({name} at {short(main)})",
            row_labels=["agree\nmost", *[""] * (2 * rows - 2), "agree\nleast"],
        ),
        f"The pictures on which the networks agree most and least, by {name} at {main}.",
        "Contact sheet of pictures with their scores",
        shareable=bool(result.raw["shareable"]),
    )


def _brief(name: str) -> str:
    last = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return last if len(last) <= 16 else f"{last[:7]}…{last[-8:]}"
