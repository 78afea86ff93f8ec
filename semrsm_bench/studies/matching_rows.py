"""What the study of matching quality measured, and its tidy rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from semrsm_bench.bench.stats import Interval, median_interval
from semrsm_bench.solvers import get_solver
from semrsm_bench.studies.downstream import MEASURES, Standing, mean_over_pairs
from semrsm_bench.studies.matched_layers import OPTIMUM, UNMATCHED, MatchedLayer
from semrsm_bench.studies.unevenness import unevenness

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """Everything the study found, before it is told.

    Attributes
    ----------
    matched : list of MatchedLayer
        By layer, then centring.
    agreements : list of rows
        Keys ``layer centring solver kernel`` and one Interval per measure.
    times : list of rows
        From `time_solvers`, with ``layer centring``.
    standings : list of Standing
        One for each layer and solver, the optimum included.
    demands : mapping of measure to float
        What the recommendation asks for.
    clock : {"wall", "cpu"}
    """

    matched: list[MatchedLayer]
    agreements: list[Row]
    times: list[Row]
    standings: list[Standing]
    demands: Mapping[str, float]
    clock: str = "wall"


def tidy_rows(measured: Measured, seed: int) -> list[Row]:
    """One row for each figure: where it was measured, its value, interval, and worst pair where there is one."""
    rows: list[Row] = []
    for layer in measured.matched:
        upper = np.triu_indices(layer.count, 1)
        about = {
            "layer": layer.layer,
            "size": layer.size,
            "channels": layer.images.rows.channels,
            "images": layer.count,
            "pairs": layer.count * (layer.count - 1) // 2,
            "centring": layer.centring,
        }
        for solver in [OPTIMUM, *layer.solvers]:
            mine = {**about, "solver": solver, "kind": get_solver(solver).kind}
            for measure, values in (
                ("quality", layer.quality(solver)),
                ("chance_corrected", layer.chance_corrected(solver)),
            ):
                worst = float(values[upper].min())
                rows.append(_row(mine, "", measure, mean_over_pairs(values, seed=seed), worst))
            for found in measured.agreements:
                if (found["layer"], found["centring"], found["solver"]) == (layer.layer, layer.centring, solver):
                    rows += [_row(mine, found["kernel"], measure, found[measure]) for measure in MEASURES]
        for solver in dict.fromkeys(row["solver"] for row in measured.times):
            seconds = [
                row
                for row in measured.times
                if (row["layer"], row["centring"], row["solver"]) == (layer.layer, layer.centring, solver)
            ]
            if seconds:
                mine = {**about, "solver": solver, "kind": get_solver(solver).kind}
                for measure in ("seconds", "solve_seconds"):
                    interval = median_interval([row[measure] for row in seconds], seed=seed)
                    rows.append(_row(mine, "", measure, interval, max(row[measure] for row in seconds)))
        if UNMATCHED in layer.products:
            mine = {**about, "solver": UNMATCHED, "kind": "baseline"}
            for measure, value in unevenness(layer).items():
                known = float("nan") if value is None else value
                rows.append(_row(mine, "", f"unevenness_{measure}", Interval(known, known, known)))
    return rows


def _row(about: Row, kernel: str, measure: str, interval: Interval, worst: float = float("nan")) -> Row:
    return {
        **about,
        "kernel": kernel,
        "measure": measure,
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "worst": worst,
    }
