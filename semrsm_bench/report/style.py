"""How figures look: colours that survive colour blindness and grey print, markers, and files that do not change by themselves."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from semrsm_bench.report.catalogue import MethodKey
from semrsm_bench.report.escape import file_name
from semrsm_bench.report.formatting import UNITS

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

FIGURE_FORMATS = ("png", "svg", "pdf")
# Okabe and Ito's palette; the yellow comes last, it is pale on white.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW, BLACK = (
    *("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#000000"),
)
GREY = "#8a8a8a"
_FAMILIES = tuple(zip((VERMILION, GREEN, ORANGE, PURPLE, SKY, YELLOW), ("^", "o", "D", "v", "P", "p")))
# Methods that most figures of RSMs show, baselines last.
RSM_LOOKS: Mapping[str, tuple[str, str]] = {
    "identity": (BLUE, "o"),
    "translation": (ORANGE, "D"),
    "exact-auction": (VERMILION, "s"),
    "pooled": (GREEN, "^"),
    "random": (GREY, "X"),
}
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))

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
    "axes.unicode_minus": True,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    # Without a fixed salt the ids inside an SVG differ from one writing to the next.
    "svg.hashsalt": "semrsm-bench",
}
_UNDATED = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class Drawing:
    """A figure that is ready to be written.

    ``name`` is that of the file, without its suffix. ``alt`` says what it shows for those who cannot see it. ``shareable`` is False
    where it shows pictures of a user, whose licence may forbid to pass them on.
    """

    name: str
    figure: Figure
    caption: str = ""
    alt: str = ""
    shareable: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", file_name(self.name))


@dataclass(frozen=True)
class Look:
    """Colour, marker and dash of a method."""

    color: str
    marker: str
    dash: Any


def families(names: Iterable[str]) -> dict[str, str]:
    """Family of each method: the longest start of its name, cut between words, that another name shares; or the name itself.

    All sizes of Batch-Optimal are one family, and so are an auction's coarse and fine variants.
    """
    parts = {name: re.split("[-_]", name) for name in names}

    def starts(name: str) -> set[str]:
        return {"-".join(parts[name][:n]) for n in range(1, len(parts[name]) + 1)}

    result = {}
    for name in parts:
        shared = {start for other in parts if other != name for start in starts(name) & starts(other)}
        result[name] = max(shared, key=len, default=name)
    return result


def looks(methods: Sequence[MethodKey]) -> dict[MethodKey, Look]:
    """Exact solvers are blue squares, baselines black crosses, each family of approximations has a colour and a marker.

    Within a colour the dashes tell methods apart. RSM methods that most figures show keep the looks of `RSM_LOOKS`.
    """
    family = families(s.name for s in methods if s.category not in ("exact", "baseline"))
    order = list(dict.fromkeys(family.values()))
    used: dict[str, int] = {}
    result = {}
    for method in methods:
        if method.kind == "rsm" and method.name in RSM_LOOKS:
            color, marker = RSM_LOOKS[method.name]
        elif method.category == "exact":
            color, marker = BLUE, "s"
        elif method.category == "baseline":
            color, marker = BLACK, "X"
        else:
            place = order.index(family[method.name])
            color = _FAMILIES[place % len(_FAMILIES)][0]
            # Families beyond the palette share a colour, but never colour and marker.
            marker = _FAMILIES[(place + place // len(_FAMILIES)) % len(_FAMILIES)][1]
        count = used.get(color, 0)
        used[color] = count + 1
        result[method] = Look(color, marker, _DASHES[count % len(_DASHES)])
    return result


def short(name: str) -> str:
    """A name that fits beside a figure."""
    return name if len(name) <= 36 else name[:35] + "…"


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """A figure of its own on an Agg canvas, in inches; nothing global is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def captioned_figure(
    width: float, height: float, caption: Iterable[str], margins: tuple[float, float, float, float], **gaps: float
) -> Figure:
    """A figure with small print at its foot, which makes it taller than ``height``.

    All in inches; margins are those of the panels: left, right, top, bottom. ``gaps`` as in matplotlib's ``subplots_adjust``.
    """
    wrapped = [part for line in caption if line for part in textwrap.wrap(line, int(width * 20))]
    foot = 0.06 + 0.135 * len(wrapped)
    height += foot
    figure = new_figure(width, height, None)
    left, right, top, bottom = margins
    figure.subplots_adjust(left / width, (foot + bottom) / height, 1 - right / width, 1 - top / height, **gaps)
    figure.text(
        0.01, 0.05 / height, "\n".join(wrapped), fontsize=7, color="#444444", ha="left", va="bottom", linespacing=1.3
    )
    return figure


def seconds_axis(axis: Axis) -> None:
    """Ticks of a logarithmic axis in s, as ``10 ms``; minor ones unlabelled."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    def text(value: float, _: int) -> str:
        scale, unit = next((u for u in UNITS if value >= u[0] * 0.999), UNITS[0])
        return f"{value / scale:.3g} {unit}"

    axis.set_major_formatter(FuncFormatter(text))
    axis.set_minor_formatter(NullFormatter())


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = FIGURE_FORMATS) -> list[Path]:
    """Write the figure in each format; the same figure gives the same bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in formats:
        path = stem.with_name(f"{stem.name}.{name}")
        figure.savefig(path, format=name, dpi=200, metadata=_UNDATED[name])
        paths.append(path)
    return paths
