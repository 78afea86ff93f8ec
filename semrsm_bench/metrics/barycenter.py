"""Barycentric alignment: many models in one space, so that single stimuli can be compared across models.

Generalised Procrustes analysis (Gower 1975). A map takes the d_k columns of a model to d >= d_k common ones by orthonormal rows.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any, Self

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from semrsm_bench.core.identity import require_one_set_of_ids
from semrsm_bench.metrics.arrays import FloatArray, as_float64, centred, one_of, require_stimuli, square_norm
from semrsm_bench.metrics.procrustes import GROUPS, best_map
from semrsm_bench.metrics.ranks import dense_ranks, first_largest

Mapper = Callable[..., Iterable[Any]]
"""``map``, or that of a pool of threads."""


@dataclass(eq=False)
class Barycenter:
    """Common space of K models, fitted on training stimuli and applied to others (Saha, He and Khosla 2026).

    Minimises sum_k |X_k W_k - M|_F^2 over maps W_k of the group, with X_k centred and M the mean of the aligned X_k. It
    starts from the medoid (the model with the smallest sum of squared Procrustes distances to the others) and repeats
    W_k = argmax <X_k' M, W_k> and M = mean X_k W_k, which never increases the objective; momentum speeds this up where the
    models agree little. Permutations end with rounds in which each model is aligned to the mean of the others.

    Parameters
    ----------
    group : {"orthogonal", "permutation"}
        Rotations and reflections, or reorderings of the units. Narrower models are zero-padded to the widest.
    n_components : int, optional
        Reduce every model to so many principal components of its training stimuli first (narrower models to all they
        have). Only for ``orthogonal``.
    scale : bool
        Divide every model by its Frobenius norm over the training stimuli.
    tol, max_iter : float, int
        Stop once an iteration lowers the objective by less than this share of it; with a RuntimeWarning after so many iterations.
    n_starts : int, optional
        Starts to choose the best from: the medoid, then other models in random order, then random maps. By default 1 for
        ``orthogonal``, 5 for ``permutation``, which gets stuck more easily.
    seed : int
        Of the further starts. The default start uses no random numbers.
    n_jobs : int, optional
        Threads that share the models of an iteration, with one BLAS thread each; by default as many as BLAS would use, which
        would help less inside one small decomposition.

    Attributes
    ----------
    barycenter_ : ndarray, shape (n, d)
        M on the training stimuli, its gauge fixed: for ``orthogonal`` on its principal axes, largest variance first, with
        the entry of largest magnitude in every column positive; for ``permutation`` with columns of descending norm.
    objective_, objective_history_ : float, ndarray
        Sum of squared distances to M of the models as fitted (after ``scale`` and ``n_components``): at the end, and after the
        start and every iteration of the best start; never increases.
    n_iter_, converged_ : int, bool
        Iterations of the best start, and whether it ended before ``max_iter``.
    rotations_ : list of ndarray, shape (d_k, d)
        The map of each model (with ``n_components`` the principal axes included), added models last.
    means_, scales_ : list
        Column means of each model over its training stimuli, and its Frobenius norm (1.0 without ``scale``).
    medoid_ : int
        The model the first start began from.
    """

    group: str = "orthogonal"
    _: KW_ONLY
    n_components: int | None = None
    scale: bool = False
    tol: float = 1e-8
    max_iter: int = 100
    n_starts: int | None = None
    seed: int = 0
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        rotates = one_of(self.group, GROUPS, "group") == "orthogonal"
        if self.n_components is not None and not rotates:
            raise ValueError("n_components mixes units, which leaves a permutation nothing to reorder; leave it out")
        for name in ("n_components", "max_iter", "n_starts", "n_jobs"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1; got {count}")
        if not self.tol >= 0:
            raise ValueError(f"tol must not be negative; got {self.tol}")
        if self.n_starts is None:
            self.n_starts = 1 if rotates else 5
        self._fitted = 0

    def fit(self, models: Iterable[Any]) -> Self:
        """Find the barycenter of ``models``, at least two arrays of shape (n, d_k) over the same n >= 2 stimuli.

        ValueError for a model that is the same for all stimuli, and for ``n_components`` above what every model has.
        """
        models = list(models)
        if len(models) < 2:
            raise ValueError(f"a barycenter needs at least two models; got {len(models)}")
        self._fitted = 0
        prepared = [self._prepare(model, f"models[{index}]") for index, model in enumerate(models)]
        xs = [x for x, *_ in prepared]
        _require_same_stimuli(models)
        width = max(x.shape[1] for x in xs)
        if self.n_components is not None and width < self.n_components:
            raise ValueError(f"no model has n_components={self.n_components} principal components; the most is {width}")
        assert self.n_starts is not None
        with _side_by_side(self.n_jobs) as parallel:
            self.medoid_ = _medoid(xs, self.group, parallel)
            starts = _starts(xs, self.medoid_, self.n_starts, self.group, np.random.default_rng(self.seed))
            runs = [_descend(xs, start, self.group, self.tol, self.max_iter, parallel) for start in starts]
            if self.group == "permutation":
                runs = [_polish(xs, run, self.group, self.max_iter) for run in runs]
        best = min(runs, key=lambda run: run.history[-1])
        self.converged_ = best.converged
        if not self.converged_:
            warnings.warn(
                f"Barycenter stopped after max_iter={self.max_iter} iterations, before the relative decrease of the "
                f"objective fell below tol={self.tol}; raise one of them",
                RuntimeWarning,
                stacklevel=2,
            )
        self.objective_history_ = np.array(best.history)
        self.objective_ = best.history[-1]
        self.n_iter_ = len(best.history) - 1
        gauge = _gauge(best.mean, self.group)
        self.barycenter_ = best.mean @ gauge
        self.means_ = [mean for _, mean, _, _ in prepared]
        self.scales_ = [scale for _, _, scale, _ in prepared]
        self.rotations_ = [axes @ (found @ gauge) for (*_, axes), found in zip(prepared, best.maps, strict=True)]
        self._fitted = len(models)
        return self

    def add_model(self, model: Any) -> Self:
        """Align one more model to the fitted barycenter, which does not move; it is the last one for `transform`.

        ``model`` (n, d_new) holds the training stimuli of `fit`, in their order; it is no wider than the barycenter (or of any
        width with ``n_components``).
        """
        self._require_fitted()
        x, mean, scale, axes = self._prepare(model, "model")
        (n, width), (rows, units) = self.barycenter_.shape, x.shape
        if rows != n:
            raise ValueError(f"model must hold the {n} training stimuli of fit, but has {rows}")
        if units > width:
            raise ValueError(f"model has {units} dimensions but the barycenter only {width}; fit again with this model")
        self.means_.append(mean)
        self.scales_.append(scale)
        self.rotations_.append(axes @ best_map(x.T @ self.barycenter_, self.group))
        return self

    def transform(self, models: Iterable[Any]) -> list[FloatArray]:
        """Bring stimuli of all models, seen in `fit` or not, into the common space: (x - mean_k) / scale_k W_k, as of the training.

        ``models`` are arrays (m, d_k): one for each model of `fit`, in that order, or those and one for each model added after it.
        Returns a list of arrays (m, d).
        """
        self._require_fitted()
        models, known = list(models), len(self.rotations_)
        if len(models) not in (self._fitted, known):
            added = f", or {known} with those added," if known > self._fitted else ""
            raise ValueError(
                f"transform needs the {self._fitted} models of fit{added} in their order; got {len(models)}"
            )
        aligned = []
        for index, (model, mean) in enumerate(zip(models, self.means_)):
            x = as_float64(model, f"models[{index}]")
            if x.shape[1] != len(mean):
                raise ValueError(f"models[{index}] was fitted with {len(mean)} units, but now has {x.shape[1]}")
            aligned.append((x - mean) / self.scales_[index] @ self.rotations_[index])
        _require_same_stimuli(models)
        return aligned

    def fit_transform(self, models: Sequence[Any]) -> list[FloatArray]:
        """`fit`, then `transform` of the training stimuli."""
        return self.fit(models).transform(models)

    def _prepare(self, model: Any, name: str) -> tuple[FloatArray, FloatArray, float, FloatArray]:
        """One model as it is aligned, with the mean, the scale and the axes (p, d) that its stimuli are brought there by.

        A rotation is found inside the at most n - 1 dimensions that n stimuli span; M is there too.
        """
        given = as_float64(model, name)
        require_stimuli(len(given), 2)
        x = centred(given)
        norm = float(np.linalg.norm(x))
        if norm == 0.0 or not np.isfinite(norm):
            raise ValueError(f"{name} cannot be aligned: the norm of its centred features is {norm}")
        scale = norm if self.scale else 1.0
        x = x / scale
        if self.group == "orthogonal" and (self.n_components is not None or x.shape[1] >= len(x)):
            kept = min(x.shape[1], len(x) - 1, self.n_components or len(x))
            axes = np.asarray(np.linalg.svd(x, full_matrices=False)[2][:kept].T)
            return x @ axes, given.mean(axis=0), scale, axes
        return x, given.mean(axis=0), scale, np.eye(x.shape[1])

    def _require_fitted(self) -> None:
        if not self._fitted:
            raise ValueError("this Barycenter is not fitted yet; call fit first")


def _require_same_stimuli(models: Sequence[Any]) -> None:
    require_one_set_of_ids(models, "models")
    if len(lengths := sorted({len(x) for x in models})) > 1:
        raise ValueError(f"all models must hold the same stimuli, but they have {lengths} of them")


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    # Searching the loaded libraries takes longer than a small fit; NumPy's and SciPy's are loaded by now.
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def _side_by_side(n_jobs: int | None) -> Iterator[Mapper]:
    """A ``map`` over threads, with one BLAS thread in each."""
    jobs = n_jobs or max((library["num_threads"] for library in _blas().info()), default=1)
    if jobs == 1:
        yield map
        return
    with _blas().limit(limits=1), ThreadPoolExecutor(jobs) as pool:
        yield pool.map


@dataclass(frozen=True)
class Descent:
    """End of one run: a map per model, their mean, the objective after the start and after every iteration."""

    maps: list[FloatArray]
    mean: FloatArray
    history: list[float]
    converged: bool


def _gauge(mean: FloatArray, group: str) -> FloatArray:
    """The map (d, d) of M (n, d) onto its principal axes, with peaks positive; or to columns of descending norm."""
    if group == "permutation":
        ranks, _ = dense_ranks(np.linalg.norm(mean, axis=0))
        return np.eye(len(ranks))[:, np.argsort(-ranks, kind="stable")]
    # The common width is below n, see Barycenter, so the thin decomposition has all axes.
    axes = np.linalg.svd(mean, full_matrices=False)[2].T
    columns = (mean @ axes).T
    peaks = columns[np.arange(len(columns)), first_largest(np.abs(columns))]
    return np.asarray(axes * np.where(peaks < 0, -1.0, 1.0))


def _medoid(xs: list[FloatArray], group: str, parallel: Mapper) -> int:
    """Index of the model with the smallest sum of squared Procrustes distances to the others, the first of ties."""

    def overlap(pair: tuple[int, int]) -> float:
        x, y = sorted((xs[k] for k in pair), key=lambda side: side.shape[1])
        affinity = x.T @ y
        if group == "orthogonal":
            return float(np.linalg.svd(affinity, compute_uv=False).sum())
        return float(np.vdot(affinity, best_map(affinity, group)))

    pairs = [(k, j) for k in range(len(xs)) for j in range(k)]
    # sum_j |X_k|^2 + |X_j|^2 - 2 overlap, without the sum of all |X_j|^2, which is the same for every k.
    sums = np.array([(len(xs) - 2) * square_norm(x) for x in xs])
    for pair, value in zip(pairs, parallel(overlap, pairs), strict=True):
        sums[list(pair)] -= 2 * value
    return int(first_largest(-sums))


def _starts(xs: list[FloatArray], first: int, count: int, group: str, rng: np.random.Generator) -> list[FloatArray]:
    """``count`` targets as wide as the widest: model ``first``, other models in random order, means after random maps."""
    width = max(x.shape[1] for x in xs)
    others = [int(k) for k in rng.permutation(len(xs)) if k != first]
    starts = [np.pad(xs[k], ((0, 0), (0, width - xs[k].shape[1]))) for k in [first, *others][:count]]

    def random(units: int) -> FloatArray:
        if group == "orthogonal":
            return best_map(rng.standard_normal((units, width)), group)
        return np.asarray(np.eye(width)[rng.permutation(width)[:units]])

    while len(starts) < count:
        starts.append(_mean_and_objective([x @ random(x.shape[1]) for x in xs])[0])
    return starts


def _descend(
    xs: list[FloatArray], target: FloatArray, group: str, tol: float, max_iter: int, parallel: Mapper
) -> Descent:
    """Align all models to the target, make their mean the target, and repeat until the objective stops falling.

    The target runs ahead of the mean by Nesterov's momentum, which takes a fifth of the iterations where agreement is weak.
    A step that would raise the objective is taken back and repeated from the mean itself, from where it cannot rise; and
    only such a plain step can end the run.
    """
    rounding = len(xs) * np.finfo(np.float64).eps ** 2 * sum(square_norm(x) for x in xs)
    maps: list[FloatArray] = []
    history: list[float] = []
    mean = previous = target
    momentum, pace = 0.0, 1.0
    for _ in range(max_iter + 1):
        goal = mean + momentum * (mean - previous)
        new_maps = list(parallel(lambda x, onto: best_map(x.T @ onto, group), xs, repeat(goal)))
        new_mean, objective = _mean_and_objective([x @ found for x, found in zip(xs, new_maps, strict=True)])
        if history and objective >= history[-1]:
            if momentum == 0.0:
                # At a fixed point what is left is rounding, in either direction; the better one is kept.
                return Descent(maps, mean, history, True)
            momentum, pace = 0.0, 1.0
            continue
        small = bool(history) and history[-1] - objective < tol * history[-1]
        maps, previous, mean = new_maps, mean if history else new_mean, new_mean
        history.append(objective)
        if objective <= rounding or (small and momentum == 0.0):
            return Descent(maps, mean, history, True)
        if small:
            momentum, pace = 0.0, 1.0
        else:
            faster = (1 + math.sqrt(1 + 4 * pace * pace)) / 2
            momentum, pace = (pace - 1) / faster, faster
    return Descent(maps, mean, history, False)


def _polish(xs: list[FloatArray], run: Descent, group: str, max_iter: int) -> Descent:
    """Align one model after the other to the mean of all others, until a round changes nothing.

    A model's part of the mean holds the model where it is, which traps permutations. Aligned to the sum of the others, the
    objective cannot rise.
    """
    maps, history = list(run.maps), list(run.history)
    aligned = [x @ found for x, found in zip(xs, maps, strict=True)]
    for _ in range(max_iter):
        for k, x in enumerate(xs):
            others = sum(aligned[:k] + aligned[k + 1 :])
            candidate = best_map(x.T @ others, group)
            moved = x @ candidate
            # The overlap decides, since of equal assignments one is as good as the other.
            if np.vdot(moved, others) > np.vdot(aligned[k], others):
                maps[k], aligned[k] = candidate, moved
        mean, objective = _mean_and_objective(aligned)
        if objective >= history[-1]:
            break
        history.append(objective)
        run = Descent(list(maps), mean, history, run.converged)
    return run


def _mean_and_objective(aligned: list[FloatArray]) -> tuple[FloatArray, float]:
    mean = np.asarray(sum(aligned) / len(aligned))
    return mean, sum(square_norm(a - mean) for a in aligned)
