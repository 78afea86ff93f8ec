"""Frozen lists of solvers and sizes, which all benchmarks share.

asv tells parameters apart by their place in these lists, also between commits, so the lists are literals: a solver that the
registry does not have in some commit is n/a there and moves nobody else. New names may stand anywhere in the list.
`tests/test_asv.py` holds them against the registry and the data.
"""

from __future__ import annotations

# fmt: off
SOLVERS = (
    "ortools", "scipy", "lapjv", "lap", "lapx",
    "identity", "scipy-sparse", "sinkhorn-rounded", "sliced-sort", "greedy",
    "topk-greedy-128", "topk-greedy-256", "topk-greedy-512",
    "batch-optimal-128", "batch-optimal-256", "batch-optimal-512", "batch-optimal-1024",
    "auction-fine", "auction-coarse", "auction-certified", "list-auction-fine", "list-auction-coarse",
    "exact-auction", "hierarchical-fine", "hierarchical-coarse", "hierarchical-certified",
)
# fmt: on
SIZES = (64, 256, 1024, 4096)
CENTRINGS = ("none", "channel")
# Other kinds of problems, S = 256, and who is measured on them.
FAMILIES = ("flat-maps", "machol-wien", "uniform-small")
FAMILY_SOLVERS = ("ortools", "scipy", "lapjv", "greedy", "auction-fine", "exact-auction")
