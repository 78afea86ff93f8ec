"""One progress bar for everything that takes over a second."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(
    total: int | None, description: str, *, unit: str = "it", initial: int = 0, quiet: bool = False
) -> tqdm[Any]:
    """Progress bar with time left on standard error; in a log a line only every half minute, so that logs stay short."""
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        initial=initial,
        disable=quiet,
        file=sys.stderr,
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else 30.0,
        maxinterval=10.0 if terminal else 60.0,
    )
