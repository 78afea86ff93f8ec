"""``semrsm-bench rsm``: compute an RSM, or say what it would cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from semrsm_bench.cli.options import OutputOptions, PluginOptions, options_from
from semrsm_bench.cli.text import duration, print_json, say
from semrsm_bench.core.options import option
from semrsm_bench.rsm.options import RsmOptions

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class CommandOptions(PluginOptions):
    """Where the images are and where the RSM is computed; or what it would cost."""

    layer: str | None = option(None, help="Layer of a file that holds several.")
    images: slice | None = option(None, help="Range of Z's images.")
    images2: slice | None = option(None, help="Range of Z2's images.")
    dask: str | None = option(None, help="Scheduler of a Dask cluster to run on.", metavar="ADDRESS")
    picture: Path | None = option(None, help="Draw the RSMs, ordered by label (.png, .svg, .pdf).")
    estimate: bool = option(False, help="Time, memory and disk from a measured sample; computes nothing else.")
    count: int | None = option(None, help="With --estimate: plan for so many images in the rows.", minimum=1)
    count2: int | None = option(None, help="With --estimate: plan for so many images in the database.", minimum=1)
    seconds: float = option(5.0, help="With --estimate: how long to measure.", name="sample-seconds", positive=True)

    def __post_init__(self) -> None:
        if not self.estimate and (self.count is not None or self.count2 is not None):
            raise ValueError("--count and --count2 go with --estimate")


@click.command()
@click.argument("z", required=False, type=_PATH)
@click.argument("z2", required=False, type=_PATH)
@options_from(leave_out=("results",))
def rsm(z: Path | None, z2: Path | None, options: RsmOptions, command: CommandOptions, output: OutputOptions) -> int:
    """RSM of Z, or of the queries Z against the database Z2.

    Z and Z2 are caches of activations, or files of arrays (.npy, .npz, .pt, .safetensors, .h5, .zarr), or a folder that holds
    one. Arrays are (N, C, H, W), (N, C, S), or with --layout channels_last (N, T, D). Without Z the cache that comes with the
    project is taken.
    """
    from semrsm_bench.core.registry import load_plugin
    from semrsm_bench.rsm import IncompleteError, InvalidRsmError, compute_rsm, estimate_rsm
    from semrsm_bench.rsm.tiles import WorkersLostError, connect
    from semrsm_bench.solvers import InvalidMatchingError, SolverUnavailableError

    for plugin in command.plugins:
        load_plugin(plugin)
    first = _source(z, command.layer, command.images, options)
    second = None if z2 is None else _source(z2, command.layer, command.images2, options)
    chosen = vars(options)
    try:
        if command.estimate:
            planned: dict[str, Any] = {name: getattr(command, name) for name in ("count", "count2", "seconds")}
            _show_estimate(estimate_rsm(first, second, **planned, **chosen), output.json)
            return 0
        begun = time.perf_counter()
        client = connect(command.dask) if command.dask else None
        computed = compute_rsm(first, second, client=client, progress=not output.quiet, **chosen)
    except (SolverUnavailableError, TypeError) as error:
        raise click.UsageError(str(error)) from None
    except (IncompleteError, InvalidMatchingError, InvalidRsmError, WorkersLostError) as error:
        say(f"semrsm-bench: {error}", err=True)
        return 3
    seconds = time.perf_counter() - begun
    panels = {(m, k): values for m, per_kernel in computed.items() for k, values in per_kernel.items()}
    results: list[dict[str, Any]] = []
    for (matching, kernel), values in panels.items():
        results.append({"matching": matching, "kernel": kernel, "shape": list(values.shape)})
        results[-1] |= {name: float(getattr(values, name)()) for name in ("min", "mean", "max")}
        results[-1]["file"] = str(values.filename) if isinstance(values, np.memmap) else None
    if output.json:
        print_json({"seconds": seconds, "results": results})
    else:
        for row in results:
            size, place = " x ".join(map(str, row["shape"])), f", in {row['file']}" if row["file"] else ""
            numbers = f"from {row['min']:.6g} to {row['max']:.6g}, mean {row['mean']:.6g}"
            say(f"{row['matching']}, {row['kernel']}: {size}, {numbers}{place}")
        say(f"{seconds:.1f} s")
    if command.picture is not None:
        from semrsm_bench.report.rsm_picture import save_rsm_picture

        named = {f"{matching}, {kernel}": values for (matching, kernel), values in panels.items()}
        save_rsm_picture(named, command.picture, getattr(first, "labels", None))
    return 0


def _source(path: Path | None, layer: str | None, images: slice | None, options: RsmOptions) -> Any:
    from semrsm_bench.activations.folders import find_data
    from semrsm_bench.activations.store import open_cache
    from semrsm_bench.rsm import CacheLayer

    if path is None:
        path = find_data()
    if path.suffix == ".npy" and not layer and not images:
        return path
    cache = open_cache(path, options.layout, options.drop_tokens)
    if layer is None and len(cache.layers) > 1:
        raise click.UsageError(f"name a layer of {cache.name} with --layer: {', '.join(cache.layers)}")
    return CacheLayer(cache, layer or cache.layers[0], images)


def _show_estimate(cost: Any, as_json: bool) -> None:
    if as_json:
        print_json(cost.as_dict())
        return
    say(
        f"{cost.pairs:,} pairs ({cost.rows:,} x {cost.columns:,} images, S = {cost.positions:,}, C = {cost.channels})\n"
        f"time    {duration(cost.seconds)} on {cost.workers} workers "
        f"(90 % interval {duration(cost.seconds_low)} to {duration(cost.seconds_high)}; "
        f"{1e3 * cost.seconds_per_pair:.3g} ms a pair and worker, measured on {cost.sampled_chunks} samples)\n"
        f"memory  {_bytes(cost.worker_bytes)} a worker beside the interpreter, for tiles of {cost.block} x {cost.block} images\n"
        f"disk    {_bytes(cost.result_bytes)} for the matrix, {_bytes(cost.input_bytes)} for the activations in float16\n"
        f"a lost worker costs {duration(cost.seconds_per_tile)}"
    )


def _bytes(count: int) -> str:
    unit, size = next(((u, s) for u, s in (("GB", 1e9), ("MB", 1e6)) if count >= s), ("kB", 1e3))
    return f"{count / size:.1f} {unit}"
