"""Files: locks, atomic writes, and errors that say what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

_ADVICE = {
    errno.ENOSPC: "the disk is full: make room and run the same command again, what was written so far is kept",
    errno.EDQUOT: "the quota is used up: make room and run the same command again, what was written so far is kept",
    errno.EFBIG: "the file grew beyond a limit (ulimit -f): raise it and run the same command again",
    errno.EROFS: "it is on a read-only file system: choose another folder",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.EMFILE: "too many open files (ulimit -n): raise the limit and run the same command again",
    errno.ENFILE: "too many open files in the whole system: close something and run the same command again",
    errno.ENOMEM: "no memory is left: close something and run the same command again",
    errno.EAGAIN: "too many processes or threads (ulimit -u): raise the limit and run the same command again",
    errno.EIO: "the disk failed",
}
# Errors of a machine that lacks something. Libraries say them in words, some without the number.
_LACKS = _ADVICE.keys() - {errno.ENAMETOOLONG}
_WORDS = (*map(os.strerror, _LACKS), "can't start new thread")


class MachineError(OSError):
    """The machine failed, not what ran on it."""


def lock(descriptor: int, path: Path) -> bool:
    """Lock an open file for this process alone; False where another process holds it.

    On a file system without locks True, after one warning for each folder.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):  # what a file system without locks says
            raise
        _warn_of_no_locks(path.parent)
    return True


def explain(error: OSError) -> str:
    """What went wrong with which file, and what to do, in one line."""
    reason = _ADVICE.get(_number(error), error.strerror or str(error))
    return f"{error.filename}: {reason}" if error.filename else reason


def _number(error: OSError) -> int:
    """The error's number; that of a full disk for NumPy's words where a write fell short, which come without one."""
    return error.errno or (errno.ENOSPC if "requested and" in str(error) else 0)


def of_the_machine(error: BaseException | str) -> bool:
    """Whether the machine caused the error, directly or by its cause. A text is what a process said in the end."""
    if isinstance(error, str):
        return any(words in error for words in _WORDS)
    cause = error.__cause__ or error.__context__
    known = isinstance(error, MachineError) or getattr(error, "errno", None) in _LACKS or of_the_machine(str(error))
    return known or (cause is not None and cause is not error and of_the_machine(cause))


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yields a temporary path; renames it to ``path`` on success, else removes it. An error names ``path``."""
    # Each writer has another name: on a file system without locks there could be two.
    partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno is None:  # with a file name its words would be lost
            raise OSError(_number(error) or errno.EIO, str(error), str(path)) from error
        error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            partial.unlink()


def user_cache_folder() -> Path:
    """Folder for caches that the user makes: ``$XDG_CACHE_HOME/semrsm_bench`` or ``~/.cache/semrsm_bench``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "semrsm_bench"


def temporary_folder(name: str) -> Path:
    """A folder of this user's in the system's temporary one: the same each time, unless another user has taken its name."""
    folder = Path(tempfile.gettempdir()) / f"semrsm-bench-{name}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # another user's code is not run
        folder = Path(tempfile.mkdtemp(prefix=f"semrsm-bench-{name}-"))
    return folder


@lru_cache(maxsize=64)
def _warn_of_no_locks(folder: Path) -> None:
    warnings.warn(
        f"{folder} is on a file system without locks: do not let a second process write the same files",
        RuntimeWarning,
        stacklevel=3,
    )
