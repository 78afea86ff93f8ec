"""Profiles, mean times, ranks and growth against their definitions, written out, and against laws that rows are made of."""

import math

import numpy as np
import pytest

from semrsm_bench.bench.profiles import FACTORS, LEVELS, SHIFT, time_table
from semrsm_bench.core.row import FAULT_BY
from semrsm_bench.core.stats import bootstrap_draws
from semrsm_bench.tasks.registry import get_task
from tests.bench_data import make_row

TASK = get_task("matching")
DEADLINE = 30.0


def rows_of(times, scores=None, size=1024, category="approximate"):
    """Rows of methods with a time for each pair, s; text is a status, None is no row."""
    found = []
    for method, line in times.items():
        for i, seconds in enumerate(line):
            if seconds is None:
                continue
            failed = {"status": seconds, "seconds": None, "scores": {}, "raw": {}} if isinstance(seconds, str) else {}
            c = (scores or {}).get(method, [1.0] * len(line))[i]
            same = {"cell": {"size": size}, "category": category, "scores": {"c": c, "quality": c}}
            found.append(
                make_row(
                    pair=f"{2 * i}-{2 * i + 1}",
                    method=method,
                    **{**same, "seconds": seconds, "shared_seconds": None, **failed},
                )
            )
    return [row.as_dict() for row in found]


def table_of(rows):
    return time_table(rows, TASK, DEADLINE, lambda row: row["method"])


def random_rows(seed, methods=6, pairs=9):
    """Times and scores of all kinds: some methods fail, some never reach a level."""
    rng = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(methods)]
    times = {m: [float(t) if rng.random() > 0.15 else "timeout" for t in rng.lognormal(-4, 2, pairs)] for m in names}
    scores = {m: rng.choice([0.5, 0.9901, 0.9995, 1.0], pairs).tolist() for m in names}
    return times, scores


def test_a_budget_that_leaves_few_cases_of_large_s_makes_no_profile_better():
    small = rows_of({"fast": [1.0, 1.0, 1.0, 1.0], "slow": [5.0, 5.0, 5.0, 50.0]}, size=256)
    large = rows_of({"fast": [1.0, 1.0, 1.0, 1.0], "slow": [50.0, None, None, None]}, size=4096)
    found = table_of([*small, *({**row, "case": f"large/{row['case']}"} for row in large)]).standings("exact")
    assert found["slow"].within[10.0] == pytest.approx((3 / 4 + 0 / 1) / 2)
    assert (found["slow"].cases, found["fast"].within[1.0]) == (5, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_profiles_are_those_of_the_definition(seed):
    times, scores = random_rows(seed)
    table = table_of(rows_of(times, scores))
    for level, least in LEVELS.items():
        good = {
            m: [t if c >= least and t != "timeout" else math.inf for t, c in zip(times[m], scores[m])] for m in times
        }
        factors = [1.0, 1.5, 2.0, 10.0, 1e4]
        found = dict(zip(table.methods, table.profile(level, factors)))
        for m, line in good.items():
            for factor, share in zip(factors, found[m]):
                within = [t < math.inf and t <= factor * min(good[o][i] for o in good) for i, t in enumerate(line)]
                assert share == pytest.approx(np.mean(within))
            standing = table.standings(level)[m]
            assert standing.reached == pytest.approx(np.mean(np.isfinite(line)))
            assert list(standing.within.values()) == pytest.approx(
                list(table.profile(level, FACTORS)[table.methods.index(m)])
            )


def test_means_are_geometric_shifted_and_charge_failures_at_the_deadline():
    table = table_of(rows_of({"a": [0.002, 0.02, 0.2], "b": [0.001, "timeout", "wrong"]}))
    (means,) = table.means(table.total).values()
    by_hand = [
        ((t1 + SHIFT) * (t2 + SHIFT) * (t3 + SHIFT)) ** (1 / 3) - SHIFT
        for t1, t2, t3 in ((0.002, 0.02, 0.2), (0.001, 30, 30))
    ]
    assert means[:, 0] == pytest.approx(by_hand)
    best = ((0.001 + SHIFT) * (0.02 + SHIFT) * (0.2 + SHIFT)) ** (1 / 3) - SHIFT
    (virtual,) = table.means(table.best(table.total)[None]).values()
    assert virtual[0, 0] == pytest.approx(best)
    standings = table.standings("exact")
    assert {m: s.behind.value for m, s in standings.items()} == pytest.approx(dict(zip("ab", np.array(by_hand) / best)))
    assert [standings[m].rank.value for m in "ab"] == [1, 2]


def test_the_shift_grows_with_the_affinity_and_every_cell_counts_alike():
    small, large = rows_of({"a": [1e-3, 4e-3], "b": [2e-3] * 2}, size=256), rows_of({"a": [1.0], "b": [2.0]}, size=4096)
    for row in large:
        row["case"] = f"z-large/{row['case']}"
    table = table_of(small + large)
    first, second = table.means(table.total).values()
    shift = SHIFT / 16
    assert first[0, 0] == pytest.approx(math.sqrt((1e-3 + shift) * (4e-3 + shift)) - shift)
    assert second[:, 0] == pytest.approx([1.0, 2.0])
    best = math.sqrt((1e-3 + shift) * (2e-3 + shift)) - shift
    assert table.standings("exact")["b"].behind.value == pytest.approx(math.sqrt(2e-3 / best * 2.0))


def test_a_solver_that_was_cut_is_held_against_the_fastest_of_its_own_cases():
    rows = rows_of({"a": [1e-3, 10.0, 10.0, 10.0], "cut": [2e-3, None, None, None]})
    found = table_of(rows).standings("exact")
    assert found["a"].behind.value == pytest.approx(1.0)
    assert found["cut"].behind.value == pytest.approx(2.0)
    assert found["cut"].rank.value == 2


def test_a_case_that_no_rival_was_given_says_nothing_of_who_is_fastest():
    # Of a the first case is slow and the others are quick; greedy answers all, and never reaches the level.
    times = {"a": [8e-3, 1e-3, 1e-3, 1e-3], "cut": [2e-3, None, None, None], "greedy": [1e-6] * 4}
    scores = {"greedy": [0.5] * 4}
    table = table_of(rows_of(times, scores))
    found = table.standings("exact")
    assert {m: s.cases for m, s in found.items()} == {"a": 1, "cut": 1, "greedy": 1}
    assert found["a"].behind.value == pytest.approx(8e-3 / 2e-3)
    assert (found["a"].rank.value, found["a"].within[1.0], found["cut"].within[1.0]) == (2, 0.0, 1.0)
    best = table.best(table.to_reach("exact"))
    assert best[0] == 2e-3
    assert np.isnan(best[1:]).all(), "no case of the virtual best either"
    # Where only one ever reaches the level, the others were asked and lost.
    alone = table_of(rows_of({m: times[m] for m in ("a", "greedy")}, scores)).standings("exact")
    assert (alone["a"].cases, alone["a"].rank.value) == (4, 1)
    # One that was cut after failures is a rival where it was asked.
    late = table_of(rows_of({"a": [1e-3] * 3, "late": ["timeout", "timeout", None]})).standings("exact")
    assert {m: s.cases for m, s in late.items()} == {"a": 2, "late": 2}


def test_a_place_that_all_rivals_skipped_counts_for_nobody():
    small, large = rows_of({"a": [3e-3], "b": [2e-3]}, size=256), rows_of({"a": [1.0, 1.0]}, size=4096)
    for row in large:
        row["case"] = f"z-large/{row['case']}"
    found = table_of(small + large).standings("exact")
    assert {m: (s.cases, s.rank.value) for m, s in found.items()} == {"a": (1, 2), "b": (1, 1)}


def test_what_the_machine_spoiled_says_nothing_of_a_solver():
    rows = rows_of({"a": [1.0, 1.0], "b": [1.0, "error"]})
    rows[-1]["raw"] = {FAULT_BY: "machine"}
    assert table_of(rows).standings("exact")["b"].cases == 1


def test_what_was_not_measured_is_no_failure_and_what_was_given_up_is_one():
    same = {"case": "", "units": {}, "status": "skipped", "seconds": None, "scores": {}, "raw": {}}
    reasons = {
        "cut": "budget of 30 s: 1 of 4 pairs",
        "slow": "too slow for quick: 90 s a case expected from smaller S",
        "unfit": "it takes x and y, of which there are none here",
        "given-up": "not tried further after 2 failures in a row (timeout)",
        "hopeless": "not tried: it timed out at S=256 already",
    }
    rows = rows_of({"a": [1.0] * 4, "cut": [1.0, None, None, None], "given-up": ["timeout", "timeout", None, None]})
    rows += [make_row(cell={"size": 1024}, method=m, message=text, **same).as_dict() for m, text in reasons.items()]
    table = table_of(rows)
    found = table.standings("exact")
    assert {m: (s.cases, s.reached) for m, s in found.items() if s.cases} == {
        "a": (4, 1.0),
        "cut": (1, 1.0),
        "given-up": (4, 0.0),
        "hopeless": (4, 0.0),
    }
    assert all(math.isnan(found[m].rank.value) and math.isnan(found[m].reached) for m in ("slow", "unfit"))


def test_an_exact_solver_is_exact_within_its_own_precision_and_others_within_the_usual_one():
    scores = {"a": [1 - 5e-6], "b": [1 - 5e-7]}
    for category, reached in (("exact", [1.0, 1.0]), ("approximate", [0.0, 1.0]), ("wrong", [0.0, 1.0])):
        table = table_of(rows_of({"a": [1.0], "b": [1.0]}, scores, category=category))
        assert [s.reached for s in table.standings("exact").values()] == reached


def test_a_case_without_a_known_optimum_says_nothing_of_levels():
    rows = rows_of({"a": [1.0, 2.0], "b": ["timeout", 3.0]}, category="exact")
    for row in rows:
        row["scores"] = row["scores"] and {"c": None if row["case"].endswith("0-1") else 1.0}
    table = table_of(rows)
    for level in LEVELS:
        assert {m: (s.cases, s.reached) for m, s in table.standings(level).items()} == {"a": (1, 1.0), "b": (2, 0.5)}
    assert table.total[0].tolist() == [1.0, 2.0]


def test_ranks_have_the_interval_of_draws_that_all_methods_share():
    rng = np.random.default_rng(0)
    times = {"a": rng.lognormal(0, 0.4, 12).tolist(), "b": rng.lognormal(0.1, 0.4, 12).tolist(), "far": [20.0] * 12}
    rows = rows_of(times)
    ranks = []
    for draw in bootstrap_draws(12)[1:]:
        means = {m: np.average(np.log(np.array(line) + SHIFT), weights=draw) for m, line in times.items()}
        ranks.append([sorted(means.values()).index(means[m]) + 1 for m in times])
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0)
    for i, (m, standing) in enumerate(table_of(rows).standings("exact").items()):
        assert standing.rank[1:] == (low[i], high[i]), m
    assert table_of(rows).standings("exact")["far"].rank == (3, 3, 3)


def grown(exponent, sizes, rng, images=16):
    """Rows of one method whose time is a power of S, times what belongs to images at each S, and noise."""
    pairs, rows = [(i, j) for i in range(images) for j in range(i)], []
    for size in sizes:
        own = rng.normal(scale=0.3, size=images)
        for i, j in pairs:
            seconds = 1e-6 * size**exponent * math.exp(own[i] + own[j] + rng.normal(scale=0.2))
            row = {"case": f"{size}/{i}-{j}", "cell": {"size": size}, "units": {"image": [str(i), str(j)]}}
            rows.append({**BLANK, **row, "seconds": seconds})
    return rows


BLANK = make_row(method="m").as_dict()


def test_growth_is_the_exponent_and_its_interval_holds_it():
    steady = [{**BLANK, "case": str(s), "cell": {"size": s}, "seconds": 3e-7 * s**1.7} for s in (64, 256, 1024)]
    assert table_of(steady).growth()["m"].value == pytest.approx(1.7)
    rng = np.random.default_rng(3)
    found = [table_of(grown(1.5, (64, 256, 1024), rng)).growth()["m"] for _ in range(25)]
    assert np.mean([p.low <= 1.5 <= p.high for p in found]) >= 0.85
    assert np.mean([p.high - p.low for p in found]) < 0.5, "an interval that says something"


def test_growth_needs_three_sizes_and_leaves_failures_out():
    rows = [{**BLANK, "case": str(s), "cell": {"size": s}, "seconds": 1e-6 * s**2} for s in (64, 256, 1024)]
    rows[1] |= {"status": "timeout", "seconds": None}
    assert math.isnan(table_of(rows).growth()["m"].value)
