"""HSIC and centred kernel alignment: of RSMs, of features, over minibatches, and of all layers at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import (
    ROUNDING,
    FloatArray,
    as_feature_pair,
    as_float64,
    as_rsm,
    as_rsm_pair,
    balanced,
    centred,
    centred_pair,
    in_range,
    one_of,
    require_stimuli,
    square_norm,
)
from semrsm_bench.metrics.kernels import cosine_rsm, linear_rsm, rbf_rsm
from semrsm_bench.metrics.registry import CENTRED, FORMS, ROTATIONS, register_metric

ESTIMATORS = ("biased", "debiased")
KORNBLITH = "Kornblith et al., ICML 2019"
_BLOCK_ENTRIES = 2**17

_of_rsms = partial(register_metric, takes="rsms", best="max", range=(-1, 1))
_of_features = partial(register_metric, takes="features", best="max", range=(0, 1))
_debiased = partial(_of_features, range=(-1, 1), estimator="debiased")
_unbounded = partial(_of_rsms, range=(-math.inf, math.inf))


@_unbounded("hsic_debiased", invariant_to=(*CENTRED, "diagonal"), estimator="debiased")
@_unbounded("hsic", invariant_to=CENTRED)
def hsic(K: Any, L: Any, estimator: str = "biased") -> float:
    """Hilbert-Schmidt independence criterion of two RSMs.

    ``biased``: tr(K H L H) / (n - 1)^2 (Kornblith et al. 2019, eq. 3). ``debiased``: the unbiased estimator of Song et al. (2012),
    eq. 5, computed from U-centred RSMs, which cancels less than the three terms of the equation. At least 0 for positive
    semi-definite RSMs and the biased estimator, otherwise of either sign; ValueError beyond float64.

    Parameters
    ----------
    K, L : array_like, shape (n, n)
        Symmetric RSMs of the same stimuli. n >= 2 for the biased, n >= 4 for the debiased estimator.
    estimator : {"biased", "debiased"}
    """
    sides = [balanced(side) for side in as_rsm_pair(K, L, min_n=_least(estimator))]
    rsms, exponents = zip(*sides)
    value = _inner_products(rsms, estimator)[0][0, 1] * _normaliser(len(rsms[0]), estimator)
    return float(in_range(value, "HSIC of these RSMs", sum(exponents)))


@_of_rsms(
    "cka_debiased", invariant_to=(*CENTRED, "positive_scaling", "diagonal"), reference=KORNBLITH, estimator="debiased"
)
@_of_rsms("cka", invariant_to=(*CENTRED, "positive_scaling"), reference=KORNBLITH)
def cka(K: Any, L: Any, estimator: str = "biased") -> float:
    """Centred kernel alignment of two RSMs: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) (Kornblith et al. 2019).

    Parameters as for `hsic`. For independent Gaussian features of p and q units the biased value is near
    sqrt(p q / ((n - 1 + p) (n - 1 + q))), the debiased one near 0.

    In [0, 1] for the biased estimator of positive semi-definite RSMs; in [-1, 1] for the debiased one, and for semantic RSMs,
    which are not positive semi-definite in general. Nothing is clamped. NaN where an RSM is constant up to rounding once
    centred, which makes the ratio 0 / 0.
    """
    k, l = as_rsm_pair(K, L, min_n=_least(estimator))  # noqa: E741
    return _alignment(*_inner_products([balanced(k)[0], balanced(l)[0]], estimator))


@_debiased("linear_cka_debiased", invariant_to=FORMS, reference=KORNBLITH)
@_of_features("linear_cka", invariant_to=FORMS, reference=KORNBLITH)
def linear_cka(X: Any, Y: Any, estimator: str = "biased") -> float:
    """CKA of the linear RSMs of two feature matrices, on whichever side is cheaper.

    |c(X)' c(Y)|_F^2 / (|c(X)' c(X)|_F |c(Y)' c(Y)|_F) for narrow features, the same from n x n RSMs for wide ones; for the
    debiased estimator the feature form subtracts what the zeroed diagonals contribute. In [0, 1] (biased) or [-1, 1] (debiased);
    NaN where one side is constant over the stimuli.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
        Features of the same stimuli.
    estimator : {"biased", "debiased"}
    """
    x, y = centred_pair(X, Y, min_n=_least(estimator))
    n, p, q = len(x), x.shape[1], y.shape[1]
    # Multiplications: three products of features (the two symmetric ones cost half) against two Gram matrices.
    if p * q + (p * p + q * q) / 2 > n * (p + q) / 2:
        return _alignment(*_inner_products([x @ x.T, y @ y.T], estimator))
    cross = square_norm(x.T @ y)
    products = np.array([[square_norm(x.T @ x), cross], [cross, square_norm(y.T @ y)]])
    if estimator == "biased":
        return _alignment(products, products.diagonal())
    diagonals = np.stack([np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)])
    sums = diagonals.sum(axis=1)
    without = products - n / (n - 2) * (diagonals @ diagonals.T) + np.outer(sums, sums) / ((n - 1) * (n - 2))
    # These are differences, not sums of squares, so their rounding is that of the products themselves.
    return _alignment(without, products.diagonal() / ROUNDING)


@_debiased("rbf_cka_debiased", invariant_to=FORMS)
@_of_features("rbf_cka", invariant_to=FORMS, reference=KORNBLITH)
def rbf_cka(
    X: Any, Y: Any, estimator: str = "biased", *, sigma: str | float = "offdiag_median", t: float = 1.0
) -> float:
    """CKA of the RBF RSMs of two feature matrices; bandwidths as in `rbf_rsm`, one for each side.

    In [0, 1] (biased) or [-1, 1] (debiased). Invariant to isotropic scaling where sigma is a rule that scales. Raises as
    `rbf_rsm` and `cka` do.
    """
    x, y = as_feature_pair(X, Y)
    return cka(rbf_rsm(x, sigma=sigma, t=t), rbf_rsm(y, sigma=sigma, t=t), estimator)


@_of_features("cosine_cka", invariant_to=(*ROTATIONS, "isotropic_scaling", "row_scaling"))
def cosine_cka(X: Any, Y: Any, estimator: str = "biased") -> float:
    """CKA of the cosine RSMs of two feature matrices, in [0, 1] (biased) or [-1, 1] (debiased).

    Raises as `cosine_rsm` (zero rows) and `cka` do.
    """
    x, y = as_feature_pair(X, Y)
    return cka(cosine_rsm(x), cosine_rsm(y), estimator)


def minibatch_cka(
    batches: Iterable[tuple[Any, Any]] | tuple[Any, Any], estimator: str = "debiased", *, stacked: bool | None = None
) -> float:
    """CKA from minibatches: the ratio of the mean HSICs over the batches (Nguyen et al. 2021, eq. 2).

    The mean of per-batch CKA values, which some code takes instead, is another, biased number. NaN where a mean of HSIC(K, K) or
    HSIC(L, L) is 0.

    Parameters
    ----------
    batches : iterable of (K, L), or tuple of two stacks
        Pairs of RSMs, one pair for each batch; batches may differ in size. Consumed once, one batch in memory at a time.
        Batches of one size can also be given as two arrays of shape (batches, n, n), which is faster for small n.
    estimator : {"debiased", "biased"}
        The terms of ``debiased`` have the same expectation for every batch size.
    stacked : bool, optional
        Whether ``batches`` are two stacks. By default a tuple of two arrays with three axes is; only two arrays of shape
        (2, n, n) could be either, two stacks of two batches or two batches (K, L), and need an answer.
    """
    given: Any = batches
    if stacked is None:
        stacked = isinstance(given, tuple) and len(given) == 2 and all(getattr(s, "ndim", 0) == 3 for s in given)
        if stacked and len(given[0]) == len(given[1]) == 2:
            raise ValueError(
                "two arrays of shape (2, n, n) are two stacks of two batches, or two batches (K, L): say which with "
                "stacked=True or stacked=False"
            )
    products, raw, count = np.zeros((2, 2)), np.zeros(2), 0
    for pair in [given] if stacked else given:
        if len(pair) != 2:
            raise ValueError(f"batch {count} holds {len(pair)} RSMs, but a batch is a pair (K, L)")
        rsms = as_rsm_pair(*pair, min_n=_least(estimator), stacked=stacked)
        factor = _normaliser(rsms[0].shape[-1], estimator)
        with np.errstate(over="ignore", invalid="ignore"):
            more, squares = _inner_products(rsms, estimator)
            products += more.reshape(-1, 2, 2).sum(axis=0) * factor
            raw += squares.reshape(-1, 2).sum(axis=0) * factor
        count += 1
    if count == 0:
        raise ValueError("minibatch_cka needs at least one batch")
    return _alignment(in_range(products, "HSIC of these batches"), in_range(raw, "HSIC of these batches"))


def cka_matrix(
    layers: Sequence[Any],
    others: Sequence[Any] | None = None,
    *,
    kernel: str | Callable[[Any], Any] | None = None,
    estimator: str = "biased",
) -> FloatArray:
    """CKA of all layers with all layers, (len(layers), len(others)): centred RSMs as rows, one matrix product for all pairs.

    Range, NaN and errors (which name the layer) as for `cka`; exactly symmetric if ``others`` is None.

    Parameters
    ----------
    layers : sequence of array_like
        RSMs of shape (n, n), or with ``kernel`` features of shape (n, p_l).
    others : sequence of array_like, optional
        A second model's layers, on the same stimuli; by default ``layers`` against themselves.
    kernel : {"linear", "cosine", "rbf"} or callable, optional
        Makes an RSM of every feature matrix. None takes the inputs as RSMs.
    estimator : {"biased", "debiased"}
    """
    makers: dict[str, Callable[[Any], FloatArray]] = {
        # Centred first, which for the linear kernel is the same, so that a large common offset costs no digits.
        "linear": lambda X: linear_rsm(centred(balanced(X)[0])),
        "cosine": cosine_rsm,
        "rbf": rbf_rsm,
    }
    least = _least(estimator)
    make = makers[one_of(kernel, tuple(makers), "kernel")] if isinstance(kernel, str) else kernel
    rsms: list[FloatArray] = []
    for name, side in (("layers", layers), ("others", others)):
        if side is not None and len(side) == 0:
            raise ValueError(f"{name} is empty; give at least one RSM or feature matrix")
        for index, layer in enumerate(() if side is None else side):
            label = f"{name}[{index}]"
            rsm = as_rsm(layer if make is None else make(as_float64(layer, label)), label)
            if rsms and len(rsm) != len(rsms[0]):
                raise ValueError(f"{label} has {len(rsm)} stimuli but layers[0] has {len(rsms[0])}")
            rsms.append(balanced(rsm)[0])
    require_stimuli(len(rsms[0]), least)
    aligned = _alignments(*_inner_products(rsms, estimator))
    return aligned if others is None else aligned[: len(layers), len(layers) :]


def _least(estimator: str) -> int:
    """How many stimuli an estimator needs; ValueError where it is none."""
    return 4 if one_of(estimator, ESTIMATORS, "estimator") == "debiased" else 2


def _normaliser(n: int, estimator: str) -> float:
    return 1.0 / (n * (n - 3)) if estimator == "debiased" else 1.0 / (n - 1) ** 2


def _inner_products(rsms: Sequence[FloatArray], estimator: str) -> tuple[FloatArray, FloatArray]:
    """Inner products of all centred (debiased: U-centred) RSMs, (..., L, L); and the squared norms as given, (..., L).

    The RSMs are L of shape (..., n, n). A few rows at a time, so that what is centred stays in the cache.
    """
    debiased, (*batch, n, _) = estimator == "debiased", rsms[0].shape
    offsets = [_offsets(k, debiased) for k in rsms]
    step = min(n, 1 + _BLOCK_ENTRIES // (len(rsms) * rsms[0].size // n))
    block = np.empty((*batch, len(rsms), step, n))
    products = np.zeros((*batch, len(rsms), len(rsms)))
    for start in range(0, n, step):
        rows = slice(start, min(n, start + step))
        block = block[..., : rows.stop - start, :]
        for layer, (k, u) in enumerate(zip(rsms, offsets)):
            out = block[..., layer, :, :]
            np.subtract(k[..., rows, :], u[..., rows, None], out=out)
            out -= u[..., None, :]
            if debiased:
                np.einsum("...ii->...i", out[..., rows])[...] = 0.0
        flat = block.reshape(*batch, len(rsms), -1)
        # For a pair the matrix product takes three times as long as einsum.
        products += np.einsum("...ik,...jk->...ij", flat, flat) if len(rsms) == 2 else flat @ flat.T
    return products, np.stack([np.einsum("...ij,...ij->...", k, k) for k in rsms], axis=-1)


def _offsets(k: FloatArray, debiased: bool) -> FloatArray:
    """Vector u such that ``k - u 1' - 1 u'`` is the centred (or, off the diagonal, the U-centred) RSM; of a stack one each."""
    n = k.shape[-1]
    if debiased:
        sums = k.sum(axis=-1) - np.diagonal(k, axis1=-2, axis2=-1)
        return np.asarray(sums / (n - 2) - sums.sum(axis=-1, keepdims=True) / (2 * (n - 1) * (n - 2)))
    means = k.mean(axis=-1)
    return np.asarray(means - means.mean(axis=-1, keepdims=True) / 2)


def _alignments(products: FloatArray, raw: FloatArray) -> FloatArray:
    """Products over the norms, NaN where a squared norm is not above the rounding of what it was computed from."""
    squares = products.diagonal()
    with np.errstate(invalid="ignore"):
        norm = np.where(squares > ROUNDING**2 * raw, np.sqrt(squares), np.nan)
    return np.asarray(products / (norm[:, None] * norm))


def _alignment(products: FloatArray, raw: FloatArray) -> float:
    return float(_alignments(products, raw)[0, 1])
