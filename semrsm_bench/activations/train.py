"""Train one network of the family: seeded, resumable, on CUDA or on CPU in bfloat16; from images to a weights file.

The recipe is SGD with Nesterov momentum on progressively larger images: most epochs run at low resolution, the last ones at
the resolution the network is used at.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional

from semrsm_bench.activations.folders import atomic_write, file_sha256, update_manifest
from semrsm_bench.activations.images import find_images, load_images, read_classes
from semrsm_bench.activations.models import best_device, to_input
from semrsm_bench.activations.options import TrainOptions
from semrsm_bench.activations.resnet import ResNet, load_weights, save_weights
from semrsm_bench.progress import progress_bar

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

_SAVE_EVERY = 120.0  # seconds between checkpoints


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does; two runs with equal recipes and data do the same.

    ``phases`` lists (image size, epochs); the learning rate rises linearly to ``lr`` during the first ``warmup`` of all
    steps and falls linearly to 0. ``shift`` is the largest translation of an image, see `augment`.
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

    def learning_rate(self, step: int, steps: int) -> float:
        """Learning rate of a step: linear warm-up, then linear decay that would reach 0 at ``steps``."""
        warm = max(1, round(self.warmup * steps))
        return self.lr * min((step + 1) / warm, (steps - step) / max(1, steps - warm))

    def steps(self, images: int) -> int:
        """Number of steps on so many images."""
        if images < self.batch:
            raise ValueError(f"{images} images do not fill one batch of {self.batch}; lower --batch or add images")
        return images // self.batch * sum(epochs for _, epochs in self.phases)

    def schedule(self, images: int, start: int = 0) -> Iterator[tuple[int, int, NDArray[np.intp]]]:
        """Number, image size and images (batch,) of each step from ``start`` on; each epoch has another seeded order."""
        sizes = [size for size, epochs in self.phases for _ in range(epochs)]
        per_epoch = images // self.batch
        for step in range(start, self.steps(images)):
            epoch, k = divmod(step, per_epoch)
            if step == start or k == 0:
                order = np.random.default_rng([self.seed, epoch]).permutation(images)
            yield step, sizes[epoch], order[k * self.batch : (k + 1) * self.batch]


def parse_phases(text: str) -> tuple[tuple[int, int], ...]:
    """Read ``"32:5,64:2"`` as five epochs at 32 pixels, then two at 64."""
    try:
        phases = tuple((int(size), int(epochs)) for size, epochs in (part.split(":") for part in text.split(",")))
    except ValueError:
        phases = ()
    if not phases or any(size < 8 or epochs < 1 for size, epochs in phases):
        raise ValueError(f"phases must look like 32:5,64:2 (image size, at least 8 : epochs), got {text!r}")
    return phases


def augment(pixels: torch.Tensor, shift: int, generator: torch.Generator) -> torch.Tensor:
    """Flip half of the images and move each at random along both axes, mirrored at the border. (N, H, W, 3) uint8.

    ``shift`` is the largest move in pixels of an image whose side is 64; images of other sizes move in proportion.
    """
    n, height, width, _ = pixels.shape

    def moved(side: int) -> torch.Tensor:
        reach = round(shift * side / 64)
        index = (torch.arange(side) + torch.randint(-reach, reach + 1, (n, 1), generator=generator)).abs()
        return torch.where(index >= side, 2 * (side - 1) - index, index)

    rows, columns = moved(height), moved(width)
    flip = torch.rand((n, 1), generator=generator) < 0.5
    columns = torch.where(flip, width - 1 - columns, columns)
    return pixels[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def resize(x: torch.Tensor, size: int) -> torch.Tensor:
    """Scale (N, 3, H, W) to (N, 3, size, size) with an antialiased bilinear filter."""
    if x.shape[-1] == size:
        return x
    return functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def train(
    recipe: Recipe,
    pixels: Pixels,
    labels: Labels,
    checkpoint: Path,
    *,
    init: dict[str, torch.Tensor] | None = None,
    compile_network: bool = False,
) -> tuple[ResNet, dict[str, Any]]:
    """Train a network on pixels (N, H, W, 3) uint8 and labels (N,), resuming from ``checkpoint`` where there is one.

    The checkpoint is a safetensors file with weights, momentum and progress, written every two minutes and at the end. ``init``
    are weights to start from; ``compile_network`` is about 1.3 times faster on CPU and needs a C++ compiler. Returns the network,
    and a log of the steps and the seconds spent, restarts included.
    """
    device, steps = best_device(), recipe.steps(len(pixels))
    torch.manual_seed(recipe.seed)
    network = ResNet(recipe.architecture, recipe.num_classes, recipe.width)
    if init is not None:
        network.load_state_dict(init)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=True)
    # A hash of everything would cost seconds per gigabyte at each start; some images tell data sets apart.
    some = np.linspace(0, len(pixels) - 1, num=min(len(pixels), 64)).astype(int)
    data = hashlib.sha256(pixels[some].tobytes() + labels.tobytes()).hexdigest()[:16]
    identity = json.dumps([asdict(recipe), data], sort_keys=True)
    start, spent = _restore(checkpoint, identity, network, optimizer)
    forward = torch.compile(network) if compile_network else network
    began = saved = time.monotonic()
    with progress_bar(steps, f"training {recipe.architecture}", unit="step", initial=start) as bar:
        for step, size, chosen in recipe.schedule(len(pixels), start):
            generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
            batch = augment(torch.from_numpy(pixels[chosen]), recipe.shift, generator).to(device)
            x = resize(to_input(batch), size).contiguous(memory_format=torch.channels_last)
            y = torch.from_numpy(labels[chosen]).to(device)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate(step, steps)
            network.train()
            with torch.autocast(device.type, torch.bfloat16):
                loss = functional.cross_entropy(forward(x), y, label_smoothing=recipe.label_smoothing)
            if not torch.isfinite(loss):
                raise ValueError(f"the loss is {loss.item()} at step {step}: lower --lr (now {recipe.lr})")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", px=size, refresh=False)
            if time.monotonic() - saved > _SAVE_EVERY:
                saved = time.monotonic()
                _save(checkpoint, identity, network, optimizer, step + 1, spent + saved - began)
    spent += time.monotonic() - began
    _save(checkpoint, identity, network, optimizer, steps, spent)
    return network.eval(), {"steps": steps, "seconds": spent, "device": str(device)}


def _save(path: Path, identity: str, network: ResNet, optimizer: torch.optim.SGD, step: int, spent: float) -> None:
    tensors = {f"model.{name}": value for name, value in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        if (momentum := optimizer.state[parameter].get("momentum_buffer")) is not None:
            tensors[f"momentum.{name}"] = momentum
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata={"identity": identity, "step": str(step), "seconds": f"{spent:.1f}"})


def _restore(path: Path, identity: str, network: ResNet, optimizer: torch.optim.SGD) -> tuple[int, float]:
    """Load a checkpoint; steps done and seconds spent, 0 where there is none."""
    if not path.exists():
        return 0, 0.0
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("identity") != identity:
            raise ValueError(f"{path} belongs to another recipe or other data; delete it or choose another --out")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network.load_state_dict({name: tensors[f"model.{name}"] for name in network.state_dict()})
    for name, parameter in network.named_parameters():
        if (momentum := tensors.get(f"momentum.{name}")) is not None:
            # Keeps the parameter's memory format.
            optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
    return int(metadata["step"]), float(metadata["seconds"])


@torch.no_grad()
def top1(network: ResNet, pixels: Pixels, labels: Labels, size: int) -> float:
    """Share of images whose largest logit is their label's; float32, images scaled to ``size``."""
    device = next(network.parameters()).device
    network.eval()
    right = 0
    with progress_bar(len(pixels), "validating", unit="image") as bar:
        for i in range(0, len(pixels), 100):
            x = resize(to_input(torch.from_numpy(pixels[i : i + 100]).to(device)), size)
            right += int((network(x).argmax(1).cpu().numpy() == labels[i : i + 100]).sum())
            bar.update(len(x))
    return right / len(pixels)


def train_network(images: Sequence[Path], options: TrainOptions) -> str:
    """Train (or resume) on folders or zips in the ImageFolder layout, validate, write the weights; returns a summary."""
    if options.threads:
        torch.set_num_threads(options.threads)
    phases = parse_phases(options.phases)
    size = max(size for size, _ in phases)
    pixels, labels, classes = _load(images, options.classes, size)
    shared = {name: getattr(options, name) for name in ("architecture", "width", "batch", "lr", "seed")}
    started = file_sha256(options.init) if options.init else None
    recipe = Recipe(num_classes=classes, phases=phases, init_sha256=started, **shared)
    network, log = train(
        recipe,
        pixels,
        labels,
        options.out.with_suffix(".ckpt.safetensors"),
        init=load_weights(options.init) if options.init else None,
        compile_network=options.compile,
    )
    # Validate what is written: float16 weights, BatchNorm statistics included.
    network.half().float()
    metadata = {"recipe": asdict(recipe), "log": log, "images": len(pixels), "torch": torch.__version__}
    metadata |= {"top1": None, "val_images": 0}
    summary = f"{options.out}: "
    if options.val:
        val_pixels, val_labels, _ = _load(options.val, options.classes, size)
        accuracy = top1(network, val_pixels, val_labels, phases[-1][0])
        metadata |= {"top1": accuracy, "val_images": len(val_pixels)}
        summary += f"top-1 {accuracy:.2%} on {len(val_pixels)} images, "
    save_weights(options.out, network, metadata)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    update_manifest(options.out, "weights", shapes)
    spent = f"{log['steps']} steps in {log['seconds'] / 60:.1f} minutes"
    return f"{summary}{spent}, sha256 {file_sha256(options.out)}"


def _load(sources: Sequence[Path], class_file: Path | None, size: int) -> tuple[Pixels, Labels, int]:
    """Pixels, labels and the number of classes."""
    images = find_images(sources, class_file)
    labels = np.array([image.label for image in images], dtype=np.int64)
    if stray := next((image for image in images if image.label < 0), None):
        raise ValueError(f"{stray.container}: {stray.name} is in no class directory, which training needs")
    classes = len(read_classes(class_file)) if class_file else int(labels.max()) + 1
    return load_images(images, size, progress=True), labels, classes
