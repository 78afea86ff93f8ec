"""Panels -> a terminal, Markdown, LaTeX. Each writer takes the same panels and caption and decides nothing else."""

from __future__ import annotations

import dataclasses
import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence

from semrsm_bench.report.formatting import NOTHING, complexity_latex, escape_latex, escape_markdown
from semrsm_bench.report.layout import BLOCK_SIZE, COMPLEXITY, Line, Panel

GAP = "  "
GROUP_GAP = "   "


def render_text(
    panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str], width: int, heading: str = ""
) -> str:
    """Aligned columns for a terminal; panels wider than ``width`` lose the complexity, then are split by their groups."""
    panels, shared = shared_notes(panels)
    remarks = [*shared, *remarks]
    parts = [_text_panel(part) for panel in panels for part in _fit(_tightened(_brief(panel)), width)]
    footer = ["\n".join(textwrap.wrap(s, max(width, 40), break_long_words=False)) for s in [*caption, *remarks]]
    head = [f"━━━ {heading} ".ljust(width, "━")[: max(width, len(heading) + 5)]] if heading else []
    return "\n\n".join([*head, *parts, "\n".join(footer)]) + "\n"


def shared_notes(panels: Sequence[Panel]) -> tuple[list[Panel], list[str]]:
    """Panels without the notes that all of them have, and those notes."""
    if len(panels) < 2:
        return list(panels), []
    shared = [note for note in panels[0].notes if all(note in panel.notes for panel in panels)]
    return [
        dataclasses.replace(panel, notes=tuple(n for n in panel.notes if n not in shared)) for panel in panels
    ], shared


def _brief(panel: Panel) -> Panel:
    """Of a complexity the first clause."""
    lines = [
        dataclasses.replace(
            line, stub=tuple(t.split(",")[0] if head == COMPLEXITY else t for head, t in zip(panel.stub, line.stub))
        )
        for line in panel.lines
    ]
    return dataclasses.replace(panel, lines=tuple(lines))


def _tightened(panel: Panel) -> Panel:
    """``4.26 ±0.05 ms`` as ``4.26±0.05 ms``: two centrings fit into 120 columns."""
    lines = [
        dataclasses.replace(
            line,
            entries=tuple(e if isinstance(e, str) else tuple(x.replace(" ±", "±") for x in e) for e in line.entries),
        )
        for line in panel.lines
    ]
    return dataclasses.replace(panel, lines=tuple(lines))


@dataclasses.dataclass(frozen=True)
class _TextPanel:
    panel: Panel
    stub: tuple[int, ...]
    width: int

    @property
    def stub_widths(self) -> list[int]:
        return [max(len(self.panel.stub[i]), *(len(line.stub[i]) for line in self.panel.lines)) for i in self.stub]

    @property
    def column_widths(self) -> list[list[int]]:
        widths = []
        for g, group in enumerate(self.panel.groups):
            cells = [line.entries[g] for line in self.panel.lines]
            own = [
                max(len(t), *(len(e[c]) for e in cells if not isinstance(e, str)), 0)
                for c, t in enumerate(group.columns)
            ]
            spanning = max(len(group.title), *(len(e) for e in cells if isinstance(e, str)), 0)
            own[-1] += max(0, spanning - sum(own) - len(GAP) * (len(own) - 1))
            widths.append(own)
        return widths

    @property
    def total(self) -> int:
        groups = sum(sum(w) + len(GAP) * (len(w) - 1) + len(GROUP_GAP) for w in self.column_widths)
        return sum(self.stub_widths) + len(GAP) * (len(self.stub) - 1) + groups


def _fit(panel: Panel, width: int) -> Iterator[_TextPanel]:
    if not panel.lines:
        return
    stub = tuple(range(len(panel.stub)))
    whole = _TextPanel(panel, stub, width)
    if whole.total <= width:
        yield whole
        return
    stub = tuple(i for i in stub if panel.stub[i] != COMPLEXITY)
    parts = _split(panel, width, stub)
    same = {group.columns for group in panel.groups}
    if len(parts) == len(panel.groups) > 1 and len(same) == 1:
        parts = [_stacked(panel)]
    for part in parts:
        yield from (_TextPanel(narrow, stub, width) for narrow in _narrowed(part, width, stub))


def _narrowed(panel: Panel, width: int, stub: tuple[int, ...]) -> list[Panel]:
    """A panel of one group that is too wide in as few parts of about equal numbers of columns as fit."""
    columns = len(panel.groups[0].columns)
    parts = [panel]
    if len(panel.groups) > 1:
        return parts
    for count in range(1, columns + 1):
        cuts = [round(i * columns / count) for i in range(count + 1)]
        parts = [_columns(panel, a, b) for a, b in itertools.pairwise(cuts)]
        if all(_TextPanel(part, stub, width).total <= width for part in parts):
            break
    return _noted_last(parts)


def _columns(panel: Panel, start: int, stop: int) -> Panel:
    (group,) = panel.groups
    lines = [
        dataclasses.replace(line, entries=tuple(e if isinstance(e, str) else e[start:stop] for e in line.entries))
        for line in panel.lines
    ]
    group = dataclasses.replace(group, columns=group.columns[start:stop])
    return dataclasses.replace(panel, groups=(group,), lines=tuple(lines))


def _noted_last(parts: Sequence[Panel]) -> list[Panel]:
    return [*(dataclasses.replace(part, notes=()) for part in parts[:-1]), *parts[-1:]]


def _stacked(panel: Panel) -> Panel:
    """The groups below each other, under one heading of columns: where no two fit side by side."""
    lines = [
        dataclasses.replace(line, category=f"{group.title}: {line.category}", entries=(line.entries[i],))
        for i, group in enumerate(panel.groups)
        for line in panel.lines
    ]
    return dataclasses.replace(panel, groups=(dataclasses.replace(panel.groups[0], title=""),), lines=tuple(lines))


def _split(panel: Panel, width: int, stub: tuple[int, ...]) -> list[Panel]:
    """The panel in as few parts of about equal numbers of groups as stay within ``width`` characters.

    A group of the paper's figures stays beside the one before it, and the notes stand under the last part.
    """
    parts: list[Panel] = [panel]
    # Only where it does not fit beside the other does such a group stand alone.
    for starts in ([i for i, group in enumerate(panel.groups) if not group.beside], list(range(len(panel.groups)))):
        for count in range(1, len(starts) + 1):
            cuts = [starts[round(i * len(starts) / count)] for i in range(count)]
            parts = [_part(panel, a, b) for a, b in itertools.pairwise([*cuts, len(panel.groups)])]
            if all(_TextPanel(part, stub, width).total <= width for part in parts):
                break
        else:
            continue
        break
    return _noted_last(parts)


def _part(panel: Panel, start: int, stop: int) -> Panel:
    lines = tuple(dataclasses.replace(line, entries=line.entries[start:stop]) for line in panel.lines)
    return dataclasses.replace(panel, groups=panel.groups[start:stop], lines=lines)


def _text_panel(text: _TextPanel) -> str:
    panel, stub_widths, widths = text.panel, text.stub_widths, text.column_widths
    stub_width = sum(stub_widths) + len(GAP) * (len(stub_widths) - 1)
    spans = [sum(w) + len(GAP) * (len(w) - 1) for w in widths]

    def stub(values: Sequence[str]) -> str:
        # The block size is a number and stands to the right; names to the left.
        chosen = [values[i] for i in text.stub]
        numbers = [panel.stub[i] == BLOCK_SIZE for i in text.stub]
        return GAP.join(v.rjust(w) if n else v.ljust(w) for n, v, w in zip(numbers, chosen, stub_widths))

    heads = [
        f" {g.title} ".center(s, "─") if len(g.title) + 2 <= s else g.title.center(s)
        for g, s in zip(panel.groups, spans)
    ]
    title = textwrap.wrap(panel.title, max(text.width, 40), break_long_words=False)
    out = [*title, *([GROUP_GAP.join([" " * stub_width, *heads])] if any(g.title for g in panel.groups) else [])]
    columns = [GAP.join(c.rjust(w) for c, w in zip(g.columns, ws)) for g, ws in zip(panel.groups, widths)]
    out.append(GROUP_GAP.join([stub(panel.stub), *columns]))
    for category, lines in itertools.groupby(panel.lines, key=lambda line: line.category):
        out.append(f"─ {category} ".ljust(text.total, "─"))
        out += [GROUP_GAP.join([stub(line.stub), *_text_entries(line, widths, spans)]) for line in lines]
    out.append("─" * text.total)
    for note in panel.notes:
        out += textwrap.wrap(note, max(text.width, 40), subsequent_indent="  ", break_long_words=False)
    return "\n".join(line.rstrip() for line in out)


def _text_entries(line: Line, widths: Sequence[Sequence[int]], spans: Sequence[int]) -> list[str]:
    return [
        entry.center(span) if isinstance(entry, str) else GAP.join(e.rjust(w) for e, w in zip(entry, ws))
        for entry, ws, span in zip(line.entries, widths, spans)
    ]


def render_markdown(panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str], heading: str = "") -> str:
    """Pipe tables with their notes and the caption below."""
    panels, shared = shared_notes(panels)
    remarks = [*shared, *remarks]
    out = [f"## {escape_markdown(heading)}", ""] if heading else []
    for panel in panels:
        if panel.title:
            out += [f"**{escape_markdown(panel.title)}**", ""]
        names = [escape_markdown(t) for t in ("Category", *panel.stub)]
        head = [f"{escape_markdown(g.title)}<br>{escape_markdown(c)}" for g in panel.groups for c in g.columns]
        out.append("| " + " | ".join([*names, *head]) + " |")
        out.append("|" + "|".join([_rule(t) for t in names] + [" --: "] * len(head)) + "|")
        for category, lines in itertools.groupby(panel.lines, key=lambda line: line.category):
            for i, line in enumerate(lines):
                cells = [category if i == 0 else "", *line.stub, *_flat(line, panel)]
                out.append("| " + " | ".join(escape_markdown(c).replace(" ±", " ± ") for c in cells) + " |")
        out.append("")
        for note in panel.notes:
            out += [escape_markdown(note), ""]
    out += [escape_markdown(" ".join([*caption, *remarks]))]
    return "\n".join(out) + "\n"


def _rule(head: str) -> str:
    return " --: " if head == BLOCK_SIZE else " :-- "


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


def render_latex(panels: Sequence[Panel], caption: Sequence[str], remarks: Sequence[str]) -> str:
    """One ``table*`` per panel, to be included in a document that loads booktabs."""
    return "\n\n".join([LATEX_HEAD, *(_latex_panel(panel, caption, remarks) for panel in panels)]) + "\n"


def _latex_panel(panel: Panel, caption: Sequence[str], remarks: Sequence[str]) -> str:
    text = " ".join([f"{panel.title}." if panel.title else "", *caption]).strip()
    label = re.sub(r"[^a-z0-9]+", "-", panel.title.lower()).strip("-") or "table"
    notes = " ".join([*panel.notes, *remarks])
    return "\n".join(
        [
            r"\begin{table*}[tp]",
            rf"\caption{{{escape_latex(text)}}}",
            rf"\label{{tab:{label}}}",
            r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
            # Without graphicx the table is set as wide as it is.
            r"\providecommand{\resizebox}[3]{#3}",
            "\n\\par\\medskip\n".join(
                _latex_tabular(part) for part in _split(_brief(panel), LATEX_WIDTH, tuple(range(len(panel.stub))))
            ),
            *([rf"\par\medskip\begin{{minipage}}{{\textwidth}}{escape_latex(notes)}\end{{minipage}}"] if notes else []),
            r"\end{table*}",
        ]
    )


def _latex_tabular(panel: Panel) -> str:
    spec = "l" + "".join("r" if head == BLOCK_SIZE else "l" for head in panel.stub)
    spec += "".join("r" * len(group.columns) for group in panel.groups)
    rules, position = [], len(panel.stub) + 2
    for group in panel.groups:
        rules.append(rf"\cmidrule(lr){{{position}-{position + len(group.columns) - 1}}}")
        position += len(group.columns)
    heads = [rf"\multicolumn{{{len(g.columns)}}}{{c}}{{{escape_latex(g.title)}}}" for g in panel.groups]
    titles = ["Category", *map(_latex_title, panel.stub)] + [_latex_title(c) for g in panel.groups for c in g.columns]
    body = []
    for category, lines in itertools.groupby(panel.lines, key=lambda line: line.category):
        body.append(r"\midrule")
        for i, line in enumerate(lines):
            stub = [
                escape_latex(category) if i == 0 else "",
                *(
                    complexity_latex(text) if head == COMPLEXITY else escape_latex(text)
                    for head, text in zip(panel.stub, line.stub)
                ),
            ]
            body.append(" & ".join([*stub, *_latex_entries(line, panel)]) + r" \\")
    return "\n".join(
        [
            r"\sbox0{%",
            rf"\begin{{tabular}}{{@{{}}{spec}@{{}}}}",
            r"\toprule",
            "& " * (len(panel.stub) + 1) + " & ".join(heads) + r" \\",
            " ".join(rules),
            " & ".join(titles) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi",
        ]
    )


_LATEX_TITLES = {"k/k_opt %": r"$k/k_\mathrm{opt}$ [\%]", "c": "$c$", "T": "$T$", "T + affinity": "$T$ + affinity"}
_LATEX_TITLES |= {BLOCK_SIZE: "$b$", "p": "$p$"}


def _latex_title(title: str) -> str:
    return _LATEX_TITLES.get(title) or escape_latex(title)


def _latex_entries(line: Line, panel: Panel) -> list[str]:
    out = []
    for entry, group in zip(line.entries, panel.groups):
        if isinstance(entry, str):
            out.append(rf"\multicolumn{{{len(group.columns)}}}{{c}}{{{escape_latex(entry)}}}")
        else:
            # The interval is secondary: smaller, below the line.
            out += [re.sub(r" \$\\pm\$([\d.]+)", r"\\,$_{\\pm\1}$", escape_latex(text)) for text in entry]
    return out
