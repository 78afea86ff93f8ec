"""Methods against each other: what is paired, who is told apart, what a baseline leaves, which cells are no contest."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from semrsm_bench.bench.contest import beyond_baselines, differences, one_sided, told_apart, without_ranking
from semrsm_bench.bench.summary import summarise
from semrsm_bench.core.stats import holm, two_sided_p
from semrsm_bench.report.results import collect
from semrsm_bench.report.tables import render_table
from semrsm_bench.tasks.registry import get_task

from .bench_data import make_row as bench_row
from .synthetic_rows import make_row, matching
from .test_summary import directed, pairs_of, row, summary, summary_of_toy


def test_differences_are_paired():
    """Two methods whose pairs differ much and whose difference is the same in every pair: it has no width."""
    values = np.random.default_rng(1).random(15)
    found = summary(*pairs_of({"base": values, "better": values + 0.25}))
    (difference,) = differences(found, "c", "base")
    assert difference.method == "better"
    assert difference.interval == pytest.approx((0.25, 0.25, 0.25))
    assert found[0].scores["c"].high - found[0].scores["c"].low > 0.1
    assert differences(found, "c", "absent") == []


def test_differences_that_are_made_together_are_corrected_together():
    rng = np.random.default_rng(2)
    base = rng.random(12)
    noisy = {
        name: base + gain + 0.1 * rng.standard_normal(12) for name, gain in (("a", 0.02), ("b", 0.05), ("c", 0.08))
    }
    found = summary(*pairs_of({"base": base, **noisy}))
    alone = [two_sided_p(s.replicates["c"] - found[0].replicates["c"], "bootstrap", 12) for s in found[1:]]
    together = [d.p for d in differences(found, "c", "base")]
    assert together == pytest.approx(holm(alone))
    assert together[int(np.argmin(alone))] == pytest.approx(min(1.0, 3 * min(alone)))


@pytest.mark.parametrize(
    ("methods", "baselines", "exact", "said"),
    [
        ([0.9, 0.8, 0.7], [0.39], [], ""),
        ([0.9, 0.8, 0.7], [0.1, 0.41], [], "the baseline b1 reaches half of the median method's c"),
        ([0.9, 0.8, 0.7], [], [], ""),
        ([0.9] * 9 + [0.1], [0.2], [], "9 of 10 methods are within 0.02 of the best c"),
        ([0.9] * 8 + [0.1] * 2, [0.2], [], ""),
        ([0.98, 0.97, 0.965], [0.2], [], "3 of 3 methods"),
        ([0.98, 0.97, 0.95], [0.2], [], ""),
        ([0.98, 0.7, 0.3], [0.2], [1.0] * 50, ""),
        # Of one method a baseline can say something, but not how close others are.
        ([0.9, 0.9], [0.9], [1.0], "the baseline b0"),
        ([0.9], [0.46], [], "the baseline b0"),
        ([0.9], [0.4], [], ""),
        ([0.98, 0.97], [0.2], [], ""),
        ([-0.2, math.nan, 0.1, 0.3], [], [], ""),
        # What is undefined has the score of chance: the median is .2 with it, .4 without.
        ([0.4, 0.4, 0.8, math.nan, math.nan, 0.0], [0.15], [], "the baseline b0"),
        ([0.8, 0.8, 0.8, math.nan], [0.1], [], ""),
    ],
)
def test_a_cell_that_tells_no_methods_apart_is_a_check(methods, baselines, exact, said):
    # A statistic of each side alone is neither a rival nor a baseline.
    named = {"approximate": methods, "baseline": baselines, "exact": exact, "statistic": [0.9]}
    rows = [
        row(method=f"{category[0]}{i}", category=category, scores={"c": None if math.isnan(c) else c, "quality": 0.5})
        for category, values in named.items()
        for i, c in enumerate(values)
    ]
    found = without_ranking(summary(*rows), get_task("matching"))
    assert list(found) == ["tiny/layer1/16/6/none"][: bool(said)]
    assert said in "".join(found.values())


@pytest.mark.parametrize(("baseline", "check"), [(-0.36, True), (-0.34, False), (0.9, False)])
def test_smaller_may_be_better_and_a_score_without_end_says_nothing(baseline, check):
    real = [{"method": name, "scores": {"value": value}} for name, value in (("a", -0.9), ("b", -0.7), ("c", -0.5))]
    rows = [*real, {"method": "none", "category": "baseline", "scores": {"value": baseline}}]
    downward, endless = directed(best="min", low=-1.0, high=1.0, chance=0.0), directed(high=math.inf)
    assert bool(without_ranking(summary_of_toy(downward, rows), downward)) == check
    assert not without_ranking(summary_of_toy(endless, rows), endless)


@pytest.mark.parametrize(
    ("chance", "values", "baseline", "said"),
    [
        (0.5, [0.96, 0.99, 0.999], 0.5, "3 of 3 methods are 90 % of the way from chance to the best value, or more"),
        (0.5, [0.94, 0.97, 0.999], 0.5, ""),
        (0.5, [0.9, 0.8, 0.7], 0.66, "the baseline none"),  # .16 of what the median has above chance, .3
        (0.5, [0.9, 0.8, 0.7], 0.64, ""),
        (None, [0.91, 0.95, 0.99], 0.1, "3 of 3 methods"),
    ],
)
def test_a_cell_is_judged_from_chance_and_one_that_all_pass_is_a_check(chance, values, baseline, said):
    toy = directed(chance=chance)
    rows = [{"method": f"m{i}", "scores": {"value": v}} for i, v in enumerate(values)]
    found = without_ranking(
        summary_of_toy(toy, [*rows, {"method": "none", "category": "baseline", "scores": {"value": baseline}}]), toy
    )
    assert bool(found) == bool(said)
    assert said in "".join(found.values())


def of_layers(methods, count=9):
    """Rows of the task layers, of one pair of networks with so many layers: methods, each a category and a share found."""
    same = {"task": "layers", "kind": "metric", "case": "one", "raw": {"layers": ["layer"] * count}}
    place = {"cell": {"networks": "a x b"}, "units": {"network": ["a:0", "b:0"]}}
    return [
        bench_row(method=name, category=category, scores={"identification": value}, **same, **place).as_dict()
        for name, (category, value) in methods.items()
    ]


THREE = {"m0": ("", 0.2), "m1": ("", 0.29), "m2": ("", 0.35)}


@pytest.mark.parametrize(("baseline", "count", "check"), [(0.15, 9, False), (0.15, 1000, True), (0.21, 9, True)])
def test_chance_may_be_known_to_the_rows_alone(baseline, count, check):
    """One in nine layers: a baseline's .15 is more than half of .29, but .04 beyond chance is less than half of .18."""
    task = get_task("layers")
    found = without_ranking(summarise(of_layers(THREE | {"none": ("baseline", baseline)}, count), task), task)
    assert bool(found) == check


@pytest.mark.parametrize("statistic", [0.21, 0.19])
def test_the_table_says_where_a_number_of_each_side_does_well_and_where_nothing_must_lose(statistic):
    (results,) = collect(of_layers(THREE | {"size": ("statistic", statistic)}), {})
    assert [*one_sided(results.summaries, results.task).values()] == ["size"] * (statistic > 0.2)
    text = " ".join(render_table(results).split())
    assert ("One number of each side" in text) == (statistic > 0.2)
    assert "Nothing that must lose was measured" in text
    assert "--methods takes spectrum, width, norms, random, too" in text
    (results,) = collect(of_layers(THREE | {"size": ("statistic", statistic), "none": ("baseline", 0.1)}), {})
    assert "Nothing that must lose" not in " ".join(render_table(results).split())
    (results,) = collect(of_layers({"size": ("statistic", statistic)}), {})
    assert "Nothing that must lose" not in " ".join(render_table(results).split())


@pytest.mark.parametrize("best", ["max", "min"])
@pytest.mark.parametrize(("spread", "named"), [(0.1, True), (0.9, False)])
def test_a_number_of_each_side_that_may_be_at_chance_is_not_named(best, spread, named):
    sign = 1 if best == "max" else -1
    of_one = 0.4 + spread * np.array([-1, 1, -1, 1, 0])
    values = {"size": ("statistic", sign * of_one), "m": ("", sign * np.full(5, 0.5))}
    task, found = of_networks(values, "jackknife", best=best, chance=0.0, low=-1.0, high=1.0)
    assert [*one_sided(found, task).values()] == ["size"] * named


def test_differences_of_rounding_alone_are_none():
    """The same scores, summed in another order, are no better and no worse."""
    cells = [
        [row(f"0-{i}", method=m, scores={"c": 0.3 * up, "quality": 0.5}) for i in range(1, 9)]
        for m, up in (("a", 1.0), ("b", 1 + 3e-16), ("c", 1 + 1e-9))
    ]
    found = differences(summary(*itertools.chain(*cells)), "c", "a")
    assert [d.p for d in found] == [1.0, 2 * 2.0**-8]  # two comparisons, nine images
    assert found[0].interval == (0.0, 0.0, 0.0)


def of_networks(methods, how, **score):
    """A task of toys that resamples its items by a jackknife or a bootstrap, and the summaries of methods with these values."""
    task = type("Resampled", (type(directed(**score)),), {"resampling": how})()
    rows = [
        {
            "method": name,
            "category": category,
            "case": str(i),
            "units": {"item": [str(i)]},
            "scores": {"value": float(v)},
        }
        for name, (category, values) in methods.items()
        for i, v in enumerate(values)
    ]
    return task, summary_of_toy(task, rows)


def test_p_values_of_a_jackknife_are_those_of_the_paired_t_test():
    values = np.random.default_rng(3).random((4, 9))
    values[1] += 0.4
    names = ["a", "b", "c", "d"]
    task, found = of_networks({n: ("", v) for n, v in zip(names, values)}, "jackknife")
    (cell,) = told_apart(found, task)
    assert [*cell.methods] == sorted(names, key=lambda n: -values[names.index(n)].mean())
    pairs = [(names.index(d.method), names.index(d.reference)) for d in cell.pairs]
    assert {frozenset(pair) for pair in pairs} == {frozenset(p) for p in itertools.combinations(range(4), 2)}
    expected = [ttest_rel(values[i], values[j]) for i, j in pairs]
    assert [d.p for d in cell.pairs] == pytest.approx(holm([e.pvalue for e in expected]))
    for d, (i, j), e in zip(cell.pairs, pairs, expected):
        assert d.interval == pytest.approx((values[i].mean() - values[j].mean(), *e.confidence_interval(0.95)))
    significant = [p < 0.05 for p in holm([e.pvalue for e in expected])]
    assert cell.share == np.mean(significant)
    apart = [pair for pair, yes in zip(pairs, significant) if yes]
    for name in names:
        alike = {n for n in names if n != name and not any({names.index(n), names.index(name)} == {*p} for p in apart)}
        assert {*cell.alike(name)} == alike


@pytest.mark.parametrize("how", ["bootstrap", "jackknife"])
def test_methods_alike_are_told_apart_as_often_as_chance_says_and_methods_that_differ_always(how):
    rng, shares = np.random.default_rng(4), []
    for _ in range(40):
        base = rng.random(10)
        same = {f"same-{i}": ("", base + 0.1 * rng.standard_normal(10)) for i in range(6)}
        task, found = of_networks({**same, "better": ("", base + 0.5)}, how, high=2.0)
        (cell,) = told_apart(found, task)
        assert cell.methods[0] == "better"
        assert cell.alike("better") == []
        shares.append(any(d.p < 0.05 for d in cell.pairs if d.method != "better"))
    assert np.mean(shares) < 0.15


def test_baselines_exact_solvers_and_what_is_undefined_are_in_no_pair():
    values = np.random.default_rng(5).random((5, 6))
    kinds = {"a": "", "b": "", "none": "baseline", "best": "exact"}
    task, found = of_networks(
        {**{n: (k, v) for (n, k), v in zip(kinds.items(), values)}, "c": ("", [math.nan] * 6)}, "jackknife"
    )
    (cell,) = told_apart(found, task)
    assert {*cell.methods} == {"a", "b"}
    assert len(cell.pairs) == 1
    alone, found = of_networks({"a": ("", values[0]), "none": ("baseline", values[1])}, "jackknife")
    assert told_apart(found, alone) == []


def test_a_single_unit_tells_nothing_apart():
    task, found = of_networks({"a": ("", [0.9]), "b": ("", [0.1])}, "bootstrap")
    (cell,) = told_apart(found, task)
    assert (cell.share, cell.alike("a")) == (0.0, ["b"])


@pytest.mark.parametrize(("best", "end"), [("max", 1.0), ("min", 0.0)])
def test_what_is_beyond_the_strongest_baseline(best, end):
    """0 at the baseline, 1 at the end of the scale, negative below; the baseline is the same in every draw."""
    real, weak, strong = (np.random.default_rng(6 + i).random(8) / 4 for i in range(3))
    values = {"real": real + 0.6, "worse": real, "strong": strong + 0.3, "weak": weak + 0.1}
    if best == "min":
        values = {name: 1 - v for name, v in values.items()}
    kinds = {"strong": "baseline", "weak": "baseline"}
    task, found = of_networks({n: (kinds.get(n, ""), v) for n, v in values.items()}, "bootstrap", best=best)
    beyond = dict(zip(values, beyond_baselines(found, task)))
    floor = values["strong"].mean()
    for name in ("real", "worse"):
        assert beyond[name].value == pytest.approx((values[name].mean() - floor) / (end - floor))
    assert beyond["real"].low > 0 > beyond["worse"].value
    assert all(math.isnan(beyond[name].value) for name in kinds)
    (replicates,) = found[0].replicates.values()
    (base,) = found[2].replicates.values()
    drawn = (replicates - base) / (end - base)
    assert beyond["real"][1:] == pytest.approx(tuple(np.quantile(drawn[1:], [0.025, 0.975])))


def test_no_interval_goes_beyond_the_end_of_the_scale():
    values = {"a": ("", [0.3, 1.0, 1.0, 1.0]), "b": ("baseline", [0.2, 0.0, 0.1, 0.0])}
    task, found = of_networks(values, "jackknife")
    beyond = beyond_baselines(found, task)[0]
    assert 0 < beyond.low < beyond.value < beyond.high == 1


@pytest.mark.parametrize(("floor", "known"), [(0.49, True), (0.51, False)])
def test_beside_a_baseline_that_leaves_less_than_half_of_the_scale_nothing_is_beyond(floor, known):
    """(.3 - .9)/(1 - .9) = -6 says nothing but that the rest was small."""
    task, found = of_networks({"a": ("", [0.3, 0.4, 0.9]), "b": ("baseline", [floor] * 3)}, "jackknife")
    assert math.isfinite(beyond_baselines(found, task)[0].value) == known


def test_without_a_baseline_or_with_one_at_the_end_of_the_scale_nothing_is_beyond():
    for kinds in ({"a": "", "b": ""}, {"a": "", "b": "baseline"}):
        task, found = of_networks({n: (k, [1.0] * 4) for n, k in kinds.items()}, "bootstrap")
        assert all(math.isnan(b.value) for b in beyond_baselines(found, task))
    task, found = of_networks({"a": ("", [1.0] * 4), "b": ("baseline", [0.5] * 4)}, "bootstrap", high=math.inf)
    assert all(math.isnan(b.value) for b in beyond_baselines(found, task))


def test_the_table_says_how_many_pairs_differ_and_names_by_its_place_who_is_alike():
    rows = [
        make_row(name, pair=f"0-{i}", c=c - 1e-3 * place * (-1) ** i)
        for place, (name, c) in enumerate(
            {"greedy": 0.5, "auction": 0.9, "auction-fine": 0.9, "ortools": 1.0}.items(), 1
        )
        for i in range(6)
    ]
    text = render_table(matching(rows), told_apart=True, width=140)
    assert "67 % of 3 pairs of methods told apart" in text
    lines = [line.split() for line in text.partition("told apart")[2].splitlines()]
    found = {words[1]: (words[0], words[3:]) for words in lines if words and words[0].isdigit()}
    (first, _), (second, _) = sorted(found[name] for name in ("auction", "auction-fine"))
    assert (first, second) == ("1", "2")
    assert found["greedy"] == ("3", ["2", "of", "2", "–"])
    assert {tuple(found[name][1]) for name in ("auction", "auction-fine")} == {
        ("1", "of", "2", "1"),
        ("1", "of", "2", "2"),
    }
    assert "told apart" not in render_table(matching(rows))
