"""Representational similarity analysis: correlations of RSMs over their upper triangles; divergences of class probabilities."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.compiled import njit
from semrsm_bench.core.identity import require_same_ids
from semrsm_bench.metrics.arrays import (
    ROUNDING,
    FloatArray,
    as_float64,
    as_rsm,
    balanced,
    between,
    centred,
    one_of,
    require_same_stimuli,
    require_stimuli,
    triangle_side,
    unit_rows,
    upper_triangle,
)
from semrsm_bench.metrics.kernels import squared_distances
from semrsm_bench.metrics.ranks import dense_ranks, mid_ranks
from semrsm_bench.metrics.registry import FORMS, RANKS, register_metric

KRIEGESKORTE = "Kriegeskorte et al., Frontiers in Systems Neuroscience 2, 2008"
NILI = "Nili et al., PLoS Computational Biology 10, 2014"
SCHUETT = "Schuett et al., eLife 12, 2023"
METHODS = ("pearson", "spearman", "kendall_a", "kendall_b", "rho_a", "cosine")

_ALL_EQUAL = "all off-diagonal entries of the {} side are equal, so it has no correlation with anything"


class Ranked(NamedTuple):
    """A vector's dense ranks (m,), of each rank how many entries are lower, and how many pairs of entries are tied."""

    ranks: NDArray[np.int32]
    lower: NDArray[np.intp]
    tied: int


class Rsa:
    """`compare_rsms` in two parts."""

    def __init__(self, method: str = "pearson") -> None:
        self.method = one_of(method, METHODS, "method")

    def prepare(self, K: Any, name: str = "K") -> Any:
        """What `of_vector` makes of the entries above the diagonal."""
        k = as_rsm(K, name)
        require_stimuli(len(k), 3)
        return self.of_vector(upper_triangle(k), {"K": "first", "L": "second"}.get(name, name))

    def of_vector(self, v: FloatArray, place: str) -> Any:
        """What two of are compared: ranks, or a vector (m,) whose inner product with another is their correlation."""
        if self.method.startswith("kendall"):
            ranks, counts = dense_ranks(v)
            if len(counts) == 1 and self.method == "kendall_b":
                raise ValueError(_ALL_EQUAL.format(place))
            return Ranked(ranks, np.cumsum(counts) - counts, _pairs(counts))
        if self.method in ("spearman", "rho_a"):
            v = mid_ranks(v)
        m = len(v)
        if self.method == "rho_a":
            # Centred ranks: the textbook form subtracts two numbers that grow as m.
            return (v - (m + 1) / 2) * np.sqrt(12.0 / (m * (m * m - 1.0)))
        v = balanced(v)[0]
        if self.method != "cosine":
            mean = float(v.mean())
            v = v - mean
            if float(np.abs(v).max()) <= ROUNDING * abs(mean):
                raise ValueError(_ALL_EQUAL.format(place))
        if (norm := float(np.linalg.norm(v))) == 0.0:
            raise ValueError(f"all off-diagonal entries of the {place} side are 0, so it has no direction")
        return v / norm

    def compare(self, a: Any, b: Any) -> float:
        """Correlation of two sides."""
        kendall = isinstance(a, Ranked)
        # Of the numbers of pairs those of the stimuli.
        n, m = (triangle_side(len(v.ranks if kendall else v)) for v in (a, b))
        require_same_stimuli(n, m)
        return _kendall(a, b, tau_b=self.method == "kendall_b") if kendall else float(a @ b)


_correlation = partial(register_metric, takes="rsms", best="max", range=(-1, 1), pair=Rsa)
_of_entries = partial(_correlation, complexity="O(n^2); O(n^2)", reference=KRIEGESKORTE)
_of_ranks = partial(_correlation, complexity="O(n^2 log n); O(n^2)", invariant_to=RANKS)
_kendall_s = partial(_of_ranks, complexity="O(n^2 log n); O(n^2 log n)", reference=NILI)


@_of_ranks("rsa_rho_a", reference=SCHUETT, method="rho_a")
@_kendall_s("rsa_kendall_b", method="kendall_b")
@_kendall_s("rsa_kendall_a", method="kendall_a")
@_of_ranks("rsa_spearman", reference=KRIEGESKORTE, method="spearman")
@_of_entries("rsa_cosine", invariant_to=("positive_scaling", "diagonal"), method="cosine")
@_of_entries("rsa_pearson", invariant_to=("positive_scaling", "constant", "diagonal"), method="pearson")
def compare_rsms(K: Any, L: Any, method: str = "pearson") -> float:
    """Correlation of two RSMs over their entries above the diagonal (i < j), in [-1, 1] up to rounding.

    ValueError where all entries of one side are equal up to rounding (cosine: all zero), which leaves 0 / 0.

    Parameters
    ----------
    K, L : array_like, shape (n, n)
        Symmetric RSMs of the same n >= 3 stimuli. The diagonals are not used.
    method : {"pearson", "spearman", "kendall_a", "kendall_b", "rho_a", "cosine"}
        Entries that are equal up to rounding are ties. ``spearman``: Pearson of mid-ranks. ``kendall_a``: (concordant -
        discordant) / all pairs of entries; ``kendall_b``: the same over the geometric mean of the pairs untied on each side.
        ``rho_a``: Spearman's rho expected when ties are broken at random, 12 r.s / (m^3 - m) - 3 (m + 1) / (m - 1) with
        mid-ranks r and s of m entries (Schuett et al. 2023, eq. 19). ``cosine``: no means are subtracted. With ties
        kendall_a and rho_a cannot reach 1.
    """
    return float(between(Rsa(method), K, L, "KL"))


_of_features = partial(
    register_metric,
    takes="features",
    best="max",
    range=(-1, 1),
    complexity="O(n^2 (p + log n)); O(n^2)",
    reference=KRIEGESKORTE,
)


@_of_features("rsa_correlation", invariant_to=("unit_permutation", "isotropic_scaling", "row_scaling"))
@_of_features("rsa_euclidean", invariant_to=FORMS, by="euclidean")
class FeatureRsa(Rsa):
    """RSA of two feature matrices (n, p) and (n, q): correlation of the similarities of all pairs of stimuli; in [-1, 1].

    ValueError where all pairs of a side are equally similar, and by correlation for a stimulus whose units are all equal.

    Parameters
    ----------
    method : str
        As for `compare_rsms`.
    by : {"correlation", "euclidean"}
        Similarity of two stimuli: their Pearson correlation over units, or minus their squared distance.
    """

    def __init__(self, method: str = "spearman", by: str = "correlation") -> None:
        super().__init__(method)
        self.by = one_of(by, ("correlation", "euclidean"), "by")

    def prepare(self, X: Any, name: str = "the features") -> Any:
        """What `Rsa.of_vector` makes of the similarities of one side."""
        x = balanced(as_float64(X, name))[0]
        require_stimuli(len(x), 3)
        if self.by == "euclidean":
            return self.of_vector(upper_triangle(-squared_distances(x)), name)
        u = unit_rows(centred(x.T).T, name, "stimuli whose units are all equal")
        return self.of_vector(upper_triangle(u @ u.T), name)


def correlate(a: FloatArray, b: FloatArray, method: str) -> float:
    """Correlation of two vectors of equal length by one of the methods of `compare_rsms`."""
    parts = Rsa(method)
    return parts.compare(parts.of_vector(a, "first"), parts.of_vector(b, "second"))


def _kendall(a: Ranked, b: Ranked, *, tau_b: bool) -> float:
    """Kendall's tau in O(m log m): sort by the one side, count exchanges of the other (Knight 1966)."""
    if a.tied > b.tied:
        a, b = b, a
    ordered, tied_both = _sorted_by(a.ranks, a.lower, b.ranks)
    pairs = len(ordered) * (len(ordered) - 1) // 2
    difference = pairs - a.tied - b.tied + tied_both - 2 * int(_inversions(ordered, b.lower))
    return (
        float(difference / np.sqrt(float(pairs - a.tied)) / np.sqrt(float(pairs - b.tied)))
        if tau_b
        else difference / pairs
    )


def _pairs(counts: NDArray[np.intp]) -> int:
    return int((counts * (counts - 1) // 2).sum())


@njit()
def _sorted_by(
    ranks: NDArray[np.int32], lower: NDArray[np.intp], others: NDArray[np.int32]
) -> tuple[NDArray[np.int32], int]:  # pragma: no cover
    """The other side's ranks in the order of these, among equal ones in their own; and how many pairs are tied on both sides."""
    m, groups, tied = len(ranks), len(lower), 0
    result = np.empty_like(others)
    if groups == m:
        for i in range(m):
            result[ranks[i]] = others[i]
        return result, tied
    next_place = lower.astype(np.int32)
    for i in range(m):
        result[next_place[ranks[i]]] = others[i]
        next_place[ranks[i]] += 1
    for group in range(groups):
        if next_place[group] - lower[group] > 1:
            part = result[lower[group] : next_place[group]]
            part.sort()
            equal = 0
            for i in range(1, len(part)):
                equal = equal + 1 if part[i] == part[i - 1] else 0
                tied += equal
    return result, tied


@njit()
def _inversions(ranks: NDArray[np.int32], lower: NDArray[np.intp]) -> int:  # pragma: no cover
    """How many pairs of dense ranks are out of order; equal ones are not. Of each rank ``lower`` says how many are lower.

    Each gets a place of its own, the first of equal ones the lowest. A bit set holds which places came so far, 64 to a word, and a
    binary tree over the words how many lie in the left half below each of its nodes. On the way from a word to the root a place
    meets as many nodes as any other: nothing to mispredict.
    """
    m = len(ranks)
    has_ties = len(lower) < m
    next_place = lower.astype(np.int32)
    levels = 0
    while 64 << levels < m:
        levels += 1
    words = np.zeros(1 << levels, dtype=np.uint64)
    tree = np.zeros(1 << levels, dtype=np.int32)
    inversions = 0
    for i in range(m):
        place = ranks[i]
        if has_ties:
            place = next_place[ranks[i]]
            next_place[ranks[i]] += 1
        bit = np.uint64(1) << np.uint64(place & 63)
        word = words[place >> 6]
        words[place >> 6] = word | bit
        before = _ones(word & (bit - np.uint64(1)))
        node = (place >> 6) + (1 << levels)
        for _ in range(levels):
            right = node & 1
            node >>= 1
            before += tree[node] * right
            tree[node] += 1 - right
        inversions += i - before
    return inversions


@njit()
def _ones(word: Any) -> int:  # pragma: no cover
    """How many bits of a uint64 are set: of pairs of bits, of fours, of eights, and the sum of those."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))  # type: ignore[return-value]


def jensen_shannon(P: Any) -> FloatArray:
    """Jensen-Shannon divergence between the class probabilities of all samples, (n, n), in nats, in [0, ln 2].

    JSD(p, q) = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, natural logarithm, 0 log 0 = 0 (Lin 1991). SciPy's
    function of that name returns the square root of this. Exactly symmetric with a zero diagonal. Each class adds a term that is
    never negative and loses no digits where p and q are close, so that small divergences keep their order.

    Parameters
    ----------
    P : array_like, shape (n, C)
        One distribution per row, not logits: non-negative, summing to 1 up to the rounding of float16 (1e-3), and divided by
        its sum here.
    """
    p = as_float64(P, "P")
    if (p < 0).any():
        i, j = (int(index) for index in np.argwhere(p < 0)[0])
        raise ValueError(f"P must hold probabilities, but [{i}, {j}] is {p[i, j]:.6g}; apply a softmax to logits first")
    sums = p.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-3)
    if wrong.size:
        first = int(wrong[0])
        raise ValueError(f"{wrong.size} rows of P do not sum to 1, the first is row {first} with {sums[first]:.6g}")
    p = p / sums[:, None]
    return np.asarray(_divergences(p, np.log(np.where(p > 0, p, 1.0))))


def jensen_shannon_correlation(P: Any, K: Any, method: str = "pearson") -> float:
    """Correlation of the Jensen-Shannon divergences with an RSM over i < j, in [-1, 1].

    A divergence against a similarity: an RSM that predicts what the network says comes out negative.

    Parameters
    ----------
    P, K : array_like, shape (n, C) and (n, n)
        Class probabilities, see `jensen_shannon`, and similarities of the same n >= 3 samples.
    method : {"pearson", "spearman"}
        As in `compare_rsms`, whose errors it raises too.
    """
    one_of(method, ("pearson", "spearman"), "method")
    require_same_ids(P, K, "PK")
    divergence, k = jensen_shannon(P), as_rsm(K, "K")
    if len(divergence) != len(k):
        raise ValueError(f"P and K must hold the same samples, but P has {len(divergence)} and K has {len(k)}")
    return compare_rsms(divergence, k, method)


@njit()
def _divergences(p: FloatArray, logs: FloatArray) -> FloatArray:  # pragma: no cover
    """JSD of all rows of p, given their logarithms (any finite number for ln 0).

    With s = a + b and d = (a - b) / s a class adds s / 4 [(1 + d) ln(1 + d) + (1 - d) ln(1 - d)]. The bracket is the sum
    of d^2k / (k (2k - 1)), taken as such where d is small, since there its logarithms cancel.
    """
    n, classes = p.shape
    result = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            divergence = 0.0
            for c in range(classes):
                a, b = p[i, c], p[j, c]
                total = a + b
                if a == 0.0 or b == 0.0:
                    divergence += total * math.log(2.0)
                    continue
                d = (a - b) / total
                square = d * d
                if square < 0.01:
                    bracket = 0.0
                    for k in range(8, 0, -1):
                        bracket = square * (bracket + 1.0 / (k * (2 * k - 1)))
                    divergence += 0.5 * total * bracket
                else:
                    divergence += a * logs[i, c] + b * logs[j, c] - total * np.log(0.5 * total)
            result[i, j] = result[j, i] = 0.5 * divergence
    return result
