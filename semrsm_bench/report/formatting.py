"""Numbers as they are printed: times with units, qualities that never round up to the optimum."""

from __future__ import annotations

import math
import re

from semrsm_bench.core.escape import SUPERSCRIPTS
from semrsm_bench.core.task import Score

NOTHING = "–"
# Values this close to the optimum are equal to it up to the rounding of a float64 sum.
OPTIMAL_TOLERANCE = 1e-9

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def format_seconds(seconds: float, margin: float = math.nan) -> str:
    """Three significant digits and a unit, ``4.26 ms``, with the margin in the same unit and decimals: ``4.26 ±0.05 ms``.

    The margin is half the width of an interval, rounded up; NaN or 0 prints none. Unknown seconds print as a dash.
    """
    if not math.isfinite(seconds):
        return NOTHING
    if seconds == 0:
        return "0 s"
    # Rounded before they choose the unit and the decimals: 999.6 µs are 1.00 ms, 9.996 s are 10.0 s.
    rounded = {unit: float(f"{seconds / scale:.2e}") for scale, unit in _UNITS}
    scale, unit = next(((s, u) for s, u in _UNITS if abs(rounded[u]) >= 1), _UNITS[-1])
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded[unit]))))
    text = f"{seconds / scale:.{decimals}f}"
    if math.isfinite(margin) and margin > 0:
        text += f" ±{_ceil(margin / scale, decimals):.{decimals}f}"
    return f"{text} {unit}"


def format_score(
    score: Score,
    value: float,
    low: float = math.nan,
    high: float = math.nan,
    *,
    signed: bool = False,
    bound: bool = False,
) -> str:
    """A score as its task wants it printed, with the farther end of its interval; ends that are NaN print none.

    ``97.6 ±0.5`` in percent, ``0.916 ±0.012`` for others, none of the decimals from 1,000 on. A ratio to an optimum has one decimal
    more near 1, and is printed as 1 for nothing less. ``signed``: it is a difference of two scores. ``bound``: it bounds the score,
    from below where larger is better, and is never printed better than it is.
    """
    if not math.isfinite(value):
        return NOTHING
    scale, decimals = (100, 1) if score.style == "percent" else (1, 3)
    is_ratio = score.style != "number" and not signed
    if is_ratio:
        if abs(value - 1) <= OPTIMAL_TOLERANCE:
            return str(scale)
        decimals += 0.9905 <= value < 1
    elif scale == 1 and abs(value) >= 1000:
        decimals = 0
    shown = scale * value
    text = f"{shown:.{decimals}f}"
    # Cut off where rounding would claim more than is true: a bound better than it is, or the optimum for something less.
    scaled = shown * 10**decimals
    if bound and score.best == "min":
        if float(text) < shown:
            text = f"{math.ceil(scaled) / 10**decimals:.{decimals}f}"
    elif (bound and float(text) > shown) or (is_ratio and value < 1 and float(text) >= scale):
        text = f"{math.floor(scaled) / 10**decimals:.{decimals}f}"
    text = text.replace("-", "−") if float(text) else text.lstrip("-")
    if (signed or (not is_ratio and score.low < 0)) and text[0] != "−" and float(text):
        text = f"+{text}"
    margin = scale * max(high - value, value - low)
    # The rounding of a sum is no uncertainty.
    return f"{text} ±{_ceil(margin, decimals):.{decimals}f}" if OPTIMAL_TOLERANCE < margin < math.inf else text


def format_p(p: float) -> str:
    """A p-value, ``0.012``; small ones as an upper bound."""
    return NOTHING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _ceil(value: float, decimals: int) -> float:
    scale = 10.0**decimals
    # The factor keeps 0.05 / 0.01 = 5.000000000000001 from becoming 6 units of the last decimal.
    return math.ceil(value * scale * (1 - 1e-9)) / scale


def plural(count: int, noun: str) -> str:
    """``1 pair``, ``2 queries``, ``1,000 batches``."""
    return f"{count:,} {noun if count == 1 else plurals(noun)}"


def plurals(noun: str) -> str:
    """``pairs``, ``queries``, ``batches``."""
    return re.sub(r"(?<=[^aeiou])y$", "ie", noun) + ("es" if re.search(r"(?:[sxz]|ch|sh)$", noun) else "s")


def complexity_text(complexity: str) -> str:
    """A complexity for people: ``O(S^3)`` becomes ``O(S³)``; a dash where nothing is known."""
    return re.sub(r"\^(\d+)", lambda m: "".join(SUPERSCRIPTS[int(d)] for d in m[1]), complexity) or NOTHING
