"""Panels -> a terminal, Markdown, LaTeX. Each writer takes the same panels and caption and decides nothing else."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from semrsm_bench.report.escape import complexity_latex, escape_latex, escape_markdown
from semrsm_bench.report.formatting import NOTHING
from semrsm_bench.report.layout import BLOCK_SIZE, COMPLEXITY, Line, Panel

GAP = "  "
GROUP_GAP = "   "


def render_text(
    panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str], width: int, heading: str = ""
) -> str:
    """Aligned columns for a terminal; panels wider than ``width`` lose the complexity, then are split by their groups."""
    panels, shared = shared_notes(panels)
    # ``4.26 ±0.05 ms`` as ``4.26±0.05 ms``: two centrings fit into 120 columns.
    tight = _each(lambda entries: tuple(text.replace(" ±", "±") for text in entries))
    narrow = [_rewritten(_brief(panel), entries=tight) for panel in panels]
    wrap = max(width, 40)
    parts = [_text_panel(part, wrap) for panel in narrow for part in _fit(panel, width)]
    footer = ["\n".join(textwrap.wrap(s, wrap, break_long_words=False)) for s in [*caption, *shared, *remarks]]
    head = [f"━━━ {heading} ".ljust(width, "━")[: max(width, len(heading) + 5)]] if heading else []
    return "\n\n".join([*head, *parts, "\n".join(footer)]) + "\n"


def shared_notes(panels: Sequence[Panel]) -> tuple[list[Panel], list[str]]:
    """Panels without the notes that all of them have, and those notes."""
    if len(panels) < 2:
        return list(panels), []
    shared = [note for note in panels[0].notes if all(note in panel.notes for panel in panels)]
    return [replace(panel, notes=tuple(n for n in panel.notes if n not in shared)) for panel in panels], shared


def _rewritten(panel: Panel, stub: Callable[[Any], Any] = tuple, entries: Callable[[Any], Any] = tuple) -> Panel:
    """The panel with the stub and the entries of every line changed."""
    lines = tuple(replace(line, stub=stub(line.stub), entries=entries(line.entries)) for line in panel.lines)
    return replace(panel, lines=lines)


def _brief(panel: Panel) -> Panel:
    """Of a complexity the first clause."""
    heads = panel.stub
    return _rewritten(panel, lambda stub: tuple(t.split(",")[0] if h == COMPLEXITY else t for h, t in zip(heads, stub)))


def _each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The change for the entries of every group; a text that spans a group stays."""
    return lambda groups: tuple(e if isinstance(e, str) else change(e) for e in groups)


def _widths(panel: Panel) -> tuple[list[int], list[list[int]]]:
    """Characters of the columns of the stub, and of those of each group."""
    stub = [max(map(len, column)) for column in zip(panel.stub, *(line.stub for line in panel.lines))]
    widths = []
    for group, *cells in zip(panel.groups, *(line.entries for line in panel.lines)):
        own = [max(map(len, c)) for c in zip(group.columns, *(e for e in cells if not isinstance(e, str)))]
        spanning = max(len(group.title), *(len(e) for e in cells if isinstance(e, str)), 0)
        own[-1] += max(0, spanning - _span(own))
        widths.append(own)
    return stub, widths


def _span(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _total(panel: Panel) -> int:
    stub, groups = _widths(panel)
    return _span(stub) + sum(_span(own) + len(GROUP_GAP) for own in groups)


def _fit(panel: Panel, width: int) -> list[Panel]:
    """The panel in parts that fit, without its complexity where it does not fit as a whole."""
    if not panel.lines or _total(panel) <= width:
        return [panel] if panel.lines else []
    kept = [i for i, head in enumerate(panel.stub) if head != COMPLEXITY]
    narrow = _rewritten(panel, lambda stub: tuple(stub[i] for i in kept))
    panel = replace(narrow, stub=tuple(panel.stub[i] for i in kept))
    parts = _split(panel, width)
    if len(parts) == len(panel.groups) > 1 and len({group.columns for group in panel.groups}) == 1:
        parts = [_stacked(panel)]
    return [thin for part in parts for thin in (_narrowed(part, width) if len(part.groups) == 1 else [part])]


def _split(panel: Panel, width: int) -> list[Panel]:
    """The panel cut between its groups; one of the paper's figures stays beside the one before it where the two fit."""

    def part(start: int, stop: int) -> Panel:
        return replace(_rewritten(panel, entries=lambda e: e[start:stop]), groups=panel.groups[start:stop])

    starts = [i for i, group in enumerate(panel.groups) if not group.beside]
    parts, fits = _fewest(starts, len(panel.groups), part, width)
    return parts if fits else _fewest(range(len(panel.groups)), len(panel.groups), part, width)[0]


def _narrowed(panel: Panel, width: int) -> list[Panel]:
    """A panel of one group cut between its columns."""
    (group,) = panel.groups

    def part(start: int, stop: int) -> Panel:
        cut = _rewritten(panel, entries=_each(lambda e: e[start:stop]))
        return replace(cut, groups=(replace(group, columns=group.columns[start:stop]),))

    return _fewest(range(len(group.columns)), len(group.columns), part, width)[0]


def _fewest(starts: Sequence[int], end: int, part: Callable[[int, int], Panel], width: int) -> tuple[list[Panel], bool]:
    """As few parts of about equal size as fit, and whether they do; notes stand under the last one."""
    parts, fits = [part(0, end)], False
    for count in range(1, len(starts) + 1):
        cuts = [starts[round(i * len(starts) / count)] for i in range(count)]
        parts = [part(a, b) for a, b in itertools.pairwise([*cuts, end])]
        if fits := all(_total(one) <= width for one in parts):
            break
    return [*(replace(one, notes=()) for one in parts[:-1]), parts[-1]], fits


def _stacked(panel: Panel) -> Panel:
    """The groups below each other, under one heading of columns: where no two fit side by side."""
    lines = [
        replace(line, category=f"{group.title}: {line.category}", entries=(line.entries[i],))
        for i, group in enumerate(panel.groups)
        for line in panel.lines
    ]
    return replace(panel, groups=(replace(panel.groups[0], title=""),), lines=tuple(lines))


def _by_category(panel: Panel) -> Iterator[tuple[str, list[Line]]]:
    return (
        (category, list(lines)) for category, lines in itertools.groupby(panel.lines, key=lambda line: line.category)
    )


def _text_panel(panel: Panel, width: int) -> str:
    stub_widths, widths = _widths(panel)
    spans, total = [_span(own) for own in widths], _total(panel)

    def row(stub: Sequence[str], groups: Sequence[Sequence[str] | str]) -> str:
        # The block size is a number and stands to the right; names to the left.
        names = [v.rjust(w) if head == BLOCK_SIZE else v.ljust(w) for head, v, w in zip(panel.stub, stub, stub_widths)]
        cells = [
            e.center(span) if isinstance(e, str) else GAP.join(v.rjust(w) for v, w in zip(e, own))
            for e, own, span in zip(groups, widths, spans)
        ]
        return GROUP_GAP.join([GAP.join(names), *cells])

    out = textwrap.wrap(panel.title, width, break_long_words=False)
    titles = [group.title for group in panel.groups]
    if any(titles):
        heads = [f" {t} ".center(s, "─") if len(t) + 2 <= s else t for t, s in zip(titles, spans)]
        out.append(row([""] * len(panel.stub), heads))
    out.append(row(panel.stub, [group.columns for group in panel.groups]))
    for category, lines in _by_category(panel):
        out += [f"─ {category} ".ljust(total, "─"), *(row(line.stub, line.entries) for line in lines)]
    out.append("─" * total)
    for note in panel.notes:
        out += textwrap.wrap(note, width, subsequent_indent="  ", break_long_words=False)
    return "\n".join(line.rstrip() for line in out)


def render_markdown(panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str], heading: str = "") -> str:
    """Pipe tables with their notes and the caption below."""
    panels, shared = shared_notes(panels)

    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    out = [f"## {escape_markdown(heading)}", ""] if heading else []
    for panel in panels:
        if panel.title:
            out += [f"**{escape_markdown(panel.title)}**", ""]
        names = [escape_markdown(t) for t in ("Category", *panel.stub)]
        head = [f"{escape_markdown(g.title)}<br>{escape_markdown(c)}" for g in panel.groups for c in g.columns]
        rules = [" --: " if name == BLOCK_SIZE else " :-- " for name in names] + [" --: "] * len(head)
        out += [row([*names, *head]), f"|{'|'.join(rules)}|"]
        for category, lines in _by_category(panel):
            for line, title in zip(lines, itertools.chain([category], itertools.repeat(""))):
                cells = [title, *line.stub, *_flat(line, panel)]
                out.append(row([escape_markdown(c).replace(" ±", " ± ") for c in cells]))
        out += ["", *(text for note in panel.notes for text in (escape_markdown(note), ""))]
    return "\n".join([*out, escape_markdown(" ".join([*caption, *shared, *remarks]))]) + "\n"


def _flat(line: Line, panel: Panel) -> list[str]:
    """Entries of all groups in a row; a text that spans a group stands in its last column."""
    return [
        text
        for entry, group in zip(line.entries, panel.groups)
        for text in ([NOTHING] * (len(group.columns) - 1) + [entry] if isinstance(entry, str) else entry)
    ]


LATEX_HEAD = r"""% \usepackage{booktabs} is needed; with \usepackage{graphicx} a table wider than the text is scaled down to fit."""
# Characters that fit into the width of a page in the smallest legible print.
LATEX_WIDTH = 175
_LATEX_TITLES = {"k/k_opt %": r"$k/k_\mathrm{opt}$ [\%]", "c": "$c$", "T": "$T$", "T + affinity": "$T$ + affinity"}
_LATEX_TITLES |= {BLOCK_SIZE: "$b$", "p": "$p$"}


def render_latex(panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str]) -> str:
    """One ``table*`` per panel, to be included in a document that loads booktabs."""
    return "\n\n".join([LATEX_HEAD, *(_latex_panel(panel, caption, remarks) for panel in panels)]) + "\n"


def _latex_panel(panel: Panel, caption: Sequence[str], remarks: Sequence[str]) -> str:
    text = " ".join([f"{panel.title}." if panel.title else "", *caption]).strip()
    label = re.sub(r"[^a-z0-9]+", "-", panel.title.lower()).strip("-") or "table"
    notes = escape_latex(" ".join([*panel.notes, *remarks]))
    tabulars = "\n\\par\\medskip\n".join(map(_latex_tabular, _split(_brief(panel), LATEX_WIDTH)))
    below = f"\\par\\medskip\\begin{{minipage}}{{\\textwidth}}{notes}\\end{{minipage}}\n" if notes else ""
    # Without graphicx the table is set as wide as it is.
    return rf"""\begin{{table*}}[tp]
\caption{{{escape_latex(text)}}}
\label{{tab:{label}}}
\centering\scriptsize\setlength{{\tabcolsep}}{{3pt}}
\providecommand{{\resizebox}}[3]{{#3}}
{tabulars}
{below}\end{{table*}}"""


def _latex_tabular(panel: Panel) -> str:
    def title(text: str) -> str:
        return _LATEX_TITLES.get(text) or escape_latex(text)

    widths = [len(group.columns) for group in panel.groups]
    spec = "l" + "".join("r" if head == BLOCK_SIZE else "l" for head in panel.stub) + "r" * sum(widths)
    starts = itertools.accumulate(widths, initial=len(panel.stub) + 2)
    rules = " ".join(rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start, width in zip(starts, widths))
    heads = [rf"\multicolumn{{{w}}}{{c}}{{{escape_latex(g.title)}}}" for w, g in zip(widths, panel.groups)]
    titles = ["Category", *map(title, panel.stub), *(title(c) for g in panel.groups for c in g.columns)]
    body = []
    for category, lines in _by_category(panel):
        body.append(r"\midrule")
        for line, name in zip(lines, itertools.chain([category], itertools.repeat(""))):
            writers = [complexity_latex if head == COMPLEXITY else escape_latex for head in panel.stub]
            stub = [escape_latex(name), *(write(text) for write, text in zip(writers, line.stub))]
            body.append(" & ".join([*stub, *_latex_entries(line, widths)]) + r" \\")
    return "\n".join(
        [
            r"\sbox0{%",
            rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}",
            r"\toprule",
            "& " * (len(panel.stub) + 1) + " & ".join(heads) + r" \\",
            rules,
            " & ".join(titles) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi",
        ]
    )


def _latex_entries(line: Line, widths: Sequence[int]) -> Iterator[str]:
    for entry, width in zip(line.entries, widths):
        if isinstance(entry, str):
            yield rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(entry)}}}"
        else:
            # The interval is secondary: smaller, below the line.
            yield from (re.sub(r" \$\\pm\$([\d.]+)", r"\\,$_{\\pm\1}$", escape_latex(text)) for text in entry)
