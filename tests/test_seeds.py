"""`run --seeds`: methods that draw numbers are measured with each seed, and the spread over seeds stands apart."""

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.activations.store import open_cache
from semrsm_bench.report.notes import seeds_text
from semrsm_bench.report.results import read_results
from semrsm_bench.report.tables import table_records
from tests.bench_data import Bench

# Rolled by the seed: what it answers for a shifted pair is what it answers for the pair.
FILE = """
import numpy as np
import semrsm_bench as sb


@sb.register_solver("drawn", kind="approximate")
def drawn(problem, *, seed=0):
    return np.roll(np.arange(problem.size), seed)


@sb.register_solver("bound", kind="approximate", seed=2)
def bound(problem, *, seed=0):
    return drawn(problem, seed=seed)
"""


@pytest.fixture
def done(tmp_path, user_cache, kept_workers):
    (tmp_path / "drawn.py").write_text(FILE)
    how = {"plugins": (tmp_path / "drawn.py",), "layers": ("layer1",), "seeds": 3, "repeats": 2, "run_id": "seeds"}
    bench, lines = Bench(tmp_path), []
    found = bench("drawn", "bound", "greedy", report=lines.append, **how)
    assert bench("drawn", "bound", "greedy", **how).measured == 0, "it resumes"
    found.cache, found.lines = bench.cache, lines
    return found


def test_who_draws_is_measured_with_every_seed_and_others_are_not(done):
    assert {name: count["ok"] for name, count in done.by_method.items()} == {"drawn": 18, "bound": 6, "greedy": 6}
    cache = open_cache(done.cache)
    for row in done.of("drawn"):
        assert row["seed"] == row["repeat"] // 2
        x, y = (cache.positions("layer1", int(image), "none") for image in row["units"]["pair"][0].split("-"))
        problem = sb.MatchingProblem(x, y)
        k = sb.matching_value(problem, np.roll(np.arange(problem.size), row["seed"]))
        assert row["raw"]["k"] == pytest.approx(k, rel=1e-5)
    assert {row["seed"] for row in done.rows if row["method"] != "drawn"} == {0}
    x, y = (cache.positions("layer1", i, "none") for i in (0, 1))
    assert all(row["options"] == ({"seed": 2} if row["method"] == "bound" else {}) for row in done.rows)


def test_who_is_measured_once_all_the_same_is_said(done):
    (said,) = (line for line in done.lines if "seed" in line.partition(":")[2])
    assert said == "notice: measured once, since they have no option seed: bound, greedy"


def test_the_spread_over_seeds_stands_apart_from_that_over_pairs(done):
    (results,) = read_results(done.folder)
    found = {summary.method: summary for summary in results.summaries}
    by_seed = [np.mean([row["scores"]["c"] for row in done.of("drawn") if row["seed"] == seed]) for seed in range(3)]
    np.testing.assert_allclose(found["drawn"].seeds["c"], by_seed)
    assert found["drawn"].scores["c"].value == pytest.approx(np.mean(by_seed))
    assert not found["bound"].seeds
    assert not found["greedy"].seeds
    text = f"c {np.std(by_seed, ddof=1):.2g} ({min(by_seed):.4g} to {max(by_seed):.4g}, 3 seeds)"
    assert seeds_text(found["drawn"], "c") == text
    assert seeds_text(found["greedy"], "c") == ""
    rows = {row["method"]: row for row in table_records(results)}
    assert (rows["drawn"]["seeds"], rows["greedy"].get("seeds")) == (3, None)
    assert rows["drawn"]["c_seeds_sd"] == pytest.approx(np.std(by_seed, ddof=1))
