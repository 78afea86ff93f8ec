"""What CKA gives for representations that share nothing, and what a permutation null makes of it: the picture of docs/metrics.md.

Left: linear CKA of independent Gaussians over their width, against sqrt(pq / ((n-1+p)(n-1+q))). Right: features of 1000 units
and 100 stimuli of which a tenth of the variance is shared, or none, before their nulls.
"""

import sys
import warnings
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from semrsm_bench import MisleadingWarning
from semrsm_bench.metrics import linear_cka, significance

warnings.simplefilter("ignore", MisleadingWarning)  # it is what the picture shows

ESTIMATORS = {"biased": "#0072b2", "debiased": "#d55e00"}
STIMULI, WIDTHS, DRAWS = {50: "o", 100: "^", 400: "s"}, (5, 10, 30, 100, 300, 1000, 3000), 8


def related(n=100, p=1000, shared=0.0):
    """Two wide Gaussian representations of which a part of the variance comes from ten common directions."""
    rng = np.random.default_rng(0)
    latent = np.sqrt(shared / 10) * rng.standard_normal((n, 10))
    return [latent @ rng.standard_normal((10, p)) + np.sqrt(1 - shared) * rng.standard_normal((n, p)) for _ in "XY"]


def main(out):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.6), layout="constrained")
    for n, marker in STIMULI.items():
        grid = np.geomspace(WIDTHS[0], WIDTHS[-1], 100)
        left.plot(grid, grid / (n - 1 + grid), color="#8a8a8a", lw=1, zorder=1)
        for estimator, colour in ESTIMATORS.items():
            values = []
            for p in WIDTHS:
                rng = np.random.default_rng([0, n, p])
                values.append([linear_cka(*rng.standard_normal((2, n, p)), estimator) for _ in range(DRAWS)])
            left.errorbar(WIDTHS, np.mean(values, 1), np.std(values, 1), fmt=marker, ms=4, color=colour,
                          label=f"{estimator}, n = {n}")  # fmt: skip
    left.set(xscale="log", xlabel="units on each side", ylabel="linear CKA", title="Independent Gaussian features")
    left.legend(fontsize=7, frameon=False)
    labels = []
    for shared in (0.0, 0.1):
        for estimator, colour in ESTIMATORS.items():
            metric = partial(linear_cka, estimator=estimator)
            test = significance(metric, *related(shared=shared), n=500)
            place = len(labels)
            right.plot([test.null.min(), test.null.max()], [place, place], color=colour, lw=14, alpha=0.3)
            right.plot(test.value, place, "o", ms=5, color=colour)
            text = f"p = {test.p_value:.2g}, calibrated {test.score:.2f}"
            right.annotate(text, (test.value, place), (0, 10), textcoords="offset points", fontsize=7,
                           ha="right" if test.value > 0.5 else "left")  # fmt: skip
            labels.append(f"{shared:.0%} shared,\n{estimator}")
            print(f"{labels[-1]:<24}".replace("\n", " "), f"{test.value:.4f}, null mean {test.null.mean():.4f}, {text}")
    right.set_yticks(range(len(labels)), labels)
    right.set(xlabel="linear CKA", xlim=(-0.1, 1.02), ylim=(-0.5, 3.7), title="Observed (dot) and its null (bar)")
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "null_cka.png")
