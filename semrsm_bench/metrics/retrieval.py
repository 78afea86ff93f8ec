"""Retrieval by an RSM: does the most similar database image show the same things as the query?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.identity import require_same_ids
from semrsm_bench.metrics.arrays import FloatArray, as_float64, one_of
from semrsm_bench.metrics.ranks import first_largest

Groups = Sequence[Any] | None


def retrieval_f1(
    K: Any, query_counts: Any, database_counts: Any, query_groups: Groups = None, database_groups: Groups = None
) -> float:
    """Mean F1 of object counts between each query and its most similar allowed database image (F1@1).

    F1 = 2 sum_c min(Q_c, D_c) / (sum_c Q_c + sum_c D_c) (Wald et al. 2024, section 4.3), in [0, 1]. Queries that are empty and
    retrieve an empty image are 0 / 0, NaN in `retrieval_scores`, and left out of the mean; NaN if that leaves none. Invariant to
    strictly increasing functions of K, row by row. ValueError where a query has no allowed database image, for negative counts,
    and for a missing group (NaN, None).

    Parameters
    ----------
    K : array_like, shape (q, d)
        Similarities of queries (rows) and database images (columns). For features, centre both sides by the database's
        mean first, see `centre_on_database`.
    query_counts, database_counts : array_like, shape (q, classes) and (d, classes)
        How many objects of each class an image shows.
    query_groups, database_groups : sequences of length q and d, optional
        Labels such as the video of an image; a query never retrieves from its own group. To retrieve among the
        queries themselves give the images' indices as both groups, or every query finds itself.
    """
    return _mean(retrieval_scores(K, query_counts, database_counts, query_groups, database_groups, score="f1"))


def retrieval_iou(
    K: Any, query_classes: Any, database_classes: Any, query_groups: Groups = None, database_groups: Groups = None
) -> float:
    """Mean intersection over union of the class sets of each query and its most similar allowed image (IoU@1), in [0, 1].

    Parameters and errors as for `retrieval_f1`; classes are boolean membership, or counts, of which anything above 0 is
    membership. Two empty sets count as 0.
    """
    return _mean(retrieval_scores(K, query_classes, database_classes, query_groups, database_groups, score="iou"))


def self_retrieval(K: Any, counts: Any, score: str = "f1", groups: Groups = None) -> float:
    """`retrieval_f1` or `retrieval_iou` among the queries themselves: every image looks for its most similar other one.

    Parameters
    ----------
    K, counts : array_like, shape (n, n) and (n, classes)
    score : {"f1", "iou"}
    groups : sequence of length n, optional
        An image never retrieves from its own group; by default every image is a group of its own.
    """
    labels = range(len(counts)) if groups is None else groups
    return _mean(retrieval_scores(K, counts, counts, labels, labels, score=score))


def retrieval_scores(
    K: Any,
    query_counts: Any,
    database_counts: Any,
    query_groups: Groups = None,
    database_groups: Groups = None,
    *,
    score: str = "f1",
    top: int = 1,
) -> FloatArray:
    """F1 or IoU of every query, shape (q,); parameters and errors as for `retrieval_f1`.

    ``top`` is how many database images a query retrieves; the best score among them counts.
    """
    queries, database = _checked(query_counts, database_counts, score)
    require_same_ids(K, query_counts, ("K", "query_counts"))
    k = as_float64(K, "K")
    if k.shape != (len(queries), len(database)):
        raise ValueError(f"K must be {len(queries)} queries x {len(database)} database images, but it is {k.shape}")
    found = database[ranking(k, query_groups, database_groups, top=top)]
    # fmax leaves out the undefined ones, as the mean does.
    return np.asarray(np.fmax.reduce(_scores(queries[:, None], found, score), axis=1))


def score_matrix(query_counts: Any, database_counts: Any, *, score: str = "f1") -> FloatArray:
    """F1 (NaN where it is 0 / 0) or IoU of every query with every database image, (q, d): what a ranking has to choose from."""
    queries, database = _checked(query_counts, database_counts, score)
    return np.stack([_scores(query, database, score) for query in queries])


def _checked(query_counts: Any, database_counts: Any, score: str) -> tuple[FloatArray, FloatArray]:
    one_of(score, ("f1", "iou"), "score")
    queries, database = as_float64(query_counts, "query_counts"), as_float64(database_counts, "database_counts")
    for counts, name in ((queries, "query_counts"), (database, "database_counts")):
        if (counts < 0).any():
            raise ValueError(f"{name} must not be negative, but its smallest entry is {counts.min():.6g}")
    if queries.shape[1] != database.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} classes but the database has {database.shape[1]}")
    return queries, database


def _scores(queries: FloatArray, found: FloatArray, score: str) -> FloatArray:
    """Score of images with others, (..., classes) that broadcast."""
    if score == "iou":
        union = ((queries > 0) | (found > 0)).sum(axis=-1)
        return np.asarray(((queries > 0) & (found > 0)).sum(axis=-1) / np.maximum(union, 1))
    total = queries.sum(axis=-1) + found.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * np.minimum(queries, found).sum(axis=-1) / total)


def most_similar(K: Any, query_groups: Groups = None, database_groups: Groups = None) -> NDArray[np.intp]:
    """Column of the largest allowed similarity in every row of K, shape (q,); of ties the lowest. As `retrieval_f1`."""
    return ranking(K, query_groups, database_groups)[:, 0]


def ranking(K: Any, query_groups: Groups = None, database_groups: Groups = None, *, top: int = 1) -> NDArray[np.intp]:
    """Columns of the ``top`` largest allowed similarities in every row of K, largest first, of ties the lowest; shape (q, top)."""
    k = as_float64(K, "K")
    if not 1 <= top <= k.shape[1]:
        raise ValueError(f"top must lie between 1 and the {k.shape[1]} database images, got {top}")
    forbidden = forbidden_images(k.shape, query_groups, database_groups)
    short = np.flatnonzero((~forbidden).sum(axis=1) < top)
    if short.size:
        raise ValueError(
            f"{short.size} queries have fewer than {top} database images outside their own group, the first is query "
            f"{int(short[0])}"
        )
    allowed = np.where(forbidden, -np.inf, k)
    found = np.empty((len(k), top), dtype=np.intp)
    for place in range(top):
        found[:, place] = first_largest(allowed)
        allowed[np.arange(len(k)), found[:, place]] = -np.inf
    return found


def forbidden_images(shape: tuple[int, ...], query_groups: Groups, database_groups: Groups) -> NDArray[np.bool_]:
    """Where query and database image are of one group, shape (q, d); nowhere without groups."""
    if (query_groups is None) != (database_groups is None):
        raise ValueError("give both query_groups and database_groups, or neither")
    if query_groups is None or database_groups is None:
        return np.zeros(shape, dtype=np.bool_)
    if (len(query_groups), len(database_groups)) != shape:
        raise ValueError(
            f"K is {shape}, but there are {len(query_groups)} query_groups and {len(database_groups)} database_groups"
        )
    codes: dict[Any, int] = {}
    for groups, name in ((query_groups, "query_groups"), (database_groups, "database_groups")):
        for i, label in enumerate(groups):
            try:
                # NaN and NaT differ from themselves: such an image could retrieve from its own group.
                usable = label is not None and bool(label == label)
                codes.setdefault(label, len(codes))
            except (TypeError, ValueError):
                usable = False
            if not usable:
                raise ValueError(f"{name}[{i}] is {label!r}; give every image a hashable label, such as its index")
    of_query, of_database = (np.array([codes[label] for label in side]) for side in (query_groups, database_groups))
    return np.asarray(np.equal.outer(of_query, of_database))


def centre_on_database(queries: Any, database: Any) -> tuple[FloatArray, FloatArray]:
    """Copies of both sides, (q, p) and (d, p), minus the database's column means (Wald et al. 2024, appendix D.1)."""
    q, d = as_float64(queries, "queries"), as_float64(database, "database")
    if q.shape[1] != d.shape[1]:
        raise ValueError(f"queries have {q.shape[1]} units but the database has {d.shape[1]}")
    mean = d.mean(axis=0)
    return q - mean, d - mean


def _mean(scores: FloatArray) -> float:
    defined = scores[~np.isnan(scores)]
    return float(defined.mean()) if defined.size else float("nan")
