import numpy as np
import pytest

from semrsm_bench.solvers import MatchingProblem, get_solver, matrix_free
from semrsm_bench.solvers.kernels.lists import Lists
from semrsm_bench.solvers.matrix_free import ColumnSearch, centre, row_duals
from tests.hard_problems import hard_problem, true_affinity
from tests.test_auction import activations, corrected

NAMES = ["matrix-free-coarse", "matrix-free-fine"]


@pytest.mark.parametrize("name", NAMES)
def test_never_touches_the_affinity(name):
    solver = get_solver(name)
    assert solver.matrix_free
    for problem in (activations(300, 8), activations(3000, 8)):
        solver.run(problem)
        assert not problem.has_affinity


@pytest.mark.parametrize("channels", [6, 40])
def test_quality_of_the_named_solvers(channels):
    problem = activations(3000, channels)
    coarse, fine = (corrected(problem, get_solver(name).run(problem, sample=256).perm) for name in NAMES)
    assert coarse >= 0.95
    assert fine >= 0.99


def test_a_problem_no_larger_than_the_sample_is_solved_exactly():
    problem = activations(500, 8)
    assert corrected(problem, get_solver("matrix-free-coarse").run(problem).perm) == pytest.approx(1, abs=1e-9)


def test_looking_into_every_bucket_finds_the_best_columns():
    problem = activations(700, 9, seed=4)
    centred = centre(problem)
    draw = np.random.default_rng(0)
    rows, columns = (np.sort(draw.permutation(700)[:24]) for _ in range(2))
    search = ColumnSearch(centred, rows, columns, probes=24)
    prices = draw.normal(size=700).astype(np.float32)
    listed, values, bounds, _ = lists = Lists.empty(700, np.dtype(np.float32))
    search.fill(np.arange(700), prices, lists)
    reduced = centred.x.astype(np.float64) @ centred.y.astype(np.float64).T - prices
    for i in range(0, 700, 7):
        kept = listed[i][values[i] > -np.inf]
        assert len(np.unique(kept)) == len(kept) >= 12
        assert reduced[i, kept].max() == pytest.approx(reduced[i].max(), abs=1e-4)
        assert bounds[i] >= np.delete(reduced[i], kept).max() - 1e-4
        assert values[i][: len(kept)] - prices[kept] == pytest.approx(reduced[i, kept], abs=1e-4)


@pytest.mark.parametrize(("rows_at_a_time", "block_bytes"), [(1 << 14, 8 << 20), (300, 8 << 20), (1 << 14, 1 << 16)])
def test_few_buckets_find_most_of_the_best_columns(monkeypatch, rows_at_a_time, block_bytes):
    monkeypatch.setattr(matrix_free, "_ROWS_AT_A_TIME", rows_at_a_time)
    monkeypatch.setattr(matrix_free, "_BLOCK_BYTES", block_bytes)
    centred = centre(activations(2000, 40, seed=4))
    draw = np.random.default_rng(0)
    rows, columns = (np.sort(draw.permutation(2000)[:200]) for _ in range(2))
    prices, lists = np.einsum("sc,sc->s", centred.y, centred.y) / 2, Lists.empty(2000, np.dtype(np.float32))
    ColumnSearch(centred, rows, columns, probes=16).fill(np.arange(2000), prices, lists)
    reduced = centred.x @ centred.y.T - prices
    best = reduced.argmax(axis=1)
    assert np.mean((lists.columns == best[:, None]).any(axis=1)) > 0.9


def test_centring_keeps_differences_of_the_affinity():
    problem = hard_problem("beyond float32", 50, 4, 1)
    centred = centre(problem)
    affinity = true_affinity(MatchingProblem(problem.x - problem.x.mean(axis=0), problem.y - problem.y.mean(axis=0)))
    mine = np.ldexp(centred.x.astype(np.float64) @ centred.y.astype(np.float64).T, centred.exponent)
    assert mine == pytest.approx(affinity, rel=1e-4, abs=1e-6 * np.abs(affinity).max())


@pytest.mark.parametrize("tile", [(512, 4096), (7, 11), (1, 300)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 300), (300, 5), (1200, 900)])
def test_row_duals_are_row_maxima(monkeypatch, tile, rows, columns):
    monkeypatch.setattr(matrix_free, "_TILE", tile)
    draw = np.random.default_rng(rows)
    x, y = (draw.normal(size=(n, 7)) for n in (rows, columns))
    prices = draw.normal(size=columns)
    assert row_duals(x, y, prices) == pytest.approx((x @ y.T - prices).max(axis=1), rel=1e-12)
