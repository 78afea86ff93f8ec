"""Cells in words and in order: which of their keys tell them apart, and how they are named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Place = Mapping[str, Any]

# Words whose usual order is not that of the alphabet.
_WORDS = ("none", "channel", "position", "linear", "cosine", "rbf")


def rank(value: Any) -> list[tuple[int, int, str]]:
    """Sort key of a value of a cell: known words in their order, numbers inside texts by size."""
    text = str(value)
    if text in _WORDS:
        return [(0, _WORDS.index(text), "")]
    return [(1, int(part), "") if part.isdigit() else (2, 0, part) for part in re.split(r"(\d+)", text) if part]


def axes(places: Sequence[Place], keys: Sequence[str]) -> list[tuple[str, ...]]:
    """Keys in which cells differ, in groups: each begins with a key that splits cells, the rest follow from it.

    ``size`` and ``channels`` follow from ``layer`` where every layer has one size, and then they are one axis.
    """
    found: list[list[str]] = [[]]
    counts = [1]  # how many cells the axes so far tell apart
    firsts: list[str] = []
    for key in keys:
        here = len({tuple(str(p.get(k, "")) for k in (*firsts, key)) for p in places})
        if here > counts[-1]:
            found.append([key])
            firsts.append(key)
            counts.append(here)
            continue
        # The fewest axes that the key follows from.
        fewest = next(
            n
            for n in range(len(firsts) + 1)
            if len({tuple(str(p.get(k, "")) for k in (*firsts[:n], key)) for p in places}) == counts[n]
        )
        found[fewest].append(key)
    return [tuple(axis) for axis in found[1:]]


def label(keys: Sequence[str], place: Place) -> str:
    """A cell in words: ``S = 256, C = 256 (resnet18 layer3), centring none``; only these keys."""
    sizes = [
        f"{sign} = {place[key]}" for key, sign in (("size", "S"), ("channels", "C")) if key in keys and place.get(key)
    ]
    source = " ".join(str(place[key]) for key in ("model", "layer") if key in keys and place.get(key))
    others = [
        f"{key.replace('_', ' ')} {place[key]}"
        for key in keys
        if key not in ("size", "channels", "model", "layer") and place.get(key) not in ("", None)
    ]
    parts = [", ".join(sizes) + (f" ({source})" if source else "")] if sizes else [source] if source else []
    return ", ".join([*parts, *others])
