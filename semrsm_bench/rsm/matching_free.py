"""RSM methods without a matching: invariant to the order of positions by construction, at a fraction of the cost; and the random
baseline, which must lose.

``x`` and ``y`` are images (C, S), ``A = x' y`` their affinity (S, S); methods that make a vector of each image never form it. Each
gives the linear RSM; its cosine is ``K_ij / sqrt(K_ii K_jj)`` with the method's own K_ii.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dsfrk, dtfttr

from semrsm_bench.core.compiled import njit
from semrsm_bench.core.method import OWN_DISTRIBUTION
from semrsm_bench.rsm.registry import RSMS, RsmMethod, register_rsm

Image = NDArray[Any]
Matrix = NDArray[np.float64]

# Entries of affinity that are made at a time: they stay in the cache.
_ENTRIES = 2**18
# Sinkhorn's steps are this much longer than what would make the sums 1, and end where these are within so much of it.
_RELAXED, _ROW_SUMS = 1.5, 1e-5
_ANY_ORDER = ("permutation", "translation")


@register_rsm("pooled", invariant_to=_ANY_ORDER, complexity="O(SC)", vectors=True)
def pooled(image: Image) -> NDArray[np.float64]:
    """Inner product of the images' mean position vectors, times S: what a random matching gives on average.

    ``<sum_s x_s, sum_s y_s> / S``; of each image the vector (C,) of its sums over sqrt(S).
    """
    return np.asarray(image.sum(axis=1, dtype=np.float64) / np.sqrt(image.shape[1]))


@register_rsm(
    "second-moment-unit", invariant_to=_ANY_ORDER, complexity="O(SC^2) an image, O(C^2) a pair", vectors=True, unit=True
)
@register_rsm("second-moment", invariant_to=_ANY_ORDER, complexity="O(SC^2) an image, O(C^2) a pair", vectors=True)
def second_moment(image: Image, *, unit: bool = False, sketch: int = 0, seed: int = 0) -> NDArray[np.float64]:
    """Inner product of the second moments, ``<x x', y y'> = |x' y|_F^2``: the sum of all squared affinities.

    Parameters
    ----------
    image : ndarray, (C, S)
    unit : bool
        Scale every position vector to norm 1 first; zeros stay zeros.
    sketch : int
        0: exact, a vector of C (C + 1) / 2 numbers. m > 0: m numbers ``(x' g) . (x' h)`` for Gaussian vectors g, h, whose inner
        product is unbiased with a standard error of at most 3 |x x'| |y y'| / sqrt(m): for C in the thousands.
    seed : int
        Of the Gaussian vectors, the same for all images.
    """
    x = image.astype(np.float64)
    if unit:
        norms = np.linalg.norm(x, axis=0)
        x = x / np.where(norms > 0, norms, 1.0)
    if sketch:
        g, h = _gaussians(seed, len(x), sketch)
        return np.asarray(np.einsum("ms,ms->m", g @ x, h @ x) / np.sqrt(sketch))
    # The triangle of x x' in the order of LAPACK's rectangular full packed format: one syrk, and nothing to gather.
    channels, size = x.shape
    rows = x.flags.c_contiguous
    packed = np.empty(channels * (channels + 1) // 2)
    packed = dsfrk(
        channels, size, 2**0.5, x.T if rows else x, 0.0, packed, trans="T" if rows else "N", overwrite_c=True
    )
    packed[_diagonal(channels)] /= 2**0.5
    return np.asarray(packed)


@lru_cache(maxsize=4)
def _diagonal(channels: int) -> NDArray[np.intp]:
    """Where the packed format keeps the diagonal."""
    places = np.arange(1.0, channels * (channels + 1) // 2 + 1)
    return np.diagonal(dtfttr(channels, places)[0]).astype(np.intp) - 1


@lru_cache(maxsize=2)
def _gaussians(seed: int, channels: int, count: int) -> Any:
    return np.random.default_rng([seed, channels, count]).standard_normal((2, count, channels))


@register_rsm("sliced", invariant_to=_ANY_ORDER, complexity="O(m S (C + log S)) an image, O(mS) a pair", vectors=True)
def sliced(image: Image, *, directions: int = 64, seed: int = 0) -> NDArray[np.float64]:
    """Best matching along random directions, each for itself: positions projected and sorted.

    The mean over unit vectors r of the inner product of the sorted ``r' x`` and ``r' y``, times C. Over all r it is at least the
    semantic RSM's entry: each direction's order is optimal for it, and the mean of ``(r' x_i)(r' y_j)`` is ``x_i . y_j / C``.

    Parameters
    ----------
    image : ndarray, (C, S)
    directions, seed : int
        How many, and which: the same for all images.
    """
    channels = len(image)
    r = _gaussians(seed, channels, directions)[0]
    r = r / np.linalg.norm(r, axis=1, keepdims=True)
    ordered = np.sort(r @ image.astype(np.float64), axis=1)
    return np.asarray(ordered.ravel() * np.sqrt(channels / directions))


def _affinities(z: Image, z2: Image) -> Iterator[tuple[int, slice, slice, Image]]:
    """Affinities in the cache: index of an image, which others, which of its rows, and (m, rows, S) that is good for one step."""
    size = z.shape[2]
    rows = max(1, min(size, _ENTRIES // size))
    together = max(1, _ENTRIES // size**2)
    room = np.empty((min(together, len(z2)), rows, size), dtype=z.dtype)
    for i, image in enumerate(z):
        for start in range(0, len(z2), together):
            others = slice(start, min(start + together, len(z2)))
            for top in range(0, size, rows):
                part = slice(top, min(top + rows, size))
                out = room[: others.stop - start, : part.stop - top]
                yield i, others, part, np.matmul(image.T[part], z2[others], out=out)


@register_rsm("chamfer", invariant_to=_ANY_ORDER, complexity="O(S^2 C)", releases_gil=True)
def chamfer(z: Image, z2: Image) -> Matrix:
    """Every position with the best of the other image, not one to one: mean of both directions.

    ``(sum_i max_j A_ij + sum_j max_i A_ij) / 2``, for z (N, C, S) and z2 (M, C, S); (N, M). At least the semantic RSM's entry.
    """
    found = np.zeros((len(z), len(z2)))
    best = np.empty(0)
    for i, others, part, a in _affinities(z, z2):
        best = np.maximum(best, a.max(axis=1)) if part.start else a.max(axis=1)
        found[i, others] += a.max(axis=2).sum(axis=1, dtype=np.float64)
        if part.stop == z.shape[2]:
            found[i, others] += best.sum(axis=1, dtype=np.float64)
    return found / 2


@register_rsm("set-rbf", invariant_to=_ANY_ORDER, complexity="O(S^2 C)", releases_gil=True)
def set_rbf(z: Image, z2: Image, *, t: float = 1.0) -> Matrix:
    """Mean of an RBF kernel over all pairs of positions, times S: ``sum_ij exp(-|x_i - y_j|^2 / (2 sigma^2)) / S``.

    sigma^2 is t^2 times half the sum of the two images' mean squared norms of positions; where both are zero the kernel is 1.

    Parameters
    ----------
    z, z2 : ndarray, (N, C, S) and (M, C, S)
    t : float
        Positive.
    """
    if not t > 0:
        raise ValueError(f"t must be positive, got {t}")
    found = np.zeros((len(z), len(z2)))
    squares, squares2 = (np.einsum("ncs,ncs->ns", side, side, dtype=np.float64) for side in (z, z2))
    for i, others, part, a in _affinities(z, z2):
        mine, theirs = squares[i], squares2[others][:, None, :]
        width = t**2 * (mine.mean() + theirs.mean(axis=2, keepdims=True))  # twice sigma^2
        width[width == 0.0] = 1.0
        a *= (2.0 / width).astype(a.dtype)
        a -= (mine[part, None] / width).astype(a.dtype)
        a -= (theirs / width).astype(a.dtype)
        np.minimum(a, 0.0, out=a)
        found[i, others] += np.exp(a, out=a).sum(axis=(1, 2), dtype=np.float64)
    found /= z.shape[2]
    return found


@register_rsm("set-polynomial", invariant_to=_ANY_ORDER, complexity="O(S^2 C)", releases_gil=True)
def set_polynomial(z: Image, z2: Image, *, degree: int = 3) -> Matrix:
    """Mean of a polynomial kernel over all pairs of positions, times S: ``sum_ij (1 + x_i . y_j)^degree / S``.

    Each image is first divided by the root of its positions' mean squared norm; one of zeros stays so, and its kernel is 1. It
    compares all moments up to the degree.

    Parameters
    ----------
    z, z2 : ndarray, (N, C, S) and (M, C, S)
    degree : int
        Positive.
    """
    if degree < 1 or degree != int(degree):
        raise ValueError(f"degree must be a positive integer, got {degree}")
    found = np.zeros((len(z), len(z2)))
    roots, roots2 = (np.sqrt(np.einsum("ncs,ncs->n", side, side, dtype=np.float64) / z.shape[2]) for side in (z, z2))
    inverse, inverse2 = (np.divide(1.0, r, out=np.zeros_like(r), where=r > 0).astype(z.dtype) for r in (roots, roots2))
    for i, others, _, a in _affinities(z, z2):
        a *= inverse[i]
        a *= inverse2[others, None, None]
        a += 1
        power = a.copy()
        for _ in range(int(degree) - 1):
            power *= a
        found[i, others] += power.sum(axis=(1, 2), dtype=np.float64)
    found /= z.shape[2]
    return found


@register_rsm(
    "sinkhorn",
    invariant_to=_ANY_ORDER,
    complexity="O(S^2 (C + iterations))",
    reference="Cuturi, NeurIPS 2013; over-relaxed as by Thibault et al., Algorithms 2021",
    releases_gil=True,
)
def sinkhorn(z: Image, z2: Image, *, eps: float = 0.1, iterations: int = 200) -> Matrix:
    """Inner product of the affinity with a soft matching: ``sum P * A`` with P doubly stochastic.

    P maximises ``sum P * A + w H(P)`` with the entropy H and w = eps rms(A), or a 600th of A's range where that is more (so that no
    number leaves float64): between `pooled`, for large eps, and the semantic RSM.

    Parameters
    ----------
    z, z2 : ndarray, (N, C, S) and (M, C, S)
    eps : float
        Regularisation in units of the affinity's root mean square; the smaller, the nearer to a matching and the slower.
    iterations : int
        At most; it stops where row sums are within 1e-5 of 1 on average, the column sums being 1.
    """
    if not eps > 0 or iterations < 1:
        raise ValueError(f"eps must be positive and iterations at least 1, got {eps} and {iterations}")
    return np.array([[_soft_value(x.T @ y, eps, iterations) for y in z2] for x in z])


def _soft_value(affinity: Image, eps: float, iterations: int) -> float:
    largest = float(np.abs(affinity).max())
    if largest == 0.0:
        return 0.0
    a = affinity / np.float64(largest)
    squares = a * a
    width = max(eps * float(np.sqrt(squares.mean())), float(np.ptp(a)) / 600)
    # The columns are normalised last. Which image they belong to depends on the numbers alone, so that the order of the two does
    # not matter; where the numbers say nothing it is both.
    rows, columns = (float(np.square(squares.sum(axis=axis)).sum()) for axis in (1, 0))
    ways = [a, a.T] if abs(rows - columns) <= 1e-9 * rows else [a if rows > columns else a.T]
    ways = [np.ascontiguousarray(way) for way in ways]
    return largest * sum(_columns_last(way, width, iterations) for way in ways) / len(ways)


def _columns_last(a: Image, width: float, iterations: int) -> float:
    """The value once the columns of P sum to 1, and its rows nearly."""
    highest = a.max(axis=1)
    # Of every row and column the largest entry becomes 1.
    kernel = np.exp((a - highest[:, None]) / width)
    v = 1.0 / kernel.max(axis=0)
    u = np.ones(len(a))
    _scale(kernel, u, v, iterations)
    return float(u @ (kernel * a) @ v)


@njit(fastmath={"reassoc", "nsz", "contract"})
def _scale(kernel: Matrix, u: NDArray[np.float64], v: NDArray[np.float64], iterations: int) -> None:
    """Change u and v until ``u kernel v`` is doubly stochastic, its columns exactly; one pass over the kernel a step."""
    size = len(kernel)
    relaxed, least = _RELAXED, np.inf
    sums = np.empty(size)
    for done in range(iterations + 2):
        step = relaxed if done > 2 else 1.0
        wrong = 0.0
        sums[:] = 0.0
        for i in range(size):
            row = 0.0
            for j in range(size):
                row += kernel[i, j] * v[j]
            wrong += abs(u[i] * row - 1.0)
            u[i] = 1.0 / row if step == 1.0 else u[i] / (u[i] * row) ** step
            for j in range(size):
                sums[j] += u[i] * kernel[i, j]
        last = done == iterations + 1 or (done > 0 and wrong < _ROW_SUMS * size)
        if last or step == 1.0:
            for j in range(size):
                v[j] = 1.0 / sums[j]
        else:
            for j in range(size):
                v[j] /= (v[j] * sums[j]) ** step
        if last:
            return
        if done > 0 and wrong > 4.0 * least:
            relaxed = 1.0
        if done > 0:
            least = min(least, wrong)


def triangle(image: Image) -> Matrix:
    """R (min(S, C), C) of the positions' QR decomposition: the same inner products of channels."""
    return np.asarray(np.linalg.qr(image.T.astype(np.float64), mode="r"))


@register_rsm(
    "bures", invariant_to=_ANY_ORDER, complexity="O(C^3)", prepare=triangle, reference="Bures 1969; Uhlmann fidelity"
)
def bures(a: Matrix, b: Matrix) -> float:
    """Fidelity of the second moments: ``tr (M^1/2 N M^1/2)^1/2 = |A|_*``, the sum of the affinity's singular values.

    The largest ``tr Q A`` over all orthogonal Q, and so at least the semantic RSM's entry; its cosine is the normalised Bures
    similarity, whose K_ii are the squared norms.
    """
    return float(np.linalg.svd(a @ b.T, compute_uv=False).sum())


def image_digest(image: NDArray[Any]) -> bytes:
    """Digest of an image's activations (C, S)."""
    return hashlib.blake2b(np.ascontiguousarray(image, dtype=np.float64).data, digest_size=8).digest()


def random_similarity(a: bytes, b: bytes, *, seed: int = 0) -> float:
    """A random number for each pair of images, in [-1, 1), and 1 for an image with itself.

    It depends on the two images and the seed alone, and not on their order.
    """
    if a == b:
        return 1.0
    mixed = hashlib.blake2b(b"".join(sorted((a, b))), digest_size=8, salt=seed.to_bytes(8, "little"))
    return int.from_bytes(mixed.digest(), "little") / 2.0**63 - 1.0


_RANDOM: dict[str, Any] = {"complexity": "O(SC)", "category": "baseline", "distribution": OWN_DISTRIBUTION}
RSMS.add([RsmMethod("random", random_similarity, prepare=image_digest, **_RANDOM)])
