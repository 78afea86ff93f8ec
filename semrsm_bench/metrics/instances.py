"""Similarity of single stimuli across aligned models, and the scores of single stimuli by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from semrsm_bench.core.identity import require_one_set_of_ids
from semrsm_bench.core.method import registering, words
from semrsm_bench.core.registry import Registry
from semrsm_bench.metrics.arrays import FloatArray, as_float64, one_of, unit_rows
from semrsm_bench.metrics.registry import Best, InvalidValueError, Measure

KINDS = ("pairwise_cosine", "dispersion", "barycenter_cosine", "leave_one_out_cosine")

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class InstanceScore(Measure):
    """A registered score of single stimuli: ``function(given, **options)`` returns one number a stimulus, (n,).

    ``takes`` says what is given: K aligned models (K, n, d), or, for baselines, the pictures themselves (n, H, W, 3), uint8.
    """

    kind_name: ClassVar[str] = "instance"
    takes_one_of: ClassVar[tuple[str, ...]] = ("aligned", "pixels")

    def run(self, given: Any, **options: Any) -> FloatArray:  # type: ignore[override]
        """Scores of n stimuli, (n,), of what ``takes`` says or of a mapping that holds it under that name.

        Errors as for `Metric.run`.
        """
        self.require_available()
        merged = {**self.options, **options}
        self.check_options(merged)
        given = given[self.takes] if isinstance(given, Mapping) else given
        scores = np.asarray(self.function(given, **merged))
        count = len(given[0] if self.takes == "aligned" else given)
        if scores.shape != (count,) or scores.dtype.kind not in "fiub":
            raise InvalidValueError(
                f"{self.noun} {self.name!r} returned {scores.dtype} of shape {scores.shape}, not {count} real numbers"
            )
        return scores.astype(np.float64)


INSTANCES: Registry[InstanceScore] = Registry("instance", "semrsm_bench.metrics", ("instances", "baselines"))


def register_instance(
    name: str,
    *,
    best: Best,
    range: tuple[float, float],
    takes: Literal["aligned", "pixels"] = "aligned",
    invariant_to: str | Iterable[str] = (),
    category: str = "",
    **declared: Any,
) -> Callable[[F], F]:
    """Register a score of single stimuli; use it as a decorator on a function ``(aligned, **options) -> (n,)``.

    ``best`` and ``range`` must be given::

        @sb.register_instance("weakest-pair", best="max", range=(-1, 1), invariant_to=["orthogonal", "model_order"])
        def weakest_pair(aligned): ...

    Parameters
    ----------
    name, best, range, category, **declared
        As for `semrsm_bench.register_metric` (grid, complexity, reference, requires, unavailable, files, distribution, max_size,
        slow_from), and so are the errors; ``best`` is the score of models that agree on a stimulus.
    takes : {"aligned", "pixels"}
        What the function gets, read-only: float64 (K, n, d), the rows of n stimuli in K >= 2 models that were brought into one
        space by an alignment that did not see these stimuli; or the pictures themselves (n, H, W, 3), uint8. It returns n
        real numbers.
    invariant_to : str or iterable of str
        Words of ``semrsm_bench.metrics.INVARIANCES["aligned"]``. ``semrsm-bench check`` holds the score to them.
    """
    own = {"takes": takes, "best": best, "range": range, "invariant_to": words(invariant_to), "category": category}
    return registering(INSTANCES, InstanceScore, name, declared, **own)


def get_instance(name: str) -> InstanceScore:
    """Score of single stimuli of that name; a KeyError with the nearest names otherwise."""
    return INSTANCES.get(name)


def instance_names() -> list[str]:
    """Names of all registered scores of single stimuli, in the order of the tables."""
    return INSTANCES.names()


_cosine = partial(register_instance, best="max", range=(-1, 1))
_length = partial(register_instance, range=(0, np.inf))
_OF_ALL = ("orthogonal", "isotropic_scaling", "model_order")


@_cosine("leave_one_out_cosine", invariant_to=_OF_ALL, kind="leave_one_out_cosine")
@_cosine("barycenter_cosine", invariant_to=_OF_ALL, kind="barycenter_cosine")
@_length("dispersion", best="min", invariant_to=("orthogonal", "translation", "model_order"), kind="dispersion")
@_cosine("pairwise_cosine", invariant_to=(*_OF_ALL, "row_scaling"), kind="pairwise_cosine")
def instance_similarity(aligned: Sequence[Any], kind: str = "pairwise_cosine") -> FloatArray:
    """How alike aligned models represent each stimulus, (m,).

    With a_k the row of model k for a stimulus and m the mean of these rows it is the mean over models or their pairs of
    ``pairwise_cosine`` cos(a_k, a_l), in [-1 / (K - 1), 1]; ``dispersion`` |a_k - m|^2, a distance; ``barycenter_cosine``
    cos(a_k, m), in [0, 1] where all rows have the same length; or ``leave_one_out_cosine`` cos(a_k, mean of the other rows).

    Parameters
    ----------
    aligned : sequence of array_like, shape (m, d)
        K >= 2 models as `Barycenter.transform` returns them, best of stimuli that the fit did not see: on the training
        stimuli an alignment finds agreement in noise.
    kind : str
        One of the four; ValueError for a cosine of a row, or a mean of rows, that is zero.
    """
    one_of(kind, KINDS, "kind")
    if len(aligned) < 2:
        raise ValueError(f"instance similarity needs at least two models; got {len(aligned)}")
    models = _stacked(aligned)
    count = len(models)
    total = models.sum(axis=0)
    if kind == "dispersion":
        return np.asarray(np.square(models - total / count).sum(axis=(0, 2)) / count)
    units = np.stack([unit_rows(model, f"aligned[{k}]") for k, model in enumerate(models)])
    if kind == "pairwise_cosine":
        # |sum of unit rows|^2 holds every pair twice and K ones.
        together = np.square(units.sum(axis=0)).sum(axis=1)
        return np.asarray((together - count) / (count * (count - 1)))
    if kind == "barycenter_cosine":
        mean = unit_rows(total, "the mean of the models")
        return np.asarray(np.einsum("kij,ij->i", units, mean) / count)
    result = np.zeros(models.shape[1])
    for k in range(count):
        # Not the total minus this model, which would leave rounding where the others cancel.
        others = models[np.arange(count) != k].sum(axis=0)
        direction = unit_rows(others, f"the mean of all models but aligned[{k}]")
        result += np.einsum("ij,ij->i", units[k], direction)
    return result / count


@_length("distance_from_mean", best="max", invariant_to=("orthogonal", "model_order"), category="baseline")
def distance_from_mean(aligned: Any) -> FloatArray:
    """Mean over models of the distance of each stimulus from the origin, the mean of what the alignment was fitted on; (n,).

    A difference of the same size turns the direction of a stimulus less the further out it is, so that cosines rise with this
    whatever the models agree on. ``aligned`` and errors as for `instance_similarity`.
    """
    return np.asarray(np.linalg.norm(_stacked(aligned), axis=2).mean(axis=0))


def _stacked(aligned: Sequence[Any]) -> FloatArray:
    """K models of one shape as an array (K, m, d)."""
    models = [as_float64(a, f"aligned[{k}]") for k, a in enumerate(aligned)]
    require_one_set_of_ids(aligned, "aligned")
    for k, model in enumerate(models):
        if model.shape != models[0].shape:
            raise ValueError(
                f"aligned[{k}] has shape {model.shape} but aligned[0] has {models[0].shape}; align them with Barycenter"
            )
    return np.stack(models)
