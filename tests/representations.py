"""Feature matrices of the same stimuli, as tests of metrics need them."""

import numpy as np

from semrsm_bench.metrics import get_metric, metric_names


def related(seed, n=60, widths=(4, 6), shared=3, noise=1.0):
    """A matrix (n, width) for each width: a linear map of one latent, an offset, and noise."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, shared))
    return [latent @ rng.standard_normal((shared, w)) + noise * rng.standard_normal((n, w)) + 1.0 for w in widths]


def rotation(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def centred(X):
    return X - X.mean(axis=0)


def notebook():
    """The random data of the notebook that accompanies Kornblith et al. (2019)."""
    random = np.random.RandomState(1337)
    X = random.randn(100, 10)
    return X, random.randn(100, 10) + X


BASELINES = tuple(name for name in metric_names() if get_metric(name).category in ("baseline", "statistic"))
"""Metrics that see no order of the stimuli: reordering one side does not change them."""


def as_input(kind, latent):
    """An input of a metric, of one kind, from numbers (n, p) that stand for the stimuli."""
    if kind == "rsm":
        return -np.square(latent[:, None] - latent).sum(axis=2)
    if kind == "counts":
        return np.floor(4 * np.maximum(latent, 0))
    if kind == "probabilities":
        e = np.exp(1.5 * latent)
        return e / e.sum(axis=1, keepdims=True)
    return latent


def inputs_of(info, seed=0, n=24, width=5, shared=1.0, noise=0.7, mixed=True):
    """An input for each side of a declared metric, made of one latent and noise; features by random maps if mixed."""
    rng = np.random.default_rng(seed)
    sides = shared * rng.standard_normal((n, width)) + noise * rng.standard_normal((len(info.inputs), n, width))
    maps = [
        rng.standard_normal((width, width)) if kind == "features" and mixed else np.eye(width) for kind in info.inputs
    ]
    return [as_input(kind, side @ A) for kind, side, A in zip(info.inputs, sides, maps, strict=True)]
