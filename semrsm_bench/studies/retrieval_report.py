"""Tables, tidy rows and the sentence of the retrieval study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from semrsm_bench.bench.stats import Interval
from semrsm_bench.studies.retrieval_data import RetrievalData
from semrsm_bench.studies.retrieval_scores import (
    POOLED,
    RANDOM,
    SPATIO_SEMANTIC,
    TOP,
    TRANSLATION,
    Difference,
    Line,
    interval,
)
from semrsm_bench.studies.study import Table

SCORE_NAMES = {"f1": "F1", "iou": "IoU"}


def matching_name(matching: str) -> str:
    """A matching as tables call it."""
    if matching == SPATIO_SEMANTIC:
        return "spatio-semantic"
    return matching if matching in (TRANSLATION, POOLED) else f"semantic ({matching})"


def score_table(lines: Sequence[Line], sizes: Mapping[str, int], scores: Sequence[str], seed: int = 0) -> Table:
    """Every ranking: scores of the most similar image with intervals, and of the best among five."""
    columns = ["layer", "S", "kernel", "matching"]
    for score in scores:
        name = SCORE_NAMES[score]
        columns += [f"{name}@1", "low", "high", f"{name} best of {TOP}"]
    rows = []
    for line in lines:
        row: list[Any] = [line.layer or "–", sizes.get(line.layer), line.kernel or "–"]
        row.append(matching_name(line.matching) if line.kernel else line.matching)
        for score in scores:
            row += [*interval(line.values[score, 1], seed), interval(line.values[score, TOP], seed).value]
        rows.append(row)
    note = (
        "Means over queries; low and high: 95 % bootstrap interval over queries. "
        f"Best of {TOP}: best score among the {TOP} most similar."
    )
    return Table("Scores of the retrieved images", columns, rows, note)


def difference_table(found: Sequence[Difference]) -> Table:
    """Paired differences with intervals."""
    rows = [
        [
            d.layer,
            d.kernel,
            f"{SCORE_NAMES[d.score]}@1",
            f"{matching_name(d.first)} - {matching_name(d.second)}",
            *d.interval,
        ]
        for d in found
    ]
    columns = ["layer", "kernel", "score", "difference of", "difference", "low", "high"]
    note = "Same queries on both sides; low and high: 95 % bootstrap interval over queries."
    return Table("Paired differences between matchings", columns, rows, note)


def query_rows(lines: Sequence[Line], data: RetrievalData) -> list[dict[str, Any]]:
    """One row for each query under each ranking."""
    rows = []
    for line in lines:
        for query in range(len(data.queries)):
            found = None if line.found is None else int(line.found[query, 0])
            row: dict[str, Any] = {
                "layer": line.layer,
                "kernel": line.kernel,
                "matching": line.matching,
                "query": query,
                "query_group": data.queries.groups[query],
                "retrieved": found,
                "retrieved_group": None if found is None else data.database.groups[found],
            }
            for (score, top), values in line.values.items():
                row[f"{score}_at_1" if top == 1 else f"{score}_best_of_{top}"] = float(values[query])
            rows.append(row)
    return rows


def finding(
    lines: Sequence[Line],
    found: Sequence[Difference],
    layer: str,
    score: str,
    data: RetrievalData,
    seed: int = 0,
) -> str:
    """The sentence: does matching positions retrieve better than comparing the same ones, and how sure is that?"""
    main = [d for d in found if d.layer == layer and d.score == score and d.second == SPATIO_SEMANTIC]
    solver = next(d.first for d in main if d.first not in (TRANSLATION, POOLED))
    own = {d.kernel: d for d in main if d.first == solver}
    kernel = "cosine" if "cosine" in own else next(iter(own))
    means = {
        line.matching: interval(line.values[score, 1], seed).value
        for line in lines
        if (line.layer, line.kernel) == (layer, kernel) or not line.kernel
    }
    parts = [f"{_figure(means[solver])} against {_figure(means[SPATIO_SEMANTIC])}"]
    if TRANSLATION in means:
        parts.append(f"translation {_figure(means[TRANSLATION])}")
    if POOLED in means:
        parts.append(f"{POOLED} {_figure(means[POOLED])}")
    parts.append(f"a random ranking {_figure(means[RANDOM])}")
    gaps = [f"paired difference {_signed(own[kernel].interval)}"]
    for d in found:
        if (d.layer, d.kernel, d.score, d.first, d.second) == (layer, kernel, score, solver, POOLED):
            gaps.append(f"to the {POOLED}, which needs no matching, {_signed(d.interval)}")
    name = f"{SCORE_NAMES[score]}@1"
    return (
        f"At {layer} semantic RSMs ({solver}) {_verdict(own)} spatio-semantic ones in retrieving images with the same "
        f"{'objects' if score == 'f1' else 'classes'} ({name} with the {kernel} kernel {', '.join(parts)}; "
        f"{', '.join(gaps)}; {len(data.queries)} queries, database of "
        f"{len(data.database)})."
    )


def _figure(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def _signed(gap: Interval) -> str:
    return f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def _verdict(own: Mapping[str, Difference]) -> str:
    """In words, from the intervals of all kernels."""
    better = [kernel for kernel, d in own.items() if d.interval.low > 0]
    worse = [kernel for kernel, d in own.items() if d.interval.high < 0]
    open_ = [kernel for kernel in own if kernel not in better and kernel not in worse]
    count = "the kernel measured" if len(own) == 1 else f"all {len(own)} kernels"
    if len(better) == len(own):
        return f"under {count} surpass"
    if len(worse) == len(own):
        return f"under {count} fall behind"
    if len(open_) == len(own):
        return f"under {count} cannot be told from"
    words = (("surpass", better), ("fall behind", worse), ("cannot be told from", open_))
    return ", ".join(f"under {' and '.join(kernels)} {verb}" for verb, kernels in words if kernels)
