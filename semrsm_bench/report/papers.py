"""Figures that papers print, to stand beside ours and never among them. They are data: ``papers.csv``.

Columns: paper, table, row, column, value, note. A row is a network, or our name of a solver. A column joins with slashes what the
figure is of: score, kernel, matching ("identity" is the paper's spatio-semantic), size of the database or S.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

WALD = "Wald et al. 2024"
REFERENCES = MappingProxyType(
    {
        WALD: (
            "T. Wald, C. Ulrich, G. Köhler, D. Zimmerer, S. Denner, M. Baumgartner, F. Isensee, P. Jaini, K. H. Maier-Hein: "
            "Decoupling Semantic Similarity from Spatial Alignment for Neural Networks (NeurIPS 2024)"
        )
    }
)
_CLASSIFIERS = "classifiers of ImageNet-1k from Huggingface, last hidden layer"
# What a table shows, and under which conditions.
CAPTIONS: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {
        (WALD, "1"): ("Pearson correlation of similarity with divergence", f"{_CLASSIFIERS}; 2,000 images"),
        (WALD, "2"): ("F1@1 on EgoObjects", "2,000 queries; semantic by Batch-Optimal"),
        (WALD, "3"): ("IoU@1 on Cityscapes", "500 queries, database of 2,975; semantic by Batch-Optimal"),
        (WALD, "4"): ("correlation of similarity with divergence", f"{_CLASSIFIERS}; 20,000 samples by its caption"),
        (WALD, "5"): (
            "quality and time of matchings",
            "mean (not median) time per pair on one core of an unnamed CPU, ResNet-101 on Tiny-ImageNet, affinity computed "
            "beforehand, 1,000 pairs by its caption (10,000 by its text), centring not stated",
        ),
    }
)


@dataclass(frozen=True)
class Printed:
    """A figure as printed; ``note`` is what must be known of it, or the paper's own name of the row."""

    paper: str
    table: str
    row: str
    column: str
    value: float
    note: str

    @property
    def parts(self) -> tuple[str, ...]:
        """What the column joins."""
        return tuple(self.column.split("/"))


@cache
def printed(table: str = "", paper: str = "") -> tuple[Printed, ...]:
    """All figures, or those of one table or paper, in the order in which they are printed.

    Raises
    ------
    KeyError
        There is no such table.
    """
    text = (files("semrsm_bench.report") / "papers.csv").read_text(encoding="utf-8")
    rows = [Printed(**{**row, "value": float(row["value"])}) for row in csv.DictReader(text.splitlines())]  # type: ignore[arg-type]
    found = tuple(p for p in rows if table in ("", p.table) and paper in ("", p.paper))
    if not found:
        raise KeyError(f"no figures of table {table} of {paper or 'any paper'}")
    return found


def printed_value(table: str, row: str, column: str, paper: str = WALD) -> float | None:
    """One figure, or None where the paper prints none."""
    return next((p.value for p in printed(table, paper) if (p.row, p.column) == (row, column)), None)
