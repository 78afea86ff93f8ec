"""The RSMs of one layer under many solvers, and how far each solver's matchings are from the optimum, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.locate import find_data
from semrsm_bench.activations.store import open_cache
from semrsm_bench.rsm.compute import derive
from semrsm_bench.rsm.kernels import require_no_zero_image
from semrsm_bench.rsm.matchings import choose_matching
from semrsm_bench.rsm.run import Images, matched_products
from semrsm_bench.rsm.sources import ArraySource, CacheLayer, Centring, ImageSource
from semrsm_bench.rsm.survey import centred
from semrsm_bench.solvers import MatchingProblem, chance_corrected, get_solver, quality, solver_names

if TYPE_CHECKING:
    from semrsm_bench.activations.models import Model

Matrix = NDArray[np.float64]

OPTIMUM = "exact-auction"
UNMATCHED = "identity"
# Their blocks are matched by an exact solver, so that one block of all positions is the optimum by construction.
_IN_BLOCKS = "semrsm_bench.solvers.norm_order"


def share_of(count: int, size: int, least: int) -> int:
    """Images for a layer of ``size`` positions: all up to S = 64, then fewer in proportion to 1 / sqrt(S), at least ``least``."""
    return min(count, max(least, round(count * min(1.0, 8 / math.sqrt(size)))))


def layers_of_model(
    model: Model, pixels: NDArray[np.uint8], images_of: Callable[[int], int], largest: int | None = None
) -> dict[str, ImageSource]:
    """The layers of a network, each with as many images as ``images_of(S)`` says, evenly spread over the pictures."""
    from semrsm_bench.activations.forward import activations_of

    found = activations_of(model, pixels, quiet=True)
    sources: dict[str, ImageSource] = {}
    for name, values in found.layers.items():
        n, size = len(values), values.shape[2]
        if largest is None or size <= largest:
            chosen = np.arange(images_of(size)) * n // images_of(size)
            sources[name] = ArraySource(values[chosen], name)
    return sources


def layers_of_cache(
    path: str | Path, layers: Sequence[str], images_of: Callable[[int], int], largest: int | None = None
) -> tuple[dict[str, ImageSource], dict[str, Any]]:
    """The layers of a cache of activations (its first images), and what goes into ``inputs`` of a study.

    Raises
    ------
    ValueError
        A layer that the cache lacks. `CacheError` (a ValueError) where there is no such cache.
    """
    cache = open_cache(find_data(path))
    for layer in layers:
        if layer not in cache.layers:
            raise ValueError(f"{cache.name} has no layer {layer!r}; it has {', '.join(cache.layers)}")
    sources: dict[str, ImageSource] = {}
    for layer in layers or cache.layers:
        size = cache.shape(layer)[2]
        if largest is None or size <= largest:
            sources[layer] = CacheLayer(cache, layer, slice(0, images_of(size)))
    return sources, {"cache": cache.name, "sha256": cache.sha256, "images": len(cache)}


def chosen_solvers(names: Sequence[str] = ()) -> list[str]:
    """The solvers to compare: those named, or identity and all approximate ones that are available here.

    Raises
    ------
    ValueError
        An unknown name (with the nearest ones), or one that is not available, with the reason.
    """
    if not names:
        return [UNMATCHED, *solver_names("approximate", available_only=True)]
    for name in names:
        if reason := get_solver(name).reason:
            raise ValueError(f"solver {name!r} is not available: {reason}")
    return [name for name in dict.fromkeys(names) if name != OPTIMUM]


def reason_to_leave_out(name: str, size: int) -> str:
    """Why a solver that nobody asked for by name is not run at S positions; "" where it is."""
    solver = get_solver(name)
    if solver.max_size is not None and size > solver.max_size:
        return f"meant for S up to {solver.max_size}"
    whole = max(int(solver.options.get("b", 0)), int(solver.options.get("k", 0)))
    if solver.function.__module__ == _IN_BLOCKS and whole >= size:
        return "its block holds all positions, so that it is the optimum"
    return ""


@dataclass
class MatchedLayer:
    """One layer under one centring, matched by every solver.

    Attributes
    ----------
    layer, centring : str
    images : Images
    products : dict of solver to ndarray, (n, n)
        Matched inner products k of all pairs; the optimum among them.
    chance : ndarray, (n, n)
        k_rand of all pairs.
    rsms : dict of solver to dict of kernel to ndarray, (n, n)
    left_out : dict of solver to str
        Why.
    """

    layer: str
    centring: Centring
    images: Images
    products: dict[str, Matrix]
    chance: Matrix
    rsms: dict[str, dict[str, Matrix]]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Positions S."""
        return self.images.rows.size

    @property
    def count(self) -> int:
        """Images n."""
        return self.images.rows.count

    @property
    def solvers(self) -> list[str]:
        """Those that were run, without the optimum."""
        return [name for name in self.products if name != OPTIMUM]

    def values(self, solver: str) -> NDArray[np.float64]:
        """Matched inner products of all pairs i < j, row by row."""
        found: NDArray[np.float64] = self.products[solver][np.triu_indices(self.count, 1)]
        return found

    def quality(self, solver: str) -> Matrix:
        """k/k_opt of all pairs, (n, n), NaN where k_opt is not positive."""
        return _each(quality, self.products[solver], self.products[OPTIMUM])

    def chance_corrected(self, solver: str) -> Matrix:
        """``c = (k - k_rand) / (k_opt - k_rand)`` of all pairs, (n, n)."""
        return _each(chance_corrected, self.products[solver], self.products[OPTIMUM], self.chance)

    def problem(self, i: int, j: int) -> MatchingProblem:
        """The matching problem of two images."""
        images = self.images
        return MatchingProblem(
            *(centred(images.rows.read(k, k + 1), images.mean, images.dtype)[0].copy() for k in (i, j))
        )


def match_layer(
    layer: str,
    source: ImageSource,
    centring: Centring,
    solvers: Sequence[str],
    kernels: Sequence[str],
    *,
    asked_for: bool = False,
    n_jobs: int = 1,
    tell: Callable[[int], object] = lambda pairs: None,
) -> MatchedLayer:
    """Match all pairs of a layer with every solver; one matching serves all kernels, one bandwidth all solvers.

    Parameters
    ----------
    asked_for : bool
        The user named these solvers: none is left out for its size.
    tell : callable
        Called with the number of pairs after each solver.

    Raises
    ------
    ValueError
        What `compute_rsm` raises for bad activations. A solver that fails is left out with its message; the optimum is not.
    """
    images = Images.look(source, None, centring)
    if "cosine" in kernels:
        require_no_zero_image(images.row_survey.squared_norms, f"{layer} (centring {centring})")
    products: dict[str, Matrix] = {}
    left_out: dict[str, str] = {}
    for name in [OPTIMUM, *solvers]:
        reason = "" if asked_for or name == OPTIMUM else reason_to_leave_out(name, source.size)
        if not reason:
            try:
                products[name] = matched_products(images, choose_matching(name, None, {}), n_jobs=n_jobs)
            except Exception as error:
                if name == OPTIMUM:
                    raise
                reason = f"failed: {type(error).__name__}: {error}"
        if reason:
            left_out[name] = reason
        tell(images.pairs)
    rsms = derive(images, products, kernels, "offdiag_median", 1.0)
    return MatchedLayer(layer, centring, images, products, _chance(images), rsms, left_out)


def _each(function: Callable[..., float], *matrices: Matrix) -> Matrix:
    return np.asarray(np.vectorize(function, otypes=[np.float64])(*matrices))


def _chance(images: Images) -> Matrix:
    """``k_rand = (sum x) . (sum y) / S`` of all pairs, in float64."""
    sums = np.concatenate(
        [centred(part, images.mean, images.dtype).sum(axis=1, dtype=np.float64) for _, part in images.rows.chunks()]
    )
    return np.asarray(sums @ sums.T / images.rows.size)
