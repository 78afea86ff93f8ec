"""Runs that stop halfway, files of other runs, workers that die."""

import fcntl
import json
import os
import signal

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.rsm import ResumeError, compute_rsm
from semrsm_bench.rsm.scheduling import WorkersLostError
from semrsm_bench.solvers import registry

Z = np.random.default_rng(0).normal(size=(9, 3, 12)).astype(np.float32)


@pytest.fixture
def calls(monkeypatch):
    """Names of solved problems by the solver "counted", which stops the run when the list says so."""
    sb.solver_names()
    monkeypatch.setattr(registry, "_SOLVERS", dict(registry._SOLVERS))
    made = []
    made_limit = {"limit": None}

    @sb.register_solver("counted", kind="exact")
    def counted(problem, *, flavour="plain"):
        if len(made) == made_limit["limit"]:
            raise KeyboardInterrupt
        made.append(flavour)
        return sb.solve(problem, "scipy")

    counted.made, counted.stop_after = made, lambda limit: made_limit.update(limit=limit)
    return counted


def test_an_interrupted_run_goes_on_and_ends_in_the_same_matrix(tmp_path, calls):
    out = tmp_path / "rsm.npy"
    expected = compute_rsm(Z, matching="counted")
    calls.made.clear()
    calls.stop_after(20)
    with pytest.raises(KeyboardInterrupt):
        compute_rsm(Z, matching="counted", out=out, block=3)
    part = np.load(out)
    done = ~np.isnan(part)
    assert 0 < done.sum() - 9 < 72
    np.testing.assert_array_equal(part[done], expected[done])
    np.testing.assert_array_equal(done, done.T)

    calls.stop_after(None)
    calls.made.clear()
    left = np.isnan(part)[np.triu_indices(9, 1)].sum()
    rsm = compute_rsm(Z, matching="counted", out=out, block=3)
    np.testing.assert_array_equal(rsm, expected)
    assert len(calls.made) == left, "only what was missing is matched again"
    assert isinstance(rsm, np.memmap)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rsm.npy", "rsm.npy.json"]


def test_a_run_may_go_on_with_other_tiles_and_more_processes(tmp_path):
    out = tmp_path / "rsm.npy"
    expected = np.array(compute_rsm(Z, matching="scipy", out=out, block=4))
    broken = np.load(out, mmap_mode="r+")
    broken[2:5, 3:] = np.nan
    broken.flush()
    np.testing.assert_array_equal(compute_rsm(Z, matching="scipy", out=out, block=2, n_jobs=2), expected)


def test_more_kernels_cost_no_more_matching(tmp_path, calls):
    out = tmp_path / "rsm.npy"
    compute_rsm(Z, matching="counted", out=out)
    calls.made.clear()
    rsms = compute_rsm(Z, matching="counted", kernel=["linear", "rbf", "cosine"], out=out)
    assert calls.made == []
    in_memory = compute_rsm(Z, matching="scipy", kernel=["linear", "rbf", "cosine"])
    for kernel, name in (("linear", "rsm.npy"), ("rbf", "rsm.rbf.npy"), ("cosine", "rsm.cosine.npy")):
        np.testing.assert_array_equal(rsms[kernel], in_memory[kernel])
        np.testing.assert_array_equal(np.load(tmp_path / name), in_memory[kernel])
    described = json.loads((tmp_path / "rsm.rbf.npy.json").read_text())["fingerprint"]
    assert described["rule"] == "offdiag_median"
    assert described["sigma"] > 0
    with pytest.raises(ResumeError, match="kernel"):
        compute_rsm(Z, matching="counted", out=tmp_path / "rsm.rbf.npy")


def test_several_matchings_stream_to_files_of_their_own(tmp_path):
    rsms = compute_rsm(Z, Z[:4], matching=["identity", "scipy"], kernel="rbf", out=tmp_path / "k.npy")
    expected = compute_rsm(Z, Z[:4], matching=["identity", "scipy"], kernel="rbf")
    for name in ("identity", "scipy"):
        np.testing.assert_array_equal(rsms[name], expected[name])
        assert np.load(tmp_path / f"k.{name}.npy").shape == (9, 4)
        np.testing.assert_array_equal(np.load(tmp_path / f"k.{name}.rbf.npy"), expected[name])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"matching": "identity"}, "matching: there 'batch-optimal-128', here 'identity'"),
        ({"options": {"b": 4}}, "options"),
        ({"centring": "channel"}, "centring"),
        ({"z": Z[:8]}, "images"),
        ({"z": Z + np.float32(1e-6)}, "inputs"),
        ({"z": Z.astype(np.float64)}, "precision"),
        ({"z2": Z}, "inputs"),
        ({"z": Z[:, ::-1]}, "inputs"),
    ],
)
def test_other_inputs_or_options_are_refused(tmp_path, changed, named):
    out = tmp_path / "rsm.npy"
    how = {"matching": "batch-optimal-128", "z": Z, "out": out}
    before = np.array(compute_rsm(**how))
    if changed.get("matching") == "identity":
        how.pop("options", None)
    with pytest.raises(ResumeError, match=named):
        compute_rsm(**{**how, **changed})
    np.testing.assert_array_equal(np.load(out), before)


def test_files_that_no_run_made_are_left_alone(tmp_path):
    out = tmp_path / "mine.npy"
    np.save(out, np.arange(3))
    with pytest.raises(ResumeError, match="nothing beside it"):
        compute_rsm(Z, matching="scipy", out=out)
    assert np.load(out).tolist() == [0, 1, 2]
    (tmp_path / "other.npy.json").write_text("[1]")
    with pytest.raises(ResumeError, match="does not describe an RSM"):
        compute_rsm(Z, matching="scipy", out=tmp_path / "other.npy")


def test_a_damaged_file_is_named(tmp_path):
    out = tmp_path / "rsm.npy"
    compute_rsm(Z, matching="scipy", out=out)
    out.write_bytes(out.read_bytes()[:200])
    with pytest.raises(ResumeError, match="damaged"):
        compute_rsm(Z, matching="scipy", out=out)


def test_places_where_no_result_can_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.npy"):
        compute_rsm(Z, matching="scipy", out=tmp_path / "rsm.npz")
    with pytest.raises(FileNotFoundError, match="not a folder"):
        compute_rsm(Z, matching="scipy", out=tmp_path / "missing" / "rsm.npy")
    with pytest.raises(ValueError, match="in memory"):
        compute_rsm(Z, matching="scipy", out=tmp_path / "rsm.npy", return_permutations=True)


def test_two_runs_do_not_write_one_file(tmp_path):
    with (tmp_path / "rsm.npy.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ResumeError, match="another process"):
            compute_rsm(Z, matching="scipy", out=tmp_path / "rsm.npy")


@pytest.mark.parametrize("deaths", [1, 10**6])
def test_a_lost_process_costs_only_its_tiles(tmp_path, monkeypatch, deaths):
    sb.solver_names()
    monkeypatch.setattr(registry, "_SOLVERS", dict(registry._SOLVERS))
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
        assert grave.read_text() == "x"
    else:
        with pytest.raises(WorkersLostError):
            compute_rsm(Z, **how)
