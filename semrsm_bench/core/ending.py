"""How a process ended, in words: the same for workers and for the programs that solvers run."""

from __future__ import annotations

import signal
from typing import Literal

LONGEST_SAID = 8192


def how_it_ended(code: int, output: str) -> tuple[Literal["crashed", "memory"], str]:
    """The status and the reason, from the exit code (below 0: a signal's number) and the end of what the process printed."""
    said = output.strip().rpartition("\n")[2].strip()[:200]
    if "bad_alloc" in said or "MemoryError" in said:
        return "memory", f"out of memory: {said}"
    names = {int(s): s.name for s in signal.Signals}
    how = f"killed by {names.get(-code, f'signal {-code}')}" if code < 0 else f"exited with code {code}"
    return "crashed", f"{how}: {said}" if said else how
