"""What CKA gives for representations that share nothing, and what a permutation null makes of it.

Run ``python -m semrsm_bench.studies.null_cka --out docs/figures/null_cka.png``. It prints the figures behind the picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics import Significance, linear_cka, significance
from semrsm_bench.progress import progress_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STIMULI = (50, 100, 400)
WIDTHS = (5, 10, 30, 100, 300, 1000, 3000)
ESTIMATORS = ("biased", "debiased")


@dataclass(frozen=True)
class Level:
    """CKA of independent Gaussians of p units each, over n stimuli: mean and standard deviation over draws."""

    n: int
    p: int
    estimator: str
    mean: float
    deviation: float


def expected_cka(n: int, p: int, q: int) -> float:
    """Biased linear CKA of independent Gaussians, from the expectations of its three terms: sqrt(pq/((n-1+p)(n-1+q)))."""
    return float(np.sqrt(p * q / ((n - 1 + p) * (n - 1 + q))))


def null_levels(
    stimuli: Sequence[int] = STIMULI,
    widths: Sequence[int] = WIDTHS,
    draws: int = 8,
    seed: int = 0,
    *,
    quiet: bool = False,
) -> list[Level]:
    """Both estimators on independent Gaussian features, for every number of stimuli and units."""
    levels = []
    with progress_bar(len(stimuli) * len(widths), "independent Gaussians", quiet=quiet) as bar:
        for n in stimuli:
            for p in widths:
                rng = np.random.default_rng([seed, n, p])
                pairs = [rng.standard_normal((2, n, p)) for _ in range(draws)]
                for estimator in ESTIMATORS:
                    values = [linear_cka(X, Y, estimator) for X, Y in pairs]
                    levels.append(Level(n, p, estimator, float(np.mean(values)), float(np.std(values))))
                bar.update()
    return levels


def related_features(n: int, p: int, shared: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two wide Gaussian representations of which a ``shared`` part of the variance comes from ten common directions."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, 10))
    first, second = (
        np.sqrt(shared / 10) * latent @ rng.standard_normal((10, p)) + np.sqrt(1 - shared) * rng.standard_normal((n, p))
        for _ in range(2)
    )
    return first, second


def significances(
    n: int = 100, p: int = 1000, shares: Sequence[float] = (0.0, 0.1), permutations: int = 500, seed: int = 0
) -> dict[tuple[float, str], Significance]:
    """Value, permutation null, p-value and calibrated score for unrelated and for weakly related features."""
    result = {}
    for share in shares:
        X, Y = related_features(n, p, share, seed)
        for estimator in ESTIMATORS:
            metric = partial(linear_cka, estimator=estimator)
            result[share, estimator] = significance(metric, X, Y, n=permutations, seed=seed)
    return result


def draw(levels: Sequence[Level], tests: dict[tuple[float, str], Significance]) -> Figure:
    """Left: the level of the null over width; right: two observed values in front of their nulls."""
    import matplotlib as mpl

    from semrsm_bench.report.style import BLUE, RC, VERMILION, new_figure

    with mpl.rc_context(dict(RC)):
        figure = new_figure(8.6, 3.6)
        left, right = figure.subplots(1, 2)
        _draw_levels(left, levels, (BLUE, VERMILION))
        _draw_tests(right, tests, (BLUE, VERMILION))
        figure.tight_layout()
    return figure


def _draw_levels(axes: Axes, levels: Sequence[Level], colours: tuple[str, str]) -> None:
    grid = np.geomspace(min(level.p for level in levels), max(level.p for level in levels), 100)
    markers = dict(zip(sorted({level.n for level in levels}), "o^sDvP", strict=False))
    for n, marker in markers.items():
        axes.plot(grid, [expected_cka(n, p, p) for p in grid], color="#8a8a8a", lw=1, zorder=1)
        for estimator, colour in zip(ESTIMATORS, colours, strict=True):
            chosen = [level for level in levels if level.n == n and level.estimator == estimator]
            axes.errorbar(
                [level.p for level in chosen],
                [level.mean for level in chosen],
                yerr=[level.deviation for level in chosen],
                fmt=marker, ms=4, lw=0.8, color=colour, label=estimator if marker == "o" else None,
            )  # fmt: skip
        axes.plot([], [], marker, ms=4, color="#8a8a8a", label=f"n = {n}")
    axes.set(xscale="log", xlabel="units on each side", ylabel="linear CKA", title="Independent Gaussian features")
    axes.plot([], [], color="#8a8a8a", lw=1, label="expected of the biased")
    axes.axhline(0, color="#444444", lw=0.6, zorder=0)
    axes.grid(axis="y")
    axes.legend(fontsize=7, loc="upper left", frameon=False)


def _draw_tests(axes: Axes, tests: dict[tuple[float, str], Significance], colours: tuple[str, str]) -> None:
    labels = []
    for place, ((share, estimator), test) in enumerate(tests.items()):
        colour = colours[ESTIMATORS.index(estimator)]
        low, high = test.null.min(), test.null.max()
        axes.plot([low, high], [place, place], color=colour, lw=14, alpha=0.3, solid_capstyle="butt")
        axes.plot(test.value, place, "o", ms=5, color=colour)
        axes.annotate(
            f"p = {test.p_value:.2g}, calibrated {test.score:.2f}", (test.value, place), (0, 10),
            textcoords="offset points", fontsize=7, ha="right" if test.value > 0.5 else "left",
        )  # fmt: skip
        labels.append(f"{share:.0%} shared,\n{estimator}")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="linear CKA", xlim=(-0.1, 1.02), ylim=(-0.5, len(labels) - 0.3))
    axes.set_title("Observed value (dot) and its permutation null (bar)")
    axes.grid(axis="x")


def _print(levels: Sequence[Level], tests: dict[tuple[float, str], Significance]) -> None:
    print(f"{'n':>5} {'units':>6} {'estimator':<9} {'mean':>8} {'sd':>7} {'expected':>9}")
    for level in levels:
        expected = expected_cka(level.n, level.p, level.p) if level.estimator == "biased" else 0.0
        print(
            f"{level.n:>5} {level.p:>6} {level.estimator:<9} {level.mean:>8.4f} {level.deviation:>7.4f} {expected:>9.4f}"
        )
    print(f"\n{'shared':>6} {'estimator':<9} {'value':>7} {'null mean':>9} {'p':>7} {'calibrated':>10}")
    for (share, estimator), test in tests.items():
        print(
            f"{share:>6.0%} {estimator:<9} {test.value:>7.4f} {test.null.mean():>9.4f} {test.p_value:>7.4f} "
            f"{test.score:>10.4f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the picture and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="picture to write; .png, .svg or .pdf")
    parser.add_argument("--stimuli", type=int, nargs="+", default=STIMULI)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="units on each side")
    parser.add_argument("--draws", type=int, default=8, help="pairs of random features for every point")
    parser.add_argument("--permutations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.out is not None and options.out.suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"--out must end in .png, .svg or .pdf; got {options.out}")
    levels = null_levels(options.stimuli, options.widths, options.draws, options.seed)
    tests = significances(permutations=options.permutations, seed=options.seed)
    _print(levels, tests)
    if options.out is not None:
        from semrsm_bench.report.style import save_figure

        save_figure(draw(levels, tests), options.out.with_suffix(""), (options.out.suffix[1:],))


if __name__ == "__main__":
    main()
