"""RSMs as pictures: ordered by label, with a colour bar."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from semrsm_bench.rsm.store import read_description

_PANEL_INCHES = 4.2


def rsm_figure(rsms: Mapping[str, ArrayLike], *, labels: ArrayLike | None = None) -> Figure:
    """Draw RSMs, (N, M), by title side by side, rows and columns ordered by label.

    Entries that are NaN (not computed yet) stay grey. Labels, (N,) integers, are those of the images in the rows, and in the
    columns of a square matrix; images of one label stand together, in their own order, and thin lines part the labels. Each panel
    has a colour bar over the range of its finite entries, off the diagonal of a square matrix; diverging around 0 where both
    signs occur. ValueError: no RSM, not two-dimensional, or labels that do not fit.
    """
    if not rsms:
        raise ValueError("there is no RSM to draw")
    columns = math.ceil(math.sqrt(len(rsms)))
    rows = math.ceil(len(rsms) / columns)
    figure = Figure(figsize=(_PANEL_INCHES * columns, _PANEL_INCHES * 0.9 * rows), layout="constrained")
    for place, (title, values) in enumerate(rsms.items(), 1):
        matrix = np.asarray(values, dtype=np.float64)
        if matrix.ndim != 2 or matrix.size == 0:
            raise ValueError(f"an RSM is a matrix, {title!r} has shape {matrix.shape}")
        _draw(figure, figure.add_subplot(rows, columns, place), title, matrix, labels)
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
            matrix = np.load(file, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{file} holds no RSM: {error}") from None
        source = {file.stem: matrix}
        labels = read_description(file).get("labels") if labels is None else labels
    figure = rsm_figure(source, labels=labels)
    formats = figure.canvas.get_supported_filetypes()
    suffix = Path(path).suffix[1:].lower()
    if suffix not in formats:
        raise ValueError(f"a picture ends in one of {', '.join(sorted(formats))}, got {path}")
    figure.savefig(path, dpi=150)


def _draw(figure: Figure, axes: Any, title: str, matrix: NDArray[np.float64], labels: ArrayLike | None) -> None:
    if labels is not None:
        known = np.asarray(labels)
        if known.shape != (len(matrix),):
            raise ValueError(f"{known.shape} labels do not fit the {len(matrix)} rows of {title!r}")
        order = np.argsort(known, kind="stable")
        square = matrix.shape[0] == matrix.shape[1]
        matrix = matrix[order][:, order] if square else matrix[order]
        bounds = np.flatnonzero(np.diff(known[order])) + 1
        # Where every image has a label of its own, lines would only hide the entries.
        for bound in bounds if len(bounds) < len(matrix) - 1 else ():
            axes.axhline(bound - 0.5, color="white", linewidth=0.4)
            if square:
                axes.axvline(bound - 0.5, color="white", linewidth=0.4)
    low, high = _range(matrix)
    diverging = low < 0 < high
    if diverging:
        low, high = -max(-low, high), max(-low, high)
    colours = {"cmap": "RdBu_r" if diverging else "viridis", "vmin": low, "vmax": high}
    axes.set_facecolor("lightgrey")
    aspect = "equal" if matrix.shape[0] == matrix.shape[1] else "auto"
    image = axes.imshow(np.ma.masked_invalid(matrix), interpolation="nearest", aspect=aspect, **colours)
    figure.colorbar(image, ax=axes, extend="neither" if high >= np.nanmax(matrix, initial=high) else "max")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("image")
    axes.set_ylabel("image" + (", ordered by label" if labels is not None else ""))


def _range(matrix: NDArray[np.float64]) -> tuple[float, float]:
    """Range of the entries off the diagonal of a square matrix: the norms on it would drown the rest."""
    shown = matrix
    if matrix.shape[0] == matrix.shape[1] and len(matrix) > 1:
        shown = matrix[~np.eye(len(matrix), dtype=bool)]
    finite = shown[np.isfinite(shown)]
    if finite.size == 0:
        return 0.0, 1.0
    return float(finite.min()), float(finite.max())
