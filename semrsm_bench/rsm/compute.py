"""`compute_rsm`: pairs of images to a matrix of similarities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.identity import with_ids
from semrsm_bench.metrics.kernels import bandwidth
from semrsm_bench.rsm import kernels as k
from semrsm_bench.rsm.comparison import ByVectors
from semrsm_bench.rsm.images import Images, Norms
from semrsm_bench.rsm.options import RsmOptions, takes_rsm_options
from semrsm_bench.rsm.registry import choose_comparisons
from semrsm_bench.rsm.sources import as_source
from semrsm_bench.rsm.store import Matrix, Products, ResumeError, open_products, read_description, save_derived, strips
from semrsm_bench.rsm.tiles import Schedule, fill_products
from semrsm_bench.rsm.vectors import Vectors

Files = dict[str, dict[str, Path]]


@takes_rsm_options
def compute_rsm(
    z: Any,
    z2: Any = None,
    *,
    client: Any | None = None,
    progress: bool = False,
    return_permutations: bool = False,
    **keywords: Any,
) -> Any:
    """Representational similarity matrix of images, with the positions of each pair matched first.

    ``K_ij = k(V_i, V_j[perm_ij])`` on the flattened S * C vectors: a sum over positions, no 1/S. The matching is always
    made from inner products, ``perm_ij = argmax sum_s <V_i[s], V_j[perm(s)]>``, so that one matching serves all kernels.

    Parameters
    ----------
    z : array_like, tensor, path or ImageSource
        (N, C, H, W), (N, C, S), or with ``layout="channels_last"`` (N, H, W, C) or tokens (N, T, D). NumPy, memory-mapped,
        torch (any device and precision), the path of a file with one layer, or a `CacheLayer`. float32 and narrower is matched in
        float32 (in float64 where any inner product would leave its range), wider in float64; values are summed in float64.
    z2 : as z, optional
        A database: the RSM is query x database (N, M), never mirrored. S and C must be those of z.
    kernel : {"linear", "cosine", "rbf"} or a sequence of them, which gives a dict of RSMs
    matching : str or a sequence of str
        "identity" (same position: the spatio-semantic RSM), "translation" (the best circular shift of the grid), a registered
        solver, or an RSM method that matches no positions, such as "pooled" (see `rsm_names`). A sequence gives a dict, with
        one RBF bandwidth shared by all, pooled from their distances.
    sigma : str or float
        Bandwidth of the RBF kernel: a rule of `bandwidth`, or a number in units of distance.
    centring : {"none", "channel", "position"}
        What to subtract first: nothing, the mean of each channel over images and positions, or of each channel at each
        position (which breaks the invariance to permutations). With z2 the mean of the database serves both; a cache brings
        its mean.
    layout : {"channels_first", "channels_last"}, optional
        Order of the axes of an array. Where it is not said, channels come first, and a `LayoutWarning` says where the shape looks
        like something else: (N, H, W, C), tokens (N, T, D) or (T, N, D), a stack of square matrices.
    grid : (H, W), optional
        The grid of flat positions; translation needs it.
    n_jobs : int
        Workers of joblib, -1 for all cores: threads for solvers that are registered with ``releases_gil``, processes for all
        others. Inside ``joblib.parallel_config(backend="dask")`` the cluster's workers.
    t : float
        Factor on the bandwidth.
    drop_tokens : int, optional
        Tokens in front of (N, T, D) that are left out: the class token, registers. Where it is not said, all are kept, and a
        `LayoutWarning` says where some are more than a square of patches.
    options : mapping, optional
        Options of the solver or RSM method.
    block : int, optional
        Images on each side of a tile, by default chosen from memory and load. It changes no result.
    out : path of an .npy file, optional
        Stream the matched inner products (the linear RSM) there, NaN = not yet. The same call resumes an interrupted one;
        other inputs or options are refused. A lock (``rsm.npy.lock``, which stays) keeps a second process out. Other
        kernels are written beside it (``rsm.rbf.npy``), and results come back memory-mapped. With several matchings each
        gets a file (``rsm.identity.npy``).
    client : distributed.Client, optional
        Dask cluster to run on.
    progress : bool
        Show a bar with the time left.
    return_permutations : bool
        Return ``(rsm, permutations)`` with permutations of shape (N, M, S), intp: position s of image i is matched with
        position ``permutations[i, j, s]`` of image j. For one matching, without ``out``.

    Returns
    -------
    ndarray, (N, N) or (N, M), float64; or a dict by kernel, by matching, or ``{matching: {kernel: RSM}}``
        With the ids of the images where their file or array has them (see `semrsm_bench.with_ids`).
        z alone: exactly symmetric. Every pair is matched once, with image i < j in the rows of the affinity (the upper
        triangle), and mirrored; row-driven approximations such as greedy would give other values for the lower triangle.
        The diagonal's matching is the identity. linear is unbounded with identity <= translation <= optimal; cosine is in
        [-1, 1], rbf in [0, 1].

    Raises
    ------
    ValueError
        Bad shapes, non-finite activations, zero images under the cosine kernel, a bandwidth that is not positive, an output
        file of another run.
    InvalidMatchingError, InvalidRsmError, IncompleteError
        A solver returned no permutation, an RSM method no similarities; an entry of the result is NaN.

    References
    ----------
    Wald et al., "Decoupling Semantic Similarity from Spatial Alignment for Neural Networks", NeurIPS 2024. Circular shifts:
    Williams et al., "Generalized shape metrics on neural representations", NeurIPS 2021.
    """
    o = RsmOptions.of(keywords)
    if return_permutations and (o.out is not None or len(o.matching) > 1):
        raise ValueError("return_permutations is for one matching, in memory (without out)")
    rows = as_source(z, "z", **o.layouts)
    columns = None if z2 is None else as_source(z2, "z2", **o.layouts)
    chosen = choose_comparisons(o, rows.grid)
    if return_permutations and not all(found.matches for found in chosen.values()):
        raise ValueError(f"RSM method {o.matching[0]!r} matches no positions, so there are no permutations to return")
    schedules = {name: Schedule(o.n_jobs, o.block, client, found.in_threads) for name, found in chosen.items()}
    images = Images.of(rows, columns, o.centring, digest=o.out is not None)
    # On a cluster tiles travel, which are smaller than vectors.
    vectors = {
        name: Vectors(images, found, schedules[name])
        for name, found in chosen.items()
        if isinstance(found, ByVectors) and schedules[name].client is None
    }
    norms: dict[str, Norms] = {}
    if images.mirrored or set(o.kernel) != {"linear"}:
        norms = {
            name: vectors[name].norms() if name in vectors else images.squared_norms(found)
            for name, found in chosen.items()
        }
    for name, sides in norms.items() if "cosine" in o.kernel else ():
        for side, values in zip((images.rows, images.columns), sides, strict=True):
            if (bad := np.flatnonzero(values <= 0.0)).size:
                what = "are all zeros" if chosen[name].matches else f"have no similarity with themselves by {name!r}"
                which = f"{bad.size} images of {side.name} {what}, the first is image {bad[0]}"
                raise ValueError(f"{which}: they have no cosine, leave them out or use another kernel")
    permutations = np.zeros((*images.shape, rows.size), dtype=np.intp) if return_permutations else None
    files = {} if o.out is None else _files(o.out, o)
    described = _described_images(images)
    with ExitStack() as locks:
        opened: dict[str, Products] = {}
        for name, found in chosen.items():
            if files:
                file = open_products(files[name]["linear"], images.shape, images.fingerprint(found), described)
                opened[name] = locks.enter_context(file)
            else:
                opened[name] = Products(np.full(images.shape, np.nan))
        for name, found in chosen.items():
            if name in vectors:
                vectors[name].fill(opened[name], norms.get(name), quiet=not progress)
            else:
                schedule = schedules[name]
                fill_products(images, found, opened[name], schedule, norms.get(name), permutations, quiet=not progress)
        result = _derived(images, {name: held.values for name, held in opened.items()}, norms, o, files)
    for per_kernel in result.values():
        for kernel, values in per_kernel.items():
            if {"ids", "column_ids"} & described.keys():
                per_kernel[kernel] = with_ids(values, described.get("ids"), described.get("column_ids"))
    answer: Any = result
    if isinstance(keywords.get("kernel", ""), str):
        answer = {name: per_kernel[o.kernel[0]] for name, per_kernel in result.items()}
    if isinstance(keywords.get("matching", ""), str):
        answer = answer[o.matching[0]]
    return (answer, permutations) if return_permutations else answer


def _described_images(images: Images) -> dict[str, Any]:
    """What is known of the images in the rows and in the columns, as `open_products` keeps it beside the matrix."""
    labels, ids, columns = images.rows.labels, images.rows.ids, images.columns.ids
    found = {"labels": None if labels is None else labels.tolist(), "ids": ids, "column_ids": columns}
    return {name: list(values) for name, values in found.items() if values is not None}


def _files(out: Path, o: RsmOptions) -> Files:
    """File of every matching and kernel; raises `ResumeError` where one exists and is not of an earlier call."""
    files: Files = {}
    for name in o.matching:
        path = out.with_name(f"{out.stem}.{name}{out.suffix}") if len(o.matching) > 1 else out
        files[name] = {"linear": path}
        for kernel in o.kernel:
            if kernel != "linear":
                beside = files[name][kernel] = path.with_name(f"{path.stem}.{kernel}{path.suffix}")
                if beside.exists() and read_description(beside).get("fingerprint", {}).get("kernel") != kernel:
                    raise ResumeError(f"{beside} exists, and no run made it: move it, or choose another file")
    return files


def _derived(
    images: Images, products: Mapping[str, Matrix], norms: Mapping[str, Norms], o: RsmOptions, files: Files
) -> dict[str, dict[str, Matrix]]:
    """RSMs of all kernels from the linear ones: in memory, or written to files and mapped from there."""
    width = _bandwidth(images, products, norms, o) if "rbf" in o.kernel else 1.0
    derived: dict[str, dict[str, Matrix]] = {name: {} for name in products}
    for name, linear in products.items():
        for kernel in o.kernel:
            if kernel == "linear":
                values = linear
            elif files:
                # The entry makes it another file's fingerprint, so that no run resumes from it as inner products.
                rbf = {"sigma": width, "rule": o.sigma, "t": o.t} if kernel == "rbf" else {}
                described = read_description(files[name]["linear"])
                described["fingerprint"] = {**described["fingerprint"], "kernel": kernel, **rbf}
                parts = _kernel_strips(images, linear, norms[name], kernel, width)
                save_derived(files[name][kernel], described, images.shape, parts)
            else:
                values = np.empty(images.shape)
                for rows, part in _kernel_strips(images, linear, norms[name], kernel, width):
                    values[rows] = part
            derived[name][kernel] = np.load(files[name][kernel], mmap_mode="r") if files else values
    return derived


def _kernel_strips(
    images: Images, products: Matrix, norms: Norms, kernel: str, width: float
) -> Iterator[tuple[slice, Matrix]]:
    """Some rows at a time of a kernel that is not linear."""
    for rows in strips(images.shape):
        part = products[rows]
        if kernel == "rbf":
            yield rows, k.rbf(k.squared_distances(part, norms[0][rows], norms[1]), width)
            continue
        values = k.cosine(part, norms[0][rows], norms[1])
        if images.mirrored:
            np.fill_diagonal(values[:, rows], 1.0)
        yield rows, values


def _bandwidth(images: Images, products: Mapping[str, Matrix], norms: Mapping[str, Norms], o: RsmOptions) -> float:
    """Bandwidth from the distances of all matchings together, with some rows of one in memory at a time."""
    if not isinstance(o.sigma, str):
        return float(o.sigma) * o.t
    rule = o.sigma

    def counted() -> Iterator[NDArray[np.float64]]:
        for name, values in products.items():
            for rows in strips(images.shape):
                distances = k.squared_distances(values[rows], norms[name][0][rows], norms[name][1])
                yield k.distances_that_count(distances, rule, rows.start if images.mirrored else None)

    room = next(strips(images.shape)).stop * images.shape[1]
    middle = k.middle_values(counted, room)
    # Every rule is a function of the two middle values, so that these two stand for all.
    return bandwidth(np.zeros((1, 1)) if middle is None else np.array([middle]), rule, t=o.t)
