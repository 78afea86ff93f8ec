"""Retrieval scores against a loop."""

import math

import numpy as np
import pytest

from semrsm_bench.metrics import (
    centre_on_database,
    most_similar,
    retrieval_f1,
    retrieval_iou,
    retrieval_scores,
    self_retrieval,
)
from semrsm_bench.metrics.retrieval import ranking


def test_both_sides_are_centred_by_the_database():
    rng = np.random.default_rng(0)
    queries, database = rng.standard_normal((3, 4)) + 5, rng.standard_normal((6, 4)) + 1
    q, d = centre_on_database(queries, database)
    np.testing.assert_allclose(d.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(q - queries, d[:3] - database[:3])


def scored(one, other, score):
    """F1 over objects, NaN where there are none; or IoU over classes, 0 where there are none."""
    if score == "f1":
        shared, total = sum(min(a, b) for a, b in zip(one, other)), sum(one) + sum(other)
        return 2 * shared / total if total else math.nan
    sets = [{c for c, count in enumerate(counts) if count} for counts in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1]) if sets[0] | sets[1] else 0.0


def best_by_loop(K, counts, groups, score, top):
    """Rankings, and the best score of each query among the first of other groups."""
    orders = [
        sorted((d for d in range(len(row)) if groups[0][q] != groups[1][d]), key=lambda d, row=row: (-row[d], d))[:top]
        for q, row in enumerate(K)
    ]
    values = [[scored(counts[0][q], counts[1][d], score) for d in order] for q, order in enumerate(orders)]
    return orders, [max((v for v in of_query if not math.isnan(v)), default=math.nan) for of_query in values]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("score", "function"), [("f1", retrieval_f1), ("iou", retrieval_iou)])
def test_scores_against_a_loop(seed, score, function):
    rng = np.random.default_rng(seed)
    # Few values, so that ties abound, and sparse counts, so that some are empty.
    K = rng.integers(0, 3, (9, 14)).astype(float)
    counts = [rng.poisson(0.4, (n, 4)) for n in K.shape]
    groups = [rng.choice(["a", "b", "c"], n).tolist() for n in K.shape]
    for top in (1, 3):
        orders, expected = best_by_loop(K, counts, groups, score, top)
        np.testing.assert_array_equal(ranking(K, *groups, top=top), orders)
        np.testing.assert_allclose(retrieval_scores(K, *counts, *groups, score=score, top=top), expected)
        if top == 1:
            np.testing.assert_array_equal(most_similar(K, *groups), np.ravel(orders))
            assert function(K, *counts, *groups) == pytest.approx(np.nanmean(expected))
    # Among one set of images each excludes itself, or its group.
    for given, same in ({}, range(9)), ({"groups": groups[0]}, groups[0]):
        _, expected = best_by_loop(K[:, :9], [counts[0]] * 2, [same] * 2, score, 1)
        assert self_retrieval(K[:, :9], counts[0], score, **given) == pytest.approx(np.nanmean(expected))


def test_undefined_everywhere_is_undefined():
    assert math.isnan(retrieval_f1([[1.0]], [[0]], [[0]]))
    assert retrieval_iou([[1.0]], [[0]], [[0]]) == 0
    # However similar, an image of the same group is not retrieved.
    assert most_similar([[9.0, -1e300, -2.0, -2.0]], [7], [7, 7, 8, 8])[0] == 2


def test_similarities_that_are_equal_up_to_rounding_are_ties():
    step = np.spacing(0.3)
    K = np.array([[0.3, 0.3 + step, 0.2, 0.3 - step], [0.1, 0.3, 0.3 + 4 * step, 0.1]])
    np.testing.assert_array_equal(most_similar(K), [0, 1])
    np.testing.assert_array_equal(ranking(K, top=3), [[0, 1, 3], [1, 2, 0]])
    # The corners of a hexagon: every image has two neighbours at one similarity, computed with other roundings.
    angles = np.pi / 3 * np.arange(6) + 0.1
    corners = np.column_stack([np.cos(angles), np.sin(angles)]) * np.array([[1.0], [3], [7], [11], [5], [13]])
    cosine = corners @ corners.T / np.outer(*[np.linalg.norm(corners, axis=1)] * 2)
    np.testing.assert_array_equal(most_similar(cosine, range(6), range(6)), [1, 0, 1, 2, 3, 0])
    # A huge value that stands for "not allowed" does not make the others equal.
    assert most_similar([[1.0, 1.0 + 1e-6, -1e12]])[0] == 1
