"""How good are approximate matchings, and does it matter downstream? (Wald et al. 2024, section 4.4, Fig. 5 and 6, and beyond.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from semrsm_bench.bench.cases import choose_pairs
from semrsm_bench.bench.stats import median_interval
from semrsm_bench.progress import progress_bar
from semrsm_bench.rsm.kernels import check_kernels
from semrsm_bench.rsm.sources import Centring, ImageSource
from semrsm_bench.solvers import load_plugin, solver_names
from semrsm_bench.studies.downstream import MEASURES, RESAMPLES, Standing, agreements
from semrsm_bench.studies.matched_layers import (
    OPTIMUM,
    MatchedLayer,
    chosen_solvers,
    layers_of_cache,
    layers_of_model,
    match_layer,
    reason_to_leave_out,
    share_of,
)
from semrsm_bench.studies.matching_report import tell
from semrsm_bench.studies.matching_rows import Measured, Row
from semrsm_bench.studies.pair_bootstrap import LEAST_IMAGES
from semrsm_bench.studies.solver_targets import CLOCKS
from semrsm_bench.studies.solver_times import one_pinned_thread, time_solvers
from semrsm_bench.studies.study import StudyResult

DEFAULT_COUNT, QUICK_COUNT = 100, 32
QUICK_RESAMPLES = 200
LEAST, QUICK_LEAST = 12, LEAST_IMAGES
QUICK_LARGEST = 1024
# Pairs timed, by the largest S; the last entry counts for everything larger.
TIMED_PAIRS = ((256, 20), (1024, 12), (4096, 5))
QUICK_PAIRS = 3
# The other exact solvers check the optimum on so many of those pairs, up to this S: beyond, they take seconds a pair.
CHECKED_PAIRS, CHECKED_SIZE = 3, 1024


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
    clock: str = "wall",
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
    clock : {"wall", "cpu"}
        For the times per pair; "cpu" is the thread's own, for a machine that is shared with other work.
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
    levels = {"least Spearman": least_spearman, "least share of neighbours": least_neighbours}
    _check(kernels, centrings, levels, jobs, clock)
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
    found = _agreements(matched, seed, QUICK_RESAMPLES if quick else RESAMPLES)
    times = _time(matched, seed, clock, quick, quiet)
    demands = {"spearman": least_spearman, "same_neighbour": least_neighbours}
    measured = Measured(matched, found, times, _standings(matched, found, times, seed), demands, clock)
    return tell(measured, name, inputs, seed, QUICK_LARGEST if quick else None)


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


def _check(
    kernels: Sequence[str], centrings: Sequence[str], levels: Mapping[str, float], jobs: int, clock: str
) -> None:
    check_kernels(kernels, "offdiag_median", 1.0)
    if jobs == 0:
        raise ValueError("jobs must not be 0: 1 for this process, -1 for all cores")
    if clock not in CLOCKS:
        raise ValueError(f"clock must be one of {', '.join(CLOCKS)}; got {clock!r}")
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
    # Counted in entries of the affinity: pairs of a large layer take far longer than those of a small one.
    weights = {name: (source.size / 1000) ** 2 for name, source in sources.items()}
    entries = sum(weights[name] * source.count * (source.count - 1) / 2 for name, source in sources.items())
    total = round(entries * (len(solvers) + 1) * len(set(centrings)))
    matched = []
    with progress_bar(total, "matching", unit="M entries", quiet=quiet) as bar:
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
                        tell=lambda pairs, weight=weights[layer]: bar.update(pairs * weight),  # type: ignore[misc]
                    )
                )
    return matched


def _agreements(matched: Sequence[MatchedLayer], seed: int, resamples: int) -> list[Row]:
    rows = []
    for layer in matched:
        for kernel, exact in layer.rsms[OPTIMUM].items():
            others = {solver: layer.rsms[solver][kernel] for solver in layer.solvers}
            for solver, found in agreements(exact, others, seed=seed, resamples=resamples).items():
                about = {"layer": layer.layer, "centring": layer.centring, "solver": solver, "kernel": kernel}
                rows.append({**about, **found})
    return rows


def _time(matched: Sequence[MatchedLayer], seed: int, clock: str, quick: bool, quiet: bool) -> list[Row]:
    """Times of all layers and centrings, and of the other exact solvers on a few pairs, which check the optimum."""
    others = [name for name in solver_names("exact", available_only=True) if name != OPTIMUM]
    plans = []
    for layer in matched:
        pairs = choose_pairs(layer.count, QUICK_PAIRS if quick else _timed_pairs(layer.size), seed)
        plans.append((layer, [OPTIMUM, *layer.solvers], pairs))
        if layer.size <= CHECKED_SIZE and layer.centring == matched[0].centring:
            checks = [n for n in others if n not in layer.products and not reason_to_leave_out(n, layer.size)]
            plans.append((layer, checks, pairs[:CHECKED_PAIRS]))
    rows = []
    total = sum(len(pairs) for _, _, pairs in plans)
    with one_pinned_thread(), progress_bar(total, "timing", unit="pair", quiet=quiet) as bar:
        for layer, names, pairs in plans:
            for row in time_solvers((layer.problem(*pair) for pair in pairs), names, clock, bar.update):
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
