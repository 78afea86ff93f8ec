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
@click.option("--classes", type=click.Path(exists=True, path_type=Path), help="Class directories in label order, one a line.")
@click.option("--architecture", default="resnet18", show_default=True, help="resnet18, resnet34, resnet50 or resnet101.")
@click.option("--width", default=64, show_default=True, help="Channels of the first stage; 16 is a quarter of the full width.")
@click.option("--phases", default="32:5,64:2", show_default=True, help="Image size : epochs, in order.")
@click.option("--batch", default=128, show_default=True)
@click.option("--lr", default=0.2, show_default=True, help="Peak learning rate.")
@click.option("--seed", default=0, show_default=True)
@click.option("--init", type=click.Path(exists=True, path_type=Path), help="Weights to start from (safetensors or .pt).")
@click.option("--compile/--no-compile", "compile_network", default=False, help="Fuse with torch.compile (needs a C++ compiler).")
@click.option("--threads", type=int, help="CPU threads; default: all.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Weights, float16 safetensors. OUT.ckpt... beside it resumes.")
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
