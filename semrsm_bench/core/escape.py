"""Texts from outside (names of methods, models, layers, options, messages), safe for each place where they are shown.

`cleaned` is applied once, where rows are read. Figures take text as it is, because `style.RC` turns matplotlib's mathematics off;
the page's template escapes it for HTML.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_LONGEST_NAME = 100


def clean(text: str) -> str:
    r"""One line of characters that can be seen: blanks of any kind become one blank, others that do not show ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)


def cleaned(value: Any) -> Any:
    """`clean` for all texts in a value out of a JSON file, keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {cleaned(k): cleaned(v) for k, v in value.items()}
    return [cleaned(v) for v in value] if isinstance(value, list | tuple) else value


def file_name(text: str) -> str:
    """A name for a file, without its suffix: of characters that all file systems take, and not too long."""
    return re.sub(r"[^A-Za-z0-9._+=]+", "-", text).strip("-.")[:_LONGEST_NAME] or "figure"


def escape_csv(text: str) -> str:
    """A text that a spreadsheet takes as text: one that looks like a formula gets an apostrophe in front."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r\n") else text


def escape_markdown(text: str) -> str:
    """Text for a cell of a Markdown table: one line, nothing that ends the cell or starts markup or mathematics."""
    return re.sub(r"([\\|*_`<>\[\]&~$])", r"\\\1", " ".join(text.split()))


SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_MATHEMATICS = (
    {"<": "<", ">": ">", "|": "|", "−": "-"}
    | {letter: f"^{digit}" for digit, letter in enumerate(SUPERSCRIPTS)}
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
    for letter in clean(" ".join(text.split())):
        if letter in _LATEX:
            out.append(_LATEX[letter])
        elif letter.isascii():
            out.append(letter)
        else:
            plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
            out.append("".join(_LATEX.get(c, c) for c in plain) or "?")
    return "".join(out)
