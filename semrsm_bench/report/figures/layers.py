"""Pictures of the task `layers`: heat maps of layers by layers, means over pairs of networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from semrsm_bench.core.task import Floats
from semrsm_bench.report.figures.parts import heat
from semrsm_bench.report.formatting import format_score
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Drawing, new_panels, short

_MOST_METRICS, _COLUMNS = 8, 4


def draw(results: TaskResults) -> Iterator[Drawing]:
    """A figure for each cell without permuted stimuli: a map for each metric, or for eight from the best to the worst."""
    score = results.task.scores[0]
    for place in results.places.values():
        if results.task.is_leak(place):
            continue
        cell = str(place["networks"])
        # Rows may be kept without their values.
        measured: dict[str, list[Mapping[str, Any]]] = {}
        for row in results.rows:
            if row["status"] == "ok" and row["cell"] == place and "values" in row["raw"]:
                measured.setdefault(row["method"], []).append(row)
        here = [s for s in results.summaries if s.place == place and s.method in measured and score.name in s.scores]
        if not here:
            continue
        ranked = sorted(here, key=lambda s: -s.scores[score.name].value)
        chosen = {round(k) for k in np.linspace(0, len(ranked) - 1, min(_MOST_METRICS, len(ranked)))}
        figure, grid = new_panels(len(chosen), min(_COLUMNS, len(chosen)), (3.1, 2.9))
        for axes, k in zip(grid.flat, sorted(chosen)):
            rows = measured[ranked[k].method]
            names = rows[0]["raw"]["layers"]
            heat(axes, mean_map(rows), names, names)
            axes.label_outer()
            found = format_score(score, ranked[k].scores[score.name].value)
            axes.set_title(f"{short(ranked[k].method)}: {found} %")
        sides = cell.partition(" x ")
        which = f"those of {sides[0]} in rows, of {sides[2]} in columns" if sides[1] else cell
        yield Drawing(
            f"maps-{cell}",
            figure,
            f"Values between layers of two networks, {which}; means over pairs of networks and both directions. Above each map: "
            f"{score.title}.{f' {len(chosen)} of {len(ranked)} metrics, by rank.' if len(chosen) < len(ranked) else ''}",
            f"Heat maps of layers by layers, {cell}, for {len(chosen)} metrics",
        )


def mean_map(rows: Sequence[Mapping[str, Any]]) -> Floats:
    """Mean over rows and over both directions of the values between layers of the first network and of the second, (L, L).

    NaN where no row has a value.
    """
    values = np.array(
        [[row["raw"]["values"], row["raw"].get("values_yx", row["raw"]["values"])] for row in rows], dtype=float
    )
    known = ~np.isnan(values)
    count = known.sum(axis=(0, 1))
    total = np.where(known, values, 0.0).sum(axis=(0, 1))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(len(rows[0]["raw"]["layers"]), -1)
