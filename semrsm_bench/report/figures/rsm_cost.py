"""Picture of the task `rsm-cost`: time of a pair as positions, channels and images grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from semrsm_bench.core.stats import Interval
from semrsm_bench.report.figures.parts import method_looks, value_of
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import GREY, Drawing, Look, method_legend, new_panels, seconds_axis

_KEYS = {"size": "S", "channels": "C", "images": "N"}
_WORDS = {"size": "positions", "channels": "channels", "images": "images"}


def draw(results: TaskResults) -> Iterator[Drawing]:
    """A panel for each of S, C and N that varies, with the other two as most cells have them."""
    places = list(dict.fromkeys(value_of(s.place, *_KEYS) for s in results.summaries))
    usual = [Counter(values).most_common(1)[0][0] for values in zip(*places)]
    looks = method_looks(s.method for s in results.summaries)
    # By the key that varies: time by method, or None for x'y alone, and place.
    lines: dict[str, dict[str | None, dict[int, Interval]]] = {}
    for at, key in enumerate(_KEYS):
        for place, summary in sorted(
            ((value_of(s.place, *_KEYS), s) for s in results.summaries if s.scores), key=lambda x: x[0]
        ):
            if all(value == usual[i] for i, value in enumerate(place) if i != at):
                found = lines.setdefault(key, {})
                found.setdefault(summary.method, {})[place[at]] = summary.scores["pair"]
                found.setdefault(None, {})[place[at]] = summary.scores["product"]
    shown = {key: found for key, found in lines.items() if len(found[None]) > 1}
    if not shown:
        return
    figure, grid = new_panels(len(shown), len(shown), (2.9, 4.4), (1.9, 0.0), sharey=True)
    for axes, (key, found) in zip(grid[0], shown.items()):
        for method, times in found.items():
            look = Look(GREY, "") if method is None else looks[method]
            style = {
                "color": look.color,
                "marker": look.marker,
                "ms": 4,
                "lw": 1.1,
                "ls": "--" if method is None else "-",
            }
            axes.plot([*times], [1e-6 * t.value for t in times.values()], **style)
            axes.vlines(
                [*times], *zip(*((1e-6 * t.low, 1e-6 * t.high) for t in times.values())), color=look.color, lw=0.9
            )
        axes.set_xscale("log", base=2)
        axes.set(yscale="log", xlabel=f"{_WORDS[key]} {_KEYS[key]}")
        axes.set_xticks([*found[None]], map(str, found[None]))
        axes.minorticks_off()
        axes.set_title(", ".join(f"{_KEYS[k]} = {value}" for k, value in zip(_KEYS, usual) if k != key))
        axes.grid(True, which="major")
        seconds_axis(axes.yaxis)
    grid[0][0].set_ylabel("time per pair of images")
    method_legend(figure, looks, beside=True)
    yield Drawing(
        "cost",
        figure,
        "Time of a whole RSM over its pairs of images, with 95 % intervals, as one of S, C, N grows. Dashed: x'y alone.",
        "Time per pair over positions, channels and images, a line for each method",
    )
