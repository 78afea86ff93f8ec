"""Tables of the study `cka`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np

from semrsm_bench.studies.cka_comparison import KINDS, Comparison, same_layers
from semrsm_bench.studies.cka_values import Estimate, chance_level, negative_share
from semrsm_bench.studies.network_rsms import SEMANTIC
from semrsm_bench.studies.study import Table


def own_table(comparison: Comparison) -> Table:
    """Semantic against spatio-semantic RSM of the same layer (Fig. 15)."""
    rows = [
        [
            layer.network,
            layer.layer,
            layer.positions,
            interval_text(comparison.own(a)),
            negative_share(layer.rsms[SEMANTIC][comparison.kernel]),
            layer.solver,
        ]
        for a, layer in enumerate(comparison.layers)
    ]
    return Table(
        f"CKA of the semantic with the spatio-semantic RSM of the same layer, {comparison.kernel} kernel",
        ["network", "layer", "positions", "CKA", "least eigenvalue", "solver"],
        rows,
        "In brackets 95 % jackknife intervals over images. Least eigenvalue: of the centred semantic RSM, as a share of the "
        "largest in size; below 0 it is not positive semi-definite.",
    )


def within_table(comparison: Comparison) -> Table:
    """Different layers of one network, averaged over pairs of layers (Fig. 16)."""
    rows = []
    for network, places in comparison.networks.items():
        pairs = list(combinations(places, 2))
        if pairs:
            changes = {pair: comparison.change(*pair) for pair in pairs}
            extremes = [choose(pairs, key=lambda pair: changes[pair].value) for choose in (min, max)]
            rows.append(
                [
                    network,
                    *(Estimate.mean([comparison.between(*p, kind) for p in pairs]).value for kind in KINDS),
                    interval_text(Estimate.mean(list(changes.values()))),
                    f"{_decided(changes.values(), -1)} / {_decided(changes.values(), 1)} / {len(pairs)}",
                    *(
                        f"{comparison.layers[a].layer}, {comparison.layers[b].layer}: {changes[a, b].value:+.3f}"
                        for a, b in extremes
                    ),
                ]
            )
    return Table(
        f"CKA between different layers of one network, mean over pairs of layers, {comparison.kernel} kernel",
        ["network", *KINDS, "difference", "fall / rise / pairs", "lowest difference", "highest difference"],
        rows,
        "Difference: semantic minus spatio-semantic. Fall, rise: pairs whose own 95 % interval excludes 0 (one in twenty would "
        "by chance).",
    )


def across_table(
    comparison: Comparison, relations: Mapping[tuple[str, str], str], estimator: str, draws: int, seed: int
) -> Table:
    """Layers of one name in different networks, averaged over pairs of networks (Fig. 17)."""
    rows = []
    for (relation, name), pairs in same_layers(comparison, relations).items():
        levels = [
            chance_level(
                [tuple(comparison.layers[p].rsms[kind][comparison.kernel] for p in pair) for pair in pairs],  # type: ignore[misc]
                estimator,
                draws,
                seed,
            )
            for kind in KINDS
        ]
        rows.append(
            [
                relation,
                name,
                len(pairs),
                *(Estimate.mean([comparison.between(*p, kind) for p in pairs]).value for kind in KINDS),
                interval_text(Estimate.mean([comparison.change(*p) for p in pairs])),
                *levels,
            ]
        )
    return Table(
        f"CKA between layers of the same name in different networks, mean over pairs of networks, {comparison.kernel} kernel",
        ["networks", "layer", "pairs", *KINDS, "difference", *(f"chance, {kind}" for kind in KINDS)],
        rows,
        f"Chance: 95th percentile over {draws} random reorderings of the images of one side.",
    )


def interval_text(estimate: Estimate) -> str:
    """``+0.050 [+0.040, +0.060]``; a dash where it is undefined."""
    value, low, high = estimate.interval
    return "–" if np.isnan(value) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _decided(estimates: Iterable[Estimate], sign: int) -> int:
    intervals = [estimate.interval for estimate in estimates]
    return sum(i.low > 0 if sign > 0 else i.high < 0 for i in intervals)
