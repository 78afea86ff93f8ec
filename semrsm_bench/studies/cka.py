"""Does CKA say something else about layers and networks once RSMs are semantic? (Wald et al. 2024, appendix G)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.metrics.arrays import one_of
from semrsm_bench.metrics.cka import ESTIMATORS
from semrsm_bench.studies.cka_comparison import (
    ALIKE,
    KINDS,
    UNLIKE,
    Comparison,
    architecture_relations,
    compare,
    same_layers,
)
from semrsm_bench.studies.cka_tables import across_table, own_table, within_table
from semrsm_bench.studies.cka_values import LEAST_IMAGES, Estimate, negative_share
from semrsm_bench.studies.network_rsms import (
    SEMANTIC,
    How,
    choose_layers,
    common_size,
    load_networks,
    network_rsms,
)
from semrsm_bench.studies.networks import provenance
from semrsm_bench.studies.pictures import study_pictures
from semrsm_bench.studies.study import Drawing, StudyResult

if TYPE_CHECKING:
    pass

COUNT, QUICK_COUNT = 60, 20


def cka(
    images: Sequence[Path] = (),
    classes: Path | None = None,
    count: int | None = None,
    *,
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
    how: How | None = None,
    estimator: str = "debiased",
    size: int | None = None,
    draws: int = 200,
    seed: int = 0,
    quick: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """CKA between layers of one network and of different ones, of spatio-semantic and of semantic RSMs.

    Parameters
    ----------
    images : sequence of Path
        See `study_pictures`; all networks see the same.
    classes : Path, optional
    count : int, optional
        Pictures; 60 by default, 20 for ``quick``.
    models : sequence of str
        See `load_model`; by default the four small ResNets.
    layers : sequence of str
        See `choose_layers`; by default the four stages, the last two for ``quick``.
    how : How, optional
    estimator : {"debiased", "biased"}
    size : int, optional
        Side of the pictures.
    draws : int
        Reorderings of the images for the chance level.
    seed : int
    quick, quiet : bool

    Raises
    ------
    ValueError
        Unknown estimator, fewer than ten pictures, a constant RSM, and as the functions named above do.
    """
    how = how or How()
    one_of(estimator, ESTIMATORS, "estimator")
    chosen = load_networks(models, layers)
    if quick and not layers:
        # The first two stages of our networks have 4,096 and 1,024 positions and would take nearly all of the time.
        chosen = [choose_layers(model, model.layers[-2:]) for model in chosen]
    number = count or (QUICK_COUNT if quick else COUNT)
    if number < LEAST_IMAGES:
        raise ValueError(f"at least {LEAST_IMAGES} pictures are needed, got a count of {number}")
    pictures = study_pictures(images, count=number, size=common_size(chosen, size), seed=seed, classes=classes)
    networks = network_rsms(chosen, pictures.pixels, how, quiet=quiet)
    seen = [layer for network in networks for layer in network.layers]
    comparisons = [compare(seen, kernel, estimator, quiet=quiet) for kernel in how.kernels]
    relations = architecture_relations(chosen)
    chance = 50 if quick else draws
    tables = [
        table
        for comparison in comparisons
        for table in (
            own_table(comparison),
            within_table(comparison),
            across_table(comparison, relations, estimator, chance, seed),
        )
        if table.rows
    ]
    return StudyResult(
        "cka",
        "CKA of semantic and of spatio-semantic RSMs",
        sentence(comparisons[0], relations),
        tables,
        [row for comparison in comparisons for row in _rows(comparison, relations, estimator, number)],
        [drawing for comparison in comparisons for drawing in _drawings(comparison)],
        {"networks": provenance(chosen), "pictures": pictures.provenance(), "draws": chance},
        notes=_notes(comparisons, how, estimator, number),
    )


def sentence(comparison: Comparison, relations: Mapping[tuple[str, str], str]) -> str:
    """What changes within networks, across them, and how alike the two RSMs of a layer are."""
    parts = []
    within = [pair for places in comparison.networks.values() for pair in combinations(places, 2)]
    if within:
        parts.append(_change_words(comparison, within, "between different layers of a network"))
    same = same_layers(comparison, relations)
    for relation, words in ((ALIKE, "the same architecture"), (UNLIKE, "different architectures")):
        pairs = [pair for (here, _), found in same.items() if here == relation for pair in found]
        if pairs:
            parts.append(_change_words(comparison, pairs, f"between layers of one name in networks of {words}"))
    own = [comparison.own(a).value for a in range(len(comparison.layers))]
    if np.isnan(own).all():
        ending = "of no layer is the CKA of its two RSMs defined"
    else:
        low, high = (comparison.layers[int(choose(own))] for choose in (np.nanargmin, np.nanargmax))
        ending = (
            f"the CKA of a layer's semantic with its spatio-semantic RSM goes from {np.nanmin(own):.2f} ({low.layer} of "
            f"{low.network}, {low.positions} positions) to {np.nanmax(own):.2f} ({high.layer} of {high.network}, "
            f"{high.positions} positions)"
        )
    opening = f"With semantic in place of spatio-semantic RSMs ({comparison.kernel} kernel) the mean CKA "
    text = "; ".join([opening + "; it ".join(parts)] * bool(parts) + [ending]) + "."
    return text[0].upper() + text[1:]


def _change_words(comparison: Comparison, pairs: Sequence[tuple[int, int]], where: str) -> str:
    change = Estimate.mean([comparison.change(*pair) for pair in pairs]).interval
    before, after = (Estimate.mean([comparison.between(*p, kind) for p in pairs]).value for kind in KINDS)
    verb = "rises" if change.low > 0 else "falls" if change.high < 0 else "does not change clearly"
    return (
        f"{verb} {where} ({before:.2f} to {after:.2f}, difference {change.value:+.3f}, 95 % interval {change.low:+.3f} to "
        f"{change.high:+.3f})"
    )


def _rows(
    comparison: Comparison, relations: Mapping[tuple[str, str], str], estimator: str, images: int
) -> list[dict[str, Any]]:
    """One row for each pair of layers and kind, and one for the two RSMs of each layer."""
    rows = []
    layers = comparison.layers
    for a, first in enumerate(layers):
        for b in range(a, len(layers)):
            second = layers[b]
            same = first.network == second.network
            figures = {
                **({"semantic with spatio-semantic": comparison.own(a)} if a == b else {}),
                **({} if a == b else {kind: comparison.between(a, b, kind) for kind in KINDS}),
                **({} if a == b else {"difference": comparison.change(a, b)}),
            }
            relation = "same network" if same else relations[first.network, second.network]
            for what, estimate in figures.items():
                value, low, high = estimate.interval
                rows.append(
                    {
                        "kernel": comparison.kernel, "estimator": estimator, "images": images, "relation": relation,
                        "network": first.network, "layer": first.layer, "positions": first.positions,
                        "other_network": second.network, "other_layer": second.layer,
                        "other_positions": second.positions, "what": what, "cka": value, "low": low, "high": high,
                    }
                )  # fmt: skip
    return rows


def _drawings(comparison: Comparison) -> list[Drawing]:
    from semrsm_bench.studies.cka_figures import draw_across, draw_own, draw_within

    return [draw_own(comparison), draw_within(comparison), *draw_across(comparison)]


def _notes(comparisons: Sequence[Comparison], how: How, estimator: str, images: int) -> list[str]:
    shares = [
        (negative_share(layer.rsms[SEMANTIC][c.kernel]), layer, c.kernel) for c in comparisons for layer in c.layers
    ]
    share, layer, kernel = min(shares, key=lambda entry: entry[0])
    indefinite = sum(share < 0 for share, _, _ in shares)
    negative = (
        f"{indefinite} of {len(shares)} have a negative eigenvalue once centred, down to {share:.2%} of the largest "
        f"({layer.layer} of {layer.network}, {kernel})"
        if indefinite
        else f"none of {len(shares)} has a negative eigenvalue once centred"
    )
    notes = [
        f"Semantic RSMs need not be positive semi-definite, so that their CKA lies in [-1, 1]; here {negative}.",
        "Intervals are symmetric, so that near a CKA of 1 they may reach beyond it.",
        f"Estimator: {estimator}, {images} images at once; the appendix takes minibatches of 250."
        + ("" if estimator == "debiased" else " The biased estimator is above 0 by chance: see the chance columns."),
    ]
    rough = sorted({(one.positions, one.solver) for c in comparisons for one in c.layers if not one.exact})
    notes += [
        f"Layers of {positions:,} positions are matched by {solver}, an approximation." for positions, solver in rough
    ]
    if how.centring == "position":
        notes.append(
            "Centring per position, as in the appendix, subtracts another mean at every position: semantic RSMs are then no "
            "longer invariant to permutations of the positions."
        )
    else:
        notes.append(
            f"Centring: {how.centring}; the appendix centres every position by itself, which would break the invariance of "
            "semantic RSMs to permutations of the positions (--centring position)."
        )
    return notes
