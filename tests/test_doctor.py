"""``semrsm-bench doctor``: what it finds on machines that are made up, and that it finds nothing on sound ones."""

import collections
import errno
import fcntl
import json
import os
import resource
import sys
import tempfile
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from semrsm_bench.bench import doctor, worker
from semrsm_bench.bench.optimum import OptimumCache
from semrsm_bench.cli.check import doctor as command
from semrsm_bench.solvers import MatchingProblem, register_solver
from semrsm_bench.tasks.matching import MatchingOptions, MatchingTask
from tests.bench_data import small_cache
from tests.test_optimum import change, here


def test_every_finding_has_a_status_and_every_warning_advice(tmp_path):
    findings = list(doctor.diagnose(small_cache(tmp_path)))
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    assert {"cores", "threads", "governor", "load", "timing noise", "solvers", "data"} <= set(names)
    assert {*STOPS, "limits", "encoding"} <= set(names)
    for finding in findings:
        assert finding.status in ("ok", "warn", "fail")
        assert finding.found
        assert bool(finding.advice) == (finding.status != "ok")


def warns(look):
    """Whether a look at one thing ends in advice."""
    found, advice = look
    assert found
    return bool(advice)


def test_one_core_is_worth_a_warning(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert warns(doctor.check_cores())
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert not warns(doctor.check_cores())


@pytest.mark.parametrize("text", ["max 100000", "50000 100000", "nonsense", "a b"])
def test_a_containers_quota_is_found(tmp_path, text):
    file = tmp_path / "cpu.max"
    file.write_text(text)
    assert warns(doctor.check_cores(file)) == ("0.5 CPUs" in doctor.check_cores(file)[0]) == (text == "50000 100000")


@pytest.mark.parametrize("name", ["powersave", "performance", "unknown"])
def test_a_sleepy_governor_is_found(monkeypatch, name):
    monkeypatch.setattr(doctor, "governor", lambda: name)
    assert warns(doctor.check_governor()) == (name == "powersave")


@pytest.mark.parametrize(
    ("busy", "load", "warned"), [([3.0, 5.0], 0.1, False), ([3.0, 90.0], 0.1, True), ([1.0, 1.0], 4.0, True)]
)
def test_a_busy_machine_is_found(monkeypatch, busy, load, warned):
    monkeypatch.setattr(doctor.psutil, "cpu_percent", lambda **given: busy)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    assert warns(doctor.check_load()) == warned


def clock(monkeypatch, steps):
    now = {"ns": 0, "i": 0}

    def tick():
        now["ns"] += steps[now["i"] % len(steps)]
        now["i"] += 1
        return now["ns"]

    monkeypatch.setattr(time, "perf_counter_ns", tick)
    monkeypatch.setattr(worker.clock, "perf_counter_ns", tick)


def test_noise_is_found(monkeypatch):
    steady, noisy = [10**6] * 200, [10**6] * 160 + [2 * 10**6] * 40
    clock(monkeypatch, steady)
    assert "at most 1.00 times the median" in doctor.check_jitter(samples=100)[0]
    clock(monkeypatch, noisy)
    assert warns(doctor.check_jitter(samples=100))


@pytest.mark.parametrize("stolen", [0.0, 5.0])
def test_a_host_that_takes_time_away_is_found(monkeypatch, stolen):
    times = collections.namedtuple("Times", "user steal")
    readings = iter([times(0.0, 0.0), times(100.0 - stolen, stolen)])
    monkeypatch.setattr(doctor.psutil, "cpu_times", lambda: next(readings))
    clock(monkeypatch, [10**6])
    assert warns(doctor.check_jitter(samples=10)) == (stolen > 0)


@pytest.mark.parametrize(("free", "threads"), [(1, "[1, 4]"), (64, "[1, 1]"), (64, "[]"), (1, "no JSON")])
def test_little_memory_and_many_threads_are_found(monkeypatch, free, threads):
    memory = SimpleNamespace(available=free << 30, total=64 << 30)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *given, **more: SimpleNamespace(stdout=threads))
    assert warns(doctor.check_memory()) == warns(doctor.check_threads()) == (free == 1)


STOPS = {"results": True, "temporary": True, "cache": False, "compiled code": False, "shared memory": False}


def looked_at(name):
    """Status, words and advice of a look at a folder."""
    try:
        found, advice = doctor.check_folder(name)
    except doctor.CannotMeasureError as error:
        return "fail", *error.args
    return "warn" if advice else "ok", found, advice


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Every folder that a run writes to, apart from the others."""
    for name, (_, *rest) in doctor._PLACES.items():
        (tmp_path / name).mkdir()
        monkeypatch.setitem(doctor._PLACES, name, (lambda name=name: tmp_path / name / "below", *rest))
    return tmp_path


@pytest.mark.parametrize("name", STOPS)
def test_folders_that_are_full_or_cannot_be_written_are_found(places, monkeypatch, name):
    assert set(doctor._PLACES) == set(STOPS)
    assert looked_at(name)[0] == "ok"
    bad = "fail" if STOPS[name] else "warn"
    real = os.statvfs
    with monkeypatch.context() as patch:
        little = SimpleNamespace(f_bavail=2, f_frsize=1 << 20)
        patch.setattr(os, "statvfs", lambda path: little if path == places / name else real(path))
        status, found, advice = looked_at(name)
        assert (status, f"{places / name}: 2 MiB free" in found, bool(advice)) == (bad, True, True)
    for number in (errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EFBIG):

        def refuse(number=number, **given):
            raise OSError(number, os.strerror(number), "a file")

        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "TemporaryFile", refuse)
            status, found, advice = looked_at(name)
        assert (status, str(places / name) in found, os.strerror(number) in found, bool(advice)) == (
            bad,
            True,
            True,
            True,
        )


def test_the_places_are_those_that_a_run_uses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"temporary": "TMPDIR", "cache": "XDG_CACHE_HOME", "compiled code": "NUMBA_CACHE_DIR"}
    for name, variable in names.items():
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
        assert str(tmp_path / name) in looked_at(name)[1]
    assert f"{tmp_path}:" in looked_at("results")[1]
    (tmp_path / "results").mkdir()
    assert f"{tmp_path / 'results'}:" in looked_at("results")[1]
    assert "/dev/shm" in looked_at("shared memory")[1]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_found(places, monkeypatch, number):
    def flock(*given):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    status, found, advice = looked_at("results")
    assert (status, "no locks here" in found, str(places) in found) == ("warn", True, True)
    assert "second process" in advice
    assert looked_at("cache")[0] == "ok"


@pytest.mark.parametrize(
    ("kind", "soft", "said"),
    [
        (resource.RLIMIT_FSIZE, 100 << 10, "ulimit -f is 100, a run needs 65536"),
        (resource.RLIMIT_AS, 1 << 30, "ulimit -v is 1048576, a run needs 4194304"),
        (resource.RLIMIT_NOFILE, 40, "ulimit -n is 40, a run needs 256"),
        (resource.RLIMIT_NPROC, 10, "ulimit -u is 10, a run needs 128"),
    ],
)
def test_low_limits_are_found(monkeypatch, kind, soft, said):
    limits = collections.defaultdict(lambda: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    assert not warns(doctor.check_limits())
    limits[kind] = (soft, resource.RLIM_INFINITY)
    with pytest.raises(doctor.CannotMeasureError) as failed:
        doctor.check_limits()
    assert failed.value.args[0] == said


@pytest.mark.parametrize("what", ["output", "file names"])
def test_an_encoding_that_lacks_signs_is_found(monkeypatch, what):
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(encoding="utf-8"))
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "UTF8")
    assert not warns(doctor.check_encoding())
    if what == "output":
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(encoding="ascii"))
    else:
        monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert f"ascii is the encoding of {what}" in doctor.check_encoding()[0]


def test_a_disabled_compiler_is_found(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert "NUMBA_DISABLE_JIT" in doctor.check_solvers()[0]
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert "NUMBA_DISABLE_JIT" not in doctor.check_solvers()[0]


def test_missing_solvers_are_named_with_the_reason():
    @register_solver("doctor-missing", kind="approximate", requires=["no_such_module_at_all"])
    def missing(problem):
        raise AssertionError("never runs")

    assert warns(doctor.check_solvers())
    assert "doctor-missing: needs the module 'no_such_module_at_all'" in doctor.check_solvers()[0]


def test_without_an_exact_solver_nothing_can_be_measured(monkeypatch):
    monkeypatch.setattr(doctor, "CANDIDATES", ())
    with pytest.raises(doctor.CannotMeasureError, match="no exact solver"):
        doctor.check_solvers()


def test_data_that_is_missing_few_or_damaged_is_found(tmp_path):
    few, many = small_cache(tmp_path / "few", images=6), small_cache(tmp_path / "many", images=7)
    assert "fewer than 7" in doctor.check_data(few)[1]
    assert not warns(doctor.check_data(many))
    content = bytearray(many.read_bytes())
    content[-1] ^= 1
    many.write_bytes(content)
    os.utime(many, ns=(1, 1))
    for damaged in (many, tmp_path / "nothing"):
        with pytest.raises(doctor.CannotMeasureError):
            doctor.check_data(damaged)


def test_figures_are_traced_to_a_commit(monkeypatch):
    looks = {}
    for found in ((None, None), ("a" * 40, False), ("a" * 40, True)):
        monkeypatch.setattr(doctor, "commit_of", lambda folder, found=found: found)
        looks[found] = warns(doctor.check_code())
    assert list(looks.values()) == [False, False, True]


def test_the_verb_prints_findings_or_json_and_fails_without_data(tmp_path):
    data = str(small_cache(tmp_path))
    text = CliRunner().invoke(command, ["--data", data], standalone_mode=False)
    assert "timing noise" in text.output
    assert text.return_value == 0
    as_json = CliRunner().invoke(command, ["--data", str(tmp_path / "no"), "--json"], standalone_mode=False)
    findings = {f["name"]: f for f in json.loads(as_json.output)}
    assert findings["data"]["status"] == "fail"
    assert as_json.return_value == 1


def test_stored_optima_that_prove_nothing_are_found(tmp_path):
    data = small_cache(tmp_path / "data")
    cache = OptimumCache(tmp_path / "optima")
    assert doctor.check_optima(data, cache) == ("none for these data so far", "")
    for case in MatchingTask().cases(MatchingOptions(data=data, pairs={"": 3})):
        cache.get(MatchingProblem(*case.inputs().values()), here)
    paths = sorted((tmp_path / "optima").rglob("*.npz"))
    assert doctor.check_optima(data, cache, seconds=60) == (f"{len(paths)} looked at, all of them proved", "")
    change(paths[0], k_upper=1e9)
    found, advice = doctor.check_optima(data, cache, seconds=60)
    assert found == f"1 of {len(paths)} do not prove what they claim: {paths[0].name}"
    assert str(tmp_path / "optima") in advice
    assert doctor.check_optima(tmp_path / "nowhere", cache) == ("none for these data so far", "")
