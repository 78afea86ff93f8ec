"""CKA of all RSMs with all RSMs, with what it would be had each image been left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval
from semrsm_bench.metrics import cka, cka_matrix, null_distribution
from semrsm_bench.progress import progress_bar

Matrix = NDArray[np.float64]

# Of the normal distribution, for an interval of 95 %.
_Z = 1.959963984540054
LEAST_IMAGES = 10


@dataclass(frozen=True)
class Estimate:
    """A figure that was computed from all images, and again with each image left out.

    Differences and means of such figures are taken in both parts, which makes their intervals paired.

    Attributes
    ----------
    value : float
    without : ndarray, (N,)
        The same with image i left out.
    """

    value: float
    without: Matrix

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.without - other.without)

    @staticmethod
    def mean(estimates: Sequence[Estimate]) -> Estimate:
        """Mean of several; NaN of none."""
        if not estimates:
            return Estimate(float("nan"), np.full(1, np.nan))
        return Estimate(float(np.mean([e.value for e in estimates])), np.mean([e.without for e in estimates], axis=0))

    @property
    def interval(self) -> Interval:
        """95 % interval from the jackknife over images.

        The variance is (N - 1) / N sum_i (without_i - mean)^2. HSIC is a U-statistic of the images, for which this is
        consistent (Arvesen 1969). A bootstrap is not used: it draws images twice, and the pair of an image with itself is the
        most similar one in every RSM, which raises every CKA.
        """
        n = len(self.without)
        spread = self.without - self.without.mean()
        half = _Z * float(np.sqrt((n - 1) / n * (spread @ spread)))
        return Interval(self.value, self.value - half, self.value + half)


@dataclass(frozen=True)
class AllCka:
    """CKA of R RSMs with each other.

    Attributes
    ----------
    values : ndarray, (R, R)
    without : ndarray, (N, R, R)
    """

    values: Matrix
    without: Matrix

    def __getitem__(self, pair: tuple[int, int]) -> Estimate:
        return Estimate(float(self.values[pair]), self.without[:, pair[0], pair[1]])


def all_cka(rsms: Sequence[Matrix], estimator: str, *, quiet: bool = False) -> AllCka:
    """CKA of all with all, from all images and with each left out.

    Parameters
    ----------
    rsms : sequence of ndarray, (N, N)
    estimator : {"biased", "debiased"}

    Raises
    ------
    ValueError
        Fewer than ten images, and as `cka_matrix` does.
    """
    count = len(rsms[0])
    if count < LEAST_IMAGES:
        raise ValueError(f"at least {LEAST_IMAGES} images are needed, there are {count}")
    values = cka_matrix(rsms, estimator=estimator)
    stack = np.stack(rsms)
    without = np.empty((count, *values.shape))
    with progress_bar(count, "leaving images out", unit="image", quiet=quiet) as bar:
        for i in range(count):
            kept = np.delete(np.delete(stack, i, axis=1), i, axis=2)
            without[i] = cka_matrix(list(kept), estimator=estimator)
            bar.update()
    return AllCka(values, without)


def chance_level(pairs: Sequence[tuple[Matrix, Matrix]], estimator: str, draws: int, seed: int = 0) -> float:
    """95th percentile of the mean CKA of several pairs of RSMs once the images of the second are reordered at random.

    All pairs see the same reorderings.
    """
    metric = partial(cka, estimator=estimator)
    null = np.mean([null_distribution(metric, first, second, n=draws, seed=seed) for first, second in pairs], axis=0)
    return float(np.quantile(null, 0.95))


def negative_share(rsm: Matrix) -> float:
    """Most negative eigenvalue of the centred RSM over the largest in size; 0 where it is positive semi-definite.

    Raises
    ------
    ValueError
        The RSM is constant once centred.
    """
    centred = rsm - rsm.mean(0) - rsm.mean(1)[:, None] + rsm.mean()
    eigenvalues = np.linalg.eigvalsh(centred)
    largest = float(np.abs(eigenvalues).max())
    if largest == 0:
        raise ValueError("the RSM is constant, so that nothing is left of it once it is centred")
    # Centring leaves one eigenvalue of 0, which rounding makes one of either sign.
    least = float(eigenvalues[0]) / largest
    return least if least < -1e-12 else 0.0
