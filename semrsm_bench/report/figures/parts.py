"""What the pictures of several tasks are made of: looks of methods, heat maps, forests, contact sheets."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.summary import Summary
from semrsm_bench.core.task import Score
from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.places import Place
from semrsm_bench.report.style import GREY, RSM_LOOKS, Look, looks, method_legend, new_panels, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Larger heat maps have no room for numbers.
_MOST_NUMBERS = 6


def method_looks(methods: Iterable[str]) -> dict[str, Look]:
    """Look of each RSM method in the order of legends: those that most figures show, others, baselines."""
    rank = {name: place for place, name in enumerate(RSM_LOOKS)}
    names = sorted(dict.fromkeys(methods), key=lambda name: rank.get(name, len(rank) - 2.5))
    return {method.name: look for method, look in looks(MethodKey(name, "rsm") for name in names).items()}


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

    ``hollow`` maps a score to a second one, as an open marker; ``lines`` a score and a value of the key to a dotted line.
    """
    models = [s.place.get("model") for s in summaries]
    shown = sorted(
        (s for s in summaries if any(score.name in s.scores for score in scores)),
        key=lambda s: (models.index(s.place.get("model")), -int(s.place.get("size", 0))),
    )
    places = [s.place for s in shown]
    columns = by_depth(places) if across == "layer" else list(dict.fromkeys(place.get(across, "") for place in places))
    words = words_of(places, [across])
    rows, of_method = list(dict.fromkeys(words)), method_looks(s.method for s in shown)
    order, step = list(of_method), 0.8 / max(4, len(of_method))
    each, around = (2.3, 0.5 + (0.1 + 0.11 * max(3, len(order))) * len(rows)), (2.0, 0.5)
    count = len(scores) * len(columns)
    figure, panels = new_panels(count, len(columns), each, around, sharex="row", sharey=True)
    for (score, value), axes in zip(itertools.product(scores, columns), panels.flat):
        for s, word in zip(shown, words):
            found, look = s.scores.get(score.name), of_method[s.method]
            if s.place.get(across, "") != value or found is None:
                continue
            y = rows.index(word) + step * (order.index(s.method) - (len(order) - 1) / 2)
            axes.plot([found.low, found.high], [y, y], color=look.color, lw=1.3)
            if hollow and (second := s.scores.get(hollow.get(score.name, ""))):
                axes.plot(second.value, y, look.marker, ms=7, mfc="white", mec=look.color)
            axes.plot(found.value, y, look.marker, ms=4, color=look.color)
        if lines and (score.name, value) in lines:
            axes.axvline(lines[score.name, value], color=GREY, ls=":", lw=1)
        elif score.chance is not None:
            axes.axvline(score.chance, color=GREY, lw=0.7)
        axes.set(title=f"{score.title}, {value}", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), rows)
        axes.grid(axis="x")
    method_legend(figure, of_method)
    return figure


def heat(
    axes: Axes,
    matrix: NDArray[np.float64],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    *,
    ends: tuple[float, float] | None = None,
    bar: bool = True,
    aspect: Literal["equal", "auto"] = "equal",
    most_numbers: int = _MOST_NUMBERS,
) -> None:
    """A heat map of an (R, C) matrix; NaN stays grey. With names, up to ``most_numbers`` rows and columns, with its numbers.

    ``ends`` are those of the colours, red and blue around 0 where they have two signs; numbers then have theirs. Default: 0 to 1 or
    more, or -1 to 1 with a negative value. ``bar`` adds a scale of colours.
    """
    low, high = ends or (min(0.0, np.nanmin(matrix, initial=0.0)), max(1.0, largest_size([matrix])))
    if low < 0 < high:
        low, high = -max(-low, high), max(-low, high)
    axes.set_facecolor("lightgrey")
    look: dict[str, Any] = {"cmap": "RdBu_r" if low < 0 < high else "viridis", "vmin": low, "vmax": high}
    image: Any = axes.imshow(np.ma.masked_invalid(matrix), interpolation="nearest", aspect=aspect, **look)
    if bar:
        assert axes.figure is not None
        extend = "max" if np.nanmax(matrix, initial=low) > high else "neither"
        axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, extend=extend).ax.tick_params(labelsize=6.5)
    if not columns:
        return
    few = max(matrix.shape) <= most_numbers
    size, turn = 7 if few else 5.5, 90 if len(columns) > 4 else 30
    axes.set_xticks(range(len(columns)), map(short, columns), rotation=turn, fontsize=size)
    axes.set_yticks(range(len(rows)), map(short, rows), fontsize=size)
    for (i, j), value in np.ndenumerate(matrix) if few else ():
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            # Adding 0 takes the sign off a rounded -0.
            text = f"{round(value, 2) + 0.0:{'+' if ends and low < 0 else ''}.2f}"
            number = axes.text(j, i, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
            number.set_in_layout(False)  # it lies inside of the map: no need to measure it


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
    """Pictures, (N, H, W, 3) uint8, in rows of ``columns``, with a caption below each and a label at the left of each row."""
    lines = max(caption.count("\n") + 1 if caption else 0 for caption in captions)
    around = (0.9 if row_labels else 0.0, 0.3 if title else 0.1)
    figure, panels = new_panels(len(pixels), columns, (1.0, 1.05 + 0.13 * lines), around)
    for axes, picture, caption in zip(panels.flat, pixels, captions):
        axes.imshow(picture, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_xlabel(caption, fontsize=6.5, labelpad=2)
    for axes, label in zip(panels[:, 0], row_labels):
        axes.set_ylabel(label, rotation=0, ha="right", va="center")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    return figure
