"""A matching of large images and a bound on the optimum, made together: how near it is is proved, without the affinity."""

from __future__ import annotations

from semrsm_bench.solvers.auction import trivial_matching
from semrsm_bench.solvers.bounds import tight_value
from semrsm_bench.solvers.centring import centre
from semrsm_bench.solvers.hierarchical import check_blocks, priced_matching
from semrsm_bench.solvers.problem import MatchingProblem
from semrsm_bench.solvers.registry import Solution, register_solver


@register_solver(
    "hierarchical-certified",
    kind="approximate",
    matrix_free=True,
    complexity="O(S^2 C), two passes over the inner products",
    reference="Halmos et al., ICML 2025 (hierarchical refinement); prices and bound: this project",
)
def certified_hierarchical(problem: MatchingProblem, *, block: int = 1024, rounds: int = 6, seed: int = 0) -> Solution:
    """`hierarchical` whose blocks also give prices, and those an upper bound on the optimum; O(S C) memory.

    Parameters
    ----------
    block, rounds, seed
        As for `hierarchical`; up to 2,048 positions are solved exactly.

    Returns
    -------
    Solution
        ``info["k_upper"]`` is at least the k of every permutation, see `semrsm_bench.solvers.bounds.upper_bound`.
    """
    check_blocks(block, rounds)
    if (trivial := trivial_matching(problem)) is not None:
        return trivial
    centred = centre(problem)
    perm, prices = priced_matching(centred, block, rounds, seed)
    return Solution(perm, info={"k_upper": tight_value(problem, centred, prices)})
