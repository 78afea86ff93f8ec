"""Commands of the suite as processes that are killed: imported once, then forked for every attempt."""

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

KILLED, DONE = "killed", "done"


def die() -> None:
    """Be gone at once, as by a loss of power."""
    os.kill(os.getpid(), signal.SIGKILL)


def tear_row(nth: int) -> None:
    """Die between the nth row and its newline."""
    write, count = os.write, 0

    def torn(descriptor: int, data: bytes) -> int:
        nonlocal count
        if bytes(data[:1]) == b"{" and bytes(data[-1:]) == b"\n" and len(data) > 2 and b'"task"' in bytes(data):
            count += 1
            if count == nth:
                write(descriptor, data[:-1])
                die()
        return write(descriptor, data)

    os.write = torn


def watch_lines(suffix: str, last: int | None, note: Path | None) -> None:
    """Count the lines that run in one file of the package; die at the last, or note their number at the end."""
    count = 0

    def line(frame, event, argument):
        nonlocal count
        if event == "line":
            count += 1
            if count == last:
                die()
            if note is not None:
                note.write_text(str(count))
        return line

    sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename.endswith(suffix) else None)


def attempt(
    arguments: list[str], seconds: float | None, log: Path, prepare: Callable[[], None] = lambda: None
) -> tuple[str, int]:
    """Run ``semrsm-bench`` with these arguments in a child; SIGKILL it after so many seconds. (KILLED or DONE, exit code)"""
    from semrsm_bench.cli import main

    pid = os.fork()
    if pid == 0:
        sink = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os.setsid()
        prepare()
        try:
            main(arguments)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 99
        os._exit(code)
    watch = os.pidfd_open(pid)
    ready, _, _ = select.select([watch], [], [], seconds)
    os.close(watch)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return (KILLED if code == -signal.SIGKILL else DONE), code


def kill_until_done(arguments: list[str], log: Path, kills: int, longest: float, seed: int) -> tuple[int, int]:
    """Kill the command after random times, then let it end. (number of kills, exit code)"""
    import random

    draw, killed = random.Random(seed), 0
    for _ in range(20 * kills):
        if killed == kills:
            break
        how, code = attempt(arguments, draw.uniform(0, longest), log)
        if how == DONE:
            return killed, code
        killed += 1
    how, code = attempt(arguments, None, log)
    return killed, code


if __name__ == "__main__":
    import json

    import numba  # noqa: F401  # so that a fork has little left to import

    import semrsm_bench.bench
    import semrsm_bench.report  # noqa: F401

    asked = json.loads(sys.argv[1])
    arguments, log = asked["arguments"], Path(asked["log"])
    note = log.with_suffix(".lines")
    if "tear" in asked:
        how, code = attempt(arguments, None, log, lambda: tear_row(asked["tear"]))
        killed = int(how == KILLED)
        code = attempt(arguments, None, log)[1]
    elif "line" in asked:
        how, code = attempt(arguments, None, log, lambda: watch_lines(*asked["line"], None))
        killed = int(how == KILLED)
        code = attempt(arguments, None, log)[1]
    elif "count" in asked:
        killed, code = 0, attempt(arguments, None, log, lambda: watch_lines(asked["count"], None, note))[1]
    else:
        killed, code = kill_until_done(arguments, log, asked["kills"], asked["longest"], asked.get("seed", 0))
    lines = int(note.read_text()) if note.exists() else 0
    print(json.dumps({"killed": killed, "code": code, "lines": lines}))
