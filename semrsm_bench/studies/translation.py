"""Do RSMs see that two overlapping crops show the same thing? (Wald et al. 2024, section 4.1, Fig. 2 and appendix B)"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.crops import Shift, batches, overlapping_crops, scene_side
from semrsm_bench.progress import progress_bar
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.studies.network_rsms import BLOCKS, LAST, SEMANTIC, How, choose_layers, layer_rsms
from semrsm_bench.studies.pictures import Pictures, study_pictures
from semrsm_bench.studies.separation import POOLED, Separation, crop_pairs, separate
from semrsm_bench.studies.study import Drawing, StudyResult

if TYPE_CHECKING:
    from semrsm_bench.activations.models import Model

Matrix = NDArray[np.float64]

NAME = "translation"
BATCH = 10
COUNT, QUICK_COUNT = 100, 20
# Layers with more positions are left out of the quick version.
QUICK_POSITIONS = 1024


@dataclass(frozen=True)
class Key:
    """Which RSM: of a network's layer, for a shift, with a matching and a kernel."""

    network: str
    shift: Shift
    layer: str
    matching: str
    kernel: str


@dataclass
class Found:
    """What was computed for one key, batch by batch.

    Attributes
    ----------
    positions : int
    solver : str
        That matched the positions; empty where none did.
    rsms : list of ndarray, (2 n, 2 n)
    """

    positions: int
    solver: str
    rsms: list[Matrix] = field(default_factory=list)


@dataclass(frozen=True)
class Looked:
    """A network with the pictures it looked at.

    Attributes
    ----------
    model : Model
    size : int
        Side of the crops.
    scenes : Pictures
        That the crops were cut from.
    groups : list of ndarray
        Batches of them.
    shifts : tuple of Shift
    """

    model: Model
    size: int
    scenes: Pictures
    groups: list[NDArray[np.intp]]
    shifts: tuple[Shift, ...]


def translation(
    models: Sequence[str | Model] = (),
    *,
    images: Sequence[Path] = (),
    classes: Path | None = None,
    count: int | None = None,
    layers: Sequence[str] = (),
    size: int | None = None,
    shifts: Sequence[Shift] = (),
    batch: int = BATCH,
    how: How | None = None,
    seed: int = 0,
    quick: bool = False,
    quiet: bool = True,
) -> StudyResult:
    """Cut two overlapping crops out of each picture and see which RSMs find them similar.

    Parameters
    ----------
    models : sequence of str or Model
        See `semrsm_bench.studies.networks.study_network`; by default the shipped ResNet-18.
    images, classes, count, seed
        See `study_pictures`; ``count`` is a multiple of ``batch``.
    layers : sequence of str
        See `choose_layers`; default: the network's own.
    size : int, optional
        Side of the crops; default: what each network wants.
    shifts : sequence of Shift
        Of the second crop against the first; default: down by 5/16 of the side, the paper's 20 of 64 pixels.
    batch : int
        Pictures in an RSM, which has two crops of each.
    how : How, optional
        Kernels (default RBF), solvers, centring, bandwidth.
    quick : bool
        Fewer pictures, and no layer with more than 1,024 positions.
    quiet : bool
        No progress bar.

    Raises
    ------
    ValueError
        Too few pictures, crops that do not overlap, an unknown layer, solver or kernel, or nothing left to look at.
    """
    chosen = replace(how or How(kernels=("rbf",), large_solver="list-auction-fine"), translation=True)
    looked = [
        _look(model, images, classes, count or (QUICK_COUNT if quick else COUNT), size, shifts, batch, seed)
        for model in _load(models, layers)
    ]
    found: dict[Key, Found] = {}
    left_out: set[str] = set()
    steps = sum(len(one.groups) * len(one.shifts) for one in looked)
    with progress_bar(steps, "RSMs", unit="batch", quiet=quiet) as bar:
        for one in looked:
            for group in one.groups:
                for shift in one.shifts:
                    crops = overlapping_crops(one.scenes.pixels[group], one.size, shift)
                    for key, positions, solver, rsm in _rsms(one.model, shift, crops, chosen, quick, left_out):
                        found.setdefault(key, Found(positions, solver)).rsms.append(rsm)
                    bar.update()
    if not found:
        raise ValueError(
            f"--quick leaves out layers of more than {QUICK_POSITIONS:,} positions, which are all of them here: "
            f"{', '.join(sorted(left_out))}"
        )
    return _result(looked, found, chosen, seed, sorted(left_out))


def _load(models: Sequence[str | Model], layers: Sequence[str]) -> list[Model]:
    from semrsm_bench.studies.networks import study_network

    # A word for a choice of layers is no name that the loader could check.
    names_or_words = () if tuple(layers) in ((LAST,), (BLOCKS,)) else layers
    loaded = [study_network(m, names_or_words) if isinstance(m, str) else m for m in models]
    loaded = loaded or [study_network(None, names_or_words)]
    names = [model.name for model in loaded]
    if len(set(names)) < len(names):
        raise ValueError(f"two networks have the same name ({', '.join(names)}); rename one of the files")
    return [choose_layers(model, layers) for model in loaded]


def _look(
    model: Model,
    images: Sequence[Path],
    classes: Path | None,
    count: int,
    size: int | None,
    shifts: Sequence[Shift],
    batch: int,
    seed: int,
) -> Looked:
    side = size or model.size
    wanted = tuple(dict.fromkeys(shifts)) or (Shift.usual(side),)
    pictures = study_pictures(images, count=count, size=scene_side(side, wanted), seed=seed, classes=classes)
    return Looked(model, side, pictures, batches(pictures.labels, batch, seed), wanted)


def _rsms(
    model: Model, shift: Shift, crops: NDArray[np.uint8], how: How, quick: bool, left_out: set[str]
) -> Iterator[tuple[Key, int, str, Matrix]]:
    """RSMs of a batch for all layers, matchings and kernels."""
    from semrsm_bench.activations.forward import activations_of

    seen = activations_of(model, crops, quiet=True)
    for layer, z in seen.layers.items():
        positions = z.shape[2]
        if quick and positions > QUICK_POSITIONS:
            left_out.add(f"{layer} of {model.name}")
            continue
        rsms = layer_rsms(model.name, layer, z, seen.grids[layer], how)
        pooled = compute_rsm(
            z.mean(axis=2, keepdims=True),
            kernel=list(how.kernels),
            matching="identity",
            sigma=how.sigma,
            centring=how.centring,
        )
        for matching, per_kernel in {**rsms.rsms, POOLED: pooled}.items():
            solver = rsms.solver if matching == SEMANTIC else ""
            for kernel, rsm in per_kernel.items():
                yield Key(model.name, shift, layer, matching, kernel), positions, solver, rsm


def _result(
    looked: Sequence[Looked], found: dict[Key, Found], how: How, seed: int, left_out: Sequence[str]
) -> StudyResult:
    from semrsm_bench.studies.networks import provenance
    from semrsm_bench.studies.translation_report import differences, notes, sentence, tables

    separations = {key: separate(one.rsms, seed) for key, one in found.items()}
    compared = differences(separations)
    return StudyResult(
        NAME,
        "Translation: overlapping crops of one picture against unrelated ones",
        sentence(separations, compared),
        tables(separations, found, compared),
        list(_rows(looked, found)),
        drawings=_drawings(looked, found, separations),
        inputs={
            "networks": provenance([one.model for one in looked]),
            "pictures": [one.scenes.provenance() for one in looked],
            "crops": [{"size": one.size, "shifts": [str(s) for s in one.shifts]} for one in looked],
            "batches": [len(one.groups) for one in looked],
            "picture_ids": looked[0].scenes.ids,
        },
        notes=notes(looked, how, left_out),
    )


def _rows(looked: Sequence[Looked], found: dict[Key, Found]) -> Iterator[dict[str, Any]]:
    """One row for each pair of crops; pictures are numbered as in ``picture_ids`` of the inputs."""
    for one in looked:
        for key, here in found.items():
            if key.network != one.model.name:
                continue
            fixed = {
                "network": key.network,
                "shift": str(key.shift),
                "layer": key.layer,
                "positions": here.positions,
                "matching": key.matching,
                "solver": here.solver,
                "kernel": key.kernel,
            }
            for number, (group, rsm) in enumerate(zip(one.groups, here.rsms, strict=True)):
                rows, columns, same = crop_pairs(len(group))
                crops = np.concatenate([group, group])
                for i, j, overlaps in zip(rows.tolist(), columns.tolist(), same.tolist(), strict=True):
                    yield {
                        **fixed,
                        "batch": number,
                        "picture": int(crops[i]),
                        "shifted": i >= len(group),
                        "other_picture": int(crops[j]),
                        "other_shifted": j >= len(group),
                        "overlapping": overlaps,
                        "similarity": float(f"{rsm[i, j]:.7g}"),
                    }


def _drawings(looked: Sequence[Looked], found: dict[Key, Found], separations: dict[Key, Separation]) -> list[Drawing]:
    from semrsm_bench.studies.translation_figures import draw_auroc, draw_crops, draw_rsms

    kernel = next(iter(found)).kernel
    drawings = []
    for one in looked:
        suffix = "" if len(looked) == 1 else f"-{one.model.name}"
        here = [key for key in found if (key.network, key.shift, key.kernel) == (one.model.name, one.shifts[0], kernel)]
        if here:
            drawings.append(draw_rsms(f"rsms{suffix}", {k: found[k] for k in here}, {k: separations[k] for k in here}))
    drawings.append(draw_auroc({k: s for k, s in separations.items() if k.kernel == kernel}))
    first = looked[0]
    chosen = first.groups[0][:3]
    drawings.append(draw_crops(first.scenes.pixels[chosen], first.size, first.shifts))
    return drawings
