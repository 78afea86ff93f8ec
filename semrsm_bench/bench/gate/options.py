"""What a user chooses about the gate, and how much may change without a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from semrsm_bench.core.options import check, option

EVERYTHING = "all"


@dataclass(frozen=True)
class GateOptions:
    """What is compared, how, and what may change; limits come on top of those in the head's pyproject.toml."""

    methods: tuple[str, ...] = option((), help="Only these; default: all that either side has.", aliases=("solvers",))
    sizes: tuple[int, ...] = option((), help="Only these S; default: all in the data.", minimum=1)
    centrings: tuple[Literal["none", "channel", "position"], ...] = option(
        ("none", "channel"), help="How the vectors are centred.", name="centring", aliases=("centrings",)
    )
    pairs: int | None = option(None, help="Pairs of images at each size; default: by size.", minimum=1)
    quality: Mapping[str, float] = option(
        {},
        help="How much chance-corrected quality may fall: 0.005, or for one solver greedy=0.01; repeatable.",
        metavar="[SOLVER=]FALL",
        nameless=True,
    )
    time: Mapping[str, float] = option(
        {},
        help="How many times as long a solve may take: 2, or for one solver greedy=3; repeatable.",
        metavar="[SOLVER=]FACTOR",
        nameless=True,
    )
    missing: tuple[str, ...] = option((), help="Solvers that may be gone or fail now; all: any.", name="allow-missing")
    plugins: tuple[Path, ...] = option((), help="File of solvers, taken from each commit; repeatable.", name="plugin")
    build: str | None = option(
        None, help="Shell command that builds a commit, in a copy of it, before it is measured.", metavar="COMMAND"
    )
    data: Path | None = option(None, help="Activations, for both sides.")
    environment: Literal["auto", "shared", "isolated"] = option(
        "auto", help="This one for both commits, or one for each; auto isolates where they want different packages."
    )
    deadline: float = option(60.0, help="Seconds for one solve.", positive=True)
    allow_broken_base: bool = option(False, help="Pass, with a notice, where the base cannot be measured.")
    summary: Path | None = option(None, help="Append the result as Markdown to this file.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class GateLimits:
    """What may change without a failure; ``quality_of`` and ``time_of`` hold limits of single solvers.

    Chance-corrected quality may fall by ``quality``, that of an exact solver by ``exact``; time relative to the reference kernel
    may grow by the factor ``time``. Solvers in ``missing`` may have no figures on the head where the base has some.
    """

    quality: float = 0.005
    exact: float = 1e-6
    time: float = 2.0
    quality_of: Mapping[str, float] = field(default_factory=dict)
    time_of: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in [("quality", self.quality), ("exact", self.exact), *self.quality_of.items()]:
            if not 0 <= value < 1:
                raise ValueError(f"a fall of quality is between 0 and 1, got {value} for {name}")
        for name, value in [("time", self.time), *self.time_of.items()]:
            if not value > 1:
                raise ValueError(f"a factor on time is larger than 1, got {value} for {name}")

    def fall(self, solver: str, kind: str) -> float:
        """How much a solver's quality may fall."""
        return self.quality_of.get(solver, self.exact if kind == "exact" else self.quality)

    def factor(self, solver: str) -> float:
        """How many times as long a solver may take."""
        return self.time_of.get(solver, self.time)


def limits_of(project: Mapping[str, Any], options: GateOptions) -> GateLimits:
    """Limits from ``[tool.semrsm-bench.gate]`` of a pyproject.toml; options come on top of them."""
    settings = project.get("tool", {}).get("semrsm-bench", {}).get("gate", {})
    known, solvers = {"quality", "exact", "time", "missing", "solvers"}, settings.get("solvers", {})
    keys = [(k, known) for k in settings] + [(k, {"quality", "time"}) for entry in solvers.values() for k in entry]
    for key, allowed in keys:
        if key not in allowed:
            raise ValueError(f"[tool.semrsm-bench.gate] has no {key!r}, but {', '.join(sorted(allowed))}")
    found: dict[str, Any] = {"exact": float(settings.get("exact", GateLimits.exact))}
    for name in ("quality", "time"):
        limits = {s: entry[name] for s, entry in solvers.items() if name in entry} | getattr(options, name)
        found[name] = float(limits.pop("", settings.get(name, getattr(GateLimits, name))))
        found[f"{name}_of"] = {solver: float(value) for solver, value in limits.items()}
    return GateLimits(**found, missing=(*settings.get("missing", ()), *options.missing))
