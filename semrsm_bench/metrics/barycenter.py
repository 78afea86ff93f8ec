"""Barycentric alignment: many models in one space, so that single stimuli can be compared across models.

The method of Saha, He and Khosla (2026) as generalised Procrustes analysis (Gower 1975).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from semrsm_bench.metrics.arrays import FloatArray, as_features, centred, one_of, require_stimuli
from semrsm_bench.metrics.generalised import ORTHOGONAL, Mapper, descend, medoid, permutations, polish, starting_points
from semrsm_bench.metrics.procrustes import GROUPS, Assignment


class _Prepared(NamedTuple):
    """One model as it is aligned, with the mean, the scale, and the axes (None for all) that its stimuli are brought there by."""

    x: FloatArray
    mean: FloatArray
    scale: float
    axes: FloatArray | None


@dataclass(eq=False)
class Barycenter:
    """Common space of K models, fitted on training stimuli and applied to others.

    Minimises sum_k |X_k W_k - M|_F^2 over maps W_k of the group, with X_k centred and M the mean of the aligned X_k. It
    starts from the medoid (the model with the smallest sum of squared Procrustes distances to the others) and repeats
    W_k = argmax <X_k' M, W_k> and M = mean X_k W_k, which never increases the objective; momentum speeds this up where the
    models agree little, see `generalised.descend`. Permutations end with rounds in which each model is aligned to the
    mean of the others.

    Parameters
    ----------
    group : {"orthogonal", "permutation"}
        Rotations and reflections, or reorderings of the units. Narrower models are zero-padded to the widest.
    n_components : int, optional
        Reduce every model to so many principal components of its training stimuli first (narrower models to all they
        have). Only for ``orthogonal``.
    scale : bool
        Divide every model by its Frobenius norm over the training stimuli.
    tol : float
        Stop once an iteration lowers the objective by less than this share of it.
    max_iter : int
        Stop after so many iterations in any case, with a RuntimeWarning.
    n_starts : int, optional
        Starts to choose the best from: the medoid, then other models in random order, then random maps. By default 1 for
        ``orthogonal``, 5 for ``permutation``, which gets stuck more easily.
    seed : int
        Of the further starts. The default start uses no random numbers.
    n_jobs : int, optional
        Threads that share the models of an iteration, with one BLAS thread each; by default as many as BLAS would use.
        The models then run side by side, which beats several threads inside one small decomposition.
    assignment : callable, optional
        For ``permutation``: affinity of shape (d_k, d) -> distinct columns of the largest total, shape (d_k,), in place of
        SciPy's solver. It must be exact for the objective to be monotone.

    Attributes
    ----------
    barycenter_ : ndarray, shape (n, d)
        M on the training stimuli, its gauge fixed: for ``orthogonal`` on its principal axes, largest variance first, with
        the entry of largest magnitude in every column positive; for ``permutation`` with columns of descending norm.
    objective_ : float
        Final sum of squared distances to M, of the models as fitted (after ``scale`` and ``n_components``).
    objective_history_ : ndarray
        Objective after the start and after every iteration of the best start; never increases.
    n_iter_ : int
        Iterations of the best start.
    converged_ : bool
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
    assignment: Assignment | None = None

    def __post_init__(self) -> None:
        rotates = one_of(self.group, GROUPS, "group") == "orthogonal"
        if self.n_components is not None and not rotates:
            raise ValueError("n_components mixes units, which leaves a permutation nothing to reorder; leave it out")
        if self.assignment is not None and rotates:
            raise ValueError("assignment belongs to group='permutation'")
        for name in ("n_components", "max_iter", "n_starts", "n_jobs"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1; got {count}")
        if not self.tol >= 0:
            raise ValueError(f"tol must not be negative; got {self.tol}")
        if self.n_starts is None:
            self.n_starts = 1 if rotates else 5
        self._maps = ORTHOGONAL if rotates else permutations(self.assignment)
        self._fitted = 0

    def fit(self, models: Iterable[Any]) -> Self:
        """Find the barycenter of ``models``, at least two arrays of shape (n, d_k) over the same n >= 2 stimuli.

        Raises
        ------
        ValueError
            For fewer than two models, mismatched n, a model that is the same for all stimuli, ``n_components`` above what
            every model has, and misshapen or non-finite input.
        """
        models = list(models)
        if len(models) < 2:
            raise ValueError(f"a barycenter needs at least two models; got {len(models)}")
        self._fitted = 0
        prepared = [self._prepare(model, f"models[{index}]") for index, model in enumerate(models)]
        xs = [each.x for each in prepared]
        _require_same_stimuli(xs)
        width = max(x.shape[1] for x in xs)
        if self.n_components is not None and width < self.n_components:
            raise ValueError(f"no model has n_components={self.n_components} principal components; the most is {width}")
        assert self.n_starts is not None
        with _side_by_side(self.n_jobs) as parallel:
            self.medoid_ = medoid(xs, self._maps, parallel)
            starts = starting_points(xs, self.medoid_, self.n_starts, self._maps, np.random.default_rng(self.seed))
            runs = [descend(xs, start, self._maps, self.tol, self.max_iter, parallel) for start in starts]
            if self.group == "permutation":
                runs = [polish(xs, run, self._maps, self.max_iter) for run in runs]
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
        gauge = self._maps.gauge(best.mean)
        self.barycenter_ = best.mean @ gauge
        self.means_: list[FloatArray] = []
        self.scales_: list[float] = []
        self.rotations_: list[FloatArray] = []
        for each, found in zip(prepared, best.maps, strict=True):
            self._add(each, found @ gauge)
        self._fitted = len(models)
        return self

    def add_model(self, model: Any) -> Self:
        """Align one more model to the fitted barycenter, which does not move; it is the last one for `transform`.

        Parameters
        ----------
        model : array_like, shape (n, d_new)
            On the training stimuli of `fit`, in their order; no wider than the barycenter (or any width with
            ``n_components``).
        """
        self._require_fitted()
        prepared = self._prepare(model, "model")
        (n, width), (rows, own) = self.barycenter_.shape, prepared.x.shape
        if rows != n:
            raise ValueError(f"model must hold the {n} training stimuli of fit, but has {rows}")
        if own > width:
            raise ValueError(
                f"model has {own} dimensions but the barycenter only {width}; fit again with this model, or set n_components"
            )
        self._add(prepared, self._maps.best(prepared.x.T @ self.barycenter_))
        return self

    def transform(self, models: Iterable[Any]) -> list[FloatArray]:
        """Bring stimuli of all models, seen in `fit` or not, into the common space: (x - mean_k) / scale_k W_k, as of the training.

        Parameters
        ----------
        models : iterable of array_like, shape (m, d_k)
            One for each model of `fit`, in that order, or those and one for each model added after it.

        Returns
        -------
        list of ndarray, shape (m, d)

        Raises
        ------
        ValueError
            Before `fit`, for another number of models or units than fitted, and for mismatched m.
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
            x = as_features(model, f"models[{index}]")
            if x.shape[1] != len(mean):
                raise ValueError(f"models[{index}] was fitted with {len(mean)} units, but now has {x.shape[1]}")
            aligned.append((x - mean) / self.scales_[index] @ self.rotations_[index])
        _require_same_stimuli(aligned)
        return aligned

    def fit_transform(self, models: Sequence[Any]) -> list[FloatArray]:
        """`fit`, then `transform` of the training stimuli."""
        return self.fit(models).transform(models)

    def _prepare(self, model: Any, name: str) -> _Prepared:
        """Centre and scale one model, and reduce it to the axes that it needs.

        A model with more units than stimuli spans n - 1 dimensions at most, so a rotation is looked for among those. The
        common width then is at most n - 1 too, in which M lies in any case, and the optimum stays the same.
        """
        given = as_features(model, name)
        require_stimuli(len(given), 2)
        x = centred(given)
        norm = float(np.linalg.norm(x))
        if norm == 0.0 or not np.isfinite(norm):
            raise ValueError(f"{name} cannot be aligned: the norm of its centred features is {norm}")
        scale = norm if self.scale else 1.0
        x = x / scale
        axes = None
        if self.group == "orthogonal" and (self.n_components is not None or x.shape[1] >= len(x)):
            kept = min(x.shape[1], len(x) - 1, self.n_components or len(x))
            axes = np.asarray(np.linalg.svd(x, full_matrices=False)[2][:kept].T)
            x = x @ axes
        return _Prepared(x, given.mean(axis=0), scale, axes)

    def _add(self, prepared: _Prepared, found: FloatArray) -> None:
        self.means_.append(prepared.mean)
        self.scales_.append(prepared.scale)
        self.rotations_.append(found if prepared.axes is None else prepared.axes @ found)

    def _require_fitted(self) -> None:
        if not self._fitted:
            raise ValueError("this Barycenter is not fitted yet; call fit first")


def _require_same_stimuli(models: list[FloatArray]) -> None:
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
