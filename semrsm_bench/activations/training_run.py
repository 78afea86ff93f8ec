"""From the options of ``data train`` to a weights file with its recipe inside."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semrsm_bench.activations.images import find_images, load_images, read_classes
from semrsm_bench.activations.manifest import file_sha256, update_manifest
from semrsm_bench.activations.train import Recipe, parse_phases, top1, train
from semrsm_bench.activations.weights import load_weights, save_weights


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """The options of ``semrsm-bench data train``; see its help."""

    images: tuple[Path, ...]
    out: Path
    val: tuple[Path, ...] = ()
    classes: Path | None = None
    architecture: str = "resnet18"
    width: int = 64
    phases: str = "32:5,64:2"
    batch: int = 128
    lr: float = 0.2
    seed: int = 0
    init: Path | None = None
    compile_network: bool = False
    threads: int | None = None
    quiet: bool = False

    def execute(self) -> str:
        """Train (or go on), validate, write the weights; returns what to tell the user."""
        if self.out.suffix != ".safetensors":
            raise ValueError(f"--out must end in .safetensors, got {self.out}")
        if self.threads:
            torch.set_num_threads(self.threads)
        names = read_classes(self.classes) if self.classes else None
        pixels, labels, classes = self._load(self.images, names)
        recipe = Recipe(
            architecture=self.architecture,
            width=self.width,
            num_classes=classes,
            phases=parse_phases(self.phases),
            batch=self.batch,
            lr=self.lr,
            seed=self.seed,
            init_sha256=file_sha256(self.init) if self.init else None,
        )
        network, log = train(
            recipe,
            pixels,
            labels,
            self.out.with_suffix(".ckpt.safetensors"),
            init=load_weights(self.init) if self.init else None,
            compile_network=self.compile_network,
            quiet=self.quiet,
        )
        # Validate what is written: float16 weights, BatchNorm statistics included.
        network.load_state_dict(
            {k: v.half().float() if v.is_floating_point() else v for k, v in network.state_dict().items()}
        )
        accuracy = None
        if self.val:
            val_pixels, val_labels, _ = self._load(self.val, names)
            accuracy = top1(network, val_pixels, val_labels, recipe.phases[-1][0], quiet=self.quiet)
        metadata = {
            "recipe": dataclasses.asdict(recipe),
            "log": log,
            "images": len(pixels),
            "top1": accuracy,
            "val_images": len(val_pixels) if self.val else 0,
            "torch": torch.__version__,
        }
        save_weights(self.out, network, metadata)
        shapes = {k: tuple(v.shape) for k, v in network.state_dict().items()}
        update_manifest(self.out.parent, self.out, "weights", shapes)
        told = f"top-1 {accuracy:.2%} on {len(val_pixels)} images, " if accuracy is not None else ""
        return f"{self.out}: {told}{log['steps_done']} steps in {log['seconds'] / 60:.1f} minutes, sha256 {file_sha256(self.out)}"

    def _load(
        self, sources: tuple[Path, ...], names: list[str] | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
        images = find_images(sources, names)
        labels = np.array([image.label for image in images], dtype=np.int64)
        if (labels < 0).any():
            stray = images[int(np.argmax(labels < 0))]
            raise ValueError(
                f"{stray.container}: {stray.name} lies in no class directory; training needs one folder per class"
            )
        classes = len(names) if names else int(labels.max()) + 1
        size = max(size for size, _ in parse_phases(self.phases))
        return load_images(images, size, quiet=self.quiet), labels, classes
