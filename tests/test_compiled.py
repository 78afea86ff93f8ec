"""Compiled code where nothing can be kept: numba's own places fail, a temporary folder serves."""

import errno
import io
import os
import sys
import warnings
from pathlib import Path

import numba
import pytest

from semrsm_bench.core import compiled, files


@pytest.fixture
def unkept(monkeypatch, tmp_path):
    """No place that numba knows can be written; the system's temporary folder is this one."""

    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [numba.core.caching.UserProvidedCacheLocator])
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(files.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "own"))
    return tmp_path


def test_compiled_code_is_kept_in_a_temporary_folder_with_one_warning(unkept):
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR") as said:
        add = compiled.njit()(lambda a, b: a + b)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        double = compiled.njit()(lambda a: 2 * a)
    assert (add(1, 2), double(4)) == (3, 8)
    (folder,) = unkept.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert any(Path(folder).rglob("*.nbi"))


def test_code_that_another_user_keeps_is_not_run(unkept, monkeypatch):
    real = files.os.getuid()
    monkeypatch.setattr(files.os, "getuid", lambda: real + 1)
    with pytest.warns(RuntimeWarning, match="own"):
        assert compiled.njit()(lambda a: a)(1) == 1


@pytest.mark.parametrize("watched", [True, False])
def test_who_sits_at_a_terminal_is_told_once_that_it_compiles_and_not_when_code_is_there(
    monkeypatch, tmp_path, watched
):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    monkeypatch.setattr(said, "isatty", lambda: watched)

    def double(a):
        return 2 * a

    for values in ((3, 3.0), (3,)):  # the second time as another process would
        compiled._tell_once.cache_clear()
        function = compiled.njit()(double)
        assert [function(value) for value in values] == [6] * len(values)
        assert said.getvalue().count("compiling, once") == watched


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_folder_that_fills_up_costs_one_warning_and_no_answer(monkeypatch, tmp_path, number):
    def full(*given):
        raise OSError(number, os.strerror(number), str(tmp_path))

    compiled._warn_once.cache_clear()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "_save_data", full)
    inner = compiled.njit()(lambda a: 2 * a)
    outer = compiled.njit()(lambda a: inner(a) + 1)
    with pytest.warns(RuntimeWarning, match="kept in memory.*NUMBA_CACHE_DIR") as said:
        assert (outer(3), inner(4), outer(2.0)) == (7, 8, 5.0)
    assert len(said) == 1
