"""Pictures of the task `retrieval`: scores by layer and kernel, and what the first queries found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from semrsm_bench.core.task import Result
from semrsm_bench.report.figures.parts import contact_sheet, draw_forest, method_looks, value_of, words_of
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Drawing

_CAPTION_WIDTH, _CAPTION_LINES = 21, 4
# The kernel whose finds are shown, where it was measured; methods beyond these would make a sheet without end.
_SHOWN_KERNEL, _MOST_METHODS = "cosine", 4


def draw(results: TaskResults) -> Iterator[Drawing]:
    """All pictures that the rows of a run allow."""
    if any(s.scores for s in results.summaries):
        yield _draw_scores(results)
    yield from _draw_pictures([(row["method"], result) for row, result in results.found])


def _draw_scores(results: TaskResults) -> Drawing:
    every, summaries = results.task.scores, results.summaries
    first = [s for s in every if "_top" not in s.name and any(s.name in one.scores for one in summaries)]
    best = {score.name: other.name for score in first for other in every if other.name.startswith(f"{score.name}_")}
    random = {(name, r.cell["layer"]): value for _, r in results.found for name, value in r.raw["random"].items()}
    return Drawing(
        "scores",
        draw_forest(summaries, first, "layer", hollow=best, lines=random),
        "Scores of the most similar image (filled, with 95 % bootstrap intervals over queries) and of the best among the five most "
        "similar (open). Dotted: expected of a random ranking.",
        "Dots with intervals for each method, kernel and layer; the figures stand in the table",
    )


def _draw_pictures(found: Sequence[tuple[str, Result]]) -> Iterator[Drawing]:
    """Contact sheets of the first queries with what each method found, at the last layer of every network."""
    kernels = {result.cell["kernel"] for _, result in found}
    groups: dict[tuple[Any, ...], dict[str, Result]] = {}
    for method, result in found:
        if result.cell["kernel"] == _SHOWN_KERNEL or _SHOWN_KERNEL not in kernels:
            here = groups.setdefault(value_of(result.cell, "model", "centring", "kernel"), {})
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
            f"pictures-{word}",
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
