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
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from semrsm_bench.activations.augment import augment, distort
from semrsm_bench.activations.designs import add_dots, dot_classes, misleading_dots, redraw_labels
from semrsm_bench.activations.folders import atomic_write, file_sha256, update_manifest
from semrsm_bench.activations.images import find_images, load_images, read_classes
from semrsm_bench.activations.models import best_device, to_input
from semrsm_bench.activations.options import TrainOptions
from semrsm_bench.activations.resnet import ResNet, load_weights, save_weights
from semrsm_bench.progress import progress_bar

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

_SHARED = ("architecture", "width", "batch", "lr", "seed", "augmentation", "random_labels", "shortcut")

_SAVE_EVERY = 120.0  # seconds between checkpoints
_STATISTICS_BATCHES = 16  # that the BatchNorm statistics of an untrained network are taken over


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does; two runs with equal recipes and data do the same.

    ``phases`` lists (image size, epochs); the learning rate rises linearly to ``lr`` during the first ``warmup`` of all
    steps and falls linearly to 0. ``shift`` is the largest translation of an image, see `augment`; images are also distorted
    where ``augmentation`` is strong. ``random_labels`` is the share of labels drawn anew, ``shortcut`` the probability with which
    the dot on a picture shows its class (None: no dots). Epochs of 0 leave the network untrained, its BatchNorm statistics are
    then those of the data.
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
    augmentation: Literal["none", "weak", "strong"] = "weak"
    random_labels: float = 0.0
    shortcut: float | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """The fields; those that came later only where they are not at their default, so that older checkpoints stay valid."""
        later = {"augmentation": "weak", "random_labels": 0.0, "shortcut": None}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}

    def learning_rate(self, step: int, steps: int) -> float:
        """Learning rate of a step: linear warm-up, then linear decay that would reach 0 at ``steps``."""
        warm = max(1, round(self.warmup * steps))
        return self.lr * min((step + 1) / warm, (steps - step) / max(1, steps - warm))

    def steps(self, images: int) -> int:
        """Number of steps on so many images."""
        epochs = sum(epochs for _, epochs in self.phases)
        if images < self.batch and epochs:
            raise ValueError(f"{images} images do not fill one batch of {self.batch}; lower --batch or add images")
        return images // self.batch * epochs

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
    if not phases or any(size < 8 or epochs < 0 for size, epochs in phases):
        raise ValueError(f"phases must look like 32:5,64:2 (image size, at least 8 : epochs), got {text!r}")
    return phases


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
    identity = json.dumps([recipe.identity, data], sort_keys=True)
    pixels, labels = designed(recipe, pixels, labels)
    if not steps:
        _take_statistics(network, recipe, pixels)
    start, spent = _restore(checkpoint, identity, network, optimizer)
    forward = torch.compile(network) if compile_network else network
    began = saved = time.monotonic()
    with progress_bar(steps, f"training {recipe.architecture}", unit="step", initial=start) as bar:
        for step, size, chosen in recipe.schedule(len(pixels), start):
            generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
            batch = torch.from_numpy(pixels[chosen])
            if recipe.augmentation != "none":
                batch = augment(batch, recipe.shift, generator)
            if recipe.augmentation == "strong":
                batch = distort(batch, generator)
            x = resize(to_input(batch.to(device)), size).contiguous(memory_format=torch.channels_last)
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


def designed(recipe: Recipe, pixels: Pixels, labels: Labels) -> tuple[Pixels, Labels]:
    """The pictures and labels that a network is trained on: with the recipe's dots, and its share of labels drawn anew."""
    if recipe.shortcut is not None:
        shown = dot_classes(labels, recipe.shortcut, recipe.num_classes, recipe.seed)
        pixels = add_dots(pixels, shown, recipe.num_classes, recipe.seed)
    return pixels, redraw_labels(labels, recipe.random_labels, recipe.num_classes, recipe.seed)


@torch.no_grad()
def _take_statistics(network: ResNet, recipe: Recipe, pixels: Pixels) -> None:
    """Set the BatchNorm statistics of an untrained network to the means over some batches, layer by layer as in training."""
    device, size = next(network.parameters()).device, recipe.phases[-1][0]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    network.train()
    order = np.random.default_rng([recipe.seed, 0]).permutation(len(pixels))[: _STATISTICS_BATCHES * recipe.batch]
    for i in range(0, len(order), recipe.batch):
        network(resize(to_input(torch.from_numpy(pixels[order[i : i + recipe.batch]]).to(device)), size))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


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


def recipe_of(options: TrainOptions, classes: int) -> Recipe:
    """The recipe that options and the number of classes make."""
    shared = {name: getattr(options, name) for name in _SHARED}
    started = file_sha256(options.init) if options.init else None
    return Recipe(num_classes=classes, phases=parse_phases(options.phases), init_sha256=started, **shared)


def checkpoint_of(out: Path) -> Path:
    """The checkpoint of a run that writes its weights to ``out``."""
    return out.with_suffix(".ckpt.safetensors")


def train_network(images: Sequence[Path], options: TrainOptions) -> str:
    """Train (or resume) on folders or zips in the ImageFolder layout, validate, write the weights; returns a summary.

    A network with a shortcut is validated on pictures whose dots agree with the class by chance; ``follows_dot`` in the metadata
    is the share of them that it takes for what the dot shows.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    phases = parse_phases(options.phases)
    size = max(size for size, _ in phases)
    pixels, labels, classes = _load(images, options.classes, size)
    recipe = recipe_of(options, classes)
    network, log = train(
        recipe,
        pixels,
        labels,
        checkpoint_of(options.out),
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
        if options.shortcut is not None:
            val_pixels, shown = misleading_dots(val_pixels, val_labels, classes)
            metadata["follows_dot"] = top1(network, val_pixels, shown, phases[-1][0])
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
