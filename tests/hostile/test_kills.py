"""SIGKILL at random moments, and between the two writes that belong together: nothing is lost, nothing doubled."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bench_data import small_cache

pytestmark = pytest.mark.hostile
ROOT = Path(__file__).resolve().parents[2]
TIMES = {"seconds", "shared_seconds", "wall_seconds", "peak_bytes", "probe", "at", "time", "run_id", "replaces", "raw"}


def killed(arguments, log, kills, longest, **chosen):
    asked = json.dumps({"arguments": arguments, "log": str(log), "kills": kills, "longest": longest, **chosen})
    command = [sys.executable, "-m", "tests.hostile.sessions", asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["code"] == 0, log.read_text()[-3000:]
    return facts


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def values(row):
    """What two runs of the same command must agree on."""
    return {
        "k": row["raw"].get("k"),
        **{name: row[name] for name in ("status", "scores", "code", "data_sha256", "units")},
    }


def by_key(rows):
    keyed = {}
    for row in rows:
        key = (row["task"], row["method"], row["case"], row["repeat"])
        assert key not in keyed, f"{key} stands twice"
        keyed[key] = values(row)
    return keyed


def test_thirty_kills_of_a_run(tmp_path):
    cache = small_cache(tmp_path / "data", images=6)
    common = ["run", "matching", "--data", str(cache), "--methods", "scipy,identity,greedy", "--pairs", "12"]
    common += ["--repeats", "6", "--quiet"]
    whole = [*common, "--out", str(tmp_path / "whole"), "--run-id", "one"]
    killed(whole, tmp_path / "log", 0, 1)
    often = [*common, "--out", str(tmp_path / "often"), "--run-id", "one"]
    facts = killed(often, tmp_path / "log", 30, 3.0)
    expected, found = (by_key(rows_of(tmp_path / name / "one")) for name in ("whole", "often"))
    assert facts["killed"] >= 20, "the run ended before it was killed often enough: make it longer"
    assert found == expected
    assert len(found) == 3 * 2 * 12 * 6
    leftovers = {p.name for p in (tmp_path / "often" / "one").iterdir()}
    assert not [name for name in leftovers if "tmp" in name or "partial" in name], leftovers


def test_thirty_kills_of_an_rsm(tmp_path):
    z = np.random.default_rng(0).normal(size=(100, 8, 196)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    common = ["rsm", str(tmp_path / "z.npy"), "--matching", "scipy", "--kernel", "linear,cosine", "--block", "4"]
    killed([*common, "--out", str(tmp_path / "whole.npy")], tmp_path / "log", 0, 1)
    facts = killed([*common, "--out", str(tmp_path / "often.npy")], tmp_path / "log", 30, 0.8)
    assert facts["killed"] >= 20, "the RSM was ready before it was killed often enough: make it larger"
    for name in ("{}.npy", "{}.cosine.npy"):
        expected, found = (np.load(tmp_path / name.format(which)) for which in ("whole", "often"))
        np.testing.assert_array_equal(found, expected)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("nth", [1, 7, 50])
def test_a_kill_between_a_row_and_its_newline(tmp_path, nth):
    cache = small_cache(tmp_path / "data", images=6)
    common = ["run", "matching", "--data", str(cache), "--methods", "scipy,greedy", "--pairs", "15", "--quiet"]
    killed([*common, "--out", str(tmp_path / "whole"), "--run-id", "one"], tmp_path / "log", 0, 1)
    often = [*common, "--out", str(tmp_path / "often"), "--run-id", "one"]
    assert killed(often, tmp_path / "log", 1, 0, tear=nth)["killed"] == 1
    expected, found = (by_key(rows_of(tmp_path / name / "one")) for name in ("whole", "often"))
    assert found == expected


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.9])
def test_a_kill_at_a_line_between_the_writes_of_an_rsm(tmp_path, share):
    """Lines of the store are counted in a whole run; then the process is killed after a share of them."""
    z = np.random.default_rng(0).normal(size=(14, 8, 25)).astype(np.float32)
    np.save(tmp_path / "z.npy", z)
    common = ["rsm", str(tmp_path / "z.npy"), "--matching", "greedy", "--kernel", "linear,cosine", "--block", "4"]
    lines = killed([*common, "--out", str(tmp_path / "whole.npy")], tmp_path / "log", 0, 1, count="rsm/store.py")[
        "lines"
    ]
    assert lines > 50
    often = [*common, "--out", str(tmp_path / "often.npy")]
    facts = killed(often, tmp_path / "log", 1, 0, line=["rsm/store.py", int(lines * share)])
    assert facts["killed"] == 1
    for name in ("{}.npy", "{}.cosine.npy"):
        expected, found = (np.load(tmp_path / name.format(which)) for which in ("whole", "often"))
        np.testing.assert_array_equal(found, expected)
        assert np.isfinite(found).all()
