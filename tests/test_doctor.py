import json
import os
import time

import pytest
from click.testing import CliRunner

from semrsm_bench.bench import doctor
from semrsm_bench.cli.doctor import doctor as command
from semrsm_bench.solvers import register_solver
from tests.bench_data import small_cache


def test_every_finding_has_a_status_and_every_warning_advice(tmp_path):
    findings = list(doctor.diagnose(small_cache(tmp_path)))
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    assert {"cores", "threads", "blas", "governor", "load", "clock", "timing noise", "solvers", "data"} <= set(names)
    for finding in findings:
        assert finding.status in ("ok", "warn", "fail")
        assert finding.found
        assert bool(finding.advice) == (finding.status != "ok")


def test_one_core_is_worth_a_warning(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert doctor.check_cores().status == "warn"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert doctor.check_cores().status == "ok"


@pytest.mark.parametrize(("text", "status"), [("max 100000", "ok"), ("50000 100000", "warn"), ("nonsense", "ok")])
def test_a_containers_quota_is_found(tmp_path, text, status):
    file = tmp_path / "cpu.max"
    file.write_text(text)
    finding = doctor.check_quota(file)
    assert finding.status == status
    if status == "warn":
        assert "0.5 CPUs" in finding.found


@pytest.mark.parametrize(("name", "status"), [("powersave", "warn"), ("performance", "ok"), ("unknown", "ok")])
def test_a_sleepy_governor_is_found(monkeypatch, name, status):
    monkeypatch.setattr(doctor, "governor", lambda: name)
    finding = doctor.check_governor()
    assert finding.status == status
    assert ("performance" in finding.advice) == (status == "warn")


@pytest.mark.parametrize(
    ("busy", "load", "status"), [([3.0, 5.0], 0.1, "ok"), ([3.0, 90.0], 0.1, "warn"), ([1.0, 1.0], 4.0, "warn")]
)
def test_a_busy_machine_is_found(monkeypatch, busy, load, status):
    monkeypatch.setattr(doctor.psutil, "cpu_percent", lambda **given: busy)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    assert doctor.check_load().status == status


def clock(monkeypatch, steps):
    now = {"ns": 0, "i": 0}

    def tick():
        now["ns"] += steps[now["i"] % len(steps)]
        now["i"] += 1
        return now["ns"]

    monkeypatch.setattr(time, "perf_counter_ns", tick)


def test_a_coarse_clock_is_found(monkeypatch):
    clock(monkeypatch, [0, 0, 15_000_000])
    assert doctor.check_clock().status == "warn"
    clock(monkeypatch, [40])
    assert doctor.check_clock().status == "ok"


def test_noise_is_found(monkeypatch):
    steady, noisy = [10**6] * 200, [10**6] * 160 + [2 * 10**6] * 40
    clock(monkeypatch, steady)
    found = doctor.check_jitter(samples=100)
    assert "within 1.00 of the median" in found.found
    clock(monkeypatch, noisy)
    assert doctor.check_jitter(samples=100).status == "warn"


def test_a_disabled_compiler_is_found(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert doctor.check_compiler().status == "warn"
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert doctor.check_compiler().status == "ok"


def test_missing_solvers_are_named_with_the_reason():
    @register_solver("doctor-missing", kind="approximate", requires=["no_such_module_at_all"])
    def missing(problem):
        raise AssertionError("never runs")

    finding = doctor.check_solvers()
    assert finding.status == "warn"
    assert "doctor-missing: needs the module 'no_such_module_at_all'" in finding.found


def test_data_that_is_missing_few_or_damaged_is_found(tmp_path):
    assert doctor.check_data(tmp_path / "nothing").status == "fail"
    few = doctor.check_data(small_cache(tmp_path / "few", images=3))
    assert few.status == "warn"
    assert "fewer than 7" in few.advice
    many = small_cache(tmp_path / "many", images=8)
    assert doctor.check_data(many).status == "ok"
    content = bytearray(many.read_bytes())
    content[-1] ^= 1
    many.write_bytes(content)
    os.utime(many, ns=(1, 1))
    assert doctor.check_data(many).status == "fail"


def test_the_verb_prints_findings_or_json_and_fails_without_data(tmp_path):
    data = str(small_cache(tmp_path))
    text = CliRunner().invoke(command, ["--data", data], standalone_mode=False)
    assert "timing noise" in text.output
    assert text.return_value == 0
    as_json = CliRunner().invoke(command, ["--data", str(tmp_path / "no"), "--json"], standalone_mode=False)
    findings = {f["name"]: f for f in json.loads(as_json.output)}
    assert findings["data"]["status"] == "fail"
    assert as_json.return_value == 1
