"""Do RSMs see that two overlapping crops show the same thing?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.folders import shipped_weights
from semrsm_bench.activations.pictures import batches, overlapping_crops, scene_side, usual_shift
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Score, Scored, Solve, Task
from semrsm_bench.metrics.ranks import TIE, mid_ranks
from semrsm_bench.tasks.networks import STAGES, CountOptions, NetworkActivations, load_networks
from semrsm_bench.tasks.registry import register_task
from semrsm_bench.tasks.rsms import (
    METHODS,
    QUICK_POSITIONS,
    TIME_PER,
    LayerRsmOptions,
    answered_rsm,
    image_pairs,
    layer_cases,
)

# Pictures of the first batch that its rows keep, to be shown with the frames of their crops.
_SHOWN = 3


@dataclass(frozen=True)
class TranslationOptions(LayerRsmOptions, CountOptions):
    """Crops of pictures; --size is the side of the crops, the pictures are larger by the largest shift."""

    shift: tuple[tuple[int, int], ...] = option(
        (),
        help="Shift of the second crop, pixels down and to the right; repeatable. Default: down by 5/16 of the crop's side.",
        metavar="DOWNxRIGHT",
    )
    batch: int = option(10, help="Pictures in one RSM, which has two crops of each.", minimum=2)


@register_task
class Translation(Task):
    """Overlapping crops of one picture against crops of different pictures."""

    name = "translation"
    question = "Are overlapping crops of a picture more similar than crops of different pictures?"
    kind = "rsm"
    scores = (
        Score("auroc", "AUROC", chance=0.5, meaning="probability that overlapping crops are more similar than others"),
        Score(
            "partner_first", "partner first %", style="percent", meaning="crops whose most similar one overlaps them"
        ),
    )
    unit = case_unit = "batch"
    time_per = TIME_PER
    across = ("model", "shift", "centring", "kernel", "layer", "size")
    reference = "identity"
    options = TranslationOptions
    methods = METHODS
    source = "Wald et al., NeurIPS 2024, section 4.1 and appendix B, Fig. 2 and 7"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile("20 pictures", {"count": 20, "largest": QUICK_POSITIONS}, 60.0, 120.0, patience=20.0),
        "paper": Profile("100 pictures", {"count": 100}, 1800.0, 3600.0),
    }

    def cases(self, options: TranslationOptions) -> Iterator[Case]:
        """One case a network, shift, layer, centring, kernel and batch."""
        for model in load_networks(options.model, options.layers or (STAGES,), lambda: [shipped_weights()]):
            side = options.size or model.size
            shifts = list(dict.fromkeys(options.shift)) or [usual_shift(side)]
            pictures = options.pictures(scene_side(side, shifts))
            for number, group in enumerate(batches(pictures.labels, options.batch, options.seed)):
                scenes = (pictures.pixels[group[:_SHOWN]], {"side": side, "shareable": pictures.shareable})
                units, known, part = {"batch": (str(number),)}, None if number else scenes, str(number)
                for shift in shifts:
                    sides = {"z": NetworkActivations(model, overlapping_crops(pictures.pixels[group], side, shift))}
                    place = {"shift": f"{shift[0]}x{shift[1]}"}
                    for layer in model.layers:
                        yield from layer_cases(options, ("rbf",), sides, layer, units, known, place=place, part=part)

    def truth(self, case: Case, arrays: Arrays, solve: Solve) -> NDArray[np.bool_]:
        """Which pairs i < j of the 2 n crops overlap: crop n + i is the shifted one of picture i."""
        rows, columns = np.triu_indices(len(arrays["z"]), 1)
        return np.asarray(columns - rows == len(arrays["z"]) // 2)

    def score(
        self, case: Case, arrays: Arrays, answer: Answer, truth: NDArray[np.bool_], declared: Declaration
    ) -> Scored:
        """Inside one batch: pairs of different batches share no RSM."""
        rsm = answered_rsm(answer, len(arrays["z"]))
        similarity = rsm[np.triu_indices(len(rsm), 1)]
        overlapping, unrelated = similarity[truth], similarity[~truth]
        scores = {"auroc": auroc(overlapping, unrelated), "partner_first": float(found_partners(rsm).mean())}
        raw: dict[str, Any] = {"overlapping": float(np.median(overlapping)), "unrelated": float(np.median(unrelated))}
        raw["pairs"] = image_pairs(len(rsm))
        kept = {"rsm": rsm}
        if case.known is not None:
            kept["scenes"], raw["scenes"] = case.known
        return Scored(scores, raw, kept)


def auroc(positive: Floats, negative: Floats) -> float:
    """Probability that a positive value (n,) exceeds a negative one (m,), ties counted half: the area under the ROC curve."""
    n = len(positive)
    ranks = mid_ranks(np.concatenate([positive, negative]))[:n]
    return float((ranks.sum() - n * (n + 1) / 2) / (n * len(negative)))


def found_partners(rsm: Floats) -> NDArray[np.bool_]:
    """Whether the other crop of the same picture is the most similar of all, by itself, for each of the 2 n crops."""
    count = len(rsm)
    partner = (np.arange(count) + count // 2) % count
    others = rsm.copy()
    np.fill_diagonal(others, -np.inf)
    mine = others[np.arange(count), partner]
    others[np.arange(count), partner] = -np.inf
    best = others.max(axis=1)
    return np.asarray(mine > best + TIE * np.abs(best))
