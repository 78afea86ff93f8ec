"""Figures of the retrieval study: scores by kernel and matching, and what was retrieved."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.metrics.retrieval import score_matrix
from semrsm_bench.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RC, SKY, VERMILION, new_figure
from semrsm_bench.studies.contact_sheet import contact_sheet
from semrsm_bench.studies.retrieval_data import RetrievalData
from semrsm_bench.studies.retrieval_report import SCORE_NAMES, matching_name
from semrsm_bench.studies.retrieval_scores import POOLED, RANDOM, SPATIO_SEMANTIC, TOP, TRANSLATION, Line, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NEIGHBOURS = 3
_SOLVER_COLOURS = (BLUE, GREEN, PURPLE, SKY)
_CAPTION_WIDTH, _CAPTION_LINES = 21, 4


def draw_scores(lines: Sequence[Line], score: str, seed: int = 0) -> Figure:
    """One panel a layer; rows are kernels, colours matchings."""
    import matplotlib as mpl

    measured = [line for line in lines if line.kernel]
    layers = list(dict.fromkeys(line.layer for line in measured))
    kernels = list(dict.fromkeys(line.kernel for line in measured))
    matchings = list(dict.fromkeys(line.matching for line in measured))
    random = next(line for line in lines if line.matching == RANDOM)
    height = 1.1 + 0.22 * len(kernels) * (len(matchings) + 1)
    with mpl.rc_context(dict(RC)):
        figure = new_figure(1.6 + 3.2 * len(layers), height)
        panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
        for axes, layer in zip(panels, layers, strict=True):
            for line in (line for line in measured if line.layer == layer):
                colour = _colour(line.matching, matchings)
                place = kernels.index(line.kernel) * (len(matchings) + 1) + matchings.index(line.matching)
                _mark(axes, line, score, place, colour, seed)
            axes.axvline(interval(random.values[score, 1], seed).value, color=GREY, ls=":", lw=1, label=RANDOM)
            axes.set(xlabel=f"{SCORE_NAMES[score]} with the query", title=layer, xlim=(0, 1.02))
            middle = (len(matchings) - 1) / 2
            axes.set_yticks([k * (len(matchings) + 1) + middle for k in range(len(kernels))], kernels)
            axes.grid(axis="x")
        panels[0].invert_yaxis()
        for matching in matchings:
            panels[0].plot([], [], "o", ms=5, color=_colour(matching, matchings), label=matching_name(matching))
        figure.tight_layout(rect=(0, 0, 1, 1 - (0.08 + 0.16 * math.ceil((len(matchings) + 1) / 2)) / height))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="upper center", ncols=2, fontsize=7.5, frameon=False)
    return figure


def _mark(axes: Axes, line: Line, score: str, place: float, colour: str, seed: int) -> None:
    first, best = (interval(line.values[score, top], seed) for top in (1, TOP))
    axes.plot([first.low, first.high], [place, place], color=colour, lw=1.4)
    axes.plot(best.value, place, "o", ms=7, mfc="white", mec=colour)
    axes.plot(first.value, place, "o", ms=4, color=colour)


def _colour(matching: str, matchings: Sequence[str]) -> str:
    fixed = {SPATIO_SEMANTIC: GREY, TRANSLATION: ORANGE, POOLED: VERMILION}
    if matching in fixed:
        return fixed[matching]
    solvers = [name for name in matchings if name not in fixed]
    return _SOLVER_COLOURS[solvers.index(matching) % len(_SOLVER_COLOURS)]


def draw_found(lines: Sequence[Line], data: RetrievalData, queries: int) -> Figure:
    """Contact sheet: the first queries, each with its three most similar images, a row for each matching.

    Parameters
    ----------
    lines : sequence of Line
        Rankings of one layer and kernel.
    data : RetrievalData
    queries : int
        How many, from the first on.
    """
    score = data.scores[0]
    every = score_matrix(data.queries.counts, data.database.counts, score=score)
    pixels: list[Any] = []
    captions, labels = [], []
    for query in range(min(queries, len(data.queries))):
        for line in lines:
            assert line.found is not None
            found = line.found[query, :_NEIGHBOURS]
            pixels += [data.queries.pixels[query], *data.database.pixels[found]]
            captions.append(_objects(data.queries.counts[query], data.classes, "query"))
            captions += [
                _objects(data.database.counts[i], data.classes, f"{SCORE_NAMES[score]} {every[query, i]:.2f}")
                for i in found
            ]
            labels.append(textwrap.fill(matching_name(line.matching), 13))
    return contact_sheet(np.stack(pixels), captions, 1 + _NEIGHBOURS, row_labels=labels)


def _objects(counts: Any, classes: Sequence[str], head: str) -> str:
    """``F1 0.67: 2 cup, flower``, wrapped."""
    shown = [f"{n} {classes[c]}" if n > 1 else classes[c] for c, n in enumerate(counts) if n]
    lines = textwrap.wrap(f"{head}: {', '.join(shown) or 'nothing'}", _CAPTION_WIDTH)
    return "\n".join(lines[:_CAPTION_LINES]) + ("…" if len(lines) > _CAPTION_LINES else "")
