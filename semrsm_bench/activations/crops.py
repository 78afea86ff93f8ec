"""Overlapping crops of pictures, and batches of pictures that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class Shift:
    """How far the second crop lies below and to the right of the first, in pixels."""

    down: int
    right: int

    def __post_init__(self) -> None:
        if self.down < 0 or self.right < 0 or self.down + self.right == 0:
            raise ValueError(f"a shift goes down, to the right or both, got {self.down},{self.right}")

    def __str__(self) -> str:
        return f"{self.down},{self.right}"

    @classmethod
    def usual(cls, size: int) -> Shift:
        """Down by 5/16 of the crop's side: the paper's 20 of 64 pixels."""
        return cls(max(1, round(5 * size / 16)), 0)

    def shared(self, size: int) -> tuple[int, int]:
        """Height and width of the part that two crops of that side share; ValueError where they share nothing."""
        if max(self.down, self.right) >= size:
            raise ValueError(f"crops of {size} pixels with a shift of {self} pixels do not overlap")
        return size - self.down, size - self.right


def scene_side(size: int, shifts: Sequence[Shift]) -> int:
    """Side of the pictures that crops of that side are cut from, enough for every shift; ValueError as `Shift.shared`."""
    if not shifts:
        raise ValueError("give at least one shift")
    for shift in shifts:
        shift.shared(size)
    return size + max(max(shift.down, shift.right) for shift in shifts)


def overlapping_crops(scenes: NDArray[np.uint8], size: int, shift: Shift) -> NDArray[np.uint8]:
    """The upper left crops of all pictures (N, H, W, 3), then the shifted ones: (2 N, size, size, 3)."""
    if scenes.ndim != 4 or scenes.shape[1] < size + shift.down or scenes.shape[2] < size + shift.right:
        raise ValueError(f"pictures of shape {scenes.shape} hold no crops of {size} pixels that are shifted by {shift}")
    first = scenes[:, :size, :size]
    second = scenes[:, shift.down : shift.down + size, shift.right : shift.right + size]
    return np.concatenate([first, second])


def batches(labels: NDArray[np.int64], size: int, seed: int = 0) -> list[NDArray[np.intp]]:
    """Pictures in batches of equal size, in seeded order, with as few of one label together as a single pass achieves.

    ``labels`` (N,) are classes or photographs; -1 stands for an unknown one, which is like no other.

    Raises
    ------
    ValueError
        Fewer than two pictures a batch, or N is no multiple of ``size``.
    """
    if size < 2:
        raise ValueError(f"a batch needs at least two pictures, got {size}")
    if not len(labels) or len(labels) % size:
        lower = len(labels) // size * size
        near = f"{lower} or {lower + size}" if lower else str(size)
        raise ValueError(f"{len(labels)} pictures do not make batches of {size}; take {near}, or another --batch")
    found: list[list[int]] = [[] for _ in range(len(labels) // size)]
    for picture in np.random.default_rng(seed).permutation(len(labels)).tolist():

        def crowding(batch: list[int], label: int = labels[picture]) -> tuple[int, int]:
            return 0 if label < 0 else int((labels[batch] == label).sum()), len(batch)

        # The emptiest among the batches with the fewest of this label: filling one after the other would leave equals for the last.
        min((batch for batch in found if len(batch) < size), key=crowding).append(picture)
    return [np.array(batch, dtype=np.intp) for batch in found]
