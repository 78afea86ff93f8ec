"""What `compute_rsm` and `estimate_rsm` may be asked for, declared once: signatures and the command line are made from it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from semrsm_bench.activations.cache import Centring
from semrsm_bench.activations.layouts import Grid, LayoutOptions
from semrsm_bench.core.options import OptionError, check, option
from semrsm_bench.core.registry import nearest
from semrsm_bench.metrics.kernels import BANDWIDTH_RULES

F = TypeVar("F", bound=Callable[..., Any])
Kernel = Literal["linear", "cosine", "rbf"]


@dataclass(frozen=True)
class RsmOptions(LayoutOptions):
    """Keywords of `compute_rsm`, checked; see there."""

    matching: tuple[str, ...] = option(("ortools",), help="identity, translation, a solver or another RSM method.")
    kernel: tuple[Kernel, ...] = option(("linear",), help="Kernels to compute; one matching serves all.")
    sigma: str | float = option("offdiag_median", help="RBF bandwidth: a rule or a number.", metavar="RULE|NUMBER")
    t: float = option(1.0, help="Factor on the bandwidth.", positive=True)
    centring: Centring = option("none", help="What to subtract first: nothing, or means by channel or by position.")
    grid: Grid | None = option(None, help="Grid of flat positions, for translation.")
    options: Mapping[str, Any] = option({}, help="Option of the solver or RSM method.", name="option")
    n_jobs: int = option(1, help="Workers; -1 for all cores.", name="jobs", short="j")
    block: int | None = option(None, help="Images on each side of a tile. Default: from memory and load.", minimum=1)
    out: Path | None = option(None, help="File .npy to stream to; the same command resumes an interrupted one.")

    def __post_init__(self) -> None:
        for name in ("matching", "kernel"):
            if not getattr(self, name):
                raise OptionError(name, f"name at least one {name}")
        check(self)
        number = not isinstance(self.sigma, str)
        if not (0 < self.sigma < math.inf if number else self.sigma in BANDWIDTH_RULES):  # type: ignore[operator]
            rules = ", ".join(BANDWIDTH_RULES)
            raise OptionError("sigma", f"{self.sigma!r} is no positive number, and not one of {rules}")
        if self.n_jobs == 0:
            raise OptionError("n_jobs", "must not be 0: 1 for this process, -1 for all cores")

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> RsmOptions:
        """Options from the keywords of a call, where one name stands for a tuple of it, and text for a path.

        TypeError: there is no such keyword; OptionError, a ValueError: it does not take the value.
        """
        given = dict(keywords)
        for name in ("matching", "kernel"):
            if name in given:
                given[name] = (given[name],) if isinstance(given[name], str) else tuple(dict.fromkeys(given[name]))
        if given.get("out") is not None:
            given["out"] = Path(given["out"])
        known = [field.name for field in fields(cls)]
        for name in given.keys() - known:
            raise TypeError(f"there is no keyword {name!r}; {nearest(name, known)}")
        return cls(**{**given, "options": given.get("options") or {}})

    @property
    def layouts(self) -> dict[str, Any]:
        """How the images are laid out: keywords of `as_source`."""
        return {**super().layouts, "grid": self.grid}


def takes_rsm_options(function: F) -> F:
    """Show the fields of `RsmOptions` in the signature of a function that takes them as ``**keywords``; a decorator."""
    signature = inspect.signature(function)
    *named, _ = signature.parameters.values()
    declared = {field.name: getattr(RsmOptions(), field.name) for field in fields(RsmOptions)}
    declared |= {"matching": "ortools", "kernel": "linear", "options": None}  # one name gives an RSM, several a dict
    shown = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in declared.items()]
    function.__signature__ = signature.replace(parameters=[*named, *shown])  # type: ignore[attr-defined]
    return function
