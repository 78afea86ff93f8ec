"""How figures look: colours that differ for the colour-blind and in grey print, markers, and panels with small print below."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from semrsm_bench.core.escape import file_name
from semrsm_bench.report.catalogue import MethodKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's palette; the yellow comes last, it is pale on white.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW, BLACK = (
    *("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#000000"),
)
GREY = "#8a8a8a"
_COLOURS, _MARKERS = (VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW), "^oDvPp*hsX"


class Look(NamedTuple):
    """Colour and marker of a method."""

    color: str
    marker: str


_BY_CATEGORY = {"exact": Look(BLUE, "s"), "baseline": Look(BLACK, "X"), "statistic": Look(GREY, "P")}
# Methods that most figures show, in their order there; others come before the last two, the baselines.
RSM_LOOKS: Mapping[str, Look] = {
    "identity": Look(BLUE, "o"),
    "translation": Look(ORANGE, "D"),
    "exact-auction": Look(VERMILION, "s"),
    "pooled": Look(GREEN, "^"),
    "random": Look(GREY, "X"),
}

RC: Mapping[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    # A dollar in a name starts no mathematics.
    "text.parse_math": False,
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    # If the salt is not fixed, the ids inside an SVG differ from one writing to the next.
    "svg.hashsalt": "semrsm-bench",
}


@dataclass(frozen=True)
class Drawing:
    """A figure for a file of this name; ``alt`` is for those who cannot see it, not ``shareable`` one shows a user's pictures."""

    name: str
    figure: Figure
    caption: str = ""
    alt: str = ""
    shareable: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", file_name(self.name))


def looks(methods: Iterable[MethodKey]) -> dict[MethodKey, Look]:
    """No two alike: exact solvers are blue, baselines black; others share a colour where their names begin with the same word."""
    families: dict[str, int] = {}
    result: dict[MethodKey, Look] = {}
    for method in methods:
        if method.kind == "rsm" and method.name in RSM_LOOKS:
            result[method] = RSM_LOOKS[method.name]
            continue
        color, first = _BY_CATEGORY.get(method.category, ("", "")) if method.kind != "rsm" else ("", "")
        if not color:
            # Colours of RSMs begin behind those of `RSM_LOOKS`; families begin at different markers, for grey print.
            place = families.setdefault(re.split("[-_]", method.name)[0], len(families)) + 3 * (method.kind == "rsm")
            color, first = _COLOURS[place % len(_COLOURS)], _MARKERS[(place + place // len(_COLOURS)) % 8]
        taken = [*result.values(), *(RSM_LOOKS.values() if method.kind == "rsm" else ())]
        start, used = _MARKERS.index(first), {look.marker for look in taken if look.color == color}
        order = _MARKERS[start:] + _MARKERS[:start]
        result[method] = Look(color, next((marker for marker in order if marker not in used), first))
    return result


def short(name: str) -> str:
    """A name that fits beside a figure."""
    return name if len(name) <= 36 else name[:35] + "…"


def new_figure(width: float, height: float, caption: Iterable[str] = ()) -> Figure:
    """A figure of its own on an Agg canvas, in inches; nothing global is touched. Small print at its foot makes it taller."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [part for line in caption for part in textwrap.wrap(line, int(width * 18))]
    figure = Figure(figsize=(width, height + 0.135 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    if lines:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7, color="#444444", linespacing=1.3)
    return figure


def new_panels(
    count: int,
    columns: int,
    each: tuple[float, float],
    around: tuple[float, float] = (0.0, 0.0),
    caption: Iterable[str] = (),
    **shared: Any,
) -> tuple[Figure, Any]:
    """A figure of so many panels, and the panels, (R, columns); width and height in inches of each panel and what is around."""
    rows = -(-count // columns)
    width, height = np.multiply(each, (columns, rows)) + around
    figure = new_figure(width, height, caption)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    for axes in grid.flat[count:]:
        axes.remove()
    return figure, grid


def method_legend(figure: Figure, of_name: Mapping[str, Look], beside: bool = False) -> None:
    """Colours and markers of methods: right of the panels, or below them in as many columns as fit; the figure grows with them."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], ls="", marker=m, ms=5, color=c, label=short(name)) for name, (c, m) in of_name.items()]
    width, height = figure.get_size_inches()
    if beside:
        figure.set_size_inches(width, max(height, 0.5 + 0.19 * len(of_name)))
        figure.legend(handles=handles, loc="outside right upper")
        return
    columns = max(1, int(width / (0.55 + 0.075 * max(len(short(name)) for name in of_name))))
    figure.set_size_inches(width, height + 0.2 * -(-len(of_name) // columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def set_title(axes: Axes, text: str, width: float) -> None:
    """At the left, wrapped where it is longer than so many inches."""
    axes.set_title(textwrap.fill(text, int(13 * width)), loc="left")


def seconds_axis(axis: Axis) -> None:
    """Ticks of a logarithmic axis in s, as ``10 ms``; no minor ones, which take as long to place and draw as all else together."""
    from matplotlib.ticker import EngFormatter, NullLocator

    axis.set_major_formatter(EngFormatter(unit="s"))
    axis.set_minor_locator(NullLocator())
