"""Does instance similarity rank held-out stimuli by the noise that was put on them? The table of docs/metrics.md.

Every model sees the same latent plus as much noise as the stimulus was given, through a rotation (or an order of the units) and an
offset of its own. A barycenter is fitted on one half of the stimuli, and the other half is ranked.
"""

import numpy as np
from scipy.stats import spearmanr

from semrsm_bench import get_instance
from semrsm_bench.metrics import Barycenter

KINDS = ("pairwise_cosine", "dispersion", "barycenter_cosine", "leave_one_out_cosine")
MODELS, STIMULI, UNITS, SEEDS = 10, 400, 32, 5


def plant(group, seed):
    """Models of shape (stimuli, units), and the noise level of each stimulus."""
    rng = np.random.default_rng(seed)
    noise = np.geomspace(0.05, 2.0, STIMULI)[rng.permutation(STIMULI)]
    latent = rng.standard_normal((STIMULI, UNITS))
    models = []
    for _ in range(MODELS):
        seen = latent + noise[:, None] * rng.standard_normal((STIMULI, UNITS))
        if group == "orthogonal":
            seen = seen @ np.linalg.qr(rng.standard_normal((UNITS, UNITS)))[0]
        else:
            seen = seen[:, rng.permutation(UNITS)]
        models.append(seen + rng.standard_normal(UNITS))
    return models, noise


def main():
    print(f"{'group':<12} {'kind':<22} {'mean':>7} {'lowest':>7}   Spearman over {SEEDS} seeds, held-out stimuli")
    for group in ("orthogonal", "permutation"):
        found = {kind: [] for kind in KINDS}
        for seed in range(SEEDS):
            models, noise = plant(group, seed)
            half = STIMULI // 2
            aligned = Barycenter(group).fit([X[:half] for X in models]).transform([X[half:] for X in models])
            for kind in KINDS:
                score = get_instance(kind)
                disagreement = -score.sign * score.run(aligned)
                found[kind].append(spearmanr(noise[half:], disagreement).statistic)
        for kind, values in found.items():
            print(f"{group:<12} {kind:<22} {np.mean(values):>7.4f} {min(values):>7.4f}")


if __name__ == "__main__":
    main()
