"""Instance-level comparison: on which held-out pictures do several networks agree most and least, and what predicts it?

After Saha, He and Khosla (2026), of which the abstract alone was at hand: networks are brought into one space by generalised
Procrustes on training pictures, and each held-out picture gets a similarity of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semrsm_bench.studies.agreement import LOGITS, Features, network_features
from semrsm_bench.studies.barycenter_figures import draw_pictures, draw_predictors, draw_repeats, draw_scores
from semrsm_bench.studies.barycenter_tables import (
    explained_table,
    extremes_table,
    layers_table,
    level_clause,
    null_share,
    predictor_clause,
    predictors_table,
    reliability_clause,
    repeats_table,
    score_rows,
    scores_table,
)
from semrsm_bench.studies.held_out import PRIMARY
from semrsm_bench.studies.instance_findings import LENGTH, Findings, Settings, analyse
from semrsm_bench.studies.study import Drawing, StudyResult

if TYPE_CHECKING:
    from semrsm_bench.activations.models import Model
    from semrsm_bench.studies.pictures import Pictures

PACKAGE_COUNT, OWN_COUNT, QUICK_COUNT = 220, 2000, 88


def barycenter(
    images: Sequence[Path] = (),
    classes: Path | None = None,
    count: int | None = None,
    *,
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
    pooling: str = "mean",
    size: int | None = None,
    settings: Settings | None = None,
    quick: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """Score every picture by an alignment of the networks that was fitted without it.

    Parameters
    ----------
    images, classes, count
        As for `study_pictures`; by default 220 crops of package photographs, or 2000 of the images given (all, if fewer).
        Crops of one photograph are never on both sides of a split.
    models : sequence of str
        At least two, as for `load_model`; by default the four small ResNets.
    layers : sequence of str
        Names of submodules that all networks have, and "logits"; the last one is looked at closely. Default: the stages that
        all of them have.
    pooling : {"mean", "none"}
        Mean over positions, or all positions as they are.
    size : int, optional
        Side of the pictures; needed where the networks' own differ.
    settings : Settings, optional
    quick : bool
        Fewer pictures, permutations and bootstrap samples.
    quiet : bool
        No progress bars.

    Raises
    ------
    ValueError
        Fewer than two networks, no common layer, and as the functions named above do.
    """
    from semrsm_bench.studies.network_rsms import common_size
    from semrsm_bench.studies.networks import provenance, study_networks

    settings = settings or Settings()
    if quick:
        settings = replace(settings, draws=min(settings.draws, 50), resampled=min(settings.resampled, 200))
    networks = study_networks(models, [layer for layer in layers if layer != LOGITS])
    if len(networks) < 2:
        raise ValueError(f"a comparison needs at least two networks, got {networks[0].name} alone; repeat --model")
    chosen = tuple(dict.fromkeys(layers)) or _common_layers(networks)
    pictures = _pictures(images, classes, count, common_size(networks, size), settings.seed, quick)
    # A crop's label is its photograph.
    groups = np.arange(len(pictures)) if images else pictures.labels
    features = {m.name: network_features(m, pictures.pixels, chosen, pooling, quiet=quiet) for m in networks}
    found = analyse(features, pictures.pixels, groups, pictures.labels, settings, quiet=quiet)
    kinds = {name: kind for name, (kind, _) in found.predictors.items()} | {LENGTH: "features"}
    clauses = (
        level_clause(found.scored[found.main], "networks", "pictures", len(networks), f" at {found.main}"),
        _predictor_clause(found),
        reliability_clause([repeat.spearman.value for repeat in found.repeats if repeat.what == "networks"]),
    )
    return StudyResult(
        name="barycenter",
        title="Instance-level comparison after barycentric alignment",
        sentence="; ".join(clauses) + ".",
        tables=[
            scores_table(found.scored, found.main),
            predictors_table(found.correlations, found.partial, found.regression, kinds),
            layers_table(found.by_layer),
            explained_table(found.explained, found.label, "class" if images else "photograph"),
            repeats_table(found.repeats),
            extremes_table(pictures.ids, found.score, found.order),
        ],
        rows=_rows(found, pictures),
        drawings=_drawings(found, pictures, len(networks)),
        inputs={"networks": provenance(networks), "pictures": pictures.provenance()},
        notes=_notes(found, features, pictures, settings, own=bool(images)),
    )


def _predictor_clause(found: Findings) -> str:
    return predictor_clause({name: found.correlations[name] for name in found.predictors}, found.partial)


def _common_layers(networks: Sequence[Model]) -> tuple[str, ...]:
    common = tuple(layer for layer in networks[0].layers if all(layer in other.layers for other in networks))
    if not common:
        raise ValueError("the networks have no layer in common; name some that all have with --layers, or take logits")
    return common


def _pictures(
    images: Sequence[Path], classes: Path | None, count: int | None, size: int, seed: int, quick: bool
) -> Pictures:
    from semrsm_bench.activations.images import find_images
    from semrsm_bench.studies.pictures import study_pictures

    if count is None:
        usual = QUICK_COUNT if quick else OWN_COUNT if images else PACKAGE_COUNT
        count = min(usual, len(find_images(images))) if images else usual
    return study_pictures(images, count=count, size=size, seed=seed, classes=classes)


def _rows(found: Findings, pictures: Pictures) -> list[dict[str, Any]]:
    common = {
        "id": pictures.ids,
        "label": pictures.labels.tolist(),
        "fold": found.fold.tolist(),
        **{name: values.tolist() for name, (_, values) in found.predictors.items()},
    }
    return [
        row
        for layer, held in found.scored.items()
        for row in score_rows(held, {**common, "layer": [layer] * len(pictures)})
    ]


def _drawings(found: Findings, pictures: Pictures, networks: int) -> list[Drawing]:
    main, held = found.main, found.scored[found.main]
    ends = [found.order[0], found.order[-1]]
    drawings = [
        Drawing(
            "pictures",
            draw_pictures(found, pictures.pixels, pictures.ids),
            f"Held-out pictures on which {networks} networks agree most (above) and least (below) at {main}, with {PRIMARY}.",
            f"Contact sheet; the scores go from {found.score[ends[0]]:.3f} ({pictures.ids[ends[0]]}) down to "
            f"{found.score[ends[1]]:.3f} ({pictures.ids[ends[1]]}).",
        ),
        Drawing(
            "scores",
            draw_scores(found.scored),
            "Similarity of held-out pictures across networks, by layer (bars), and after reordering the pictures (line).",
            f"Histograms by layer; at {main} the mean is {found.score.mean():.3f}, its null lies around "
            f"{held.null[PRIMARY].mean():.3f}, and {null_share(held):.0%} of the pictures lie above 95 % of the null.",
        ),
        Drawing(
            "predictors",
            draw_predictors(found),
            f"Left: what goes with {PRIMARY} at {main}; Spearman, the same at equal distance from the mean, and ridge "
            "coefficients, with 95 % bootstrap intervals. Right: Spearman by layer.",
            _predictor_clause(found),
        ),
    ]
    if found.repeats:
        drawings.append(
            Drawing(
                "reliability",
                draw_repeats(found),
                "Left: scores from two disjoint sets of networks, a point a picture. Right: Spearman between the scores of two "
                "layers.",
                "; ".join(
                    f"{r.first} against {r.second}: {r.spearman.value:.2f}" for r in found.repeats if r.what != "depth"
                ),
            )
        )
    return drawings


def _notes(
    found: Findings, features: dict[str, Features], pictures: Pictures, settings: Settings, *, own: bool
) -> list[str]:
    photographs = len(set(pictures.labels.tolist()))
    notes = [
        f"Every picture was scored by an alignment that was fitted without it"
        f"{'' if own else ' and without any other crop of its photograph'} ({settings.folds} folds, seed {settings.seed}). "
        "Networks are centred and scaled to unit Frobenius norm on the training part."
    ]
    if not own:
        notes.append(
            f"The crops come from {photographs} photographs, and intervals resample photographs: with so few of them they are "
            "rough, and what holds for these need not hold for others. --images takes more."
        )
    training = len(pictures) - int(np.bincount(found.fold).max())
    widest = max(f.layers[found.main].shape[1] for f in features.values())
    if training <= widest and settings.components is None:
        notes.append(
            f"At {found.main} the widest network has {widest} units, but there are only {training} training pictures: directions "
            "that they do not span are lost. --components limits the space."
        )
    if not any(kind == "outputs" for kind, _ in found.predictors.values()):
        notes.append("Predictors from outputs are left out: not all networks have logits over the same classes.")
    if found.label is None:
        notes.append("Labels are left out: there is only one, or each picture has its own.")
    if not pictures.shareable:
        notes.append("The contact sheet shows the pictures that were given: mind their licence before you pass it on.")
    return notes
