"""Labels beside points that neither overlap each other nor hide a point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
# Directions in the order in which a reader finds them natural: right, above right, below right, left, ...
_ANGLES = np.radians((0, 45, -45, 180, 135, -135, 90, -90, 22, -22, 158, -158, 67, -67, 112, -112))
_RADII = np.array((6, 10, 15, 21, 28, 36, 45, 55, 66, 78, 91, 105))
_DIRECTIONS = np.tile(np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)]), (len(_RADII), 1))
_DISTANCES = np.repeat(_RADII, len(_ANGLES))[:, None]
_PREFERENCE = _DISTANCES[:, 0] + 0.3 * np.tile(np.arange(len(_ANGLES)), len(_RADII))
_MARKER_RADIUS = 4.0


def overlap(a: Floats, b: Floats) -> Floats:
    """Area that rectangles share; (..., 4) each: left, bottom, right, top."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.asarray(np.maximum(sides, 0.0).prod(axis=-1))


def place_boxes(points: ArrayLike, sizes: ArrayLike, bounds: ArrayLike, obstacles: Sequence[ArrayLike] = ()) -> Floats:
    """Boxes near their points, inside the bounds, clear of one another, of all points and of the obstacles where there is room.

    Points are (n, 2), sizes (n, 2) of their labels in the same unit; boxes (n, 4). Each label in turn takes the nearest place
    with the least overlap.
    """
    at, extents = np.reshape(np.asarray(points, float), (-1, 2)), np.reshape(np.asarray(sizes, float), (-1, 2))
    taken = np.vstack([np.hstack([at - _MARKER_RADIUS, at + _MARKER_RADIUS]), *map(np.atleast_2d, obstacles)])
    for point, size in zip(at, extents):
        # The nearest point of the box: its left edge for labels to the right, its middle for those above and below.
        corners = point + _DISTANCES * _DIRECTIONS + (_DIRECTIONS - 1) / 2 * size
        boxes = np.hstack([corners, corners + size])
        covered = overlap(boxes[:, None], taken).sum(axis=1) + size.prod() - overlap(boxes, np.asarray(bounds, float))
        taken = np.vstack([taken, boxes[np.argmin(10 * covered + _PREFERENCE)]])
    return taken[len(taken) - len(at) :]


def label_points(
    axes: Axes,
    labels: Sequence[tuple[tuple[float, float], str, dict[str, Any]]],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
) -> None:
    """Write texts of a style beside points, in data coordinates, with a thin line to those that had to move away.

    ``lines`` are paths of horizontal and vertical pieces that labels should not cross. Limits and position of the axes are final.
    """
    figure = axes.figure
    scale = 72 / figure.dpi
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    at = scale * axes.transData.transform([point for point, *_ in labels])
    paths = [scale * axes.transData.transform(line) for line in lines]
    pieces = [np.hstack([np.minimum(a, b) - 1, np.maximum(a, b) + 1]) for p in paths for a, b in itertools.pairwise(p)]
    sizes = []
    for _, text, style in labels:
        probe = figure.text(0, 0, text, **style)
        sizes.append(np.array(probe.get_window_extent(renderer).size) * scale + (2, 1))
        probe.remove()
    offset: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}
    boxes = place_boxes(at, sizes, scale * np.array(axes.get_window_extent(renderer).extents), pieces)
    for box, place, (point, text, style) in zip(boxes, at, labels):
        nearest = np.clip(place, box[:2], box[2:]) - place
        if math.hypot(*nearest) > 1.8 * _RADII[0]:
            arrow = {"arrowstyle": "-", "lw": 0.5, "color": style["color"], "alpha": 0.6, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", point, xytext=nearest, arrowprops=arrow, **offset)
        axes.annotate(text, point, xytext=(box[:2] + box[2:]) / 2 - place, ha="center", va="center", **style, **offset)
