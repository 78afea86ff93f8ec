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


def scene_side(size: int, shifts: Sequence[Shift]) -> int:
    """Side of the pictures that crops of that side are cut from, enough for every shift; the crops must overlap."""
    furthest = max(max(shift.down, shift.right) for shift in shifts)
    if furthest >= size:
        raise ValueError(f"crops of {size} pixels with a shift of {furthest} pixels do not overlap")
    return size + furthest


def overlapping_crops(scenes: NDArray[np.uint8], size: int, shift: Shift) -> NDArray[np.uint8]:
    """The upper left crops of all pictures (N, H, W, 3), then the shifted ones: (2 N, size, size, 3)."""
    first = scenes[:, :size, :size]
    second = scenes[:, shift.down : shift.down + size, shift.right : shift.right + size]
    return np.concatenate([first, second])


def batches(labels: NDArray[np.int64], size: int, seed: int = 0) -> list[NDArray[np.intp]]:
    """Pictures in batches of equal size, in seeded order, with as few of one label together as a single pass achieves.

    ``labels`` (N,) are classes or photographs; -1 stands for an unknown one, which is like no other.
    """
    if len(labels) % size:
        raise ValueError(f"{len(labels)} pictures do not make batches of {size}; take a multiple, or another --batch")
    found: list[list[int]] = [[] for _ in range(len(labels) // size)]
    for picture in np.random.default_rng(seed).permutation(len(labels)).tolist():

        def crowding(batch: list[int], label: int = labels[picture]) -> tuple[int, int]:
            return 0 if label < 0 else int((labels[batch] == label).sum()), len(batch)

        # The emptiest among the batches with the fewest of this label: filling one after the other would leave equals for the last.
        min((batch for batch in found if len(batch) < size), key=crowding).append(picture)
    return [np.array(batch, dtype=np.intp) for batch in found]
