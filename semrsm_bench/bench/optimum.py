"""k_opt, certified: an exact solver's matching counts only with dual prices that prove it, checked here in float64."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.folders import user_cache_folder
from semrsm_bench.bench.process import Reply
from semrsm_bench.core.files import explain
from semrsm_bench.solvers import (
    MatchingProblem,
    check_permutation,
    get_solver,
    matching_value,
    random_value,
    solver_names,
)
from semrsm_bench.solvers.bounds import upper_bound

# Raised whenever what is stored, or how it is proved, changes.
VERSION = 2
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

    Attributes
    ----------
    k_opt : float or None
        None where no solver could prove its matching.
    k_upper : float
        Certified: no permutation has a larger k.
    certificate : float or None
        ``(k_upper - k_opt) / (k_opt - k_rand)``.
    solver : str
    perm, prices : ndarray, (S,), or None
        The matching, and column prices that prove it.
    remark : str
        What a reader of results must know; such as that a file of the cache was wrong.
    """

    k_opt: float | None
    k_upper: float
    certificate: float | None
    solver: str
    perm: NDArray[np.intp] | None = None
    prices: NDArray[np.float64] | None = None
    remark: str = ""


def certified_upper(problem: MatchingProblem, prices: NDArray[Any]) -> float:
    """An upper bound on k of every permutation, from any column prices; float64, rounding errors included.

    The row duals are not taken from anyone but computed: ``u_i = max_j (A_ij - prices_j)``, so that ``u_i + prices_j >= A_ij``
    holds by construction and weak duality gives ``k <= sum(u) + sum(prices)``.

    Parameters
    ----------
    problem : MatchingProblem
    prices : array_like, (S,)
        Finite; the better the prices, the tighter the bound.
    """
    prices = np.asarray(prices, dtype=np.float64)
    if prices.shape != (problem.size,) or not np.isfinite(prices).all():
        raise ValueError(
            f"prices of {problem.size} columns are {problem.size} finite numbers, got shape {prices.shape}"
        )
    if problem.size == 0:
        return 0.0
    columns = problem.y.astype(np.float64)
    sums = []
    for rows in _row_blocks(problem):
        sums.append(math.fsum((rows @ columns.T - prices).max(axis=1)))
    total = math.fsum([*sums, math.fsum(prices)])
    return total + _rounding(problem, prices)


def _rounding(problem: MatchingProblem, prices: NDArray[np.float64]) -> float:
    """Bound on the error of the float64 inner products and subtractions, summed over rows."""
    norms = [np.sqrt(np.einsum("sc,sc->s", a, a, dtype=np.float64)) for a in (problem.x, problem.y)]
    epsilon = float(np.finfo(np.float64).eps)
    products = float(norms[0].sum()) * float(norms[1].max())
    return epsilon * ((problem.channels + 2) * products + 2 * problem.size * float(np.abs(prices).max()))


def _row_blocks(problem: MatchingProblem) -> Iterator[NDArray[np.float64]]:
    step = max(1, _BLOCK_BYTES // (8 * problem.size))
    for i in range(0, problem.size, step):
        yield problem.x[i : i + step].astype(np.float64)


def prices_of(problem: MatchingProblem, perm: NDArray[np.intp]) -> NDArray[np.float64]:
    """Column prices under which every row likes its own column best, if ``perm`` is optimal; else the best found on the way.

    Longest paths by Bellman and Ford: ``v_j = max_i (A_ij - A_i,perm(i) + v_perm(i))``, relaxing only rows whose column's price
    rose. A matching that is not optimal has a cycle of positive length; the search then stops after a bounded number of
    rounds, and the prices prove nothing.
    """
    affinity = problem.x.astype(np.float64) @ problem.y.astype(np.float64).T
    rows = np.arange(problem.size)
    own = affinity[rows, perm]
    step = 1e-13 * max(float(np.abs(affinity).max(initial=0.0)), np.finfo(np.float64).tiny)
    prices = np.zeros(problem.size)
    active = rows
    for _ in range(min(problem.size, 400) + 1):
        raised = prices.copy()
        for chunk in np.array_split(active, max(1, len(active) * problem.size * 8 // _BLOCK_BYTES)):
            if len(chunk):
                np.maximum(
                    raised, (affinity[chunk] + (prices[perm[chunk]] - own[chunk])[:, None]).max(axis=0), out=raised
                )
        changed = raised > prices + step
        if not changed.any():
            break
        prices = np.where(changed, raised, prices)
        active = np.flatnonzero(changed[perm])
    return prices


def find_optimum(problem: MatchingProblem, exact: Exact) -> Optimum:
    """The certified optimum of a problem.

    Parameters
    ----------
    problem : MatchingProblem
    exact : callable
        See `Exact`.

    Returns
    -------
    Optimum
        With ``k_opt`` None where S is beyond `LARGEST`, or every candidate failed or could not be proved to within `TOLERANCE`;
        ``k_upper`` is certified in any case.
    """
    if problem.size > LARGEST:
        return Optimum(None, upper_bound(problem, "tight"), None, "")
    if problem.size == 0:
        return Optimum(0.0, 0.0, 0.0, "")
    # Image means add only row and column constants to the affinity; without them a float32 solver has digits to spare.
    means = [a.mean(axis=0, dtype=np.float64) for a in (problem.x, problem.y)]
    x, y = ((a - m).astype(problem.x.dtype) for a, m in zip((problem.x, problem.y), means))
    offset = problem.y.astype(np.float64) @ means[0]
    k_rand = random_value(problem)
    floor = 1e-9 * _length(problem)
    upper = math.inf
    for name in SMALL_CANDIDATES if problem.size <= _SMALL else CANDIDATES:
        if not _usable(name, problem.size):
            continue
        reply = exact(name, x, y)
        if reply.status != "ok":
            continue
        try:
            perm = check_permutation(reply.value["arrays"]["perms"][0], problem.size)
        except (ValueError, KeyError):
            continue
        k = matching_value(problem, perm)
        for prices in _price_candidates(MatchingProblem(x, y), perm, reply.value["arrays"].get("v")):
            upper = min(upper, certified_upper(problem, prices + offset))
            gap = upper - k
            span = k - k_rand
            if _is_closed(gap, span, floor):
                certificate = gap / span if span > floor else 0.0
                return Optimum(k, max(upper, k), max(certificate, 0.0), name, perm, prices + offset)
    return Optimum(None, upper if math.isfinite(upper) else upper_bound(problem), None, "")


def _is_closed(gap: float, span: float, floor: float) -> bool:
    """Whether a bound proves a matching; where nothing distinguishes the permutations, a gap below ``floor`` is none."""
    return gap <= max(TOLERANCE * span, floor)


def _length(problem: MatchingProblem) -> float:
    """No inner product summed over positions is larger."""
    return float(np.linalg.norm(problem.x.astype(np.float64)) * np.linalg.norm(problem.y.astype(np.float64)))


def _usable(name: str, size: int) -> bool:
    if name not in solver_names():
        return False
    solver = get_solver(name)
    return solver.available and (solver.max_size is None or size <= solver.max_size)


def _price_candidates(
    centred: MatchingProblem, perm: NDArray[np.intp], given: NDArray[np.float64] | None
) -> Iterator[NDArray[np.float64]]:
    if given is not None and given.shape == perm.shape and np.isfinite(given).all():
        yield given
    yield prices_of(centred, perm)


def data_key(problem: MatchingProblem) -> str:
    """Digest of everything an optimum depends on."""
    digest = hashlib.sha256(f"{VERSION} {problem.x.dtype} {problem.x.shape}\n".encode())
    for array in (problem.x, problem.y):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class OptimumCache:
    """Optima on disk by the hash of the data, each with its matching and prices.

    Files are written whole or not at all. Every entry is proved again when it is read, from its matching and prices; one that
    does not prove what it claims is found anew, with a warning; a damaged file is made anew. Where the folder cannot be
    written, optima are kept in memory, with one warning.

    Parameters
    ----------
    folder : Path, optional
        Default: ``optima`` in the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or user_cache_folder() / "optima"
        # By file; what could not be written
        self._unwritten: dict[Path, Optimum] = {}

    def get(self, problem: MatchingProblem, exact: Exact, *, refresh: bool = False) -> Optimum:
        """The optimum from disk, or found with ``exact`` and kept if it was proved."""
        path = self.path(problem)
        stored = None if refresh else self._unwritten.get(path) or _stored(path)
        if stored is not None and proves(problem, stored):
            return stored
        found = find_optimum(problem, exact)
        if found.k_opt is not None or problem.size > LARGEST:
            self._store(path, found)
        if stored is not None:
            remark = "the cache of optima did not prove what it claimed; the optimum was proved anew"
            warnings.warn(f"{path}: {remark}", stacklevel=2)
            return replace(found, remark=remark)
        return found

    def check(self, problem: MatchingProblem) -> bool | None:
        """Whether the entry proves what it claims; None where there is none that can be read."""
        stored = _stored(self.path(problem))
        return None if stored is None else proves(problem, stored)

    def path(self, problem: MatchingProblem) -> Path:
        """The file of a problem's entry."""
        key = data_key(problem)
        return self.folder / key[:2] / f"{key}.npz"

    def _store(self, path: Path, optimum: Optimum) -> None:
        try:
            _write(path, optimum)
        except OSError as error:
            if not self._unwritten:
                warnings.warn(
                    f"optima are kept in memory, this process's alone: {explain(error)}", RuntimeWarning, stacklevel=3
                )
            self._unwritten[path] = optimum


def proves(problem: MatchingProblem, claimed: Optimum) -> bool:
    """Whether the matching has the value k_opt, and no permutation a larger one by the prices; to within rounding.

    Beyond `LARGEST` there is nothing to prove: k_upper is taken as it is.
    """
    if claimed.k_opt is None or problem.size == 0:
        return problem.size > LARGEST or claimed.k_opt == claimed.k_upper == 0
    try:
        k = matching_value(problem, claimed.perm)  # type: ignore[arg-type]
        upper = certified_upper(problem, claimed.prices)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False
    length = _length(problem)
    same = abs(k - claimed.k_opt) <= 1e-12 * length and abs(max(upper, k) - claimed.k_upper) <= 1e-9 * length
    return same and _is_closed(upper - k, k - random_value(problem), 1e-9 * length)


def _write(path: Path, optimum: Optimum) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {name: value for name, value in asdict(optimum).items() if name not in ("perm", "prices")}
    arrays = {name: a for name in ("perm", "prices") if (a := getattr(optimum, name)) is not None}
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(temporary, facts=np.array(json.dumps(facts)), **arrays)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _stored(path: Path) -> Optimum | None:
    try:
        with np.load(path, allow_pickle=False) as content:
            facts = json.loads(str(content["facts"]))
            arrays = {name: content[name] for name in ("perm", "prices") if name in content}
        optimum = Optimum(**facts, **arrays)
        k_opt, k_upper = optimum.k_opt, float(optimum.k_upper)
    except Exception:  # there is no end to what a damaged file can raise
        return None
    return optimum if math.isfinite(k_upper) and (k_opt is None or k_opt <= k_upper) else None
