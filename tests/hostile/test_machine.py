"""Faults of the machine: full or read-only disks, no home, hard limits, strange names, signals. A short message, nothing lost."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from semrsm_bench.bench.results import load_rows
from tests.bench_data import small_cache

ROOT = Path(__file__).resolve().parents[2]
# The layers of the small cache: `quick` takes maps as they are, without a second centring.
PLACES = 2
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
ISOLATED = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
pytestmark = pytest.mark.hostile
needs_mounts = pytest.mark.skipif(not ISOLATED, reason="this system lets nobody but root mount: no disk can be filled")


@pytest.fixture
def place(tmp_path):
    """A folder with a cache of activations, images and a folder to mount on."""
    small_cache(tmp_path / "data", images=6)
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(200, 4, 9)).astype(np.float32))
    (tmp_path / "disk").mkdir()
    return tmp_path


def shell(place, script, *, mounts=True, **environment):
    """Run a shell script in a room of its own mounts: $RUN and $RSM are the commands, $DISK is to be mounted on."""
    python = shlex.quote(sys.executable)
    names = {
        "PYTHONPATH": str(ROOT),
        "DISK": str(place / "disk"),
        "PLACE": str(place),
        "ROOT": str(ROOT),
        "RUN": f"{python} -m semrsm_bench run matching --data {place}/data/tiny.safetensors --quiet",
        "RSM": f"{python} -m semrsm_bench rsm {place}/z.npy --matching identity",
        "XDG_CACHE_HOME": str(place / "cache"),
    }
    given = {**os.environ, **names, **environment}
    command = [*(NAMESPACE if mounts else []), "bash", "-c", script]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, env=given, errors="replace")


def said(done):
    """All that a command said, which is never a traceback."""
    words = done.stdout + done.stderr
    assert "Traceback" not in words, words
    assert "Bus error" not in words, words
    return words


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    keys = [(r["method"], r["case"] or str(r["cell"]), r["repeat"]) for r in rows]
    assert len(keys) == len(set(keys))
    return rows


@needs_mounts
def test_a_disk_that_fills_up_during_a_run(place):
    script = """
    mount -t tmpfs -o size=96k t $DISK
    $RUN --methods greedy,identity --pairs 15 --repeats 2 --out $DISK --run-id one; echo first $?
    mount -o remount,size=64m $DISK
    $RUN --methods greedy,identity --pairs 15 --repeats 2 --out $DISK --run-id one; echo second $?
    cp -r $DISK/one $PLACE/kept
    """
    done = shell(place, script)
    words = said(done)
    assert "first 1" in words, words
    assert "second 0" in words, words
    assert "disk" in words
    assert "full" in words
    assert len(rows_of(place / "kept")) == 2 * PLACES * 15 * 2


@needs_mounts
def test_a_disk_too_small_for_an_rsm(place):
    script = """
    mount -t tmpfs -o size=128k t $DISK
    $RSM --out $DISK/rsm.npy; echo first $?
    mount -o remount,size=64m $DISK
    $RSM --out $DISK/rsm.npy; echo second $?
    cp $DISK/rsm.npy $PLACE/kept.npy
    """
    words = said(shell(place, script))
    assert "first 1" in words, words
    assert "second 0" in words, words
    assert "space" in words or "full" in words
    assert np.isfinite(np.load(place / "kept.npy")).all()


@needs_mounts
@pytest.mark.parametrize(
    ("where", "command"),
    [
        ("TMPDIR", "$RUN --methods greedy --pairs 9 --out $PLACE/second"),
        ("PLACE/one/figures/", "$PYTHON -m semrsm_bench plot $PLACE/results/one --out $DISK/one/figures"),
        ("PLACE/one/report.html", "$PYTHON -m semrsm_bench report $PLACE/results/one --out $DISK/one/report.html"),
        ("PLACE/k.png", "$PYTHON -m semrsm_bench plot $PLACE/k.npy --out $DISK --format png"),
    ],
)
def test_a_full_disk_says_where(place, where, command):
    script = f"""
    $RUN --methods greedy --pairs 2 --out $PLACE/results --run-id one; $RSM --out $PLACE/k.npy
    mount -t tmpfs -o size=40k t $DISK; head -c 32768 /dev/zero > $DISK/full
    export MPLCONFIGDIR=$PLACE{"; export TMPDIR=$DISK" if where == "TMPDIR" else ""}
    echo begun; {command} > /dev/null; echo ended $?
    """
    words = said(shell(place, script, PYTHON=sys.executable)).partition("begun")[2]
    assert "ended 1" in words, words
    said_by = "its answer cannot be written to " if where == "TMPDIR" else "semrsm-bench: "
    assert f"{said_by}{place / 'disk'}/{where.removeprefix('PLACE/').removeprefix('TMPDIR')}" in words, words
    assert "the disk is full: make room" in words


@needs_mounts
@pytest.mark.parametrize("command", ["$RUN --methods greedy --out $DISK", "$RSM --out $DISK/rsm.npy"])
def test_results_that_cannot_be_written(place, command):
    words = said(shell(place, f"mount -t tmpfs -o ro t $DISK; {command}; echo ended $?"))
    assert "ended 1" in words or "ended 2" in words, words
    assert "read-only" in words.lower(), words
    assert str(place / "disk") in words


@needs_mounts
def test_no_home_and_a_package_that_cannot_be_written(place):
    script = """
    mount --bind $ROOT $ROOT && mount -o remount,ro,bind $ROOT
    mount -t tmpfs -o ro t $DISK
    export HOME=$DISK XDG_CACHE_HOME=$DISK/cache; unset NUMBA_CACHE_DIR
    $RUN --methods exact-auction,greedy --pairs 3 --out $PLACE/results --run-id one; echo ended $?
    """
    words = said(shell(place, script))
    assert "ended 0" in words, words
    assert {r["status"] for r in rows_of(place / "results" / "one")} == {"ok"}
    assert words.lower().count("warning") <= 2, words


@needs_mounts
def test_a_full_shared_memory(place):
    script = """
    mount -t tmpfs -o size=4k t /dev/shm; head -c 4096 /dev/zero > /dev/shm/full
    $RUN --methods greedy --pairs 3 --out $PLACE/results --run-id one; echo run $?
    $RSM -j 2 --out $PLACE/rsm.npy; echo rsm $?
    """
    words = said(shell(place, script))
    assert "run 0" in words, words
    assert "rsm 0" in words, words
    assert np.isfinite(np.load(place / "rsm.npy")).all()


@needs_mounts
def test_the_doctor_names_what_is_wrong_beforehand(place):
    script = """
    mount -t tmpfs -o size=64k t $DISK; head -c 100000 /dev/zero > $DISK/full
    mount -t tmpfs -o size=4k t /dev/shm; head -c 4096 /dev/zero > /dev/shm/full
    export HOME=$DISK XDG_CACHE_HOME=$DISK/cache TMPDIR=$DISK NUMBA_CACHE_DIR=$DISK/numba LC_ALL=C PYTHONUTF8=0
    ulimit -f 100
    $DOCTOR --data $PLACE/data/tiny.safetensors; echo ended $?
    """
    python = shlex.quote(sys.executable)
    words = said(shell(place, script, DOCTOR=f"{python} -m semrsm_bench doctor"))
    lines = {line[5:18].strip(): line for line in words.splitlines()}
    statuses = {
        "limits": "fail",
        "temporary": "fail",
        "cache": "warn",
        "compiled code": "warn",
        "shared memory": "warn",
    }
    for name, status in {**statuses, "results": "ok", "encoding": "warn"}.items():
        assert lines[name].startswith(status), words
    assert "ended 1" in words


def test_a_plain_c_locale(place):
    script = """
    export LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONIOENCODING=
    $RUN --methods scipy,greedy --pairs 3 --out $PLACE/results --run-id one > $PLACE/out; echo ended $?
    """
    words = said(shell(place, script, mounts=False))
    assert "ended 0" in words, words
    assert (place / "results" / "one" / "table.md").stat().st_size > 100


@pytest.mark.parametrize("limit", ["-f 16", "-f 1", "-v 3000000", "-n 40", "-n 20", "-n 17", "-u 4096"])
def test_hard_limits_below_what_is_asked_for(place, limit):
    """Both limits, hard and soft: bash refuses a hard one below the soft one, and then nothing is limited."""
    name, value = limit.split()
    script = "$RUN --methods scipy,greedy --pairs 5 --repeats 2 --out $PLACE/results --run-id one; echo ended $?"
    words = said(
        shell(place, f"ulimit {limit}; echo in force $(ulimit -S {name}) $(ulimit -H {name}); {script}", mounts=False)
    )
    assert f"in force {value} {value}\n" in words, words
    assert "ended" in words
    if "ended 0" not in words:
        assert "ended 1" in words, words
        assert "limit" in words or "large" in words, words
        done = shell(place, script, mounts=False)
        assert "ended 0" in said(done), said(done)
    rows = load_rows(place / "results" / "one")
    assert [row["status"] for row in rows] == ["ok"] * (2 * PLACES * 5 * 2)


@pytest.mark.parametrize("name", [b"caf\xe9", b"a" * 64, "Ω x".encode(), b"new\nline", b"-dash"])
def test_folders_of_any_name(place, name):
    folder = os.path.join(os.fsencode(place), name)
    os.mkdir(folder)
    given = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place / "cache")}
    data = os.path.join(os.fsencode(place), b"data", b"tiny.safetensors")
    command = [os.fsencode(sys.executable), b"-m", b"semrsm_bench", b"run", b"matching", b"--data", data, b"--quiet"]
    command += [b"--methods", b"greedy", b"--pairs", b"3", b"--out", folder, b"--run-id", b"one"]
    done = subprocess.run(command, cwd=place, capture_output=True, timeout=300, env=given)
    words = (done.stdout + done.stderr).decode(errors="replace")
    assert "Traceback" not in words, words
    assert done.returncode == 0, words
    with open(os.path.join(folder, b"one", b"rows.jsonl"), "rb") as file:
        assert len(file.readlines()) == PLACES * 3


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors(place, closed):
    script = f"""
    $RUN --methods scipy,greedy --pairs 3 --out $PLACE/results --run-id one {closed}; echo run $?
    ${{RUN% --quiet}} --methods scipy,greedy --pairs 3 --out $PLACE/results --run-id loud {closed}; echo loud $?
    $RSM --out $PLACE/rsm.npy {closed}; echo rsm $?
    """
    words = said(shell(place, script, mounts=False))
    assert [line for line in words.splitlines() if line[:4] in ("run ", "loud", "rsm ")] == [
        "run 0",
        "loud 0",
        "rsm 0",
    ], words
    assert {r["status"] for r in rows_of(place / "results" / "one")} == {"ok"}
    assert np.isfinite(np.load(place / "rsm.npy")).all()


NO_LOCKS = (
    "import errno, fcntl, os\ndef flock(*a): raise OSError(errno.{0}, os.strerror(errno.{0}))\nfcntl.flock = flock\n"
)
PATCHES = {
    "no flock": NO_LOCKS.format("ENOSYS"),
    "no locks": NO_LOCKS.format("ENOLCK"),
    "a clock that jumps": "import time\nreal = time.time\nstate = [0]\ndef jump():\n    state[0] += 1\n"
    "    return real() + (-86400 if state[0] % 2 else 86400)\ntime.time = jump\n",
}


@pytest.mark.parametrize("patch", PATCHES)
def test_systems_that_lie_or_lack(place, patch):
    (place / "patch").mkdir()
    (place / "patch" / "sitecustomize.py").write_text(PATCHES[patch])
    script = """
    export PYTHONPATH=$PLACE/patch:$ROOT
    $RUN --methods greedy,scipy --pairs 3 --out $PLACE/results --run-id one; echo run $?
    $RSM --out $PLACE/rsm.npy; echo rsm $?
    """
    words = said(shell(place, script, mounts=False))
    assert "run 0" in words, words
    assert "rsm 0" in words, words
    assert "another process" not in words
    assert {r["status"] for r in rows_of(place / "results" / "one")} == {"ok"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("after", [0.5, 2.5, 4.0])
def test_signals_end_a_run_with_a_word_and_it_is_resumed(place, number, after):
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import semrsm_bench.__main__"
    command = [sys.executable, "-c", start, "run", "matching", "--data", f"{place}/data/tiny.safetensors"]
    command += ["--quiet", "--methods", "greedy,scipy,ortools", "--pairs", "15", "--repeats", "4"]
    command += ["--out", f"{place}/results", "--run-id", "one"]
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given)
    time.sleep(after)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert "Traceback" not in err, err
    assert process.returncode in (-number, 128 + number)  # before its first line, after it
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, env=given)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(place / "results" / "one")) == 3 * PLACES * 15 * 4


SLOW = """
import time
import numpy as np
import semrsm_bench as sb

@sb.register_solver("slow", kind="approximate")
def slow(problem):
    "It sleeps."
    time.sleep(2)
    return np.arange(problem.size)
"""


@pytest.mark.parametrize(
    ("verb", "number"),
    [("check", signal.SIGTERM), ("check", signal.SIGINT), ("gate", signal.SIGTERM), ("run", signal.SIGHUP)],
)
def test_signals_leave_neither_workers_nor_temporary_files(place, verb, number):
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from semrsm_bench.cli import main; main()"
    (place / "temporary").mkdir()
    (place / "slow.py").write_text(SLOW)
    data = ["--data", f"{place}/data/tiny.safetensors"]
    arguments = {
        "check": ["slow"],
        "gate": ["HEAD", *data, "--methods", "slow", "--quiet"],
        "run": ["matching", *data, "--methods", "slow", "--quiet", "--out", str(place)],
    }
    author = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "slow.py"], [*author, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=place, check=True, capture_output=True)
    command = [sys.executable, "-c", start, verb, *arguments[verb], "--plugin", "slow.py"]
    given = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place / "temporary")}
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given)
    for _ in range(600):
        children = psutil.Process(process.pid).children(recursive=True)
        if children and (verb == "check" or list((place / "temporary").glob("semrsm-bench-*/*"))):
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert "interrupted" in err, err
    assert "Traceback" not in err, err
    assert ("resumes" in err) == (verb == "run")
    assert process.returncode == 128 + number
    assert not list((place / "temporary").glob("semrsm-bench-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_signals_end_an_rsm_with_its_workers_and_it_is_resumed(place, number):
    (place / "slow.py").write_text(SLOW.replace("time.sleep(2)", "time.sleep(0.02)"))
    np.save(place / "z.npy", np.random.default_rng(0).normal(size=(50, 4, 9)).astype(np.float32))
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from semrsm_bench.cli import main; main()"
    command = [sys.executable, "-c", start, "rsm", "z.npy", "--plugin", "slow.py", "--matching", "slow", "-j", "2"]
    command += ["--block", "4", "--out", "k.npy", "--quiet"]
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given)
    # SIGKILL comes while the workers are being started, when some hold no task yet.
    least = 9 if number == signal.SIGKILL else 200
    while process.poll() is None and not (
        (place / "k.npy").exists() and np.isfinite(np.load(place / "k.npy", mmap_mode="r")).sum() > least
    ):
        time.sleep(0.05)
    while len(children := psutil.Process(process.pid).children(recursive=True)) < 2:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)  # which ends when nobody holds the pipes any more
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert "Traceback" not in err, err
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "the same command resumes there" in err
        assert len(err.strip().splitlines()) == 1
    done = np.isfinite(np.load(place / "k.npy")).sum()
    assert done > 9
    whole = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, env=given)
    assert whole.returncode == 0, whole.stderr
    assert np.isfinite(np.load(place / "k.npy")).all()


KILLER = """
import os, signal
import numpy as np
import semrsm_bench as sb

@sb.register_solver("suicide", kind="approximate")
def suicide(problem):
    "It kills itself."
    os.kill(os.getpid(), signal.SIGKILL)

@sb.register_solver("after", kind="approximate")
def after(problem):
    "It works."
    return np.arange(problem.size)
"""


def test_who_killed_a_worker(place):
    (place / "killer.py").write_text(KILLER)
    script = "$RUN --plugin $PLACE/killer.py --methods suicide,after --pairs 3 --out $PLACE/results --run-id one; echo ended $?"
    words = said(shell(place, script, mounts=False))
    assert "ended 3" in words, words
    statuses = {(r["method"], r["status"]) for r in rows_of(place / "results" / "one") if r["case"]}
    assert statuses == {("suicide", "crashed"), ("after", "ok")}
