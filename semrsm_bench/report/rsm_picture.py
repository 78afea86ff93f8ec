"""RSMs as pictures: ordered by label, with a colour bar."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semrsm_bench.core.arrays import load_array
from semrsm_bench.core.files import writing
from semrsm_bench.report.figures.parts import heat
from semrsm_bench.report.style import RC, new_panels
from semrsm_bench.rsm.store import read_description

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rsm_figure(rsms: Mapping[str, ArrayLike], *, labels: ArrayLike | None = None) -> Figure:
    """Draw RSMs, (N, M), by title side by side, rows and columns ordered by label.

    Entries that are NaN (not computed yet) stay grey. Labels, (N,) integers, are those of the images in the rows, and in the
    columns of a square matrix; images of one label are together, in their own order, and thin lines part the labels. Each panel
    has a colour bar over the range of its finite entries, off the diagonal of a square matrix; diverging around 0 where both
    signs occur. ValueError: no RSM, not two-dimensional, or labels that do not fit.
    """
    import matplotlib as mpl

    if not rsms:
        raise ValueError("there is no RSM to draw")
    with mpl.rc_context({"text.parse_math": RC["text.parse_math"]}):
        figure, grid = new_panels(len(rsms), math.ceil(math.sqrt(len(rsms))), (4.2, 3.8))
        for axes, (title, values) in zip(grid.flat, rsms.items()):
            matrix = np.asarray(values, dtype=np.float64)
            if matrix.ndim != 2 or matrix.size == 0:
                raise ValueError(f"an RSM is a matrix, {title!r} has shape {matrix.shape}")
            square = matrix.shape[0] == matrix.shape[1]
            if labels is not None:
                known = np.asarray(labels)
                if known.shape != (len(matrix),):
                    raise ValueError(f"{known.shape} labels do not fit the {len(matrix)} rows of {title!r}")
                order = np.argsort(known, kind="stable")
                matrix = matrix[order][:, order] if square else matrix[order]
                bounds = np.flatnonzero(np.diff(known[order])) + 0.5
                # Where every image has a label of its own, lines would only hide the entries.
                for bound in bounds if len(bounds) < len(matrix) - 1 else ():
                    axes.axhline(bound, color="white", linewidth=0.4)
                    if square:
                        axes.axvline(bound, color="white", linewidth=0.4)
            # On the diagonal of a square matrix are norms, far larger than the rest: they do not choose the colours.
            shown = matrix[~np.eye(len(matrix), dtype=bool)] if square and len(matrix) > 1 else matrix
            finite = shown[np.isfinite(shown)]
            ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
            heat(axes, matrix, ends=ends, aspect="equal" if square else "auto")
            axes.set_title(title, fontsize=10)
            axes.set(xlabel="image", ylabel="image" + (", ordered by label" if labels is not None else ""))
    return figure


def save_rsm_picture(
    source: str | Path | Mapping[str, ArrayLike], path: str | Path, labels: ArrayLike | None = None
) -> None:
    """Write the picture of RSMs to a file whose suffix says the format (.png, .svg, .pdf).

    They are given by title, or as an .npy file; for one that `semrsm_bench.compute_rsm` streamed, the labels are taken from
    beside it. ValueError, FileNotFoundError: no RSM in the file, or an unknown format.
    """
    if isinstance(source, str | Path):
        file = Path(source)
        try:
            matrix = load_array(file, mmap_mode="r")
        except ValueError as error:
            raise ValueError(f"{file} holds no RSM: {error}") from None
        source = {file.stem: matrix}
        labels = read_description(file).get("labels") if labels is None else labels
    _save(rsm_figure(source, labels=labels), Path(path))


def save_layer_map(
    values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], title: str, path: str | Path
) -> None:
    """Write a heat map of values between layers, (rows, columns); the file's suffix says the format."""
    side = 1.6 + 0.3 * max(len(rows), len(columns), 6)
    figure, grid = new_panels(1, 1, (side + 0.6, side))
    heat(grid.flat[0], values, rows, columns)
    grid.flat[0].set_title(title, fontsize=8)
    _save(figure, Path(path))


def _save(figure: Figure, path: Path) -> None:
    with writing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:] or None, dpi=150)
