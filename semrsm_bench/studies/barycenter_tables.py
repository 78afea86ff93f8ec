"""Tables, rows and half-sentences of the study of instance-level comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from semrsm_bench.bench.stats import Interval
from semrsm_bench.metrics import p_value
from semrsm_bench.metrics.instances import KINDS
from semrsm_bench.studies.held_out import PRIMARY, HeldOut, null_p_values
from semrsm_bench.studies.instance_findings import Repeat
from semrsm_bench.studies.predictors import LabelEffect, Ridge
from semrsm_bench.studies.study import Table

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

LEVEL = 0.05


def null_share(held: HeldOut, kind: str = PRIMARY) -> float:
    """Share of the stimuli that agree more than 95 % of the pooled null."""
    return float(np.mean(null_p_values(held.scores[kind], held.null[kind], kind) <= LEVEL))


def scores_table(layers: Mapping[str, HeldOut], main: str) -> Table:
    """Level of the scores and of their null: the primary kind for every layer, all kinds for the main one."""
    rows = []
    for layer, held in layers.items():
        for kind in KINDS if layer == main else (PRIMARY,):
            values = held.scores[kind]
            low, high = np.quantile(values, [0.05, 0.95])
            same = float(spearmanr(values, held.scores[PRIMARY]).statistic)
            rows.append(
                (layer, kind, float(values.mean()), float(low), float(high), float(held.null[kind].mean()),
                 null_share(held, kind), same)
            )  # fmt: skip
    return Table(
        "Similarity of held-out stimuli",
        ("layer", "kind", "mean", "5 %", "95 %", "null mean", "beyond the null", "Spearman with pairwise_cosine"),
        rows,
        note="Null: every network's held-out stimuli reordered on their own. Beyond the null: share of stimuli that agree "
        "more than 95 % of it. Dispersion is a distance, in units of the mean squared length of a training stimulus.",
    )


def extremes_table(ids: Sequence[str], scores: FloatArray, order: IntArray, shown: int = 10) -> Table:
    """Names of the stimuli at both ends."""
    shown = min(shown, len(order) // 2)
    return Table(
        "Agreed on most and least",
        ("rank", "most", "score", "least", "score of least"),
        [
            (k + 1, ids[order[k]], float(scores[order[k]]), ids[order[-1 - k]], float(scores[order[-1 - k]]))
            for k in range(shown)
        ],
        note=f"By {PRIMARY}; rank 1 is the most extreme on either side.",
    )


def score_rows(held: HeldOut, common: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One row a stimulus: what is given in ``common``, its scores of every kind and its p-value."""
    columns: dict[str, Iterable[Any]] = {**common}
    columns |= {kind: values.tolist() for kind, values in held.scores.items()}
    columns["p_value"] = null_p_values(held.scores[PRIMARY], held.null[PRIMARY]).tolist()
    columns["length"] = held.length.tolist()
    return [dict(zip(columns, values)) for values in zip(*columns.values(), strict=True)]


def predictors_table(
    correlations: Mapping[str, Interval],
    partial: Mapping[str, Interval],
    ridge: Ridge | None,
    groups: Mapping[str, str],
) -> Table:
    """Spearman, partial Spearman and ridge coefficient of every predictor."""
    rows = []
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    for name, found in correlations.items():
        coefficient = ridge.coefficients.get(name, nothing) if ridge else nothing
        rows.append((groups[name], name, *found, *partial.get(name, nothing), *coefficient))
    return Table(
        f"What goes with {PRIMARY}",
        (
            "of", "predictor", "Spearman", "low", "high", "at equal distance", "low of that", "high of that", "ridge",
            "low of ridge", "high of ridge",
        ),
        rows,
        note="95 % bootstrap intervals. At equal distance: partial Spearman, given the distance from the mean. Ridge: standard "
        "deviations of the score for one of the predictor, all image and output predictors together.",
    )  # fmt: skip


def explained_table(models: Mapping[str, Ridge | None], label: LabelEffect | None, label_name: str) -> Table:
    """Share of the score's variance that sets of predictors, or the label, explain."""
    rows: list[tuple[Any, ...]] = []
    for name, found in models.items():
        rows.append((name, *(found.r2 if found else (None, None, None)), None, None))
    if label is not None:
        name = f"{label_name} ({label.classes}), share between labels"
        rows.append((name, label.share, None, None, label.chance, label.p_value))
        rows.append((f"{label_name}, corrected for chance", label.adjusted, None, None, 0.0, label.p_value))
    return Table(
        "Share of the variance explained",
        ("by", "share", "low", "high", "by chance", "p"),
        rows,
        note="Predictors: R2 of a ridge regression on groups that it was not fitted on, with a 95 % bootstrap interval; below 0 "
        "it predicts worse than the mean. Label: sum of squares between labels over the total; chance and p by reordering "
        "labels.",
    )


def level_clause(held: HeldOut, things: str, stimuli: str, count: int, where: str = "") -> str:
    """Whether the models agree on held-out stimuli more than on reordered ones, by the mean score among its permutations."""
    observed, chance = float(held.scores[PRIMARY].mean()), float(held.null[PRIMARY].mean())
    share = null_share(held)
    verdict = (
        "agree more" if p_value(observed, held.null[PRIMARY].mean(axis=1)) <= LEVEL else "do not clearly agree more"
    )
    return (
        f"On {len(held.length)} held-out {stimuli} {count} {things} {verdict}{where} than on reordered ones (mean cosine "
        f"{observed:.3f} against {chance:.3f}; {share:.0%} lie above 95 % of the null)"
    )


def predictor_clause(correlations: Mapping[str, Interval], partial: Mapping[str, Interval]) -> str:
    """The predictor with the largest correlation whose interval leaves out 0, or that there is none."""
    clear = {name: r for name, r in correlations.items() if r.low > 0 or r.high < 0}
    if not clear:
        return "no predictor that was measured goes with it (every interval includes 0)"
    name = max(clear, key=lambda key: abs(clear[key].value))
    value, low, high = clear[name]
    direction = "rises" if value > 0 else "falls"
    return (
        f"agreement {direction} most clearly with {name} (Spearman {value:+.2f}, {low:+.2f} to {high:+.2f}; "
        f"{partial[name].value:+.2f} at equal distance from the mean)"
    )


def reliability_clause(values: Sequence[float]) -> str:
    """How alike disjoint sets of networks rank the pictures."""
    if not len(values):
        return "with fewer than four networks it stays open whether others would rank the pictures alike"
    mean = float(np.mean(values))
    how = "much" if mean >= 0.5 else "somewhat" if mean >= 0.2 else "hardly"
    spread = f", {min(values):.2f} to {max(values):.2f} over {len(values)} divisions" if len(values) > 1 else ""
    return f"disjoint sets of networks rank the pictures {how} alike (mean Spearman {mean:.2f}{spread})"


def layers_table(by_layer: Mapping[str, Mapping[str, float]]) -> Table:
    """Spearman of every predictor with the score at every layer."""
    names = list(next(iter(by_layer.values())))
    return Table(
        f"Spearman with {PRIMARY}, by layer",
        ("predictor", *by_layer),
        [(name, *(by_layer[layer][name] for layer in by_layer)) for name in names],
    )


def repeats_table(repeats: Sequence[Repeat]) -> Table:
    """How well scores repeat: across disjoint sets of networks, layers, and networks compared layer by layer."""
    kinds = {
        "networks": "disjoint sets of networks",
        "layers": "two layers",
        "depth": "layers of one network aligned, two networks",
    }
    return Table(
        "Do other networks or layers rank the pictures alike?",
        ("between", "first", "second", "Spearman", "low", "high"),
        [(kinds[r.what], r.first, r.second, *r.spearman) for r in repeats],
        note="Spearman of the scores of the same held-out pictures, with 95 % bootstrap intervals over pictures. Networks are "
        "compared at the last layer.",
    )
