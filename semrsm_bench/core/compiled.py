"""Numba's ``njit`` with compiled code kept on disk, also where neither the package nor the home can be written."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

import numba

from semrsm_bench.core.files import explain, temporary_folder

F = TypeVar("F", bound=Callable[..., Any])


def _say_at_terminal() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("semrsm-bench: compiling, once for this installation: some 15 s\n")


# Called once a process, before the first function is compiled: a worker has no terminal, and tells its parent.
tell: Callable[[], None] = _say_at_terminal


def njit(**options: Any) -> Callable[[F], F]:
    """Compile a function on its first call, without the GIL, and keep what was compiled for later processes.

    Where numba finds no folder to keep it in, a folder of this user's in the system's temporary one serves, with a warning. Where
    the folder fills up later, compiled code stays in memory, with a warning.
    """
    compiled: Callable[[F], F] = numba.njit(nogil=True, cache=True, **options)

    def decorate(function: F) -> F:
        try:
            made = compiled(function)
        except RuntimeError:
            config: Any = numba.config
            config.CACHE_DIR = str(temporary_folder("compiled"))
            warnings.warn(
                f"neither the package's folder nor the user's cache can be written: compiled code is kept in {config.CACHE_DIR}; "
                "set NUMBA_CACHE_DIR to a folder that stays",
                RuntimeWarning,
                stacklevel=3,
            )
            made = compiled(function)
        if hasattr(made, "_cache"):  # not under NUMBA_DISABLE_JIT
            made._cache.load_overload = partial(_loaded, made._cache.load_overload)
            made._cache.save_overload = partial(_unless_the_disk_fails, made._cache.save_overload)
        return made

    return decorate


def set_up() -> None:
    """Have numba set itself up, which takes half a second of the first compiled function of a process; its copies have it then."""
    compiled: Any = numba.njit(_nothing)
    compiled()


def _nothing() -> None:
    """Compiled in no time, and kept nowhere."""


def _unless_the_disk_fails(access: Callable[..., Any], *given: Any) -> Any:
    """What numba's cache answers, or None: compiled and not kept."""
    try:
        return access(*given)
    except OSError as error:
        _warn_once(explain(OSError(error.errno, error.strerror)))
        return None


def _loaded(access: Callable[..., Any], *given: Any) -> Any:
    """What numba's cache answers; where that is nothing, whoever waits learns what takes so long."""
    found = _unless_the_disk_fails(access, *given)
    if found is None:
        _tell_once()
    return found


@cache
def _tell_once() -> None:
    tell()


@cache
def _warn_once(reason: str) -> None:
    text = f"compiled code is kept in memory, for this process alone: {reason}; or set NUMBA_CACHE_DIR to a folder with room"
    warnings.warn(text, RuntimeWarning, stacklevel=3)
