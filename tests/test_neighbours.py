"""Metrics of neighbourhoods against plain loops over sets."""

import math

import numpy as np
import pytest

from semrsm_bench.metrics import get_metric
from semrsm_bench.metrics.neighbours import NeighbourMetric

K = 4


def sides(seed, n=17, p=5, q=3):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    return x, x @ rng.standard_normal((p, q)) + 0.5 * rng.standard_normal((n, q))


def nearest(x, by):
    """Neighbours of each stimulus, nearest first, one pair at a time."""
    lists = []
    for i, a in enumerate(x):
        far = {
            j: math.dist(a, b) if by == "euclidean" else -(a @ b) / math.sqrt(a @ a) / math.sqrt(b @ b)
            for j, b in enumerate(x)
            if j != i
        }
        lists.append(sorted(far, key=far.get)[:K])
    return lists


def jaccard(a, b):
    return len(set(a) & set(b)) / len(set(a) | set(b))


def ranks(a, b):
    both = set(a) & set(b)
    if not both:
        return 0.0
    places = [(a.index(j) + 1, b.index(j) + 1) for j in both]
    return sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in places) / sum(1 / m for m in range(1, len(both) + 1))


def second_order(x, y, a, b, i):
    either = sorted(set(a) | set(b))
    u, v = ([s[i] @ s[j] / np.linalg.norm(s[i]) / np.linalg.norm(s[j]) for j in either] for s in (x, y))
    return np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v)


BY_LOOPS = {
    "mutual_knn": lambda x, y, a, b, i: len(set(a) & set(b)) / K,
    "mutual_knn_euclidean": lambda x, y, a, b, i: len(set(a) & set(b)) / K,
    "jaccard": lambda x, y, a, b, i: jaccard(a, b),
    "rank_similarity": lambda x, y, a, b, i: ranks(a, b),
    "jaccard_rank": lambda x, y, a, b, i: jaccard(a, b) * ranks(a, b),
    "second_order_cosine": second_order,
}


@pytest.mark.parametrize("k", [1, 10, 64, 65, 149])
def test_neighbours_are_those_of_a_whole_sort_with_ties_by_index(k):
    x = np.random.default_rng(k).integers(0, 3, (150, 3)).astype(float)  # 27 places: most distances are tied
    far = ((x[:, None] - x) ** 2).sum(axis=2) + np.where(np.eye(150), np.inf, 0.0)
    found = NeighbourMetric(k, "euclidean").prepare(x)
    np.testing.assert_array_equal(found.nearest, np.argsort(far, axis=1, kind="stable")[:, :k])
    assert all((row[near] == range(1, k + 1)).all() and row.sum() == k * (k + 1) / 2 for near, row in zip(*found))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", BY_LOOPS)
def test_against_loops(name, seed):
    x, y = sides(seed)
    by = "euclidean" if name.endswith("euclidean") else "cosine"
    lists = zip(nearest(x, by), nearest(y, by), strict=True)
    expected = np.mean([BY_LOOPS[name](x, y, a, b, i) for i, (a, b) in enumerate(lists)])
    assert get_metric(name).run(x, y, k=K) == pytest.approx(expected, rel=1e-12)


def test_calibration_takes_away_what_permutations_give():
    x, y = sides(0, n=12)
    rng = np.random.default_rng(1)
    plain = np.mean([get_metric("mutual_knn").run(x, y[rng.permutation(12)], k=K) for _ in range(3000)])
    assert plain == pytest.approx(K / 11, abs=0.01)
    raw, calibrated = (get_metric(n).run(x, y, k=K) for n in ("mutual_knn", "mutual_knn_calibrated"))
    assert calibrated == pytest.approx((raw - K / 11) / (1 - K / 11))


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
def test_ties_up_to_rounding_go_to_the_lowest_index(by):
    # A regular polygon: every stimulus has two nearest neighbours on each side, whatever the rotation's rounding.
    angles = 2 * np.pi * np.arange(12) / 12
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    metric = get_metric("mutual_knn")
    for turn in np.linspace(0.1, 6, 25):
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        assert metric.run(x, x @ rotation, k=3, by=by) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:10], "use more stimuli or a smaller k"),
        (lambda x: x * (np.arange(len(x)) != 3)[:, None], "zero rows"),
    ],
)
def test_refusals(change, message):
    x = change(sides(0)[0])
    with pytest.raises(ValueError, match=message):
        get_metric("mutual_knn").run(x, x)


def test_options_are_checked():
    x, y = sides(0)
    with pytest.raises(ValueError, match="at least 1"):
        get_metric("jaccard").run(x, y, k=0)
    with pytest.raises(ValueError, match="by must be one of"):
        get_metric("jaccard").run(x, y, by="manhattan")
    with pytest.raises(ValueError, match="smaller k"):
        get_metric("mutual_knn_calibrated").run(x, y, k=16)
    with pytest.raises(ValueError, match="same stimuli"):
        get_metric("jaccard").run(x, y[:15])
