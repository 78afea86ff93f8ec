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

from semrsm_bench.core.method import OWN_DISTRIBUTION
from semrsm_bench.rsm.registry import RSMS, RsmMethod, register_rsm

Image = NDArray[Any]
Matrix = NDArray[np.float64]

# Entries of affinity that are made at a time: they stay in the cache.
_ENTRIES = 2**20
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
    x = np.ascontiguousarray(image, dtype=np.float64)
    if unit:
        norms = np.linalg.norm(x, axis=0)
        x = x / np.where(norms > 0, norms, 1.0)
    if sketch:
        g, h = _gaussians(seed, len(x), sketch)
        return np.asarray(np.einsum("ms,ms->m", g @ x, h @ x) / np.sqrt(sketch))
    moment = x @ x.T
    rows, columns = _upper(len(x))
    moment *= np.sqrt(2.0)
    moment[np.diag_indices(len(x))] /= np.sqrt(2.0)
    return np.asarray(moment[rows, columns])


@lru_cache(maxsize=2)
def _upper(channels: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(channels)


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


def _affinities(z: Image, z2: Image) -> Iterator[tuple[int, slice, Image]]:
    """Affinities (m, S, S) of an image with some of the others at a time: its index, theirs, and the matrices."""
    together = max(1, _ENTRIES // z.shape[2] ** 2)
    for i, image in enumerate(z):
        for start in range(0, len(z2), together):
            others = slice(start, start + together)
            yield i, others, np.matmul(image.T, z2[others])


@register_rsm("chamfer", invariant_to=_ANY_ORDER, complexity="O(S^2 C)")
def chamfer(z: Image, z2: Image) -> Matrix:
    """Every position with the best of the other image, not one to one: mean of both directions.

    ``(sum_i max_j A_ij + sum_j max_i A_ij) / 2``, for z (N, C, S) and z2 (M, C, S); (N, M). At least the semantic RSM's entry.
    """
    found = np.empty((len(z), len(z2)))
    for i, others, a in _affinities(z, z2):
        sums = [a.max(axis=axis).sum(axis=1, dtype=np.float64) for axis in (1, 2)]
        found[i, others] = (sums[0] + sums[1]) / 2
    return found


@register_rsm("set-rbf", invariant_to=_ANY_ORDER, complexity="O(S^2 C)")
def set_rbf(z: Image, z2: Image, *, t: float = 1.0) -> Matrix:
    """Mean of an RBF kernel over all pairs of positions, times S: ``sum_ij exp(-|x_i - y_j|^2 / (2 sigma^2)) / S``.

    sigma^2 is t^2 times the mean squared norm of the positions of the two images; where both are zero the kernel is 1.

    Parameters
    ----------
    z, z2 : ndarray, (N, C, S) and (M, C, S)
    t : float
        Positive.
    """
    if not t > 0:
        raise ValueError(f"t must be positive, got {t}")
    found = np.empty((len(z), len(z2)))
    squares, squares2 = (np.einsum("ncs,ncs->ns", side, side, dtype=np.float64) for side in (z, z2))
    for i, others, a in _affinities(z, z2):
        mine, theirs = squares[i][:, None], squares2[others][:, None, :]
        scale = t**2 * (mine.mean() + theirs.mean(axis=2, keepdims=True))  # twice sigma^2
        distances = np.maximum(mine + theirs - 2.0 * a, 0.0) / np.where(scale > 0, scale, 1.0)
        found[i, others] = np.exp(-distances).sum(axis=(1, 2)) / z.shape[2]
    return found


@register_rsm(
    "sinkhorn", invariant_to=_ANY_ORDER, complexity="O(S^2 (C + iterations))", reference="Cuturi, NeurIPS 2013"
)
def sinkhorn(z: Image, z2: Image, *, eps: float = 0.1, iterations: int = 200) -> Matrix:
    """Inner product of the affinity with a soft matching: ``sum P * A`` with P doubly stochastic.

    P maximises ``sum P * A + w H(P)`` with the entropy H and w = eps rms(A), or a 600th of A's range where that is more (so that no
    number leaves float64). Mean of what rows and columns normalised last give: the order of the images does not matter.

    Parameters
    ----------
    z, z2 : ndarray, (N, C, S) and (M, C, S)
    eps : float
        Regularisation in units of the affinity's root mean square; the smaller, the nearer to a matching and the slower.
    iterations : int
        At most; it stops where row sums are within 1e-4 of 1.
    """
    if not eps > 0 or iterations < 1:
        raise ValueError(f"eps must be positive and iterations at least 1, got {eps} and {iterations}")
    found = np.empty((len(z), len(z2)))
    for i, others, batch in _affinities(z, z2):
        for j, a in zip(range(*others.indices(len(z2))), batch, strict=True):
            found[i, j] = (_soft_value(a, eps, iterations) + _soft_value(a.T, eps, iterations)) / 2
    return found


def _soft_value(affinity: Image, eps: float, iterations: int) -> float:
    """The inner product with the columns of P normalised last."""
    a = affinity.astype(np.float64)
    width = max(eps * np.sqrt(np.mean(a**2)), np.ptp(a) / 600)
    if width == 0.0:
        return 0.0
    kernel = np.exp((a - a.max(axis=1, keepdims=True)) / width)
    v = np.ones(len(a))
    for _ in range(iterations):
        u = 1.0 / (kernel @ v)
        v = 1.0 / (u @ kernel)
        if np.abs(u * (kernel @ v) - 1.0).max() < 1e-4:
            break
    return float(u @ (kernel * a) @ v)


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
