"""``semrsm-bench doctor``: what it finds on machines that are made up, and that it finds nothing on sound ones."""

import collections
import errno
import fcntl
import json
import os
import resource
import tempfile
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


def result_of(look, *given, **more):
    """Status, words and advice of a check."""
    try:
        found, advice = look(*given, **more)
    except doctor.CannotMeasureError as error:
        return "fail", *error.args
    return "warn" if advice else "ok", found, advice


def test_the_verb_prints_findings_or_json_and_fails_without_data(tmp_path):
    text = CliRunner().invoke(command, ["--data", str(small_cache(tmp_path))], standalone_mode=False)
    assert "timing noise" in text.output
    assert text.return_value == 0
    as_json = CliRunner().invoke(command, ["--data", str(tmp_path / "no"), "--json"], standalone_mode=False)
    assert as_json.return_value == 1
    listed = json.loads(as_json.output)
    findings = {f["name"]: f for f in listed}
    assert len(findings) == len(listed)
    assert {"cores", "threads", "governor", "load", "timing noise", "solvers", "limits", "encoding"} <= set(findings)
    assert set(STOPS) <= set(findings)
    assert findings["data"]["status"] == "fail"
    for finding in listed:
        assert finding["found"]
        assert bool(finding["advice"]) == (finding["status"] != "ok")


def giving(value):
    return lambda *given, **more: value


def memory(free):
    return giving(SimpleNamespace(available=free << 30, total=64 << 30))


def threads(text):
    return giving(SimpleNamespace(stdout=text))


def encoding(name):
    return SimpleNamespace(encoding=name)


@pytest.mark.parametrize(
    ("check", "machine", "warned"),
    [
        ("cores", {"os.sched_getaffinity": giving({0})}, "one core"),
        ("cores", {"os.sched_getaffinity": giving({0, 1})}, ""),
        *(("governor", {"doctor.governor": giving(name)}, "") for name in ("performance", "unknown")),
        ("governor", {"doctor.governor": giving("powersave")}, "powersave"),
        ("load", {"psutil.cpu_percent": giving([3.0, 5.0]), "os.getloadavg": giving((0.1,) * 3)}, ""),
        ("load", {"psutil.cpu_percent": giving([3.0, 90.0]), "os.getloadavg": giving((0.1,) * 3)}, "3 %, 90 %"),
        ("load", {"psutil.cpu_percent": giving([1.0, 1.0]), "os.getloadavg": giving((4.0,) * 3)}, "load 4.00 on 2"),
        ("memory", {"psutil.virtual_memory": memory(1)}, "1.0 of 64.0 GiB free"),
        ("memory", {"psutil.virtual_memory": memory(64)}, ""),
        *(("threads", {"subprocess.run": threads(text)}, "") for text in ("[1, 1]", "[]")),
        ("threads", {"subprocess.run": threads("[1, 4]")}, "4 threads"),
        ("threads", {"subprocess.run": threads("no JSON")}, "could not be"),
        ("encoding", {"sys.stdout": encoding("utf-8"), "sys.getfilesystemencoding": giving("UTF8")}, ""),
        ("encoding", {"sys.stdout": encoding("ascii")}, "ascii is the encoding of output"),
        ("encoding", {"sys.getfilesystemencoding": giving("ascii")}, "ascii is the encoding of file names"),
        ("solvers", {"NUMBA_DISABLE_JIT": "1"}, "NUMBA_DISABLE_JIT"),
        ("solvers", {"doctor.solver_names": giving(["scipy"]), "doctor.CANDIDATES": ("scipy",)}, ""),
        ("code", {"doctor.commit_of": giving((None, None))}, ""),
        ("code", {"doctor.commit_of": giving(("a" * 40, False))}, ""),
        ("code", {"doctor.commit_of": giving(("a" * 40, True))}, "local changes"),
    ],
)
def test_what_distorts_figures_is_found_and_a_sound_machine_is_not_blamed(monkeypatch, check, machine, warned):
    for name, value in machine.items():
        if name.isupper():
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.setattr(name.replace("doctor.", "semrsm_bench.bench.doctor."), value)
    status, found, _ = result_of(getattr(doctor, f"check_{check}"))
    assert (status, warned in found) == ("warn" if warned else "ok", True), found


@pytest.mark.parametrize("text", ["max 100000", "50000 100000", "nonsense", "a b"])
def test_a_containers_quota_is_found(tmp_path, text):
    file = tmp_path / "cpu.max"
    file.write_text(text)
    status, found, _ = result_of(doctor.check_cores, file)
    assert (status == "warn") == ("0.5 CPUs" in found) == (text == "50000 100000")


@pytest.mark.parametrize(
    ("steps", "stolen", "status"),
    [([1], 0.0, "ok"), ([1] * 160 + [2] * 40, 0.0, "warn"), ([1], 5.0, "warn")],
)
def test_noise_and_a_host_that_takes_time_away_are_found(monkeypatch, steps, stolen, status):
    readings = [(0.0, 0.0), (100.0 - stolen, stolen)]
    times = map(collections.namedtuple("Times", "user steal")._make, readings)
    monkeypatch.setattr(doctor.psutil, "cpu_times", lambda: next(times))
    now, calls = 0, 0

    def tick():
        nonlocal now, calls
        now += 10**6 * steps[calls % len(steps)]
        calls += 1
        return now

    monkeypatch.setattr("time.perf_counter_ns", tick)
    monkeypatch.setattr(worker.clock, "perf_counter_ns", tick)
    found = result_of(doctor.check_jitter, samples=100)
    assert (found[0], "at most 1.00 times the median" in found[1]) == (status, len(steps) == 1)


STOPS = {"results": True, "temporary": True, "cache": False, "compiled code": False, "shared memory": False}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Every folder that a run writes to, apart from the others."""
    assert set(doctor._PLACES) == set(STOPS)
    for name, (_, *rest) in doctor._PLACES.items():
        (tmp_path / name).mkdir()
        monkeypatch.setitem(doctor._PLACES, name, (lambda name=name: tmp_path / name / "below", *rest))
    return tmp_path


def refuse(number):
    def refused(*given, **more):
        raise OSError(number, os.strerror(number), "a file")

    return refused


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("number", [None, errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EFBIG])
def test_folders_that_are_full_or_cannot_be_written_are_found(places, monkeypatch, name, number):
    assert result_of(doctor.check_folder, name)[0] == "ok"
    real, little = os.statvfs, SimpleNamespace(f_bavail=2, f_frsize=1 << 20)
    if number is None:
        monkeypatch.setattr(os, "statvfs", lambda path: little if path == places / name else real(path))
    else:
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse(number))
    status, found, advice = result_of(doctor.check_folder, name)
    assert (status, bool(advice)) == ("fail" if STOPS[name] else "warn", True)
    assert found.startswith(str(places / name))
    assert (os.strerror(number) if number else "2 MiB free") in found


def test_the_places_are_those_that_a_run_uses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"temporary": "TMPDIR", "cache": "XDG_CACHE_HOME", "compiled code": "NUMBA_CACHE_DIR"}
    for name, variable in names.items():
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
        assert str(tmp_path / name) in doctor.check_folder(name)[0]
    assert f"{tmp_path}:" in doctor.check_folder("results")[0]
    (tmp_path / "results").mkdir()
    assert f"{tmp_path / 'results'}:" in doctor.check_folder("results")[0]
    assert "/dev/shm" in doctor.check_folder("shared memory")[0]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_found(places, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", refuse(number))
    status, found, advice = result_of(doctor.check_folder, "results")
    assert (status, "no locks here" in found, str(places) in found) == ("warn", True, True)
    assert "second process" in advice
    assert result_of(doctor.check_folder, "cache")[0] == "ok"


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
    assert result_of(doctor.check_limits)[0] == "ok"
    limits[kind] = (soft, resource.RLIM_INFINITY)
    assert result_of(doctor.check_limits)[:2] == ("fail", said)


def test_missing_solvers_are_named_with_the_reason_and_without_an_exact_one_nothing_can_be_measured(monkeypatch):
    register_solver("doctor-missing", kind="approximate", requires=["no_such_module"])(lambda problem: None)
    status, found, _ = result_of(doctor.check_solvers)
    assert (status, "doctor-missing: needs the module 'no_such_module'" in found) == ("warn", True)
    monkeypatch.setattr(doctor, "CANDIDATES", ("doctor-missing",))
    assert result_of(doctor.check_solvers)[:2] == ("fail", "no exact solver can run")


def test_data_that_is_missing_few_or_damaged_is_found(tmp_path):
    few, many = small_cache(tmp_path / "few", images=5), small_cache(tmp_path / "many", images=6)
    assert "fewer than 6" in doctor.check_data(few)[1]
    assert result_of(doctor.check_data, many)[0] == "ok"
    content = bytearray(many.read_bytes())
    content[-1] ^= 1
    many.write_bytes(content)
    os.utime(many, ns=(1, 1))
    for damaged in (many, tmp_path / "nothing"):
        assert result_of(doctor.check_data, damaged)[0] == "fail"


def test_stored_optima_that_prove_nothing_are_found(tmp_path):
    data = small_cache(tmp_path / "data")
    cache = OptimumCache(tmp_path / "optima")
    assert doctor.check_optima(data, cache) == ("none for these data so far", "")
    for case in MatchingTask().cases(MatchingOptions(data=data, pairs={"": 3})):
        cache.get(MatchingProblem(*case.inputs().values()), here)
    paths = sorted((tmp_path / "optima").rglob("*.npz"))
    assert doctor.check_optima(data, cache, seconds=60) == (f"{len(paths)} checked, all of them proved", "")
    change(paths[0], k_upper=1e9)
    found, advice = doctor.check_optima(data, cache, seconds=60)
    assert found == f"1 of {len(paths)} do not prove what they claim: {paths[0].name}"
    assert str(tmp_path / "optima") in advice
    assert doctor.check_optima(tmp_path / "nowhere", cache) == ("none for these data so far", "")
