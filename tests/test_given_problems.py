"""Problems that are matrices, and files of problems: against every permutation, SciPy, and what is no problem at all."""

import copy
import io
import itertools
import json
import math
import pickle
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

import semrsm_bench as sb
from semrsm_bench.solvers import random_value
from semrsm_bench.solvers.check_cases import CASES, CheckFailedError
from semrsm_bench.tasks.problems import read_problems
from tests.command_line import call

APPLICABLE = [name for name in sb.solver_names(available_only=True) if not sb.get_solver(name).takes_vectors]
EXACT = [name for name in APPLICABLE if sb.get_solver(name).kind == "exact"]
matrices = st.integers(1, 5).flatmap(
    lambda n: st.one_of(
        hnp.arrays(np.float64, (n, n), elements=st.floats(-100, 100, width=32)),
        hnp.arrays(np.int64, (n, n), elements=st.integers(-9, 9)),
    )
)


@given(matrices)
def test_k_k_rand_and_bounds_of_a_matrix_are_those_over_all_its_permutations(matrix):
    problem, rows = sb.MatchingProblem.from_affinity(matrix), np.arange(len(matrix))
    perms = [list(p) for p in itertools.permutations(rows)]
    values = [math.fsum(matrix[rows, p].tolist()) for p in perms]
    assert [sb.matching_value(problem, p) for p in perms] == pytest.approx(values, rel=1e-6, abs=1e-5)
    assert random_value(problem) == pytest.approx(math.fsum(values) / len(values), rel=1e-6, abs=1e-4)
    for effort in ("fast", "tight", "exact"):
        assert sb.upper_bound(problem, effort=effort) >= max(values) - 1e-5


@given(matrices)
@settings(max_examples=25)
def test_costs_are_minimised_and_affinities_maximised_by_every_exact_solver(matrix):
    rows = np.arange(len(matrix))
    sums = [matrix[rows, list(p)].sum() for p in itertools.permutations(rows)]
    for name in EXACT:
        slack = 1e-4 * (1 + np.ptp(sums))
        best = sb.solve(sb.MatchingProblem.from_affinity(matrix), name)
        assert matrix[rows, best].sum() >= max(sums) - slack, name
        least = sb.solve(sb.MatchingProblem.from_costs(matrix), name)
        assert matrix[rows, least].sum() <= min(sums) + slack, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("name", APPLICABLE)
def test_solvers_that_take_no_vectors_match_matrices_as_scipy_does(name, dtype):
    rng = np.random.default_rng(3)
    costs = rng.integers(-50, 1000, (90, 90)).astype(dtype)
    problem = sb.MatchingProblem.from_costs(costs)
    rows, columns = linear_sum_assignment(costs)
    k_opt, k = -float(costs[rows, columns].sum()), sb.matching_value(problem, sb.solve(problem, name))
    span = k_opt - random_value(problem)
    least = {"exact": 1 - 1e-5, "approximate": 0.9, "baseline": -np.inf}[sb.get_solver(name).kind]
    assert least <= 1 - (k_opt - k) / span <= 1 + 1e-6
    assert k_opt <= sb.upper_bound(problem, effort="exact") <= k_opt + 1e-4 * span


def test_a_solver_that_takes_vectors_says_that_a_matrix_has_none():
    problem = sb.MatchingProblem.from_affinity(np.eye(3))
    for name in set(sb.solver_names(available_only=True)) - set(APPLICABLE):
        with pytest.raises(ValueError, match=f"{name!r} takes position vectors x and y, and this problem is a matrix"):
            sb.solve(problem, name)
    assert {"greedy", "topk-greedy-128", "batch-optimal-128", "hierarchical-fine"}.isdisjoint(APPLICABLE)
    assert {"identity", "scipy", "exact-auction", "auction-fine", "list-auction-fine"} <= {*APPLICABLE}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda x, y: sb.MatchingProblem(x.astype(np.float32), y.astype(np.float32)), np.float32),
        (lambda x, y: sb.MatchingProblem(x.astype(np.float16), y.astype(np.float16)), np.float32),
        (lambda x, y: sb.MatchingProblem(x.astype(np.float32), y), np.float64),
        (lambda x, y: sb.MatchingProblem(x.astype(np.float32) * np.float32(1e25), y.astype(np.float32)), np.float32),
        (lambda x, y: sb.MatchingProblem(*[z.astype(np.float32) * np.float32(1e25) for z in (x, y)]), np.float64),
        (lambda x, y: sb.MatchingProblem(np.asfortranarray(x), y[::-1]), np.float64),
        (lambda x, y: sb.MatchingProblem(x.astype(">f4"), y.astype(">f4")), np.float32),
        (lambda x, y: sb.MatchingProblem.from_affinity((x @ y.T).astype(np.float32).T), np.float32),
        (lambda x, y: sb.MatchingProblem.from_affinity((x @ y.T).astype(">f8")[::-1, ::-1]), np.float64),
        (lambda x, y: sb.MatchingProblem.from_costs((x @ y.T).astype(np.float16)), np.float32),
        (lambda x, y: sb.MatchingProblem.from_costs((9 * x @ y.T).astype(np.int8)), np.float32),
        (lambda x, y: sb.MatchingProblem.from_costs((9 * x @ y.T).astype(np.int32)), np.float64),
        (lambda x, y: sb.MatchingProblem.from_affinity((x @ y.T).astype(np.float32) * np.float32(1e37)), np.float64),
        (lambda x, y: sb.MatchingProblem(x, y).block(np.arange(4), np.arange(4)), np.float64),
    ],
)
def test_an_affinity_is_contiguous_read_only_aligned_and_of_the_dtype_of_x_and_y(made, expected):
    x, y = np.random.default_rng(0).standard_normal((2, 9, 4))
    problem = made(x, y)
    for array in (problem.affinity, problem.x, problem.y):
        assert array.dtype == expected
        assert array.dtype.isnative
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert not array.flags.writeable
    size = problem.size
    assert problem.affinity.shape == (size, size)
    np.testing.assert_array_equal(problem.affinity, problem.x @ problem.y.T)


BIG = 2**53 + 2


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.zeros((2, 3)), r"must be a square matrix \(S, S\), got shape \(2, 3\)"),
        (np.zeros(4), r"got shape \(4,\)"),
        (np.zeros((2, 2, 2)), r"got shape \(2, 2, 2\)"),
        ([[1.0], [2.0, 3.0]], "not a rectangular array"),
        (np.zeros((0, 0)), "is empty"),
        (
            [[0.0, np.nan], [1.0, 2.0]],
            r"not finite: nan at \(0, 1\); forbid a pair by a finite number (above|below) all others",
        ),
        ([[0.0, 1.0], [-np.inf, 2.0]], r"not finite: -inf at \(1, 0\)"),
        (np.array([[1, 2], [3, BIG]]), r"integers beyond 2\^53"),
        (np.array([[1, 2], [3, np.iinfo(np.int64).min]]), r"integers beyond 2\^53"),
        (np.array([[1, 2], [3, 2**64 - 1]], np.uint64), r"integers beyond 2\^53"),
        ([[1, 10**30], [2, 3]], "real numbers, got dtype object"),
        (np.full((2, 2), 1e200), r"reaches 1e\+200: multiply it by a constant"),
        (np.full((2, 2), 1e-200), "reaches 1e-200"),
        (np.full((2, 2), 1j), "complex128"),
        ([["a", "b"], ["c", "d"]], "real numbers"),
        (np.ma.masked_equal([[1.0, 2.0], [3.0, 4.0]], 2.0), "masked"),
    ],
)
def test_what_is_no_matrix_is_refused_by_name(matrix, said, tmp_path):
    for make, name in ((sb.MatchingProblem.from_affinity, "affinity"), (sb.MatchingProblem.from_costs, "costs")):
        with pytest.raises(ValueError, match=f"^{name}.*{said}"):
            make(matrix)
    try:
        stored = np.asarray(matrix)
    except ValueError:
        return
    if stored.dtype.kind not in "OU" and not np.ma.isMaskedArray(matrix) and stored.ndim != 3:
        np.savez(tmp_path / "bad.npz", **{"mine/costs": stored})
        with pytest.raises(ValueError, match=f"bad.npz: mine: costs.*{said}"):
            list(read_problems(tmp_path / "bad.npz"))


def test_unsigned_costs_do_not_wrap_and_sources_may_change_afterwards():
    costs = np.array([[0, 200], [1, 255]], np.uint8)
    problem = sb.MatchingProblem.from_costs(costs)
    np.testing.assert_array_equal(problem.affinity, [[0, -200], [-1, -255]])
    costs[:] = 7
    assert problem.affinity[0, 1] == -200
    locked = np.eye(3)
    locked.flags.writeable = False
    assert sb.solve(sb.MatchingProblem.from_costs(locked), "scipy").tolist() != [0, 1, 2]


def test_matrices_survive_copies_blocks_and_pickles():
    problem = sb.MatchingProblem.from_affinity(np.random.default_rng(0).standard_normal((8, 8)))
    rows, columns = np.array([1, 3, 5]), np.array([0, 2, 7])
    block = problem.block(rows, columns)
    np.testing.assert_array_equal(block.affinity, problem.affinity[rows[:, None], columns])
    for same, of in ((pickle.loads(pickle.dumps(problem)), problem), (copy.deepcopy(block), block)):
        assert same.is_matrix
        np.testing.assert_array_equal(same.affinity, of.affinity)
        np.testing.assert_array_equal(same.affinity, same.x @ same.y.T)
    assert "a matrix" in repr(problem)
    with pytest.raises(AttributeError, match="frozen"):
        problem.is_matrix = False


def test_check_finds_who_reads_float64_as_float32_though_it_is_an_approximation():
    def rows_in_turn(affinity):
        free, perm = np.ones(len(affinity), bool), np.zeros(len(affinity), int)
        for i, row in enumerate(affinity):
            perm[i] = np.argmax(np.where(free, row, -np.inf))
            free[perm[i]] = False
        return perm

    @sb.register_solver("right", kind="approximate")
    def right(problem):
        return rows_in_turn(problem.affinity)

    @sb.register_solver("wrong", kind="approximate")
    def wrong(problem):
        read = np.frombuffer(problem.affinity.tobytes(), np.float32)[: problem.size**2]
        return rows_in_turn(np.nan_to_num(read.reshape(problem.size, problem.size)))

    CASES["either precision"](sb.get_solver("right"))
    with pytest.raises(CheckFailedError, match=r"affinity\.dtype"):
        CASES["either precision"](sb.get_solver("wrong"))


@pytest.mark.parametrize("case", ["either precision", "matrices"])
@pytest.mark.parametrize("name", sb.solver_names(available_only=True))
def test_every_solver_passes_the_cases_of_precision_and_of_matrices(name, case):
    CASES[case](sb.get_solver(name))


RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((2, 3, 12, 4))


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": X[0], "y": Y[0]}, [("file", "vectors", 12, 4)]),
        ({"x": X, "y": Y}, [(f"file-{i}", "vectors", 12, 4) for i in range(3)]),
        ({"affinity": X[0] @ Y[0].T}, [("file", "matrix", 12, 0)]),
        ({"a/costs": np.eye(5), "b/affinity": np.eye(3)}, [("a", "matrix", 5, 0), ("b", "matrix", 3, 0)]),
        ({"deep/er/costs": np.zeros((2, 4, 4))}, [("deep/er-0", "matrix", 4, 0), ("deep/er-1", "matrix", 4, 0)]),
    ],
)
def test_a_file_of_problems_is_read_in_its_order(arrays, expected, tmp_path):
    np.savez(tmp_path / "file.npz", **arrays)
    found = list(read_problems(tmp_path / "file.npz"))
    assert [(p.name, p.form, p.size, p.channels) for p in found] == expected
    if "y" in arrays:
        np.testing.assert_array_equal(found[-1].arrays["y"], Y.reshape(-1, 12, 4)[len(found) - 1])
    if "a/costs" in arrays:
        np.testing.assert_array_equal(found[0].arrays["affinity"], -np.eye(5))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "holds no array"),
        ({"x": X[0]}, "holds x; needed are x and y"),
        ({"one/x": X[0], "two/y": Y[0]}, "one holds x"),
        ({"x": X[0], "y": Y[0], "costs": np.eye(3)}, "holds costs, x, y"),
        ({"x": X[0], "y": Y[0][:5]}, "x has 12 positions and y has 5"),
        ({"x": X, "y": Y[:2]}, "has 3 arrays x and 2 arrays y"),
        ({"x": X[0][:0], "y": Y[0][:0]}, "is empty"),
        ({"costs": np.zeros((0, 3, 3))}, "is empty"),
        ({"costs": np.array([np.eye(2), [[1, np.nan], [0, 0]]])}, r"number 1: costs is not finite: nan at \(0, 1\)"),
    ],
)
def test_a_file_that_holds_no_problems_is_refused_with_the_array(arrays, said, tmp_path):
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(ValueError, match=f"file.npz.*{said}"):
        list(read_problems(tmp_path / "file.npz"))


@pytest.mark.parametrize("content", [b"", b"no archive", b"x,y\n1,2\n", b"PK\x03\x04 cut short"])
def test_what_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"is no \.npz.*it is no \.npz archive; numpy\.savez makes.*needed are"
    ) as refused:
        list(read_problems(tmp_path / "file.npz"))
    assert "pickle" not in str(refused.value)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        list(read_problems(tmp_path / "none.npz"))


def test_an_array_without_a_name_is_refused_and_so_are_objects(tmp_path):
    np.save(tmp_path / "plain.npy", np.eye(3))
    with pytest.raises(
        ValueError, match=r"plain\.npy.*one array without a name \(\.npy\); numpy\.savez makes.*costs \(S, S\)"
    ):
        list(read_problems(tmp_path / "plain.npy"))
    np.savez(tmp_path / "objects.npz", costs=np.array([[None]]))
    with pytest.raises(ValueError, match=r"objects\.npz is no \.npz of arrays of numbers"):
        list(read_problems(tmp_path / "objects.npz"))


@given(st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=30)
def test_a_finite_number_forbids_pairs_as_the_message_says(size, seed):
    rng = np.random.default_rng(seed)
    costs = rng.integers(-9, 10, (size, size)).astype(float)
    costs[rng.random((size, size)) < 0.4] = np.inf
    allowed = costs[np.isfinite(costs)] if np.isfinite(costs).any() else np.zeros(1)
    finite = np.where(np.isfinite(costs), costs, allowed.max() + size * np.ptp(allowed) + 1)
    rows, perms = np.arange(size), [list(p) for p in itertools.permutations(range(size))]
    best = min(costs[rows, p].sum() for p in perms)
    found = sb.solve(sb.MatchingProblem.from_costs(finite), "scipy")
    assert costs[rows, found].sum() == best


def test_a_run_on_problems_of_the_user_certifies_optima_and_says_who_does_not_apply(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    costs = np.random.default_rng(1).integers(0, 1000, (2, 30, 30))
    np.savez("mine.npz", x=X[0], y=Y[0], **{"ints/costs": costs})
    chosen = ["--methods", "scipy,auction-fine,identity,greedy,hierarchical-fine", "--quiet", "--run-id", "r"]
    call("run", "--problems", "mine.npz", *chosen)
    rows = [json.loads(line) for line in (tmp_path / "results" / "r" / "rows.jsonl").read_text().splitlines()]
    by_form = {form: [row for row in rows if row["cell"]["layer"] == form] for form in ("vectors", "matrix")}
    assert {row["status"] for row in by_form["vectors"]} == {"ok"}
    skipped = {row["method"]: row["message"] for row in by_form["matrix"] if row["status"] == "skipped"}
    assert skipped == dict.fromkeys(("greedy", "hierarchical-fine"), "it takes x and y, of which there are none here")
    for row in by_form["matrix"]:
        if row["status"] == "ok":
            matrix = costs[int(row["case"][-1])]
            best = linear_sum_assignment(matrix)
            assert row["raw"]["k_opt"] == -matrix[best].sum()
            assert row["raw"]["k_rand"] == pytest.approx(-matrix.sum() / 30)
            assert row["scores"]["c"] == pytest.approx(1, abs=0.02) or row["method"] == "identity"
            assert row["shared_seconds"] is None
    assert "takes the place of --data" in call("run", "--problems", "mine.npz", "--layers", "a", *chosen, code=2)[1]
    assert "there is no file" in call("run", "--problems", "none.npz", *chosen, code=2)[1]


def test_an_archive_with_a_name_twice_is_refused(tmp_path):
    member = io.BytesIO()
    np.save(member, np.eye(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's
        with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
            for _ in range(2):
                archive.writestr("affinity.npy", member.getvalue())
    said = call("run", "matching", "--problems", tmp_path / "twice.npz", "--methods", "scipy", code=2)[1]
    assert "twice.npz" in said
    assert "'affinity' is there 2 times" in said
