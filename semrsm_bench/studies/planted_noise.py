"""Does instance-level similarity rank held-out stimuli by the noise that was put on them?

Run ``python -m semrsm_bench.studies.planted_noise``. Every stimulus gets a noise level of its own, every model sees the same
latent plus that much noise, through a rotation (or an order of the units) and an offset of its own. A barycenter is fitted on
one half of the stimuli, and the other half is ranked; Spearman's correlation with the planted levels is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from semrsm_bench.metrics import Barycenter, instance_similarity
from semrsm_bench.metrics.instances import KINDS
from semrsm_bench.progress import progress_bar

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    """Models of shape (stimuli, units), and the noise level of each stimulus."""

    models: list[FloatArray]
    noise: FloatArray


def plant(
    group: str = "orthogonal",
    count: int = 10,
    stimuli: int = 400,
    units: int = 32,
    levels: tuple[float, float] = (0.05, 2.0),
    seed: int = 0,
) -> Planted:
    """Models that share a Gaussian latent, with geometrically spaced noise levels in random order."""
    rng = np.random.default_rng(seed)
    noise = np.geomspace(*levels, stimuli)[rng.permutation(stimuli)]
    latent = rng.standard_normal((stimuli, units))
    models = []
    for _ in range(count):
        seen = latent + noise[:, None] * rng.standard_normal((stimuli, units))
        if group == "orthogonal":
            seen = seen @ np.linalg.qr(rng.standard_normal((units, units)))[0]
        else:
            seen = seen[:, rng.permutation(units)]
        models.append(seen + rng.standard_normal(units))
    return Planted(models, noise)


def recovered_order(planted: Planted, group: str, train: float = 0.5) -> dict[str, float]:
    """Spearman's correlation between disagreement and planted noise on the stimuli that the fit did not see, by kind."""
    cut = round(train * len(planted.noise))
    barycenter = Barycenter(group).fit([X[:cut] for X in planted.models])
    aligned = barycenter.transform([X[cut:] for X in planted.models])
    result = {}
    for kind in KINDS:
        sign = 1 if kind == "dispersion" else -1
        result[kind] = float(spearmanr(planted.noise[cut:], sign * instance_similarity(aligned, kind)).statistic)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table over groups, kinds and seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--stimuli", type=int, default=400)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args(arguments)
    groups = ("orthogonal", "permutation")
    found: dict[tuple[str, str], list[float]] = {(group, kind): [] for group in groups for kind in KINDS}
    with progress_bar(len(groups) * options.seeds, "planted noise") as bar:
        for group in groups:
            for seed in range(options.seeds):
                planted = plant(group, options.models, options.stimuli, options.units, seed=seed)
                for kind, value in recovered_order(planted, group).items():
                    found[group, kind].append(value)
                bar.update()
    print(
        f"{'group':<12} {'kind':<22} {'mean':>7} {'lowest':>7}   Spearman over {options.seeds} seeds, held-out stimuli"
    )
    for (group, kind), values in found.items():
        print(f"{group:<12} {kind:<22} {np.mean(values):>7.4f} {min(values):>7.4f}")


if __name__ == "__main__":
    main()
