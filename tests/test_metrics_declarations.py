"""Every declaration of every metric, checked both ways: what must not change it, and what must."""

import math

import numpy as np
import pytest

from semrsm_bench.metrics import INVARIANCES, METRICS, get_metric
from semrsm_bench.metrics.check_cases import TRANSFORMS as CHECKED
from semrsm_bench.metrics.instances import KINDS

N, P = 24, 5


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def make(kind, rng, latent):
    """One input of a kind, related to the latent of shape (N, P) that all inputs of a call share."""
    noisy = latent + 0.7 * rng.standard_normal(latent.shape)
    if kind == "features":
        return noisy @ rng.standard_normal((P, P)) + rng.standard_normal(P)
    if kind == "rsm":
        return noisy @ noisy.T
    if kind == "probabilities":
        return softmax(1.5 * noisy)
    if kind == "counts":
        return np.floor(np.abs(2 * noisy))
    assert kind == "aligned"
    return np.stack([latent + scale * rng.standard_normal(latent.shape) + 0.5 for scale in (0.3, 0.6, 1.2, 2.0)])


def inputs_of(info, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((N, P))
    return [make(kind, rng, latent) for kind in info.inputs]


TRANSFORMS = {
    **CHECKED,
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

CASES = [
    (name, side, transform)
    for name, info in METRICS.items()
    for side, kind in enumerate(info.inputs)
    for transform in INVARIANCES[kind]
]
# The baselines see neither order nor, in the case of `width`, any number.
BASELINES = ("spectrum", "width")
REAL = [name for name in METRICS if name not in BASELINES]


def evaluate(info, inputs):
    return np.asarray(info.function(*inputs))


def same(before, after):
    scale = max(1.0, float(np.abs(before).max()))
    # NaN (a retrieval of nothing by nothing) has to stay where it is.
    return before.shape == after.shape and np.allclose(before, after, rtol=1e-9, atol=1e-9 * scale, equal_nan=True)


def test_the_vocabulary_is_what_is_tested():
    assert {kind: set(names) for kind, names in TRANSFORMS.items()} == {k: set(v) for k, v in INVARIANCES.items()}
    for info in METRICS.values():
        assert len(info.invariances) == len(info.inputs)
        for kind, names in zip(info.inputs, info.invariances, strict=True):
            assert names <= set(INVARIANCES[kind]), info.name


@pytest.mark.parametrize(("name", "side", "transform"), CASES)
def test_invariance_holds_exactly_where_declared(name, side, transform):
    info = METRICS[name]
    declared = transform in info.invariances[side]
    verdicts = []
    for seed in range(3):
        inputs = inputs_of(info, seed)
        before = evaluate(info, inputs)
        changed = list(inputs)
        changed[side] = TRANSFORMS[info.inputs[side]][transform](inputs[side], np.random.default_rng(100 + seed))
        try:
            verdicts.append(same(before, evaluate(info, changed)))
        except ValueError:
            verdicts.append(False)
    assert all(verdicts) if declared else not any(verdicts)


@pytest.mark.parametrize("name", METRICS)
def test_order_of_stimuli_matters_only_as_a_correspondence(name):
    info = METRICS[name]
    inputs = inputs_of(info)
    order = np.random.default_rng(5).permutation(N)

    def reorder(kind, value):
        if kind == "rsm":
            return value[np.ix_(order, order)]
        return value[:, order] if kind == "aligned" else value[order]

    before = evaluate(info, inputs)
    together = evaluate(info, [reorder(kind, value) for kind, value in zip(info.inputs, inputs, strict=True)])
    expected = before if before.ndim == 0 else before[order] if before.ndim == 1 else before[np.ix_(order, order)]
    assert same(expected, together)
    if len(inputs) == 2:
        alone = evaluate(info, [inputs[0], reorder(info.inputs[1], inputs[1])])
        assert same(before, alone) == (name in BASELINES)


@pytest.mark.parametrize("name", [name for name, info in METRICS.items() if info.inputs[0] == info.inputs[-1]])
def test_symmetry_is_as_declared(name):
    info = METRICS[name]
    if len(info.inputs) < 2:
        assert not info.symmetric
        return
    verdicts = []
    for seed in range(3):
        first, second = inputs_of(info, seed)
        # Of different widths, where that can be, so that no symmetry comes from equal shapes.
        if info.inputs[0] == "features":
            second = second[:, :3]
        verdicts.append(same(evaluate(info, [first, second]), evaluate(info, [second, first])))
    assert all(verdicts) if info.symmetric else not any(verdicts)


@pytest.mark.parametrize("name", METRICS)
def test_range_is_respected(name):
    info = METRICS[name]
    slack = 1e-12
    for seed in range(20):
        value = evaluate(info, inputs_of(info, seed))
        value = value[~np.isnan(value)]
        assert ((value >= info.low - slack) & (value <= info.high + slack)).all()


@pytest.mark.parametrize("name", [name for name in REAL if METRICS[name].inputs in (("features",) * 2, ("rsm",) * 2)])
def test_direction_and_best_value(name):
    info = METRICS[name]
    sign = 1 if info.direction == "similarity" else -1
    assert get_metric(name).sign == sign
    for seed in range(5):
        first, other = inputs_of(info, seed)
        rng = np.random.default_rng(1000 + seed)
        noise = 0.01 * rng.standard_normal(first.shape)
        close = first + (noise + noise.T if info.inputs[0] == "rsm" else noise)
        perfect, near, far = (evaluate(info, [first, second]) for second in (first, close, other))
        assert sign * near > sign * far
        if info.best is not None:
            assert perfect == pytest.approx(info.best, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_direction_of_instance_similarity(kind):
    info = METRICS[f"instance_{kind}"]
    sign = 1 if info.direction == "similarity" else -1
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((200, P))
    near, far = ([latent + s * rng.standard_normal(latent.shape) for _ in range(4)] for s in (0.1, 1.0))
    assert sign * info.function(near).mean() > sign * info.function(far).mean()
    assert info.function([latent] * 3) == pytest.approx(info.best, abs=1e-12)


def test_direction_of_outputs_and_retrieval():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((60, P))
    K = -np.square(latent[:, None] - latent).sum(axis=2)
    shuffled = rng.permutation(60)
    for name, labels in (("jensen_shannon_pearson", softmax(latent)), ("jensen_shannon_spearman", softmax(latent))):
        info = METRICS[name]
        assert info.direction == "distance"
        assert info.function(labels, K) < info.function(labels[shuffled], K) - 0.3
    for name in ("retrieval_f1", "retrieval_iou"):
        counts = np.floor(np.abs(2 * latent))
        info = METRICS[name]
        assert info.direction == "similarity"
        assert info.function(K, counts) > info.function(K, counts[shuffled]) + 0.1


def test_best_value_needs_a_finite_end():
    assert METRICS["hsic"].best is None
    assert METRICS["procrustes_centred"].best == 0
    assert METRICS["jensen_shannon_pearson"].best == -1
    assert METRICS["procrustes_angular"].high == math.pi / 2
