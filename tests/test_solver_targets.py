import numpy as np
import pytest

from semrsm_bench.activations.store import open_cache, write_cache
from semrsm_bench.studies import solver_targets as study
from tests.test_auction import activations


def test_measures_every_solver_and_scores_it_against_the_best():
    problem = activations(64, 8)
    rows = study.measure_pair(problem, ["identity", "exact-auction", "auction-coarse"], repeats=1)
    assert [row["solver"] for row in rows][2:] == ["identity", "exact-auction", "auction-coarse"]
    by_name = {row["solver"]: row for row in rows}
    assert by_name["exact-auction"]["c"] == 1.0
    assert by_name["identity"]["c"] < by_name["auction-coarse"]["c"] <= 1.0
    assert all(row[clock] > 0 for row in rows for clock in study.CLOCKS)


def test_pairs_are_distinct_and_repeatable():
    pairs = study.pairs_of(10, 5)
    assert len(set(pairs)) == 10
    assert all(i != j for i, j in pairs)
    assert pairs == study.pairs_of(10, 5)


def test_summary_says_how_much_faster():
    rows = [
        {"size": 256, "centring": "none", "pair": pair, "solver": name, "wall": ms, "c": c, "quality": c}
        for pair, scale in (("0-1", 1.0), ("1-0", 3.0))
        for name, ms, c in (("ortools", 10 * scale, 1.0), ("batch-optimal-128", 4 * scale, 0.9), ("mine", scale, 0.99))
    ]
    line = next(line for line in study.summary(rows).splitlines() if line.startswith("mine"))
    assert [float(word) for word in line.split()[1:]] == [2.0, 10.0, 0.25, 0.99, 0.99, 0.99]
    rows[2]["fallback"] = "scipy"
    assert "1 fallbacks" in study.summary(rows)


@pytest.fixture
def large_cache(tmp_path):
    draw = np.random.default_rng(0)
    basis = draw.normal(size=(6, 12))
    z = np.maximum(draw.normal(size=(3, 2304, 6)) @ basis, 0).transpose(0, 2, 1).astype(np.float16)
    path = tmp_path / "large.safetensors"
    mean = z.mean(axis=0, dtype=np.float32)
    write_cache(path, {"layer1": z}, {"layer1": mean}, images=["a", "b", "c"])
    return open_cache(path).path


def test_large_images_are_scored_against_the_optimum_or_a_bound(large_cache, monkeypatch):
    exact = {row["solver"]: row for row in study.measure_large(large_cache, pairs=1)}
    monkeypatch.setattr(study, "LARGE_EXACT", 1)
    bounded = {row["solver"]: row for row in study.measure_large(large_cache, pairs=1)}
    for name in study.LARGE_SOLVERS:
        assert 0.9 < bounded[name]["c"] <= exact[name]["c"] <= 1.0
        assert exact[name]["k"] == bounded[name]["k"]
