"""What `compute_rsm` may be asked for, declared once: the command line is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semrsm_bench.core.options import OptionError, check, option
from semrsm_bench.rsm.kernels import Kernel, check_sigma
from semrsm_bench.rsm.sources import Centring, ClassToken, Grid, Layout


@dataclass(frozen=True)
class RsmOptions:
    """Keywords of `compute_rsm`, checked; see there."""

    matching: tuple[str, ...] = option(("ortools",), help="identity, translation, a solver or another RSM method.")
    kernel: tuple[Kernel, ...] = option(("linear",), help="Kernels to compute; one matching serves all.")
    sigma: str | float = option("offdiag_median", help="RBF bandwidth: a rule or a number.", metavar="RULE|NUMBER")
    t: float = option(1.0, help="Factor on the bandwidth.", positive=True)
    centring: Centring = option("none", help="What to subtract first: nothing, or means by channel or by position.")
    layout: Layout = option("channels_first", help="How the axes of an .npy lie.")
    class_token: ClassToken = option("keep", help="Keep or drop token 0 of (N, T, D).")
    grid: Grid | None = option(None, help="How flat positions lie, for translation.")
    options: Mapping[str, Any] = option({}, help="Option of the solver or RSM method.", name="option")
    n_jobs: int = option(1, help="Workers; -1 for all cores.", name="jobs", short="j")
    block: int | None = option(None, help="Images on each side of a tile. Default: from memory and load.", minimum=1)
    out: Path | None = option(None, help="File .npy to stream to; the same command resumes an interrupted one.")

    def __post_init__(self) -> None:
        for name in ("matching", "kernel"):
            if not getattr(self, name):
                raise OptionError(name, f"name at least one {name}")
        check(self)
        check_sigma(self.sigma)
        if self.n_jobs == 0:
            raise OptionError("n_jobs", "must not be 0: 1 for this process, -1 for all cores")
