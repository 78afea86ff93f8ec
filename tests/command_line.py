"""The command line, called in this process."""

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from semrsm_bench.cli import main


def call(*words, code=0):
    """Standard output and standard error of ``semrsm-bench WORDS``, after a check of the exit code."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert (ended.value.code or 0) == code, out.getvalue() + err.getvalue()
    assert "Traceback" not in err.getvalue()
    return out.getvalue(), err.getvalue()
