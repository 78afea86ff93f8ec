"""Locks and messages about files, whatever the file system says."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from semrsm_bench.bench.pool import claimed_core
from semrsm_bench.bench.results import RunBusyError, RunWriter
from semrsm_bench.core import files
from tests.bench_data import make_row


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (OSError(errno.EMFILE, "x"), True),
        (BlockingIOError(errno.EAGAIN, "x"), True),
        (RuntimeError("can't start new thread"), True),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), True),
        (caused(ValueError("no answer"), OSError(errno.ENOSPC, "x")), True),
        ("OSError: [Errno 28] No space left on device", True),
        (FileNotFoundError(errno.ENOENT, "x"), False),
        (caused(ValueError("x"), KeyError("y")), False),
        ("exited with code 1", False),
    ],
    ids=str,
)
def test_faults_of_the_machine_are_told_from_those_of_a_method(error, whose):
    assert files.of_the_machine(error) is whose


def refuse(number):
    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_missing_lock_is_not_another_process(tmp_path, monkeypatch, number):
    monkeypatch.setattr(files.fcntl, "flock", refuse(number))
    with pytest.warns(RuntimeWarning, match="without locks"), RunWriter(tmp_path) as writer:
        writer.append(make_row())
    with warnings.catch_warnings(action="error"), RunWriter(tmp_path):
        pass
    assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("number", "raised"), [(errno.EWOULDBLOCK, RunBusyError), (errno.EACCES, RunBusyError), (errno.EIO, OSError)]
)
def test_a_held_lock_is_another_process_and_another_failure_is_not_hidden(tmp_path, monkeypatch, number, raised):
    monkeypatch.setattr(files.fcntl, "flock", refuse(number))
    with pytest.raises(raised, match="another process" if raised is RunBusyError else os.strerror(number)):
        RunWriter(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_row_that_does_not_fit_names_the_file_and_the_reason(tmp_path, monkeypatch, number):
    halves = iter([os.write, refuse(number)])
    with RunWriter(tmp_path) as writer, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: next(halves)(descriptor, data[: len(data) // 2]))
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            writer.append(make_row())
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "rows.jsonl"))
    with RunWriter(tmp_path) as writer:
        writer.append(make_row())
    assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == 1


def test_no_core_is_claimed_where_nothing_can_be_written():
    with claimed_core(Path("/proc/none")) as core:
        assert core == max(os.sched_getaffinity(0) | {core})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        *((OSError(number, os.strerror(number), "there"), "there: ") for number in (errno.EROFS, errno.EISCONN)),
        (OSError("strange"), "strange"),
    ],
)
def test_an_error_says_where_and_why(error, said):
    words = files.explain(error)
    assert words.startswith(said)
    assert len(words.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("640 requested and 320 written"), "the disk is full: make room"),  # NumPy's words
        (OSError(errno.EFBIG, "x"), "the file grew beyond a limit"),
        (OSError("no number"), "the disk failed"),
    ],
)
def test_a_file_is_written_whole_or_not_at_all(tmp_path, error, said):
    path = tmp_path / "sub" / "a.npy"

    def write(text, error=None):
        with files.writing(path) as partial:
            partial.write_text(text)
            if error:
                raise error

    write("whole")
    with pytest.raises(OSError, match=str(error.args[-1])) as cut:
        write("half", error)
    assert files.explain(cut.value).startswith(f"{path}: {said}")
    assert [p.name for p in path.parent.iterdir()] == ["a.npy"]
    assert path.read_text() == "whole"


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_the_command_line_ends_with_one_line(more):
    command = [sys.executable, "-m", "semrsm_bench", "list", "solvers", *more]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "standard output: the disk is full" in done.stderr
