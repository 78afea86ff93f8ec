"""Certified optima: what is proved, kept, proved again and refused."""

import dataclasses
import errno
import json
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semrsm_bench.bench import optimum
from semrsm_bench.bench.optimum import Optimum, OptimumCache, certified_upper, find_optimum, prices_of
from semrsm_bench.bench.process import Reply
from semrsm_bench.solvers import MatchingProblem, get_solver, matching_value, random_value
from semrsm_bench.solvers.bounds import dual_value
from tests.hard_problems import best_by_trying_all, best_columns, best_value, true_affinity


def here(name, x, y):
    """Solve in this process: these tests are about proofs, not about isolation."""
    solution = get_solver(name).run(MatchingProblem(x, y))
    duals = {} if solution.duals is None else dict(zip("uv", solution.duals))
    return Reply("ok", value={"arrays": {"perms": solution.perm[None], **duals}})


def answer(perm, **duals):
    return Reply("ok", value={"arrays": {"perms": np.asarray(perm)[None], **duals}})


def problem_of(size, channels=4, seed=0, dtype=np.float32, offset=0.0):
    rng = np.random.default_rng(seed)
    return MatchingProblem(*((rng.standard_normal((size, channels)) + offset).astype(dtype) for _ in range(2)))


vectors = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 3)), elements=st.floats(-100, 100, width=32)
)


@given(vectors, st.data())
def test_any_prices_bound_the_optimum_and_the_optimum_is_that_of_brute_force(x, data):
    y = data.draw(hnp.arrays(np.float32, x.shape, elements=st.floats(-100, 100, width=32)))
    prices = data.draw(hnp.arrays(np.float64, len(x), elements=st.floats(-1e4, 1e4)))
    problem = MatchingProblem(x, y)
    best = best_by_trying_all(true_affinity(problem))
    assert certified_upper(problem, prices) >= best
    found = find_optimum(problem, here)
    scale = max(1e-30, float(np.linalg.norm(x.astype(float)) * np.linalg.norm(y.astype(float))))
    assert found.k_opt == pytest.approx(best, abs=2e-6 * scale)
    assert found.k_upper >= best - 1e-12 * scale


@pytest.mark.parametrize("room", [1, 8 * 20 * 7, 32 << 20])
def test_prices_prove_an_optimal_matching_and_no_other_in_any_number_of_blocks(monkeypatch, room):
    monkeypatch.setattr(optimum, "_BLOCK_BYTES", room)
    problem = problem_of(20)
    affinity, prices = true_affinity(problem), np.random.default_rng(1).standard_normal(20)
    dual = (affinity - prices).max(axis=1).sum() + prices.sum()
    assert certified_upper(problem, prices) == pytest.approx(dual, rel=1e-12)
    perm = best_columns(affinity)
    prices, k = prices_of(problem, perm), matching_value(problem, perm)
    assert k <= certified_upper(problem, prices) <= k * (1 + 1e-9)
    assert (affinity - prices)[range(20), perm] == pytest.approx((affinity - prices).max(axis=1), abs=1e-9)
    swapped = perm.copy()
    swapped[:2] = perm[1::-1]
    worse = certified_upper(problem, prices_of(problem, swapped))
    assert worse >= k
    assert worse - matching_value(problem, swapped) > 1e-4
    for wrong in (prices[1:], np.full(20, np.nan)):
        with pytest.raises(ValueError, match="prices"):
            certified_upper(problem, wrong)


NOISE = np.random.default_rng(0).standard_normal((2, 64, 4)).astype(np.float32)


@pytest.mark.parametrize(
    "pair",
    [
        NOISE,
        NOISE + 1000,
        (np.zeros((5, 3)), np.zeros((5, 3))),
        (np.ones((5, 3)), np.ones((5, 3))),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.ones((1, 2)), -np.ones((1, 2))),
        (1e-30 * np.eye(4, dtype=np.float32), 1e-30 * np.eye(4, dtype=np.float32)),
        (1e30 * np.eye(4, dtype=np.float32), 1e30 * np.eye(4, dtype=np.float32)),
        (np.repeat(np.eye(3), 4, axis=0), np.repeat(np.eye(3)[::-1], 4, axis=0)),
    ],
    ids=["plain", "offset", "zeros", "constant", "empty", "one", "tiny", "huge", "ties"],
)
def test_special_problems_have_a_proved_optimum(pair):
    problem = MatchingProblem(*pair)
    found, best = find_optimum(problem, here), best_value(problem)
    assert abs(found.k_opt - best) <= 2e-6 * (best - random_value(problem)) + 1e-12 * abs(best)
    assert found.k_upper >= found.k_opt
    assert found.certificate <= 1e-6


NO_PERMUTATION = [np.zeros(30, int), np.arange(29), np.arange(30.0), np.full(30, -1), np.arange(30)[:, None]]


@pytest.mark.parametrize(
    "reply",
    [Reply("timeout", "stopped"), Reply("ok"), answer(np.arange(30))]
    + [answer(perm, u=np.full(30, 1e-3), v=np.zeros(30)) for perm in (np.arange(30), *NO_PERMUTATION)],
)
def test_a_reply_that_proves_nothing_is_no_optimum(reply, tmp_path):
    problem = problem_of(30)
    expected = find_optimum(problem, here)
    found = find_optimum(problem, lambda name, *given: here(name, *given) if name == "ortools" else reply)
    assert found.solver == "ortools"
    assert found.k_opt == pytest.approx(expected.k_opt, rel=1e-6)
    alone = OptimumCache(tmp_path).get(problem, lambda *given: reply)
    assert (alone.k_opt, alone.perm, alone.prices) == (None, None, None)
    assert alone.k_upper >= expected.k_opt
    assert not list(tmp_path.rglob("*.npz")), "what was not proved is not kept"


@pytest.mark.parametrize("v", [np.zeros(5), np.full(40, np.nan), np.zeros((40, 2)), np.full(40, 1e300)])
def test_strange_duals_do_not_hinder_a_proof(v):
    problem = problem_of(40)
    found = find_optimum(problem, lambda *given: answer(here(*given).value["arrays"]["perms"][0], v=v))
    assert found.k_opt == pytest.approx(find_optimum(problem, here).k_opt, rel=1e-9)


def test_beyond_reach_there_is_a_certified_bound_and_it_is_kept(tmp_path, monkeypatch):
    problem = problem_of(30)
    best = find_optimum(problem, here).k_opt
    monkeypatch.setattr(optimum, "LARGEST", 20)
    cache = OptimumCache(tmp_path)
    found = cache.get(problem, lambda *given: pytest.fail("tried to solve it"))
    assert found.k_opt is None
    assert best <= found.k_upper <= 1.5 * best
    assert dual_value(problem, found.prices) == found.k_upper
    with monkeypatch.context() as patch:
        patch.setattr(optimum, "tight_prices", lambda *given: pytest.fail("bounded twice"))
        assert same(cache.get(problem, here), found)
    path = cache.path(problem)
    for changes in ({"k_upper": 0.9 * best}, {"prices": found.prices * 0.5}, {"prices": None}):
        change(path, **changes)
        with pytest.warns(UserWarning, match="did not prove"):
            assert cache.get(problem, here).k_upper == found.k_upper


def same(one, other):
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(Optimum))


def test_an_entry_is_keyed_by_every_bit_of_the_data_carries_its_proof_and_is_solved_once(tmp_path):
    base, solver = problem_of(6, offset=3.0), mock.Mock(side_effect=here)
    changed = np.array(base.x)
    changed[3, 1] = np.nextafter(changed[3, 1], np.float32(9))
    problems = [
        base,
        MatchingProblem(changed, base.y),
        MatchingProblem(base.y, base.x),
        MatchingProblem(base.x.astype(float), base.y.astype(float)),
        MatchingProblem(base.x.reshape(12, 2), base.y.reshape(12, 2)),
    ]
    first = [OptimumCache(tmp_path).get(problem, solver) for problem in problems]
    assert solver.call_count == len({OptimumCache().path(problem) for problem in problems}) == 5
    for problem, before in zip(problems, first):
        stored = OptimumCache(tmp_path).get(problem, lambda *given: pytest.fail("solved twice"))
        assert same(stored, before)
        assert matching_value(problem, stored.perm) == stored.k_opt
        upper = certified_upper(problem, stored.prices)
        assert stored.k_opt <= stored.k_upper <= upper * (1 + 1e-12)
        assert (upper - stored.k_opt) / (stored.k_opt - random_value(problem)) <= 1e-6


def test_a_cache_that_cannot_be_written_is_kept_in_memory_with_one_warning(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    cache, solver = OptimumCache(tmp_path / "file" / "optima"), mock.Mock(side_effect=here)
    with pytest.warns(RuntimeWarning, match="optima are kept in memory") as said:
        found = [cache.get(problem_of(9, seed=i), solver) for i in (0, 1)]
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(same(cache.get(problem_of(9, seed=i), solver), found[i]) for i in (0, 1))
    assert solver.call_count == 2


def test_a_disk_that_fills_up_leaves_no_half_entry(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"PK")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(RuntimeWarning, match="disk is full"):
        OptimumCache(tmp_path).get(problem_of(9), here)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def change(path, **changes):
    """Put other facts or arrays into an entry; None takes an array out."""
    with np.load(path) as content:
        parts = {name: content[name] for name in content}
    facts = json.loads(str(parts["facts"]))
    facts |= {k: v for k, v in changes.items() if k in facts}
    parts |= {k: v for k, v in changes.items() if k not in facts}
    parts = {k: v for k, v in parts.items() if v is not None}
    np.savez(path, **{**parts, "facts": np.array(json.dumps(facts))})


# A worse matching with its k, and with the prices that there are: nothing but the proof fails.
WORSE = {"perm": np.arange(30), "k_opt": matching_value(problem_of(30), np.arange(30)), "certificate": 0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"perm": perm}
        for perm in (np.roll(np.arange(30), 1), np.zeros(30, int), np.arange(29), np.arange(30) + 0.5, None)
    ]
    + [{"prices": v} for v in (np.zeros(30), np.zeros(29), np.full(30, np.nan), np.array(["x"] * 30), None)]
    + [{"k_opt": 0.0}, {"k_upper": 1e9}, {"k_opt": None, "k_upper": 1e9}, WORSE, {**WORSE, "k_upper": WORSE["k_opt"]}],
    ids=str,
)
def test_an_entry_that_does_not_prove_its_k_is_proved_anew(tmp_path, changes):
    problem, solver = problem_of(30), mock.Mock(side_effect=here)
    expected = OptimumCache(tmp_path).get(problem, solver)
    (path,) = tmp_path.rglob("*.npz")
    change(path, **changes)
    assert OptimumCache(tmp_path).check(problem) is False
    with pytest.warns(UserWarning, match="did not prove what it claimed; the optimum was proved anew"):
        found = OptimumCache(tmp_path).get(problem, solver)
    assert "proved anew" in found.remark
    assert same(dataclasses.replace(found, remark=""), expected)
    assert OptimumCache(tmp_path).check(problem) is True
    change(path, k_opt=float(np.nextafter(expected.k_opt, 0)))  # the last digit may differ between machines
    OptimumCache(tmp_path).get(problem, solver)
    assert solver.call_count == 2


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=40), st.booleans())
@settings(max_examples=60)
def test_a_damaged_file_is_made_anew_or_as_good_as_before(tmp_path_factory, place, junk, cut):
    folder = tmp_path_factory.mktemp("optima")
    expected = OptimumCache(folder).get(problem_of(8), here)
    (path,) = folder.rglob("*.npz")
    content = path.read_bytes()
    place %= len(content)
    path.write_bytes(content[:place] + (b"" if cut else junk + content[place + len(junk) :]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = OptimumCache(folder).get(problem_of(8), here)
    assert (found.k_opt, found.solver) == (expected.k_opt, expected.solver)
    np.testing.assert_array_equal(found.perm, expected.perm)


def test_several_processes_may_fill_one_cache(tmp_path):
    code = (
        "import sys, numpy as np; from pathlib import Path; from tests.test_optimum import here, problem_of\n"
        "from semrsm_bench.bench.optimum import OptimumCache\n"
        "cache = OptimumCache(Path(sys.argv[1]))\n"
        "for _ in range(30):\n"
        "    cache.path(problem_of(12)).unlink(missing_ok=True)\n"
        "    print(cache.get(problem_of(12), here).k_opt)\n"
    )
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a reader sees whole files alone
        while any(process.poll() is None for process in both):
            OptimumCache(tmp_path).get(problem_of(12), here)
    assert len({word for process in both for word in process.communicate()[0].split()}) == 1
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1
