"""Panels -> a terminal, Markdown, LaTeX. Each writer takes the same panels and caption and decides nothing else."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from semrsm_bench.core.escape import escape_latex, escape_markdown
from semrsm_bench.report.formatting import NOTHING
from semrsm_bench.report.layout import BLOCK_SIZE, COMPLEXITY, RANK, ColumnGroup, Line, Panel

# Where a complexity says more, but not inside of brackets.
_CLAUSE = re.compile(r",(?![^(]*\))")

GAP = "  "
GROUP_GAP = "   "


def render_text(
    panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str], width: int, heading: str = ""
) -> str:
    """Aligned columns for a terminal; panels wider than ``width`` lose the complexity, then are cut between their columns."""
    panels, shared = shared_notes(panels)
    wrap = max(width, 40)
    parts = []
    for panel in map(_brief, panels):
        if _total(panel) > width:
            kept = [i for i, head in enumerate(panel.stub) if head != COMPLEXITY]
            lines = (replace(line, stub=tuple(line.stub[i] for i in kept)) for line in panel.lines)
            panel = replace(panel, stub=tuple(panel.stub[i] for i in kept), lines=tuple(lines))
        parts += [_text_panel(part, wrap) for part in _fitting(panel, width) if part.lines]
    footer = ["\n".join(textwrap.wrap(s, wrap, break_long_words=False)) for s in [*caption, *shared, *remarks]]
    head = [f"━━━ {heading} ".ljust(width, "━")[: max(width, len(heading) + 5)]] if heading else []
    return "\n\n".join([*head, *parts, "\n".join(footer)]) + "\n"


def shared_notes(panels: Sequence[Panel]) -> tuple[list[Panel], list[str]]:
    """Panels without the notes that all of them have, and those notes."""
    if len(panels) < 2:
        return list(panels), []
    shared = [note for note in panels[0].notes if all(note in panel.notes for panel in panels)]
    return [replace(panel, notes=tuple(n for n in panel.notes if n not in shared)) for panel in panels], shared


def _brief(panel: Panel) -> Panel:
    """Only the first clause of a complexity, and ``4.26±0.05 ms`` for ``4.26 ±0.05 ms``: two centrings fit into 120 columns."""

    def tight(entry: tuple[str, ...] | str) -> tuple[str, ...] | str:
        return entry if isinstance(entry, str) else tuple(text.replace(" ±", "±") for text in entry)

    lines = (
        replace(
            line,
            stub=tuple(_CLAUSE.split(t)[0] if head == COMPLEXITY else t for head, t in zip(panel.stub, line.stub)),
            entries=tuple(map(tight, line.entries)),
        )
        for line in panel.lines
    )
    return replace(panel, lines=tuple(lines))


def _widths(panel: Panel) -> tuple[list[int], list[list[int]]]:
    """Characters of the columns of the stub, and of those of each group."""
    stub = [max(map(len, column)) for column in zip(panel.stub, *(line.stub for line in panel.lines))]
    widths = []
    for group, *cells in zip(panel.groups, *(line.entries for line in panel.lines)):
        columns = [max(map(len, c)) for c in zip(group.columns, *(e for e in cells if not isinstance(e, str)))]
        spanning = max(len(group.title), *(len(e) for e in cells if isinstance(e, str)), 0)
        columns[-1] += max(0, spanning - _span(columns))
        widths.append(columns)
    return stub, widths


def _span(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _total(panel: Panel) -> int:
    stub, groups = _widths(panel)
    return _span(stub) + sum(_span(columns) + len(GROUP_GAP) for columns in groups)


def _fitting(panel: Panel, width: int) -> list[Panel]:
    """As few parts of about equal size as fit, cut between groups, or else between any columns; notes are under the last one."""
    starts = [0, *itertools.accumulate(len(group.columns) for group in panel.groups)]
    whole = [start for start, group in zip(starts, panel.groups) if not group.beside]
    tries = ((places, n) for places in (whole, starts[:-1], range(starts[-1])) for n in range(1, len(places) + 1))
    for places, count in tries:
        cuts = [*(places[round(i * len(places) / count)] for i in range(count)), starts[-1]]
        parts = [_columns(panel, *ends) for ends in itertools.pairwise(cuts)]
        if all(_total(part) <= width for part in parts):
            break
    return [*(replace(part, notes=()) for part in parts[:-1]), parts[-1]]


def _columns(panel: Panel, start: int, stop: int) -> Panel:
    """The columns of all groups from one to another, counted through."""
    groups: list[ColumnGroup] = []
    entries: list[list[tuple[str, ...] | str]] = [[] for _ in panel.lines]
    first = 0
    for i, group in enumerate(panel.groups):
        part = slice(max(start - first, 0), max(stop - first, 0))
        first += len(group.columns)
        if columns := group.columns[part]:
            groups.append(replace(group, columns=columns))
            for kept, line in zip(entries, panel.lines):
                entry = line.entries[i]
                kept.append(entry if isinstance(entry, str) else entry[part])
    lines = (replace(line, entries=tuple(kept)) for line, kept in zip(panel.lines, entries))
    return replace(panel, groups=tuple(groups), lines=tuple(lines))


def _by_category(panel: Panel) -> Iterator[tuple[str, Line]]:
    """Every line with the name of its category, where it is the first of it."""
    before = None
    for line in panel.lines:
        yield (line.category if line.category != before else ""), line
        before = line.category


def _text_panel(panel: Panel, width: int) -> str:
    stub_widths, widths = _widths(panel)
    spans, total = [_span(columns) for columns in widths], _total(panel)

    def row(stub: Sequence[str], groups: Sequence[Sequence[str] | str]) -> str:
        # Numbers are to the right; names to the left.
        names = [
            v.rjust(w) if head in (BLOCK_SIZE, RANK) else v.ljust(w)
            for head, v, w in zip(panel.stub, stub, stub_widths)
        ]
        cells = [
            e.center(span) if isinstance(e, str) else GAP.join(v.rjust(w) for v, w in zip(e, columns))
            for e, columns, span in zip(groups, widths, spans)
        ]
        return GROUP_GAP.join([GAP.join(names), *cells])

    out = textwrap.wrap(panel.title, width, break_long_words=False)
    titles = [group.title for group in panel.groups]
    if any(titles):
        heads = [f" {t} ".center(s, "─") if len(t) + 2 <= s else t for t, s in zip(titles, spans)]
        out.append(row([""] * len(panel.stub), heads))
    out.append(row(panel.stub, [group.columns for group in panel.groups]))
    for category, line in _by_category(panel):
        out += [f"─ {category} ".ljust(total, "─")] * bool(category) + [row(line.stub, line.entries)]
    out.append("─" * total)
    for note in panel.notes:
        out += textwrap.wrap(note, width, subsequent_indent="  ", break_long_words=False)
    return "\n".join(line.rstrip() for line in out)


def render_markdown(panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str], heading: str = "") -> str:
    """Pipe tables with their notes and the caption below; a text that spans a group is in its last column."""
    panels, shared = shared_notes(panels)

    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    out = [f"## {escape_markdown(heading)}", ""] if heading else []
    for panel in panels:
        if panel.title:
            out += [f"**{escape_markdown(panel.title)}**", ""]
        names = [escape_markdown(t) for t in ("Category", *panel.stub)]
        head = [f"{escape_markdown(g.title)}<br>{escape_markdown(c)}" for g in panel.groups for c in g.columns]
        rules = [" --: " if name in (BLOCK_SIZE, RANK) else " :-- " for name in names] + [" --: "] * len(head)
        out += [row([*names, *head]), f"|{'|'.join(rules)}|"]
        for category, line in _by_category(panel):
            cells = [category, *line.stub]
            for entry, group in zip(line.entries, panel.groups):
                cells += [NOTHING] * (len(group.columns) - 1) + [entry] if isinstance(entry, str) else entry
            out.append(row([escape_markdown(c).replace(" ±", " ± ") for c in cells]))
        out += ["", *(text for note in panel.notes for text in (escape_markdown(note), ""))]
    return "\n".join([*out, escape_markdown(" ".join([*caption, *shared, *remarks]))]) + "\n"


LATEX_HEAD = r"""% \usepackage{booktabs} is needed; with \usepackage{graphicx} a table wider than the text is scaled down to fit."""
# Characters that fit into the width of a page in the smallest legible print.
LATEX_WIDTH = 175
_LATEX_TITLES = {"k/k_opt %": r"$k/k_\mathrm{opt}$ [\%]", "c": "$c$", "T": "$T$", "T + affinity": "$T$ + affinity"}
_LATEX_TITLES |= {BLOCK_SIZE: "$b$", "p": "$p$"}


def render_latex(panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str]) -> str:
    """One ``table*`` per panel, to be included in a document that loads booktabs."""
    out = [LATEX_HEAD]
    for panel in panels:
        text = " ".join([f"{panel.title}." if panel.title else "", *caption]).strip()
        label = re.sub(r"[^a-z0-9]+", "-", panel.title.lower()).strip("-") or "table"
        notes = escape_latex(" ".join([*panel.notes, *remarks]))
        tabulars = "\n\\par\\medskip\n".join(map(_latex_tabular, _fitting(_brief(panel), LATEX_WIDTH)))
        below = f"\\par\\medskip\\begin{{minipage}}{{\\textwidth}}{notes}\\end{{minipage}}\n" if notes else ""
        # If graphicx is missing, the table is set as wide as it is.
        out.append(rf"""\begin{{table*}}[tp]
\caption{{{escape_latex(text)}}}
\label{{tab:{label}}}
\centering\scriptsize\setlength{{\tabcolsep}}{{3pt}}
\providecommand{{\resizebox}}[3]{{#3}}
{tabulars}
{below}\end{{table*}}""")
    return "\n\n".join(out) + "\n"


def _latex_tabular(panel: Panel) -> str:
    widths = [len(group.columns) for group in panel.groups]
    spec = "l" + "".join("r" if head in (BLOCK_SIZE, RANK) else "l" for head in panel.stub) + "r" * sum(widths)
    starts = itertools.accumulate(widths, initial=len(panel.stub) + 2)
    rules = " ".join(rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start, width in zip(starts, widths))
    heads = [rf"\multicolumn{{{w}}}{{c}}{{{escape_latex(g.title)}}}" for w, g in zip(widths, panel.groups)]
    titles = ["Category", *panel.stub, *(c for g in panel.groups for c in g.columns)]
    body = []
    for category, line in _by_category(panel):
        body += [r"\midrule"] * bool(category)
        cells = [escape_latex(text) for text in (category, *line.stub)]
        for entry, width in zip(line.entries, widths):
            if isinstance(entry, str):
                cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(entry)}}}")
            else:
                # The interval is secondary: smaller, below the line.
                cells += [re.sub(r" ?\$\\pm\$([\d.]+)", r"\\,$_{\\pm\1}$", escape_latex(text)) for text in entry]
        body.append(" & ".join(cells) + r" \\")
    return "\n".join(
        [
            r"\sbox0{%",
            rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}",
            r"\toprule",
            "& " * (len(panel.stub) + 1) + " & ".join(heads) + r" \\",
            rules,
            " & ".join(_LATEX_TITLES.get(title) or escape_latex(title) for title in titles) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi",
        ]
    )
