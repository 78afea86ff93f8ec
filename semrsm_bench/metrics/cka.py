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
    as_features,
    as_rsm,
    as_rsm_pair,
    as_rsm_stacks,
    balanced,
    centred,
    one_of,
    require_stimuli,
    square_norm,
)
from semrsm_bench.metrics.centring import all_inner_products, inner_products, stacked_inner_products
from semrsm_bench.metrics.invariances import CENTRED, FORMS, ROTATIONS
from semrsm_bench.metrics.kernels import cosine_rsm, linear_rsm, rbf_rsm
from semrsm_bench.metrics.registry import register_metric

ESTIMATORS = ("biased", "debiased")
KORNBLITH = "Kornblith et al., ICML 2019"

_of_rsms = partial(register_metric, takes="rsms", best="max", range=(-1, 1))
_of_features = partial(register_metric, takes="features", best="max", range=(0, 1))
_debiased = partial(_of_features, range=(-1, 1), estimator="debiased")
_unbounded = partial(_of_rsms, range=(-math.inf, math.inf))


@_unbounded("hsic_debiased", invariant_to=(*CENTRED, "diagonal"), estimator="debiased")
@_unbounded("hsic", invariant_to=CENTRED)
def hsic(K: Any, L: Any, estimator: str = "biased") -> float:
    """Hilbert-Schmidt independence criterion of two RSMs.

    ``biased``: tr(K H L H) / (n - 1)^2 (Kornblith et al. 2019, eq. 3). ``debiased``: the unbiased estimator of Song et al. (2012),
    eq. 5, computed from U-centred RSMs, which cancels less than the three terms of the equation.

    Parameters
    ----------
    K, L : array_like, shape (n, n)
        Symmetric RSMs of the same stimuli. n >= 2 for the biased, n >= 4 for the debiased estimator.
    estimator : {"biased", "debiased"}

    Returns
    -------
    float
        At least 0 for positive semi-definite RSMs and the biased estimator; otherwise of either sign.

    Raises
    ------
    ValueError
        For asymmetric, misshapen or non-finite RSMs, too few stimuli, or a value beyond float64.
    """
    k, l = _rsms(K, L, estimator)  # noqa: E741
    k, k_exponent = balanced(k)
    l, l_exponent = balanced(l)  # noqa: E741
    value = inner_products(k, l, estimator == "debiased")[0] * _normaliser(len(k), estimator)
    try:
        return math.ldexp(value, k_exponent + l_exponent)
    except OverflowError as error:
        raise ValueError(
            "HSIC of these RSMs leaves the range of float64; divide them by their largest entry"
        ) from error


@_of_rsms(
    "cka_debiased",
    invariant_to=(*CENTRED, "positive_scaling", "diagonal"),
    reference=KORNBLITH,
    estimator="debiased",
)
@_of_rsms("cka", invariant_to=(*CENTRED, "positive_scaling"), reference=KORNBLITH)
def cka(K: Any, L: Any, estimator: str = "biased") -> float:
    """Centred kernel alignment of two RSMs: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) (Kornblith et al. 2019).

    Parameters and errors as for `hsic`. For independent Gaussian features of p and q units the biased value is near
    sqrt(p q / ((n - 1 + p) (n - 1 + q))), the debiased one near 0.

    Returns
    -------
    float
        In [0, 1] for the biased estimator of positive semi-definite RSMs; in [-1, 1] for the debiased one, and for semantic RSMs,
        which are not positive semi-definite in general. Nothing is clamped. NaN where an RSM is constant up to rounding once
        centred, which makes the ratio 0 / 0.
    """
    k, l = _rsms(K, L, estimator)  # noqa: E741
    return _ratio(*inner_products(balanced(k)[0], balanced(l)[0], estimator == "debiased"))


@_debiased("linear_cka_debiased", invariant_to=FORMS, reference=KORNBLITH)
@_of_features("linear_cka", invariant_to=FORMS, reference=KORNBLITH)
def linear_cka(X: Any, Y: Any, estimator: str = "biased") -> float:
    """CKA of the linear RSMs of two feature matrices, on whichever side is cheaper.

    |c(X)' c(Y)|_F^2 / (|c(X)' c(X)|_F |c(Y)' c(Y)|_F) for narrow features, the same from n x n RSMs for wide ones; for the
    debiased estimator the feature form subtracts what the zeroed diagonals contribute.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
        Features of the same stimuli.
    estimator : {"biased", "debiased"}
        See `cka`.

    Returns
    -------
    float
        In [0, 1] (biased) or [-1, 1] (debiased); NaN where one side is constant over the stimuli.

    Raises
    ------
    ValueError
        For mismatched n, too few stimuli, or misshapen or non-finite input.
    """
    one_of(estimator, ESTIMATORS, "estimator")
    x, y = as_feature_pair(X, Y, min_n=_least(estimator))
    x, y = centred(balanced(x)[0]), centred(balanced(y)[0])
    n, p, q = len(x), x.shape[1], y.shape[1]
    # Multiplications: three products of features (the two symmetric ones cost half) against two Gram matrices.
    if p * q + (p * p + q * q) / 2 > n * (p + q) / 2:
        return _ratio(*inner_products(x @ x.T, y @ y.T, estimator == "debiased"))
    products = [square_norm(a.T @ b) for a, b in ((x, y), (x, x), (y, y))]
    if estimator == "biased":
        return _ratio(products[0], products[1], products[2], products[1], products[2])
    dx, dy = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
    debiased = [
        product - n / (n - 2) * float(a @ b) + float(a.sum() * b.sum()) / ((n - 1) * (n - 2))
        for product, (a, b) in zip(products, ((dx, dy), (dx, dx), (dy, dy)), strict=True)
    ]
    # These are differences, not sums of squares, so their rounding is that of the products themselves.
    return _ratio(*debiased, *(product / ROUNDING for product in products[1:]))


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

    The mean of per-batch CKA values, which some code takes instead, is another, biased number.

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

    Returns
    -------
    float
        NaN where a mean of HSIC(K, K) or HSIC(L, L) is 0.

    Raises
    ------
    ValueError
        As `hsic`; no batches, a batch that is no pair, or two arrays that could be read either way.
    """
    one_of(estimator, ESTIMATORS, "estimator")
    if _are_stacks(batches) if stacked is None else stacked:
        K, L = batches
        k, l = as_rsm_stacks(K, L, min_n=_least(estimator))  # noqa: E741
        with np.errstate(over="ignore", invalid="ignore"):
            products = stacked_inner_products(k, l, estimator == "debiased")
            sums = products.sum(axis=1) * _normaliser(k.shape[1], estimator)
    else:
        sums, count = np.zeros(5), 0
        for pair in batches:
            if len(pair) != 2:
                raise ValueError(f"batch {count} holds {len(pair)} RSMs, but a batch is a pair (K, L)")
            K, L = pair
            k, l = _rsms(K, L, estimator)  # noqa: E741
            with np.errstate(over="ignore", invalid="ignore"):
                sums += np.array(inner_products(k, l, estimator == "debiased")) * _normaliser(len(k), estimator)
            count += 1
        if count == 0:
            raise ValueError("minibatch_cka needs at least one batch")
    if not np.isfinite(sums).all():
        raise ValueError("HSIC of these batches leaves the range of float64; divide all RSMs by their largest entry")
    return _ratio(*sums.tolist())


def _are_stacks(batches: Any) -> bool:
    if not (isinstance(batches, tuple) and len(batches) == 2 and all(getattr(s, "ndim", 0) == 3 for s in batches)):
        return False
    if len(batches[0]) == len(batches[1]) == 2:
        raise ValueError(
            "two arrays of shape (2, n, n) are two stacks of two batches, or two batches (K, L): say which with stacked=True "
            "or stacked=False"
        )
    return True


def cka_matrix(
    layers: Sequence[Any],
    others: Sequence[Any] | None = None,
    *,
    kernel: str | Callable[[Any], Any] | None = None,
    estimator: str = "biased",
) -> FloatArray:
    """CKA of all layers with all layers: centred RSMs as rows, one matrix product for all pairs.

    Parameters
    ----------
    layers : sequence of array_like
        RSMs of shape (n, n), or with ``kernel`` features of shape (n, p_l).
    others : sequence of array_like, optional
        A second model's layers, on the same stimuli; by default ``layers`` against themselves.
    kernel : {"linear", "cosine", "rbf"} or callable, optional
        Makes an RSM of every feature matrix. None takes the inputs as RSMs.
    estimator : {"biased", "debiased"}

    Returns
    -------
    ndarray, shape (len(layers), len(others))
        Range, NaN and errors (which name the layer) as for `cka`; exactly symmetric if ``others`` is None.
    """
    one_of(estimator, ESTIMATORS, "estimator")
    first = _layer_rsms(layers, kernel, "layers")
    second = first if others is None else _layer_rsms(others, kernel, "others")
    n = len(first[0])
    if len(second[0]) != n:
        raise ValueError(f"layers have {n} stimuli but others have {len(second[0])}")
    require_stimuli(n, _least(estimator))
    everything = first if others is None else first + second
    products, raw = all_inner_products(everything, estimator == "debiased")
    own = np.diag(products)
    with np.errstate(invalid="ignore"):
        norm = np.where(own > (ROUNDING**2) * raw, np.sqrt(own), np.nan)
    rows = len(first)
    numerator = products if others is None else products[:rows, rows:]
    columns = norm if others is None else norm[rows:]
    return np.asarray(numerator / (norm[:rows, None] * columns))


def _rsms(K: Any, L: Any, estimator: str) -> tuple[FloatArray, FloatArray]:
    one_of(estimator, ESTIMATORS, "estimator")
    return as_rsm_pair(K, L, min_n=_least(estimator))


def _least(estimator: str) -> int:
    return 4 if estimator == "debiased" else 2


def _normaliser(n: int, estimator: str) -> float:
    return 1.0 / (n * (n - 3)) if estimator == "debiased" else 1.0 / (n - 1) ** 2


def _layer_rsms(layers: Sequence[Any], kernel: str | Callable[[Any], Any] | None, name: str) -> list[FloatArray]:
    makers: dict[str, Callable[[Any], FloatArray]] = {"linear": _centred_gram, "cosine": cosine_rsm, "rbf": rbf_rsm}
    if isinstance(kernel, str):
        kernel = makers[one_of(kernel, tuple(makers), "kernel")]
    if len(layers) == 0:
        raise ValueError(f"{name} is empty; give at least one RSM or feature matrix")
    rsms: list[FloatArray] = []
    for index, layer in enumerate(layers):
        label = f"{name}[{index}]"
        rsm = as_rsm(layer if kernel is None else kernel(as_features(layer, label)), label)
        if rsms and len(rsm) != len(rsms[0]):
            raise ValueError(f"{label} has {len(rsm)} stimuli but {name}[0] has {len(rsms[0])}")
        rsms.append(balanced(rsm)[0])
    return rsms


def _centred_gram(X: FloatArray) -> FloatArray:
    # Centred first, which for the linear kernel is the same, so that a large common offset costs no digits.
    return linear_rsm(centred(balanced(X)[0]))


def _ratio(kl: float, kk: float, ll: float, raw_k: float, raw_l: float) -> float:
    """Kl / sqrt(kk ll), NaN where a denominator is not above the rounding of what it was computed from."""
    if not (kk > ROUNDING**2 * raw_k and ll > ROUNDING**2 * raw_l):
        return math.nan
    return float(kl / math.sqrt(kk) / math.sqrt(ll))
