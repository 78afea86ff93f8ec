"""Figures of the study `runtime`."""

from __future__ import annotations

from collections.abc import Sequence

from semrsm_bench.report.paper import TABLE_5
from semrsm_bench.report.style import BLUE, GREEN, ORANGE, PURPLE, RC, SKY, VERMILION, new_figure
from semrsm_bench.studies.runtime_lines import REFERENCE, Line, paper_speed
from semrsm_bench.studies.study import Drawing

_COLOURS = (BLUE, SKY, VERMILION, GREEN, ORANGE, PURPLE)


def draw_speed(lines: Sequence[Line]) -> Drawing | None:
    """Speed relative to OR-Tools over S: ours filled, the paper's hollow. None where nothing can be compared.

    Same-position matching is left out: it matches nothing and would flatten everything else.
    """
    import matplotlib as mpl
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, NullFormatter

    drawn = [
        line
        for line in lines
        if line.solver.name in TABLE_5 and line.solver.name not in (REFERENCE, "identity") and line.speed
    ]
    if not drawn:
        return None
    with mpl.rc_context(dict(RC)):
        figure = new_figure(7.0, 4.0)
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        for line, colour in zip(drawn, _COLOURS * len(drawn)):
            sizes = sorted(line.speed)
            axes.plot(sizes, [line.speed[s].value for s in sizes], color=colour, marker="o", ms=5, lw=1.4)
            axes.vlines(sizes, [line.speed[s].low for s in sizes], [line.speed[s].high for s in sizes], color=colour)
            theirs = {s: speed for s in TABLE_5[line.solver.name] if (speed := paper_speed(line.solver.name, s))}
            axes.plot(
                list(theirs), list(theirs.values()), color=colour, marker="o", ms=6, mfc="white", lw=0.9, ls=(0, (3, 2))
            )
        axes.axhline(1, color="black", lw=0.8)
        every = sorted({s for line in drawn for s in line.speed} | set(TABLE_5[REFERENCE]))
        axes.set_xticks(every, [str(s) for s in every])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("positions S")
        axes.set_ylabel("times as fast as OR-Tools")
        axes.grid(True, which="major")
        handles = [
            *(
                Line2D([], [], color=c, marker="o", ms=5, label=line.name)
                for line, c in zip(drawn, _COLOURS * len(drawn))
            ),
            Line2D([], [], color="black", marker="o", ms=5, label="ours"),
            Line2D([], [], color="black", marker="o", ms=6, mfc="white", ls=(0, (3, 2)), label="the paper's Table 5"),
        ]
        figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return Drawing(
        "speed",
        figure,
        "How many times as fast as OR-Tools the solvers of the paper's Table 5 are. Filled: ours, medians over pairs with 95 % "
        "bootstrap intervals. Hollow: ratios of the figures that the paper prints, of another machine and network.",
        "Speed relative to OR-Tools over the number of positions, ours and the paper's",
    )
