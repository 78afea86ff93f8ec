"""``semrsm-bench data``: train, networks, features, extract, layers, large, family, fetch, list, verify."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semrsm_bench.activations.layouts import LayoutOptions
from semrsm_bench.activations.options import (
    MEAN_IMAGES,
    ExtractOptions,
    FeaturesOptions,
    ModelOptions,
    NetworksOptions,
    TrainOptions,
)
from semrsm_bench.cli.options import DataOptions, OutputOptions, options_from
from semrsm_bench.cli.text import aligned, print_json, say
from semrsm_bench.core.method import require_extra
from semrsm_bench.core.options import command_words, option

if TYPE_CHECKING:
    from semrsm_bench.activations.cache import Cache

_PATH = click.Path(path_type=Path)
PACKAGE_PICTURES = "photographs shipped by scikit-image, scikit-learn and matplotlib"


@click.group()
def data() -> None:
    """Activations and where they come from."""


@data.command()
@click.argument("images", nargs=-1, required=True, type=_PATH)
@options_from()
def train(images: tuple[Path, ...], options: TrainOptions) -> None:
    """Train a ResNet on IMAGES (folders or zips in the ImageFolder layout).

    The run is seeded and resumable: started again with the same options it resumes from its checkpoint. It uses CUDA where
    there is one and CPU bfloat16 otherwise.
    """
    require_extra("data train", "torch", "torch", "PIL")
    from semrsm_bench.activations.train import train_network

    say(train_network(images, options))


@data.command()
@click.argument("images", nargs=-1, required=True, type=_PATH)
@options_from()
def networks(images: tuple[Path, ...], options: NetworksOptions) -> None:
    """Train all networks of some groups on IMAGES, one after another.

    Started again it resumes: a network whose weights are there is skipped.
    """
    require_extra("data networks", "torch", "torch", "PIL")
    from semrsm_bench.activations.groups import networks_to_train
    from semrsm_bench.activations.train import checkpoint_of, train_network

    options.out.mkdir(parents=True, exist_ok=True)
    wanted = list(networks_to_train(options))
    for number, (network, finished) in enumerate(wanted, 1):
        say(f"{number} of {len(wanted)}: {network.out.name}{' is there' if finished else ''}", err=True)
        if not finished:
            say(train_network(images, network))
            checkpoint_of(network.out).unlink()


@data.command()
@click.argument("images", nargs=-1, required=True, type=_PATH)
@options_from()
def features(images: tuple[Path, ...], options: FeaturesOptions) -> None:
    """Run groups of networks over IMAGES and store features and logits, one file a group.

    Groups with shortcuts see the images with dots that agree with the class by chance.
    """
    require_extra("data features", "torch", "torch", "PIL")
    from semrsm_bench.activations.features import write_features

    options = replace(options, networks=options.networks.resolve(), out=options.out.resolve())
    for summary in write_features(
        images, options, lambda group: _provenance("features", images, replace(options, group=(group.name,)))
    ):
        say(summary)


@data.command()
@click.argument("images", nargs=-1, required=True, type=_PATH)
@options_from()
def extract(images: tuple[Path, ...], options: ExtractOptions) -> None:
    """Run a network over IMAGES (folders, zips or files) and store its activations.

    The network comes from a file of `data train`, transformers, timm, torchvision, or a function of yours; its own preprocessing is
    used and written into the cache. Pictures are turned upright (EXIF); grey of 16 bits is scaled to 8; transparent parts show
    white; of several frames the first is taken. What cannot be read, or has more than 100 million pixels, is left out and counted.
    """
    require_extra("data extract", "torch", "torch", "PIL")
    from semrsm_bench.activations.images import choose_images, find_images, require_distinct
    from semrsm_bench.activations.models import load_model, with_layers, without_folders
    from semrsm_bench.activations.to_cache import extract_to_cache

    found = find_images(images, options.classes)
    require_distinct(found)
    model = with_layers(load_model(options.model), options.layers).told(**_told(options))
    metadata = extract_to_cache(
        model,
        found,
        options.out,
        keep=choose_images(found, options.count, options.seed) if options.count else None,
        mean_images=options.mean_images,
        seed=options.seed,
        changes=options.changes,
        provenance=_provenance("extract", images, replace(options, model=without_folders(options.model))),
    )
    say(f"{metadata['pictures']}\n{metadata['preprocessing']}", err=True)
    for words in dict.fromkeys(metadata["read_as"].values()):
        layers = [layer for layer, said in metadata["read_as"].items() if said == words]
        say(f"{', '.join(layers)}: {words}", err=True)
    if (over := metadata["mean_images"]) < MEAN_IMAGES:
        text = f"note: the mean is over {over} images only; {MEAN_IMAGES} or more are better for centring"
        say(text, err=True)
    describe(options.out)


def _told(options: ModelOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("mean", "std", "size", "layout", "drop_tokens")}


@data.command()
@click.argument("model")
@options_from(leave_out=("results", "quiet"))
def layers(model: str, options: ModelOptions, output: OutputOptions) -> None:
    """List the submodules of MODEL, what each returns for one blank picture, and how `data extract` reads it."""
    require_extra("data layers", "torch", "torch", "PIL")
    from semrsm_bench.activations.models import load_model
    from semrsm_bench.activations.reader import describe_layers

    rows = describe_layers(load_model(model).told(**_told(options)), options.layers)
    if output.json:
        print_json(rows)
        return
    head = ["layer", "module", "returns", "read as"]
    say("\n".join(aligned([head, *([row["layer"], row["module"], row["returns"], row["read as"]] for row in rows)])))


def _provenance(verb: str, sources: Sequence[Path], options: Any) -> dict[str, str]:
    """Data and command of a cache, with file names in place of paths: folders differ between machines."""
    names = [path.name for path in sources]
    command = shlex.join(["semrsm-bench", "data", verb, *names, *command_words(options)])
    return {"dataset": " ".join(names) or PACKAGE_PICTURES, "command": command}


@dataclass(frozen=True, kw_only=True)
class SubsetOptions:
    """Which part of a cache."""

    count: int = option(help="Keep the first COUNT images.", minimum=1)
    out: Path = option(help="The smaller cache file.")


@data.command()
@click.argument("cache", type=click.Path(exists=True, path_type=Path))
@options_from()
def subset(cache: Path, options: SubsetOptions) -> None:
    """Write the first images of CACHE as a smaller cache (the package's mini cache is made so)."""
    from semrsm_bench.activations.store import copy_part, open_cache

    whole = open_cache(cache)
    if options.count > len(whole):
        raise ValueError(f"--count must be in 1..{len(whole)}, got {options.count}")
    command = _provenance("subset", [whole.path], options)["command"]
    copy_part(whole, options.count, options.out, command)
    describe(options.out)


@dataclass(frozen=True)
class LargeOptions:
    """Which large images."""

    model: Path | None = option(None, help="Checkpoint; default: the shipped ResNet-18.")
    sizes: tuple[int, ...] = option((128, 256), help="Side of the images; repeatable.", name="size", minimum=1)
    count: int = option(8, help="Images to store.", minimum=1)
    out: Path | None = option(None, help="Folder; default: large/ in the user's cache folder.")


@data.command()
@click.argument("images", nargs=-1, type=_PATH)
@options_from()
def large(images: tuple[Path, ...], options: LargeOptions) -> None:
    """First-stage activations of large images: S = 16,384 at 128 pixels and 65,536 at 256.

    Without IMAGES the photographs that scikit-image, scikit-learn and matplotlib ship are used. The caches are written outside
    the repository; `semrsm-bench run --profile large` finds them there.
    """
    require_extra("data large", "study", "torch", "PIL")
    from semrsm_bench.activations.folders import large_folder, shipped_weights
    from semrsm_bench.activations.images import find_images
    from semrsm_bench.activations.models import load_model
    from semrsm_bench.activations.pictures import package_pictures
    from semrsm_bench.activations.to_cache import extract_to_cache

    found = find_images(list(images) or package_pictures())
    if len(found) < 2:
        raise ValueError(f"a pair needs two images: name some, or install what has the {PACKAGE_PICTURES}")
    for size in options.sizes:
        network = load_model(str(options.model or shipped_weights()), ["layer1"])
        path = (options.out or large_folder()) / f"{network.name}-{size}px.safetensors"
        extract_to_cache(
            replace(network, size=size),
            found,
            path,
            keep=range(min(options.count, len(found))),
            provenance=_provenance("large", images, replace(options, sizes=(size,), out=None)),
        )
        describe(path)


@data.command()
@click.argument("names", nargs=-1, required=True)
def family(names: tuple[str, ...]) -> None:
    """Make the activations of families of instances that do not ship, see `semrsm-bench list families`.

    They go to the user's cache folder, where `semrsm-bench run matching --family NAME` finds them.
    """
    require_extra("data family", "families", "torch", "PIL")
    from semrsm_bench.activations.recipes import make_family

    for name in names:
        for path in make_family(name):
            describe(path)


@data.command()
@click.argument("source")
@options_from(leave_out=("results", "json"))
def fetch(source: str, output: OutputOptions) -> None:
    """Copy the data that ship with a checkout from SOURCE, a folder or a URL, into the user's cache folder.

    For a package without a checkout. Every file is held against the sha256 of its manifest. Started again it resumes: files that
    are there are skipped.
    """
    from semrsm_bench.activations.fetch import fetch_data

    folder, files, copied = fetch_data(source, quiet=output.quiet)
    say(f"{folder}: {files} files, {copied} of them copied now")


def describe(path: str | Path) -> None:
    """Print one cache file: layers and shapes."""
    from semrsm_bench.activations.store import open_cache

    _describe(open_cache(path))


def _describe(cache: Cache) -> None:
    shapes = ", ".join(f"{layer} {cache.shape(layer)[1]}x{cache.shape(layer)[2]}" for layer in cache.layers)
    say(f"{cache.path}: {len(cache)} images, {shapes} (channels x positions)")


@data.command("list")
@options_from(leave_out=("results", "quiet"))
def list_command(options: DataOptions, arrays: LayoutOptions, output: OutputOptions) -> None:
    """List the caches that a run would use."""
    from semrsm_bench.activations.store import open_caches

    rows: list[dict[str, Any]] = []
    caches = open_caches(options.data, **arrays.layouts)
    for cache in caches:
        count = len(cache)
        rows.append({"file": str(cache.path), "images": count, "pairs": count * (count - 1) // 2})
        rows[-1]["layers"] = {layer: list(cache.shape(layer)[1:]) for layer in cache.layers}
        rows[-1] |= {"sha256": cache.sha256, **{k: cache.metadata.get(k) for k in ("model", "dataset", "command")}}
    if output.json:
        print_json(rows)
        return
    for cache, row in zip(caches, rows):
        _describe(cache)
        say(f"  model {row['model']}, data {row['dataset'] or 'not said'}, sha256 {row['sha256'][:12]}")
        if row["command"]:
            say(f"  made by: {row['command']}")


@data.command()
@options_from(leave_out=("results", "quiet"))
def groups(options: DataOptions, output: OutputOptions) -> None:
    """List the groups of networks whose features are in the data, and how good the networks are.

    Top-1 is the mean share of the images of the file that the networks classify rightly (lowest - highest). Networks that see dots
    say how often they take the picture for what the dot shows.
    """
    from semrsm_bench.activations.folders import find_data
    from semrsm_bench.activations.groups import group_facts

    rows = list(group_facts(find_data(options.data)))
    if output.json:
        print_json(rows)
        return

    def percent(shares: Mapping[str, float]) -> str:
        values = [100 * share for share in shares.values()]
        return f"{sum(values) / len(values):.1f} ({min(values):.1f} - {max(values):.1f})" if values else ""

    head = ["group", "networks", "top-1 %", "follows dot %", "what they are"]
    cells = [
        [row["group"], str(len(row["top1"])), percent(row["top1"]), percent(row.get("follows_dot", {})), row["design"]]
        for row in rows
    ]
    say("\n".join(aligned([head, *cells], right=(1,))))


@data.command()
@options_from()
def verify(options: DataOptions, arrays: LayoutOptions) -> int:
    """Check every file against the manifest, and every value of every cache; exit code 1 if one fails."""
    from semrsm_bench.activations.store import verify_folder

    failed = 0
    for name, problem in verify_folder(options.data, **arrays.layouts):
        say(f"{'FAILED' if problem else 'ok    '}  {name}" + (f": {problem}" if problem else ""))
        failed += bool(problem)
    if failed:
        say(f"{failed} file(s) failed", err=True)
    return 1 if failed else 0
