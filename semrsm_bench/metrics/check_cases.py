"""What every metric and every score of single stimuli must do: the cases of ``semrsm-bench check``.

Each is a function that raises where the measure fails, and may return a note.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.checking import CheckFailedError, describe, require, without_global_randomness
from semrsm_bench.metrics.registry import INVARIANCES, UNITS, Measure

Array = NDArray[Any]
Transform = Callable[[Any, np.random.Generator], Any]
Case = Callable[[Measure], str | None]

N, P, Q = 24, 5, 3
# Either side the narrower one, and both wide enough to have components that count for little.
_WIDTHS = ((P, Q), (Q, 8), (9, 9), (9, 9))
# A declared invariance may cost this share of the value in rounding, or of 1 where the value is smaller.
_TOLERANCE = 1e-6
# What differs less is the same, where nothing is declared.
_ROUNDING = 1e-10

_OF_UNITS: Mapping[str, Transform] = {
    "translation": lambda X, rng: X + 3 * rng.standard_normal(X.shape[-1]),
    "isotropic_scaling": lambda X, _: 1.7 * X,
    "orthogonal": lambda X, rng: X @ np.linalg.qr(rng.standard_normal((X.shape[-1],) * 2))[0],
    "row_scaling": lambda X, rng: X * rng.uniform(0.2, 5, (*X.shape[:-1], 1)),
}
TRANSFORMS: Mapping[str, Mapping[str, Transform]] = {
    "features": {
        **_OF_UNITS,
        "unit_permutation": lambda X, rng: X[:, rng.permutation(X.shape[1])],
        "unit_scaling": lambda X, rng: X * rng.uniform(0.2, 5, X.shape[1]),
        "invertible_linear": lambda X, rng: X @ (rng.standard_normal((X.shape[1],) * 2) + np.eye(X.shape[1])),
        "zero_units": lambda X, _: np.hstack([X, np.zeros((len(X), 2))]),
        "repeated_unit": lambda X, _: np.hstack([X, X[:, :1]]),
    },
    "rsm": {
        "positive_scaling": lambda K, _: 2.5 * K,
        "constant": lambda K, _: K + 7.0,
        "row_and_column": lambda K, rng: K + np.add.outer(*[10 * rng.standard_normal(len(K))] * 2),
        "monotone": lambda K, _: np.sign(K) * np.abs(K) ** 3 + K,
        "diagonal": lambda K, rng: K + np.diag(rng.uniform(1, 40, len(K))),
    },
    "aligned": {**_OF_UNITS, "model_order": lambda A, _: A[::-1]},
}
"""What the words of `INVARIANCES` do to an input, of those kinds that metrics and instance scores take."""


def features(seed: int, n: int = N, p: int = P, q: int = Q) -> tuple[Array, Array]:
    """Two representations of the same n stimuli that share something, of p and q units."""
    rng = np.random.default_rng([seed, n, p, q])
    latent = rng.standard_normal((n, p))
    first, second = (latent + 0.7 * rng.standard_normal(latent.shape) for _ in range(2))
    return first @ rng.standard_normal((p, p)) + rng.standard_normal(p), second @ rng.standard_normal((p, q))


def _as_inputs(measure: Measure, x: Array, y: Array) -> tuple[Array, ...]:
    return (x @ x.T, y @ y.T) if "rsm" in measure.inputs else (x, y)


def inputs(measure: Measure, seed: int, n: int = N, p: int = P, q: int = Q, noise: float = 0.7) -> tuple[Array, ...]:
    """What the measure takes: two sides, four aligned models (4, n, p), or n pictures (n, 8, 8, 3)."""
    if len(measure.inputs) == 2:
        return _as_inputs(measure, *features(seed, n, p, q))
    rng = np.random.default_rng([seed, n])
    if measure.inputs == ("pixels",):
        return (rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8),)
    return (np.asarray(rng.standard_normal((n, p)) + noise * rng.standard_normal((4, n, p)) + 0.5),)


def _value(measure: Measure, *given: Any, may_refuse: bool = False) -> Any:
    """What the measure returns, or with ``may_refuse`` the ValueError by which it says that it is not defined."""
    try:
        return measure.run(*given)
    except Exception as error:
        if may_refuse and isinstance(error, ValueError):
            return error
        raise CheckFailedError(describe(error)) from error


_equal = partial(np.array_equal, equal_nan=True)


def _same(first: Any, second: Any, tolerance: float = _TOLERANCE) -> bool:
    if isinstance(second, ValueError):
        return False
    a, b = np.asarray(first), np.asarray(second)
    scale = max(1.0, float(np.nanmax(np.abs(a), initial=0.0)))
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _require_in_range(measure: Measure, value: Any, where: str) -> None:
    low, high = measure.range
    slack = 1e-9 * max([1.0, *(abs(end) for end in measure.range if math.isfinite(end))])
    values = np.asarray(value, dtype=np.float64)
    outside = values[(values < low - slack) | (values > high + slack)]
    require(not outside.size, f"{where} is {outside.ravel()[:1]}, outside of the declared range [{low:g}, {high:g}]")


def _require_number_or_refusal(measure: Measure, given: tuple[Any, ...], what: str, *, refused: bool = False) -> None:
    """A value in the range, NaN, or a ValueError that says why there is none; with ``refused`` the error."""
    value = _value(measure, *given, may_refuse=True)
    if isinstance(value, ValueError):
        require(bool(str(value)), f"{what}: the ValueError says nothing")
        return
    require(not refused, f"{what} must raise ValueError, but it returned {value}")
    _require_in_range(measure, value, f"{what}: it")


def deterministic(measure: Measure) -> None:
    """The same input has the same value: at once, and after another one."""
    given = inputs(measure, 1)
    first = _value(measure, *given)
    _value(measure, *inputs(measure, 2))
    for _ in range(2):
        again = _value(measure, *(a.copy() for a in given))
        require(_equal(first, again), f"the same input gave {first}, then {again}")


def global_random_state(measure: Measure) -> None:
    """The measure neither reads nor moves the process-wide random generators."""
    given = inputs(measure, 1)
    without_global_randomness(lambda: _value(measure, *given), _equal)


def symmetry(measure: Measure) -> str:
    """What is declared symmetric does not change when its inputs are exchanged; a note where it is and is not declared."""
    both = [(_value(measure, x, y), _value(measure, y, x)) for x, y in (inputs(measure, seed) for seed in range(3))]
    if measure.symmetric:
        for one_way, other in both:
            require(_same(one_way, other), f"declared symmetric, but (x, y) gives {one_way} and (y, x) {other}")
    elif all(_same(*pair, _ROUNDING) for pair in both):
        return "declared as not symmetric, but exchanging x and y changed nothing"
    return ""


def invariances(measure: Measure) -> str:
    """What is declared not to change the value does not, on either side; a note names what is not declared and does not."""
    held = []
    for side, (kind, declared) in enumerate(zip(measure.inputs, measure.invariances)):
        for name, transform in TRANSFORMS.get(kind, {}).items():
            pairs = []
            for seed, widths in enumerate(_WIDTHS):
                given = list(inputs(measure, seed, N, *widths))
                before = _value(measure, *given)
                given[side] = transform(given[side], np.random.default_rng([11, seed]))
                pairs.append((before, _value(measure, *given, may_refuse=True)))
            if name not in declared:
                held += [f"{name} of input {side}"] if all(_same(*pair, _ROUNDING) for pair in pairs) else []
                continue
            for before, after in pairs:
                what = f"declared invariant to {name} ({INVARIANCES[kind][name]})"
                require(_same(before, after), f"{what}, but it went from {before} to {after}")
    return f"not declared, but it changed nothing on random input: {', '.join(held)}" if held else ""


def order_of_stimuli(measure: Measure) -> None:
    """Stimuli in another order, the same on all sides, leave the value as it is; a value for each moves with it."""
    order = np.random.default_rng(5).permutation(N)
    place = {"rsm": np.ix_(order, order), "aligned": np.s_[:, order]}
    # The second pair has more units together than stimuli, so that the two share dimensions.
    for widths in ((P, Q), (16, 12)):
        given = inputs(measure, 3, N, *widths)
        before = _value(measure, *given, may_refuse=True)
        if isinstance(before, ValueError):
            continue  # not defined for this shape; other cases ask whether it should be
        after = _value(measure, *(a[place.get(kind, order)] for kind, a in zip(measure.inputs, given)))
        require(
            _same(np.asarray(before)[order] if np.ndim(before) else before, after),
            f"with the stimuli in another order on all sides it went from {before} to {after}",
        )


def unit(measure: Measure) -> None:
    """What is measured in a unit of the input grows as the input does."""
    power = {"features": 1, "entries": 1, "entries^2": 2}.get(measure.measured_in, 0)
    for seed in range(3 if power else 0):
        given = inputs(measure, seed)
        value, large = _value(measure, *given), _value(measure, *(4 * a for a in given))
        expected = 4**power * value
        what = f"declared to be in {UNITS[measure.measured_in]}, but with four times the input"
        require(_same(expected, large), f"{what} it is {large}, not {expected}")


def value_range(measure: Measure) -> None:
    """Values are in the declared range."""
    for seed in range(20):
        _require_in_range(measure, _value(measure, *inputs(measure, seed)), "a value")


def direction(measure: Measure) -> None:
    """A representation is no further from itself, with a little noise, than from another one; models that agree score better.

    Baselines, and statistics of each side alone, need not know.
    """
    if measure.category in ("baseline", "statistic"):
        return
    for seed in range(3):
        if len(measure.inputs) == 2:
            x, other = inputs(measure, seed, q=P)
            noise = 0.01 * np.random.default_rng(seed).standard_normal(x.shape)
            if "rsm" in measure.inputs:
                noise += noise.T
            pairs: list[tuple[Array, ...]] = [(x, x + noise), (x, other)]
        elif measure.inputs == ("aligned",):
            pairs = [inputs(measure, seed, 200, noise=spread) for spread in (0.1, 1.5)]
        else:
            return
        near, far = (float(np.mean(_value(measure, *given))) for given in pairs)
        require(
            not measure.sign * near < measure.sign * far,
            f"declared best={measure.best!r}, but what is nearly the same gives {near} and what is not {far}",
        )


def not_finite(measure: Measure) -> None:
    """NaN and infinity on any side raise ValueError."""
    for bad in (math.nan, math.inf):
        for side, kind in enumerate(measure.inputs if measure.inputs != ("pixels",) else ()):
            given = [a.copy() for a in inputs(measure, 4)]
            given[side][..., 7, 2] = bad
            if kind == "rsm":
                given[side][2, 7] = bad
            _require_number_or_refusal(measure, tuple(given), f"{bad} in input {side}", refused=True)


def fewer_stimuli_than_units(measure: Measure) -> None:
    """More units than stimuli."""
    _require_number_or_refusal(measure, inputs(measure, 5, 10, 30, 40), "10 stimuli of 30 and 40 units")


def constant_columns(measure: Measure) -> None:
    """Units that are the same for all stimuli, on one side and as a whole side."""
    x, y = features(6)
    x[:, 1] = 0.1
    for first, what in ((x, "a constant unit"), (np.ones_like(x), "a side of ones")):
        _require_number_or_refusal(measure, _as_inputs(measure, first, y), what)


def _given_as(doc: str, change: Callable[[Array], Any], tolerance: float = _TOLERANCE) -> Case:
    """A case: the same numbers, held otherwise, have the same value; and nothing is written to them."""

    def case(measure: Measure) -> None:
        # Numbers that float32 holds.
        given = [_single(a).astype(a.dtype) for a in inputs(measure, 7)]
        copies = [a.copy() for a in given]
        value = _value(measure, *given)
        require(all(map(np.array_equal, given, copies)), "it changed its input")
        found = _value(measure, *map(change, copies))
        require(_same(value, found, tolerance), f"the same numbers give {value} as arrays of float64, else {found}")

    case.__doc__ = doc
    return case


def _single(array: Array) -> Array:
    return array if array.dtype == np.uint8 else array.astype(np.float32)


def _tensor(array: Array) -> Any:
    return importlib.import_module("torch").from_numpy(array) if importlib.util.find_spec("torch") else array


_OF_BOTH = (deterministic, global_random_state, invariances, order_of_stimuli, value_range, direction, not_finite)
INSTANCE_CASES: dict[str, Case] = {
    **{case.__name__.replace("_", " "): case for case in _OF_BOTH},
    "single precision": _given_as("float32 input gives what the same numbers give as float64.", _single, 1e-4),
    "read only input": _given_as(
        "Read-only arrays will do, and others are not written to.", lambda a: np.broadcast_to(a, a.shape)
    ),
    "strided input": _given_as(
        "Arrays that are not contiguous.", lambda a: np.repeat(np.asfortranarray(a), 2, axis=1)[:, ::2]
    ),
    "torch tensors": _given_as("Tensors of torch, where it is installed.", _tensor),
}
METRIC_CASES: dict[str, Case] = {
    **INSTANCE_CASES,
    "symmetry": symmetry,
    "unit": unit,
    "fewer stimuli than units": fewer_stimuli_than_units,
    "constant columns": constant_columns,
}


def warm_up(measure: Measure) -> None:
    """Compile and import what the first call needs."""
    measure.run(*inputs(measure, 0))
