"""``semrsm-bench data``: train, extract, list, verify."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def data() -> None:
    """Activations and where they come from."""


@data.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--val", multiple=True, type=click.Path(path_type=Path), help="Images to report the top-1 on at the end.")
@click.option(
    "--classes", type=click.Path(exists=True, path_type=Path), help="Class directories in label order, one a line."
)
@click.option(
    "--architecture", default="resnet18", show_default=True, help="resnet10, resnet18, resnet34, resnet50 or resnet101."
)
@click.option(
    "--width", default=64, show_default=True, help="Channels of the first stage; 16 is a quarter of the full width."
)
@click.option("--phases", default="32:5,64:2", show_default=True, help="Image size : epochs, in order.")
@click.option("--batch", default=128, show_default=True)
@click.option("--lr", default=0.2, show_default=True, help="Peak learning rate.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--init", type=click.Path(exists=True, path_type=Path), help="Weights to start from (safetensors or .pt)."
)
@click.option(
    "--compile/--no-compile", "compile_network", default=False, help="Fuse with torch.compile (needs a C++ compiler)."
)
@click.option("--threads", type=int, help="CPU threads; default: all.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Weights, float16 safetensors. OUT.ckpt... beside it resumes.",
)
def train(
    images: tuple[Path, ...],
    val: tuple[Path, ...],
    classes: Path | None,
    architecture: str,
    width: int,
    phases: str,
    batch: int,
    lr: float,
    seed: int,
    init: Path | None,
    compile_network: bool,
    threads: int | None,
    out: Path,
) -> None:
    """Train a ResNet on IMAGES (folders or zips in the ImageFolder layout).

    The run is seeded and resumable: started again with the same options it goes on from its checkpoint. It uses CUDA where
    there is one and CPU bfloat16 otherwise.
    """
    from semrsm_bench.activations.training_run import TrainingRun

    run = TrainingRun(
        images=images,
        val=val,
        classes=classes,
        architecture=architecture,
        width=width,
        phases=phases,
        batch=batch,
        lr=lr,
        seed=seed,
        init=init,
        compile_network=compile_network,
        threads=threads,
        out=out,
    )
    report = run.execute()
    click.echo(report)


@data.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", required=True, help="FILE.safetensors, FILE.pt, torchvision:NAME or timm:NAME.")
@click.option("--layers", help="Submodules to read, separated by commas; default: layer1,layer2,layer3,layer4.")
@click.option(
    "--classes", type=click.Path(exists=True, path_type=Path), help="Class directories in label order, one a line."
)
@click.option("--count", type=int, help="Store this many images, spread over the classes; default: all.")
@click.option("--mean-images", default=1000, show_default=True, help="Images the mean is taken over.")
@click.option("--size", type=int, help="Side of the images in pixels; default: the model's own.")
@click.option(
    "--drop-tokens", type=int, help="Leading tokens to leave out; default: 1 where that leaves a square, else 0."
)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The cache file, .safetensors.")
def extract(
    images: tuple[Path, ...],
    model: str,
    layers: str | None,
    classes: Path | None,
    count: int | None,
    mean_images: int,
    size: int | None,
    drop_tokens: int | None,
    seed: int,
    out: Path,
) -> None:
    """Run a network over IMAGES (folders, zips or files) and store its activations."""
    from semrsm_bench.activations.extract import choose_images
    from semrsm_bench.activations.extract import extract as run_extract
    from semrsm_bench.activations.images import find_images, read_classes
    from semrsm_bench.activations.models import load_model

    if out.suffix != ".safetensors":
        raise ValueError(f"--out must end in .safetensors, got {out}")
    found = find_images(images, read_classes(classes) if classes else None)
    loaded = load_model(model, [name.strip() for name in layers.split(",")] if layers else ())
    names = " ".join(p.name for p in images)
    options = {
        "--classes": classes.name if classes else None,
        "--count": count,
        "--mean-images": mean_images,
        "--size": size,
        "--drop-tokens": drop_tokens,
        "--seed": seed,
    }
    command = f"semrsm-bench data extract {names} --model {Path(model).name if Path(model).is_file() else model}"
    command += "".join(f" {key} {value}" for key, value in options.items() if value is not None)
    command += f" --layers {layers}" if layers else ""
    metadata = run_extract(
        loaded,
        found,
        out,
        keep=choose_images(found, count, seed) if count else None,
        mean_images=mean_images,
        size=size,
        drop_tokens=drop_tokens,
        seed=seed,
        dataset=names,
        command=command + f" --out {out.name}",
    )
    if metadata["mean_images"] < 1000:
        click.echo(
            f"note: the mean is over {metadata['mean_images']} images only; 1000 or more are better for centring",
            err=True,
        )
    describe(out)


@data.command()
@click.argument("cache", type=click.Path(exists=True, path_type=Path))
@click.option("--count", type=int, required=True, help="Keep the first COUNT images.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The smaller cache file.")
def subset(cache: Path, count: int, out: Path) -> None:
    """Write the first images of CACHE as a cache of their own (the package's mini cache is made so)."""
    from semrsm_bench.activations.store import copy_part, open_cache

    whole = open_cache(cache)
    if not 1 <= count <= len(whole):
        raise ValueError(f"--count must lie in 1..{len(whole)}, got {count}")
    command = f"semrsm-bench data subset {whole.path.name} --count {count} --out {out.name}"
    copy_part(whole, range(count), out, command)
    describe(out)


@data.command()
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--model", type=click.Path(exists=True, path_type=Path), help="Checkpoint; default: the shipped ResNet-18."
)
@click.option(
    "--size", "sizes", multiple=True, type=int, default=(128, 256), show_default=True, help="Side of the images."
)
@click.option("--count", type=int, default=8, show_default=True, help="Images to store.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default: large/ in the user's cache folder.")
def large(images: tuple[Path, ...], model: Path | None, sizes: tuple[int, ...], count: int, out: Path | None) -> None:
    """First-stage activations of large images: S = 16,384 at 128 pixels and 65,536 at 256.

    Without IMAGES the photographs that scikit-image, scikit-learn and matplotlib ship are used. The caches are written outside
    the repository; `semrsm-bench run --profile large` finds them there.
    """
    from semrsm_bench.activations.extract import extract as run_extract
    from semrsm_bench.activations.images import find_images
    from semrsm_bench.activations.locate import large_folder, shipped_weights
    from semrsm_bench.activations.models import load_model
    from semrsm_bench.activations.pictures import package_pictures

    sources = list(images) or package_pictures()
    found = find_images(sources)
    if len(found) < 2:
        raise ValueError(
            "a pair needs two images: name some, or install scikit-image or scikit-learn, which ship photographs"
        )
    checkpoint = model or shipped_weights()
    names = " ".join(p.name for p in images)
    for size in sizes:
        network = load_model(str(checkpoint), ["layer1"])
        path = (out or large_folder()) / f"{network.name}-{size}px.safetensors"
        run_extract(
            network,
            found,
            path,
            keep=range(min(count, len(found))),
            size=size,
            dataset=names or "photographs shipped by scikit-image, scikit-learn and matplotlib",
            command=f"semrsm-bench data large {names} --size {size} --count {count}".replace("  ", " "),
        )
        describe(path)


def describe(path: Path) -> None:
    """Print one cache: layers, shapes, provenance."""
    from semrsm_bench.activations.store import open_cache

    cache = open_cache(path)
    shapes = ", ".join(f"{layer} {cache.shape(layer)[1]}x{cache.shape(layer)[2]}" for layer in cache.layers)
    click.echo(f"{path}: {len(cache)} images, {shapes} (channels x positions)")


@data.command("list")
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Folder or file; default: where data is found.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_command(folder: Path | None, as_json: bool) -> None:
    """List the caches that a run would use."""
    import json

    from semrsm_bench.activations.store import find_data, list_caches, open_cache

    place = find_data(folder)
    paths = [place] if place.is_file() else list_caches(place)
    caches = [open_cache(path) for path in paths]
    if as_json:
        rows = [
            {
                "file": str(c.path),
                "images": len(c),
                "pairs": len(c) * (len(c) - 1) // 2,
                "layers": {layer: list(c.shape(layer)[1:]) for layer in c.layers},
                "sha256": c.sha256,
                "model": c.metadata.get("model"),
                "dataset": c.metadata.get("dataset"),
                "command": c.metadata.get("command"),
            }
            for c in caches
        ]
        click.echo(json.dumps(rows, indent=1))
        return
    for cache in caches:
        describe(cache.path)
        click.echo(
            f"  model {cache.metadata.get('model')}, data {cache.metadata.get('dataset') or 'not said'}, sha256 {cache.sha256[:12]}"
        )
        if cache.metadata.get("command"):
            click.echo(f"  made by: {cache.metadata['command']}")


@data.command()
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Folder or file; default: where data is found.")
def verify(folder: Path | None) -> int:
    """Check every file against the manifest, and every value of every cache; exit code 1 if one fails."""
    from semrsm_bench.activations.verify import verify_folder

    failed = 0
    for name, problem in verify_folder(folder):
        click.echo(f"{'FAILED' if problem else 'ok    '}  {name}" + (f": {problem}" if problem else ""))
        failed += bool(problem)
    if failed:
        click.echo(f"{failed} file(s) failed", err=True)
    return 1 if failed else 0
