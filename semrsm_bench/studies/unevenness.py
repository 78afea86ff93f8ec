"""How unevenly matching changes the similarity of pairs (Wald et al. 2024, Fig. 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.metrics import compare_rsms
from semrsm_bench.studies.matched_layers import OPTIMUM, UNMATCHED, MatchedLayer

# key -> what it is, in the words of a table
COLUMNS = {
    "ratio": "k/k_opt, mean",
    "ratio_cv": "its CV",
    "ratio_low": "5 %",
    "ratio_high": "95 %",
    "gain_cv": "CV of k_opt − k",
}


def unevenness(matched: MatchedLayer) -> dict[str, float | None]:
    """How far same-position similarity is from a fixed share of the optimum.

    Returns
    -------
    dict
        Over the pairs: ``ratio`` (mean of k/k_opt), ``ratio_cv`` (its coefficient of variation, 0 if matching scaled all pairs
        alike), ``ratio_low`` and ``ratio_high`` (5 and 95 %), all None where k_opt is not positive for some pair or the mean is
        not; ``gain_cv`` (coefficient of variation of k_opt - k, 0 if matching added the same to all pairs); ``rank_linear`` and
        so on for each kernel (Spearman of the two RSMs' entries, 1 if matching kept the order).
    """
    k, best = matched.values(UNMATCHED), matched.values(OPTIMUM)
    found: dict[str, float | None] = dict.fromkeys(COLUMNS)
    if (best > 0).all() and float(np.mean(k / best)) > 0:
        ratio = k / best
        low, high = np.quantile(ratio, [0.05, 0.95])
        found |= {"ratio": float(ratio.mean()), "ratio_cv": _variation(ratio), "ratio_low": low, "ratio_high": high}
    found["gain_cv"] = _variation(best - k)
    for kernel, exact in matched.rsms[OPTIMUM].items():
        found[f"rank_{kernel}"] = compare_rsms(matched.rsms[UNMATCHED][kernel], exact, "spearman")
    return found


def _variation(values: NDArray[np.float64]) -> float:
    """Standard deviation over mean; 0 where all values are 0."""
    mean = float(values.mean())
    return 0.0 if mean == 0.0 and not values.any() else float(values.std()) / mean
