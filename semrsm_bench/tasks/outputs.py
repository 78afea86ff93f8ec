"""Do similar representations mean similar class probabilities?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import counts_of
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Score, Scored, Solve, Task
from semrsm_bench.metrics import cka, jensen_shannon, most_similar
from semrsm_bench.metrics.arrays import upper_triangle
from semrsm_bench.metrics.resampled import resampled_pearson, resampled_spearman
from semrsm_bench.metrics.rsa import correlate
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.tasks.networks import (
    LAST,
    NetworkActivations,
    common_size,
    load_networks,
    require_libraries,
    shipped_networks,
)
from semrsm_bench.tasks.pictures import CountOptions
from semrsm_bench.tasks.registry import register_task
from semrsm_bench.tasks.rsms import (
    KERNELS,
    METHODS,
    OPTIMUM,
    QUICK_POSITIONS,
    LayerRsmOptions,
    answered_rsm,
    layer_cases,
    matches,
)

# With fewer, some draws hold so few different images that nothing correlates.
LEAST_IMAGES = 10


@dataclass(frozen=True)
class OutputsOptions(LayerRsmOptions, CountOptions):
    """Networks, layers and pictures."""


@register_task
class Outputs(Task):
    """RSMs against the divergence of what the network says."""

    name = "outputs"
    question = "Do similar representations mean similar class probabilities?"
    kind = "rsm"
    scores = (
        Score("pearson", "Pearson", "min", -1.0, chance=0.0, meaning="correlation of similarity with divergence"),
        Score(
            "spearman", "Spearman", "min", -1.0, chance=0.0, meaning="rank correlation of similarity with divergence"
        ),
        Score(
            "agreement",
            "Spearman, exact",
            low=-1.0,
            chance=0.0,
            meaning="rank correlation with the optimal matching's RSM",
        ),
        Score(
            "agreement_cka", "CKA, exact", low=-1.0, chance=0.0, meaning="debiased CKA with the optimal matching's RSM"
        ),
        Score(
            "same_neighbour",
            "nearest, exact %",
            style="percent",
            meaning="images whose nearest is that of the exact RSM",
        ),
    )
    unit = "image"
    across = ("model", "layer", "size", "centring", "kernel")
    reference = "identity"
    options = OutputsOptions
    methods = METHODS
    source = "Wald et al., NeurIPS 2024, section 4.3 and appendix E, Tables 1 and 4"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile("40 pictures", {"count": 40, "largest": QUICK_POSITIONS}, 60.0, 120.0),
        "paper": Profile("220 pictures", {"count": 220}, 1800.0, 3600.0),
    }

    def cases(self, options: OutputsOptions) -> Iterator[Case]:
        """One case a network, layer, centring and kernel; the same pictures for all networks."""
        require_libraries(self.name)
        models = load_networks(options.model, options.layers or (LAST,), shipped_networks)
        pictures = options.pictures(common_size(models, options.size))
        if len(pictures) < LEAST_IMAGES:
            raise ValueError(f"at least {LEAST_IMAGES} images are needed for an interval, there are {len(pictures)}")
        for model in models:
            seen = NetworkActivations(model, pictures.pixels)
            divergence = cache(partial(_divergence, seen))
            for layer in seen.layers:
                known = _LayerTruth(seen, layer, divergence)
                yield from layer_cases(
                    options, KERNELS, {"z": seen}, layer, units={"image": tuple(pictures.ids)}, known=known
                )

    def truth(self, case: Case, arrays: Arrays, solve: Solve) -> _LayerTruth:
        """Jensen-Shannon divergences of the class probabilities, and on demand the exact RSM."""
        known: _LayerTruth = case.known
        known.divergence  # noqa: B018 - an error belongs here
        return known

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: _LayerTruth, declared: Declaration) -> Scored:
        """Correlations over pairs of images; of a matching also how near its RSM is to that of the optimal one."""
        try:
            rsm = answered_rsm(answer, len(arrays["z"]))
        except ValueError as error:
            return Scored(status="invalid", message=str(error))
        triangle = upper_triangle(rsm)
        kept: dict[str, Any] = {"rsm": triangle, "divergence": truth.divergence}
        scores = {name: _correlation(truth.divergence, triangle, name) for name in ("pearson", "spearman")}
        if matches(declared):
            exact = rsm if declared.name == OPTIMUM else truth.exact(case.settled())
            everyone = range(len(rsm))
            same = most_similar(rsm, everyone, everyone) == most_similar(exact, everyone, everyone)
            kept |= {"exact": upper_triangle(exact), "same_neighbour": same}
            scores |= {
                "agreement": _correlation(upper_triangle(exact), triangle, "spearman"),
                "agreement_cka": cka(exact, rsm, "debiased"),
                "same_neighbour": float(same.mean()),
            }
        return Scored(scores, {"images": len(rsm)}, kept)

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Every correlation over the pairs of the drawn images; CKA, which has no such form, without an interval."""
        found: dict[str, list[Floats]] = {score.name: [] for score in self.scores}
        for result in results:
            drawn = counts_of(result.units[self.unit], draws, units)
            rsm, divergence = (_square(result.arrays[name], drawn.shape[1]) for name in ("rsm", "divergence"))
            found["pearson"].append(resampled_pearson(divergence, [rsm], drawn)[:, 0])
            exact = [_square(result.arrays["exact"], drawn.shape[1])] if "exact" in result.arrays else []
            spearman, *agreement = resampled_spearman(rsm, [divergence, *exact], drawn).T
            found["spearman"].append(spearman)
            found["agreement"] += agreement
            if exact:
                value = result.score("agreement_cka")
                found["agreement_cka"].append(np.where(np.arange(len(drawn)) == 0, value, np.nan))
                same = np.asarray(result.arrays["same_neighbour"], dtype=np.float64)
                found["same_neighbour"].append(drawn @ same / drawn.sum(axis=1))
        return {name: np.mean(values, axis=0) for name, values in found.items() if values}


@dataclass
class _LayerTruth:
    """What is known of one layer: the divergences, the same for all layers of a network, and the optimal RSMs."""

    seen: NetworkActivations
    layer: str
    divergences: Callable[[], Floats]
    _exact: dict[str, dict[str, Floats]] = field(default_factory=dict)

    @property
    def divergence(self) -> Floats:
        """Jensen-Shannon divergences above the diagonal."""
        return self.divergences()

    def exact(self, settings: Mapping[str, Any]) -> Floats:
        """The RSM of the optimal matching, which serves all kernels."""
        centring = settings["centring"]
        if centring not in self._exact:
            self._exact[centring] = compute_rsm(
                self.seen.activations(self.layer),
                kernel=settings["kernels"],
                matching=OPTIMUM,
                sigma=settings.get("sigma", 1.0),
                centring=centring,
            )
        return self._exact[centring][settings["kernel"]]


def _divergence(seen: NetworkActivations) -> Floats:
    """Above the diagonal.

    Raises
    ------
    ValueError
        All are equal.
    """
    triangle = upper_triangle(jensen_shannon(seen.probabilities))
    if np.ptp(triangle) == 0:
        raise ValueError(f"{seen.name} says the same of all pictures: their divergences are all equal")
    return triangle


def _correlation(a: Floats, b: Floats, method: str) -> float | None:
    """None where all values of the RSM are equal."""
    try:
        return correlate(a, b, method)
    except ValueError:
        return None


def _square(triangle: Floats, n: int) -> Floats:
    """The symmetric matrix of what lies above the diagonal; zeros on it."""
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, 1)] = triangle
    return matrix + matrix.T
