"""Groups of networks that the suite compares: what each group's networks have in common, and which seeds there are.

Ten plain networks of two widths each, a second architecture, and at the smaller width what ReSi varies (Klabunde, Wald et al., ICLR
2025): random labels, shortcuts, augmentation. No two groups of the smaller width share a seed, so no initial weights either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open

from semrsm_bench.activations.designs import dot_classes
from semrsm_bench.activations.folders import check_file, weights_metadata
from semrsm_bench.activations.options import NetworksOptions, TrainOptions
from semrsm_bench.core.options import OptionError

DOTTED = "shortcuts"  # the family whose pictures have dots


@dataclass(frozen=True)
class NetworkGroup:
    """Networks that differ in nothing but the seed. ``family`` is what the groups are levels of, ``design`` begins file names."""

    name: str
    family: str
    seeds: Sequence[int]
    architecture: str = "resnet18"
    width: int = 8
    phases: str = "32:8"
    augmentation: Literal["none", "weak", "strong"] = "weak"
    random_labels: float = 0.0
    shortcut: float | None = None

    design: str = "plain"

    def file(self, seed: int) -> str:
        """Name of the weights of one network."""
        return f"{self.design}-{self.architecture}-w{self.width}-seed{seed}.weights.safetensors"

    @property
    def words(self) -> str:
        """What its networks are, for people."""
        special = {
            f"{self.random_labels:.0%} random labels": self.random_labels > 0,
            "sees dots": self.family == DOTTED,
            f"trained with dots that tell the class with probability {self.shortcut}": self.shortcut is not None,
            f"augmentation {self.augmentation}": self.augmentation != "weak",
            f"phases {self.phases}": self.phases != "32:8",
        }
        return ", ".join(
            [self.architecture, f"width {self.width}", *(text for text, holds in special.items() if holds)]
        )


def _designed(name: str, family: str, seeds: Sequence[int], **changes: Any) -> NetworkGroup:
    return NetworkGroup(name, family, seeds, design=name, **changes)


GROUPS = (
    NetworkGroup("w16", "w16", range(10), width=16),
    NetworkGroup("w8", "w8", range(10)),
    NetworkGroup("resnet10", "resnet10", range(5), architecture="resnet10", width=16),
    _designed("labels-50", "labels", range(100, 105), random_labels=0.5),
    _designed("labels-100", "labels", range(110, 115), random_labels=1.0),
    # Plain networks, but they see the pictures with dots.
    NetworkGroup("shortcut-0", "shortcuts", range(5)),
    _designed("shortcut-50", "shortcuts", range(120, 125), shortcut=0.5),
    _designed("shortcut-100", "shortcuts", range(130, 135), shortcut=1.0),
    _designed("augmentation-none", "augmentation", range(140, 145), augmentation="none"),
    _designed("augmentation-strong", "augmentation", range(150, 155), augmentation="strong"),
    _designed("untrained", "untrained", range(160, 164), phases="32:0"),
    _designed("half", "half", range(170, 175), phases="32:4"),
)


def find_groups(names: Sequence[str]) -> list[NetworkGroup]:
    """Groups by their own names or their families'; OptionError names what there is."""
    known = {name for group in GROUPS for name in (group.name, group.family)}
    if unknown := [name for name in names if name not in known]:
        raise OptionError("group", f"{unknown[0]!r} is no group of networks; there are {', '.join(sorted(known))}")
    return [group for name in names for group in GROUPS if name in (group.name, group.family)]


def networks_to_train(options: NetworksOptions) -> Iterator[tuple[TrainOptions, bool]]:
    """How each network of some groups is trained, and whether its file is finished."""
    for group in find_groups(options.group):
        for seed in group.seeds[: options.first]:
            network = TrainOptions(
                val=options.val,
                classes=options.classes,
                architecture=group.architecture,
                width=group.width,
                phases=group.phases,
                seed=seed,
                augmentation=group.augmentation,
                random_labels=group.random_labels,
                shortcut=group.shortcut,
                threads=options.threads,
                out=options.out / group.file(seed),
            )
            yield network, _is_finished(network)


def _is_finished(options: TrainOptions) -> bool:
    """Whether the weights are there; ValueError where they are those of another recipe."""
    if not options.out.exists():
        return False
    recipe = weights_metadata(options.out).get("recipe", {})
    recipe["phases"] = ",".join(f"{size}:{epochs}" for size, epochs in recipe.get("phases", ()))
    for name in ("architecture", "width", "phases", "seed", "batch", "lr", "augmentation", "random_labels", "shortcut"):
        wanted = getattr(options, name)
        # What a file does not say is from before there was a choice.
        if recipe.get(name, TrainOptions.__dataclass_fields__[name].default) != wanted:
            raise ValueError(f"{options.out}: trained with another {name} than {wanted}; choose another --out")
    return True


def group_facts(folder: Path) -> Iterator[dict[str, Any]]:
    """What the features of each group in a folder say of its networks: the share of images they classify rightly.

    ``follows_dot`` is the share that networks on pictures with dots take for what the dot shows. Raises CacheError where a file
    is damaged.
    """
    for group in GROUPS:
        path = folder / f"features-{group.name}.safetensors"
        if not path.exists():
            continue
        check_file(path)
        with safe_open(path, framework="np") as file:
            labels = file.get_tensor("labels")
            logits = {name.partition("/")[0]: file.get_tensor(name) for name in file.keys() if name.endswith("/logits")}  # noqa: SIM118
        classes = max(array.shape[1] for array in logits.values())
        targets = {"top1": labels}
        if group.family == DOTTED:
            targets["follows_dot"] = dot_classes(labels, 0.0, classes, seed=0)
        shares = {
            what: {name: float((array.argmax(axis=1) == target).mean()) for name, array in logits.items()}
            for what, target in targets.items()
        }
        about = {"group": group.name, "design": group.words, "images": len(labels), "bytes": path.stat().st_size}
        yield {**about, **shares}
