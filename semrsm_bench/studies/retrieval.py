"""Which kernel and matching retrieve images that show the same objects? (Wald et al. 2024, 4.2, Tables 2 and 3, appendix D)

Queries look for the most similar image of a database by an RSM of the two; the objects that both show are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from semrsm_bench.rsm import compute_rsm
from semrsm_bench.rsm.kernels import check_kernels
from semrsm_bench.solvers import get_solver
from semrsm_bench.studies.retrieval_data import RetrievalData, Source
from semrsm_bench.studies.retrieval_figures import draw_found, draw_scores
from semrsm_bench.studies.retrieval_paper import paper_tables
from semrsm_bench.studies.retrieval_report import (
    difference_table,
    finding,
    query_rows,
    score_table,
)
from semrsm_bench.studies.retrieval_scores import (
    POOLED,
    RANDOM,
    SPATIO_SEMANTIC,
    TOP,
    TRANSLATION,
    Line,
    baselines,
    differences,
    score_line,
)
from semrsm_bench.studies.study import Drawing, StudyResult

if TYPE_CHECKING:
    from semrsm_bench.rsm.sources import Centring

KERNELS = ("linear", "cosine", "rbf")
QUERIES, DATABASE = 100, 400
QUICK_QUERIES, QUICK_DATABASE = 20, 60
SHOWN = 3


def retrieval(
    source: Source | None = None,
    *,
    queries: int | None = None,
    database: int | None = None,
    model: str | None = None,
    layers: Sequence[str] = (),
    size: int | None = None,
    kernels: Sequence[str] = KERNELS,
    solvers: Sequence[str] = ("exact-auction",),
    centring: Centring = "channel",
    n_jobs: int = 1,
    seed: int = 0,
    quick: bool = False,
    quiet: bool = False,
) -> StudyResult:
    """F1@1 and IoU@1 of every kernel and matching, with paired differences.

    Parameters
    ----------
    source : Source, optional
        By default scenes composed from the photographs that packages ship.
    queries, database : int, optional
        How many images of each; by default 100 and 400; at most 20 and 60 when ``quick``.
    model : str, optional
        As for `study_network`.
    layers : sequence of str
        Default: the network's last one.
    size : int, optional
        Shorter side of the images; default: the network's own.
    kernels : sequence of {"linear", "cosine", "rbf"}
    solvers : sequence of str
        Matchings beside same positions and the best translation, which are always measured.
    centring : {"channel", "position", "none"}
        Both sides by the database's mean: of each channel, or of each channel at each position.
    n_jobs : int
        Processes.
    seed : int
        Of scenes, draw and bootstrap.
    quick : bool
        Fewer images.
    quiet : bool
        No progress bars.

    Raises
    ------
    ValueError
        No kernel or solver, unknown ones, a layer that the network does not have, a database of fewer than five images, and
        as `Source.read` does.
    """
    from semrsm_bench.activations.forward import activations_of
    from semrsm_bench.studies.networks import provenance, study_network

    source = source or Source()
    queries, database = (QUERIES if queries is None else queries), (DATABASE if database is None else database)
    if quick:
        queries, database = min(queries, QUICK_QUERIES), min(database, QUICK_DATABASE)
    kernels, solvers = tuple(dict.fromkeys(kernels)), tuple(dict.fromkeys(solvers))
    _require(kernels, solvers, database)
    network = study_network(model, layers)
    chosen = tuple(dict.fromkeys(layers)) or network.layers[-1:]
    data = source.read(queries, database, size or network.size, seed, quiet=quiet)
    lines: list[Line] = []
    sizes: dict[str, int] = {}
    asking = activations_of(network, data.queries.pixels, chosen, quiet=quiet)
    asked = activations_of(network, data.database.pixels, chosen, quiet=quiet)
    for layer in chosen:
        grid = asking.grids[layer]
        sizes[layer] = asking.layers[layer].shape[2]
        matchings = [SPATIO_SEMANTIC, *([TRANSLATION] if grid else []), *solvers]
        rsms: Mapping[str, Mapping[str, Any]] = compute_rsm(
            asking.layers[layer], asked.layers[layer], kernel=kernels, matching=matchings, grid=grid,
            centring=centring, n_jobs=n_jobs, progress=not quiet,
        )  # fmt: skip
        lines += [
            score_line(data, rsms[matching][kernel], layer, kernel, matching)
            for kernel in kernels
            for matching in matchings
        ]
        means = (made.layers[layer].mean(axis=2, dtype="float64", keepdims=True) for made in (asking, asked))
        pooled = compute_rsm(*means, kernel=kernels, matching=SPATIO_SEMANTIC, centring=centring)
        lines += [score_line(data, pooled[kernel], layer, kernel, POOLED) for kernel in kernels]
    against = differences(lines, seed)
    every = [*lines, *baselines(data)]
    return StudyResult(
        name="retrieval",
        title="Retrieval of images that show the same objects",
        sentence=finding(every, against, chosen[-1], data.scores[0], data, seed),
        tables=[score_table(every, sizes, data.scores, seed), difference_table(against)],
        rows=query_rows(every, data),
        drawings=_drawings(every, data, chosen[-1], kernels, seed),
        inputs={"networks": provenance([network]), "pictures": data.provenance()},
        paper=paper_tables(),
        notes=_notes(data, source, centring, sizes, kernels),
    )


def _require(kernels: Sequence[str], solvers: Sequence[str], database: int) -> None:
    if not kernels or not solvers:
        raise ValueError("name at least one kernel and one solver")
    check_kernels(kernels, "offdiag_median", 1.0)
    for name in solvers:
        if name in (SPATIO_SEMANTIC, TRANSLATION):
            raise ValueError(f"{name!r} is always measured; name solvers such as exact-auction")
        get_solver(name)
    if database < TOP:
        raise ValueError(
            f"the best of the {TOP} most similar needs a database of at least {TOP} images, got {database}"
        )


def _drawings(
    lines: Sequence[Line], data: RetrievalData, layer: str, kernels: Sequence[str], seed: int
) -> list[Drawing]:
    score = data.scores[0]
    kernel = "cosine" if "cosine" in kernels else kernels[0]
    shown = [line for line in lines if (line.layer, line.kernel) == (layer, kernel) and line.matching != POOLED]
    name = "F1" if score == "f1" else "IoU"
    measured = [line for line in lines if line.kernel]
    return [
        Drawing(
            "scores",
            draw_scores(lines, score, seed),
            f"{name} of the most similar image (filled) and of the best among the {TOP} most similar (hollow), means over "
            f"{len(data.queries)} queries with 95 % bootstrap intervals; dotted: what a random ranking may expect.",
            f"{len(measured)} rankings by kernel and matching; their figures are in the table.",
        ),
        Drawing(
            "pictures",
            draw_found(shown, data, SHOWN),
            f"The first {min(SHOWN, len(data.queries))} queries, not chosen, and the three most similar images of the database "
            f"at {layer} under the {kernel} kernel by each matching; below each picture its objects and its {name} with the "
            "query.",
            "Contact sheet of queries and retrieved images.",
        ),
    ]


def _notes(
    data: RetrievalData, source: Source, centring: str, sizes: Mapping[str, int], kernels: Sequence[str]
) -> list[str]:
    notes = [
        f"Images of the query's own group ({data.grouped}) are never retrieved.",
        "Both sides are centred by the database's mean: "
        + {
            "channel": "one mean a channel, so that the order of positions still does not matter.",
            "position": "one mean for each channel and position, which breaks the invariance to permutations.",
            "none": "switched off here.",
        }[centring],
        f"{POOLED.capitalize()}: one vector an image. It is invariant to the order of positions too, without any matching.",
        f"{RANDOM.capitalize()} is an expected value over all rankings, computed, not drawn.",
    ]
    if source.egoobjects is None and source.cityscapes is None:
        where = "one background, seen elsewhere" if source.place == "scene" else "backgrounds of their own"
        notes.append(
            "The scenes are composed: all videos of a scene show the same cut-outs, elsewhere, at other sizes and mirrored, on "
            f"{where}; what this says about photographs of real rooms is not measured here."
        )
    if "rbf" in kernels:
        notes.append("The bandwidth of the RBF kernel does not touch a ranking, one bandwidth serves the whole RSM.")
    if small := [layer for layer, positions in sizes.items() if positions <= 512]:
        notes.append(
            f"At S <= 512 ({', '.join(small)}) Batch-Optimal with blocks of 512, the paper's choice, is the optimum itself."
        )
    return notes
