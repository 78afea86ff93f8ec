"""Canonical correlations and their summaries: CCA, SVCCA and PWCCA."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from semrsm_bench.core.identity import require_same_ids
from semrsm_bench.metrics.arrays import (
    ROUNDING,
    FloatArray,
    as_float64,
    balanced,
    between,
    centred,
    one_of,
    require_same_stimuli,
    require_stimuli,
    square_norm,
)
from semrsm_bench.metrics.registry import FORMS, KORNBLITH, SUBSPACES, register_metric

# A canonical correlation this near to 1 is that of a shared dimension.
_SHARED = 1e-12
SUMMARIES = ("mean", "r2", "r2_larger")
MORCOS = "Morcos et al., NeurIPS 2018"
# Invariances of the side whose units give the weights.
_WEIGHTING = ("unit_permutation", "zero_units", "translation", "isotropic_scaling")

_similarity = partial(register_metric, takes="features", best="max", range=(0, 1))


def canonical_correlations(X: Any, Y: Any, *, centre: bool = True) -> FloatArray:
    """Canonical correlations of two feature matrices, largest first, shape (min(rank X, rank Y),).

    The singular values of Qx' Qy, where Qx and Qy are orthonormal bases of the centred columns. The bases are rank
    revealing: constant, repeated or linearly dependent units add nothing. In [0, 1] up to rounding; ValueError where a side is
    constant, or has rank n - 1 (n without centring): then every correlation is 1 whatever the data.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
        Features of the same stimuli.
    centre : bool
        False keeps the column means, which makes these cosines between subspaces instead of correlations.
    """
    require_same_ids(X, Y, "XY")
    qx, qy = (_basis(side, name, centre)[1] for side, name in ((X, "X"), (Y, "Y")))
    return _cosines(qx, qy)


class Cca:
    """`cca` in two parts."""

    def __init__(self, summary: str = "mean", centre: bool = True) -> None:
        self.summary, self.centre = one_of(summary, SUMMARIES, "summary"), centre

    def prepare(self, X: Any, name: str = "one side") -> FloatArray:
        """Orthonormal basis of the centred columns, (n, rank)."""
        return _basis(X, name, self.centre)[1]

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """The summary of the correlations."""
        if self.summary == "mean":
            return float(_cosines(a, b).mean())
        require_same_stimuli(len(a), len(b))
        # The sum of the squared singular values needs none of them.
        ranks: tuple[int, int] = a.shape[1], b.shape[1]
        return square_norm(a.T @ b) / (max(ranks) if self.summary == "r2_larger" else min(ranks))


_subspaces = partial(_similarity, invariant_to=SUBSPACES, complexity="O(n p^2); O(n p^2)", pair=Cca)


@_subspaces("cca_r2_larger", summary="r2_larger", reference="Ding et al., NeurIPS 2021 (over the larger width)")
@_subspaces("cca_r2", summary="r2", reference=KORNBLITH)
@_subspaces("cca", reference="Hotelling, Biometrika 28, 1936")
def cca(X: Any, Y: Any, *, summary: str = "mean", centre: bool = True) -> float:
    """Mean canonical correlation, or the mean of the squares (R2 CCA, Kornblith et al. 2019, table 1); in [0, 1].

    Parameters
    ----------
    X, Y, centre
        As for `canonical_correlations`, whose errors it raises.
    summary : {"mean", "r2", "r2_larger"}
        ``mean``: mean rho; ``r2``: mean rho^2. Both over the smaller of the two ranks, which for features of full column
        rank is min(p, q); so dead or repeated units do not lower a representation's similarity with itself. Dividing by the
        smaller rank favours whatever is wide; ``r2_larger``: the sum of rho^2 over the larger rank.
    """
    return float(between(Cca(summary, centre), X, Y))


class Svcca:
    """`svcca` in two parts."""

    def __init__(self, threshold: float = 0.99) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1]; got {threshold}")
        self.threshold = threshold

    def prepare(self, X: Any, name: str = "one side") -> FloatArray:
        """The leading principal components, of norm 1, (n, kept)."""
        x = centred(balanced(as_float64(X, name))[0])
        require_stimuli(len(x), 3)
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        if s[0] == 0.0:
            raise ValueError(f"{name} is the same for all stimuli: it has no principal components")
        share = np.cumsum(s**2) / np.sum(s**2)
        kept = min(_rank(s, x), int(np.searchsorted(share, self.threshold - ROUNDING)) + 1)
        _require_unsaturated(kept, len(x) - 1, f"leading components of {name}")
        return np.asarray(u[:, :kept])

    def compare(self, a: FloatArray, b: FloatArray) -> float:
        """Mean canonical correlation."""
        return float(_cosines(a, b).mean())


@_similarity(
    "svcca",
    invariant_to=FORMS,
    complexity="O(n p min(n, p)); O(n p^2)",
    reference="Raghu et al., NeurIPS 2017",
    pair=Svcca,
)
def svcca(X: Any, Y: Any, threshold: float = 0.99) -> float:
    """Mean canonical correlation of the leading principal components (SVCCA, Raghu et al. 2017); in [0, 1].

    Each side is centred and cut to the fewest principal components whose squared singular values sum to ``threshold`` of
    the total (squared: shares of variance; the original code summed the singular values themselves). ValueError where n - 1
    components are left on a side, or a side is constant.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
    threshold : float
        Share of the variance to keep, in (0, 1].
    """
    return float(between(Svcca(threshold), X, Y))


class Pwcca:
    """`pwcca` in two parts."""

    def __init__(self, weights_from: str = "x") -> None:
        self.weights_from = one_of(weights_from, ("x", "y", "mean"), "weights_from")

    def prepare(self, X: Any, name: str = "one side") -> tuple[FloatArray, FloatArray]:
        """Orthonormal basis of the centred columns, (n, rank), and the features in it, (rank, p)."""
        x, q = _basis(X, name, True)
        return q, q.T @ x

    def compare(self, a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> float:
        """Correlations weighted by what their variates explain; ValueError where these are not determined."""
        (qx, x), (qy, y) = a, b
        require_same_stimuli(len(qx), len(qy))
        u, rho, vt = np.linalg.svd(qx.T @ qy, full_matrices=False)
        ones = int(np.count_nonzero(rho > 1 - _SHARED))
        if 2 <= ones < len(rho):
            raise ValueError(
                f"X and Y share {ones} dimensions (as they must where the ranks of both, {qx.shape[1]} and {qy.shape[1]}, exceed "
                f"{len(qx) - 1} together), whose canonical directions are any of that space: the weights are not determined; use "
                "more stimuli"
            )
        values = []
        for side, variates, features in (("x", u.T, x), ("y", vt, y)):
            if self.weights_from in (side, "mean"):
                weights = np.abs(variates @ features).sum(axis=1)
                values.append(weights @ rho / weights.sum())
        return float(np.mean(values))


_weighted = partial(_similarity, complexity="O(n p^2); O(n p^2)", reference=MORCOS, pair=Pwcca)


@_weighted("pwcca_mean", invariant_to=_WEIGHTING, weights_from="mean")
@_weighted("pwcca_y", invariant_to=SUBSPACES, invariant_to_y=_WEIGHTING, weights_from="y", symmetric=False)
@_weighted("pwcca", invariant_to=_WEIGHTING, invariant_to_y=SUBSPACES, symmetric=False)
def pwcca(X: Any, Y: Any, weights_from: str = "x") -> float:
    """Projection-weighted CCA (Morcos et al. 2018, eq. 2): canonical correlations weighted by what they explain; in [0, 1].

    With the unit-norm canonical variates h_i of one side, alpha_i = sum_j |<h_i, c(x)_j>| over that side's units, and
    the value is sum alpha_i rho_i / sum alpha_i. Raises as `canonical_correlations`, and where two or more correlations, but not
    all, are 1: the weights then depend on which of their directions a decomposition happens to return.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
    weights_from : {"x", "y", "mean"}
        The side whose units give the weights; ``mean`` averages the two values, which alone makes it symmetric.
    """
    return float(between(Pwcca(weights_from), X, Y))


def _cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    """Cosines of the principal angles between the spaces of two orthonormal bases, largest first."""
    require_same_stimuli(len(a), len(b))
    return np.asarray(np.linalg.svd(a.T @ b, compute_uv=False))


def _basis(X: Any, name: str, centre: bool) -> tuple[FloatArray, FloatArray]:
    """Features of one side, balanced and centred, (n, p), and an orthonormal basis of their columns, (n, rank)."""
    x = balanced(as_float64(X, name))[0]
    require_stimuli(len(x), 3 if centre else 2)
    x = centred(x) if centre else x
    norms = np.linalg.norm(x, axis=0)
    alive = norms > 0.0
    if not alive.any():
        raise ValueError(f"{name} is the same for all stimuli: it has no canonical directions")
    # Unit columns: a unit of small variance counts as much as one of large, as canonical correlations demand.
    columns = x[:, alive] / norms[alive]
    q, r = np.linalg.qr(columns)
    rank = _rank(np.linalg.svd(r, compute_uv=False), columns)
    _require_unsaturated(rank, len(x) - centre, f"units of {name}")
    if rank < r.shape[1]:
        q = q @ np.linalg.svd(r, full_matrices=False)[0][:, :rank]
    return x, q


def _rank(singular_values: FloatArray, x: FloatArray) -> int:
    return int(np.count_nonzero(singular_values > singular_values[0] * max(x.shape) * np.finfo(np.float64).eps))


def _require_unsaturated(rank: int, limit: int, what: str) -> None:
    if rank >= limit:
        raise ValueError(
            f"the {what} span all {limit} dimensions that these stimuli have, so every canonical correlation is 1 whatever "
            "the data; use more stimuli than units, or svcca with a lower threshold"
        )
