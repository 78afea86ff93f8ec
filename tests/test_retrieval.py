"""Retrieval scores by hand and against a loop."""

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
from semrsm_bench.metrics.retrieval import ranking, score_matrix


def by_loop(K, queries, database, query_groups, database_groups):
    f1, iou = [], []
    for q, row in enumerate(K):
        allowed = [d for d in range(len(database)) if query_groups[q] != database_groups[d]]
        best = max(allowed, key=lambda d: (row[d], -d))
        shared = sum(min(a, b) for a, b in zip(queries[q], database[best], strict=True))
        total = sum(queries[q]) + sum(database[best])
        if total:
            f1.append(2 * shared / total)
        sets = [{c for c, count in enumerate(counts) if count} for counts in (queries[q], database[best])]
        iou.append(len(sets[0] & sets[1]) / len(sets[0] | sets[1]) if sets[0] | sets[1] else 0.0)
    return np.mean(f1), np.mean(iou)


@pytest.mark.parametrize("seed", range(8))
def test_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    # Few values, so that ties abound, and sparse counts, so that some are empty.
    K = rng.integers(0, 3, (9, 14)).astype(float)
    queries, database = (rng.poisson(0.4, (n, 4)) for n in (9, 14))
    query_groups, database_groups = (rng.choice(["a", "b", "c"], n).tolist() for n in (9, 14))
    f1, iou = by_loop(K, queries, database, query_groups, database_groups)
    assert retrieval_f1(K, queries, database, query_groups, database_groups) == pytest.approx(f1)
    assert retrieval_iou(K, queries, database, query_groups, database_groups) == pytest.approx(iou)


def test_f1_by_hand():
    # Shared 1 + 0 + 2 of 4 and 5 objects.
    assert retrieval_f1([[1.0]], [[1, 1, 2]], [[2, 0, 3]]) == pytest.approx(2 * 3 / 9)
    assert retrieval_iou([[1.0]], [[1, 1, 2]], [[2, 0, 3]]) == pytest.approx(2 / 3)


def test_ties_go_to_the_lowest_allowed_index():
    K = [[5.0, 5.0, 5.0]]
    assert most_similar(K)[0] == 0
    assert most_similar(K, ["v"], ["v", "w", "w"])[0] == 1


def test_own_group_is_never_retrieved_however_similar():
    K = [[9.0, -1e300, -2.0]]
    assert most_similar(K, [7], [7, 7, 8])[0] == 2


def test_empty_against_empty():
    K = np.array([[1.0, 0.0], [0.0, 1.0]])
    queries, database = [[0, 0], [1, 0]], [[0, 0], [1, 1]]
    scores = retrieval_scores(K, queries, database)
    assert math.isnan(scores[0])
    assert retrieval_f1(K, queries, database) == scores[1] == pytest.approx(2 / 3)
    np.testing.assert_array_equal(retrieval_scores(K, queries, database, score="iou"), [0.0, 0.5])
    assert retrieval_iou(K, queries, database) == 0.25
    assert math.isnan(retrieval_f1([[1.0]], [[0]], [[0]]))


def test_self_retrieval_excludes_the_image_itself_or_its_group():
    K = np.array([[9.0, 1, 2, 3], [1, 9, 4, 0], [2, 4, 9, 1], [3, 0, 1, 9]])
    counts = np.eye(4)
    counts[3] = counts[0]
    counts[2] = counts[1]
    assert self_retrieval(K, counts) == 1.0
    assert self_retrieval(K, counts, "iou") == 1.0
    assert self_retrieval(K, counts, groups=["a", "b", "b", "a"]) == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, 2.0]], [[1]], [[1]]), r"1 queries x 1 database images, but it is \(1, 2\)"),
        (([[1.0]], [[1, 2]], [[1]]), "queries have 2 classes but the database has 1"),
        (([[1.0]], [[-1]], [[1]]), "query_counts must not be negative"),
        (([[np.nan]], [[1]], [[1]]), "non-finite"),
        (([[1.0]], [[1]], [[1]], ["a"]), "both query_groups and database_groups"),
        (([[1.0]], [[1]], [[1]], ["a"], ["a", "b"]), "1 query_groups and 2 database_groups"),
        (([[1.0, 1.0]], [[1]], [[1], [1]], ["a"], ["a", "a"]), "the first is query 0"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ValueError, match=message):
        retrieval_f1(*arguments)


def test_unknown_score():
    with pytest.raises(ValueError, match="f1, iou"):
        retrieval_scores([[1.0]], [[1]], [[1]], score="map")


def test_both_sides_are_centred_by_the_database():
    rng = np.random.default_rng(0)
    queries, database = rng.standard_normal((3, 4)) + 5, rng.standard_normal((6, 4)) + 1
    q, d = centre_on_database(queries, database)
    np.testing.assert_allclose(d.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(q - queries, d[:3] - database[:3])
    with pytest.raises(ValueError, match="queries have 4 units but the database has 3"):
        centre_on_database(queries, database[:, :3])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("score", ["f1", "iou"])
def test_best_of_several_against_a_loop(seed, score):
    rng = np.random.default_rng(seed)
    K = rng.integers(0, 3, (7, 12)).astype(float)
    queries, database = (rng.poisson(0.4, (n, 4)) for n in (7, 12))
    query_groups, database_groups = (rng.choice(["a", "b", "c"], n).tolist() for n in (7, 12))
    every = score_matrix(queries, database, score=score)
    expected = []
    for q, row in enumerate(K):
        allowed = [d for d in range(12) if query_groups[q] != database_groups[d]]
        order = sorted(allowed, key=lambda d: (-row[d], d))[:3]
        np.testing.assert_array_equal(ranking(K, query_groups, database_groups, top=3)[q], order)
        defined = [every[q, d] for d in order if not math.isnan(every[q, d])]
        expected.append(max(defined, default=math.nan))
        for d in allowed:
            alone = retrieval_scores([[1.0]], queries[[q]], database[[d]], score=score)[0]
            assert alone == pytest.approx(every[q, d], nan_ok=True)
    found = retrieval_scores(K, queries, database, query_groups, database_groups, score=score, top=3)
    np.testing.assert_allclose(found, expected)


def test_more_asked_for_than_there_are():
    with pytest.raises(ValueError, match="top must lie between 1 and the 2 database images, got 3"):
        ranking([[1.0, 2.0]], top=3)
    with pytest.raises(ValueError, match="1 queries have fewer than 2 database images outside their own group"):
        ranking([[1.0, 2.0]], ["v"], ["v", "w"], top=2)


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


@pytest.mark.parametrize("missing", [float("nan"), np.float32("nan"), None, np.datetime64("NaT")])
def test_missing_groups_are_refused(missing):
    K, counts = np.eye(3), np.eye(3)
    with pytest.raises(ValueError, match=r"query_groups\[1\] is .*; give every image a hashable label"):
        retrieval_f1(K, counts, counts, ["a", missing, "b"], ["c", "d", "e"])
    with pytest.raises(ValueError, match=r"database_groups\[2\] is "):
        retrieval_f1(K, counts, counts, [1, 2, 3], [4, 5, missing])
    with pytest.raises(ValueError, match=r"groups\[0\] is "):
        self_retrieval(K, counts, groups=[missing, 1, 2])


def test_groups_that_are_no_labels_are_refused():
    with pytest.raises(ValueError, match=r"query_groups\[0\] is \[1\].*hashable"):
        most_similar(np.eye(2), [[1], [2]], [1, 2])
    np.testing.assert_array_equal(most_similar(np.eye(2), np.array([1, 2]), [1.0, 2]), [1, 0])
