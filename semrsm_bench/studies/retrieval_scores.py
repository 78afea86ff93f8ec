"""Scores of every query under every kernel and matching, their means with intervals, and what a ranking can be held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval, mean_interval
from semrsm_bench.metrics.retrieval import forbidden_images, ranking, retrieval_scores, score_matrix
from semrsm_bench.studies.retrieval_data import RetrievalData

Floats = NDArray[np.float64]

TOP = 5
SPATIO_SEMANTIC, TRANSLATION = "identity", "translation"
# No matching: one vector an image, which does not depend on the order of positions either and costs next to nothing.
POOLED = "mean over positions"
RANDOM, BEST = "random ranking", "best in the database"


@dataclass(frozen=True)
class Line:
    """What one ranking gives: its layer, kernel and matching, and one value per query and score.

    Attributes
    ----------
    layer, kernel, matching : str
        Kernel is empty for rankings that look at no representation.
    found : ndarray, (q, TOP), intp, or None
        Database images by falling similarity.
    values : dict of (score, top) to ndarray, (q,)
        NaN where a score is 0 / 0.
    """

    layer: str
    kernel: str
    matching: str
    found: NDArray[np.intp] | None
    values: Mapping[tuple[str, int], Floats]


def score_line(data: RetrievalData, K: Floats, layer: str, kernel: str, matching: str) -> Line:
    """Scores of the most similar image and of the best among the five most similar."""
    groups = data.queries.groups, data.database.groups
    counts = data.queries.counts, data.database.counts
    values = {
        (score, top): retrieval_scores(K, *counts, *groups, score=score, top=top)
        for score in data.scores
        for top in (1, TOP)
    }
    return Line(layer, kernel, matching, ranking(K, *groups, top=TOP), values)


def baselines(data: RetrievalData) -> list[Line]:
    """What a random ranking may expect, computed rather than drawn, and the best that any ranking can reach."""
    counts = data.queries.counts, data.database.counts
    shape = len(data.queries), len(data.database)
    allowed = ~forbidden_images(shape, data.queries.groups, data.database.groups)
    random, best = {}, {}
    for score in data.scores:
        every = score_matrix(*counts, score=score)
        for top in (1, TOP):
            random[score, top] = np.array([expected_best(row[may], top) for row, may in zip(every, allowed)])
            best[score, top] = np.array([np.fmax.reduce(row[may]) for row, may in zip(every, allowed)])
    return [Line("", "", RANDOM, None, random), Line("", "", BEST, None, best)]


def expected_best(scores: Floats, top: int) -> float:
    """Mean, over all draws of ``top`` different ones, of the largest score.

    The i-th smallest of n is the largest of a draw with probability C(i-1, top-1) / C(n, top).

    Parameters
    ----------
    scores : ndarray, (n,)
        NaN counts as less than any number; the mean is over draws that hold a number.
    top : int

    Raises
    ------
    ValueError
        Fewer than ``top`` scores.
    """
    n = len(scores)
    if not 1 <= top <= n:
        raise ValueError(f"cannot draw {top} of {n} database images")
    ordered = np.concatenate([scores[np.isnan(scores)], np.sort(scores[~np.isnan(scores)])])
    chances = np.zeros(n)
    chance = top / n
    for i in range(n, top - 1, -1):
        chances[i - 1] = chance
        chance *= (i - top) / (i - 1) if i > 1 else 0.0
    known = ~np.isnan(ordered)
    weight = chances[known].sum()
    return float((chances[known] * ordered[known]).sum() / weight) if weight > 0 else float("nan")


def interval(values: Floats, seed: int = 0) -> Interval:
    """Mean over the queries whose score is defined, with a bootstrap interval over queries."""
    return mean_interval(values[~np.isnan(values)], seed=seed)


@dataclass(frozen=True)
class Difference:
    """Paired difference of two matchings under one kernel: first minus second, averaged over queries."""

    layer: str
    kernel: str
    score: str
    first: str
    second: str
    interval: Interval


def differences(lines: Sequence[Line], seed: int = 0) -> list[Difference]:
    """Paired differences at rank 1: every line against the same positions, and solvers against translation and mean."""
    result = []
    for first, second in _pairs(lines):
        for (score, top), values in first.values.items():
            if top == 1:
                paired = interval(values - second.values[score, top], seed)
                result.append(Difference(first.layer, first.kernel, score, first.matching, second.matching, paired))
    return result


def _pairs(lines: Sequence[Line]) -> Iterator[tuple[Line, Line]]:
    by_key = {(line.layer, line.kernel, line.matching): line for line in lines if line.kernel}
    for (layer, kernel, matching), line in by_key.items():
        if matching == SPATIO_SEMANTIC:
            continue
        others = (SPATIO_SEMANTIC,) if matching in (TRANSLATION, POOLED) else (SPATIO_SEMANTIC, TRANSLATION, POOLED)
        for other in others:
            if (against := by_key.get((layer, kernel, other))) is not None:
                yield line, against
