"""Do similar representations mean similar class probabilities?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
from scipy.spatial.distance import squareform

from semrsm_bench.activations.folders import shipped_weights, small_weights
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import counts_of
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Score, Scored, Solve, Task
from semrsm_bench.metrics import cka, jensen_shannon, most_similar
from semrsm_bench.metrics.arrays import upper_triangle
from semrsm_bench.metrics.resampled import resampled_pearson, resampled_spearman
from semrsm_bench.metrics.rsa import correlate
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.tasks.networks import LAST, CachedActivations, CountOptions, LayerActivations
from semrsm_bench.tasks.registry import register_task
from semrsm_bench.tasks.rsms import (
    KERNELS,
    METHODS,
    OPTIMUM,
    QUICK_POSITIONS,
    TIME_PER,
    CachedOptions,
    answered_rsm,
    image_pairs,
    layer_cases,
)

# With fewer, some draws hold so few different images that nothing correlates.
LEAST_IMAGES = 10


_correlation_score = partial(Score, low=-1.0, chance=0.0)


@dataclass(frozen=True)
class OutputsOptions(CachedOptions, CountOptions):
    """Networks, layers and pictures."""

    def networks(self) -> Iterator[tuple[LayerActivations, Sequence[str]]]:
        """Each network with the ids of its pictures: the first of a cache, or the same for all networks."""
        for cache in (caches := self.caches("outputs")):
            ids = cache.images[: self.count]
            if len(ids) < LEAST_IMAGES:
                raise ValueError(f"{cache.path}: at least {LEAST_IMAGES} pictures are needed, got {len(ids)}")
            if not cache.logits.shape[1]:
                raise ValueError(f"{cache.path}: it has no logits (N, K), which RSMs are compared with: store them too")
            yield CachedActivations(cache, range(len(ids)), self.layers), ids
        if not caches:
            networks, pictures = self.seen((LAST,), lambda: [shipped_weights(), *small_weights()], LEAST_IMAGES)
            for seen in networks:
                yield seen, pictures.ids


@register_task
class Outputs(Task):
    """RSMs against the divergence of the network's class probabilities."""

    name = "outputs"
    question = "Do similar representations mean similar class probabilities?"
    kind = "rsm"
    scores = (
        _correlation_score("pearson", "Pearson", "min", meaning="correlation of similarity with divergence"),
        _correlation_score("spearman", "Spearman", "min", meaning="rank correlation of similarity with divergence"),
        _correlation_score("agreement", "Spearman, exact", meaning="rank correlation with the optimal matching's RSM"),
        _correlation_score("agreement_cka", "CKA, exact", meaning="debiased CKA with the optimal matching's RSM"),
        Score(
            "same_neighbour", "nearest, exact %", style="percent", meaning="images with the exact RSM's nearest image"
        ),
    )
    by_default = True
    time_per = TIME_PER
    unit = "image"
    across = ("model", "layer", "size", "centring", "kernel")
    reference = "identity"
    options = OutputsOptions
    methods = METHODS
    source = "Wald et al., NeurIPS 2024, section 4.3 and appendix E, Tables 1 and 4"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "shipped activations of 60 pictures",
            {"shipped": True, "count": 60, "largest": QUICK_POSITIONS},
            60.0,
            120.0,
        ),
        "paper": Profile("220 pictures", {"count": 220}, 1800.0, 3600.0),
    }

    def cases(self, options: OutputsOptions) -> Iterator[Case]:
        """One case a network, layer, centring and kernel."""
        for seen, ids in options.networks():
            known = _NetworkTruth(seen)
            for layer in seen.layers:
                yield from layer_cases(options, KERNELS, {"z": seen}, layer, {"image": tuple(ids)}, known)

    def truth(self, case: Case, arrays: Arrays, solve: Solve) -> Any:
        """Jensen-Shannon divergences of the class probabilities, and on demand the exact RSM."""
        case.known.divergence  # noqa: B018 - an error belongs here
        return case.known

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: Any, declared: Declaration) -> Scored:
        """Correlations over pairs of images; of a matching also how near its RSM is to that of the optimal one."""
        rsm = answered_rsm(answer, len(arrays["z"]))
        triangle = upper_triangle(rsm)
        kept: dict[str, Any] = {"rsm": triangle, "divergence": truth.divergence}
        scores = {name: _correlation(truth.divergence, triangle, name) for name in ("pearson", "spearman")}
        if declared.category == "matching":
            exact = rsm if declared.name == OPTIMUM else truth.exact(case)
            everyone = range(len(rsm))
            same = most_similar(rsm, everyone, everyone) == most_similar(exact, everyone, everyone)
            kept |= {"exact": upper_triangle(exact), "same_neighbour": same}
            scores |= {
                "agreement": _correlation(kept["exact"], triangle, "spearman"),
                "agreement_cka": cka(exact, rsm, "debiased"),
                "same_neighbour": float(same.mean()),
            }
        return Scored(scores, {"images": len(rsm), "pairs": image_pairs(len(rsm))}, kept)

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Every correlation over the pairs of the drawn images; CKA, which has no such form, without an interval."""
        found: dict[str, list[Floats]] = {score.name: [] for score in self.scores}
        for result in results:
            drawn = counts_of(result.units[self.unit], draws, units)
            rsm, divergence = (squareform(result.arrays[name]) for name in ("rsm", "divergence"))
            found["pearson"].append(resampled_pearson(divergence, [rsm], drawn)[:, 0])
            exact = [squareform(result.arrays["exact"])] if "exact" in result.arrays else []
            spearman, *agreement = resampled_spearman(rsm, [divergence, *exact], drawn).T
            found["spearman"].append(spearman)
            found["agreement"] += agreement
            if exact:
                value = result.score("agreement_cka")
                found["agreement_cka"].append(np.where(np.arange(len(drawn)) == 0, value, np.nan))
                same = np.asarray(result.arrays["same_neighbour"], dtype=np.float64)
                found["same_neighbour"].append(drawn @ same / drawn.sum(axis=1))
        return {name: np.mean(values, axis=0) for name, values in found.items() if values}


class _NetworkTruth:
    """Divergences of a network's class probabilities, and the optimal RSMs of its layers."""

    def __init__(self, seen: LayerActivations) -> None:
        self._seen = seen
        self._exact: dict[tuple[str, str], dict[str, Floats]] = {}

    @cached_property
    def divergence(self) -> Floats:
        """Jensen-Shannon divergences above the diagonal."""
        triangle = upper_triangle(jensen_shannon(self._seen.probabilities))
        if np.ptp(triangle) == 0:
            raise ValueError(f"{self._seen.name} has equal divergences between all pictures, so nothing can correlate")
        return triangle

    def exact(self, case: Case) -> Floats:
        """The RSM of the optimal matching, which serves all kernels."""
        s = case.settled()
        key = str(case.cell["layer"]), s["centring"]
        if key not in self._exact:
            z, sigma = self._seen.activations(key[0]), s.get("sigma") or 1.0
            self._exact[key] = compute_rsm(
                z, kernel=s["kernels"], matching=OPTIMUM, sigma=sigma, centring=s["centring"], layout="channels_first"
            )
        return self._exact[key][s["kernel"]]


def _correlation(a: Floats, b: Floats, method: str) -> float | None:
    """None where all values of the RSM are equal."""
    try:
        return correlate(a, b, method)
    except ValueError:
        return None
