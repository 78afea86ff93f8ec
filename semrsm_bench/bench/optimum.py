"""k_opt, certified: an exact solver's matching counts only with dual prices that prove it, checked here in float64."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.process import Reply
from semrsm_bench.core.files import MachineError, explain, user_cache_folder, writing
from semrsm_bench.solvers import MatchingProblem, check_permutation, get_solver, matching_value, random_value
from semrsm_bench.solvers.bounds import dual_value, tight_prices, upper_bound

# Raised whenever what is stored, or how it is proved, changes.
VERSION = 3
TOLERANCE = 1e-6
# Tried in this order; the first that proves its matching is taken. Small problems go to a library that needs no compilation.
CANDIDATES = ("exact-auction", "ortools", "scipy", "lapjv")
SMALL_CANDIDATES = ("scipy", "ortools", "exact-auction", "lapjv")
_SMALL = 512
_BLOCK_BYTES = 32 << 20
# Beyond it the optimum is out of reach, and a certified upper bound takes its place. The affinity in float64, which proofs
# without a solver's duals need, takes 2 GB here.
LARGEST = 16384

Exact = Callable[[str, NDArray[Any], NDArray[Any]], Reply]
"""``exact(solver_name, x, y)`` runs an exact solver somewhere safe; its arrays hold ``perms`` and, if it gives duals, ``v``."""


@dataclass(frozen=True)
class Optimum:
    """What is known about the best matching of a problem.

    ``k_opt`` is None where no solver could prove its matching; no permutation has a k above ``k_upper``. ``certificate`` is
    ``(k_upper - k_opt) / (k_opt - k_rand)``. ``prices`` of the columns prove the matching ``perm``. ``remark`` is what a reader
    of results must know; such as that a file of the cache was wrong.
    """

    k_opt: float | None
    k_upper: float
    certificate: float | None
    solver: str
    perm: NDArray[np.intp] | None = None
    prices: NDArray[np.float64] | None = None
    remark: str = ""


def certified_upper(problem: MatchingProblem, prices: NDArray[Any]) -> float:
    """An upper bound on k of every permutation, from any finite column prices, (S,); float64, rounding errors included.

    The row duals are computed here: ``u_i = max_j (A_ij - prices_j)``, so that ``u_i + prices_j >= A_ij``
    holds by construction and weak duality gives ``k <= sum(u) + sum(prices)``.
    """
    prices, size = np.asarray(prices, dtype=np.float64), problem.size
    if prices.shape != (size,) or not np.isfinite(prices).all():
        raise ValueError(f"prices of {size} columns are {size} finite numbers, got shape {prices.shape}")
    if size == 0:
        return 0.0
    columns, sums = None if problem.is_matrix else problem.y.astype(np.float64).T, []
    step = max(1, _BLOCK_BYTES // (8 * size))
    for i in range(0, size, step):
        rows = problem.x[i : i + step].astype(np.float64)
        sums.append(math.fsum(((rows if columns is None else rows @ columns) - prices).max(axis=1)))
    # A bound on the error of the float64 inner products and subtractions, summed over rows
    norms = [np.sqrt(np.einsum("sc,sc->s", a, a, dtype=np.float64)) for a in (problem.x, problem.y)]
    products = float(norms[0].sum()) * float(norms[1].max())
    rounding = (problem.channels + 2) * products + 2 * size * float(np.abs(prices).max())
    return math.fsum([*sums, math.fsum(prices)]) + float(np.finfo(np.float64).eps) * rounding


def prices_of(problem: MatchingProblem, perm: NDArray[np.intp]) -> NDArray[np.float64]:
    """Column prices under which every row prefers the column that it is matched with, if ``perm`` is optimal; else the last tried.

    Longest paths by Bellman and Ford: ``v_j = max_i (A_ij - A_i,perm(i) + v_perm(i))``, relaxing only rows whose column's price
    rose. A matching that is not optimal has a cycle of positive length; the search then stops after a bounded number of
    rounds, and the prices prove nothing.
    """
    affinity = problem.x.astype(np.float64) @ problem.y.astype(np.float64).T
    rows = np.arange(problem.size)
    matched = affinity[rows, perm]
    step = 1e-13 * max(float(np.abs(affinity).max(initial=0.0)), np.finfo(np.float64).tiny)
    prices = np.zeros(problem.size)
    active = rows
    for _ in range(min(problem.size, 400) + 1):
        raised = prices.copy()
        for chunk in np.array_split(active, max(1, len(active) * problem.size * 8 // _BLOCK_BYTES)):
            gains = affinity[chunk] + (prices[perm[chunk]] - matched[chunk])[:, None]
            np.maximum(raised, gains.max(axis=0, initial=-math.inf), out=raised)
        changed = raised > prices + step
        if not changed.any():
            break
        prices = np.where(changed, raised, prices)
        active = np.flatnonzero(changed[perm])
    return prices


def find_optimum(problem: MatchingProblem, exact: Exact) -> Optimum:
    """The certified optimum of a problem.

    ``k_opt`` is None where S is beyond `LARGEST`, or every candidate failed or could not be proved to within `TOLERANCE`;
    ``k_upper`` is certified in any case. MachineError: a candidate might have, but the machine failed.
    """
    if problem.size > LARGEST:
        bound = tight_prices(problem)
        return Optimum(None, dual_value(problem, bound), None, "", prices=bound)
    if problem.size == 0:
        return Optimum(0.0, 0.0, 0.0, "")
    # Image means add only row and column constants to the affinity; without them a float32 solver has digits to spare.
    means = [a.mean(axis=0, dtype=np.float64) for a in (problem.x, problem.y)]
    x, y = ((a - m).astype(problem.x.dtype) for a, m in zip((problem.x, problem.y), means))
    offset = problem.y.astype(np.float64) @ means[0]
    upper, spoiled = math.inf, ""
    for name in SMALL_CANDIDATES if problem.size <= _SMALL else CANDIDATES:
        solver = get_solver(name)
        if not solver.available or problem.size > (solver.max_size or problem.size):
            continue
        reply = exact(name, x, y)
        arrays = reply.value.get("arrays", {})
        if reply.machine and reply.status == "error":
            spoiled = reply.message
        try:
            perm = check_permutation(arrays["perms"][0], problem.size)
        except (ValueError, KeyError):
            continue
        k, given = matching_value(problem, perm), arrays.get("v")
        for prices in (None,) if given is None else (given, None):
            if prices is None:  # the solver's prove nothing
                prices = prices_of(MatchingProblem(x, y), perm)
            if prices.shape != perm.shape or not np.isfinite(prices).all():
                continue
            upper = min(upper, certified_upper(problem, prices + offset))
            certificate = _certificate(problem, k, upper)
            if certificate is not None:
                return Optimum(k, max(upper, k), certificate, name, perm, prices + offset)
    if spoiled:
        raise MachineError(spoiled)
    return Optimum(None, upper if math.isfinite(upper) else upper_bound(problem), None, "")


def _certificate(problem: MatchingProblem, k: float, upper: float) -> float | None:
    """``(upper - k) / (k - k_rand)`` where the bound proves a matching, else None.

    Where nothing distinguishes the permutations, a gap below 1e-9 of the largest sum of inner products is none.
    """
    gap, span, floor = upper - k, k - random_value(problem), 1e-9 * _length(problem)
    if gap > max(TOLERANCE * span, floor):
        return None
    return max(gap / span, 0.0) if span > floor else 0.0


def _length(problem: MatchingProblem) -> float:
    """No inner product summed over positions is larger."""
    return float(np.linalg.norm(problem.x.astype(np.float64)) * np.linalg.norm(problem.y.astype(np.float64)))


class OptimumCache:
    """Optima on disk by the hash of the data, each with its matching and prices; by default in the user's cache folder.

    Files are written whole or not at all. Every entry is proved again when it is read, from its matching and prices; one that
    does not prove what it claims is found anew, with a warning; a damaged file is made anew. Where the folder cannot be
    written, optima are kept in memory, with one warning.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or user_cache_folder() / "optima"
        # What could not be written, by file
        self._unwritten: dict[Path, Optimum] = {}

    def get(self, problem: MatchingProblem, exact: Exact) -> Optimum:
        """The optimum from disk, or found with ``exact`` and kept if it was proved."""
        path = self.path(problem)
        stored = self._unwritten.get(path) or _stored(path)
        if stored is not None and _proves(problem, stored):
            return stored
        found = find_optimum(problem, exact)
        if found.k_opt is not None or problem.size > LARGEST:
            facts = asdict(found)
            arrays = {name: a for name in ("perm", "prices") if (a := facts.pop(name)) is not None}
            try:
                with writing(path) as partial, open(partial, "wb") as file:
                    np.savez(file, facts=np.array(json.dumps(facts)), **arrays)
            except OSError as error:
                if not self._unwritten:
                    text = f"optima are kept in memory, this process's alone: {explain(error)}"
                    warnings.warn(text, RuntimeWarning, stacklevel=2)
                self._unwritten[path] = found
        if stored is None:
            return found
        remark = "the cache of optima did not prove what it claimed; the optimum was proved anew"
        warnings.warn(f"{path}: {remark}", stacklevel=2)
        return replace(found, remark=remark)

    def check(self, problem: MatchingProblem) -> bool | None:
        """Whether the entry proves what it claims; None where there is none that can be read."""
        stored = _stored(self.path(problem))
        return None if stored is None else _proves(problem, stored)

    def path(self, problem: MatchingProblem) -> Path:
        """The file of a problem's entry, named by a digest of everything that an optimum depends on."""
        digest = hashlib.sha256(f"{VERSION} {problem.x.dtype} {problem.x.shape}\n".encode())
        for array in (problem.x, problem.y):
            digest.update(np.ascontiguousarray(array).data)
        return self.folder / digest.hexdigest()[:2] / f"{digest.hexdigest()}.npz"


def _proves(problem: MatchingProblem, claimed: Optimum) -> bool:
    """Whether the matching has the value k_opt, and no permutation a larger one by the prices; to within rounding.

    Beyond `LARGEST` there is no matching, only the bound by the prices.
    """
    k_opt, k_upper, length = claimed.k_opt, claimed.k_upper, _length(problem)
    if (k_opt is None) != (problem.size > LARGEST) or problem.size == 0:
        return k_opt == k_upper == 0
    try:
        if k_opt is None:
            return abs(dual_value(problem, claimed.prices) - k_upper) <= 1e-9 * length  # type: ignore[arg-type]
        k = matching_value(problem, claimed.perm)  # type: ignore[arg-type]
        upper = certified_upper(problem, claimed.prices)  # type: ignore[arg-type]
        same = abs(k - k_opt) <= 1e-12 * length and abs(max(upper, k) - k_upper) <= 1e-9 * length
    except (ValueError, TypeError):
        return False
    return same and _certificate(problem, k, upper) is not None


def _stored(path: Path) -> Optimum | None:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in ("perm", "prices") if name in content}
            return Optimum(**json.loads(str(content["facts"])), **arrays)
    except Exception:  # there is no end to what a damaged file can raise
        return None
