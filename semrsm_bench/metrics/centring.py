"""Inner products of centred and U-centred RSMs, which HSIC and CKA are made of."""

from __future__ import annotations

import numpy as np

from semrsm_bench.metrics.arrays import FloatArray, square_norm

_BLOCK_ENTRIES = 2**15
_STACK_ENTRIES = 2**18


def _offsets(k: FloatArray, debiased: bool) -> FloatArray:
    """Vector u such that ``k - u 1' - 1 u'`` is the centred (or, off the diagonal, the U-centred) RSM; of a stack one each."""
    n = k.shape[-1]
    if debiased:
        sums = k.sum(axis=-1) - np.diagonal(k, axis1=-2, axis2=-1)
        return np.asarray(sums / (n - 2) - sums.sum(axis=-1, keepdims=True) / (2 * (n - 1) * (n - 2)))
    means = k.mean(axis=-1)
    return np.asarray(means - means.mean(axis=-1, keepdims=True) / 2)


def _centre_rows(k: FloatArray, u: FloatArray, start: int, stop: int, debiased: bool, out: FloatArray) -> None:
    np.subtract(k[..., start:stop, :], u[..., start:stop, None], out=out)
    out -= u[..., None, :]
    if debiased:
        out[..., np.arange(stop - start), np.arange(start, stop)] = 0.0


def inner_products(k: FloatArray, l: FloatArray, debiased: bool) -> tuple[float, float, float, float, float]:  # noqa: E741
    """<K, L>, <K, K>, <L, L> of the centred RSMs, and |K|^2, |L|^2 of the RSMs as given.

    A few rows at a time, so that what is centred stays in the cache and no n x n temporary is made.
    """
    n = len(k)
    u, v = _offsets(k, debiased), _offsets(l, debiased)
    step = max(1, min(n, _BLOCK_ENTRIES // n))
    a, b = np.empty((step, n)), np.empty((step, n))
    totals = np.zeros(5)
    for start in range(0, n, step):
        stop = min(n, start + step)
        rows = stop - start
        _centre_rows(k, u, start, stop, debiased, a[:rows])
        _centre_rows(l, v, start, stop, debiased, b[:rows])
        x, y = a[:rows].ravel(), b[:rows].ravel()
        totals += [float(x @ y), float(x @ x), float(y @ y), square_norm(k[start:stop]), square_norm(l[start:stop])]
    kl, kk, ll, raw_k, raw_l = totals.tolist()
    return kl, kk, ll, raw_k, raw_l


def stacked_inner_products(k: FloatArray, l: FloatArray, debiased: bool) -> FloatArray:  # noqa: E741
    """The five numbers of `inner_products` for every pair of two stacks of shape (batches, n, n); shape (5, batches)."""
    a, b = np.empty(k.shape), np.empty(l.shape)
    for stack, out in ((k, a), (l, b)):
        _centre_rows(stack, _offsets(stack, debiased), 0, stack.shape[1], debiased, out)
    return np.stack([np.einsum("bij,bij->b", x, y) for x, y in ((a, b), (a, a), (b, b), (k, k), (l, l))])


def all_inner_products(rsms: list[FloatArray], debiased: bool) -> tuple[FloatArray, FloatArray]:
    """Gram matrix of all centred RSMs, and their squared norms before centring."""
    n, count = len(rsms[0]), len(rsms)
    offsets = [_offsets(k, debiased) for k in rsms]
    step = max(1, min(n, _STACK_ENTRIES // (n * count)))
    stack = np.empty((count, step, n))
    products = np.zeros((count, count))
    for start in range(0, n, step):
        stop = min(n, start + step)
        for layer, (k, u) in enumerate(zip(rsms, offsets, strict=True)):
            _centre_rows(k, u, start, stop, debiased, stack[layer, : stop - start])
        rows = stack[:, : stop - start].reshape(count, -1)
        products += rows @ rows.T
    return products, np.array([square_norm(k) for k in rsms])
