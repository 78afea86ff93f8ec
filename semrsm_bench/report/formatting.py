"""Numbers and sentences as they are printed: times with units, qualities that never round up to the optimum."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Literal

from semrsm_bench.core.task import Score

Bound = Literal["", "lower", "upper"]

NOTHING = "–"
# Values this close to the optimum are equal to it up to the rounding of a float64 sum.
OPTIMAL_TOLERANCE = 1e-9

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def format_seconds(seconds: float, margin: float = math.nan) -> str:
    """Three significant digits and a unit, ``4.26 ms``, with the margin in the same unit and decimals: ``4.26 ±0.05 ms``.

    The margin is half the width of an interval, rounded up; NaN or 0 prints none. Unknown seconds print as a dash.
    """
    if not math.isfinite(seconds):
        return NOTHING
    if seconds == 0:
        return "0 s"
    scale, unit = next(((s, u) for s, u in UNITS if _significant(abs(seconds) / s)[0] >= 1), UNITS[-1])
    value, decimals = _significant(seconds / scale)
    text = f"{value:.{decimals}f}"
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

    ``signed``: it is a difference of two scores. ``bound``: it bounds the score, from below where larger is better, and is cut
    off to the safe side instead of rounded.
    """
    margin = max(high - value, value - low) if math.isfinite(low) and math.isfinite(high) else math.nan
    side: Bound = "" if not bound else "lower" if score.best == "max" else "upper"
    if signed:
        return format_number(value, margin, signed=True) if score.style != "percent" else format_points(value, margin)
    if score.style == "percent":
        return format_percent(value, margin, bound=side)
    if score.style == "quality":
        return format_quality(value, margin, bound=side)
    return format_number(value, margin, signed=score.low < 0, bound=side)


def format_percent(ratio: float, margin: float = math.nan, *, bound: Bound = "") -> str:
    """A ratio in percent with one decimal, ``97.6 ±0.5``; two close to 100, which is printed for nothing less than 1."""
    return _ratio(ratio, margin, 100, 1, bound)


def format_quality(c: float, margin: float = math.nan, *, bound: Bound = "") -> str:
    """A quality such as c, ``0.916 ±0.012``; four decimals close to 1, which is printed for nothing less."""
    return _ratio(c, margin, 1, 3, bound)


def _ratio(value: float, margin: float, scale: int, decimals: int, bound: Bound) -> str:
    """A multiple of what is 1 at its optimum. A lower bound is cut off instead of rounded: what is printed is certified too."""
    if not math.isfinite(value):
        return NOTHING
    if abs(value - 1) <= OPTIMAL_TOLERANCE:
        return str(scale)
    decimals += 0.9905 <= value < 1
    return _with_margin(_rounded(value * scale, decimals, scale, bound), scale * margin, decimals)


def format_number(value: float, margin: float = math.nan, *, signed: bool = False, bound: Bound = "") -> str:
    """Three decimals, ``0.916 ±0.012``, none from 1,000 on; with a plus or a minus where both may occur."""
    if not math.isfinite(value):
        return NOTHING
    decimals = 3 if abs(value) < 1000 else 0
    return _with_margin(_plus(_rounded(value, decimals, math.inf, bound), signed), margin, decimals)


def format_points(ratio: float, margin: float = math.nan) -> str:
    """A difference of two ratios in percentage points, ``+1.3 ±0.4``."""
    if not math.isfinite(ratio):
        return NOTHING
    return _with_margin(_plus(_rounded(100 * ratio, 1, math.inf, ""), True), 100 * margin, 1)


def format_p(p: float) -> str:
    """A p-value, ``0.012``; small ones as an upper bound."""
    return NOTHING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _plus(text: str, signed: bool) -> str:
    return f"+{text}" if signed and text[0] != "−" and float(text) else text


def format_gap(gap: float) -> str:
    """A gap ``1 - c`` in percent with two significant digits, for axes and sentences."""
    if not math.isfinite(gap):
        return NOTHING
    if abs(gap) <= OPTIMAL_TOLERANCE:
        return "0 %"
    return f"{100 * gap:.2g} %" if abs(gap) < 0.995 else f"{100 * gap:.0f} %"


def _significant(value: float, digits: int = 3) -> tuple[float, int]:
    """The value rounded to so many significant digits, and the decimals that show them."""
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    rounded = round(value, decimals)
    # 9.996 becomes 10.0, one decimal less.
    if rounded and decimals and math.floor(math.log10(abs(rounded))) > math.floor(math.log10(abs(value))):
        decimals -= 1
    return rounded, decimals


def _rounded(value: float, decimals: int, optimum: float, bound: Bound) -> str:
    """Rounded, but cut off where rounding would claim more than is true: the optimum or more for something less, or a bound."""
    text = f"{value:.{decimals}f}"
    if value < optimum <= float(text) or (bound == "lower" and float(text) > value):
        text = f"{math.floor(value * 10**decimals) / 10**decimals:.{decimals}f}"
    elif bound == "upper" and float(text) < value:
        text = f"{math.ceil(value * 10**decimals) / 10**decimals:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def _with_margin(text: str, margin: float, decimals: int) -> str:
    # The rounding of a sum is no uncertainty.
    if not math.isfinite(margin) or margin <= OPTIMAL_TOLERANCE:
        return text
    return f"{text} ±{_ceil(margin, decimals):.{decimals}f}"


def _ceil(value: float, decimals: int) -> float:
    scale = 10.0**decimals
    # The factor keeps 0.05 / 0.01 = 5.000000000000001 from becoming 6 units of the last decimal.
    return math.ceil(value * scale * (1 - 1e-9)) / scale


_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def complexity_text(complexity: str) -> str:
    """A complexity for people: ``O(S^3)`` becomes ``O(S³)``; a dash where nothing is known."""
    return re.sub(r"\^(\d+)", lambda m: m[1].translate(_SUPERSCRIPTS), complexity) or NOTHING


def complexity_latex(complexity: str) -> str:
    r"""A complexity in LaTeX's mathematics: ``O(S log S)`` becomes ``$\mathcal{O}(S \log S)$``; anything odd as plain text."""
    if not complexity or complexity == NOTHING:
        return "--"
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda m: "^" + unicodedata.normalize("NFKC", m[0]), complexity).replace("·", "*")
    if not re.fullmatch(r"(?:[A-Za-z0-9\s()/*+.,|-]|\^\w)+", text):
        return escape_latex(complexity)
    # Mathematics swallows the blanks that words need around them, and sets its own around a logarithm.
    pieces = re.split(r"([A-Za-z]{2,})", text)
    for i in range(1, len(pieces), 2):
        blank = "" if pieces[i] == "log" else r"\ "
        pieces[i] = r"\log " if pieces[i] == "log" else rf"\mathrm{{{pieces[i]}}}"
        pieces[i - 1] = re.sub(r"\s+$", lambda _, b=blank: b, pieces[i - 1])
        pieces[i + 1] = re.sub(r"^\s+(?=\S)", lambda _, b=blank: b, pieces[i + 1])
    text = re.sub(r"\bO\(", r"\\mathcal{O}(", "".join(pieces))
    text = re.sub(r"\^(\w+)", r"^{\1}", text).replace("*", r" \cdot ")
    return f"${text}$"


_MATHEMATICS = (
    {"<": "<", ">": ">", "|": "|", "−": "-", "¹": "^1", "²": "^2", "³": "^3"}
    | {"±": r"\pm", "≥": r"\geq", "≤": r"\leq", "×": r"\times", "·": r"\cdot", "µ": r"\mu", "μ": r"\mu"}
    | {"√": r"\surd", "↑": r"\uparrow", "↓": r"\downarrow", "Δ": r"\Delta"}
)
_LATEX = (
    {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {letter: f"${sign}$" for letter, sign in _MATHEMATICS.items()}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "…": r"\ldots{}",
        "†": r"\dag{}",
    }
    | {'"': "''", "’": "'", "–": "--", "—": "---", "®": "", "™": ""}
)


def escape_latex(text: str) -> str:
    """Text that pdflatex sets as it stands; letters it does not know lose their accents, or become a question mark."""
    out = []
    for letter in " ".join(text.split()):
        if letter in _LATEX:
            out.append(_LATEX[letter])
        elif letter.isascii():
            out.append(letter)
        else:
            plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
            out.append("".join(_LATEX.get(c, c) for c in plain) or "?")
    return "".join(out)


def escape_mathtext(text: str) -> str:
    """Text for a figure: a name from outside must not start matplotlib's mathematics."""
    return text.replace("$", r"\$")


def csv_text(text: str) -> str:
    """A text that a spreadsheet takes as text: one that looks like a formula gets an apostrophe in front."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text


def escape_markdown(text: str) -> str:
    """Text for a cell of a Markdown table: one line, nothing that ends the cell or starts markup."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(text.split()))


def plural(count: int, noun: str) -> str:
    """``1 pair``, ``2 queries``, ``1,000 batches``."""
    return f"{count:,} {noun if count == 1 else plurals(noun)}"


def plurals(noun: str) -> str:
    """``pairs``, ``queries``, ``batches``."""
    return re.sub(r"(?<=[^aeiou])y$", "ie", noun) + ("es" if re.search(r"(?:[sxz]|ch|sh)$", noun) else "s")
