"""What a user may choose about the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semrsm_bench.core.options import check, option


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
    plugins: tuple[Path, ...] = option(
        (), help="File that registers solvers, taken from each commit; repeatable.", name="plugin"
    )
    data: Path | None = option(None, help="Activations, for both sides.")
    environment: Literal["auto", "shared", "isolated"] = option(
        "auto", help="This one for both commits, or one for each; auto isolates where they want different packages."
    )
    deadline: float = option(60.0, help="Seconds for one solve.", positive=True)
    allow_broken_base: bool = option(
        False, help="Pass with a notice where the base cannot be measured, instead of ending with 4."
    )

    def __post_init__(self) -> None:
        check(self)
