"""What every metric and every instance score must bear: the cases of ``semrsm-bench check``, each a function that raises."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.checking import CheckFailedError, describe, require, without_global_randomness
from semrsm_bench.metrics.instances import InstanceScore
from semrsm_bench.metrics.invariances import INVARIANCES
from semrsm_bench.metrics.registry import Measure, Metric

__all__ = ["CASES", "INSTANCE_CASES", "METRIC_CASES", "TRANSFORMS", "CheckFailedError", "warm_up"]

Array = NDArray[Any]
Transform = Callable[[Any, np.random.Generator], Any]

N, P, Q = 24, 5, 3
# A declared invariance may cost this share of the value in rounding, or of 1 where the value is smaller.
_TOLERANCE = 1e-6


def _rotation(width: int, rng: np.random.Generator) -> Array:
    return np.asarray(np.linalg.qr(rng.standard_normal((width, width)))[0])


def _other_diagonal(K: Array, rng: np.random.Generator) -> Array:
    K = K.copy()
    K[np.diag_indices(len(K))] += rng.uniform(1, 40, len(K))
    return K


def _row_and_column(K: Array, rng: np.random.Generator) -> Array:
    u = 10 * rng.standard_normal(len(K))
    return np.asarray(K + u[:, None] + u)


TRANSFORMS: Mapping[str, Mapping[str, Transform]] = {
    "features": {
        "translation": lambda X, rng: X + 3 * rng.standard_normal(X.shape[1]),
        "isotropic_scaling": lambda X, _: 1.7 * X,
        "unit_permutation": lambda X, rng: X[:, rng.permutation(X.shape[1])],
        "orthogonal": lambda X, rng: X @ _rotation(X.shape[1], rng),
        "unit_scaling": lambda X, rng: X * rng.uniform(0.2, 5, X.shape[1]),
        "invertible_linear": lambda X, rng: X @ (rng.standard_normal((X.shape[1],) * 2) + np.eye(X.shape[1])),
        "row_scaling": lambda X, rng: X * rng.uniform(0.2, 5, (len(X), 1)),
        "zero_units": lambda X, _: np.hstack([X, np.zeros((len(X), 2))]),
        "repeated_unit": lambda X, _: np.hstack([X, X[:, :1]]),
    },
    "rsm": {
        "positive_scaling": lambda K, _: 2.5 * K,
        "constant": lambda K, _: K + 7.0,
        "row_and_column": _row_and_column,
        "monotone": lambda K, _: np.sign(K) * np.abs(K) ** 3 + K,
        "diagonal": _other_diagonal,
    },
    "aligned": {
        "orthogonal": lambda A, rng: A @ _rotation(A.shape[2], rng),
        "isotropic_scaling": lambda A, _: 1.7 * A,
        "translation": lambda A, rng: A + 3 * rng.standard_normal(A.shape[2]),
        "row_scaling": lambda A, rng: A * rng.uniform(0.2, 5, (*A.shape[:2], 1)),
        "model_order": lambda A, _: A[::-1],
    },
}
"""What the words of `INVARIANCES` do to an input, of those kinds that metrics and instance scores take."""


def features(seed: int, n: int = N, p: int = P, q: int = Q) -> tuple[Array, Array]:
    """Two representations of the same n stimuli that share something, of p and q units."""
    rng = np.random.default_rng([seed, n, p, q])
    latent = rng.standard_normal((n, p))
    first, second = (latent + 0.7 * rng.standard_normal(latent.shape) for _ in range(2))
    return first @ rng.standard_normal((p, p)) + rng.standard_normal(p), second @ rng.standard_normal((p, q))


def inputs(metric: Metric, seed: int, n: int = N, p: int = P, q: int = Q) -> tuple[Array, Array]:
    """What the metric takes, of `features`."""
    x, y = features(seed, n, p, q)
    return (x @ x.T, y @ y.T) if metric.takes == "rsms" else (x, y)


def _kind(metric: Metric) -> str:
    return "rsm" if metric.takes == "rsms" else metric.takes


def _value(measure: Measure, *given: Any) -> Any:
    try:
        return measure.run(*given)  # type: ignore[attr-defined]
    except Exception as error:
        raise CheckFailedError(describe(error)) from error


def _same(first: Any, second: Any, tolerance: float = _TOLERANCE) -> bool:
    a, b = np.asarray(first), np.asarray(second)
    scale = max(1.0, float(np.nanmax(np.abs(a), initial=0.0)))
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _require_in_range(measure: Measure, value: Any, where: str) -> None:
    low, high = measure.range
    slack = 1e-9 * max([1.0, *(abs(end) for end in measure.range if math.isfinite(end))])
    values = np.asarray(value, dtype=np.float64)
    outside = values[(values < low - slack) | (values > high + slack)]
    require(not outside.size, f"{where} is {outside.ravel()[:1]}, outside of the declared range [{low:g}, {high:g}]")


def _require_invariant(measure: Measure, given: tuple[Any, ...], side: int, kind: str, names: tuple[str, ...]) -> None:
    before = _value(measure, *given)
    for name in names:
        changed = list(given)
        changed[side] = TRANSFORMS[kind][name](given[side], np.random.default_rng(11))
        after = _value(measure, *changed)
        require(
            _same(before, after),
            f"declared invariant to {name} ({INVARIANCES[kind][name]}), but it went from {before} to {after}",
        )


def _refused(measure: Measure, given: tuple[Any, ...], what: str) -> None:
    try:
        value = measure.run(*given)  # type: ignore[attr-defined]
    except ValueError:
        return
    except Exception as error:
        raise CheckFailedError(f"{what} must raise ValueError; it {describe(error)}") from error
    raise CheckFailedError(f"{what} must raise ValueError, but it returned {value}")


def _number_or_refusal(measure: Measure, given: tuple[Any, ...], what: str) -> None:
    """A value in the range, NaN, or a ValueError that says why there is none."""
    try:
        value = measure.run(*given)  # type: ignore[attr-defined]
    except ValueError as error:
        require(bool(str(error)), f"{what}: the ValueError says nothing")
        return
    except Exception as error:
        raise CheckFailedError(f"{what}: {describe(error)}; undefined is NaN, or a ValueError") from error
    _require_in_range(measure, value, f"{what}: it")


def deterministic(metric: Metric) -> None:
    """The same input has the same value: at once, and after another one."""
    x, y = inputs(metric, 1)
    first = _value(metric, x, y)
    _value(metric, *inputs(metric, 2))
    for _ in range(2):
        again = _value(metric, x.copy(), y.copy())
        require(np.array_equal(first, again, equal_nan=True), f"the same input gave {first}, then {again}")


def global_random_state(metric: Metric) -> None:
    """The metric neither reads nor moves the process-wide random generators."""
    given = inputs(metric, 1)
    without_global_randomness(lambda: _value(metric, *given), lambda a, b: bool(a == b))


def symmetry(metric: Metric) -> None:
    """What is declared symmetric does not change when its inputs are exchanged."""
    if metric.symmetric:
        for seed in range(3):
            x, y = inputs(metric, seed)
            one_way, other = _value(metric, x, y), _value(metric, y, x)
            require(_same(one_way, other), f"declared symmetric, but (x, y) gives {one_way} and (y, x) {other}")


def invariances(metric: Metric) -> None:
    """Nothing that is declared not to change the value changes it, on either side."""
    for seed in range(3):
        given = inputs(metric, seed)
        for side, names in enumerate((metric.invariant_to, metric.invariant_to_y)):
            _require_invariant(metric, given, side, _kind(metric), names)


def order_of_stimuli(metric: Metric) -> None:
    """Stimuli in another order, the same on both sides, leave the value as it is."""
    order = np.random.default_rng(5).permutation(N)
    # The second pair has more units together than stimuli, so that the two share dimensions.
    for widths in ((P, Q), (16, 12)):
        x, y = inputs(metric, 3, N, *widths)
        try:
            before = metric.run(x, y)
        except ValueError:
            continue  # not defined for this shape; other cases ask whether it should be
        after = _value(metric, *(a[np.ix_(order, order)] if metric.takes == "rsms" else a[order] for a in (x, y)))
        require(
            _same(before, after), f"with the stimuli in another order on both sides it went from {before} to {after}"
        )


def value_range(metric: Metric) -> None:
    """Values lie in the declared range."""
    for seed in range(20):
        _require_in_range(metric, _value(metric, *inputs(metric, seed)), "a value")


def direction(metric: Metric) -> None:
    """A representation is no further from itself, with a little noise, than from another one."""
    for seed in range(3):
        x, other = inputs(metric, seed, q=P)
        noise = 0.01 * np.random.default_rng(seed).standard_normal(x.shape)
        near, far = (
            _value(metric, x, x + (noise + noise.T if metric.takes == "rsms" else noise)),
            _value(metric, x, other),
        )
        require(
            not metric.sign * near < metric.sign * far,
            f"declared best={metric.best!r}, but nearly the same input gives {near} and another one {far}",
        )


def not_finite(metric: Metric) -> None:
    """NaN and infinity on either side raise ValueError."""
    for bad in (math.nan, math.inf):
        for side in range(2):
            given = [a.copy() for a in inputs(metric, 4)]
            given[side][7, 2] = given[side][2, 2 if metric.takes == "features" else 7] = bad
            _refused(metric, tuple(given), f"{bad} in {'xy'[side]}")


def fewer_stimuli_than_units(metric: Metric) -> None:
    """More units than stimuli."""
    _number_or_refusal(metric, inputs(metric, 5, 10, 30, 40), "10 stimuli of 30 and 40 units")


def constant_columns(metric: Metric) -> None:
    """Units that are the same for all stimuli, on one side and as a whole side."""
    x, y = features(6)
    x[:, 1] = 0.1
    for first, what in ((x, "a constant unit"), (np.ones_like(x), "a side of ones")):
        given = (first @ first.T, y @ y.T) if metric.takes == "rsms" else (first, y)
        _number_or_refusal(metric, given, what)


def single_precision(metric: Metric) -> None:
    """float32 input gives what the same numbers give as float64."""
    given = [a.astype(np.float32) for a in inputs(metric, 7)]
    single, double = _value(metric, *given), _value(metric, *(a.astype(np.float64) for a in given))
    require(_same(single, double, 1e-4), f"float32 input gives {single}, the same numbers as float64 {double}")


def read_only_input(metric: Metric) -> None:
    """Read-only arrays will do, and nothing is written to arrays that are not."""
    x, y = inputs(metric, 8)
    copies = x.copy(), y.copy()
    value = _value(metric, x, y)
    require(np.array_equal(x, copies[0]) and np.array_equal(y, copies[1]), "it changed its input")
    for array in copies:
        array.flags.writeable = False
    require(_same(value, _value(metric, *copies)), "read-only input gives another value")


def strided_input(metric: Metric) -> None:
    """Arrays that are not contiguous."""
    x, y = inputs(metric, 9)
    value = _value(metric, x, y)
    strided = np.repeat(np.repeat(y, 2, axis=0), 2, axis=1)[::2, ::2]
    found = _value(metric, np.asfortranarray(x), strided)
    require(_same(value, found), f"input that is not contiguous gives {found}, not {value}")


def torch_tensors(metric: Metric) -> None:
    """Tensors of torch, where it is installed."""
    if importlib.util.find_spec("torch"):
        tensor = importlib.import_module("torch").from_numpy
        x, y = inputs(metric, 10)
        value, found = _value(metric, x, y), _value(metric, tensor(x), tensor(y))
        require(_same(value, found), f"torch tensors give {found}, not {value}")


def stimuli(score: InstanceScore, seed: int, noise: float = 0.7, n: int = 40) -> Array:
    """What the instance score takes: four aligned models (4, n, 5), or n pictures (n, 8, 8, 3)."""
    rng = np.random.default_rng([seed, n])
    if score.takes == "pixels":
        return rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return np.asarray(rng.standard_normal((n, P)) + noise * rng.standard_normal((4, n, P)) + 0.5)


def instance_deterministic(score: InstanceScore) -> None:
    """The same stimuli have the same scores, and the input stays as it was."""
    given = stimuli(score, 1)
    copy = given.copy()
    first = _value(score, given)
    require(np.array_equal(given, copy), "it changed its input")
    _value(score, stimuli(score, 2))
    copy.flags.writeable = False
    require(np.array_equal(first, _value(score, copy), equal_nan=True), "the same input gave other scores")
    without_global_randomness(lambda: _value(score, given), lambda a, b: np.array_equal(a, b, equal_nan=True))


def instance_order(score: InstanceScore) -> None:
    """Stimuli in another order keep their scores."""
    given, order = stimuli(score, 3), np.random.default_rng(5).permutation(40)
    before = _value(score, given)[order]
    after = _value(score, given[:, order] if score.takes == "aligned" else given[order])
    require(_same(before, after), "with the stimuli in another order a stimulus gets another score")


def instance_invariances(score: InstanceScore) -> None:
    """Nothing that is declared not to change the scores changes them."""
    if score.takes == "aligned":
        for seed in range(3):
            _require_invariant(score, (stimuli(score, seed),), 0, "aligned", score.invariant_to)


def instance_range(score: InstanceScore) -> None:
    """Scores lie in the declared range."""
    for seed in range(10):
        _require_in_range(score, _value(score, stimuli(score, seed)), "a score")


def instance_direction(score: InstanceScore) -> None:
    """Models that agree do not score worse on average than models that do not."""
    if score.takes == "aligned" and score.category != "baseline":
        near, far = (float(_value(score, stimuli(score, 0, noise, 200)).mean()) for noise in (0.1, 1.5))
        require(
            not score.sign * near < score.sign * far,
            f"declared best={score.best!r}, but models that agree have a mean of {near:g}, models that do not {far:g}",
        )


def instance_not_finite(score: InstanceScore) -> None:
    """NaN raises ValueError."""
    if score.takes == "aligned":
        given = stimuli(score, 4)
        given[1, 7, 2] = math.nan
        _refused(score, (given,), "NaN")


METRIC_CASES: dict[str, Callable[[Metric], None]] = {
    case.__name__.replace("_", " "): case
    for case in (
        *(deterministic, global_random_state, symmetry, invariances, order_of_stimuli, value_range, direction),
        *(not_finite, fewer_stimuli_than_units, constant_columns),
        *(single_precision, read_only_input, strided_input, torch_tensors),
    )
}
INSTANCE_CASES: dict[str, Callable[[InstanceScore], None]] = {
    case.__name__.replace("_", " "): case
    for case in (
        *(instance_deterministic, instance_order, instance_invariances, instance_range),
        *(instance_direction, instance_not_finite),
    )
}
CASES: dict[str, Callable[[Any], None]] = {**METRIC_CASES, **INSTANCE_CASES}


def warm_up(measure: Metric | InstanceScore) -> None:
    """Compile and import what the first call needs."""
    if isinstance(measure, Metric):
        measure.run(*inputs(measure, 0))
    else:
        measure.run(stimuli(measure, 0))
