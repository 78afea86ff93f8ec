"""Solvers that are programs, in any language: they read a problem from ``.npy`` files and write a permutation to another."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from semrsm_bench.core.arrays import load_array
from semrsm_bench.core.ending import LONGEST_SAID, how_it_ended
from semrsm_bench.solvers.problem import MatchingProblem
from semrsm_bench.solvers.registry import Kind, Solution, register_solver

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# What stands for the file of which array.
_ARRAYS: dict[str, Callable[[MatchingProblem], Any]] = {
    "problem": lambda problem: problem.affinity,
    "x": lambda problem: problem.x,
    "y": lambda problem: problem.y,
}
_SAYS_SECONDS = re.compile(r"^seconds\s+(\S+)\s*$", re.MULTILINE)
_numbers = itertools.count()


class ProgramError(RuntimeError):
    """A program did not answer; ``status`` is that of the row."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One problem as a program gets it: files by the name of their placeholder, ``answer`` among them."""

    files: dict[str, str]

    def fill(self, word: str) -> str:
        """A word of the command with the files' names in it."""
        return _PLACEHOLDER.sub(lambda found: self.files[found[1]], word)

    def answer(self) -> Any:
        """What the program has written; its files are removed."""
        try:
            return load_array(self.files["answer"])
        except FileNotFoundError:
            raise ProgramError("invalid", "it wrote no answer") from None
        except (ValueError, EOFError) as error:
            raise ProgramError("invalid", f"its answer cannot be read: {error}"[:500]) from None
        finally:
            self.remove()

    def remove(self) -> None:
        """Remove what there is of its files."""
        for path in self.files.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


class Running:
    """A program that stays: one line with the names of the files goes in, ``done`` or ``error`` comes out."""

    def __init__(self, words: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._process: Any = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0
        )

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, line: str) -> float | None:
        """Have a request carried out; the seconds that the program says it took."""
        with self._lock:
            output, early = self._process.stdout, False
            try:
                # A second answer to the last request would be taken for one to this.
                early = bool(select.select([output], [], [], 0)[0])
                if not early:
                    self._process.stdin.write(f"{line}\n".encode())
                said = output.readline().decode(errors="replace")
            except BrokenPipeError:
                said = ""
        if not said:
            raise ProgramError(*how_it_ended(self._process.wait(), _tail(self._log)))
        if early:
            self._process.kill()
            self._process.wait()
            raise ProgramError("invalid", f"it wrote {said[:100]!r} before it was asked")
        word, _, rest = said.strip().partition(" ")
        if word == "done":
            return _seconds(rest)
        self._process.kill()  # what it says next may belong to this request
        self._process.wait()
        if word == "error":
            raise ProgramError("error", rest[:500] or "error")
        raise ProgramError("invalid", f"it wrote {said[:100]!r}, where done or error is due")


def register_command(
    name: str,
    command: str | Sequence[str | os.PathLike[str]],
    *,
    kind: Kind = "approximate",
    persistent: bool = False,
    **declared: Any,
) -> None:
    """Register a program as a solver.

    Parameters
    ----------
    name : str
    command : str, or sequence of str
        The program and its arguments; a string is split as a shell would, no shell runs. ``{problem}`` stands for a file with the
        affinity (S, S), ``{x}`` and ``{y}`` for files with the position vectors (S, C), ``{answer}`` for the file that the program
        writes: the permutation (S,), integers of any width. All are ``.npy``, float32 or float64, C-contiguous.
        The program, and arguments that name a file, are found from the folder of the caller.
    kind : {"exact", "approximate", "baseline"}
    persistent : bool
        By default the program is started for every pair. A persistent one is started once, with the arguments that have no
        placeholder. For each pair it gets a line on standard input, the files of the others in the order of the command,
        parted by tabs, and answers a line on standard output: ``done``, ``done SECONDS``, or ``error REASON``.
    **declared
        As for `register_solver`, such as ``precision``, ``reference`` or ``max_size``.

    Raises
    ------
    ValueError
        The command lacks ``{answer}``, or all of ``{problem}``, ``{x}`` and ``{y}``, or has another placeholder.
    """
    text = command if isinstance(command, str) else shlex.join([os.fspath(word) for word in command])
    words, wanted = _words(text), _placeholders(text)
    if unknown := wanted - {*_ARRAYS, "answer"}:
        raise ValueError(f"command {name!r}: {{{min(unknown)}}} is none of {{problem}}, {{x}}, {{y}}, {{answer}}")
    if "answer" not in wanted or len(wanted) < 2 or _PLACEHOLDER.search(words[0]):
        raise ValueError(
            f"command {name!r} is no program with {{problem}}, or {{x}} and {{y}}, and {{answer}}: {text!r}"
        )

    def solve(request: Request, *, command: str) -> Solution:
        try:
            seconds = _ask(request, command) if persistent else _run([request.fill(w) for w in _words(command)])
        except BaseException:
            request.remove()
            raise
        return Solution(request.answer(), info={} if seconds is None else {"program_seconds": seconds})

    # The program is the solver, not this module.
    solve.__module__ = "program"
    solve.__doc__ = f"The program {Path(words[0]).name}, {'kept running' if persistent else 'one process a pair'}."
    found = [Path(shutil.which(word) or word) for word in words]
    register_solver(
        name,
        kind=kind,
        matrix_free="problem" not in wanted,
        takes_vectors=not wanted.isdisjoint("xy"),
        prepare=_write,
        program="persistent" if persistent else "once",
        command=text,
        unavailable=lambda: "" if shutil.which(words[0]) else f"there is no program {words[0]}",
        files=[str(path.absolute()) for path in found if path.is_file()],
        **declared,
    )(solve)


def register_line(line: str) -> None:
    """Register what the command line says: ``NAME=COMMAND``."""
    name, _, command = line.partition("=")
    register_command(name, command)


def _write(problem: MatchingProblem, *, command: str) -> Request:
    """Write a problem's files, before the clock starts; a persistent program's start belongs to its first call, a warm-up."""
    number, wanted = next(_numbers), _placeholders(command)
    request = Request({what: f"{_folder().name}/{number}-{what}.npy" for what in sorted(wanted)})
    for what in wanted - {"answer"}:
        np.save(request.files[what], np.ascontiguousarray(_ARRAYS[what](problem)))
    return request


def _ask(request: Request, command: str) -> float | None:
    """Have the persistent program of a command carry out a request; it is started where it is not there, or has died."""
    if command not in _programs or not _programs[command].is_alive:
        _programs[command] = Running([word for word in _words(command) if not _PLACEHOLDER.search(word)])
    return _programs[command].ask("\t".join(request.fill(w) for w in _words(command) if _PLACEHOLDER.search(w)))


_programs: dict[str, Running] = {}


def _run(words: Sequence[str]) -> float | None:
    """Run a program to its end; the seconds that it says it took."""
    with tempfile.TemporaryFile() as output:
        code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output).returncode
        text = _tail(output)
    if code:
        raise ProgramError(*how_it_ended(code, text))
    said = _SAYS_SECONDS.findall(text)
    return _seconds(said[-1]) if said else None


def _tail(output: IO[bytes]) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - LONGEST_SAID))
    return output.read().decode(errors="replace")


def _seconds(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None


@cache
def _words(command: str) -> tuple[str, ...]:
    return tuple(shlex.split(command))


@cache
def _placeholders(command: str) -> frozenset[str]:
    return frozenset(found for word in _words(command) for found in _PLACEHOLDER.findall(word))


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Folder of the files; it goes with this process, or with the worker that this process is."""
    return tempfile.TemporaryDirectory(prefix="semrsm-bench-")
