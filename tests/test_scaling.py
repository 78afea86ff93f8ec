import numpy as np
import pytest

from semrsm_bench.activations.store import open_cache, write_cache
from semrsm_bench.studies import scaling


@pytest.fixture
def cache(tmp_path):
    z = np.random.default_rng(0).normal(size=(4, 6, 256)).astype(np.float16)
    path = tmp_path / "some.safetensors"
    write_cache(path, {"layer3": z}, {"layer3": z.mean(axis=0, dtype=np.float32)}, images=list("abcd"))
    return open_cache(path)


def test_measures_both_calls_of_every_solver_in_every_round(cache):
    rows = scaling.measure(cache, [256, 1024], ["auction-coarse", "exact-auction"], workers=2, rounds=3, load=0.01)
    assert len(rows) == 2 * 2 * 3
    assert {(row["call"], row["solver"]) for row in rows} == {
        (call, solver) for call in ("solve_many", "compute_rsm") for solver in ("auction-coarse", "exact-auction")
    }
    assert all(row["size"] == 256 and row["one"] > 0 and row["many"] > 0 for row in rows)


def test_the_first_round_does_not_count_and_calls_take_turns():
    calls = []
    seconds = scaling.in_turns(lambda: calls.append("one"), lambda: calls.append("many"), rounds=2)
    assert calls == ["one", "many"] * 3
    assert len(seconds) == 2


def test_ratios_are_taken_within_a_round():
    pairs = [(4.0, 1.0), (2.0, 1.0), (9.0, 3.0)]
    rows = [{"call": "solve_many", "size": 256, "solver": "mine", "one": a, "many": b} for a, b in pairs]
    line = scaling.summary(rows, 2).splitlines()[1]
    assert "4.000" in line
    assert "3.00  (2.00 to 4.00, 3 rounds)" in line
