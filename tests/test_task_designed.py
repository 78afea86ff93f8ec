"""The tasks on designed groups: planted groups, scores against a loop, draws of networks, wrong use."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import jackknife_draws
from semrsm_bench.core.task import Answer
from semrsm_bench.tasks.registry import get_task
from tests.observing import met, options, result
from tests.planted import frames, seen, written

TASKS = ("random-labels", "shortcuts", "augmentation")
SIZES = {"plain": 3, "half": 4, "all": 2}


def content(sizes=SIZES, seed=0):
    """Networks of a group share what they represent, those of different groups nothing; all have one spectrum and width."""
    rng = np.random.default_rng(seed)
    shared = dict(zip(sizes, frames(rng, len(sizes))))
    return {
        f"{group}:{i}/last": seen(rng, shared[group], noise=0.3) for group, count in sizes.items() for i in range(count)
    }


def cases(name, path, **given):
    task = get_task(name)
    return list(task.cases(options(task, features=(path,), networks=10, **given)))


@pytest.mark.parametrize("name", TASKS)
def test_metrics_find_planted_groups_and_baselines_do_not(name, tmp_path):
    path = written(tmp_path, content())
    task = get_task(name)
    methods = ("linear_cka", "procrustes_angular", "mutual_knn", "width", "spectrum")
    found = {
        (method, case.cell["networks"]): one.scores
        for method, case, one in met(task, methods, options(task, features=(path,), networks=10))
    }
    cell = "plain x half x all"
    for metric in ("linear_cka", "procrustes_angular", "mutual_knn"):
        assert found[metric, cell] == {"conformity": 1.0, "auprc": pytest.approx(1.0), "undefined": 0.0}
    # What is equal for all pairs is at chance: half of the comparisons, and the share of pairs inside of a group.
    inside, across = np.array([3, 6, 1]), np.array([18, 20, 14])
    assert found["width", cell]["conformity"] == 0.5
    assert found["width", cell]["auprc"] == pytest.approx(np.mean(inside / (inside + across)))
    assert found["spectrum", cell]["conformity"] < 0.9
    assert found["spectrum", f"{cell} permuted"]["conformity"] == pytest.approx(found["spectrum", cell]["conformity"])


def test_permuted_stimuli_leave_chance(tmp_path):
    task, left = get_task("shortcuts"), []
    for seed in range(10):
        path = written(tmp_path, content(seed=seed))
        rows = met(task, ("linear_cka",), options(task, features=(path,), networks=10, seed=seed))
        left += [one.scores["conformity"] for _, case, one in rows if case.cell["networks"].endswith("permuted")]
    assert len(left) == 10
    assert np.mean(left) == pytest.approx(0.5, abs=0.15)


def judged(case, values, best="max"):
    facts = {"range": [None, None], "best": best, "symmetric": True}
    answer = Answer({"values": np.atleast_2d(values), "values_yx": np.asarray(values)})
    return get_task("shortcuts").score(case, {}, answer, case.known, Declaration("metric", "m", facts=facts))


@pytest.mark.parametrize("best", ["max", "min"])
@pytest.mark.parametrize("unknown", [0, 5, 36])
def test_scores_against_a_loop(tmp_path, unknown, best):
    """Of every group its own pairs against those with others; what is undefined loses every comparison."""
    case = cases("shortcuts", written(tmp_path, content()))[0]
    rng = np.random.default_rng(unknown)
    values = rng.integers(0, 6, 36).astype(float)
    values[rng.permutation(36)[:unknown]] = np.nan
    found = judged(case, values if best == "max" else -values, best)
    of_pair = dict(zip(combinations(case.units["network"], 2), values))
    rates, areas = [], []
    for group in SIZES:
        ours = {pair: [network.startswith(f"{group}:") for network in pair] for pair in of_pair}
        inside = [of_pair[pair] for pair in of_pair if all(ours[pair])]
        across = [of_pair[pair] for pair in of_pair if any(ours[pair]) and not all(ours[pair])]
        rates.append(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in inside for b in across]))
        placed = [-9 if np.isnan(v) else v for v in inside] + [9 if np.isnan(v) else v for v in across]
        areas.append(average_precision_score([1] * len(inside) + [0] * len(across), placed))
    assert found.scores["conformity"] == pytest.approx(np.mean(rates))
    assert found.scores["auprc"] == pytest.approx(np.mean(areas))
    assert found.scores["undefined"] == unknown / 36
    if unknown == 36:
        assert found.scores["conformity"] == 0.0


def test_a_draw_without_a_network_is_a_run_without_it(tmp_path):
    task, arrays = get_task("augmentation"), content({"plain": 4, "strong": 4}, seed=3)
    rng = np.random.default_rng(0)
    arrays = {name: array + 8 * rng.standard_normal(array.shape) for name, array in arrays.items()}

    def row(arrays):
        (first, *_) = met(task, ("linear_cka",), options(task, features=(written(tmp_path, arrays),), networks=4))
        return result(*first[1:])

    every = row(arrays)
    units = every.units["network"]
    found = task.aggregate([every], jackknife_draws(len(units)), units)
    assert 0.5 < every.scores["conformity"] < 1
    for left_out, (b, unit) in zip((None, *units), enumerate((None, *units))):
        one = row({name: array for name, array in arrays.items() if not name.startswith(f"{left_out}/")})
        for name in ("conformity", "auprc"):
            assert found[name][b] == pytest.approx(one.scores[name]), (name, unit)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [({"plain": 4}, "compares groups of networks; there is only plain"), ({"plain": 3, "all": 1}, "all has 1")],
)
def test_wrong_use_ends_in_one_message(sizes, said, tmp_path):
    for name in TASKS:
        with pytest.raises(ValueError, match=said):
            cases(name, written(tmp_path, content(sizes)))


def test_groups_that_do_not_ship_are_left_out_by_default_unless_too_few_are_left(monkeypatch):
    task = get_task("random-labels")
    for there, expected in (({"w8", "labels-100", "w16"}, ["w8", "labels-100"]), ({"w8"}, task.groups)):
        monkeypatch.setattr("semrsm_bench.tasks.designed.shipped_groups", lambda there=there: there)
        assert task.default_groups() == expected
