"""Rows of a run -> one cell per solver, layer and centring, with what a reader must know about it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from semrsm_bench.bench.stats import Interval, summarise

BLOCK = ["model", "size", "layer", "channels", "centring"]
REQUIRED = ("solver", "size", "status")
CENTRINGS = ("none", "channel", "position")
CATEGORIES = {"exact": "Optimal", "baseline": "Baseline", "approximate": "Approximation"}
UNKNOWN = Interval(math.nan, math.nan, math.nan)

_FLOATS = (
    *("seconds", "affinity_seconds", "k", "k_opt", "k_rand", "k_upper", "quality", "chance_corrected"),
    *("peak_bytes", "optimum_certificate"),
)
_TEXTS = {
    "model": "",
    "layer": "",
    "kind": "",
    "pair": "",
    "problem": "",
    "message": "",
    "run_id": "",
    "centring": "none",
}
_INTEGERS = {"channels": 0, "repeat": 0}


@dataclass(frozen=True, order=True)
class BlockKey:
    """What the cells of one group of columns share."""

    model: str
    size: int
    layer: str
    channels: int
    centring: str

    @classmethod
    def of_group(cls, key: Any) -> BlockKey:
        """From the key of a group made with `BLOCK`."""
        model, size, layer, channels, centring = key
        return cls(str(model), int(size), str(layer), int(channels), str(centring))


@dataclass(frozen=True)
class SolverKey:
    """One line of a table: a solver with the options it ran with."""

    name: str
    kind: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def block_size(self) -> str:
        """The paper's column b: the option ``b`` of Batch-Optimal, ``k`` of TopK-Greedy; empty for others."""
        return next((value for name in ("b", "k") for key, value in self.options if key == name), "")


@dataclass(frozen=True)
class Cell:
    """One solver on one layer under one centring.

    Attributes
    ----------
    pairs, ok : int
        Pairs that were tried, and those that were solved; 0 pairs where a single row speaks for the whole cell.
    failures : mapping of status to number of pairs
    message : str
        Why, in the words of the commonest failure.
    seconds, total_seconds : Interval
        Medians over pairs: the solve, and what a user waits for (with the affinity where the solver needs one).
    affinity_seconds : float
        Median, s.
    quality, chance_corrected : Interval
        Means over pairs of k/k_opt and c. NaN ends where only a bound is known.
    quality_is_bound, chance_corrected_is_bound : bool
        k_opt is not known for every pair; the value is a certified lower bound of the mean, from k_upper.
    undefined : int
        Pairs whose k_opt is not positive; from one on, k/k_opt is not given.
    worst : float
        Smallest c over the pairs.
    """

    block: BlockKey
    solver: SolverKey
    pairs: int = 0
    ok: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    message: str = ""
    seconds: Interval = UNKNOWN
    affinity_seconds: float = math.nan
    total_seconds: Interval = UNKNOWN
    quality: Interval = UNKNOWN
    quality_is_bound: bool = False
    undefined: int = 0
    chance_corrected: Interval = UNKNOWN
    chance_corrected_is_bound: bool = False
    worst: float = math.nan
    peak_bytes: float = math.nan

    @property
    def failure(self) -> str:
        """The commonest status besides ok, "" where there is none; a skip counts only where nothing else failed."""
        return max(self.failures, key=lambda s: (s != "skipped", self.failures[s])) if self.failures else ""


def prepare_rows(rows: pd.DataFrame, centrings: Iterable[str] | None = None) -> pd.DataFrame:
    """Rows with every column the report uses; those an older schema lacks get what their absence means.

    Parameters
    ----------
    rows : DataFrame
        From `semrsm_bench.bench.results.load_rows`.
    centrings : iterable of str, optional
        Keep these only.

    Returns
    -------
    DataFrame
        A copy, with the column ``label`` (the `SolverKey`) and non-finite numbers as NaN.

    Raises
    ------
    ValueError
        A column that nothing can stand in for is missing, or the rows come from several runs.
    """
    missing = [name for name in REQUIRED if name not in rows.columns]
    if missing:
        raise ValueError(f"these are not the rows of a run: they have no column {', '.join(missing)}")
    frame = rows.copy().reset_index(drop=True)
    for name in _FLOATS:
        values = frame[name] if name in frame else pd.Series(np.nan, index=frame.index)
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        frame[name] = numbers.where(np.isfinite(numbers))
    for name, text in _TEXTS.items():
        frame[name] = frame[name].fillna(text).astype(str) if name in frame else text
    for name, number in _INTEGERS.items():
        frame[name] = (
            pd.to_numeric(frame[name], errors="coerce").fillna(number).astype("int64") if name in frame else number
        )
    frame["size"] = pd.to_numeric(frame["size"]).astype("int64")
    frame["matrix_free"] = frame["matrix_free"].fillna(False).astype(bool) if "matrix_free" in frame else False
    runs = [run for run in frame["run_id"].unique() if run]
    if len(runs) > 1:
        raise ValueError(
            f"rows of {len(runs)} runs ({', '.join(map(repr, runs[:4]))}) cannot share a cell; figures of several machines "
            "are laid side by side (semrsm-bench merge), never averaged"
        )
    if centrings is not None:
        frame = frame[frame["centring"].isin(list(centrings))].reset_index(drop=True)
    options: Iterable[Any] = frame["options"] if "options" in frame else [{}] * len(frame)
    labels = [SolverKey(str(s), k, _options(o)) for s, k, o in zip(frame["solver"], frame["kind"], options)]
    frame["label"] = pd.Series(labels, index=frame.index, dtype=object)
    return frame


def _options(options: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(options, str):
        try:
            options = json.loads(options or "{}")
        except ValueError:
            return (("options", str(options)),)
    if not isinstance(options, Mapping):
        return ()
    return tuple(sorted((str(name), option_text(value)) for name, value in options.items()))


def option_text(value: Any) -> str:
    """An option's value as text, the same before and after a journey through JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def collect_cells(frame: pd.DataFrame, seed: int = 0) -> dict[tuple[BlockKey, SolverKey], Cell]:
    """Cells of prepared rows; the figures are those of `semrsm_bench.bench.stats.summarise`.

    Parameters
    ----------
    frame : DataFrame
        From `prepare_rows`.
    seed : int
        Of the bootstrap.
    """
    # The bootstrap draws by position: rows in another order, as resumed runs have them, must give the same interval.
    frame = frame.sort_values(["problem", "pair", "repeat"], kind="stable")
    cells: dict[tuple[BlockKey, SolverKey], Cell] = {}
    for solver, part in frame.groupby("label", sort=False):
        assert isinstance(solver, SolverKey)
        lines = summarise(part.drop(columns="label"), seed=seed).to_dict("records")
        by_block = {BlockKey.of_group([line[name] for name in BLOCK]): line for line in lines}
        for key, rows in part.groupby(BLOCK, sort=False):
            block = BlockKey.of_group(key)
            cells[block, solver] = _cell(block, solver, rows, by_block[block])
    return cells


def _cell(block: BlockKey, solver: SolverKey, rows: pd.DataFrame, line: Mapping[Any, Any]) -> Cell:
    is_good = (rows["status"] == "ok").to_numpy()
    bad = rows[~is_good]
    k, k_rand = rows["k"].to_numpy()[is_good], rows["k_rand"].to_numpy()[is_good]

    def interval(name: str) -> Interval:
        return Interval(float(line[name]), float(line[f"{name}_low"]), float(line[f"{name}_high"]))

    quality, chance_corrected = interval("quality"), interval("chance_corrected")
    # k_upper >= k_opt makes a ratio a lower bound only where its numerator is positive.
    quality_bound = float(line["quality_bound"]) if (k > 0).all() else math.nan
    c_bound = float(line["chance_corrected_bound"]) if (k >= k_rand).all() else math.nan
    undefined = int(line["k_opt_nonpositive"])
    quality_is_bound = math.isnan(quality.value) and not undefined and math.isfinite(quality_bound)
    c_is_bound = math.isnan(chance_corrected.value) and math.isfinite(c_bound)
    return Cell(
        block=block,
        solver=solver,
        # Rows of an old schema may not name their pairs.
        pairs=max(rows.loc[rows["pair"] != "", "pair"].nunique(), int(line["pairs"])),
        ok=int(line["pairs"]),
        failures={str(s): int(n) for s, n in bad.groupby("status", sort=False)["pair"].nunique().items()},
        message=str(line["message"]),
        seconds=interval("seconds"),
        affinity_seconds=float(line["affinity_seconds"]),
        total_seconds=interval("total_seconds"),
        quality=Interval(quality_bound, math.nan, math.nan) if quality_is_bound else quality,
        quality_is_bound=quality_is_bound,
        undefined=undefined,
        chance_corrected=Interval(c_bound, math.nan, math.nan) if c_is_bound else chance_corrected,
        chance_corrected_is_bound=c_is_bound,
        worst=float(line["chance_corrected_worst"]),
        peak_bytes=float(line["peak_bytes"]),
    )


def order_blocks(keys: Iterable[BlockKey]) -> list[BlockKey]:
    """By model, size, layer, and centring in the order none, channel, position."""

    def place(block: BlockKey) -> tuple[str, int, str, int, int]:
        centring = CENTRINGS.index(block.centring) if block.centring in CENTRINGS else len(CENTRINGS)
        return block.model, block.size, block.layer, block.channels, centring

    return sorted(dict.fromkeys(keys), key=place)
