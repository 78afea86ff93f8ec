"""How good are approximate matchings, and does it matter downstream? (Wald et al. 2024, section 4.4, Fig. 5 and 6, and beyond.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from semrsm_bench.bench.cases import choose_pairs
from semrsm_bench.bench.stats import Interval, median_interval
from semrsm_bench.progress import progress_bar
from semrsm_bench.rsm.kernels import check_kernels
from semrsm_bench.rsm.sources import Centring, ImageSource
from semrsm_bench.solvers import get_solver, load_plugin, solver_names
from semrsm_bench.studies.downstream import LEAST_IMAGES, MEASURES, Standing, agreement
from semrsm_bench.studies.halves import mean_over_pairs
from semrsm_bench.studies.matched_layers import (
    OPTIMUM,
    UNMATCHED,
    MatchedLayer,
    chosen_solvers,
    layers_of_cache,
    layers_of_model,
    match_layer,
    reason_to_leave_out,
    share_of,
)
from semrsm_bench.studies.solver_times import one_pinned_thread, time_solvers
from semrsm_bench.studies.study import StudyResult

DEFAULT_COUNT, QUICK_COUNT = 100, 40
LEAST, QUICK_LEAST = 12, LEAST_IMAGES
QUICK_LARGEST = 1024
# Pairs timed, by the largest S; the last entry counts for everything larger.
TIMED_PAIRS = ((256, 20), (1024, 12), (4096, 5))
# The other exact solvers check the optimum on so many of those pairs, up to this S: beyond, they take seconds a pair.
CHECKED_PAIRS, CHECKED_SIZE = 4, 1024

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
    """

    matched: list[MatchedLayer]
    agreements: list[Row]
    times: list[Row]
    standings: list[Standing]
    demands: Mapping[str, float]


def matching_quality(
    *,
    images: Sequence[Path] = (),
    classes: Path | None = None,
    count: int | None = None,
    seed: int = 0,
    model: str | None = None,
    layers: Sequence[str] = (),
    data: Path | None = None,
    matching: Sequence[str] = (),
    kernels: Sequence[str] = ("linear", "cosine"),
    centrings: Sequence[str] = ("none", "channel"),
    least_spearman: float = 0.999,
    least_neighbours: float = 0.99,
    equal: bool = False,
    plugins: Sequence[Path] = (),
    jobs: int = -1,
    quick: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """Quality of matchings per layer and solver, how unevenly matching changes pairs, and what approximations cost downstream.

    Parameters
    ----------
    images, classes, count, seed
        Pictures; see `study_pictures`. A layer of S positions takes ``count * 8 / sqrt(S)`` of them, at least 12.
    model : str, optional
        See `study_network`.
    layers : sequence of str
        Default: all of the network's or the cache's.
    data : Path, optional
        Cache of activations to use in place of a network and pictures; needs no torch.
    matching : sequence of str
        Solvers; default: identity and all approximate ones that are available. The exact reference is always there.
    kernels : sequence of {"linear", "cosine", "rbf"}
    centrings : sequence of {"none", "channel", "position"}
    least_spearman, least_neighbours : float
        What a solver must reach to be recommended, in [0, 1].
    equal : bool
        The same number of images in every layer.
    plugins : sequence of Path
        Files that register solvers.
    jobs : int
        Processes that compute the RSMs; times are taken afterwards, on one thread.
    quick : bool
        Fewer images, and only layers of up to 1024 positions.

    Returns
    -------
    StudyResult

    Raises
    ------
    ValueError
        Unknown solver, kernel, centring or layer, too few images, options that exclude each other.
    """
    from semrsm_bench.studies import matching_report

    _check(kernels, centrings, {"least Spearman": least_spearman, "least share of neighbours": least_neighbours})
    for plugin in plugins:
        load_plugin(plugin)
    solvers = chosen_solvers(matching)
    counts = _Counts(count, equal, quick)
    if data is not None:
        if images or model or classes:
            raise ValueError("--data brings its own activations: leave out --model, --images and --classes")
        sources, inputs = layers_of_cache(data, layers, counts.in_cache(data), QUICK_LARGEST if quick else None)
        name = str(inputs["cache"])
    else:
        sources, inputs, name = _from_pictures(images, classes, counts, seed, model, layers, quick)
    if not sources:
        raise ValueError(
            f"no layer of {name} has {QUICK_LARGEST} positions or fewer, which is all that --quick looks at"
        )
    jobs = 1 if quick else jobs
    matched = _match(sources, centrings, solvers, kernels, bool(matching), jobs, quiet)
    agreements = _agreements(matched, seed)
    times = _time(matched, seed, quick, quiet)
    demands = {"spearman": least_spearman, "same_neighbour": least_neighbours}
    measured = Measured(matched, agreements, times, _standings(matched, agreements, times, seed), demands)
    return matching_report.tell(measured, name, inputs, seed, quick)


@dataclass(frozen=True)
class _Counts:
    """How many images a layer gets."""

    asked: int | None
    equal: bool
    quick: bool

    @property
    def wanted(self) -> int:
        """At the layers that get most."""
        wanted = self.asked or (QUICK_COUNT if self.quick else DEFAULT_COUNT)
        if wanted < LEAST_IMAGES:
            raise ValueError(f"rankings and neighbours need at least {LEAST_IMAGES} images, asked for {wanted}")
        return wanted

    def at(self, size: int, available: int | None = None) -> int:
        """Of a layer with S positions."""
        top = self.wanted if available is None else min(self.wanted, available)
        return top if self.equal else share_of(top, size, QUICK_LEAST if self.quick else LEAST)

    def in_cache(self, data: Path) -> Callable[[int], int]:
        """The same, of the images that a cache holds: all of them unless fewer were asked for."""
        from semrsm_bench.activations.locate import find_data
        from semrsm_bench.activations.store import open_cache

        available = len(open_cache(find_data(data)))
        if self.asked is not None and self.asked > available:
            raise ValueError(f"asked for {self.asked} images, {data.name} has {available}")
        if available < LEAST_IMAGES:
            raise ValueError(
                f"{data.name} has {available} images; rankings and neighbours need at least {LEAST_IMAGES}"
            )
        return lambda size: self.at(size, available)


def _check(kernels: Sequence[str], centrings: Sequence[str], levels: Mapping[str, float]) -> None:
    check_kernels(kernels, "offdiag_median", 1.0)
    if not centrings:
        raise ValueError(f"name at least one centring of {', '.join(get_args(Centring))}")
    for centring in centrings:
        if centring not in get_args(Centring):
            raise ValueError(f"centring must be one of {', '.join(get_args(Centring))}; got {centring!r}")
    for name, level in levels.items():
        if not 0 <= level <= 1:
            raise ValueError(f"the {name} lies between 0 and 1, got {level}")


def _from_pictures(
    images: Sequence[Path],
    classes: Path | None,
    counts: _Counts,
    seed: int,
    model: str | None,
    layers: Sequence[str],
    quick: bool,
) -> tuple[dict[str, ImageSource], dict[str, Any], str]:
    from semrsm_bench.studies.networks import provenance, study_network
    from semrsm_bench.studies.pictures import study_pictures

    network = study_network(model, layers)
    pictures = study_pictures(images, count=counts.wanted, size=network.size, seed=seed, classes=classes)
    sources = layers_of_model(network, pictures.pixels, counts.at, QUICK_LARGEST if quick else None)
    return sources, {"networks": provenance([network]), "pictures": pictures.provenance()}, network.name


def _match(
    sources: Mapping[str, ImageSource],
    centrings: Sequence[str],
    solvers: Sequence[str],
    kernels: Sequence[str],
    asked_for: bool,
    jobs: int,
    quiet: bool,
) -> list[MatchedLayer]:
    pairs = sum(source.count * (source.count - 1) // 2 for source in sources.values())
    matched = []
    with progress_bar(pairs * (len(solvers) + 1) * len(centrings), "matching", unit="pair", quiet=quiet) as bar:
        for layer, source in sources.items():
            for centring in dict.fromkeys(centrings):
                matched.append(
                    match_layer(
                        layer,
                        source,
                        centring,  # type: ignore[arg-type]
                        solvers,
                        list(dict.fromkeys(kernels)),
                        asked_for=asked_for,
                        n_jobs=jobs,
                        tell=bar.update,
                    )
                )
    return matched


def _agreements(matched: Sequence[MatchedLayer], seed: int) -> list[Row]:
    return [
        {
            "layer": layer.layer,
            "centring": layer.centring,
            "solver": solver,
            "kernel": kernel,
            **agreement(rsm, layer.rsms[OPTIMUM][kernel], seed=seed),
        }
        for layer in matched
        for solver in layer.solvers
        for kernel, rsm in layer.rsms[solver].items()
    ]


def _time(matched: Sequence[MatchedLayer], seed: int, quick: bool, quiet: bool) -> list[Row]:
    """Times of all layers and centrings, and of the other exact solvers on a few pairs, which check the optimum."""
    others = [name for name in solver_names("exact", available_only=True) if name != OPTIMUM]
    plans = []
    for layer in matched:
        pairs = choose_pairs(layer.count, 4 if quick else _timed_pairs(layer.size), seed)
        plans.append((layer, [OPTIMUM, *layer.solvers], pairs))
        if layer.size <= CHECKED_SIZE:
            checks = [n for n in others if n not in layer.products and not reason_to_leave_out(n, layer.size)]
            plans.append((layer, checks, pairs[:CHECKED_PAIRS]))
    rows = []
    total = sum(len(pairs) for _, _, pairs in plans)
    with one_pinned_thread(), progress_bar(total, "timing", unit="pair", quiet=quiet) as bar:
        for layer, names, pairs in plans:
            for row in time_solvers((layer.problem(*pair) for pair in pairs), names, bar.update):
                i, j = pairs[row["pair"]]
                known = {"layer": layer.layer, "centring": layer.centring, "k_opt": layer.products[OPTIMUM][i, j]}
                rows.append({**row, **known, "pair": f"{i}-{j}"})
    return rows


def _timed_pairs(size: int) -> int:
    return next((pairs for largest, pairs in TIMED_PAIRS if size <= largest), TIMED_PAIRS[-1][1])


def _standings(
    matched: Sequence[MatchedLayer], agreements: Sequence[Row], times: Sequence[Row], seed: int
) -> list[Standing]:
    standings = []
    for layer in {m.layer: m for m in matched}.values():
        for solver in dict.fromkeys([OPTIMUM, *(s for m in matched if m.layer == layer.layer for s in m.solvers)]):
            seconds = [r["seconds"] for r in times if (r["layer"], r["solver"]) == (layer.layer, solver)]
            here = [r for r in agreements if (r["layer"], r["solver"]) == (layer.layer, solver)]
            values = {m: [float(r[m].value) for r in here] or [1.0] for m in MEASURES}
            standings.append(
                Standing(
                    solver,
                    layer.layer,
                    layer.size,
                    layer.count,
                    median_interval(seconds, seed=seed),
                    {m: float(np.min(v)) for m, v in values.items()},
                    {m: float(np.max(v)) for m, v in values.items()},
                )
            )
    return standings


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
            from semrsm_bench.studies.unevenness import unevenness

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
