"""Pictures of the task `retrieval`: scores by layer and kernel, and what the first queries found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semrsm_bench.bench.summary import Summary, results_of, summarise
from semrsm_bench.core.task import Result, Task
from semrsm_bench.report.figures.parts import contact_sheet, draw_forest, method_looks, values_of, words_of
from semrsm_bench.report.style import Drawing

_CAPTION_WIDTH, _CAPTION_LINES = 21, 4
# The kernel whose finds are shown, where it was measured; methods beyond these would make a sheet without end.
_SHOWN_KERNEL, _MOST_METHODS = "cosine", 4


def draw(
    rows: Sequence[Mapping[str, Any]], task: Task, folder: Path, summaries: Sequence[Summary] | None = None
) -> list[Drawing]:
    """All pictures that the rows of a run allow; parameters as in `semrsm_bench.report.figures.translation.draw`."""
    summaries = summarise(rows, task, folder) if summaries is None else summaries
    good = [row for row in rows if row["status"] == "ok"]
    results = results_of(good, folder)
    drawings = [_draw_scores(summaries, task, good)] if any(s.scores for s in summaries) else []
    return [*drawings, *_draw_found([(row["method"], result) for row, result in zip(good, results, strict=True)])]


def _draw_scores(summaries: Sequence[Summary], task: Task, rows: Sequence[Mapping[str, Any]]) -> Drawing:
    first = [
        score for score in task.scores if "_top" not in score.name and any(score.name in s.scores for s in summaries)
    ]
    best = {
        score.name: other.name for score in first for other in task.scores if other.name.startswith(f"{score.name}_")
    }
    random = {(name, row["cell"]["layer"]): value for row in rows for name, value in row["raw"]["random"].items()}
    return Drawing(
        "scores",
        draw_forest(summaries, first, "layer", hollow=best, lines=random),
        "Scores of the most similar image (filled, with 95 % bootstrap intervals over queries) and of the best among the five most "
        "similar (open). Dotted: expected of a random ranking.",
        "Dots with intervals for each method, kernel and layer; the figures stand in the table",
    )


def _draw_found(found: Sequence[tuple[str, Result]]) -> Iterator[Drawing]:
    """Contact sheets of the first queries with what each method found, at the last layer of every network."""
    kernels = {result.cell["kernel"] for _, result in found}
    groups: dict[tuple[Any, ...], dict[str, Result]] = {}
    for method, result in found:
        if result.cell["kernel"] == _SHOWN_KERNEL or _SHOWN_KERNEL not in kernels:
            (group,) = values_of([result.cell], "model", "centring", "kernel")
            here = groups.setdefault(group, {})
            if method not in here or int(result.cell["size"]) <= int(here[method].cell["size"]):
                here[method] = result
    places = [next(iter(here.values())).cell for here in groups.values()]
    for here, place, word in zip(groups.values(), places, words_of(places, ["layer"]), strict=True):
        methods = [m for m in method_looks(here) if m != "random"][:_MOST_METHODS]
        pixels, captions, labels = [], [], []
        for query in range(len(here[methods[0]].arrays["pictures"])):
            for method in methods:
                arrays = here[method].arrays
                heads = ["query", *(f"{score:.2f}" for score in arrays["found_scores"][query])]
                pixels += list(arrays["pictures"][query])
                captions += [_caption(h, o) for h, o in zip(heads, arrays["objects"][query], strict=True)]
                labels.append(textwrap.fill(method, 13))
        yield Drawing(
            "-".join(["pictures", *word.replace(",", " ").split()]),
            contact_sheet(np.stack(pixels), captions, len(arrays["pictures"][0]), row_labels=labels),
            f"The first queries, not chosen, and the images that each method finds most similar; {place['model']}, "
            f"{place['layer']}, {place['kernel']} kernel. In the captions the objects, and the score of the image.",
            "Queries and the images retrieved by each method, with the objects on them",
            shareable=all(bool(result.raw["shareable"]) for result in here.values()),
        )


def _caption(head: str, objects: str) -> str:
    """``0.67: 2 cup, flower``, wrapped."""
    lines = textwrap.wrap(f"{head}: {objects}", _CAPTION_WIDTH)
    return "\n".join(lines[:_CAPTION_LINES]) + ("…" if len(lines) > _CAPTION_LINES else "")
