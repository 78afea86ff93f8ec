"""Labels beside points that neither overlap each other nor hide a point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Directions in the order in which a reader finds them natural: right, above right, below right, left, ...
_ANGLES = (0, 45, -45, 180, 135, -135, 90, -90, 22, -22, 158, -158, 67, -67, 112, -112)
_RADII = (6, 10, 15, 21, 28, 36, 45, 55, 66, 78, 91, 105)
_MARKER_RADIUS = 4.0


@dataclass(frozen=True)
class Box:
    """A rectangle in display points."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: Box) -> float:
        """Area that two boxes share."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0.0) * max(height, 0.0)

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def place_boxes(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    bounds: Box,
    obstacles: Sequence[Box] = (),
) -> list[Box]:
    """Boxes near their points, inside the bounds, clear of one another, of all points and of the obstacles where there is room.

    Points are (x, y), sizes (width, height) of their labels in the same unit. Greedy: each label in turn takes the nearest place
    with the least overlap.
    """
    r = _MARKER_RADIUS
    taken = [Box(x - r, y - r, x + r, y + r) for x, y in points] + list(obstacles)
    placed: list[Box] = []
    for point, size in zip(points, sizes):
        best, cost = None, math.inf
        for radius in _RADII:
            for rank, angle in enumerate(_ANGLES):
                box = _beside(point, size, radius, math.radians(angle))
                outside = box.area - box.overlap(bounds)
                covered = sum(box.overlap(other) for other in taken)
                here = 10 * outside + 10 * covered + radius + 0.3 * rank
                if here < cost:
                    best, cost = box, here
            if cost <= radius + 0.3 * len(_ANGLES):
                break
        assert best is not None
        placed.append(best)
        taken.append(best)
    return placed


def _beside(point: tuple[float, float], size: tuple[float, float], radius: float, angle: float) -> Box:
    """The box whose edge lies ``radius`` away from the point in that direction."""
    cos, sin = math.cos(angle), math.sin(angle)
    # The nearest point of the box: its left edge for labels to the right, its middle for those above and below.
    x = point[0] + radius * cos + (cos - 1) / 2 * size[0]
    y = point[1] + radius * sin + (sin - 1) / 2 * size[1]
    return Box(x, y, x + size[0], y + size[1])


@dataclass(frozen=True)
class Label:
    """A text beside a point in data coordinates."""

    point: tuple[float, float]
    text: str
    color: str
    size: float
    weight: str


def label_points(axes: Axes, labels: Sequence[Label], lines: Sequence[Sequence[tuple[float, float]]] = ()) -> None:
    """Annotate points, with a thin line to labels that had to move away.

    ``lines`` are paths of horizontal and vertical pieces that labels should not cross, in data coordinates. Limits and position
    of the axes must be final.
    """
    figure = axes.figure
    scale = 72 / figure.dpi
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]

    def in_points(p: tuple[float, float]) -> tuple[float, float]:
        x, y = axes.transData.transform(p)
        return float(x) * scale, float(y) * scale

    at = [in_points(label.point) for label in labels]
    pieces = [
        Box(min(a[0], b[0]) - 1, min(a[1], b[1]) - 1, max(a[0], b[0]) + 1, max(a[1], b[1]) + 1)
        for line in lines
        for a, b in itertools.pairwise(map(in_points, line))
    ]
    window = axes.get_window_extent(renderer)
    bounds = Box(window.x0 * scale, window.y0 * scale, window.x1 * scale, window.y1 * scale)
    extents = []
    for label in labels:
        probe = figure.text(0, 0, label.text, fontsize=label.size, fontweight=label.weight)
        extent = probe.get_window_extent(renderer)
        extents.append((extent.width * scale + 2, extent.height * scale + 1))
        probe.remove()
    offset: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}
    for box, (x, y), label in zip(place_boxes(at, extents, bounds, pieces), at, labels):
        centre = ((box.x0 + box.x1) / 2 - x, (box.y0 + box.y1) / 2 - y)
        nearest = (min(max(x, box.x0), box.x1) - x, min(max(y, box.y0), box.y1) - y)
        if math.hypot(*nearest) > 1.8 * _RADII[0]:
            arrow = {"arrowstyle": "-", "lw": 0.5, "color": label.color, "alpha": 0.6, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", label.point, xytext=nearest, arrowprops=arrow, **offset)
        look: dict[str, Any] = {"fontsize": label.size, "fontweight": label.weight, "color": label.color}
        axes.annotate(label.text, label.point, xytext=centre, ha="center", va="center", **look, **offset)


def space_out(values: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Positions as near to the values as a minimal distance between them and the limits allow, in the same order.

    Where there is no room for the distance, they are spaced evenly between the limits.
    """
    from scipy.optimize import isotonic_regression

    if not len(values):
        return []
    order = np.argsort(values, kind="stable")
    steps = np.arange(len(values)) * min(distance, (high - low) / max(len(values) - 1, 1))
    # Least squares under the distances: isotonic regression of what is left once they are taken off.
    placed = np.empty(len(values))
    placed[order] = np.clip(isotonic_regression(np.asarray(values)[order] - steps).x, low, high - steps[-1]) + steps
    return [float(place) for place in placed]
