"""Runs that stop halfway, files of other runs, workers that die."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.core import files
from semrsm_bench.rsm import IncompleteError, ResumeError, compute_rsm, store
from semrsm_bench.rsm.tiles import WorkersLostError

Z = np.random.default_rng(0).normal(size=(9, 3, 12)).astype(np.float32)


class Calls(list):
    limit = None


@pytest.fixture
def calls():
    """Problems that the solver "counted" solved; it stops the run after ``limit`` of them."""
    made = Calls()

    @sb.register_solver("counted", kind="exact")
    def counted(problem):
        if len(made) == made.limit:
            raise KeyboardInterrupt
        made.append(problem)
        return sb.solve(problem, "scipy")

    return made


@pytest.mark.parametrize("stop", [0, 1, 4, 13, 20, 35])
def test_a_run_interrupted_inside_a_row_is_resumed_and_ends_in_the_same_matrix(tmp_path, calls, stop):
    out = tmp_path / "rsm.npy"
    expected = compute_rsm(Z, matching="scipy")
    calls.limit = stop
    with pytest.raises(KeyboardInterrupt):
        compute_rsm(Z, matching="counted", out=out, block=3)
    part = np.load(out)
    done = ~np.isnan(part)
    # Tiles of 3, 9, 9, 3, 9 and 3 pairs, row by row: what a tile had matched before the stop is lost with it.
    whole = max(n for n in (0, 3, 12, 21, 24, 33, 36) if n <= stop)
    assert done.sum() == 9 + 2 * whole
    np.testing.assert_array_equal(part[done], expected[done])
    calls.limit = None
    calls.clear()
    rsm = compute_rsm(Z, matching="counted", out=out, block=3)
    np.testing.assert_array_equal(rsm, expected)
    assert len(calls) == 36 - whole, "only what was missing is matched again"
    assert isinstance(rsm, np.memmap)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rsm.npy", "rsm.npy.json", "rsm.npy.lock"]


def test_a_run_may_be_resumed_with_other_tiles_and_more_processes(tmp_path):
    out = tmp_path / "rsm.npy"
    expected = np.array(compute_rsm(Z, matching="scipy", out=out, block=4))
    np.load(out, mmap_mode="r+")[2:5, 3:] = np.nan
    np.testing.assert_array_equal(compute_rsm(Z, matching="scipy", out=out, block=2, n_jobs=2), expected)


def test_more_kernels_cost_no_more_matching(tmp_path, calls):
    out = tmp_path / "rsm.npy"
    compute_rsm(Z, matching="counted", out=out)
    calls.clear()
    rsms = compute_rsm(Z, matching="counted", kernel=["linear", "rbf", "cosine"], out=out)
    assert calls == []
    in_memory = compute_rsm(Z, matching="scipy", kernel=["linear", "rbf", "cosine"])
    for kernel, name in (("linear", "rsm.npy"), ("rbf", "rsm.rbf.npy"), ("cosine", "rsm.cosine.npy")):
        np.testing.assert_array_equal(rsms[kernel], in_memory[kernel])
        np.testing.assert_array_equal(np.load(tmp_path / name), in_memory[kernel])
    described = json.loads((tmp_path / "rsm.rbf.npy.json").read_text())["fingerprint"]
    assert described["rule"] == "offdiag_median"
    assert described["sigma"] > 0
    for kernel in ("rbf", "cosine"):
        with pytest.raises(ResumeError, match=f"kernel: there '{kernel}', here None"):
            compute_rsm(Z, matching="counted", out=tmp_path / f"rsm.{kernel}.npy")


def test_several_matchings_stream_to_files_of_their_own(tmp_path):
    how = {"matching": ["identity", "scipy"], "kernel": "rbf"}
    rsms, expected = compute_rsm(Z, Z[:4], **how, out=tmp_path / "k.npy"), compute_rsm(Z, Z[:4], **how)
    for name in how["matching"]:
        assert np.load(tmp_path / f"k.{name}.npy").shape == (9, 4)
        for found in (rsms[name], np.load(tmp_path / f"k.{name}.rbf.npy")):
            np.testing.assert_array_equal(found, expected[name])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"matching": "identity"}, "matching: there 'batch-optimal-128', here 'identity'"),
        ({"options": {"b": 4}}, "options"),
        ({"centring": "channel"}, "centring"),
        ({"z": Z[:8]}, "images"),
        ({"z": Z.astype(np.float64)}, "precision"),
        ({"z2": Z}, "inputs"),
        ({"z": Z[:, ::-1]}, "inputs"),
        ({"z": np.concatenate([Z[:-1], Z[-1:] + np.float32(1e-6)])}, "inputs"),
    ],
)
def test_other_inputs_or_options_are_refused(tmp_path, monkeypatch, changed, named):
    # The images are read one by one, so that the last of them lies beyond the first chunk.
    monkeypatch.setattr("semrsm_bench.rsm.sources._CHUNK_BYTES", Z[0].nbytes)
    how = {"matching": "batch-optimal-128", "z": Z, "out": tmp_path / "rsm.npy"}
    before = np.array(compute_rsm(**how))
    with pytest.raises(ResumeError, match=named):
        compute_rsm(**{**how, **changed})
    np.testing.assert_array_equal(np.load(tmp_path / "rsm.npy"), before)
    (tmp_path / "rsm.npy").write_bytes((tmp_path / "rsm.npy").read_bytes()[:200])
    with pytest.raises(ResumeError, match="damaged"):
        compute_rsm(**how)


@pytest.mark.parametrize(
    ("name", "before", "how", "error", "said"),
    [
        ("mine.npy", {"mine.npy": b"0123"}, {}, ResumeError, "nothing beside it"),
        ("other.npy", {"other.npy.json": b"[1]"}, {}, ResumeError, "does not describe an RSM"),
        ("k.npy", {"k.rbf.npy": b"0123"}, {"kernel": "rbf"}, ResumeError, r"k\.rbf\.npy exists"),
        ("rsm.npz", {}, {}, ValueError, r"ends in \.npy"),
        ("missing/rsm.npy", {}, {}, FileNotFoundError, "not a folder"),
        ("rsm.npy", {}, {"return_permutations": True}, ValueError, "in memory"),
    ],
)
def test_files_that_no_run_made_are_left_alone_and_bad_places_are_named(
    tmp_path, calls, name, before, how, error, said
):
    for file, content in before.items():
        (tmp_path / file).write_bytes(content)
    with pytest.raises(error, match=said):
        compute_rsm(Z, matching="counted", out=tmp_path / name, **how)
    assert calls == [], "it is found before anything is matched"
    assert before.items() <= {path.name: path.read_bytes() for path in tmp_path.iterdir()}.items()


class StoppingWrites(np.memmap):
    """Stops at a given write to the matrix of products: before it, or in the middle of one of its rows."""

    left, torn = 0, False

    def __setitem__(self, index, value):
        if StoppingWrites.left == 0:
            if StoppingWrites.torn:
                part = np.array(self[index])
                part.flat[: part.size // 2] = np.asarray(value).flat[: part.size // 2]
                super().__setitem__(index, part)
            raise KeyboardInterrupt
        StoppingWrites.left -= 1
        super().__setitem__(index, value)


@pytest.mark.parametrize("torn", [False, True], ids=["before", "inside"])
@pytest.mark.parametrize("count", range(6 * 2))
def test_a_stop_at_any_single_write_costs_no_entry(tmp_path, monkeypatch, count, torn):
    out = tmp_path / "rsm.npy"
    made = store.Products.__init__
    with monkeypatch.context() as patched:
        # Six tiles, each written twice: as it is, and mirrored.
        StoppingWrites.left, StoppingWrites.torn = count, torn
        patched.setattr(store.Products, "__init__", lambda self, values: made(self, values.view(StoppingWrites)))
        with pytest.raises(KeyboardInterrupt):
            compute_rsm(Z, matching="scipy", out=out, block=3)
    part = np.load(out)
    assert np.isnan(part).any()
    assert torn or np.array_equal(np.isnan(part), np.isnan(part).T) == (count % 2 == 0)
    rsm = compute_rsm(Z, matching="scipy", out=out, block=3)
    np.testing.assert_array_equal(rsm, compute_rsm(Z, matching="scipy"))


def test_an_rsm_with_nan_is_never_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr(store.Products, "put", lambda self, tile, values: 0)
    for out in (None, tmp_path / "rsm.npy"):
        with pytest.raises(IncompleteError, match=r"scipy, linear: 72 of 81 entries"):
            compute_rsm(Z, matching="scipy", out=out, kernel="rbf")


def test_a_process_that_opened_the_lock_before_a_run_ended_still_keeps_others_out(tmp_path):
    out = tmp_path / "rsm.npy"
    np.save(tmp_path / "z.npy", Z)
    # The other process opens the lock's file while this one writes, and locks it as soon as that is done.
    script = f"""
import fcntl, sys
handle = open({str(out) + ".lock"!r}, "a")
print("opened", flush=True)
sys.stdin.readline()
fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("locked", flush=True)
sys.stdin.readline()
"""
    inside = store.open_products(out, (9, 9), {})
    inside.__enter__()
    other = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "opened\n"
        inside.__exit__(None, None, None)
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ResumeError, match="another process"), store.open_products(out, (9, 9), {}):
            pass
    finally:
        other.communicate("\n")


@pytest.mark.parametrize("full_at", [0, 1])
def test_a_full_disk_is_a_message_and_the_run_is_resumed(tmp_path, monkeypatch, calls, full_at):
    out, reserve, asked = tmp_path / "rsm.npy", os.posix_fallocate, []

    def posix_fallocate(handle, offset, size):
        asked.append(size)
        if len(asked) > full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(handle, offset, size)

    with monkeypatch.context() as patched:
        patched.setattr(store.os, "posix_fallocate", posix_fallocate)
        with pytest.raises(OSError, match=r"No space left.*rsm") as full:
            compute_rsm(Z, matching="counted", kernel="rbf", out=out)
    assert "the disk is full: make room and run the same command again" in files.explain(full.value)
    assert asked == [128 + 9 * 9 * 8] * (full_at + 1), "the room for a whole matrix, its header included"
    assert not list(tmp_path.glob("*.partial"))
    assert len(calls) == 36 * full_at
    rsm = compute_rsm(Z, matching="counted", kernel="rbf", out=out)
    np.testing.assert_array_equal(rsm, compute_rsm(Z, matching="scipy", kernel="rbf"))
    assert len(calls) == 36, "no pair was matched twice"


def test_a_kernel_that_is_not_finished_leaves_no_old_matrix_with_the_new_description(tmp_path, monkeypatch):
    how = {"matching": "identity", "kernel": "rbf", "out": tmp_path / "rsm.npy"}
    compute_rsm(Z, sigma=1.0, **how)
    with monkeypatch.context() as patched:
        patched.setattr(store, "_save", lambda *given: next(iter([])))
        with pytest.raises(StopIteration):
            compute_rsm(Z, sigma=2.0, **how)
    assert not (tmp_path / "rsm.rbf.npy").exists()
    rsm = compute_rsm(Z, sigma=2.0, **how)
    np.testing.assert_array_equal(rsm, compute_rsm(Z, matching="identity", kernel="rbf", sigma=2.0))


def test_a_file_that_may_not_grow_so_large_is_an_error_and_no_signal(tmp_path):
    script = f"""
import resource, numpy as np
from semrsm_bench.rsm import compute_rsm
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
compute_rsm(np.ones((40, 1, 2)), matching="identity", out={str(tmp_path / "rsm.npy")!r})
"""
    found = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert (found.returncode, "File too large" in found.stderr) == (1, True)


def test_every_file_is_written_under_the_lock_by_a_writer_of_this_process_and_what_killed_ones_left_goes(
    tmp_path, monkeypatch
):
    for file in ("rsm.npy.", "rsm.npy.99-ab.", "rsm.npy.json.99-ab.", "rsm.rbf.npy.99-ab."):
        (tmp_path / f"{file}partial").write_text("half")
    used, replace = [], os.replace

    def watched(partial, path):
        with (tmp_path / "rsm.npy.lock").open("a") as handle, pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        used.append(partial.name)
        replace(partial, path)

    monkeypatch.setattr(store.os, "replace", watched)
    compute_rsm(Z, matching="identity", kernel=["linear", "rbf"], out=tmp_path / "rsm.npy")
    assert len(set(used)) == len(used) >= 4
    assert all(f".{os.getpid()}-" in name for name in used)
    names = ["rsm.npy", "rsm.npy.json", "rsm.npy.lock", "rsm.rbf.npy", "rsm.rbf.npy.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("deaths", [1, 10**6])
def test_a_lost_process_costs_only_its_tiles(tmp_path, deaths):
    here, grave = os.getpid(), tmp_path / "grave"
    grave.write_text("")

    @sb.register_solver("mortal", kind="exact")
    def mortal(problem):
        if os.getpid() != here and len(grave.read_text()) < deaths:
            with grave.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return sb.solve(problem, "scipy")

    how = {"matching": "mortal", "n_jobs": 2, "block": 2, "out": tmp_path / "rsm.npy"}
    if deaths == 1:
        np.testing.assert_array_equal(compute_rsm(Z, **how), compute_rsm(Z, matching="scipy"))
        # Both processes may have read it before either of them died.
        assert grave.read_text() in ("x", "xx")
    else:
        with pytest.raises(WorkersLostError):
            compute_rsm(Z, **how)
