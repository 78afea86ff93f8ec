"""Instance-level comparison of arrays given as files, such as image and text embeddings of the same items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.manifest import file_sha256
from semrsm_bench.studies.barycenter_figures import draw_scores
from semrsm_bench.studies.barycenter_tables import (
    extremes_table,
    level_clause,
    null_share,
    score_rows,
    scores_table,
)
from semrsm_bench.studies.held_out import PRIMARY, agreement_order, assign_folds, held_out_scores, nearest_is_own
from semrsm_bench.studies.instance_findings import Settings
from semrsm_bench.studies.study import Drawing, StudyResult, Table

# Rows that are looked through for NaN at once, so that a mapped file need not fit into memory.
_ROWS = 4096


def read_paired(paths: Sequence[Path], ids: Path | None = None) -> tuple[list[NDArray[np.generic]], list[str]]:
    """Open arrays of the same items and their names.

    Parameters
    ----------
    paths : sequence of Path
        At least two ``.npy`` files of shape (n, d_k), mapped, not read.
    ids : Path, optional
        Text file with one name a line; without it items are numbered from 0.

    Returns
    -------
    arrays, ids

    Raises
    ------
    ValueError
        Fewer than two files, another suffix, no array of real numbers with two axes, NaN or infinity, an array that is the
        same for all items, different n, or ids that do not fit. The message names the file.
    FileNotFoundError
    """
    if len(paths) < 2:
        raise ValueError(f"--features needs at least two files, whose rows are the same items; got {len(paths)}")
    arrays = [_open(path) for path in paths]
    if len({len(array) for array in arrays}) > 1:
        counts = ", ".join(f"{path.name} {len(array)}" for path, array in zip(paths, arrays, strict=True))
        raise ValueError(f"the files must hold the same items in the same order, but their rows differ: {counts}")
    count = len(arrays[0])
    for path, array in zip(paths, arrays, strict=True):
        _require_usable(path, array)
    if ids is None:
        return arrays, [str(i) for i in range(count)]
    names = ids.read_text(encoding="utf-8").splitlines()
    if len(names) != count:
        raise ValueError(f"{ids.name} has {len(names)} lines, but the arrays have {count} rows")
    return arrays, names


def _open(path: Path) -> NDArray[np.generic]:
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path}: features are read from .npy files; write them with numpy.save")
    try:
        array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable array ({error})") from None
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: needed is an array (n, d) of real numbers, this one is {array.shape} {array.dtype}")
    if not array.shape[1]:
        raise ValueError(f"{path}: the array has no columns")
    return array


def _require_usable(path: Path, array: NDArray[np.generic]) -> None:
    differs = False
    for start in range(0, len(array), _ROWS):
        part = np.asarray(array[start : start + _ROWS])
        if array.dtype.kind == "f" and not np.isfinite(part).all():
            row, column = (int(k) for k in np.argwhere(~np.isfinite(part))[0])
            raise ValueError(
                f"{path}: row {start + row}, column {column} is {part[row, column]}; drop that item from all files"
            )
        differs = differs or bool((part != array[0]).any())
    if not differs:
        raise ValueError(f"{path}: all rows are the same, so there is nothing to align")


def paired_arrays(
    paths: Sequence[Path],
    ids: Path | None = None,
    settings: Settings | None = None,
    *,
    quick: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """Align arrays on training items, score the held-out ones, list those agreed on most and least.

    Items of one name (several captions of one picture) stay on one side. Parameters and errors as for `read_paired` and
    `semrsm_bench.studies.held_out.held_out_scores`.
    """
    arrays, names = read_paired(paths, ids)
    settings = settings or Settings()
    fold = assign_folds(names, settings.folds, settings.seed)
    held = held_out_scores(
        arrays,
        fold,
        group=settings.group,
        components=settings.components,
        draws=min(settings.draws, 50) if quick else settings.draws,
        seed=settings.seed,
        progress="" if quiet else "aligning",
    )
    order = agreement_order(held.scores[PRIMARY])
    share, chance = nearest_is_own(held.aligned, fold, names)
    labels = [path.stem for path in paths]
    level = level_clause(held, "arrays", "items", len(arrays))
    nearest = (
        f"an item's nearest neighbour in another array is its own counterpart for {share:.1%} ({chance:.1%} by chance)"
    )
    notes = [
        f"Every item was scored by an alignment that was fitted without it ({settings.folds} folds, seed {settings.seed})"
        + ("; items of the same name are in the same fold." if ids is not None else "."),
    ]
    smallest, widest = len(arrays[0]) - int(np.bincount(fold).max()), max(array.shape[1] for array in arrays)
    if smallest <= widest and settings.components is None:
        notes.append(
            f"The widest array has {widest} columns, but there are only {smallest} training items: directions that they do "
            "not span are lost; --components limits the space."
        )
    return StudyResult(
        name="barycenter",
        title="Instance-level comparison after barycentric alignment: paired arrays",
        sentence=f"{level}; {nearest}.",
        tables=[
            scores_table({" + ".join(labels): held}, main=" + ".join(labels)),
            Table(
                "The same item in another array",
                ("nearest neighbour is the same item", "by chance", "items", "arrays"),
                [(share, chance, len(names), len(arrays))],
                note="By cosine among the held-out items of a fold; mean over items and ordered pairs of arrays.",
            ),
            extremes_table(names, held.scores[PRIMARY], order),
        ],
        rows=score_rows(held, {"id": names, "fold": fold.tolist()}),
        drawings=[
            Drawing(
                "scores",
                draw_scores({" + ".join(labels): held}),
                "Similarity of held-out items across arrays (bars) and after reordering the items (line).",
                f"Histogram of scores with a mean of {held.scores[PRIMARY].mean():.3f}, its null around "
                f"{held.null[PRIMARY].mean():.3f}; {null_share(held):.0%} of the items lie above 95 % of the null.",
            )
        ],
        inputs={
            "features": [
                {"name": path.name, "sha256": file_sha256(path), "shape": list(array.shape)}
                for path, array in zip(paths, arrays, strict=True)
            ],
            "ids": ids.name if ids else None,
        },
        notes=notes,
    )
