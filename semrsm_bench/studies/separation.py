"""How well an RSM tells pairs of crops that overlap from pairs that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from semrsm_bench.bench.stats import Interval, mean_interval
from semrsm_bench.metrics.arrays import as_rsm

Matrix = NDArray[np.float64]

# No matching and no positions: what is left when each channel is averaged. Also blind to where things are, at no cost.
POOLED = "mean over positions"


def auroc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Probability that a positive value exceeds a negative one, ties counted half: the area under the ROC curve.

    Parameters
    ----------
    positive, negative : array_like, (n,) and (m,)

    Returns
    -------
    float
        In [0, 1]; 0.5 for equal distributions. Invariant to strictly increasing functions of all values.

    Raises
    ------
    ValueError
        One of the two is empty, or a value is NaN.
    """
    high, low = (np.asarray(values, dtype=np.float64).ravel() for values in (positive, negative))
    if not high.size or not low.size:
        raise ValueError(f"AUROC needs positive and negative values, got {high.size} and {low.size}")
    both = np.concatenate([high, low])
    if np.isnan(both).any():
        raise ValueError("AUROC is not defined for NaN")
    ranks = rankdata(both)[: high.size]
    return float((ranks.sum() - high.size * (high.size + 1) / 2) / (high.size * low.size))


def crop_pairs(pictures: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Rows, columns and "of the same picture" of all pairs i < j among the 2 n crops of n pictures, first crops first."""
    rows, columns = np.triu_indices(2 * pictures, 1)
    return rows, columns, columns - rows == pictures


def found_partners(rsm: Matrix) -> NDArray[np.bool_]:
    """Whether the other crop of the same picture is the most similar of all, by itself, for each of the 2 n crops."""
    count = len(rsm)
    partner = (np.arange(count) + count // 2) % count
    others = rsm.copy()
    np.fill_diagonal(others, -np.inf)
    mine = others[np.arange(count), partner]
    others[np.arange(count), partner] = -np.inf
    return np.asarray(mine > others.max(axis=1))


@dataclass(frozen=True)
class Separation:
    """Similarities of overlapping and of unrelated pairs over several batches.

    Attributes
    ----------
    overlapping, unrelated : ndarray
        Of all batches.
    per_batch : ndarray, (batches,)
        AUROC inside each batch.
    partners : float
        Share of crops whose most similar crop is the one that overlaps with it.
    seed : int
        Of the bootstrap.
    """

    overlapping: Matrix
    unrelated: Matrix
    per_batch: Matrix
    partners: float
    seed: int = 0

    @property
    def auroc(self) -> Interval:
        """Mean over the batches, with a bootstrap interval over batches: pairs inside one share pictures, batches do not."""
        return mean_interval(self.per_batch, seed=self.seed)

    def minus(self, other: Separation) -> Interval:
        """Difference of the AUROC to that of another RSM of the same batches, paired by batch."""
        if self.per_batch.shape != other.per_batch.shape:
            raise ValueError(f"{len(self.per_batch)} batches cannot be compared with {len(other.per_batch)}")
        return mean_interval(self.per_batch - other.per_batch, seed=self.seed)


def separate(rsms: Sequence[ArrayLike], seed: int = 0) -> Separation:
    """How well RSMs of batches separate overlapping from unrelated pairs.

    Parameters
    ----------
    rsms : sequence of array_like, (2 n, 2 n)
        One a batch, symmetric; crop n + i overlaps with crop i. The diagonal is not looked at.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        No RSM, one that is not symmetric, not finite, or not of an even number of crops of at least two pictures.
    """
    if not len(rsms):
        raise ValueError("there is no RSM")
    overlapping, unrelated, values, partners = [], [], [], []
    for rsm in rsms:
        matrix = as_rsm(rsm, "rsm")
        if len(matrix) % 2 or len(matrix) < 4:
            raise ValueError(f"two crops each of at least two pictures make an even RSM, got {matrix.shape}")
        rows, columns, same = crop_pairs(len(matrix) // 2)
        similarity = matrix[rows, columns]
        overlapping.append(similarity[same])
        unrelated.append(similarity[~same])
        values.append(auroc(similarity[same], similarity[~same]))
        partners.append(found_partners(matrix))
    return Separation(
        np.concatenate(overlapping),
        np.concatenate(unrelated),
        np.array(values),
        float(np.concatenate(partners).mean()),
        seed,
    )
