"""Sphinx: the docs site. `make docs` builds it; nothing in it is loaded from elsewhere."""

import base64
import html
import re
from pathlib import Path

import semrsm_bench

HERE = Path(__file__).resolve().parent

default_role = "py:obj"
project = "semrsm_bench"
author = "The semrsm_bench authors"
copyright = "The semrsm_bench authors, MIT licence"
version = release = semrsm_bench.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "katex"]
suppress_warnings = ["toc.empty_glob"]

myst_enable_extensions = ["dollarmath", "amsmath"]
# Links to headings are those that GitHub makes.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and types
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_title = "semrsm_bench"
html_static_path = ["assets"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # it would fetch pages, which browsers refuse from a file
html_math_renderer = "katex"
html_theme_options = {"navigation_with_keys": True}

# Pages that lie outside this folder, as the site names them.
ELSEWHERE = {"../README.md": "index.md", "../data/README.md": "data.md", "../CHANGELOG.md": "changelog.md"}


def point_inside(app, page, source):
    """Links to Markdown outside the docs go to the page of the site that shows it."""
    for outside, inside in ELSEWHERE.items():
        up = "../" * page.count("/")
        source[0] = source[0].replace(f"]({up}{outside}", f"]({up}{inside}")


def plain_docstring(app, what, name, thing, options, lines):
    """Bars and stars are mathematics in our docstrings, which are written to be read as they are."""
    lines[:] = ["".join(_escaped(part) for part in re.split(r"(``.*?``)", line)) for line in lines]


def _escaped(part):
    return part if part.startswith("``") else re.sub(r"([|*_](?=\W|$)|[|*])", r"\\\1", part)


def stylesheet_with_fonts():
    """KaTeX's style sheet with its fonts inside it: pages opened from a file may not load fonts beside them."""
    css = (HERE / "katex" / "katex.min.css").read_text()
    css = re.sub(r',url\(fonts/[^)]*\.(?:woff|ttf)\) format\("[a-z]+"\)', "", css)

    def inside(match):
        data = base64.b64encode((HERE / "katex" / match[1]).read_bytes()).decode()
        return f"url(data:font/woff2;base64,{data})"

    return re.sub(r"url\((fonts/[^)]*\.woff2)\)", inside, css)


def write_katex(app, error):
    """Put KaTeX beside the pages."""
    if error is None and app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        (static / "katex.min.js").write_bytes((HERE / "katex" / "katex.min.js").read_bytes())
        (static / "katex.min.css").write_text(stylesheet_with_fonts())


def add_katex(app, page, template, context, doctree):
    """Pages with formulas load what typesets them."""
    if doctree is not None and any(node.tagname in ("math", "math_block") for node in doctree.findall()):
        app.add_css_file("katex.min.css")
        app.add_js_file("katex.min.js")
        app.add_js_file("formulas.js")


def inline_formula(translator, node):
    from docutils.nodes import SkipNode

    translator.body.append(f'<span class="formula">{html.escape(node.astext())}</span>')
    raise SkipNode


def block_formula(translator, node):
    from docutils.nodes import SkipNode

    translator.body.append(f'<div class="formula">{html.escape(node.astext())}</div>\n')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("katex", (inline_formula, None), (block_formula, None))
    app.connect("source-read", point_inside)
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)  # before napoleon, at 500
    app.connect("html-page-context", add_katex)
    app.connect("build-finished", write_katex)
