"""Pictures of the task `retrieval`: scores by layer and kernel, and what the first queries found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from semrsm_bench.core.task import Result
from semrsm_bench.report.figures.parts import contact_sheet, draw_forest, method_looks, value_of, words_of
from semrsm_bench.report.results import TaskResults
from semrsm_bench.report.style import Drawing

# The kernel that is shown where it was measured, and how many methods; more would make the sheet too long.
_SHOWN_KERNEL, _MOST_METHODS = "cosine", 4


def draw(results: TaskResults) -> Iterator[Drawing]:
    """All pictures that the rows of a run allow."""
    every, summaries = results.task.scores, results.summaries
    first = [s for s in every if "_top" not in s.name and any(s.name in one.scores for one in summaries)]
    if first:
        best = {score.name: other.name for score in first for other in every if other.name.startswith(f"{score.name}_")}
        random = {(name, r.cell["layer"]): value for _, r in results.found for name, value in r.raw["random"].items()}
        yield Drawing(
            "scores",
            draw_forest(summaries, first, "layer", hollow=best, lines=random),
            "Scores of the most similar image (filled, with 95 % bootstrap intervals over queries) and of the best among the five "
            "most similar (open). Dotted: expected of a random ranking.",
            "Dots with intervals for each method, kernel and layer; the figures are in the table",
        )
    yield from _draw_pictures(results)


def _draw_pictures(results: TaskResults) -> Iterator[Drawing]:
    kernels = {result.cell["kernel"] for _, result in results.found}
    groups: dict[tuple[Any, ...], dict[str, Result]] = {}
    for row, result in results.found:
        if "pictures" in result.arrays and (result.cell["kernel"] == _SHOWN_KERNEL or _SHOWN_KERNEL not in kernels):
            here = groups.setdefault(value_of(result.cell, "model", "centring", "kernel"), {})
            known = here.setdefault(row["method"], result)
            if int(result.cell["size"]) <= int(known.cell["size"]):
                here[row["method"]] = result
    places = [next(iter(here.values())).cell for here in groups.values()]
    for here, place, word in zip(groups.values(), places, words_of(places, ["layer"]), strict=True):
        methods = [m for m in method_looks(here) if m != "random"][:_MOST_METHODS]
        pixels, captions, labels = [], [], []
        for query in range(len(here[methods[0]].arrays["pictures"])):
            for method in methods:
                arrays = here[method].arrays
                heads = ["query", *(f"{score:.2f}" for score in arrays["found_scores"][query])]
                pixels += list(arrays["pictures"][query])
                for head, objects in zip(heads, arrays["objects"][query], strict=True):
                    captions.append("\n".join(textwrap.wrap(f"{head}: {objects}", 21, max_lines=4, placeholder="…")))
                labels.append(textwrap.fill(method, 13))
        yield Drawing(
            f"pictures-{word}",
            contact_sheet(np.stack(pixels), captions, len(arrays["pictures"][0]), row_labels=labels),
            f"The first queries, not chosen, and the images that each method finds most similar; {place['model']}, "
            f"{place['layer']}, {place['kernel']} kernel. In the captions the objects, and the score of the image.",
            "Queries and the images retrieved by each method, with the objects on them",
            shareable=all(bool(result.raw["shareable"]) for result in here.values()),
        )
