"""Train one network of the family: seeded, resumable, on CUDA or on CPU in bfloat16.

The recipe is SGD with Nesterov momentum on progressively larger images: most epochs run at low resolution, the last ones at
the resolution the network is used at (progressive resizing).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional

from semrsm_bench.activations.forward import device as best_device
from semrsm_bench.activations.manifest import written
from semrsm_bench.activations.models import to_input
from semrsm_bench.activations.resnet import ResNet
from semrsm_bench.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does; two runs with equal recipes and data do the same.

    ``phases`` lists (image size, epochs); the learning rate rises linearly to ``lr`` during the first ``warmup`` of all
    steps and falls linearly to 0. ``shift`` is the largest translation, in pixels of a 64x64 image.
    """

    architecture: str = "resnet18"
    width: int = 64
    num_classes: int = 200
    phases: tuple[tuple[int, int], ...] = ((32, 5), (64, 2))
    batch: int = 128
    lr: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    warmup: float = 0.1
    shift: int = 6
    seed: int = 0
    init_sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.phases or any(size < 8 or epochs < 1 for size, epochs in self.phases):
            raise ValueError(f"phases must be (image size >= 8, epochs >= 1) pairs, got {self.phases}")
        if self.batch < 2:
            raise ValueError(f"batch must be at least 2 (batch normalisation needs two images), got {self.batch}")
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")

    def learning_rate(self, step: int, steps: int) -> float:
        """Learning rate of a step: linear warm-up, then linear decay that would reach 0 at ``steps``."""
        warm = max(1, round(self.warmup * steps))
        return self.lr * min((step + 1) / warm, (steps - step) / max(1, steps - warm))


def parse_phases(text: str) -> tuple[tuple[int, int], ...]:
    """Read ``"32:5,64:2"`` as five epochs at 32 pixels, then two at 64."""
    try:
        return tuple((int(size), int(epochs)) for size, epochs in (part.split(":") for part in text.split(",")))
    except ValueError:
        raise ValueError(f"phases must look like 32:5,64:2 (image size : epochs), got {text!r}") from None


def augment(pixels: torch.Tensor, shift: int, generator: torch.Generator) -> torch.Tensor:
    """Flip half of the images and move each by up to ``shift`` pixels, mirrored at the border. (N, H, W, 3) uint8."""
    n, height, width, _ = pixels.shape
    rows = torch.arange(height) + torch.randint(-shift, shift + 1, (n, 1), generator=generator)
    cols = torch.arange(width) + torch.randint(-shift, shift + 1, (n, 1), generator=generator)
    rows, cols = (_mirror(rows, height), _mirror(cols, width))
    flip = torch.rand((n, 1), generator=generator) < 0.5
    cols = torch.where(flip, width - 1 - cols, cols)
    device = pixels.device
    return pixels[torch.arange(n)[:, None, None].to(device), rows[:, :, None].to(device), cols[:, None, :].to(device)]


def _mirror(index: torch.Tensor, size: int) -> torch.Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def resize(x: torch.Tensor, size: int) -> torch.Tensor:
    """Scale (N, 3, H, W) to (N, 3, size, size) with an antialiased bilinear filter."""
    if x.shape[-1] == size:
        return x
    return functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


class _Plan:
    """Which batch of which epoch a global step belongs to."""

    def __init__(self, recipe: Recipe, images: int) -> None:
        self.per_epoch = images // recipe.batch
        if self.per_epoch < 1:
            raise ValueError(f"{images} images do not fill one batch of {recipe.batch}; lower --batch or add images")
        self.sizes = [size for size, epochs in recipe.phases for _ in range(epochs)]
        self.steps = self.per_epoch * len(self.sizes)
        self.recipe = recipe
        self.images = images

    def batches(self, start: int) -> Iterator[tuple[int, int, NDArray[np.intp]]]:
        for epoch in range(start // self.per_epoch, len(self.sizes)):
            order = np.random.default_rng([self.recipe.seed, epoch]).permutation(self.images)
            for k in range(self.per_epoch):
                step = epoch * self.per_epoch + k
                if step >= start:
                    yield step, self.sizes[epoch], order[k * self.recipe.batch : (k + 1) * self.recipe.batch]


def _data_fingerprint(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    # A hash of everything would cost seconds per gigabyte at each start; a spread of images tells data sets apart.
    some = np.linspace(0, len(pixels) - 1, num=min(len(pixels), 64)).astype(int)
    return hashlib.sha256(pixels[some].tobytes() + labels.tobytes()).hexdigest()[:16]


def train(
    recipe: Recipe,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    checkpoint: Path,
    *,
    init: dict[str, torch.Tensor] | None = None,
    save_every: float = 120.0,
    max_steps: int | None = None,
    compile_network: bool = False,
    quiet: bool = False,
) -> tuple[ResNet, dict[str, Any]]:
    """Train a network, resuming from ``checkpoint`` where there is one.

    Parameters
    ----------
    recipe : Recipe
    pixels, labels : ndarray, (N, H, W, 3) uint8 and (N,) int64
    checkpoint : Path
        safetensors file with weights, momentum and progress; written every ``save_every`` seconds and at the end.
    init : dict of tensors, optional
        Weights to start from.
    max_steps : int, optional
        Stop (resumably) after this many steps of this call.
    compile_network : bool
        Fuse the network with ``torch.compile`` (needs a C++ compiler; about 1.3x faster on CPU).

    Returns
    -------
    network, log : ResNet, dict
        ``log`` holds the number of steps done and planned and the seconds spent, restarts included.

    Raises
    ------
    ValueError
        The checkpoint belongs to another recipe or other data, or the loss is no longer finite.
    """
    if len(pixels) != len(labels):
        raise ValueError(f"{len(pixels)} images but {len(labels)} labels")
    if len(labels) and not (labels.min() >= 0 and labels.max() < recipe.num_classes):
        raise ValueError(f"labels must lie in 0..{recipe.num_classes - 1}; found {labels.min()}..{labels.max()}")
    device = best_device()
    plan = _Plan(recipe, len(pixels))
    torch.manual_seed(recipe.seed)
    network = ResNet(recipe.architecture, recipe.num_classes, recipe.width)
    if init is not None:
        network.load_state_dict(init)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=True,
    )
    identity = json.dumps([dataclasses.asdict(recipe), _data_fingerprint(pixels, labels)], sort_keys=True)
    start, spent = _restore(checkpoint, identity, network, optimizer)
    forward = torch.compile(network) if compile_network else network
    clock, saved, done = time.monotonic(), time.monotonic(), start
    with progress_bar(plan.steps, f"training {recipe.architecture}", unit="step", initial=start, quiet=quiet) as bar:
        for step, size, chosen in plan.batches(start):
            if max_steps is not None and step - start >= max_steps:
                break
            generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
            batch = augment(torch.from_numpy(pixels[chosen]), recipe.shift, generator).to(device)
            x = resize(to_input(batch), size).contiguous(memory_format=torch.channels_last)
            y = torch.from_numpy(labels[chosen]).to(device)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate(step, plan.steps)
            network.train()
            with torch.autocast(device.type, torch.bfloat16):
                loss = functional.cross_entropy(forward(x), y, label_smoothing=recipe.label_smoothing)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss is {loss.item()} at step {step}: lower --lr (now {recipe.lr}) or lengthen the warm-up"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done = step + 1
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", px=size, refresh=False)
            if time.monotonic() - saved > save_every:
                _save(checkpoint, identity, network, optimizer, done, spent + time.monotonic() - clock)
                saved = time.monotonic()
    spent += time.monotonic() - clock
    _save(checkpoint, identity, network, optimizer, done, spent)
    return network.eval(), {"steps_done": done, "steps": plan.steps, "seconds": spent, "device": str(device)}


def _save(path: Path, identity: str, network: ResNet, optimizer: torch.optim.SGD, step: int, spent: float) -> None:
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        momentum = optimizer.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum.detach().cpu().contiguous()
    with written(path) as partial:
        save_file(tensors, partial, metadata={"identity": identity, "step": str(step), "seconds": f"{spent:.1f}"})


def _restore(path: Path, identity: str, network: ResNet, optimizer: torch.optim.SGD) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("identity") != identity:
            raise ValueError(f"{path} belongs to another recipe or other data; delete it or choose another --out")
        network.load_state_dict(
            {k.removeprefix("model."): file.get_tensor(k) for k in file.keys() if k.startswith("model.")}  # noqa: SIM118
        )
        stored = set(file.keys())
        for name, parameter in network.named_parameters():
            if f"momentum.{name}" in stored:
                momentum = file.get_tensor(f"momentum.{name}").to(parameter.device)
                buffer = torch.empty_like(parameter).copy_(momentum)  # keeps the parameter's memory format
                optimizer.state[parameter]["momentum_buffer"] = buffer
    return int(metadata["step"]), float(metadata["seconds"])


@torch.no_grad()
def top1(
    network: ResNet, pixels: NDArray[np.uint8], labels: NDArray[np.int64], size: int, *, quiet: bool = False
) -> float:
    """Share of images whose largest logit is their label's; float32, images scaled to ``size``."""
    device = next(network.parameters()).device
    network.eval()
    right = 0
    with progress_bar(len(pixels), "validating", unit="image", quiet=quiet) as bar:
        for i in range(0, len(pixels), 100):
            x = resize(to_input(torch.from_numpy(pixels[i : i + 100]).to(device)), size)
            right += int((network(x).argmax(1).cpu().numpy() == labels[i : i + 100]).sum())
            bar.update(len(x))
    return right / len(pixels)
