"""The benchmark from vectors to the certified permutation: what it times, and its table."""

import numpy as np
import pytest

from benchmarks import end_to_end

IMAGES = np.random.default_rng(0).normal(size=(3, 64, 6)).astype(np.float32)


@pytest.mark.parametrize(("solver", "takes_affinity"), [("exact-auction", True), ("hierarchical-certified", False)])
def test_every_pair_has_three_times_and_a_proof(solver, takes_affinity):
    seconds, proved = end_to_end.measure(IMAGES, pairs=2, rounds=2, solver=solver)
    assert seconds.shape == (2, 3)
    assert ((seconds > 0) == [True, takes_affinity, True]).all()
    assert proved == pytest.approx([1.0, 1.0], abs=1e-5)


def test_ratios_are_taken_within_a_pair():
    line = end_to_end.summary(64, np.array([[1.0, 0.5, 1.0], [2.0, 1.0, 3.0], [4.0, 2.0, 8.0]]), [0.5, 0.25])
    assert " ".join(line.split()) == "64 3 2000.000 0.50 (0.50 to 0.50) 1.50 (1.00 to 2.00) 2.00 (1.50 to 2.50) 0.25000"


def test_a_large_product_is_made_block_by_block(monkeypatch):
    made, matmul = [], np.matmul
    monkeypatch.setattr(end_to_end, "LARGE", 10)
    monkeypatch.setattr(end_to_end, "BLOCK", (25, 40))
    monkeypatch.setattr(np, "matmul", lambda a, b, out: made.append(matmul(a, b, out=out).copy()))
    end_to_end.product(IMAGES[0], IMAGES[1])
    rows = [np.hstack(made[i : i + 2]) for i in range(0, len(made), 2)]
    assert np.vstack(rows) == pytest.approx(IMAGES[0] @ IMAGES[1].T, abs=1e-5)
