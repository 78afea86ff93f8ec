"""Canonical correlations and their summaries: CCA, SVCCA and PWCCA."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import ROUNDING, FloatArray, as_feature_pair, balanced, centred, centred_pair, one_of
from semrsm_bench.metrics.registry import FORMS, SUBSPACES, register_metric

# A canonical correlation this near to 1 is that of a shared dimension.
_SHARED = 1e-12
MORCOS = "Morcos et al., NeurIPS 2018"
# Invariances of the side whose units give the weights.
_WEIGHTING = ("unit_permutation", "zero_units", "translation", "isotropic_scaling")

_similarity = partial(register_metric, takes="features", best="max", range=(0, 1))
_one_sided = partial(_similarity, symmetric=False, reference=MORCOS)


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
    (_, qx), (_, qy) = _bases(X, Y, centre)
    return np.asarray(np.linalg.svd(qx.T @ qy, compute_uv=False))


@_similarity("cca_r2", invariant_to=SUBSPACES, summary="r2")
@_similarity("cca", invariant_to=SUBSPACES)
def cca(X: Any, Y: Any, *, summary: str = "mean", centre: bool = True) -> float:
    """Mean canonical correlation, or the mean of the squares (R2 CCA, Kornblith et al. 2019, table 1); in [0, 1].

    Parameters
    ----------
    X, Y, centre
        As for `canonical_correlations`, whose errors it raises.
    summary : {"mean", "r2"}
        ``mean``: mean rho; ``r2``: mean rho^2. Both over the smaller of the two ranks, which for features of full column
        rank is min(p, q); so dead or repeated units do not lower a representation's similarity with itself.
    """
    one_of(summary, ("mean", "r2"), "summary")
    rho = canonical_correlations(X, Y, centre=centre)
    return float(np.mean(rho if summary == "mean" else rho**2))


@_similarity("svcca", invariant_to=FORMS, reference="Raghu et al., NeurIPS 2017")
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
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1]; got {threshold}")
    bases = []
    for x, name in zip(centred_pair(X, Y, min_n=3), "XY"):
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        if s[0] == 0.0:
            raise ValueError(f"{name} is the same for all stimuli: it has no principal components")
        share = np.cumsum(s**2) / np.sum(s**2)
        kept = min(_rank(s, x), int(np.searchsorted(share, threshold - ROUNDING)) + 1)
        _require_unsaturated(kept, len(x) - 1, f"leading components of {name}")
        bases.append(u[:, :kept])
    return float(np.mean(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)))


@_similarity("pwcca_mean", invariant_to=_WEIGHTING, reference=MORCOS, weights_from="mean")
@_one_sided("pwcca_y", invariant_to=SUBSPACES, invariant_to_y=_WEIGHTING, weights_from="y")
@_one_sided("pwcca", invariant_to=_WEIGHTING, invariant_to_y=SUBSPACES)
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
    one_of(weights_from, ("x", "y", "mean"), "weights_from")
    (x, qx), (y, qy) = _bases(X, Y, True)
    u, rho, vt = np.linalg.svd(qx.T @ qy, full_matrices=False)
    ones = int(np.count_nonzero(rho > 1 - _SHARED))
    if 2 <= ones < len(rho):
        raise ValueError(
            f"X and Y share {ones} dimensions (as they must where the ranks of both, {qx.shape[1]} and {qy.shape[1]}, exceed "
            f"{len(x) - 1} together), whose canonical directions are any of that space: the weights are not determined; use "
            "more stimuli"
        )
    values = []
    for side, variates, features in (("x", qx @ u, x), ("y", qy @ vt.T, y)):
        if weights_from in (side, "mean"):
            weights = np.abs(variates.T @ features).sum(axis=1)
            values.append(weights @ rho / weights.sum())
    return float(np.mean(values))


def _bases(X: Any, Y: Any, centre: bool) -> list[tuple[FloatArray, FloatArray]]:
    """The features of each side, balanced and centred, and an orthonormal basis of their columns, (n, rank)."""
    found = []
    for x, name in zip(as_feature_pair(X, Y, min_n=3 if centre else 2), "XY"):
        side = centred(balanced(x)[0]) if centre else balanced(x)[0]
        norms = np.linalg.norm(side, axis=0)
        alive = norms > 0.0
        if not alive.any():
            raise ValueError(f"{name} is the same for all stimuli: it has no canonical directions")
        # Unit columns: a unit of small variance counts as much as one of large, as canonical correlations demand.
        columns = side[:, alive] / norms[alive]
        q, r = np.linalg.qr(columns)
        rank = _rank(np.linalg.svd(r, compute_uv=False), columns)
        _require_unsaturated(rank, len(side) - centre, f"units of {name}")
        if rank < r.shape[1]:
            q = q @ np.linalg.svd(r, full_matrices=False)[0][:, :rank]
        found.append((side, q))
    return found


def _rank(singular_values: FloatArray, x: FloatArray) -> int:
    return int(np.count_nonzero(singular_values > singular_values[0] * max(x.shape) * np.finfo(np.float64).eps))


def _require_unsaturated(rank: int, limit: int, what: str) -> None:
    if rank >= limit:
        raise ValueError(
            f"the {what} span all {limit} dimensions that these stimuli have, so every canonical correlation is 1 whatever "
            "the data; use more stimuli than units, or svcca with a lower threshold"
        )
