"""Do similar representations mean similar class probabilities? (Wald et al. 2024, section 4.3 and appendix E)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.bench.stats import Interval
from semrsm_bench.metrics import jensen_shannon
from semrsm_bench.metrics.arrays import upper_triangle
from semrsm_bench.metrics.rsa import correlate
from semrsm_bench.progress import progress_bar
from semrsm_bench.studies.network_rsms import (
    LAST,
    SEMANTIC,
    SPATIO_SEMANTIC,
    TRANSLATION,
    How,
    LayerRsms,
    NetworkRsms,
    common_size,
    load_networks,
    network_rsms,
)
from semrsm_bench.studies.networks import provenance
from semrsm_bench.studies.outputs_paper import paper_tables
from semrsm_bench.studies.pair_bootstrap import (
    draw_images,
    percentile_interval,
    resampled_pearson,
    resampled_spearman,
)
from semrsm_bench.studies.pictures import study_pictures
from semrsm_bench.studies.study import StudyResult, Table

Matrix = NDArray[np.float64]

METHODS = ("pearson", "spearman")
COUNT, QUICK_COUNT = 220, 40
_RESAMPLE = {"pearson": resampled_pearson, "spearman": resampled_spearman}


@dataclass(frozen=True)
class Correlation:
    """How one RSM of one layer correlates with the divergences, and how that differs from the spatio-semantic RSM's.

    Attributes
    ----------
    network, layer, kernel, matching, method : str
    value : Interval
        Negative where similar representations go with similar probabilities.
    difference : Interval or None
        Minus the spatio-semantic RSM's, resampled with the same images; None for that RSM itself.
    """

    network: str
    layer: str
    kernel: str
    matching: str
    method: str
    value: Interval
    difference: Interval | None


def outputs(
    images: Sequence[Path] = (),
    classes: Path | None = None,
    count: int | None = None,
    *,
    models: Sequence[str] = (),
    layers: Sequence[str] = (),
    how: How | None = None,
    size: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    quick: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """Correlate the divergence of class probabilities with the similarity of representations, pair by pair of pictures.

    Parameters
    ----------
    images : sequence of Path
        See `study_pictures`.
    classes : Path, optional
    count : int, optional
        Pictures; 220 by default, 40 for ``quick``.
    models : sequence of str
        See `load_model`; by default the shipped ResNet-18 and the four small ResNets.
    layers : sequence of str
        See `choose_layers`; by default the last.
    how : How, optional
        By default all three kernels, with translation.
    size : int, optional
        Side of the pictures.
    resamples : int
        Of the bootstrap over images.
    seed : int
    quick, quiet : bool

    Raises
    ------
    ValueError
        A network without logits, too few pictures (ten are needed), equal divergences or similarities throughout, and as the
        functions named above do.
    """
    how = how or How(kernels=("linear", "cosine", "rbf"), translation=True)
    chosen = load_networks(models or _default_networks(), layers or (LAST,))
    number = count or (QUICK_COUNT if quick else COUNT)
    draws = draw_images(number, min(resamples, 200) if quick else resamples, seed)
    pictures = study_pictures(images, count=number, size=common_size(chosen, size), seed=seed, classes=classes)
    networks = network_rsms(chosen, pictures.pixels, how, quiet=quiet)
    divergences = {network.name: _divergences(network) for network in networks}
    found: list[Correlation] = []
    with progress_bar(sum(len(n.layers) for n in networks), "bootstrap", unit="layer", quiet=quiet) as bar:
        for network in networks:
            for layer in network.layers:
                found += correlations(layer, divergences[network.name], draws)
                bar.update()
    from semrsm_bench.studies.outputs_figures import draw_forest, draw_pairs

    first = networks[0]
    return StudyResult(
        "outputs",
        "Similar representations and similar class probabilities",
        sentence(found),
        tables(found, networks, number),
        [_row(c, networks, number) for c in found],
        [draw_pairs(first.layers[-1], divergences[first.name], found), draw_forest(found)],
        {"networks": provenance(chosen), "pictures": pictures.provenance(), "resamples": len(draws)},
        paper_tables(),
        _notes(found, how, number),
    )


def correlations(layer: LayerRsms, divergence: Matrix, draws: NDArray[np.int64]) -> list[Correlation]:
    """All correlations of one layer's RSMs with a matrix of divergences, over i < j, with intervals from the same draws.

    Raises
    ------
    ValueError
        All divergences are equal, or all similarities of an RSM.
    """
    keys = [(matching, kernel) for matching, kernels in layer.rsms.items() for kernel in kernels]
    matrices = [layer.rsms[matching][kernel] for matching, kernel in keys]
    target = upper_triangle(divergence)
    result = []
    for method in METHODS:
        resampled = dict(zip(keys, _RESAMPLE[method](divergence, matrices, draws).T, strict=True))
        names = ("the divergences", f"an RSM of {layer.network}, {layer.layer}")
        values = {
            key: correlate(target, upper_triangle(m), method, names) for key, m in zip(keys, matrices, strict=True)
        }
        for matching, kernel in keys:
            difference = None
            if matching != SPATIO_SEMANTIC:
                own, other = (matching, kernel), (SPATIO_SEMANTIC, kernel)
                difference = percentile_interval(values[own] - values[other], resampled[own] - resampled[other])
            value = percentile_interval(values[matching, kernel], resampled[matching, kernel])
            result.append(Correlation(layer.network, layer.layer, kernel, matching, method, value, difference))
    return result


def sentence(found: Sequence[Correlation]) -> str:
    """What the Pearson correlations of semantic and spatio-semantic RSMs say."""
    semantic = [c for c in found if c.method == "pearson" and c.matching == SEMANTIC]
    better, worse = (sum(_decided(c) == sign for c in semantic) for sign in (-1, 1))
    kernels = list(dict.fromkeys(c.kernel for c in semantic))
    means = {
        k: [
            np.mean([c.value.value for c in found if (c.method, c.matching, c.kernel) == ("pearson", m, k)])
            for m in (SEMANTIC, SPATIO_SEMANTIC)
        ]
        for k in kernels
    }
    parts = ", ".join(f"{a:.3f} against {b:.3f} ({k})" for k, (a, b) in means.items())
    return (
        f"In {better} of {len(semantic)} combinations of network, layer and kernel the semantic RSM predicts the divergence of "
        f"class probabilities better than the spatio-semantic one (Pearson correlation more negative, 95 % interval of the "
        f"difference below 0), in {worse} it predicts it worse, in {len(semantic) - better - worse} the interval holds 0; "
        f"the mean correlation, semantic against spatio-semantic, is {parts}."
    )


def tables(found: Sequence[Correlation], networks: Sequence[NetworkRsms], images: int) -> list[Table]:
    """One table for each method, rows networks and layers; then the differences with their intervals."""
    matchings = list(dict.fromkeys(c.matching for c in found))
    main = [m for m in matchings if m != TRANSLATION]
    kernels = list(dict.fromkeys(c.kernel for c in found))
    by_key = {(c.network, c.layer, c.method, c.kernel, c.matching): c for c in found}
    places = [(layer.network, layer.layer) for network in networks for layer in network.layers]
    result = []
    for method in METHODS:
        columns = ["network", "layer", *(f"{k}, {m}" for k in kernels for m in main)]
        rows = [
            [*place, *(by_key[*place, method, k, m].value.value for k in kernels for m in main)] for place in places
        ]
        note = f"{images} images, {images * (images - 1) // 2:,} pairs; negative: similar images get similar probabilities."
        title = f"{method.capitalize()} correlation of similarity with Jensen-Shannon divergence"
        result.append(Table(title, columns, rows, note))
    others = [m for m in matchings if m != SPATIO_SEMANTIC]
    differences = [
        [
            *place, k,
            *(interval_text(by_key[*place, method, k, m].difference) if (*place, method, k, m) in by_key else None
              for method in METHODS for m in others),
        ]
        for place in places for k in kernels
    ]  # fmt: skip
    result.append(
        Table(
            "Difference from the spatio-semantic RSM's correlation (negative: predicts better than that)",
            ["network", "layer", "kernel", *(f"{m}, {method.capitalize()}" for method in METHODS for m in others)],
            differences,
            "In brackets 95 % bootstrap intervals over images; both RSMs see the same draws.",
        )
    )
    return result


def interval_text(interval: Interval | None) -> str | None:
    """``-0.050 [-0.060, -0.040]``."""
    if interval is None:
        return None
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _decided(correlation: Correlation) -> int:
    """-1 where the whole interval of the difference lies below 0, 1 above, else 0."""
    difference = correlation.difference
    return 0 if difference is None else int(difference.low > 0) - int(difference.high < 0)


def _divergences(network: NetworkRsms) -> Matrix:
    if network.probabilities is None:
        raise ValueError(f"{network.name} returns no logits (N, K), so it has no class probabilities to compare")
    return jensen_shannon(network.probabilities)


def _default_networks() -> list[str]:
    from semrsm_bench.activations.locate import shipped_weights, small_weights

    return [str(path) for path in (shipped_weights(), *small_weights())]


def _row(correlation: Correlation, networks: Sequence[NetworkRsms], images: int) -> Mapping[str, Any]:
    layer = next(
        one
        for n in networks
        for one in n.layers
        if (one.network, one.layer) == (correlation.network, correlation.layer)
    )
    difference = correlation.difference or Interval(float("nan"), float("nan"), float("nan"))
    return {
        "network": correlation.network,
        "layer": correlation.layer,
        "positions": layer.positions,
        "channels": layer.channels,
        "images": images,
        "kernel": correlation.kernel,
        "matching": correlation.matching,
        "solver": layer.solver if correlation.matching == SEMANTIC else correlation.matching,
        "method": correlation.method,
        "correlation": correlation.value.value,
        "low": correlation.value.low,
        "high": correlation.value.high,
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
    }


def _notes(found: Sequence[Correlation], how: How, images: int) -> list[str]:
    pairs = images * (images - 1) / 2
    ratios = [
        (c.value.high - c.value.low) / (2 * 1.96 * (1 - c.value.value**2) / np.sqrt(pairs))
        for c in found
        if c.method == "pearson"
    ]
    return [
        "Intervals come from resampled images, not pairs, because pairs that share an image are not independent; the Pearson "
        f"intervals are {np.median(ratios):.1f} times (median) as wide as ones that take pairs as independent.",
        f"Centring: {how.centring}. Matchings are made from inner products and serve all kernels; the RBF bandwidth "
        f"({how.sigma}) is shared by the RSMs of a layer.",
    ]
