"""The command line, called in this process."""

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from semrsm_bench.cli import main


def ended(*words):
    """Exit code, standard output and standard error of ``semrsm-bench WORDS``."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert "Traceback" not in err.getvalue()
    return end.value.code or 0, out.getvalue(), err.getvalue()


def call(*words, code=0):
    """Standard output and standard error, after a check of the exit code."""
    found, out, err = ended(*words)
    assert found == code, out + err
    return out, err
