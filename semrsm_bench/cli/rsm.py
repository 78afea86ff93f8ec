"""``semrsm-bench rsm``: compute an RSM, or say what it would cost."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("z", required=False, type=click.Path(path_type=Path))
@click.argument("z2", required=False, type=click.Path(path_type=Path))
@click.option("--layer", help="Layer of a cache file.")
@click.option("--images", metavar="A:B", help="Range of Z's images (of a cache).")
@click.option("--images2", metavar="A:B", help="Range of Z2's images (of a cache).")
@click.option(
    "--matching", multiple=True, help="identity, translation or a solver; repeat for several. Default: ortools."
)
@click.option("--kernel", multiple=True, help="linear, cosine or rbf; repeat for several. Default: linear.")
@click.option("--sigma", default="offdiag_median", show_default=True, help="RBF bandwidth: a rule or a number.")
@click.option("--t", default=1.0, show_default=True, help="Factor on the bandwidth.")
@click.option("--centring", default="none", show_default=True, help="none, channel or position.")
@click.option(
    "--layout", default="channels_first", show_default=True, help="channels_first or channels_last (of an .npy)."
)
@click.option("--class-token", default="keep", show_default=True, help="keep or drop token 0 of (N, T, D).")
@click.option("--grid", metavar="HxW", help="How flat positions lie, for translation.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="Option of the solver; repeat for several."
)
@click.option("--plugin", type=click.Path(path_type=Path), multiple=True, help="Python file that registers solvers.")
@click.option("-j", "--jobs", default=1, show_default=True, help="Processes; -1 for all cores.")
@click.option("--dask", metavar="ADDRESS", help="Scheduler of a Dask cluster to run on.")
@click.option("--block", type=int, help="Images on each side of a tile.")
@click.option(
    "--out", type=click.Path(path_type=Path), help=".npy to stream to; the same command goes on after a stop."
)
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the RSMs, ordered by label (.png, .svg, .pdf).")
@click.option("--estimate", is_flag=True, help="Time, memory and disk from a measured sample; computes nothing else.")
@click.option("--count", type=int, help="With --estimate: plan for so many images in the rows.")
@click.option("--count2", type=int, help="With --estimate: plan for so many images in the database.")
@click.option("--sample-seconds", default=5.0, show_default=True, help="With --estimate: how long to measure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def rsm(
    z: Path | None,
    z2: Path | None,
    layer: str | None,
    images: str | None,
    images2: str | None,
    matching: tuple[str, ...],
    kernel: tuple[str, ...],
    sigma: str,
    t: float,
    centring: str,
    layout: str,
    class_token: str,
    grid: str | None,
    options: tuple[str, ...],
    plugin: tuple[Path, ...],
    jobs: int,
    dask: str | None,
    block: int | None,
    out: Path | None,
    picture: Path | None,
    estimate: bool,
    count: int | None,
    count2: int | None,
    sample_seconds: float,
    as_json: bool,
    quiet: bool,
) -> int:
    """RSM of Z, or of the queries Z against the database Z2.

    Z and Z2 are caches of activations (.safetensors, or a folder that holds one) or .npy files of shape (N, C, H, W),
    (N, C, S), or with --layout channels_last (N, T, D). Without Z the cache that comes with the project is taken.
    """
    from semrsm_bench.rsm import IncompleteError, compute_rsm, estimate_rsm
    from semrsm_bench.rsm.scheduling import WorkersLostError, connect
    from semrsm_bench.solvers import InvalidMatchingError, SolverUnavailableError, load_plugin

    for file in plugin:
        load_plugin(file)
    first, second = _source(z, layer, images), None if z2 is None else _source(z2, layer, images2)
    matchings = list(matching or ("ortools",))
    common: dict[str, Any] = {
        "centring": centring,
        "layout": layout,
        "class_token": class_token,
        "grid": _grid(grid),
        "options": dict(map(_option, options)),
        "n_jobs": jobs,
        "block": block,
    }
    try:
        if estimate:
            if len(matchings) > 1:
                raise click.UsageError("--estimate is for one matching at a time")
            plan: dict[str, Any] = {"count": count, "count2": count2, "seconds": sample_seconds}
            _tell_estimate(estimate_rsm(first, second, matching=matchings[0], **plan, **common), as_json)
            return 0
        if count is not None or count2 is not None:
            raise click.UsageError("--count and --count2 go with --estimate")
        begun = time.perf_counter()
        computed = compute_rsm(
            first,
            second,
            kernel=list(kernel or ("linear",)),
            matching=matchings,
            sigma=_number(sigma),
            t=t,
            out=out,
            client=connect(dask) if dask else None,
            progress=not quiet,
            **common,
        )
    except (SolverUnavailableError, TypeError) as error:
        raise click.UsageError(str(error)) from None
    except (IncompleteError, InvalidMatchingError, WorkersLostError) as error:
        click.echo(f"semrsm-bench: {error}", err=True)
        return 3
    _tell(computed, time.perf_counter() - begun, as_json)
    if picture is not None:
        from semrsm_bench.report.rsm_picture import save_rsm_picture

        panels = {f"{m}, {k}": values for m, per_kernel in computed.items() for k, values in per_kernel.items()}
        save_rsm_picture(panels, picture, getattr(first, "labels", None))
    return 0


def _source(path: Path | None, layer: str | None, images: str | None) -> Any:
    from semrsm_bench.activations.store import find_data, open_cache
    from semrsm_bench.rsm import CacheLayer

    if path is None:
        path = find_data()
    if path.suffix == ".npy":
        if layer or images:
            raise click.UsageError(f"--layer and --images are for caches; {path} is one array")
        return path
    cache = open_cache(path)
    if layer is None:
        raise click.UsageError(f"name a layer of {cache.name} with --layer: {', '.join(cache.layers)}")
    return CacheLayer(cache, layer, None if images is None else _range(images))


def _range(text: str) -> slice:
    try:
        low, high = text.split(":")
        return slice(int(low) if low else None, int(high) if high else None)
    except ValueError:
        raise click.UsageError(f"a range of images is A:B, got {text!r}") from None


def _grid(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        height, width = text.lower().split("x")
        return int(height), int(width)
    except ValueError:
        raise click.UsageError(f"a grid is HxW, such as 14x14, got {text!r}") from None


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"an option is NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _tell(computed: Mapping[str, Mapping[str, NDArray[np.float64]]], seconds: float, as_json: bool) -> None:
    results: list[dict[str, Any]] = [
        {
            "matching": matching,
            "kernel": kernel,
            "shape": list(values.shape),
            "min": float(values.min()),
            "mean": float(values.mean()),
            "max": float(values.max()),
            "file": str(values.filename) if isinstance(values, np.memmap) else None,
        }
        for matching, per_kernel in computed.items()
        for kernel, values in per_kernel.items()
    ]
    if as_json:
        click.echo(json.dumps({"seconds": seconds, "results": results}))
        return
    for row in results:
        rows, columns = row["shape"]
        click.echo(
            f"{row['matching']}, {row['kernel']}: {rows} x {columns}, from {row['min']:.6g} to {row['max']:.6g}, "
            f"mean {row['mean']:.6g}" + (f", in {row['file']}" if row["file"] else "")
        )
    click.echo(f"{seconds:.1f} s")


def _tell_estimate(cost: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(cost.as_dict()))
        return
    click.echo(
        f"{cost.pairs:,} pairs ({cost.rows:,} x {cost.columns:,} images, S = {cost.positions:,}, C = {cost.channels})\n"
        f"time    {_duration(cost.seconds)} on {cost.workers} workers "
        f"(90 % interval {_duration(cost.seconds_low)} to {_duration(cost.seconds_high)}; "
        f"{1e3 * cost.seconds_per_pair:.3g} ms a pair and worker, measured on {cost.sampled_chunks} samples)\n"
        f"memory  {_bytes(cost.worker_bytes)} a worker beside the interpreter, for tiles of {cost.block} x {cost.block} images\n"
        f"disk    {_bytes(cost.result_bytes)} for the matrix, {_bytes(cost.input_bytes)} for the activations in float16\n"
        f"a lost worker costs {_duration(cost.seconds_per_tile)}"
    )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
