"""What docs/metrics.md says of `Barycenter`: what a fit takes, what momentum saves, and whether permutations find the optimum.

Run ``python -m benchmarks.barycenter [--part fit|momentum|permutations] [--stimuli 2000 --units 512]``. CPU time of this process.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Sequence
from time import process_time

import numpy as np
from numpy.typing import NDArray

import semrsm_bench as sb

Array = NDArray[np.float64]
# Share of their variance that models have in common.
_STRONG, _WEAK = 0.5, 0.1
_PROBLEMS = 30


def models(kind: str, stimuli: int, units: int, count: int = 10, seed: int = 0) -> list[Array]:
    """Models (n, d): rotated copies of one under noise, of flat or falling spectrum; or noise alone."""
    rng = np.random.default_rng(seed)
    shared = {"strong": _STRONG, "falling": _STRONG, "weak": _WEAK, "noise": 0.0}[kind]
    fall = np.arange(1, units + 1) ** (-0.5 if kind == "falling" else 0.0)
    latent = rng.standard_normal((stimuli, units))
    shown = [
        np.sqrt(shared) * latent + np.sqrt(1 - shared) * rng.standard_normal((stimuli, units)) for _ in range(count)
    ]
    return [(z * fall) @ np.linalg.qr(rng.standard_normal((units, units)))[0] for z in shown]


def fitted(given: Sequence[Array], **options: object) -> tuple[sb.metrics.Barycenter, float]:
    """A fit, and its CPU seconds."""
    start = process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # max_iter reached: `converged_` says so
        found = sb.metrics.Barycenter(**options).fit(given)  # type: ignore[arg-type]
    return found, process_time() - start


def plain(given: Sequence[Array], medoid: int, tol: float = 1e-8, most: int = 3000) -> tuple[int, float]:
    """Iterations and objective of the update without momentum, from the same start."""
    xs = [x - x.mean(axis=0) for x in given]
    mean, last = xs[medoid], np.inf
    iteration = 0
    while iteration < most:
        iteration += 1
        decompositions = [np.linalg.svd(x.T @ mean, full_matrices=False) for x in xs]
        aligned = [x @ (u @ vt) for x, (u, _, vt) in zip(xs, decompositions)]
        mean = np.mean(aligned, axis=0)
        objective = float(sum(np.sum((a - mean) ** 2) for a in aligned))
        if last - objective < tol * objective:
            break
        last = objective
    return iteration, objective


def optimum_of_three(given: Sequence[Array]) -> float:
    """Least objective of three models of one width over all permutations of their units."""
    first, second, third = (x - x.mean(axis=0) for x in given)
    orders = [list(p) for p in itertools.permutations(range(first.shape[1]))]
    best = np.inf
    for p, q in itertools.product(orders, orders):
        aligned = np.stack([first[:, p], second, third[:, q]])
        best = min(best, float(np.sum((aligned - aligned.mean(axis=0)) ** 2)))
    return best


def main() -> None:
    """Print what each part finds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("fit", "momentum", "permutations"), help="only this")
    parser.add_argument("--stimuli", type=int, default=2000, help="of the part fit")
    parser.add_argument("--units", type=int, default=512, help="of the part fit")
    options = parser.parse_args()
    if options.part in (None, "fit"):
        print(f"fit of 10 models x {options.stimuli} stimuli x {options.units} units")
        for kind in ("strong", "falling", "noise"):
            found, seconds = fitted(models(kind, options.stimuli, options.units))
            print(f"  {kind:8} {seconds:7.2f} s of CPU  {found.n_iter_:4} iterations, converged: {found.converged_}")
    if options.part in (None, "momentum"):
        print("iterations and objective, with momentum and without; 10 models x 200 stimuli x 32 units, 5 seeds")
        for kind in ("strong", "weak", "noise"):
            for seed in range(5):
                given = models(kind, 200, 32, seed=seed)
                found = fitted(given, max_iter=3000)[0]
                count, objective = plain(given, found.medoid_)
                share = (found.objective_ - objective) / objective
                print(f"  {kind:8} {found.n_iter_:5} {count:5}   objective higher by {share:+.1e} of it")
    if options.part in (None, "permutations"):
        for starts in (1, 5):
            solved = 0
            for seed in range(_PROBLEMS):
                given = list(np.random.default_rng(seed).standard_normal((3, 8, 4)))
                found = fitted(given, group="permutation", n_starts=starts)[0]
                solved += bool(np.isclose(found.objective_, optimum_of_three(given), rtol=1e-10))
            print(f"permutations of three models, {starts} start(s): {solved} of {_PROBLEMS} end at the optimum")


if __name__ == "__main__":
    main()
