"""Make a site that `asv publish` wrote work without a network: ``python benchmarks/site/offline.py .asv/html``."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENDOR = HERE / "vendor"
# The name at the end of an address on asv's page, and the file that stands in for it.
REPLACEMENTS = {
    "jquery-3.3.1.min.js": "jquery.min.js",
    "jquery.flot.min.js": "jquery.flot.js",
    "jquery.flot.time.min.js": "jquery.flot.time.js",
    "jquery.flot.selection.min.js": "jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "jquery.flot.categories.js",
    "jquery.flot.orderBars.js": "jquery.flot.orderBars.js",
    "stupidtable.min.js": "stupidtable.min.js",
    "md5.min.js": "md5.min.js",
    "bootstrap.min.js": "bootstrap.min.js",
    "bootstrap.min.css": "bootstrap.min.css",
}
_OUTSIDE = re.compile(r"<(?:script|link)\b[^>]*\b(?:src|href)=\"(https?://[^\"]*/([^\"/]+))\"[^>]*>")
# The axis script needs $.asv and must come before the plots register themselves.
_BEFORE_PLOTS = re.compile(r"<script\b[^>]*\bsrc=\"graphdisplay\.js\"[^>]*>", re.DOTALL)


def localised(page: str) -> str:
    """The page with every library from beside it, and with the size axis as the default.

    Raises
    ------
    ValueError
        The page loads something from elsewhere that has no stand-in, or has no place for the axis: asv has changed.
    """

    def stand_in(match: re.Match[str]) -> str:
        address, name = match.groups()
        if name not in REPLACEMENTS:
            raise ValueError(f"asv's page loads {address}, which benchmarks/site/vendor has no stand-in for")
        tag = re.sub(r"\s(?:integrity|crossorigin|referrerpolicy)=\"[^\"]*\"", "", match.group(0))
        return tag.replace(address, f"vendor/{REPLACEMENTS[name]}")

    page = _OUTSIDE.sub(stand_in, page)
    page, count = _BEFORE_PLOTS.subn(lambda m: f'<script src="size_axis.js"></script>\n    {m.group(0)}', page, count=1)
    if count != 1:
        raise ValueError("asv's page does not load graphdisplay.js where it used to: the size axis has no place")
    return page


def make_offline(site: Path) -> None:
    """Rewrite ``index.html`` of a published site and put the libraries beside it."""
    index = site / "index.html"
    if not index.is_file():
        raise FileNotFoundError(f"{index}: no such file; make the site with `asv publish` first")
    page = index.read_text(encoding="utf-8")
    if "size_axis.js" not in page:
        index.write_text(localised(page), encoding="utf-8")
    shutil.copytree(VENDOR, site / "vendor", dirs_exist_ok=True)
    shutil.copy(HERE / "size_axis.js", site / "size_axis.js")


if __name__ == "__main__":
    make_offline(Path(sys.argv[1]))
