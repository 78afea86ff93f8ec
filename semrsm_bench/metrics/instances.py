"""Similarity of single stimuli across aligned models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semrsm_bench.metrics.arrays import FloatArray, as_features, one_of
from semrsm_bench.metrics.kernels import unit_rows

KINDS = ("pairwise_cosine", "dispersion", "barycenter_cosine", "leave_one_out_cosine")


def instance_similarity(aligned: Sequence[Any], kind: str = "pairwise_cosine") -> FloatArray:
    """How alike aligned models represent each stimulus.

    With a_k the row of model k for a stimulus and m the mean of these rows:

    ``pairwise_cosine``
        Mean of cos(a_k, a_l) over all pairs k < l. In [-1 / (K - 1), 1].
    ``dispersion``
        Mean of |a_k - m|^2 over models: a distance, 0 for agreement. In [0, inf).
    ``barycenter_cosine``
        Mean of cos(a_k, m). In [0, 1] where all rows have the same length, in [-1, 1] in general.
    ``leave_one_out_cosine``
        Mean of cos(a_k, mean of the other rows). In [-1, 1].

    Parameters
    ----------
    aligned : sequence of array_like, shape (m, d)
        K >= 2 models as `Barycenter.transform` returns them, best of stimuli that the fit did not see: on its own training
        stimuli an alignment finds agreement in noise.
    kind : str
        One of the four.

    Returns
    -------
    ndarray, shape (m,)
        One value per stimulus. Invariant to one rotation of all models together; the cosines to one common scaling.

    Raises
    ------
    ValueError
        For fewer than two models or models of different shape; for the cosines where a row, or a mean of rows, is zero.
    """
    one_of(kind, KINDS, "kind")
    if len(aligned) < 2:
        raise ValueError(f"instance similarity needs at least two models; got {len(aligned)}")
    models = np.stack(_same_shape([as_features(a, f"aligned[{k}]") for k, a in enumerate(aligned)]))
    count = len(models)
    total = models.sum(axis=0)
    if kind == "dispersion":
        return np.asarray(np.square(models - total / count).sum(axis=(0, 2)) / count)
    units = np.stack([unit_rows(model, f"aligned[{k}]") for k, model in enumerate(models)])
    if kind == "pairwise_cosine":
        # |sum of unit rows|^2 holds every pair twice and K ones.
        together = np.square(units.sum(axis=0)).sum(axis=1)
        return np.asarray((together - count) / (count * (count - 1)))
    if kind == "barycenter_cosine":
        mean = unit_rows(total, "the mean of the models")
        return np.asarray(np.einsum("kij,ij->i", units, mean) / count)
    # Sums from both ends, not total minus one's own, which would leave rounding where the others cancel.
    after = np.concatenate([np.cumsum(models[:0:-1], axis=0)[::-1], np.zeros_like(models[:1])])
    before = np.zeros_like(models[0])
    result = np.zeros(models.shape[1])
    for k in range(count):
        others = unit_rows(before + after[k], f"the mean of all models but aligned[{k}]")
        result += np.einsum("ij,ij->i", units[k], others)
        before += models[k]
    return result / count


def _same_shape(models: list[FloatArray]) -> list[FloatArray]:
    for k, model in enumerate(models):
        if model.shape != models[0].shape:
            raise ValueError(
                f"aligned[{k}] has shape {model.shape} but aligned[0] has {models[0].shape}; align them with Barycenter"
            )
    return models
