"""Pictures side by side with a line of text under each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.report.style import RC, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL_INCHES = 0.95
_CAPTION_INCHES = 0.13
_LABEL_INCHES = 0.85


def contact_sheet(
    pixels: NDArray[np.uint8],
    captions: Sequence[str],
    columns: int,
    title: str = "",
    *,
    row_labels: Sequence[str] = (),
) -> Figure:
    """Draw pictures on a grid, row by row.

    Parameters
    ----------
    pixels : ndarray, (N, H, W, 3), uint8
    captions : sequence of str
        One a picture, below it; may hold line breaks, an empty one takes no room.
    columns : int
        Pictures in a row.
    title : str
    row_labels : sequence of str, optional
        One a row, at its left.

    Raises
    ------
    ValueError
        No picture, pixels of another shape or type, or texts that do not fit their number.
    """
    import matplotlib as mpl

    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or not len(pixels):
        raise ValueError(f"pixels must be (N, H, W, 3) uint8 with N >= 1, got {pixels.shape} {pixels.dtype}")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    if len(captions) != len(pixels):
        raise ValueError(f"{len(captions)} captions do not fit {len(pixels)} pictures")
    rows = math.ceil(len(pixels) / columns)
    if row_labels and len(row_labels) != rows:
        raise ValueError(f"{len(row_labels)} row labels do not fit {rows} rows")
    lines = max(caption.count("\n") + 1 if caption else 0 for caption in captions)
    cell = _CELL_INCHES + _CAPTION_INCHES * lines + 0.06
    left, top = (_LABEL_INCHES if row_labels else 0.05), (0.3 if title else 0.05)
    width, height = left + columns * (_CELL_INCHES + 0.06), top + rows * cell
    with mpl.rc_context(dict(RC)):
        figure = new_figure(width, height)
        for place, (picture, caption) in enumerate(zip(pixels, captions, strict=True)):
            row, column = divmod(place, columns)
            x, y = left + column * (_CELL_INCHES + 0.06), height - top - row * cell - _CELL_INCHES
            axes = figure.add_axes((x / width, y / height, _CELL_INCHES / width, _CELL_INCHES / height))
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            figure.text(
                (x + _CELL_INCHES / 2) / width, (y - 0.03) / height, caption, fontsize=6.5, ha="center", va="top"
            )
        for row, label in enumerate(row_labels):
            y = height - top - row * cell - _CELL_INCHES / 2
            figure.text(0.05 / width, y / height, label, fontsize=8, ha="left", va="center")
        if title:
            figure.text(0.05 / width, 1 - 0.05 / height, title, fontsize=9.5, ha="left", va="top")
    return figure
