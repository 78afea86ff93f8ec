"""HSIC and centred kernel alignment: of RSMs, of features, over minibatches, and of all layers at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from semrsm_bench.core.identity import require_same_ids
from semrsm_bench.core.misleading import MisleadingWarning
from semrsm_bench.metrics.arrays import (
    ROUNDING,
    FloatArray,
    as_float64,
    as_rsm,
    as_rsm_pair,
    balanced,
    between,
    centred,
    in_range,
    one_of,
    require_same_stimuli,
    require_stimuli,
    square_norm,
    unit_rows,
)
from semrsm_bench.metrics.kernels import cosine_rsm, linear_rsm, rbf_rsm
from semrsm_bench.metrics.registry import CENTRED, FORMS, KORNBLITH, ROTATIONS, register_metric

ESTIMATORS = ("biased", "debiased")
_BLOCK_ENTRIES = 2**17
# Where shuffled stimuli give more than this, a biased value is mostly chance.
_MOSTLY_CHANCE = 0.5

_of_rsms = partial(register_metric, takes="rsms", best="max", complexity="O(n^2); O(n^2)")
_of_features = partial(register_metric, takes="features", best="max", range=(0, 1))
_of_kernels = partial(_of_features, complexity="O(n^2 p); O(n^2)")
_debiased = {"range": (-1, 1), "estimator": "debiased"}


class Hsic:
    """`hsic` in two parts."""

    def __init__(self, estimator: str = "biased") -> None:
        self.least, self.debiased, self.estimator = _least(estimator), estimator == "debiased", estimator

    def prepare(self, K: Any, name: str = "the RSM") -> Any:
        """The centred (U-centred) RSM (n, n), divided by a power of two; and its exponent."""
        k, exponent = balanced(as_rsm(K, name))
        return self.centred(k), exponent

    def centred(self, k: FloatArray) -> FloatArray:
        """The RSM with the means of its rows and columns at 0."""
        require_stimuli(len(k), self.least)
        offsets = _offsets(k, self.debiased)
        result = k - offsets[:, None]
        result -= offsets
        if self.debiased:
            np.fill_diagonal(result, 0.0)
        return result

    def compare(self, a: Any, b: Any) -> float:
        """HSIC of two sides."""
        (k, exponent), (l, other) = a, b  # noqa: E741
        require_same_stimuli(len(k), len(l))
        value = float(np.vdot(k, l)) * _normaliser(len(k), self.estimator)
        return float(in_range(value, "HSIC of these RSMs", exponent + other))


_hsic = partial(_of_rsms, range=(-math.inf, math.inf), measured_in="entries^2", pair=Hsic)


@_hsic(
    "hsic_debiased",
    invariant_to=(*CENTRED, "diagonal"),
    reference="Song et al., Journal of Machine Learning Research 13, 2012",
    estimator="debiased",
)
@_hsic("hsic", invariant_to=CENTRED, reference="Gretton et al., ALT 2005")
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
    return float(between(Hsic(estimator), K, L, "KL"))


class Cka(Hsic):
    """`cka` in two parts."""

    def prepare(self, K: Any, name: str = "the RSM") -> Any:
        """The centred (U-centred) RSM of norm 1, (n, n); NaN where it is constant."""
        return self.direction(balanced(as_rsm(K, name))[0])

    def direction(self, k: FloatArray) -> FloatArray:
        """The same of a balanced RSM."""
        result = self.centred(k)
        result /= _norm(square_norm(result), square_norm(k))
        return result

    def compare(self, a: Any, b: Any) -> float:
        """CKA of two sides."""
        require_same_stimuli(len(a), len(b))
        return float(np.vdot(a, b))

    def trace(self, a: Any) -> float:
        """Trace of a side's centred RSM of norm 1."""
        return float(np.trace(a))

    def between(self, X: Any, Y: Any, names: str = "XY") -> float:
        """CKA of two inputs; MisleadingWarning where the biased value is mostly what shuffled stimuli give, too."""
        require_same_ids(X, Y, names)
        a, b = (self.prepare(side, name) for side, name in zip((X, Y), names, strict=True))
        value, n = self.compare(a, b), len(X)
        if not self.debiased:
            # The mean over all permutations of one side's stimuli, for any two centred RSMs.
            _warn_of_chance(n, self.trace(a) * self.trace(b) / (n - 1), 4)
        return value


@_of_rsms(
    "cka_debiased",
    range=(-1, 1),
    invariant_to=(*CENTRED, "positive_scaling", "diagonal"),
    reference=KORNBLITH,
    estimator="debiased",
    pair=Cka,
)
@_of_rsms("cka", invariant_to=(*CENTRED, "positive_scaling"), range=(-1, 1), reference=KORNBLITH, pair=Cka)
def cka(K: Any, L: Any, estimator: str = "biased") -> float:
    """Centred kernel alignment of two RSMs: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) (Kornblith et al. 2019).

    Parameters as for `hsic`. For independent Gaussian features of p and q units the biased value is near
    sqrt(p q / ((n - 1 + p) (n - 1 + q))), the debiased one near 0.

    In [0, 1] for the biased estimator of positive semi-definite RSMs; in [-1, 1] for the debiased one, and for semantic RSMs,
    which are not positive semi-definite in general. Nothing is clamped. NaN where an RSM is constant up to rounding once
    centred, which makes the ratio 0 / 0. MisleadingWarning where the biased value of shuffled stimuli is above .5 on average.
    """
    return Cka(estimator).between(K, L, "KL")


class LinearSide(NamedTuple):
    """One side of `linear_cka`, scaled so that its inner product with itself is 1.

    Its centred RSM (n, n), or where they are much narrower the centred features (n, p); of those, for the debiased estimator,
    also the diagonal of their RSM (n,).
    """

    values: FloatArray
    diagonal: FloatArray | None = None

    @property
    def is_rsm(self) -> bool:
        """Whether it holds an RSM; features that are kept have fewer units than stimuli."""
        return len(self.values) == len(self.values.T)


class LinearCka(Cka):
    """`linear_cka` in two parts."""

    def prepare(self, X: Any, name: str = "the features") -> LinearSide:
        """RSM or features, whichever is cheaper to compare; NaN where the side is constant."""
        x = centred(balanced(as_float64(X, name))[0])
        n, p = x.shape
        require_stimuli(n, self.least)
        if 2 * p >= n:
            return LinearSide(self.direction(x @ x.T))
        square = square_norm(x.T @ x)
        if not self.debiased:
            return LinearSide(x / np.sqrt(_norm(square, square)))
        diagonal = np.einsum("ij,ij->i", x, x)
        # A difference, not a sum of squares, so its rounding is that of what it is made of.
        norm = _norm(square - self.of_diagonals(diagonal, diagonal), square / ROUNDING)
        return LinearSide(x / np.sqrt(norm), diagonal / norm)

    def of_diagonals(self, a: FloatArray, b: FloatArray) -> float:
        """What U-centring takes from the inner product of two centred RSMs with these diagonals."""
        n = len(a)
        return float(n / (n - 2) * (a @ b) - a.sum() * b.sum() / ((n - 1) * (n - 2)))

    def trace(self, a: LinearSide) -> float:
        """Trace of a side's centred RSM of norm 1."""
        return float(np.trace(a.values)) if a.is_rsm else square_norm(a.values)

    def compare(self, a: LinearSide, b: LinearSide) -> float:
        """CKA of two sides."""
        require_same_stimuli(len(a.values), len(b.values))
        if a.is_rsm and b.is_rsm:
            return super().compare(a.values, b.values)
        if a.is_rsm or b.is_rsm:
            (x, _), (k, _) = (b, a) if a.is_rsm else (a, b)
            # An RSM that is centred (U-centred) leaves out what is not of the other.
            return float(np.vdot(k @ x, x))
        value = square_norm(a.values.T @ b.values)
        return value if a.diagonal is None or b.diagonal is None else value - self.of_diagonals(a.diagonal, b.diagonal)


_linear = partial(
    _of_features,
    invariant_to=FORMS,
    complexity="O(n p min(n, p)); O(n min(n, p)^2)",
    reference=KORNBLITH,
    pair=LinearCka,
)


@_linear("linear_cka_debiased", **_debiased)
@_linear("linear_cka")
def linear_cka(X: Any, Y: Any, estimator: str = "biased") -> float:
    """CKA of the linear RSMs of two feature matrices, from whichever is cheaper for a side.

    |c(X)' c(Y)|_F^2 / (|c(X)' c(X)|_F |c(Y)' c(Y)|_F) for narrow features, the same from n x n RSMs for wide ones; for the
    debiased estimator the feature form subtracts what the zeroed diagonals contribute. In [0, 1] (biased) or [-1, 1] (debiased);
    NaN where one side is constant over the stimuli.

    Parameters
    ----------
    X, Y : array_like, shape (n, p) and (n, q)
        Features of the same stimuli.
    estimator : {"biased", "debiased"}
    """
    return LinearCka(estimator).between(X, Y)


class RbfCka(Cka):
    """`rbf_cka` in two parts."""

    def __init__(self, estimator: str = "biased", *, sigma: str | float = "offdiag_median", t: float = 1.0) -> None:
        super().__init__(estimator)
        self.sigma, self.t = sigma, t

    def prepare(self, X: Any, name: str = "the features") -> FloatArray:
        """The centred RBF RSM of norm 1, (n, n)."""
        return self.direction(rbf_rsm(as_float64(X, name), sigma=self.sigma, t=self.t))


_rbf = partial(_of_kernels, invariant_to=FORMS, reference=KORNBLITH, pair=RbfCka)


@_rbf("rbf_cka_debiased", **_debiased)
@_rbf("rbf_cka")
def rbf_cka(
    X: Any, Y: Any, estimator: str = "biased", *, sigma: str | float = "offdiag_median", t: float = 1.0
) -> float:
    """CKA of the RBF RSMs of two feature matrices; bandwidths as in `rbf_rsm`, one for each side.

    In [0, 1] (biased) or [-1, 1] (debiased). Invariant to isotropic scaling where sigma is a rule that scales. Raises as
    `rbf_rsm` and `cka` do.
    """
    return RbfCka(estimator, sigma=sigma, t=t).between(X, Y)


class CosineCka(Cka):
    """`cosine_cka` in two parts."""

    def prepare(self, X: Any, name: str = "the features") -> FloatArray:
        """The centred cosine RSM of norm 1, (n, n)."""
        u = unit_rows(as_float64(X, name), name)
        return self.direction(u @ u.T)


@_of_kernels(
    "cosine_cka",
    invariant_to=(*ROTATIONS, "isotropic_scaling", "row_scaling"),
    reference=KORNBLITH,
    pair=CosineCka,
)
def cosine_cka(X: Any, Y: Any, estimator: str = "biased") -> float:
    """CKA of the cosine RSMs of two feature matrices, in [0, 1] (biased) or [-1, 1] (debiased).

    Raises as `cosine_rsm` (zero rows) and `cka` do.
    """
    return CosineCka(estimator).between(X, Y)


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
    return float(_alignments(in_range(products, "HSIC of these batches"), in_range(raw, "HSIC of these batches"))[0, 1])


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
            require_same_ids(layers[0], layer, ("layers[0]", label))
            rsm = as_rsm(layer if make is None else make(as_float64(layer, label)), label)
            if rsms and len(rsm) != len(rsms[0]):
                raise ValueError(f"{label} has {len(rsm)} stimuli but layers[0] has {len(rsms[0])}")
            rsms.append(balanced(rsm)[0])
    require_stimuli(len(rsms[0]), least)
    products, raw = _inner_products(rsms, estimator)
    aligned = _alignments(products, raw)
    if estimator == "biased" and len(rsms) > 1:
        traces = np.array([np.trace(k) - k.mean() * len(k) for k in rsms]) / _norm(products.diagonal(), raw)
        chance = np.outer(traces, traces)[~np.eye(len(rsms), dtype=bool)] / (len(rsms[0]) - 1)
        _warn_of_chance(len(rsms[0]), float(np.fmax.reduce(chance)), 3)
    return aligned if others is None else aligned[: len(layers), len(layers) :]


def _warn_of_chance(n: int, chance: float, stacklevel: int) -> None:
    """MisleadingWarning where chance alone gives much of a biased value; the level is that of who called the public function.

    The text is the same for alike inputs, so that a loop over them shows it once.
    """
    if chance > _MOSTLY_CHANCE:
        floor = math.floor(10 * chance - 1e-9) / 10
        text = (
            f"biased CKA of {n} stimuli: where one side's stimuli are shuffled, more than {floor:.1f} "
            "comes out on average, whatever they show. There are too few stimuli for such wide representations: take more, or "
            "estimator='debiased'"
        )
        warnings.warn(text, MisleadingWarning, stacklevel=stacklevel)


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


def _norm(square: Any, raw: Any) -> Any:
    """Root of a squared norm; NaN where that is not above the rounding of what it was computed from."""
    with np.errstate(invalid="ignore"):
        return np.where(square > ROUNDING**2 * raw, np.sqrt(square), np.nan)


def _alignments(products: FloatArray, raw: FloatArray) -> FloatArray:
    norm = _norm(products.diagonal(), raw)
    return np.asarray(products / (norm[:, None] * norm))
