"""What the study of matching quality found, as tables, figures and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semrsm_bench.bench.environment import describe_cpu
from semrsm_bench.bench.stats import Interval
from semrsm_bench.report.caption import machine
from semrsm_bench.report.formatting import format_chance_corrected, format_percent, format_seconds
from semrsm_bench.report.paper import PAPER_NAMES, SOURCE, TABLE_5
from semrsm_bench.solvers import get_solver
from semrsm_bench.studies import matching_figures as figures
from semrsm_bench.studies.downstream import MEASURES, Standing, fastest, fastest_everywhere, mean_over_pairs
from semrsm_bench.studies.matched_layers import OPTIMUM, UNMATCHED, MatchedLayer
from semrsm_bench.studies.matching_rows import Measured, tidy_rows
from semrsm_bench.studies.study import Drawing, StudyResult, Table
from semrsm_bench.studies.unevenness import COLUMNS, unevenness

NAME = "matching-quality"
TITLE = "How good approximate matchings are, and what they cost downstream"
# Above this a solver would beat an optimum that is exact up to rounding.
_ROUNDING = 1e-6


def tell(measured: Measured, model: str, inputs: Mapping[str, Any], seed: int, largest: int | None) -> StudyResult:
    """The study's result."""
    by_centring: dict[str, list[MatchedLayer]] = {}
    for layer in measured.matched:
        by_centring.setdefault(layer.centring, []).append(layer)
    tables = [
        recommendation_table(measured),
        downstream_table(measured.standings, measured.clock),
        *(quality_table(layers, seed) for layers in by_centring.values()),
    ]
    drawings = [
        Drawing(
            "downstream",
            figures.draw_downstream(measured.standings, measured.demands),
            "Agreement with the exact RSM over the time per pair: what a user of the RSM loses by an approximation.",
            "Per layer, two panels over time per pair: one minus Spearman on a logarithmic axis, and the share of images with "
            "the same nearest neighbour.",
        )
    ]
    if UNMATCHED in measured.matched[0].products:
        tables.insert(2, unevenness_table(measured))
        drawings.append(
            Drawing(
                "unevenness",
                figures.draw_unevenness(by_centring),
                "Similarity of every pair without matching (spatio-semantic) against the optimum (semantic).",
                "Scatter plots, one per layer and centring; dots spread around a line of constant share.",
            )
        )
    for centring, layers in by_centring.items():
        figure = figures.draw_quality(layers, model)
        if figure is not None:
            drawings.append(
                Drawing(
                    f"quality-{centring}",
                    figure,
                    f"k/k_opt and the chance-corrected gap 1 - c over the pairs of each layer, centring {centring}.",
                    "Boxes of every solver in one column per layer: k/k_opt above, the gap to the optimum below.",
                )
            )
    return StudyResult(
        name=NAME,
        title=TITLE,
        sentence=sentence(measured.standings, measured.demands),
        tables=tables,
        rows=tidy_rows(measured, seed),
        drawings=drawings,
        inputs=inputs,
        paper=[paper_table()],
        notes=notes(measured, largest),
    )


def margin(interval: Interval) -> float:
    """The farther end of an interval, as a distance."""
    return max(interval.high - interval.value, interval.value - interval.low)


def quality_table(layers: Sequence[MatchedLayer], seed: int) -> Table:
    """k/k_opt and c of every solver and layer under one centring."""
    rows = []
    for layer in layers:
        upper = np.triu_indices(layer.count, 1)
        for solver in layer.solvers:
            cells: list[Any] = []
            for values, text in (
                (layer.quality(solver), format_percent),
                (layer.chance_corrected(solver), format_chance_corrected),
            ):
                mean = mean_over_pairs(values, seed=seed)
                cells += [text(mean.value, margin(mean)), text(float(values[upper].min()))]
            rows.append([layer.layer, layer.size, layer.count * (layer.count - 1) // 2, solver, *cells])
    undefined = sum(int((layer.values(OPTIMUM) <= 0).sum()) for layer in layers)
    note = "Means over pairs; ±: the farther end of a 95 % bootstrap interval over images."
    if undefined:
        note += f" k/k_opt is not given where k_opt is not positive for a pair ({undefined} pairs); use c."
    columns = ["layer", "S", "pairs", "solver", "k/k_opt, %", "worst", "c", "worst"]
    return Table(f"Quality of the matchings, centring {layers[0].centring}", columns, rows, note)


def unevenness_table(measured: Measured) -> Table:
    """How unevenly matching changes the pairs of each layer and centring."""
    found = [(layer, unevenness(layer)) for layer in measured.matched]
    rows = [[layer.layer, layer.size, layer.centring, *values.values()] for layer, values in found]
    ranks = [f"Spearman, {kernel}" for kernel in measured.matched[0].rsms[OPTIMUM]]
    return Table(
        "How unevenly matching changes similarity",
        ["layer", "S", "centring", *COLUMNS.values(), *ranks],
        rows,
        "k: same-position similarity, inner product; CV: standard deviation over mean, over all pairs. A CV of 0 of k/k_opt would "
        "mean that matching only rescales; a Spearman of 1 (RSM without matching beside the optimal one), that it changes no "
        "ranking.",
    )


def downstream_table(standings: Sequence[Standing], clock: str) -> Table:
    """What the RSM of every solver is worth, beside its time."""
    rows = []
    for standing in standings:
        cells: list[Any] = [
            format_chance_corrected(standing.worst["spearman"]),
            format_chance_corrected(standing.worst["cka"]),
            format_percent(standing.worst["same_neighbour"]),
            format_percent(standing.worst["top5"]),
        ]
        time = format_seconds(standing.seconds.value, margin(standing.seconds))
        rows.append([standing.layer, standing.size, standing.images, standing.solver, time, *cells])
    return Table(
        "Downstream: agreement with the exact RSM, the worst over kernels and centrings",
        ["layer", "S", "images", "solver", "time per pair", *MEASURES.values()],
        rows,
        f"Time ({clock} clock): median of one pinned thread, affinity included where the solver needs one; ±: farther end of a "
        f"95 % bootstrap interval; {machine({'cpu': describe_cpu()})}. CKA: debiased. "
        "Same nearest: images whose most similar other image is the same. "
        "rows.csv has every kernel and centring with intervals.",
    )


def criteria(demands: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """What an RSM may be wanted for, and what that demands of a solver."""
    spearman, neighbours = demands["spearman"], demands["same_neighbour"]
    return {
        f"ranking and neighbours (Spearman ≥ {spearman:g}, same nearest ≥ {100 * neighbours:g} %)": dict(demands),
        f"ranking of pairs (Spearman ≥ {spearman:g})": {"spearman": spearman},
        f"nearest neighbours (same nearest ≥ {100 * neighbours:g} %)": {"same_neighbour": neighbours},
        f"comparing networks (CKA ≥ {spearman:g})": {"cka": spearman},
        "a first look (Spearman ≥ 0.99)": {"spearman": 0.99},
    }


def recommendation_table(measured: Measured) -> Table:
    """The fastest solver that is good enough, for several purposes, per layer and over all layers."""
    standings = measured.standings
    rows: list[list[Any]] = []
    for purpose, demands in criteria(measured.demands).items():
        for layer in dict.fromkeys(s.layer for s in standings):
            here = [s for s in standings if s.layer == layer]
            found = fastest(here, demands)
            exact = next(s for s in here if s.solver == OPTIMUM)
            if found is None:
                rows.append([purpose, layer, here[0].size, None, None, None])
                continue
            gain = exact.seconds.value / found.seconds.value
            rows.append([purpose, layer, here[0].size, found.solver, format_seconds(found.seconds.value), gain])
        rows.append([purpose, "all layers", None, fastest_everywhere(standings, demands), None, None])
    return Table(
        "Recommendation: the fastest solver that is good enough",
        ["for", "layer", "S", "solver", "time per pair", f"times faster than {OPTIMUM}"],
        rows,
        f"Good enough under every kernel and centring measured, on the images of each layer; {OPTIMUM} itself is a candidate. "
        "All layers: the smallest geometric mean of times among those that are good enough everywhere.",
    )


def sentence(standings: Sequence[Standing], demands: Mapping[str, float]) -> str:
    """The finding, worded from the values."""
    layers = list(dict.fromkeys(s.layer for s in standings))
    chosen: dict[str, list[str]] = {}
    gains = []
    for layer in layers:
        here = [s for s in standings if s.layer == layer]
        found = fastest(here, demands)
        exact = next(s for s in here if s.solver == OPTIMUM)
        if found is not None:
            chosen.setdefault(found.solver, []).append(layer)
            if found.solver != OPTIMUM:
                gains.append(exact.seconds.value / found.seconds.value)
    level = f"Spearman at least {demands['spearman']:g}, nearest neighbours kept at least {100 * demands['same_neighbour']:g} %"
    if gains:
        named = ", ".join(f"{solver} ({', '.join(where)})" for solver, where in chosen.items())
        text = f"Good enough ({level}) and fastest: {named}, {_range(gains, 1)} times as fast as {OPTIMUM}"
        text += " where it is another" if OPTIMUM in chosen else ""
    elif chosen:
        text = f"No approximation is both good enough ({level}) and faster than the exact solver {OPTIMUM} on any layer"
    else:
        text = f"No timed solver is good enough ({level})"
    unmatched = [s for s in standings if s.solver == UNMATCHED]
    if unmatched:
        text += (
            f"; without matching Spearman is {_range([s.worst['spearman'] for s in unmatched])} and "
            f"{_range([100 * s.worst['same_neighbour'] for s in unmatched], 0)} % of the neighbours stay"
        )
    poor = [s for s in standings if get_solver(s.solver).kind == "approximate"]
    if poor:
        worst = min(poor, key=lambda s: s.worst["same_neighbour"])
        kept = 100 * worst.worst["same_neighbour"]
        text += (
            f", and the poorest approximation ({worst.solver} at {worst.layer}) keeps {kept:.0f} %"
            if unmatched
            else f"; the poorest approximation ({worst.solver} at {worst.layer}) keeps {kept:.0f} % of the neighbours"
        )
    return text + "."


def _range(values: Sequence[float], digits: int = 2) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def paper_table() -> Table:
    """k/k_opt as the paper's Table 5 prints it."""
    sizes = sorted({size for figure in TABLE_5.values() for size in figure})
    rows = [
        [PAPER_NAMES[name], name, *(100 * by_size[size].quality if size in by_size else None for size in sizes)]
        for name, by_size in TABLE_5.items()
    ]
    return Table(
        "The paper's k/k_opt in percent (Wald et al. 2024, Table 5)",
        ["the paper's name", "our name", *(f"S = {size}" for size in sizes)],
        rows,
        f"Its own figures, not measured here: ResNet-101 on Tiny-ImageNet, 1,000 pairs. Its Fig. 5 and 6 (ResNet-18) print no "
        f"numbers. Source: {SOURCE}.",
    )


def notes(measured: Measured, largest: int | None) -> list[str]:
    """What a reader must know: how the optimum was checked, what was left out, what limits the figures."""
    found = [optimum_note(measured)]
    if largest is not None:
        found.append(f"Quick: layers of up to {largest} positions, few images and pairs; not for conclusions.")
    grouped: dict[tuple[str, str], list[str]] = {}
    for layer in measured.matched:
        for solver, reason in layer.left_out.items():
            places = grouped.setdefault((reason, layer.layer), [])
            if solver not in places:
                places.append(solver)
    found += [f"Left out at {place}: {', '.join(names)} ({reason})." for (reason, place), names in grouped.items()]
    counts = sorted({layer.count for layer in measured.matched})
    if len(counts) > 1:
        found.append(
            "Layers with more positions get fewer images, among which neighbours are easier to keep: compare solvers within a "
            "layer, not layers."
        )
    found.append(
        "RSMs are filled from pairs i < j; solvers that treat rows and columns differently would give other values for j < i."
    )
    return found


def optimum_note(measured: Measured) -> str:
    """How far anything exceeded the optimum, and other exact solvers differed from it."""
    above = max(
        (
            float(np.max((layer.values(solver) - best) / np.maximum(np.abs(best), np.finfo(float).tiny)))
            for layer in measured.matched
            for solver, best in ((s, layer.values(OPTIMUM)) for s in layer.solvers)
        ),
        default=0.0,
    )
    checks = [
        abs(row["k"] - row["k_opt"]) / max(abs(row["k_opt"]), np.finfo(float).tiny)
        for row in measured.times
        if get_solver(row["solver"]).kind == "exact" and row["solver"] != OPTIMUM
    ]
    text = f"Optimum: {OPTIMUM}, which certifies each matching. "
    if above > _ROUNDING:
        text += f"A solver exceeded it by {above:.1e} of its value: that is a bug, please report it."
    else:
        text += "No solver exceeded it beyond rounding"
        text += (
            f"; other exact solvers gave the same k up to {max(checks):.1e} of its value ({len(checks)} comparisons)."
            if checks
            else "."
        )
    return text
