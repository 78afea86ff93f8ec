"""Do queries find images that show the same objects?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb

from semrsm_bench.activations.folders import shipped_weights
from semrsm_bench.activations.retrieval import (
    RetrievalData,
    from_cityscapes,
    from_egoobjects,
    from_labels,
    from_scenes,
)
from semrsm_bench.activations.scenes import parts_of_packages, parts_of_pictures
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.options import option
from semrsm_bench.core.stats import counts_of, weighted_mean
from semrsm_bench.core.task import Answer, Arrays, Case, Floats, Profile, Result, Score, Scored, Task
from semrsm_bench.metrics.retrieval import forbidden_images, ranking, retrieval_scores, score_matrix
from semrsm_bench.tasks.networks import (
    LAST,
    CachedActivations,
    LayerActivations,
    NetworkActivations,
    load_networks,
    thumbnails,
)
from semrsm_bench.tasks.registry import register_task
from semrsm_bench.tasks.rsms import (
    KERNELS,
    METHODS,
    QUICK_POSITIONS,
    TIME_PER,
    CachedOptions,
    answered_rsm,
    image_pairs,
    layer_cases,
)

TOP = 5
# Queries, and images found by each, that rows keep to be shown.
_SHOWN, _NEIGHBOURS = 3, 3
# Side to which a user's pictures are read before scenes are made of them.
_PICTURE = 64


@dataclass(frozen=True)
class RetrievalOptions(CachedOptions):
    """What is retrieved from what. --images gives the pictures that scenes are composed of.

    Of a cache the first pictures, as many as queries and database together, each look for the others of their class.
    """

    queries: int | None = option(None, help="Images that look for others; default: the profile's.", minimum=1)
    database: int | None = option(None, help="Images that are found; default: the profile's.", minimum=TOP)
    egoobjects: Path | None = option(None, help="EgoObjects: folder of annotation files beside a folder images.")
    cityscapes: Path | None = option(None, help="Cityscapes: folder of leftImg8bit and gtFine; IoU only.")
    split: Literal["test", "val", "train"] = option("test", help="The split of EgoObjects.")
    any_format: bool = option(False, help="EgoObjects: images that are not 16:9 too, all cut to squares.")
    frame: Literal["whole", "square"] = option(
        "whole", help="EgoObjects, Cityscapes: the whole image, or the square in its middle."
    )
    place: Literal["scene", "video"] = option(
        "scene", help="Composed scenes: one background a scene, or one for each of its videos."
    )
    object_classes: int = option(20, help="With --images: classes that scenes are made of.", minimum=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum((bool(self.images), self.egoobjects is not None, self.cityscapes is not None)) > 1:
            raise ValueError("give one of --images, --egoobjects and --cityscapes")

    def sides(self) -> Iterator[tuple[dict[str, LayerActivations], RetrievalData]]:
        """Each network on the queries and the database, or on the pictures that are both."""
        for cache in (caches := self.caches("outputs")):
            ids = cache.images[
                : None if self.queries is None or self.database is None else self.queries + self.database
            ]
            data = from_labels(cache.labels[: len(ids)], ids)
            yield {"z": CachedActivations(cache, range(len(ids)), self.layers)}, data
        read: dict[int, RetrievalData] = {}
        for model in [] if caches else load_networks(self.model, self.layers or (LAST,), lambda: [shipped_weights()]):
            size = self.size or model.size
            data = read[size] = read.get(size) or self.read(size)
            yield (
                {
                    "z": NetworkActivations(model, data.queries.pixels),
                    "z2": NetworkActivations(model, data.database.pixels),
                },
                data,
            )

    @property
    def _named(self) -> bool:
        return super()._named or self.egoobjects is not None or self.cityscapes is not None

    def read(self, size: int) -> RetrievalData:
        """The images, their shorter side ``size``."""
        if self.queries is None or self.database is None:
            raise ValueError("queries, database: say how many images, or choose a profile")
        counts = self.queries, self.database
        cut: dict[str, Any] = {"square": self.frame == "square", "seed": self.seed}
        if self.egoobjects is not None:
            return from_egoobjects(self.egoobjects, *counts, size, split=self.split, any_format=self.any_format, **cut)
        if self.cityscapes is not None:
            return from_cityscapes(self.cityscapes, *counts, size, **cut)
        parts = parts_of_packages()
        if self.images:
            parts = parts_of_pictures(
                self.images, objects=self.object_classes, size=_PICTURE, seed=self.seed, classes=self.classes
            )
        return from_scenes(parts, *counts, size, place=self.place, seed=self.seed)


@register_task
class Retrieval(Task):
    """The most similar database image of every query."""

    name = "retrieval"
    question = "Does the most similar image show the same objects?"
    kind = "rsm"
    scores = (
        Score("f1", "F1@1", meaning="F1 of the object counts of query and most similar image"),
        Score("iou", "IoU@1", meaning="intersection over union of their classes"),
        Score(f"f1_top{TOP}", f"F1 best of {TOP}", meaning=f"best F1 among the {TOP} most similar images"),
        Score(f"iou_top{TOP}", f"IoU best of {TOP}", meaning=f"best IoU among the {TOP} most similar images"),
    )
    unit = "query"
    time_per = TIME_PER
    across = ("model", "layer", "size", "centring", "kernel")
    reference = "identity"
    options = RetrievalOptions
    methods = METHODS
    source = "Wald et al., NeurIPS 2024, section 4.2 and appendix D, Tables 2 and 3"
    profiles: ClassVar[Mapping[str, Profile]] = {
        "quick": Profile(
            "shipped activations of 80 pictures",
            {"shipped": True, "queries": 20, "database": 60, "largest": QUICK_POSITIONS},
            60.0,
            120.0,
        ),
        "paper": Profile("100 queries in 400 images", {"queries": 100, "database": 400}, 1800.0, 3600.0),
    }

    def cases(self, options: RetrievalOptions) -> Iterator[Case]:
        """One case a network, layer, centring and kernel; both sides are centred by the database's mean."""
        for sides, data in options.sides():
            known = _QueryTruth(data)
            for layer in sides["z"].layers:
                yield from layer_cases(options, KERNELS, sides, layer, {"query": tuple(data.queries.ids)}, known)

    def score(self, case: Case, arrays: Arrays, answer: Answer, truth: _QueryTruth, declared: Declaration) -> Scored:
        """Scores of the most similar image and of the best among the five most similar; those of the query's group never count."""
        data = truth.data
        shape = len(data.queries), None if data.queries is data.database else len(data.database)
        rsm = answered_rsm(answer, *shape)
        kept: dict[str, Any] = {
            name: retrieval_scores(rsm, *truth.counts, *truth.groups, score=score, top=top)
            for name, (score, top) in truth.scores.items()
        }
        scores = {name: _mean(values) for name, values in kept.items()}
        kept["found"] = ranking(rsm, *truth.groups, top=TOP)
        raw = {**truth.reach, "shareable": data.shareable, "pairs": image_pairs(*shape)}
        return Scored(scores, raw, kept | truth.shown(kept["found"]))

    def aggregate(self, results: Sequence[Result], draws: Floats, units: Sequence[str]) -> dict[str, Floats]:
        """Means over the drawn queries whose score is defined."""
        found: dict[str, Floats] = {}
        for score in self.scores:
            having = [result for result in results if score.name in result.arrays]
            if having:
                queries = [query for result in having for query in result.units[self.unit]]
                values = np.concatenate([result.arrays[score.name] for result in having])
                found[score.name] = weighted_mean(values, counts_of(queries, draws, units))
        return found


class _QueryTruth:
    """What images show, and what a random ranking and the best one reach."""

    def __init__(self, data: RetrievalData) -> None:
        self.data = data
        self.counts = data.queries.counts, data.database.counts
        self.groups = data.queries.groups, data.database.groups
        kinds = ["f1", "iou"] if data.counted else ["iou"]
        if all((counts.sum(axis=1) == 1).all() for counts in self.counts):
            kinds = kinds[:1]  # of one object each, both say whether it is the same
        self.scores = {f"{kind}_top{top}" if top > 1 else kind: (kind, top) for kind in kinds for top in (1, TOP)}

    def shown(self, found: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """The first queries: their pictures, those of the images found first, what is on them, and the scores of these."""
        queries, database = self.data.queries, self.data.database
        if not queries.pixels.size:
            return {}
        chosen = found[:_SHOWN, :_NEIGHBOURS]
        pixels = np.stack([np.stack([queries.pixels[i], *database.pixels[row]]) for i, row in enumerate(chosen)])
        counts = ([queries.counts[i], *database.counts[row]] for i, row in enumerate(chosen))
        kind, _ = next(iter(self.scores.values()))
        scores = score_matrix(queries.counts[:_SHOWN], database.counts, score=kind)
        return {
            "pictures": thumbnails(pixels),
            "objects": np.array([[_objects(one, self.data.classes) for one in row] for row in counts]),
            "found_scores": np.take_along_axis(scores, chosen, axis=1),
        }

    @cached_property
    def reach(self) -> dict[str, dict[str, float | None]]:
        """Means over queries: of what all rankings reach, computed and not drawn, and of the best image that each may find."""
        allowed = ~forbidden_images((len(self.data.queries), len(self.data.database)), *self.groups)
        found: dict[str, dict[str, float | None]] = {"random": {}, "best": {}}
        for name, (kind, top) in self.scores.items():
            rows = [row[may] for row, may in zip(score_matrix(*self.counts, score=kind), allowed, strict=True)]
            found["random"][name] = _mean(np.array([expected_best(row, top) for row in rows]))
            found["best"][name] = _mean(np.array([np.fmax.reduce(row) for row in rows]))
        return found


def expected_best(scores: Floats, top: int) -> float:
    """Mean, over all draws of ``top`` different scores that hold a number, of the largest; NaN is less than any number.

    The i-th smallest of n is the largest of a draw with probability C(i-1, top-1) / C(n, top).
    """
    n = len(scores)
    if not 1 <= top <= n:
        raise ValueError(f"cannot draw {top} of {n} database images")
    known = np.sort(scores[~np.isnan(scores)])
    chances = (comb(np.arange(n), top - 1) / comb(n, top))[n - len(known) :]
    return float(chances @ known / chances.sum()) if chances.sum() > 0 else float("nan")


def _objects(counts: NDArray[Any], classes: Sequence[str]) -> str:
    """``2 cup, flower``."""
    return ", ".join(f"{n} {classes[c]}" if n > 1 else classes[c] for c, n in enumerate(counts) if n) or "nothing"


def _mean(values: Floats) -> float | None:
    """Over what is defined; None where nothing is."""
    return None if np.isnan(values).all() else float(np.nanmean(values))
