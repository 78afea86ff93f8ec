"""Similarities of feature matrices after aligning their units: rotated, permuted, matched softly."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import kron, vstack

from semrsm_bench.metrics.arrays import FloatArray, as_float64, balanced, centred, require_same_stimuli, unit_rows
from semrsm_bench.metrics.procrustes import best_map, unit_form, within_stimuli
from semrsm_bench.metrics.registry import FORMS, KLABUNDE, REORDERED, WILLIAMS, register_metric

# Units a side of the square assignment problem that soft matching of widths without a common divisor would need.
_LARGEST_COPIES = 2048

_features = partial(register_metric, takes="features")
# Of one side; of a pair.
_ROTATED = "O(n p min(n, p)); O(n min(n, p)^2)"


@_features(
    "normalised_bures",
    best="max",
    range=(0, 1),
    invariant_to=FORMS,
    complexity=_ROTATED,
    reference="Tang et al., 2020, arXiv 2003.11498",
)
class NormalisedBures:
    """Normalised Bures similarity of two feature matrices (n, p) and (n, q): the cosine of `procrustes_angular`; in [0, 1].

    |c(X)' c(Y)|_* / (|c(X)| |c(Y)|): the fidelity of the linear RSMs over the root of the product of their traces. ValueError for
    constant sides.
    """

    def prepare(self, x: Any, name: str = "the features") -> FloatArray:
        """Centred features of norm 1, (n, min(n, p))."""
        return within_stimuli(unit_form(as_float64(x, name), name))

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Sum of the singular values of the cross-covariance."""
        require_same_stimuli(len(a), len(b))
        return float(np.linalg.svd(a.T @ b, compute_uv=False).sum())


@_features(
    "aligned_cosine",
    best="max",
    range=(-1, 1),
    invariant_to=FORMS,
    complexity=_ROTATED,
    reference=KLABUNDE,
)
class AlignedCosine:
    """Mean cosine between the stimuli of two centred feature matrices after the best rotation or reflection; in [-1, 1].

    X (n, p) and Y (n, q), the narrower zero-padded. ValueError where a side is constant or a stimulus is the mean of all.
    """

    def prepare(self, x: Any, name: str = "the features") -> tuple[FloatArray, FloatArray]:
        """Centred features (n, min(n, p)), and the norms of the stimuli (n,)."""
        x = within_stimuli(centred(balanced(as_float64(x, name))[0]))
        unit_rows(x, f"the centred {name}")  # refuses stimuli without a direction
        return x, np.linalg.norm(x, axis=1)

    def compare(self, a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> float:
        """Mean cosine of two sides."""
        if a[0].shape[1] > b[0].shape[1]:
            a, b = b, a
        (x, norms), (y, others) = a, b
        require_same_stimuli(len(x), len(y))
        rotated = x @ best_map(x.T @ y, "orthogonal")
        return float((np.einsum("ij,ij->i", rotated, y) / norms / others).mean())


@_features(
    "permutation_procrustes",
    best="min",
    range=(0, math.sqrt(2)),
    invariant_to=REORDERED,
    complexity="O(n p); O(n p^2 + p^3)",
    reference=WILLIAMS,
)
class PermutationProcrustes:
    """Distance of two feature matrices, centred and of norm 1, after the best one-to-one matching of their units.

    min |X P - Y| over permutations P, with the narrower of (n, p) and (n, q) zero-padded; in [0, sqrt 2]. ValueError for constant
    sides.
    """

    def prepare(self, x: Any, name: str = "the features") -> FloatArray:
        """Centred features of norm 1, (n, p)."""
        return unit_form(as_float64(x, name), name)

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Distance of two sides."""
        require_same_stimuli(len(a), len(b))
        if a.shape[1] > b.shape[1]:
            a, b = b, a
        padded = np.zeros_like(b)
        padded[:, : a.shape[1]] = a
        rows, columns = linear_sum_assignment(padded.T @ b, maximize=True)
        return float(np.linalg.norm(padded[:, rows] - b[:, columns]))


_soft = partial(_features, best="max", range=(-1, 1), invariant_to=(*REORDERED, "unit_scaling", "zero_units"))


@_soft("soft_correlation_match", complexity="O(n p); O(n p^2)", reference="Li et al., ICLR 2016")
class SoftCorrelationMatch:
    """Mean over units of the best correlation with a unit of the other side, mean of both directions; in [-1, 1].

    Features (n, p) and (n, q); several units may have the same partner. Constant units are left out.
    """

    def prepare(self, x: Any, name: str = "the features") -> FloatArray:
        """Centred units of norm 1, (n, p)."""
        x = centred(balanced(as_float64(x, name))[0])
        x = x[:, x.any(axis=0)]
        if x.shape[1] == 0:
            raise ValueError(f"all units of {name} are constant: they have no correlation")
        return unit_rows(x.T, name).T

    def correlations(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Of all pairs of units, (p, q)."""
        require_same_stimuli(len(a), len(b))
        return np.asarray(a.T @ b)

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Mean best correlation."""
        found = self.correlations(a, b)
        return float((found.max(axis=0).mean() + found.max(axis=1).mean()) / 2)


@_soft("soft_matching", complexity="O(n p); O(n p^2 + l^3)", reference="Khosla & Williams, UniReps 2024")
class SoftMatching(SoftCorrelationMatch):
    """Largest mean correlation under a soft matching of units: a transport plan between two uniform sets; in [-1, 1].

    Features (n, p) and (n, q): sum_ij T_ij corr(x_i, y_j) over T with row sums 1/p and column sums 1/q. Of equal widths it is the
    best one-to-one matching. Constant units are left out. Its cost grows with the least common multiple l of p and q up to 2048,
    beyond which a linear program of p q variables is solved, in seconds to minutes.
    """

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Correlation under the best plan, exact: an assignment of copies of the units, or a linear program."""
        found = self.correlations(a, b)
        p, q = found.shape
        copies = math.lcm(p, q)
        if copies <= max(_LARGEST_COPIES, p, q):
            repeated = np.repeat(np.repeat(found, copies // p, axis=0), copies // q, axis=1)
            return float(repeated[linear_sum_assignment(repeated, maximize=True)].mean())
        sums = [kron(np.eye(p), np.ones((1, q))), kron(np.ones((1, p)), np.eye(q))]
        # The last equation follows from the others.
        equations: Any = vstack(sums, format="csr")[:-1]
        plan: Any = linprog(
            -found.ravel(), A_eq=equations, b_eq=np.concatenate([np.full(p, 1 / p), np.full(q - 1, 1 / q)])
        )
        if not plan.success:
            raise RuntimeError(f"the linear program of soft matching was not solved: {plan.message}")
        return float(-plan.fun)
