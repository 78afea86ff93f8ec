"""Ranks of metrics in the six tests after ReSi, beside the order that ReSi prints for its vision networks.

    semrsm-bench table RUN accuracy output-difference random-labels shortcuts augmentation monotonicity --json \
        | python examples/beside_resi.py

The metrics that both have are ranked in each cell that is no leak test, ties share the mean of their ranks, and an undefined score
comes last; a metric's figure is the median over the cells of a task, then over tasks.
"""

import json
import sys

import numpy as np
from scipy.stats import rankdata, spearmanr

from semrsm_bench.report.paper import RESI, printed

theirs = {figure.row: figure.value for figure in printed(RESI, "vision")}
by_task = {}
for table in json.load(sys.stdin):
    sign = -1 if table["score"]["best"] == "max" else 1
    cells = {}
    for row in table["rows"]:
        if row["method"] in theirs and not row["cell"].endswith("permuted"):
            score = np.inf if row["score"] is None else sign * row["score"]
            cells.setdefault(row["cell"], {})[row["method"]] = score
    ranks = [rankdata([cell.get(name, np.inf) for name in theirs]) for cell in cells.values()]
    by_task[table["task"]] = np.median(ranks, axis=0)
ours = np.median(list(by_task.values()), axis=0)
print("| metric | ReSi | here, median | " + " | ".join(by_task) + " |")
print("|---|---|---|" + "---|" * len(by_task))
for i in np.lexsort((list(theirs.values()), ours)):
    name = list(theirs)[i]
    print(
        f"| `{name}` | {theirs[name]:.0f} | {ours[i]:.1f} | "
        + " | ".join(f"{r[i]:.1f}" for r in by_task.values())
        + " |"
    )
rho = spearmanr(list(theirs.values()), ours).statistic
print(f"\nSpearman between the two orders: {rho:.2f}, over {len(theirs)} metrics")
