"""plotly.js and DataTables, read from installed packages, to be put into the page; with their licences."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
import importlib.util
import re
from pathlib import Path

from semrsm_bench.core.method import require_extra

# The libraries inside the page, with what they bring; what they bundle in turn is named in comments of their sources, which stay.
_CONTENTS = {"plotly": "plotly.js", "itables": "DataTables, its extensions, and jQuery, as bundled by itables"}
_EXPORTS = re.compile(r"\bexport\s*\{[^{}]*?([\w$]+)\s+as\s+jQuery\b[^{}]*\};?")
_LICENCE_FILE = re.compile(r"(^|/)(licen[cs]e|copying|notice)[^/]*$", re.IGNORECASE)


def require_packages() -> None:
    """ImportError where a package of the extra ``report`` is missing."""
    require_extra("the page", "report", "itables", "jinja2", "plotly")


@functools.cache
def plotly_script() -> str:
    """The source of plotly.js; it defines ``Plotly``."""
    from plotly.offline import get_plotlyjs

    return safe_script(get_plotlyjs())


@functools.cache
def tables_script() -> str:
    """The source of DataTables and jQuery, a module; it defines ``jQuery`` for the scripts after it.

    ValueError: the installed itables keeps its bundle elsewhere or in another form.
    """
    spec = importlib.util.find_spec("itables")
    places = [Path(p) / "html" / "dt_bundle.js" for p in (spec and spec.submodule_search_locations) or []]
    bundle = next((p.read_text(encoding="utf-8") for p in places if p.is_file()), "")
    # Nothing can import from a script inside a page, so what the module exports becomes a global.
    source, found = _EXPORTS.subn(r"globalThis.jQuery=\1;", bundle)
    if found != 1:
        raise ValueError("the installed itables has no bundle of DataTables that exports jQuery; itables 2.9 has one")
    return safe_script(source)


def safe_script(source: str) -> str:
    """Source that means the same and cannot end, or confuse, the script element it is in."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"<(?=!--|/script)", r"\\x3c", source, flags=re.IGNORECASE)


def content_hash(script: str) -> str:
    """The script's hash as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@functools.cache
def notices() -> list[dict[str, str]]:
    """Name, version, contents and terms of the libraries inside the page."""
    found = []
    for name, contents in _CONTENTS.items():
        package = importlib.metadata.distribution(name)
        files = [f for f in package.files or [] if _LICENCE_FILE.search(str(f)) and ".dist-info/" in str(f)]
        texts = [Path(str(f.locate())).read_text(encoding="utf-8", errors="replace").strip() for f in files]
        facts = package.metadata
        named = [facts[key] for key in ("License-Expression", "License") if key in facts]
        terms = "\n\n".join(texts or named[:1]) or "unknown"
        found.append({"name": name, "version": package.version, "contents": contents, "terms": terms})
    return found
