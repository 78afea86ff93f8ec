"""Metrics over stimuli and units: what they cost, and what the fastest public package takes for the same number.

``python -m benchmarks.bench_metrics`` prints the comparison as a table. Packages that are not installed are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from scipy.spatial.distance import pdist, squareform

from semrsm_bench import metrics

from .clock import alternating, looped, ratio_of_least

# (stimuli, units on each side): narrow, ordinary, wide, long.
SHAPES = ("100 x 20", "300 x 64", "300 x 1000", "1000 x 64")
LAYERS = (5, 20)

Thunk = Callable[[], object]


class Inputs:
    """Features of two related representations, and everything that the packages want made of them beforehand."""

    def __init__(self, shape: str) -> None:
        self.n, self.p = (int(number) for number in shape.split(" x "))
        rng = np.random.default_rng([self.n, self.p])
        latent = rng.standard_normal((self.n, 10))
        self.X, self.Y = (
            latent @ rng.standard_normal((10, self.p)) + rng.standard_normal((self.n, self.p)) for _ in range(2)
        )
        self.K, self.L = self.X @ self.X.T, self.Y @ self.Y.T
        logits = rng.standard_normal((self.n, self.p))
        self.P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        self.tensors = {}
        if find_spec("torch"):
            import torch

            torch.set_num_threads(1)
            self.tensors = {name: torch.from_numpy(getattr(self, name)) for name in "XYKL"}


def _call(
    function: Callable[..., object] | str, names: str, *more: object, **options: object
) -> Callable[[Inputs], Thunk]:
    """A call on the inputs of these names; a function of another package is given as "module:name"."""

    def prepare(i: Inputs) -> Thunk:
        return partial(_found(function), *(getattr(i, name) for name in names), *more, **options)

    return prepare


def _found(function: Callable[..., object] | str) -> Callable[..., object]:
    if not isinstance(function, str):
        return function
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def _repsim(function: str, *options: str) -> Callable[[Inputs], Thunk]:
    return lambda i: partial(_found(f"repsim:{function}"), [i.X, i.Y], *options)


def _ckatorch(function: str, names: str, **options: object) -> Callable[[Inputs], Thunk]:
    def prepare(i: Inputs) -> Thunk:
        tensors = [i.tensors[name][None] if function == "hsic1" else i.tensors[name] for name in names]
        return partial(_found(f"ckatorch:{function}"), *tensors, **options)

    return prepare


def _ckatorch_batches(i: Inputs) -> Thunk:
    return partial(_found("ckatorch:cka_batch"), *(i.tensors[n].reshape(i.n // 20, 20, i.p) for n in "XY"))


def _rsatoolbox(method: str) -> Callable[[Inputs], Thunk]:
    def prepare(i: Inputs) -> Thunk:
        from rsatoolbox.rdm import RDMs, compare

        # From square matrices on both sides: theirs takes the diagonal for granted to be zero.
        k, l = (m - np.diag(np.diag(m)) for m in (i.K, i.L))  # noqa: E741
        return lambda: compare(RDMs(k[None]), RDMs(l[None]), method)

    return prepare


def _qc_generalized(i: Inputs) -> Thunk:
    models = [side - side.mean(axis=0) for side in (i.X, i.Y, i.X[:, ::-1])]
    return partial(_found("procrustes:generalized"), models, tol=1e-8)


def _sklearn_cca(i: Inputs) -> Thunk:
    made = _found("sklearn.cross_decomposition:CCA")
    return lambda: made(n_components=i.p, max_iter=1000).fit(i.X, i.Y).transform(i.X, i.Y)


def _batches(i: Inputs) -> Thunk:
    x, y = (side.reshape(i.n // 20, 20, i.p) for side in (i.X, i.Y))
    return lambda: metrics.minibatch_cka((x @ x.transpose(0, 2, 1), y @ y.transpose(0, 2, 1)))


def _barycenter(i: Inputs) -> Thunk:
    return lambda: metrics.Barycenter().fit([i.X, i.Y, i.X[:, ::-1]])


# Name: ours, then the packages that compute the same (svcca: the same but for where the components are cut).
# fmt: off
CASES: dict[str, dict[str, Callable[[Inputs], Thunk]]] = {
    "cosine_rsm": {"ours": _call(metrics.cosine_rsm, "X"), "sklearn": _call("sklearn.metrics.pairwise:cosine_similarity", "X")},
    "rbf_rsm": {
        "ours": _call(metrics.rbf_rsm, "X", sigma=10.0), "sklearn": _call("sklearn.metrics.pairwise:rbf_kernel", "X", gamma=0.005),
    },
    "hsic": {"ours": _call(metrics.hsic, "KL"), "ckatorch": _ckatorch("hsic0", "KL")},
    "hsic_debiased": {"ours": _call(metrics.hsic, "KL", estimator="debiased"), "ckatorch": _ckatorch("hsic1", "KL")},
    "cka": {"ours": _call(metrics.cka, "KL")},
    "linear_cka": {
        "ours": _call(metrics.linear_cka, "XY"), "ckatorch": _ckatorch("cka_base", "XY"),
        "repsim": _repsim("cka", "linear", "gretton"),
    },
    "linear_cka_debiased": {
        "ours": _call(metrics.linear_cka, "XY", estimator="debiased"), "ckatorch": _ckatorch("cka_base", "XY", unbiased=True),
    },
    "rbf_cka": {
        "ours": _call(metrics.rbf_cka, "XY", sigma="kornblith"), "ckatorch": _ckatorch("cka_base", "XY", kernel="rbf"),
        "repsim": _repsim("cka", "rbf", "gretton"),
    },
    "cosine_cka": {"ours": _call(metrics.cosine_cka, "XY")},
    "minibatch_cka": {"ours": _batches, "ckatorch": _ckatorch_batches},
    "cca": {"ours": _call(metrics.cca, "XY"), "repsim": _repsim("cca", "pillai"), "sklearn": _sklearn_cca},
    "svcca": {"ours": _call(metrics.svcca, "XY"), "repsim": _repsim("svcca", "pillai")},
    "pwcca_mean": {"ours": _call(metrics.pwcca, "XY", weights_from="mean"), "repsim": _repsim("pwcca")},
    "procrustes_centred": {
        "ours": _call(metrics.procrustes_distance, "XY"), "qc-procrustes": _call("procrustes:orthogonal", "XY", translate=True),
    },
    "procrustes_centred_unit": {
        "ours": _call(metrics.procrustes_distance, "XY", variant="centred_unit"),
        "qc-procrustes": _call("procrustes:orthogonal", "XY", translate=True, scale=True),
        "scipy": _call("scipy.spatial:procrustes", "XY"),
    },
    "align": {"ours": _call(metrics.align, "XY"), "scipy": _call("scipy.linalg:orthogonal_procrustes", "XY")},
    "unit_matching": {
        "ours": _call(metrics.unit_matching, "XY", on="covariance"),
        "qc-procrustes": _call("procrustes:permutation", "XY", translate=True),
    },
    "barycenter_of_3": {"ours": _barycenter, "qc-procrustes": _qc_generalized},
    **{
        f"rsa_{method}": {"ours": _call(metrics.compare_rsms, "KL", method=method), "rsatoolbox": _rsatoolbox(theirs)}
        for method, theirs in {
            "pearson": "corr", "cosine": "cosine", "spearman": "spearman",
            "kendall_a": "tau-a", "kendall_b": "tau-b", "rho_a": "rho-a",
        }.items()
    },
    "jensen_shannon": {
        "ours": _call(metrics.jensen_shannon, "P"),
        "scipy": lambda i: lambda: squareform(pdist(i.P, "jensenshannon") ** 2),
    },
    "retrieval_f1": {"ours": lambda i: partial(metrics.self_retrieval, i.K, np.abs(np.round(i.X)))},
}
# fmt: on
# From so many units on a package takes seconds where ours takes milliseconds; and a canonical correlation needs more stimuli
# than units.
_TOO_SLOW = {
    ("cca", "sklearn"): 64,
    ("svcca", "repsim"): 1000,
    ("barycenter_of_3", "qc-procrustes"): 1000,
    ("unit_matching", "qc-procrustes"): 1000,
}
_NEEDS_STIMULI = ("cca", "pwcca_mean")


def contenders(case: str, inputs: Inputs) -> dict[str, Thunk]:
    """Calls to time for a case, ours first, warmed up; empty where the metric is not defined for the shape."""
    if case in _NEEDS_STIMULI and inputs.p >= inputs.n - 1:
        return {}
    thunks = {}
    for package, prepare in CASES[case].items():
        if inputs.p >= _TOO_SLOW.get((case, package), 10**9):
            continue
        try:
            thunks[package] = prepare(inputs)
        except (ImportError, KeyError):
            continue
        thunks[package]()
    return thunks


def measured(thunks: dict[str, Thunk], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call in every round."""
    return alternating({name: looped(thunk) for name, thunk in thunks.items()}, rounds)


def layer_thunks(layers: int, n: int = 300) -> dict[str, Thunk]:
    """All pairs of layers in one product, and the same in a loop over pairs of RSMs."""
    rng = np.random.default_rng(0)
    rsms = [(X := rng.standard_normal((n, 64))) @ X.T for _ in range(layers)]

    def loop() -> list[float]:
        return [metrics.cka(rsms[i], rsms[j], "debiased") for i in range(layers) for j in range(layers)]

    return {"matrix": lambda: metrics.cka_matrix(rsms, estimator="debiased"), "loop": loop}


class Cost:
    """Seconds for one number (or matrix) from one pair of representations."""

    params = (list(CASES), list(SHAPES))
    param_names = ("metric", "shape")
    version = "1"
    timeout = 120.0
    rounds = 1
    repeat = (3, 7, 1.0)
    warmup_time = 0.0

    def setup(self, metric, shape):
        inputs = Inputs(shape)
        if metric in _NEEDS_STIMULI and inputs.p >= inputs.n - 1:
            raise NotImplementedError("every canonical correlation is 1 for so many units")
        self.thunk = CASES[metric]["ours"](inputs)
        self.thunk()

    def time_metric(self, metric, shape):
        self.thunk()

    time_metric.pretty_name = "One metric (seconds, lower is better)"


class AgainstPackages:
    """Our time over that of the fastest public package, measured alternately."""

    params = ([case for case, packages in CASES.items() if len(packages) > 1], list(SHAPES))
    param_names = ("metric", "shape")
    version = "1"
    timeout = 300.0

    def setup(self, metric, shape):
        self.thunks = contenders(metric, Inputs(shape))
        if len(self.thunks) < 2:
            raise NotImplementedError("no public package to compare with")

    def track_relative_time(self, metric, shape):
        return ratio_of_least(measured(self.thunks, rounds=5), "ours")

    track_relative_time.unit = "ours / fastest public package"
    track_relative_time.pretty_name = "Time beside the fastest public package (ratio, lower is better)"


class ManyLayers:
    """CKA of all layers with all layers."""

    params = (list(LAYERS),)
    param_names = ("layers",)
    version = "1"
    timeout = 120.0

    def setup(self, layers):
        self.thunks = layer_thunks(layers)

    def time_matrix(self, layers):
        self.thunks["matrix"]()

    def track_relative_time(self, layers):
        return ratio_of_least(measured(self.thunks, rounds=5), "matrix")

    time_matrix.pretty_name = "CKA of all layers (seconds, lower is better)"
    track_relative_time.unit = "one product / loop over pairs"
    track_relative_time.pretty_name = "CKA of all layers beside a loop (ratio, lower is better)"


class Alignment:
    """Barycenter of ten models."""

    params = (["orthogonal", "permutation"], ["200 x 32", "1000 x 128"])
    param_names = ("group", "shape")
    version = "1"
    timeout = 300.0
    rounds = 1
    repeat = (1, 3, 10.0)
    warmup_time = 0.0

    def setup(self, group, shape):
        n, d = (int(number) for number in shape.split(" x "))
        rng = np.random.default_rng(0)
        latent = rng.standard_normal((n, d))
        self.models = [latent[:, rng.permutation(d)] + rng.standard_normal((n, d)) for _ in range(10)]
        metrics.Barycenter(group).fit([model[:20, :4] for model in self.models])

    def time_fit(self, group, shape):
        metrics.Barycenter(group).fit(self.models)

    time_fit.pretty_name = "Barycenter of ten models (seconds, lower is better)"


def main() -> None:
    """Print our time, that of each package, and the ratio to the fastest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this metric; may be repeated")
    options = parser.parse_args()
    print("milliseconds: median (least to most) over rounds; ratio: least over least")
    for shape in SHAPES:
        inputs = Inputs(shape)
        for case in options.case or CASES:
            samples = measured(contenders(case, inputs), options.rounds)
            if samples:
                print(_line(case, shape, samples), flush=True)
    if not options.case:
        for layers in LAYERS:
            print(_line(f"cka_matrix, {layers} layers", "300 x 300", measured(layer_thunks(layers), options.rounds)))


def _line(case: str, shape: str, samples: dict[str, list[float]]) -> str:
    texts = [
        f"{name} {1e3 * np.median(values):.3g} ({1e3 * min(values):.3g} to {1e3 * max(values):.3g})"
        for name, values in samples.items()
    ]
    first, *others = (min(values) for values in samples.values())
    ratio = f"{first / min(others):6.2f}" if others else "     -"
    return f"{case:<24} {shape:>10} {ratio}  " + "; ".join(texts)


if __name__ == "__main__":
    main()
