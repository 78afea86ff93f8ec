"""Metrics by name: two representations of the same stimuli in, one number out."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from semrsm_bench.core.identity import require_same_ids
from semrsm_bench.core.method import Method, registering, words
from semrsm_bench.core.registry import Registry, UnknownNameError, nearest, registry_of
from semrsm_bench.metrics.kernels import KERNELS

Takes = Literal["features", "rsms"]
Best = Literal["max", "min"]

T = TypeVar("T")

INVARIANCES: dict[str, dict[str, str]] = {
    "features": {
        "translation": "one vector added to all stimuli",
        "isotropic_scaling": "all entries times one positive number",
        "unit_permutation": "units in another order",
        "orthogonal": "units rotated or reflected",
        "unit_scaling": "every unit times another positive number",
        "invertible_linear": "units mapped by any invertible matrix",
        "row_scaling": "every stimulus times another positive number",
        "zero_units": "units that are always 0 appended",
        "repeated_unit": "a copy of one unit appended",
    },
    "rsm": {
        "positive_scaling": "all entries times one positive number",
        "constant": "one number added to all entries",
        "row_and_column": "u 1' + 1 u' added",
        "monotone": "all entries through one strictly increasing function",
        "diagonal": "another diagonal",
    },
    "probabilities": {
        "class_order": "classes in another order",
        "unused_class": "a class of probability 0 appended",
        "temperature": "softmax taken at another temperature",
    },
    "counts": {
        "class_order": "classes in another order",
        "count_scaling": "all counts times one positive number",
        "membership": "any other counts above 0 where there were some",
    },
    "aligned": {
        "orthogonal": "all models rotated or reflected alike",
        "isotropic_scaling": "all models times one positive number",
        "translation": "one vector added to all stimuli of all models",
        "row_scaling": "every stimulus of every model times another positive number",
        "model_order": "models in another order",
    },
}
"""What can be done to one input of each kind. A metric that does not name one of these is changed by it.

Beside these, one reordering of the stimuli in all inputs changes no metric, and a reordering in one input alone all but baselines
and statistics of each side alone.
"""

UNITS = {
    "": "a pure number",
    "rad": "radians",
    "features": "the unit of the features",
    "entries": "the unit of the RSMs' entries",
    "entries^2": "the square of the unit of the RSMs' entries",
}
"""What values are measured in."""


def unchanged_by(invariances: Iterable[Iterable[str]]) -> str:
    """Invariances of each input in words, once where all have the same."""
    said = [", ".join(name.replace("_", " ") for name in named) or "nothing" for named in invariances]
    return said[0] if len(set(said)) == 1 else "; ".join(f"{side}: {names}" for side, names in zip("XY", said))


ROTATIONS = ("unit_permutation", "orthogonal", "zero_units")
SHAPES = (*ROTATIONS, "translation")
FORMS = (*SHAPES, "isotropic_scaling")
SUBSPACES = (*FORMS, "unit_scaling", "invertible_linear", "repeated_unit")
REORDERED = ("unit_permutation", "translation", "isotropic_scaling")
CENTRED = ("constant", "row_and_column")
RANKS = ("positive_scaling", "constant", "monotone", "diagonal")

KORNBLITH = "Kornblith et al., ICML 2019"
WILLIAMS = "Williams et al., NeurIPS 2021"
KLABUNDE = "Klabunde et al., ICLR 2025 (ReSi)"

# metric[rsm], metric[rsm,kernel], metric[rsm of x|rsm of y,kernel]
_COMPOSITE = re.compile(r"([^\[\]]+)\[([^\[\]|,]+)(?:\|([^\[\]|,]+))?(?:,([^\[\]|,]+))?\]")


class InvalidValueError(RuntimeError):
    """A metric returned something else than one real number."""


@dataclass(frozen=True)
class Measure(Method):
    """What gives numbers that mean more or less agreement; see `register_metric` for what is declared of it."""

    takes_one_of: ClassVar[tuple[str, ...]] = ()

    takes: str = ""
    best: Best = "max"
    range: tuple[float, float] = (0.0, 1.0)
    invariant_to: tuple[str, ...] = ()
    invariant_to_y: tuple[str, ...] = ()
    category: str = ""
    symmetric: bool = False
    measured_in: str = ""

    def __post_init__(self) -> None:
        what = f"{self.noun} {self.name!r}"
        if self.takes not in self.takes_one_of:
            raise ValueError(f"{what} takes {' or '.join(self.takes_one_of)}, got {self.takes!r}")
        if self.best not in ("max", "min"):
            raise ValueError(f"{what}: best is max or min, got {self.best!r}")
        if len(self.range) != 2 or not self.range[0] < self.range[1]:
            raise ValueError(f"{what}: the range is (lowest, highest), got {self.range!r}")
        if self.measured_in not in UNITS:
            raise ValueError(
                f"{what}: nothing is measured in {self.measured_in!r}; {nearest(self.measured_in, list(UNITS))}"
            )
        for kind, named in zip(self.inputs, self.invariances):
            for name in named:
                if name not in (known := INVARIANCES.get(kind, {})):
                    raise ValueError(f"{what}: no invariance {name!r} of {kind}; {nearest(name, list(known))}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Kind of each input, a key of `INVARIANCES`, or "pixels"."""
        return ("rsm" if self.takes == "rsms" else self.takes,) * self.arguments

    @property
    def invariances(self) -> tuple[tuple[str, ...], ...]:
        """What may be done to each input without changing the value."""
        return (self.invariant_to, self.invariant_to_y)[: self.arguments]

    @property
    def facts(self) -> dict[str, Any]:
        """What it takes, direction, range (None where it has no end), invariances, and the inputs of a case that it needs."""
        ends = [end if math.isfinite(end) else None for end in self.range]
        about = {"best": self.best, "range": ends, "invariances": [list(named) for named in self.invariances]}
        return {"takes": self.takes, "inputs": [self.takes], **about}

    @property
    def sign(self) -> int:
        """1 where large values mean agreement, else -1."""
        return 1 if self.best == "max" else -1

    def run(self, *given: Any, **options: Any) -> Any:
        """The value, or one for each stimulus; see the kinds for what it raises."""
        raise NotImplementedError


@dataclass(frozen=True)
class Metric(Measure):
    """A registered metric: ``function(x, y, **options) -> float``; see `register_metric` for what is not said here.

    ``pair`` makes an object with ``prepare(x)`` and ``compare(a, b)`` from the options, for metrics that are made of two such
    parts. ``rsms`` of a composite are RSM method and kernel of x, and of y; empty for all others.
    """

    kind_name: ClassVar[str] = "metric"
    arguments: ClassVar[int] = 2
    takes_one_of: ClassVar[tuple[str, ...]] = ("features", "rsms")

    pair: Callable[..., Any] | None = None
    rsms: tuple[tuple[str, str], ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """Also whether it is symmetric, its unit, and of composites what their RSMs are."""
        inputs, rsms = ["zx", "zy"] if self.rsms else ["x", "y"], [list(side) for side in self.rsms]
        return {**super().facts, "symmetric": self.symmetric, "unit": self.measured_in, "inputs": inputs, "rsms": rsms}

    @classmethod
    def parts(cls, target: Any) -> dict[str, Any]:
        """A function of (x, y), and what makes its two parts where it has two."""
        function, pair = _as_function(target)
        return {"function": function, "pair": pair}

    def prepare(self, x: Any, **options: Any) -> Any:
        """What can be done with one side alone; x as it is for metrics that are one function."""
        return x if self.pair is None else self.pair(**{**self.options, **options}).prepare(x)

    def compare(self, a: Any, b: Any, **options: Any) -> float:
        """Value of two sides that `prepare` returned; InvalidValueError where that is no real number."""
        merged = {**self.options, **options}
        return self._number(self.function(a, b, **merged) if self.pair is None else self.pair(**merged).compare(a, b))

    def _number(self, value: Any) -> float:
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise InvalidValueError(f"metric {self.name!r} returned {repr(value)[:80]}, not one real number")
        return float(array.reshape(()))

    def run(self, x: Any, y: Any, **options: Any) -> float:  # type: ignore[override]
        """Value for two representations of the same stimuli, as ``takes`` says; NaN where the metric is undefined for them.

        Or ValueError; UnavailableError where a library is missing, InvalidValueError where it returned no real number.
        """
        self.require_available()
        merged = {**self.options, **options}
        self.check_options(merged)
        require_same_ids(x, y, "xy")
        return self._number(self.function(x, y, **merged))


def _composite(name: str) -> Metric | None:
    """The metric of RSMs in front of the brackets, on the RSMs that are named inside: ``cka[identity]``."""
    found = _COMPOSITE.fullmatch(name)
    base = METRICS.find(found[1]) if found else None
    if found is None or base is None:
        return None
    if base.takes != "rsms":
        raise UnknownNameError(f"unknown metric {name!r}: {base.name} takes features; brackets follow a metric of RSMs")
    kernel, sides = found[4] or "linear", (found[2], found[3] or found[2])
    try:
        for side in sides:
            registry_of("rsm").get(side)
    except UnknownNameError as error:
        raise UnknownNameError(f"unknown metric {name!r}: {error}") from None
    if kernel not in KERNELS:
        raise UnknownNameError(f"unknown metric {name!r}: no kernel {kernel!r}; {nearest(kernel, KERNELS)}")
    symmetric = base.symmetric and sides[0] == sides[1]
    return replace(base, name=name, rsms=tuple((side, kernel) for side in sides), symmetric=symmetric)


METRICS: Registry[Metric] = Registry(
    "metric",
    "semrsm_bench.metrics",
    ("cka", "rsa", "cca", "procrustes", "alignment", "subspaces", "distances", "neighbours", "baselines"),
    derive=_composite,
)


def register_metric(
    name: str,
    *,
    takes: Takes,
    best: Best,
    range: tuple[float, float],
    symmetric: bool = True,
    invariant_to: str | Iterable[str] = (),
    invariant_to_y: str | Iterable[str] | None = None,
    category: str = "",
    measured_in: str = "",
    pair: Callable[..., Any] | None = None,
    **declared: Any,
) -> Callable[[T], T]:
    """Register a metric; use it as a decorator.

    It goes on a function ``(x, y, **options) -> float``; or, where one side alone can be prepared for many comparisons, on a class
    whose instances have ``prepare(x)`` and ``compare(a, b)`` (the options are those of its constructor), or on such an object.
    Where ``prepare`` also takes ``name``, that is what errors call the side.
    Nothing is registered where the name is taken or malformed, a word is unknown, or the grid is empty (ValueError), and where
    the function does not take two inputs first, or lacks an option that is bound (TypeError).

    Parameters
    ----------
    name : str
        Lower case letters, digits and ``. _ + -``, such as ``mutual-knn``.
    takes : {"features", "rsms"}
        Features (N, P) and (N, Q) of the same stimuli, or two RSMs (N, N). Metrics of RSMs also give composites:
        ``name[rsm]``, ``name[rsm,kernel]``, and ``name[rsm of x|rsm of y]``.
    best : {"max", "min"}
        Whether large or small values mean agreement.
    range : (float, float)
        Lowest and highest value; infinite where there is no bound.
    symmetric : bool
        Whether x and y can be exchanged.
    invariant_to, invariant_to_y : str or iterable of str
        Words of `semrsm_bench.metrics.INVARIANCES`, for x and for y (by default the same). ``semrsm-bench check`` holds the
        metric to them.
    category : str
        "baseline" for what ignores what a representation says, and so must lose; "statistic" for the difference of two numbers,
        one of each side, which no table ranks: it never looks at which stimulus is which.
    measured_in : {"", "rad", "features", "entries", "entries^2"}
        The unit of the value: a pure number, radians, or the unit of the input. ``semrsm-bench check`` scales the input.
    pair : callable, optional
        For a function: such a class, which gives the same value in two parts.
    **declared
        grid, complexity, reference, requires, unavailable, files, max_size, slow_from, distribution, and options that are bound
        to the name: as for `semrsm_bench.register_solver`.
    """
    on_x = words(invariant_to)
    on_y = on_x if invariant_to_y is None else words(invariant_to_y)
    own: dict[str, Any] = {"takes": takes, "best": best, "range": range, "symmetric": symmetric, "category": category}
    own["measured_in"] = measured_in
    own |= {} if pair is None else {"pair": pair}
    return registering(METRICS, Metric, name, declared, **own, invariant_to=on_x, invariant_to_y=on_y)


def _as_function(target: Any) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """A function of (x, y, **options) for what was registered, and what makes its two parts, if it has two."""
    if not (hasattr(target, "prepare") and hasattr(target, "compare")):
        if isinstance(target, type) or not callable(target):
            raise TypeError(f"a metric is a function of (x, y), or has prepare(x) and compare(a, b); got {target!r}")
        return target, None
    make: Callable[..., Any] = target if isinstance(target, type) else lambda: target

    named = "name" in inspect.signature(target.prepare).parameters

    def function(x: Any, y: Any, **options: Any) -> Any:
        parts = make(**options)
        require_same_ids(x, y, "XY")
        return parts.compare(
            *(parts.prepare(side, **({"name": name} if named else {})) for side, name in ((x, "X"), (y, "Y")))
        )

    kind = target if isinstance(target, type) else type(target)
    functools.update_wrapper(function, kind, assigned=("__module__", "__name__", "__qualname__", "__doc__"), updated=())
    own = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(make).parameters.values()]
    given = list(inspect.signature(lambda x, y: None).parameters.values())
    function.__signature__ = inspect.Signature([*given, *own])  # type: ignore[attr-defined]
    del function.__wrapped__  # type: ignore[attr-defined]
    return function, make


def get_metric(name: str) -> Metric:
    """Metric of that name, composites such as ``cka[identity]`` included; a KeyError with the nearest names otherwise."""
    return METRICS.get(name)


def metric_names(takes: Takes | None = None, *, available_only: bool = False) -> list[str]:
    """Names of all registered metrics in the order of the tables; or of those that take this, or whose library is there."""
    chosen = [METRICS.get(name) for name in METRICS.names()]
    return [m.name for m in chosen if takes in (None, m.takes) and (not available_only or m.available)]
