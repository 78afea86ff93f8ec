"""Numba's ``njit`` with compiled code kept on disk, also where neither the package nor the home can be written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba

from semrsm_bench.core.files import temporary_folder


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function on its first call, without the GIL, and keep what was compiled for later processes.

    Where numba finds no folder to keep it in, a folder of this user's in the system's temporary one serves, with a warning.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:
            config: Any = numba.config
            config.CACHE_DIR = str(temporary_folder("compiled"))
            warnings.warn(
                f"neither the package's folder nor the user's cache can be written: compiled code is kept in {config.CACHE_DIR}; "
                "set NUMBA_CACHE_DIR to a folder that stays",
                RuntimeWarning,
                stacklevel=3,
            )
            return numba.njit(nogil=True, cache=True, **options)(function)

    return decorate
