"""The order of the axes of activations: said by the user, or assumed, with a warning where the shape speaks against it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.core.options import option

Layout = Literal["channels_first", "channels_last"]
Grid = tuple[int, int]

# Sides of the grids of patches of published vision transformers.
_SIDES = (7, 12, 14, 16, 18, 20, 24, 27, 28, 30, 32, 37, 40, 48, 64)
# Tokens in front of the patches: class, distillation, registers.
_PREFIXES = (1, 2, 4, 5)
# Tokens that are looked for in the first axis: other numbers are more often those of images.
_FIRST_AXIS = frozenset(side**2 + k for side in (7, 12, 14, 16) for k in (1, 2, 5))


class LayoutWarning(UserWarning):
    """Activations were read under an assumption that their shape speaks against; the text names the argument that settles it."""


@dataclass(frozen=True)
class LayoutOptions:
    """How arrays that are no cache are laid out; None: not said."""

    layout: Layout | None = option(None, help="Axes of arrays that are no cache. Default: channels_first.")
    drop_tokens: int | None = option(
        None, help="Tokens to leave out in front of (N, T, D): class token, registers. Default: 0.", minimum=0
    )

    @property
    def layouts(self) -> dict[str, Any]:
        """Both, as keywords."""
        return {"layout": self.layout, "drop_tokens": self.drop_tokens}


@dataclass(frozen=True)
class Arrangement:
    """N images of S positions with C channels in an array of 3 or 4 axes; ``drop`` tokens in front are left out.

    ``grid`` is (H, W) where the array has axes for it.
    """

    layout: Layout
    drop: int
    count: int
    channels: int
    size: int
    grid: Grid | None

    @classmethod
    def of(cls, shape: Sequence[int], name: str, layout: Layout = "channels_first", drop: int = 0) -> Arrangement:
        """Arrangement of an array of that shape; ValueError, with its ``name``: it holds no images so laid out."""
        shape = tuple(int(length) for length in shape)
        if len(shape) not in (3, 4):
            what = "; features (N, P) have no positions to match" if len(shape) == 2 else ""
            raise ValueError(f"{name} has shape {shape}; needed are (N, C, H, W), (N, C, S), or tokens (N, T, D){what}")
        if drop and (layout != "channels_last" or len(shape) != 3):
            said = f'drop_tokens={drop} (class_token="drop" is 1)'
            raise ValueError(f'{said} is for tokens (N, T, D) with layout="channels_last"; {name} is {shape}')
        spatial = shape[2:] if layout == "channels_first" else shape[1:-1]
        channels = shape[1] if layout == "channels_first" else shape[-1]
        size = math.prod(spatial) - drop
        if min(shape[0], channels) == 0 or size <= 0:
            what = f" and drop_tokens={drop} leaves no token" if drop else ""
            raise ValueError(f"{name} is empty: its shape is {shape}{what}")
        grid = (spatial[0], spatial[1]) if len(spatial) == 2 else None
        return cls(layout, drop, shape[0], channels, size, grid)

    def positions(self, part: NDArray[Any]) -> NDArray[Any]:
        """Some images as (n, S, C), a view where the array allows it."""
        if self.layout == "channels_first":
            return self.planes(part).swapaxes(1, 2)
        return part.reshape(len(part), -1, self.channels)[:, self.drop :]

    def planes(self, part: NDArray[Any]) -> NDArray[Any]:
        """Some images as (n, C, S), a view where the array allows it."""
        if self.layout == "channels_first":
            return part.reshape(len(part), self.channels, self.size)
        return self.positions(part).swapaxes(1, 2)


def arrange(
    array: NDArray[Any],
    name: str,
    layout: Layout | None,
    drop: int | None,
    grid: Grid | None = None,
    class_token: str | None = None,
) -> Arrangement:
    """Arrangement of a user's array; None is what was not said, and warns (`LayoutWarning`) where it looks wrong.

    ``class_token``, an older name: "drop" for one token, "keep" for none. Errors as `Arrangement.of`.
    """
    if class_token is not None and drop is not None:
        raise ValueError("class_token and drop_tokens say the same thing: give drop_tokens alone")
    left_out = int(class_token == "drop") if drop is None else drop
    found = Arrangement.of(array.shape, name, layout or "channels_first", left_out)
    texts = []
    if layout is None and grid is None:
        texts.append(_doubt(array))
    if drop is None and class_token != "keep" and grid is None:
        texts.append(_tokens_that_stay(array.shape, found))
    for text in filter(None, texts):
        warnings.warn(f"{name} of shape {array.shape} {text}", LayoutWarning, stacklevel=4)
    return found


def _doubt(array: NDArray[Any]) -> str:
    """What speaks against channels first, where nothing was said; "" for nothing."""
    n, a, b, *rest = array.shape
    if rest:
        (c,) = rest
        colours = c <= 4 < a and b >= 8 * c
        deep = c >= 16 * max(a, b) and max(a, b) <= 4 * min(a, b)
        same = a == b and ((a >= 7 and b != c) or c >= max(16, 4 * b))
        if not (same or colours or deep):
            return ""
        read = f"was read as {a} channels on a grid of {b} x {c}"
        return f'{read}, but looks like (N, H, W, C): say layout="channels_last", or layout="channels_first" if it is right'
    read = f"was read as {n} images of {a} channels at {b} positions"
    right = 'or layout="channels_first" if it is right'
    if a == b >= 8 and (not _square(a) or _is_symmetric(array[0])):
        what = "like a stack of square matrices, such as costs or similarities"
        return (
            f"{read}, but looks {what}: for these there is MatchingProblem.from_affinity; {right.removeprefix('or ')}"
        )
    if (patches := _patches(a, b)) or (_square(a) and a >= 49 and b >= 64 and not _square(b) and b % 64 == 0):
        what = f"like {patches or _in_words(a, 0)} as tokens (N, T, D)"
        return f'{read}, but looks {what}: say layout="channels_last", {right}'
    if n in _FIRST_AXIS and (patches := _known(n)) and b % 64 == 0 and (not _square(b) or _known(n, 12)):
        what = f"like {patches} in the first axis, as tokens (T, N, D)"
        return f'{read}, but looks {what}: give z.transpose(1, 0, 2) with layout="channels_last", {right}'
    return ""


def _patches(tokens: int, channels: int) -> str:
    """The words for tokens that are a grid of patches and some in front of them; "" where these are no such tokens."""
    if channels >= 32 and not _square(channels):
        return _in_words(tokens, 1) if tokens > 16 and _square(tokens - 1) else _known(tokens)
    # Published widths that are square numbers: 256, 576, 1024.
    return _known(tokens, 12) if channels % 64 == 0 and _prefix(tokens) != 4 else ""


def _tokens_that_stay(shape: Sequence[int], found: Arrangement) -> str:
    """What speaks against matching all tokens that are left, where nothing was said; "" for nothing."""
    if found.layout != "channels_last" or len(shape) != 3 or _square(found.size):
        return ""
    patches = _in_words(found.size, 1) if found.size > 16 and _square(found.size - 1) else _known(found.size)
    if not patches:
        return ""
    more = found.size - math.isqrt(found.size) ** 2
    kept = (
        "which is matched as a position like the others"
        if more == 1
        else "which are matched as positions like the others"
    )
    return f"has {patches}, {kept}: say drop_tokens={found.drop + more}, or drop_tokens={found.drop} if it is right"


def _prefix(tokens: int) -> int:
    """How many tokens are in front of a grid of patches of a published size; 0 for none."""
    return next((k for k in _PREFIXES if math.isqrt(max(0, tokens - k)) in _SIDES and _square(tokens - k)), 0)


def _known(tokens: int, smallest: int = 7) -> str:
    prefix = _prefix(tokens)
    return _in_words(tokens, prefix) if prefix and math.isqrt(tokens - prefix) >= smallest else ""


def _in_words(tokens: int, prefix: int) -> str:
    side = math.isqrt(tokens - prefix)
    return f"{side} x {side} patches" + (f" and {prefix} more" if prefix else "")


def square_grid(size: int) -> Grid | None:
    """(H, W) of so many positions on a square, None where they make none."""
    side = math.isqrt(size)
    return (side, side) if side * side == size else None


def _square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number


def _is_symmetric(matrix: NDArray[Any]) -> bool:
    """Whether a matrix equals its transpose, other than one of equal entries."""
    matrix = np.asarray(matrix)
    return bool(np.allclose(matrix, matrix.T, rtol=1e-5, atol=0)) and not bool((matrix == matrix[0, 0]).all())
