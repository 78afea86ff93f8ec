"""Table 5 of Wald et al. 2024, as tables of solvers want it: by our name of the solver and S."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from semrsm_bench.report.papers import CAPTIONS, REFERENCES, WALD, printed

SOURCE = f"{REFERENCES[WALD]}, appendix F.1, Table 5"
CONDITIONS = f"its own figures, copied, not measured here: {CAPTIONS[WALD, '5'][1]}"


@dataclass(frozen=True)
class PaperFigure:
    """One cell of the paper's Table 5: k/k_opt as a ratio (printed there in percent), T in seconds."""

    quality: float
    seconds: float


@cache
def _table() -> tuple[dict[str, dict[int, PaperFigure]], dict[str, str]]:
    values: dict[tuple[str, int], dict[str, float]] = {}
    names = {}
    for figure in printed("5", WALD):
        what, size = figure.parts
        values.setdefault((figure.row, int(size)), {})[what] = figure.value
        names[figure.row] = figure.note
    table: dict[str, dict[int, PaperFigure]] = {}
    for (solver, s), both in values.items():
        table.setdefault(solver, {})[s] = PaperFigure(**both)
    return table, names


def __getattr__(name: str) -> Any:
    """``TABLE_5``: solver to S to figure; ``PAPER_NAMES``: solver to the paper's name. Read on first use.

    The paper gives complexity (sqrt(s)/b) O(b^3) for Batch-Optimal and corrects it in footnote 6; its quality of np.diag() is
    68.9, 67.0 and 57.9 % in the table.
    """
    if name == "TABLE_5":
        return _table()[0]
    if name == "PAPER_NAMES":
        return _table()[1]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def paper_figure(solver: str, size: int) -> PaperFigure | None:
    """The paper's figure for a solver of ours at S positions, or None where its table has none."""
    return _table()[0].get(solver, {}).get(size)
