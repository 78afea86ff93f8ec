"""The tasks accuracy and output-difference: planted networks, the truth against loops, draws of networks, wrong use."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax

from semrsm_bench.core.stats import jackknife_draws
from semrsm_bench.tasks.features import read_features
from semrsm_bench.tasks.registry import get_task
from tests.observing import met, options, result
from tests.planted import N, frames, turned, written

TASKS = ("accuracy", "output-difference")
ANGLES = {"a": (0.0, 0.1, 0.3, 0.6, 1.0), "b": (0.05, 0.35, 0.5, 0.8)}


def content(groups=ANGLES, seed=0):
    """Networks that turn away from one another as their accuracy and outputs do."""
    rng = np.random.default_rng(seed)
    pair, labels = frames(rng, 2), np.arange(N) % 5
    arrays = {"labels": labels}
    for group, angles in groups.items():
        for i, t in enumerate(angles):
            right = np.arange(N) < round(N * (0.2 + 0.7 * t))
            arrays[f"{group}:{i}/early"] = rng.standard_normal((N, 4))
            arrays[f"{group}:{i}/late"] = turned(rng, t, pair)
            arrays[f"{group}:{i}/logits"] = 4 * np.eye(5)[np.where(right, labels, (labels + 1) % 5)]
    return arrays


def scores(name, path, *methods, **given):
    task = get_task(name)
    found = {}
    for method, case, one in met(task, methods, options(task, features=(path,), **given)):
        assert one.status == "ok", one.message
        found[method, case.cell["networks"]] = one
    return found


@pytest.mark.parametrize("name", TASKS)
def test_metrics_order_planted_networks_and_baselines_do_not(name, tmp_path):
    found = scores(name, written(tmp_path, content()), "linear_cka", "procrustes_angular", "spectrum", "width")
    first = get_task(name).scores[0].name
    assert {cell for _, cell in found} == {"a", "b", "a x b", "a x b permuted"}
    for cell in ("a", "b", "a x b"):
        for metric in ("linear_cka", "procrustes_angular"):  # the second is a distance
            assert found[metric, cell].scores[first] > 0.95
        assert found["width", cell].scores[first] == 0.0
        assert abs(found["spectrum", cell].scores[first]) < 0.6
    assert {one.scores["undefined"] for one in found.values()} == {0.0}


@pytest.mark.parametrize("name", TASKS)
def test_permuted_stimuli_leave_chance(name, tmp_path):
    first = get_task(name).scores[0].name
    left = [
        scores(name, written(tmp_path, content(seed=seed)), "linear_cka", seed=seed)["linear_cka", "a x b permuted"]
        for seed in range(10)
    ]
    assert abs(np.mean([one.scores[first] for one in left])) < 0.3


def test_the_truth_is_that_of_a_loop(tmp_path):
    rng = np.random.default_rng(1)
    arrays = content()
    arrays |= {name: 3 * rng.standard_normal((N, 5)) for name in arrays if name.endswith("/logits")}
    arrays["labels"] = np.where(np.arange(N) % 7, arrays["labels"], -1)
    path = written(tmp_path, arrays)
    for name in TASKS:
        task = get_task(name)
        (case,) = (c for c in task.cases(options(task, features=(path,))) if c.cell["networks"] == "a x b")
        units = case.units["network"]
        expected = {"closeness": [], "divergence": [], "disagreement": []}
        for i, j in case.known["pairs"]:
            a, b = (arrays[f"{units[k]}/logits"] for k in (i, j))
            at = arrays["labels"] >= 0
            right = [np.mean(logits[at].argmax(axis=1) == arrays["labels"][at]) for logits in (a, b)]
            expected["closeness"].append(-abs(right[0] - right[1]))
            distances = [jensenshannon(p, q) ** 2 for p, q in zip(softmax(a, axis=1), softmax(b, axis=1))]
            expected["divergence"].append(-np.mean(distances))
            expected["disagreement"].append(-np.mean([p.argmax() != q.argmax() for p, q in zip(a, b)]))
        for score in task.scores[:-1]:
            assert case.known[score.name] == pytest.approx(expected[score.name], rel=1e-9)
        assert sorted((units[i], units[j]) for i, j in case.known["pairs"]) == sorted(
            (f"a:{i}", f"b:{j}") for i, j in itertools.product(range(5), range(4))
        )


@pytest.mark.parametrize("name", TASKS)
def test_a_draw_without_a_network_is_a_run_without_it(name, tmp_path):
    """Also of a metric that is not symmetric, and over two layers."""
    task, arrays, given = get_task(name), content(), {"layers": ("early", "late")}
    methods = ("linear_cka", "linear_regression")

    def rows(arrays):
        found = {}
        chosen = options(task, features=(written(tmp_path, arrays),), **given)
        for method, case, one in met(task, methods, chosen):
            found.setdefault((method, case.cell["networks"]), []).append(result(case, one))
        return found

    every = rows(arrays)
    drawn = {}
    for key, results in every.items():
        units = sorted({unit for one in results for unit in one.units["network"]})
        drawn[key] = units, task.aggregate(results, jackknife_draws(len(units)), units)
        assert len(results) == 2
        for score in task.scores:
            mean = np.mean([one.score(score.name) for one in results])
            assert drawn[key][1][score.name][0] == pytest.approx(mean, abs=1e-9)
    for left_out in ("a:1", "b:3"):
        without = rows({name: array for name, array in arrays.items() if not name.startswith(f"{left_out}/")})
        for key in without:
            units, found = drawn[key]
            if left_out in units:
                for score in task.scores[:-1]:
                    mean = np.mean([one.score(score.name) for one in without[key]])
                    assert found[score.name][1 + units.index(left_out)] == pytest.approx(mean, abs=1e-6)


def test_undefined_values_earn_nothing_and_are_counted(tmp_path):
    constant = {f"a:{i}/late": np.ones((N, 6)) for i in range(5)}
    for several, share in ((1, 0.4), (5, 1.0)):
        arrays = content() | dict(list(constant.items())[:several])
        one = scores("accuracy", written(tmp_path, arrays), "linear_cka")["linear_cka", "a"]
        assert one.scores["undefined"] == share
        assert one.scores["closeness"] < 0.7
    assert one.scores["closeness"] == pytest.approx(-1.0)


def test_networks_with_other_layers_are_compared_at_their_last(tmp_path):
    arrays = content()
    arrays["b:0/later"] = arrays.pop("b:0/late")
    arrays |= {f"b:{i}/later": arrays.pop(f"b:{i}/late") for i in (1, 2, 3)}
    path = written(tmp_path, arrays)
    assert scores("accuracy", path, "linear_cka")["linear_cka", "a x b"].scores["closeness"] > 0.95
    for layer, lacks in (("late", "b:0"), ("later", "a:0")):
        with pytest.raises(ValueError, match=f"{lacks} has no layer '{layer}'"):
            scores("accuracy", path, "linear_cka", layers=(layer,))


def without(part):
    return {name: array for name, array in content().items() if part not in name}


@pytest.mark.parametrize(
    ("name", "arrays", "said"),
    [
        ("accuracy", without("labels"), "needs the stimuli's classes"),
        ("accuracy", without("a:1/logits"), "a:1 has no logits"),
        ("output-difference", without("a:1/logits"), "a:1 has no logits"),
        (
            "output-difference",
            content() | {"b:1/logits": np.ones((N, 3))},
            "networks of 3 and 5 classes do not compare",
        ),
        ("accuracy", content({"a": (0.0, 0.5)}), "needs three networks of a group; there are 2"),
    ],
)
def test_wrong_use_ends_in_one_message(name, arrays, said, tmp_path):
    task = get_task(name)
    with pytest.raises(ValueError, match=said):
        list(task.cases(options(task, features=(written(tmp_path, arrays),))))


def test_what_runs_by_default_ships(tmp_path):
    assert get_task("accuracy").groups == ("w16", "w8")
    assert read_features([written(tmp_path, content())]).groups.keys() == {"a", "b"}
