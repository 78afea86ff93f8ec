"""What stands under a table: marks explained, failures and their reasons, cells with other pairs than their neighbours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from semrsm_bench.report.catalogue import Catalogue
from semrsm_bench.report.cells import BlockKey, Cell, SolverKey
from semrsm_bench.report.formatting import plural

UNDEFINED = "*"
PARTIAL = "†"

Cells = Mapping[tuple[BlockKey, SolverKey], Cell]


def failure_text(cell: Cell) -> str:
    """What stands in a cell without a figure: the status, and for a skip its reason where that is short."""
    if not cell.failure:
        return "not run"
    reason = cell.message.split(":")[0].split(";")[0].split("(")[0].strip().rstrip(".")
    return f"{cell.failure}: {reason}" if cell.failure == "skipped" and 0 < len(reason) <= 40 else cell.failure


def is_partial(cell: Cell, usual_pairs: int) -> bool:
    """Whether a cell rests on other pairs than its neighbours: some failed, or fewer (or more) were tried."""
    return bool(cell.ok) and (bool(cell.failures) or cell.ok != usual_pairs)


def panel_notes(
    cells: Cells,
    blocks: Sequence[BlockKey],
    solvers: Sequence[SolverKey],
    usual_pairs: Mapping[BlockKey, int],
    catalogue: Catalogue,
) -> list[str]:
    """Sentences under the panel that shows these blocks and solvers."""
    present = [(s, b, cells[b, s]) for s in solvers for b in blocks if (b, s) in cells]
    notes = []
    undefined = [_undefined(block, blocks, [cell for _, b, cell in present if b == block]) for block in blocks]
    if any(undefined):
        told = "; ".join(text for text in undefined if text)
        notes.append(f"{UNDEFINED} k_opt is not positive in some pairs, where k/k_opt means nothing; use c ({told}).")
    if any(cell.quality_is_bound or cell.chance_corrected_is_bound for _, _, cell in present):
        notes.append("≥ certified lower bound: the optimum is not known, only an upper bound of it.")
    partial = []
    for solver, block, cell in present:
        if is_partial(cell, usual_pairs[block]):
            place = _difference(block, blocks)
            partial.append(f"{catalogue.display_name(solver)}{f', {place}' if place else ''}: {_solved(cell)}")
    if partial:
        notes.append(f"{PARTIAL} not the same pairs as the others: {'; '.join(partial)}.")
    return notes + _reasons(present, blocks, catalogue)


def _undefined(block: BlockKey, blocks: Sequence[BlockKey], cells: Sequence[Cell]) -> str:
    """How many pairs of a block have no positive k_opt; the optimum is the pair's, so every solver has the same."""
    worst = max(cells, key=lambda cell: cell.undefined, default=None)
    if worst is None or not worst.undefined:
        return ""
    place = _difference(block, blocks)
    return f"{place}: {worst.undefined} of {worst.ok}" if place else f"{worst.undefined} of {worst.ok}"


def _solved(cell: Cell) -> str:
    if set(cell.failures) == {"skipped"} and cell.message:
        return cell.message
    text = f"{cell.ok} of {cell.pairs} pairs" if cell.pairs > cell.ok else plural(cell.ok, "pair")
    failures = ", ".join(f"{count} {status}" for status, count in cell.failures.items())
    return text + (
        f" ({failures}: {cell.message})" if failures and cell.message else f" ({failures})" if failures else ""
    )


def _reasons(
    present: Sequence[tuple[SolverKey, BlockKey, Cell]], blocks: Sequence[BlockKey], catalogue: Catalogue
) -> list[str]:
    """Why cells are empty, each reason once with the cells it is true of; a reason that the cell itself tells is left out."""
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for solver, block, cell in present:
        reason = f"{cell.failure}: {cell.message.rstrip('.')}"
        if not cell.ok and cell.message and reason != failure_text(cell):
            reasons[reason][catalogue.display_name(solver)].append(_difference(block, blocks))
    notes = []
    for reason, solvers in reasons.items():
        places = "; ".join(f"{name} ({', '.join(p)})" if any(p) else name for name, p in solvers.items())
        notes.append(f"{reason} — {places}.")
    return notes


def _difference(block: BlockKey, blocks: Sequence[BlockKey]) -> str:
    """What tells a block from the others of its panel; "" for the only one."""
    if len(blocks) == 1:
        return ""
    if len({b.centring for b in blocks}) > 1:
        return block.centring
    return f"S = {block.size}" if len({b.size for b in blocks}) == len(blocks) else block.layer
