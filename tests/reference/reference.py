"""Values that the package must reproduce, through public names only, so that the same file runs on any version of it.

python tests/reference/reference.py --write        computes the groups and puts them into values.json
python tests/reference/reference.py --compare      computes them again: exit code 1 and a list where they differ
python tests/reference/reference.py --compare --groups rsms metrics

values.json holds beside the computed groups two that are only on record: "studies", figures of the studies with the commands
that made them, and "docs", the tables of the documentation. Both are from before studies became tasks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_name
from safetensors import safe_open
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_info, threadpool_limits

import semrsm_bench as sb

VALUES = Path(__file__).with_name("values.json")
CACHE = Path(__file__).parents[2] / "data" / "resnet18-tiny-imagenet.safetensors"
LAYER = {64: "layer4", 256: "layer3", 1024: "layer2", 4096: "layer1"}
PAIRS = {
    64: [(0, 1), (2, 3), (4, 9), (17, 5)],
    256: [(0, 1), (2, 3), (4, 9), (17, 5)],
    1024: [(0, 1), (17, 5)],
    4096: [(0, 1)],
}
SLOW_AT_4096 = ("scipy", "lapjv", "lap", "lapx", "ortools")
SOLVER_CENTRINGS = ("none", "channel")
RSM_MATCHINGS = ("identity", "translation", "exact-auction", "greedy", "batch-optimal-128")
KERNELS = ("linear", "cosine", "rbf")
IMAGES = {"layer4": 6, "layer3": 4}

Values = dict[str, Any]


def raw_activations(layer: str) -> np.ndarray:
    """Activations as stored, (N, C, S) float32."""
    with safe_open(CACHE, framework="np") as file:
        return file.get_tensor(layer).astype(np.float32)


def positions(layer: str, image: int, centring: str) -> np.ndarray:
    """Position vectors of one image, (S, C), minus nothing or the mean of each channel over the cache's images and positions."""
    with safe_open(CACHE, framework="np") as file:
        values = file.get_slice(layer)[image : image + 1][0].astype(np.float32)
        if centring == "channel":
            mean = file.get_tensor(f"{layer}.mean").mean(axis=1, dtype=np.float64, keepdims=True)
            values -= mean.astype(np.float32)
    return np.ascontiguousarray(values.T)


def solvers(size: int) -> Values:
    """k_opt, k_rand and an upper bound of each pair; k and c of every available solver on it."""
    values: Values = {}
    for (i, j), centring in itertools.product(PAIRS[size], SOLVER_CENTRINGS):
        problem = sb.MatchingProblem(*(positions(LAYER[size], k, centring) for k in (i, j)))
        place = f"S={size}/pair={i},{j}/centring={centring}"
        k_rand = sb.solvers.random_value(problem)
        k_opt = _optimum(problem)
        values[f"{place}/k_opt"], values[f"{place}/k_rand"] = k_opt, k_rand
        values[f"{place}/upper_bound"] = sb.upper_bound(problem)
        for name in sb.solver_names(available_only=True):
            if size == 4096 and name in SLOW_AT_4096:
                continue
            k = sb.matching_value(problem, sb.solve(problem, name))
            values[f"{place}/{name}/k"] = k
            values[f"{place}/{name}/c"] = sb.solvers.chance_corrected(k, k_opt, k_rand)
    return values


def _optimum(problem: Any) -> float:
    """k_opt without the package's solvers, which at S = 4096 would take minutes."""
    if problem.size > 1024:
        return sb.matching_value(problem, sb.solve(problem, "exact-auction"))
    affinity = problem.x.astype(np.float64) @ problem.y.astype(np.float64).T
    return float(affinity[linear_sum_assignment(affinity, maximize=True)].sum())


def rsms() -> Values:
    """RSMs of every kind of matching, kernel and centring; single matchings and several at once; z alone and with z2."""
    values: Values = {}
    for layer, count in IMAGES.items():
        raw = raw_activations(layer)
        side = int(np.sqrt(raw.shape[2]))
        z, z2 = (part.reshape(*part.shape[:2], side, side) for part in (raw[:count], raw[count + 1 : 2 * count]))
        for (what, second), centring in itertools.product((("z", None), ("z,z2", z2)), ("none", "channel", "position")):
            place = f"{layer}/{what}/centring={centring}"
            how = {"centring": centring, "kernel": KERNELS}
            for matching, per_kernel in sb.compute_rsm(z, second, matching=RSM_MATCHINGS, **how).items():
                for kernel, rsm in per_kernel.items():
                    values[f"{place}/several/{matching}/{kernel}"] = rsm
            # Alone each matching has an RBF bandwidth of its own; the other kernels must not depend on company.
            for matching in RSM_MATCHINGS:
                for kernel, rsm in sb.compute_rsm(z, second, matching=matching, **how).items():
                    values[f"{place}/alone/{matching}/{kernel}"] = rsm
    values.update(_other_rsms())
    return values


def _other_rsms() -> Values:
    values: Values = {}
    flat = raw_activations("layer4")[:6]
    z = flat.reshape(6, -1, 8, 8)
    exact: dict[str, Any] = {"matching": "exact-auction", "centring": "channel"}
    for rule in ("offdiag_median", "kornblith", "wald_code", "wald_paper", 20.0):
        values[f"other/rbf/sigma={rule}/t=0.5"] = sb.compute_rsm(z, kernel="rbf", sigma=rule, t=0.5, **exact)
    values["other/channels_last"] = sb.compute_rsm(np.moveaxis(z, 1, -1), layout="channels_last", **exact)
    tokens = np.concatenate([flat[:, :, :1] * 3, flat], axis=2).swapaxes(1, 2)
    for drop in (0, 1):
        values[f"other/tokens/drop_tokens={drop}"] = sb.compute_rsm(
            tokens, layout="channels_last", drop_tokens=drop, **exact
        )
    values["other/flat/grid/translation"] = sb.compute_rsm(flat, grid=(8, 8), matching="translation")
    values["other/float64"] = sb.compute_rsm(z.astype(np.float64), **exact)
    values["other/options/eps"] = sb.compute_rsm(z, matching="auction-fine", options={"eps": (0.5,)})
    rsm, perms = sb.compute_rsm(z, return_permutations=True, **exact)
    values["other/permutations/rsm"] = rsm
    values["other/permutations/first rows"] = perms[0, :, :8]
    return values


def _inputs() -> SimpleNamespace:
    """Seeded inputs of every kind; the numbers are rounded, so that they do not hang on the last bits of a BLAS."""
    rng = np.random.default_rng(20240)

    def normal(*shape: int) -> np.ndarray:
        return np.round(rng.standard_normal(shape), 6)

    n = 24
    shared = normal(n, 5)
    x = shared @ normal(5, 9) + 0.5 * normal(n, 9) + 1.0
    y = shared @ normal(5, 7) + 0.5 * normal(n, 7)
    wide = shared @ normal(5, 60) + normal(n, 60)
    logits = 2 * normal(n, 10)
    counts = np.floor(np.abs(2 * normal(n, 6)))
    counts[np.arange(n), np.arange(n) % 6] += 1
    indefinite = normal(n, n)
    models = [shared @ normal(5, d) + 0.3 * normal(n, d) for d in (6, 8, 8, 5)]
    return SimpleNamespace(
        x=x, y=y, wide=wide, k=x @ x.T, l=y @ y.T, indefinite=indefinite + indefinite.T + 3 * x @ x.T,
        ties=np.round(x @ x.T / 8), probabilities=np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
        counts=counts, models=models, more=[normal(4, d) for d in (6, 8, 8, 5)], extra=shared @ normal(5, 7) + 0.3 * normal(n, 7),
        queries=normal(5, 9), similarities=normal(10, n), query_counts=np.floor(np.abs(2 * normal(10, 6))),
        query_groups=list(range(10)), groups=[i % 11 for i in range(n)], stacks=(normal(3, 8, 8), normal(3, 8, 8)),
    )  # fmt: skip


def metrics() -> Values:
    """Every function of `sb.metrics` on fixed inputs."""
    d = _inputs()
    m = sb.metrics
    values: Values = {}
    for name, function in _two_rsms(m).items():
        for label, pair in {"K,L": (d.k, d.l), "K,indefinite": (d.k, d.indefinite), "ties,L": (d.ties, d.l)}.items():
            values[f"{name}/{label}"] = function(*pair)
    for name, function in _two_features(m).items():
        values[f"{name}/X,Y"], values[f"{name}/Y,X"] = function(d.x, d.y), function(d.y, d.x)
        if "cca" not in name or name == "svcca":
            # More units than stimuli: canonical correlations refuse, they would all be 1.
            values[f"{name}/X,wide"] = function(d.x, d.wide)
    values.update(_of_one_or_many(m, d))
    values.update(_chance(m, d))
    values.update(_barycenters(m, d))
    return values


def _two_rsms(m: Any) -> dict[str, Callable[..., float]]:
    return {
        "hsic": m.hsic,
        "hsic_debiased": lambda k, l: m.hsic(k, l, estimator="debiased"),  # noqa: E741
        "cka": m.cka,
        "cka_debiased": lambda k, l: m.cka(k, l, estimator="debiased"),  # noqa: E741
        **{f"rsa_{method}": lambda k, l, method=method: m.compare_rsms(k, l, method=method)  # noqa: E741
           for method in ("pearson", "cosine", "spearman", "kendall_a", "kendall_b", "rho_a")},
    }  # fmt: skip


def _two_features(m: Any) -> dict[str, Callable[..., float]]:
    return {
        "linear_cka": m.linear_cka,
        "linear_cka_debiased": lambda x, y: m.linear_cka(x, y, estimator="debiased"),
        "rbf_cka": m.rbf_cka,
        "rbf_cka_debiased": lambda x, y: m.rbf_cka(x, y, estimator="debiased"),
        "rbf_cka_kornblith": lambda x, y: m.rbf_cka(x, y, sigma="kornblith", t=0.6),
        "cosine_cka": m.cosine_cka,
        "cosine_cka_debiased": lambda x, y: m.cosine_cka(x, y, estimator="debiased"),
        "cca": m.cca,
        "cca_r2": lambda x, y: m.cca(x, y, summary="r2"),
        "cca_not_centred": lambda x, y: m.cca(x, y, centre=False),
        "svcca": m.svcca,
        "svcca_90": lambda x, y: m.svcca(x, y, threshold=0.9),
        "pwcca": m.pwcca,
        "pwcca_y": lambda x, y: m.pwcca(x, y, weights_from="y"),
        "pwcca_mean": lambda x, y: m.pwcca(x, y, weights_from="mean"),
        **{f"procrustes_{variant}": lambda x, y, variant=variant: m.procrustes_distance(x, y, variant=variant)
           for variant in ("raw", "centred", "centred_unit", "angular", "angular_raw")},
        "unit_matching": m.unit_matching,
        "unit_matching_covariance": lambda x, y: m.unit_matching(x, y, on="covariance"),
    }  # fmt: skip


def _of_one_or_many(m: Any, d: SimpleNamespace) -> Values:
    distances = m.squared_distances(d.x)
    match, covariance = m.match_units(d.x, d.y), m.match_units(d.x, d.y, on="covariance")
    layers, others = [d.x, d.y, d.wide], [d.x[:, :4], d.wide[:, 3:]]
    groups = {"query_groups": d.query_groups, "database_groups": d.groups}
    sides = (d.similarities, d.query_counts, d.counts)
    found: Values = {
        "canonical_correlations": m.canonical_correlations(d.x, d.y),
        "canonical_correlations/not centred": m.canonical_correlations(d.x, d.y, centre=False),
        "squared_distances": distances,
        "squared_distances/X,queries": m.squared_distances(d.x, d.queries),
        "linear_rsm": m.linear_rsm(d.x[:8]),
        "cosine_rsm": m.cosine_rsm(d.x[:8]),
        "cosine_rsm/X,queries": m.cosine_rsm(d.x[:8], d.queries),
        "rbf_rsm": m.rbf_rsm(d.x[:8]),
        "rbf_rsm/X,queries": m.rbf_rsm(d.x[:8], d.queries, sigma="kornblith", t=0.5),
        "jensen_shannon": m.jensen_shannon(d.probabilities),
        "jensen_shannon_pearson": m.jensen_shannon_correlation(d.probabilities, d.k),
        "jensen_shannon_spearman": m.jensen_shannon_correlation(d.probabilities, d.k, method="spearman"),
        "retrieval_f1": m.self_retrieval(d.k, d.counts, score="f1"),
        "retrieval_iou": m.self_retrieval(d.k, d.counts, score="iou"),
        "retrieval_f1/groups": m.self_retrieval(d.k, d.counts, groups=d.groups),
        "retrieval_f1/database": m.retrieval_f1(*sides),
        "retrieval_iou/database": m.retrieval_iou(*sides, **groups),
        "most_similar": m.most_similar(d.similarities, **groups),
        "centre_on_database": np.vstack(m.centre_on_database(d.queries, d.x[:8])),
        "match_units/pairs": np.stack([match.x_units, match.y_units]),
        "match_units/scores": match.scores,
        "match_units/covariance/scores": covariance.scores,
        "align/orthogonal": m.align(d.y, d.x),
        "align/permutation": m.align(d.y, d.x, group="permutation"),
        "minibatch_cka": m.minibatch_cka(_batches(d)),
        "minibatch_cka/biased": m.minibatch_cka(_batches(d), estimator="biased"),
        "minibatch_cka/stacks": m.minibatch_cka(tuple(np.stack(side) for side in zip(*_batches(d)))),
        "cka_matrix/rsms": m.cka_matrix([d.k, d.l, d.indefinite]),
    }
    for score, top in itertools.product(("f1", "iou"), (1, 3)):
        found[f"retrieval_scores/{score}/top={top}"] = m.retrieval_scores(*sides, **groups, score=score, top=top)
    for rule, t in (("offdiag_median", 1.0), ("kornblith", 0.5), ("wald_code", 1.0), ("wald_paper", 2.0), (3.0, 0.5)):
        found[f"bandwidth/{rule}/t={t}"] = m.bandwidth(distances, rule, t=t)
        found[f"bandwidth/{rule}/pooled"] = m.bandwidth([distances, m.squared_distances(d.wide)], rule, t=t)
        found[f"bandwidth/{rule}/database"] = m.bandwidth(distances[:, :7], rule, t=t)
    for kernel, estimator in itertools.product(KERNELS, ("biased", "debiased")):
        how = {"kernel": kernel, "estimator": estimator}
        found[f"cka_matrix/{kernel}/{estimator}"] = m.cka_matrix(layers, **how)
        found[f"cka_matrix/{kernel}/{estimator}/others"] = m.cka_matrix(layers, others, **how)
    return found


def _batches(d: SimpleNamespace) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(d.k[i : i + 8, i : i + 8], d.l[i : i + 8, i : i + 8]) for i in (0, 8, 16)]


def _chance(m: Any, d: SimpleNamespace) -> Values:
    null = m.null_distribution(m.linear_cka, d.x, d.y, n=20, seed=3)
    value = m.linear_cka(d.x, d.y)
    found: Values = {
        "null_distribution/linear_cka": null,
        "null_distribution/cka": m.null_distribution(m.cka, d.k, d.l, n=20, seed=3),
        "null_distribution/cka/permute=both": m.null_distribution(m.cka, d.k, d.l, n=5, seed=4, permute="both"),
        "null_distribution/procrustes": m.null_distribution(m.procrustes_distance, d.x, d.y, n=20),
        "null_distribution/by name": m.null_distribution("cka_debiased", d.k, d.l, n=5),
        "p_value": m.p_value(value, null),
        "p_value/inside": m.p_value(float(null[4]), null),
        "p_value/distance": m.p_value(float(null[4]), null, direction="distance"),
        "calibrated_score": m.calibrated_score(value, null),
        "calibrated_score/distance": m.calibrated_score(0.5, null, best=0.0),
    }
    for name, function, x, y in (
        ("linear_cka", m.linear_cka, d.x, d.y),
        ("compare_rsms", m.compare_rsms, d.k, d.l),
        ("procrustes_distance", m.procrustes_distance, d.x, d.y),
    ):
        result = m.significance(function, x, y, n=19, seed=1)
        found[f"significance/{name}"] = [result.value, result.p_value, result.score, *result.null]
    return found


def _barycenters(m: Any, d: SimpleNamespace) -> Values:
    found: Values = {}
    kinds = ("pairwise_cosine", "dispersion", "barycenter_cosine", "leave_one_out_cosine")
    for label, options in {
        "orthogonal": {},
        "scale": {"scale": True},
        "components": {"n_components": 4, "scale": True},
        "starts": {"n_starts": 3, "seed": 2},
        "permutation": {"group": "permutation"},
    }.items():
        fitted = m.Barycenter(**options).fit(d.models)
        training, held_out = fitted.transform(d.models), fitted.transform(d.more)
        place = f"barycenter/{label}"
        found[f"{place}/objective"] = fitted.objective_
        found[f"{place}/medoid"] = fitted.medoid_
        found[f"{place}/barycenter"] = fitted.barycenter_
        found[f"{place}/held out"] = np.stack(held_out)
        if label == "orthogonal":
            added = fitted.add_model(d.extra).transform([*d.models, d.extra])
            found[f"{place}/added"] = added[-1]
        for kind in kinds:
            found[f"{place}/instance_{kind}"] = m.instance_similarity(training, kind)
            found[f"{place}/instance_{kind}/held out"] = m.instance_similarity(held_out, kind)
        found[f"{place}/instance_null"] = m.instance_null(held_out, n=5, seed=1)
    return found


GROUPS: dict[str, Callable[[], Values]] = {
    **{f"solvers {size}": lambda size=size: solvers(size) for size in PAIRS},
    "rsms": rsms,
    "metrics": metrics,
}
"""What is computed, by the name of its group in values.json."""


def compute(group: str) -> Values:
    """Values of a group, numbers and nested lists of them, rounded to 12 significant digits."""
    # Sums of several BLAS threads end differently.
    with threadpool_limits(1):
        return {key: plain(value) for key, value in GROUPS[group]().items()}


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(f"{float(value):.12g}")
    return int(number) if number.is_integer() and abs(number) < 1e12 else number


_HARDWARE = r"solvers .*/(auction-(fine|coarse|certified)|list-auction-.*|hierarchical-.*)/[kc]$|rsms other/options"
# The first pattern that fits a key gives what a value may differ by, as a share of the largest number in it: on the machine
# that wrote the file and on another one. Auctions in float32 follow the last bits of the affinity, which differ between CPUs
# (BLAS, vector width), as far as here; on one CPU every process gives the same.
TOLERANCES = (
    (_HARDWARE, 1e-8, 1e-2),
    (r"solvers .*/upper_bound", 1e-8, 3e-3),
    # OR-Tools rounds to integer costs, so that it has several matchings to choose from.
    (r"solvers .*/ortools/[kc]$", 1e-7, 1e-6),
    (r"solvers .*", 1e-9, 1e-8),
    # Alternating descent stops at a relative decrease of 1e-8 of the objective, which leaves its place this uncertain.
    (r"metrics barycenter/", 1e-6, 1e-5),
    (r".*", 1e-9, 1e-8),
)


def tolerance(group: str, key: str, elsewhere: bool = False) -> float:
    """Relative tolerance of a value."""
    here, there = next(allowed for pattern, *allowed in TOLERANCES if re.match(pattern, f"{group} {key}"))
    return there if elsewhere else here


def load() -> dict[str, Any]:
    """The whole file."""
    return json.loads(VALUES.read_text())


def studies() -> dict[str, Any]:
    """Figures of the studies, ``study/.../score`` to number."""
    return load()["studies"]


def differences(
    group: str, computed: Mapping[str, Any], stored: Mapping[str, Any], elsewhere: bool = False
) -> Iterator[str]:
    """One line for every value that is missing, new, or off by more than its tolerance."""
    for key in sorted(stored.keys() - computed.keys()):
        if not _of_missing_library(key):
            yield f"{group}: {key} is gone, it was {_short(stored[key])}"
    for key in sorted(computed.keys() - stored.keys()):
        if not _of_new_solver(key, stored):
            yield f"{group}: {key} is new: {_short(computed[key])}"
    for key in sorted(stored.keys() & computed.keys()):
        was, now = np.asarray(stored[key], dtype=float), np.asarray(computed[key], dtype=float)
        if was.shape != now.shape:
            yield f"{group}: {key} has shape {now.shape}, it was {was.shape}"
            continue
        scale, allowed = np.nanmax(np.abs(was), initial=0.0), tolerance(group, key, elsewhere)
        with np.errstate(invalid="ignore"):
            off = np.where(np.isnan(was) & np.isnan(now), 0.0, np.abs(now - was))
        worst = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
        if not off[worst] <= allowed * max(scale, 1e-12):
            where = f" at {tuple(int(i) for i in worst)}" if off.shape else ""
            yield (
                f"{group}: {key}{where} is {now[worst]:.12g}, it was {was[worst]:.12g}: "
                f"off by {off[worst] / max(scale, 1e-12):.1e}, allowed {allowed:.0e}"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _solver_of(key: str) -> str | None:
    parts = key.split("/")
    return parts[3] if len(parts) == 5 and parts[0].startswith("S=") else None


def _of_missing_library(key: str) -> bool:
    """Whether a solver is registered and cannot run here: the environment is not what is compared."""
    solver = _solver_of(key)
    return solver is not None and solver in sb.solver_names() and solver not in sb.solver_names(available_only=True)


def _of_new_solver(key: str, stored: Mapping[str, Any]) -> bool:
    """Solvers are added all the time; those that are on record must not change."""
    solver = _solver_of(key)
    return solver is not None and all(_solver_of(other) != solver for other in stored)


def machine() -> dict[str, str]:
    """What the last digits depend on."""
    blas = {str(library.get("architecture", "")) for library in threadpool_info() if library["user_api"] == "blas"}
    return {"blas": ", ".join(sorted(blas)), "cpu": get_host_cpu_name()}


def write_file(content: Mapping[str, Any], path: Path = VALUES) -> None:
    """Write values.json: one line for every value, so that changes can be read."""
    lines = [
        f"{json.dumps(group)}: {{\n"
        + ",\n".join(f" {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in values.items())
        + "\n}"
        for group, values in content.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> int:
    """Command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--compare", action="store_true")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP")
    parser.add_argument("--values", type=Path, default=VALUES)
    arguments = parser.parse_args()
    content = json.loads(arguments.values.read_text()) if arguments.values.exists() else {}
    if arguments.write:
        fresh = {group: compute(group) for group in arguments.groups}
        write_file(
            {"machine": machine(), **{k: v for k, v in content.items() if k != "machine"}, **fresh}, arguments.values
        )
        return 0
    found: list[str] = []
    elsewhere = content["machine"] != machine()
    for group in arguments.groups:
        if group not in content:
            parser.error(f"{arguments.values} holds no {group!r}; --write makes it")
        computed = compute(group)
        lines = list(differences(group, computed, content[group], elsewhere))
        print(f"{group}: {len(computed)} values, {len(lines)} differ")
        found += lines
    print(*found, sep="\n", end="\n" if found else "")
    print(f"written on {content['machine']}, {'compared' if not elsewhere else f'compared elsewhere, on {machine()}'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
