"""The metric benchmarks: every cell sets up or is n/a, and what is timed beside each other computes the same."""

import numpy as np
import pytest

from benchmarks import clock
from benchmarks.bench_metrics import (
    CASES,
    SHAPES,
    AgainstPackages,
    Cost,
    Inputs,
    ManyLayers,
    contenders,
    layer_thunks,
    measured,
)


@pytest.mark.parametrize("case", CASES)
def test_every_case_runs_and_is_timed(case):
    samples = measured(contenders(case, Inputs(SHAPES[0])), rounds=2)
    assert next(iter(samples)) == "ours"
    assert all(len(values) == 2 and min(values) > 0 for values in samples.values())


def test_samples_are_the_seconds_of_one_call_in_every_round(monkeypatch):
    calls = []
    # A clock on which a call of "slow" takes 5 ms and one of "fast" a quarter of one, so that a sample needs eight.
    took = {"slow": 5_000_000, "fast": 250_000}
    monkeypatch.setattr(clock, "perf_counter_ns", lambda: sum(took[name] for name in calls))
    monkeypatch.setattr(clock, "waited_nanoseconds", lambda: 0)
    samples = measured({name: lambda name=name: calls.append(name) for name in took}, rounds=2)
    assert samples == {"slow": [pytest.approx(0.005)] * 2, "fast": [pytest.approx(0.00025)] * 2}
    assert calls == ["slow", "fast", *2 * ["slow", *8 * ["fast"]]]


def test_cells_without_a_value_are_skipped():
    for name in ("cca", "pwcca_mean"):
        for benchmark in (Cost(), AgainstPackages()):
            with pytest.raises(NotImplementedError):
                benchmark.setup(name, "300 x 1000")
    assert "cka" not in AgainstPackages.params[0]


def test_ratios_are_plain_floats():
    layers = ManyLayers()
    layers.setup(5)
    assert type(layers.track_relative_time(5)) is float
    pytest.importorskip("repsim", reason="an oracle of the comparison, from the `oracles` extra")
    pair = AgainstPackages()
    pair.setup("linear_cka", SHAPES[0])
    assert type(pair.track_relative_time("linear_cka", SHAPES[0])) is float


def test_one_product_gives_what_the_loop_gives():
    thunks = layer_thunks(4, n=30)
    np.testing.assert_allclose(thunks["matrix"]().ravel(), thunks["loop"](), rtol=1e-12)
