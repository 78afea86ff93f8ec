"""What the pictures of several tasks are made of: looks of methods, heat maps, curves and forests, contact sheets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.stats import Interval
from semrsm_bench.core.task import Score
from semrsm_bench.report.places import Place
from semrsm_bench.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RSM_LOOKS,
    SKY,
    VERMILION,
    YELLOW,
    new_figure,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Looks = Mapping[str, tuple[str, str]]

_BASELINES = ("pooled", "random")
_COLOURS, _MARKERS = (PURPLE, SKY, YELLOW, BLUE, VERMILION, GREEN, ORANGE), "vPp*h<"
# Larger heat maps have no room for numbers.
_MOST_NUMBERS = 10
_CELL_INCHES, _LINE_INCHES, _LABEL_INCHES, _GAP_INCHES = 0.95, 0.13, 0.85, 0.06


def method_looks(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each RSM method, baselines last; those that most figures show keep theirs."""
    names = list(dict.fromkeys(methods))
    others = [name for name in names if name not in RSM_LOOKS]
    spare = {
        name: (_COLOURS[i % len(_COLOURS)], _MARKERS[(i % len(_COLOURS) + i // len(_COLOURS)) % len(_MARKERS)])
        for i, name in enumerate(others)
    }
    known = [name for name in RSM_LOOKS if name in names]
    ordered = sorted([*known, *others], key=lambda name: name in _BASELINES)
    return {name: RSM_LOOKS.get(name) or spare[name] for name in ordered}


def by_depth(places: Iterable[Place]) -> list[str]:
    """Names of layers from the input on: those with more positions come first."""
    sizes = {str(place["layer"]): int(place.get("size", 0)) for place in places}
    return sorted(sizes, key=lambda layer: -sizes[layer])


def value_of(place: Place, *keys: str) -> tuple[Any, ...]:
    """Values of a cell for some keys."""
    return tuple(place.get(key, "") for key in keys)


def words_of(places: Sequence[Place], without: Sequence[str] = ()) -> list[str]:
    """What tells cells apart, in words; without keys that all share, and without S and C where the layer says them."""
    first = places[0] if places else {}
    hidden = {*without, *(("size", "channels") if "layer" in first else ())}
    varying = [key for key in first if key not in hidden and len({place.get(key, "") for place in places}) > 1]
    return [", ".join(short(str(place[key])) for key in varying) for place in places]


def draw_forest(
    summaries: Sequence[Summary],
    scores: Sequence[Score],
    across: str,
    *,
    hollow: Mapping[str, str] | None = None,
    lines: Mapping[tuple[str, Any], float] | None = None,
) -> Figure:
    """Scores with intervals: a panel for each score and each value of a key, a row for each other cell, colours for methods.

    Summaries without these scores are left out. ``hollow`` maps a score to a second one in the same panel, as an open marker;
    ``lines`` maps a score and a value of the key to a dotted line, such as chance.
    """
    models = [s.place.get("model") for s in summaries]
    shown = sorted(
        (s for s in summaries if any(score.name in s.scores for score in scores)),
        key=lambda s: (models.index(s.place.get("model")), -int(s.place.get("size", 0))),
    )
    places = [s.place for s in shown]
    columns = by_depth(places) if across == "layer" else list(dict.fromkeys(place.get(across, "") for place in places))
    rows = list(dict.fromkeys(words_of(places, [across])))
    row_of = dict(zip(map(id, shown), words_of(places, [across])))
    looks = method_looks(s.method for s in shown)
    order, step = list(looks), 0.8 / max(4, len(looks))
    height = (0.5 + (0.1 + 0.11 * max(3, len(order))) * len(rows)) * len(scores) + 0.5
    width = 2.0 + 2.3 * len(columns)
    figure = new_figure(width, height + 0.2 * math.ceil(len(order) / _legend_columns(width)))
    panels = figure.subplots(len(scores), len(columns), sharex="row", sharey=True, squeeze=False)
    for (score, value), axes in zip(itertools.product(scores, columns), panels.flat):
        for s in shown:
            if s.place.get(across, "") != value or score.name not in s.scores:
                continue
            colour, mark = looks[s.method]
            y = rows.index(row_of[id(s)]) + step * (order.index(s.method) - (len(order) - 1) / 2)
            found = s.scores[score.name]
            axes.plot([found.low, found.high], [y, y], color=colour, lw=1.3)
            if hollow and (second := s.scores.get(hollow.get(score.name, ""))):
                axes.plot(second.value, y, mark, ms=7, mfc="white", mec=colour)
            axes.plot(found.value, y, mark, ms=4, color=colour)
        if lines and (score.name, value) in lines:
            axes.axvline(lines[score.name, value], color=GREY, ls=":", lw=1)
        elif score.chance is not None:
            axes.axvline(score.chance, color=GREY, lw=0.7)
        axes.set(title=f"{score.title}, {value}", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), rows)
        axes.grid(axis="x")
    method_legend(figure, looks)
    return figure


def panel_grid(figure: Figure, count: int, columns: int, **shared: Any) -> Any:
    """So many panels in rows of ``columns``, (R, C); places left over stay empty."""
    grid = figure.subplots(-(-count // columns), columns, squeeze=False, **shared)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return grid


def draw_curve(
    axes: Axes, points: Sequence[tuple[float, Interval]], colour: str, mark: str, label: str, width: float = 1.0
) -> None:
    """One line with intervals; nothing without points."""
    if not points:
        return
    x, intervals = zip(*sorted(points), strict=True)
    look: dict[str, Any] = {"color": colour, "marker": mark, "ms": 4.5, "mec": "black", "mew": 0.3, "lw": width}
    axes.plot(x, [i.value for i in intervals], label=label, **look)
    axes.vlines(x, [i.low for i in intervals], [i.high for i in intervals], color=colour, lw=1.2)


def _legend_columns(width: float) -> int:
    """Methods that stand side by side in a figure of that width, in inches."""
    return min(5, max(1, int(width / 1.3)))


def method_legend(figure: Figure, looks: Looks) -> None:
    """Methods with their colours and markers, below the panels."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], ls="", marker=m, ms=5, color=c, label=short(n)) for n, (c, m) in looks.items()]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(_legend_columns(figure.get_figwidth()), len(handles)),
        frameon=False,
    )


def heat(
    axes: Axes,
    matrix: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    limit: float | None = None,
    bar: bool = True,
    aspect: Literal["equal", "auto"] = "equal",
) -> None:
    """A heat map of an (R, C) matrix with its numbers, where there is room for them; NaN stays grey, empty names take no room.

    With ``limit``, red and blue up to this size, with signs, as for differences; else 0 to 1, or more, or -1 to 1 with a negative
    value. ``bar`` adds a scale of colours.
    """
    if limit is None and np.nanmin(matrix, initial=0.0) >= 0:
        colours: dict[str, Any] = {"cmap": "viridis", "vmin": 0.0, "vmax": max(1.0, largest_size([matrix]))}
    else:
        end = limit or max(1.0, largest_size([matrix]))
        colours = {"cmap": "RdBu_r", "vmin": -end, "vmax": end}
    axes.set_facecolor("lightgrey")
    image = axes.imshow(np.ma.masked_invalid(matrix), interpolation="nearest", aspect=aspect, **colours)
    if bar:
        assert axes.figure is not None
        axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03).ax.tick_params(labelsize=6.5)
    few = max(matrix.shape) <= _MOST_NUMBERS
    size = 7 if few else 5.5
    axes.set_xticks(range(len(columns)), map(short, columns), rotation=90 if len(columns) > 4 else 30, fontsize=size)
    axes.set_yticks(range(len(rows)), map(short, rows), fontsize=size)
    norm: Any = image.norm
    for (i, j), value in np.ndenumerate(matrix) if few else ():
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            # Adding 0 takes the sign off a rounded -0.
            text = f"{round(value, 2) + 0.0:{'+' if limit else ''}.2f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")


def largest_size(matrices: Iterable[NDArray[np.float64]]) -> float:
    """Largest absolute value of all, so that maps share their colours; never 0."""
    return max(1e-3, *(float(np.nanmax(np.abs(m), initial=0.0)) for m in matrices))


def contact_sheet(
    pixels: NDArray[np.uint8],
    captions: Sequence[str],
    columns: int,
    title: str = "",
    *,
    row_labels: Sequence[str] = (),
) -> Figure:
    """Pictures, (N, H, W, 3) uint8, in rows of ``columns``, with a caption below each and a label at the left of each row.

    Captions may hold line breaks, empty ones take no room.
    """
    rows = math.ceil(len(pixels) / columns)
    lines = max(caption.count("\n") + 1 if caption else 0 for caption in captions)
    cell = _CELL_INCHES + _LINE_INCHES * lines + _GAP_INCHES
    left, top = (_LABEL_INCHES if row_labels else 0.05), (0.3 if title else 0.05)
    width, height = left + columns * (_CELL_INCHES + _GAP_INCHES), top + rows * cell
    figure = new_figure(width, height, None)
    for place, (picture, caption) in enumerate(zip(pixels, captions, strict=True)):
        row, column = divmod(place, columns)
        x, y = left + column * (_CELL_INCHES + _GAP_INCHES), height - top - row * cell - _CELL_INCHES
        axes = figure.add_axes((x / width, y / height, _CELL_INCHES / width, _CELL_INCHES / height))
        axes.imshow(picture, interpolation="nearest")
        axes.set_axis_off()
        figure.text((x + _CELL_INCHES / 2) / width, (y - 0.03) / height, caption, fontsize=6.5, ha="center", va="top")
    for row, label in enumerate(row_labels):
        y = height - top - row * cell - _CELL_INCHES / 2
        figure.text(0.05 / width, y / height, label, fontsize=8, ha="left", va="center")
    if title:
        figure.text(0.05 / width, 1 - 0.05 / height, title, fontsize=9.5, ha="left", va="top")
    return figure
