"""Every declaration of every metric, checked both ways: what must not change it, and what must."""

import re
import runpy

import numpy as np
import pytest

from semrsm_bench.metrics import INVARIANCES, METRICS, get_instance, get_metric, instance_names, metric_names
from semrsm_bench.metrics.check_cases import INSTANCE_CASES, METRIC_CASES, TRANSFORMS
from tests.gate_repository import CHECKOUT
from tests.representations import BASELINES, inputs_of

N, P = 24, 5
OTHERS = [name for name, info in METRICS.items() if {"probabilities", "counts"} & set(info.inputs)]
PAIRED = [name for name, info in METRICS.items() if len(info.inputs) == 2]

MEASURES = [
    *((get_metric(name), case, check) for name in metric_names() for case, check in METRIC_CASES.items()),
    *((get_instance(name), case, check) for name in instance_names() for case, check in INSTANCE_CASES.items()),
]


@pytest.mark.parametrize(
    ("measure", "case", "check"), [pytest.param(*given, id=f"{given[0].name}-{given[1]}") for given in MEASURES]
)
def test_every_measure_passes_every_check_without_a_note(measure, case, check):
    assert not check(measure)


# What the words for outputs and labels mean; those for features, RSMs and aligned models are of the checks.
TRANSFORMS_OF_OTHERS = {
    "rsm": TRANSFORMS["rsm"],
    "probabilities": {
        "class_order": lambda P, rng: P[:, rng.permutation(P.shape[1])],
        "unused_class": lambda P, _: np.hstack([P, np.zeros((len(P), 1))]),
        "temperature": lambda P, _: P**0.5 / (P**0.5).sum(axis=1, keepdims=True),
    },
    "counts": {
        "class_order": lambda C, rng: C[:, rng.permutation(C.shape[1])],
        "count_scaling": lambda C, _: 3.0 * C,
        "membership": lambda C, rng: C * rng.integers(1, 9, C.shape),
    },
}


def test_every_word_has_a_meaning_and_every_declaration_is_of_words():
    known = {**TRANSFORMS, **TRANSFORMS_OF_OTHERS}
    assert {kind: set(names) for kind, names in known.items()} == {k: set(v) for k, v in INVARIANCES.items()}
    for info in METRICS.values():
        assert len(info.invariances) == len(info.inputs)
        for kind, names in zip(info.inputs, info.invariances, strict=True):
            assert names <= set(INVARIANCES[kind]), info.name


def same(before, after):
    return np.shape(before) == np.shape(after) and np.allclose(before, after, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "side", "transform"),
    [(n, side, t) for n in OTHERS for side, kind in enumerate(METRICS[n].inputs) for t in INVARIANCES[kind]],
)
def test_invariances_of_outputs_and_retrieval_hold_exactly_where_declared(name, side, transform):
    info = METRICS[name]
    verdicts = []
    for seed in range(3):
        inputs = inputs_of(info, seed)
        changed = list(inputs)
        change = TRANSFORMS_OF_OTHERS[info.inputs[side]][transform]
        changed[side] = change(inputs[side], np.random.default_rng(100 + seed))
        verdicts.append(same(info.function(*inputs), info.function(*changed)))
        value = np.asarray(info.function(*inputs))
        assert ((value >= info.low) & (value <= info.high)).all()
    assert verdicts == [transform in info.invariances[side]] * 3


def reordered(kind, side, seed=5):
    order = np.random.default_rng(seed).permutation(N)
    return side[np.ix_(order, order)] if kind == "rsm" else side[order]


@pytest.mark.parametrize("name", PAIRED)
def test_agreement_is_of_stimuli_in_one_order_and_best_of_a_side_with_itself(name):
    info = METRICS[name]
    first, near = inputs_of(info, noise=0.01)
    value = info.function(first, near)
    assert same(value, info.function(*map(reordered, info.inputs, (first, near))))
    others = [info.function(first, reordered(info.inputs[1], near, seed)) for seed in range(5)]
    if name in BASELINES:
        assert same([value] * 5, others)
    else:
        assert not any(same(value, other) for other in others)
        assert (value > np.mean(others)) == (info.direction == "similarity")
    if info.inputs[0] == info.inputs[1] and info.best is not None and name != "random":
        # Ridge keeps what it predicts just below all of it.
        tolerance = 1e-6 if name == "linear_predictivity" else 1e-12
        assert info.function(first, first) == pytest.approx(info.best, abs=tolerance)


def test_models_that_are_the_same_have_the_best_instance_similarity():
    models = [np.random.default_rng(0).standard_normal((N, P))] * 3
    infos = {name: info for name, info in METRICS.items() if info.inputs == ("aligned",) and info.best is not None}
    assert infos
    found = {name: info.function(models) for name, info in infos.items()}
    assert found == pytest.approx({name: info.best for name, info in infos.items()}, abs=1e-12)


def test_the_table_in_the_docs_is_what_metrics_declare():
    page = (CHECKOUT / "docs/metrics.md").read_text()
    assert runpy.run_path(str(CHECKOUT / "docs/metric_table.py"))["written"](page) == page


def test_every_metric_is_defined_in_the_page_beside_its_line_in_the_table():
    page = (CHECKOUT / "docs/metrics.md").read_text()
    _, found, definitions = page.partition("### How to read the definitions")
    definitions, until, _ = definitions.partition("## Significance")
    assert found
    assert until
    named = set(re.findall(r"`([a-z0-9_]+)`", definitions))
    missing = [
        name for name in metric_names() if get_metric(name).module.startswith("semrsm_bench.") and name not in named
    ]
    assert not missing, f"docs/metrics.md does not say what these are: {missing}"


def test_every_metric_says_what_it_costs_and_where_it_is_from():
    metrics = [get_metric(name) for name in metric_names()]
    assert not [m.name for m in metrics if m.complexity.count("O(") != 2 or m.pair is None]
    assert {m.name for m in metrics if not m.reference} == {"spectrum", "width", "norms", "random"}


def test_declarations_are_those_of_the_registries():
    for name in metric_names():
        metric, info = get_metric(name), METRICS[name]
        assert (info.low, info.high, info.symmetric, info.inputs) == (*metric.range, metric.symmetric, metric.inputs)
        assert info.direction == {"max": "similarity", "min": "distance"}[metric.best]
    assert (METRICS["hsic"].best, METRICS["procrustes_centred"].best) == (None, 0)
    assert (METRICS["jensen_shannon_pearson"].best, METRICS["jensen_shannon"].second) == (-1, None)
