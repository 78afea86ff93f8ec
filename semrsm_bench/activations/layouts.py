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

# Tokens in front of a square of patches: class, distillation, registers; and the least side of the square. Fewer patches with as
# many tokens are more often something else.
_IN_FRONT = {1: 4, 5: 4, 2: 7, 4: 7, 0: 7}


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
            raise ValueError(
                f'drop_tokens={drop} is for tokens (N, T, D) with layout="channels_last"; {name} is {shape}'
            )
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
    array: NDArray[Any], name: str, layout: Layout | None, drop: int | None, grid: Grid | None = None
) -> Arrangement:
    """Arrangement of a user's array; None is what was not said, and warns (`LayoutWarning`) where it looks wrong.

    Errors as `Arrangement.of`.
    """
    found = Arrangement.of(array.shape, name, layout or "channels_first", drop or 0)
    texts = []
    if layout is None and grid is None:
        texts.append(_doubt(array))
    if drop is None and grid is None:
        texts.append(_tokens_that_stay(array.shape, found))
    for text in filter(None, texts):
        warnings.warn(f"{name} of shape {array.shape} {text}", LayoutWarning, stacklevel=4)
    return found


def _doubt(array: NDArray[Any]) -> str:
    """What speaks against channels first, where nothing was said; "" for nothing."""
    n, a, b, *rest = array.shape
    right = 'or layout="channels_first" if it is right'
    if rest:
        (c,) = rest
        read = f"was read as {a} channels on a grid of {b} x {c}"
        if not _looks_channels_last(a, b, c):
            return ""
        return f'{read}, but looks like (N, H, W, C): say layout="channels_last", {right}'
    read = f"was read as {n} images of {a} channels at {b} positions"
    if a == b >= 8 and (not _square(a) or _is_symmetric(array[0])):
        what = "like a stack of square matrices, such as costs or similarities"
        return (
            f"{read}, but looks {what}: for these there is MatchingProblem.from_affinity; {right.removeprefix('or ')}"
        )
    ways = []
    if a != b and (_look_like_tokens(a, b) or _are_either(a, b)):
        ways.append((f"{_in_words(a)} as tokens (N, T, D)", 'say layout="channels_last"'))
    if _are_tokens_first(n, b):
        what = f"{_in_words(n)} in the first axis, as tokens (T, N, D)"
        ways.append((what, 'give z.transpose(1, 0, 2) with layout="channels_last"'))
    if not ways:
        return ""
    looks = "may as well be" if len(ways) > 1 or _are_either(a, b) else "looks like"
    what, way = (" or ".join(words) for words in zip(*ways))
    return f"{read}, but {looks} {what}: {way}, {right}"


def _looks_channels_last(a: int, b: int, c: int) -> bool:
    """Whether (N, a, b, c) is more likely (N, H, W, C): its grid is nearer to a square, or a is no number of channels."""
    if c <= 4 < a and b >= 8 * c:  # colours
        return True
    if a == b >= 7:
        # 64 channels of 64 x 48, a photograph's sides, are as likely.
        return b != c and not (_are_channels(a) and c in (3 * b / 4, 2 * b / 3))
    if b == c or c % 8:
        return False
    first, last = (max(sides) / min(sides) for sides in ((b, c), (a, b)))
    return (last <= 4 and first >= 2 * last) or (last <= 2 and not _are_channels(a))


def _look_like_tokens(tokens: int, width: int) -> bool:
    """Whether (N, tokens, width) is more likely (N, T, D) than (N, C, S), whose positions are mostly a square."""
    front = _front(tokens)
    if front is None or width < 8:
        return False
    if _square(width):
        # Widths of networks that are squares: 256, 576, 1024. 50 tokens are 7 x 7 and a class token; 200 are rather channels.
        return width % 8 == 0 and (not _are_channels(tokens) or (front in (1, 5) and width >= 256 and width % 64 == 0))
    if front == 0 and _are_channels(tokens):
        return width % 64 == 0 and width <= 16 * tokens
    return width % 8 == 0 or not _are_channels(tokens)


def _are_either(tokens: int, width: int) -> bool:
    """Whether (N, tokens, width) are channels at a square of positions as likely as a large square of wide tokens."""
    return 256 <= tokens < width <= 1024 and width % 64 == 0 and _square(tokens) and _square(width)


def _are_tokens_first(count: int, width: int) -> bool:
    """Whether the first axis of (count, a, width) is more likely tokens than images.

    Images may be of any number, but positions are mostly a square, and no widths of networks.
    """
    front = _front(count)
    if front is None or not _look_like_tokens(count, width):
        return False
    if _square(width):
        return front in (1, 2, 5) and width >= 256 and width % 64 == 0 and math.isqrt(count) in (12, 14, 16)
    # Also without tokens in front where channels are few.
    return width <= 2048 and (front in (1, 2, 5) or width % 64 == 0)


def _are_channels(number: int) -> bool:
    """Whether networks have so many channels: multiples of 8, the first few, and round ones of small networks."""
    return number <= 4 or (number % 8 == 0 and number <= 2048) or (number % 10 == 0 and number <= 100)


def _front(tokens: int) -> int | None:
    """How many tokens are in front of a square of patches, None where it is none."""
    fitting = (k for k, side in _IN_FRONT.items() if tokens - k >= side**2 and _square(tokens - k))
    front = next(fitting, None)
    # 30 tokens are rather 5 x 6 patches than 5 x 5 and 5 more.
    short = next((side for side in range(math.isqrt(tokens), 0, -1) if tokens % side == 0), 1)
    return None if front and 2 * tokens < 3 * short * short else front


def _tokens_that_stay(shape: Sequence[int], found: Arrangement) -> str:
    """What speaks against matching all tokens that are left, where nothing was said; "" for nothing."""
    if found.layout != "channels_last" or len(shape) != 3 or not (more := _front(found.size)):
        return ""
    kept = (
        "which is matched as a position like the others"
        if more == 1
        else "which are matched as positions like the others"
    )
    return f"has {_in_words(found.size)}, {kept}: say drop_tokens={found.drop + more}, or drop_tokens={found.drop} if it is right"


def _in_words(tokens: int) -> str:
    front = _front(tokens) or 0
    side = math.isqrt(tokens - front)
    return f"{side} x {side} patches" + (f" and {front} more" if front else "")


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
