"""``semrsm-bench cka``: how alike the layers of one or two networks are, as a table and a heat map."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from semrsm_bench.activations.layouts import LayoutOptions
from semrsm_bench.cli.options import OutputOptions, options_from
from semrsm_bench.cli.text import aligned, print_json, say
from semrsm_bench.core.options import option
from semrsm_bench.rsm.options import Kernel

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class CkaOptions(LayoutOptions):
    """Which layers are compared, and by which RSMs."""

    layers: tuple[str, ...] = option((), help="Only these layers; default: all.", aliases=("layer",))
    matching: str = option("identity", help="identity, translation, a solver or another RSM method.")
    kernel: Kernel = option("linear", help="Kernel of the RSMs.")
    estimator: Literal["debiased", "biased"] = option("debiased", help="biased is close to 1 for few images.")
    align: bool = option(False, help="Of two networks only the images that both have, by id.")
    n_jobs: int = option(1, help="Workers; -1 for all cores.", name="jobs", short="j")
    picture: Path | None = option(None, help="Draw the heat map (.png, .svg, .pdf).")


@click.command()
@click.argument("z", type=_PATH)
@click.argument("z2", required=False, type=_PATH)
@options_from(leave_out=("results", "quiet"))
def cka(z: Path, z2: Path | None, options: CkaOptions, output: OutputOptions) -> None:
    """CKA of the layers of the cache Z with each other, or with those of Z2: centred kernel alignment of their RSMs.

    The images of both must be the same, in the same order, unless --align brings them together by their ids.
    """
    from semrsm_bench.activations.cache import Cache
    from semrsm_bench.activations.store import open_cache
    from semrsm_bench.core.identity import align, require_equal_ids
    from semrsm_bench.metrics import cka_matrix
    from semrsm_bench.metrics.arrays import require_same_stimuli
    from semrsm_bench.rsm import CacheLayer, compute_rsm

    caches = [open_cache(path, **options.layouts) for path in (z, z2) if path is not None]
    if z2 is not None and not options.align:
        # Before the RSMs, which take time.
        own, others = (cache.images if cache.has_ids else None for cache in caches)
        remedy = "extract both from the same pictures, or say --align"
        require_equal_ids(own, others, (str(z), str(z2)), remedy)
        require_same_stimuli(*map(len, caches))
        if (own is None) != (others is None):
            named, other = (z, z2) if own else (z2, z)
            text = f"{named} says which images it holds and {other} does not: they are taken for the same, in the same order"
            warnings.warn(f"{text}; ids=, an array `ids` or an entry of that name says it", stacklevel=2)

    def rsms(cache: Cache) -> tuple[list[str], list[object]]:
        names = list(options.layers) or cache.layers
        how: dict[str, Any] = {"matching": options.matching, "kernel": options.kernel, "n_jobs": options.n_jobs}
        return names, [compute_rsm(CacheLayer(cache, layer), **how) for layer in names]

    (rows, left), (columns, right) = rsms(caches[0]), rsms(caches[-1]) if z2 else ([], None)
    columns = columns or rows
    if options.align and right:
        both = align(*left, *right)
        left, right = both[: len(left)], both[len(left) :]
    values = cka_matrix(left, right, estimator=options.estimator)
    if options.picture is not None:
        from semrsm_bench.report.rsm_picture import save_layer_map

        title = f"CKA ({options.estimator}) of {options.kernel} RSMs, matching: {options.matching}"
        save_layer_map(values, rows, columns, title, options.picture)
    if output.json:
        print_json({"rows": rows, "columns": columns, "values": values.tolist()})
        return
    cells = [[name, *(f"{value:.3f}" for value in line)] for name, line in zip(rows, values)]
    say("\n".join(aligned([["", *columns], *cells], right=range(1, 1 + len(columns)))))
