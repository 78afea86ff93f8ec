"""What a layer returns, read as activations (N, C, S): which axis is which is proved, said, or an error; never guessed in silence.

Known are the number and the shape of the pictures. Where that leaves a doubt, another pass tells: with one picture fewer, or with
wider ones. What a pass cannot tell, ``layout`` and ``drop_tokens`` do.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semrsm_bench.activations.options import LayerLayout

Grid = tuple[int, int]
Shape = tuple[int, ...]
# Shape of a layer's output in a pass with one picture fewer ("fewer") or with pictures of twice the width ("wider"); None where
# the network refuses them.
Probe = Callable[[str], Shape | None]

_FIRST, _LAST = "channels_first", "channels_last"
_AROUND = "are these windows of one picture? Name the block around it instead"
# Class, distillation and register tokens of networks that are known.
_MOST_SPECIAL_TOKENS = 16


class LayoutError(ValueError):
    """What a layer returns cannot be read as it stands; ``problem`` says why, and which option settles it."""

    def __init__(self, layer: str, returned: object, problem: str) -> None:
        super().__init__(f"layer {layer!r} returns {returned}: {problem}")
        self.returned, self.problem = str(returned), problem


@dataclass(frozen=True)
class Reading:
    """How the output of a layer is read.

    ``axes`` are those of pictures, channels, and positions; of the positions the first ``drop`` are left out. ``shape`` is what
    the layer returned, ``words`` what was concluded.
    """

    axes: Shape
    drop: int
    grid: Grid | None
    shape: Shape
    words: str

    def __call__(self, layer: str, output: torch.Tensor) -> NDArray[np.float32]:
        """Activations (N, C, S) of an output of this kind, with as many pictures or others."""
        batch = self.axes[0]
        if [*output.shape[:batch], *output.shape[batch + 1 :]] != [*self.shape[:batch], *self.shape[batch + 1 :]]:
            raise LayoutError(layer, tuple(output.shape), f"before it returned {self.shape}")
        array = output.permute(self.axes).flatten(2)[:, :, self.drop :]
        return np.ascontiguousarray(array.numpy())


def tensor_in(layer: str, output: Any) -> torch.Tensor:
    """The tensor of an output: itself, the first of a tuple whose others have other shapes, or the last hidden state.

    `LayoutError`: none has three or four axes, or several alike; a warning says what is left out.
    """
    if isinstance(output, torch.Tensor):
        found = [output]
    elif isinstance(output, Mapping):  # of transformers
        known = [output[key] for key in ("last_hidden_state", "feature_map") if key in output]
        found = known or [value for value in output.values() if isinstance(value, torch.Tensor)]
    elif isinstance(output, tuple | list):
        found = [value for value in output if isinstance(value, torch.Tensor)]
    else:
        found = []
    fitting = [value for value in found if value.ndim in (3, 4)]
    if not fitting:
        shown = ", ".join(str(tuple(value.shape)) for value in found) or type(output).__name__
        raise LayoutError(layer, shown, "needed are maps (N, C, H, W) or tokens (N, T, D)")
    first, *others = fitting
    if first.is_complex():
        raise LayoutError(
            layer, f"complex numbers {tuple(first.shape)}", "give their absolute values by a module of yours"
        )
    if any(other.shape == first.shape for other in others):
        advice = "name the submodule that makes the one you want (`semrsm-bench data layers MODEL` lists all)"
        raise LayoutError(layer, f"{len(fitting)} tensors, several of shape {tuple(first.shape)}", advice)
    if others:
        shown = ", ".join(str(tuple(other.shape)) for other in others)
        warnings.warn(f"layer {layer!r}: the first tensor {tuple(first.shape)} is taken, not {shown}", stacklevel=2)
    return first


def read_output(
    layer: str,
    shape: Shape,
    count: int,
    picture: Grid,
    probe: Probe = lambda kind: None,
    layout: LayerLayout = "auto",
    drop_tokens: int | None = None,
) -> Reading:
    """How an output of that shape is read, in a pass of ``count`` pictures of ``picture`` (H, W) pixels.

    ``layout`` is what the user says of all layers. ``drop_tokens`` leading tokens are left out, by default one where that leaves
    a grid of the pictures' shape and all of them would not; none, with a warning, where all make a grid and the others do not.
    `LayoutError`: nothing tells, or the options do not fit.
    """
    if len(shape) == 4:
        return _read_maps(layer, shape, count, picture, probe, layout)
    batch = _batch_axis(layer, shape, count, probe, layout)
    rest = tuple(axis for axis in range(3) if axis != batch)
    said = "" if batch == 0 else f"(T, N, D), since axis 1 of {shape} is that of the {count} pictures; "
    if batch == 0 and _is_flat_maps(layer, shape, picture, probe, layout, drop_tokens):
        return Reading((0, 1, 2), 0, grid_of(shape[2], picture), shape, "flat maps (N, C, S)")
    tokens = shape[rest[0]]
    drop = _tokens_to_drop(layer, tokens, picture, lambda: (probe("wider") or ())[rest[0] : rest[0] + 1], drop_tokens)
    grid = grid_of(tokens - drop, picture)
    words = f"{said or 'tokens (N, T, D), '}{drop or 'none'} left out"
    return Reading((batch, rest[1], rest[0]), drop, grid, shape, words)


def grid_of(count: int, picture: Grid) -> Grid | None:
    """(H, W) of so many positions in the shape of the pictures, None where they make none."""
    height, width = picture
    rows = math.isqrt(count * height // width)
    columns = count // rows if rows else 0
    return (rows, columns) if rows and rows * columns == count and rows * width == columns * height else None


def _read_maps(layer: str, shape: Shape, count: int, picture: Grid, probe: Probe, layout: LayerLayout) -> Reading:
    if shape[0] != count:
        raise LayoutError(layer, shape, f"the first axis is not that of the {count} pictures; {_AROUND}")
    if layout == "sequence_first":
        raise LayoutError(layer, shape, "sequence_first is for (T, N, D)")
    readings = {
        _FIRST: Reading((0, 1, 2, 3), 0, (shape[2], shape[3]), shape, "maps (N, C, H, W)"),
        _LAST: Reading((0, 3, 1, 2), 0, (shape[1], shape[2]), shape, "maps (N, H, W, C)"),
    }
    if layout != "auto":
        return readings[layout]
    fitting = [found for found in readings.values() if found.grid and _similar(found.grid, picture)]
    if len(fitting) != 1:
        wider = probe("wider")
        changed = {axis for axis in (1, 2, 3) if wider and wider[axis] != shape[axis]}
        fitting = [readings[kind] for kind, width in ((_FIRST, 3), (_LAST, 2)) if changed == {width}]
    if len(fitting) != 1:
        advice = "say which with --layout channels_first or channels_last (layout= in Python)"
        raise LayoutError(layer, shape, f"this may be (N, C, H, W) or (N, H, W, C); {advice}")
    return fitting[0]


def _similar(grid: Grid, picture: Grid) -> bool:
    """Whether a grid has the shape of the pictures, up to one row or column of rounding where they are no squares."""
    (rows, columns), (height, width) = grid, picture
    return rows == columns if height == width else abs(rows * width - columns * height) < max(height, width)


def _batch_axis(layer: str, shape: Shape, count: int, probe: Probe, layout: LayerLayout) -> int:
    if layout != "auto":
        axis = int(layout == "sequence_first")
        if shape[axis] != count:
            raise LayoutError(layer, shape, f"for {count} pictures this is not {layout}")
        return axis
    fitting = [axis for axis in (0, 1) if shape[axis] == count]
    if len(fitting) == 2 and count > 1:
        fewer = probe("fewer")
        fitting = [axis for axis in fitting if fewer and fewer[axis] == count - 1]
    if not fitting:
        raise LayoutError(layer, shape, f"no axis is that of the {count} pictures; {_AROUND}")
    return fitting[0]


def _is_flat_maps(
    layer: str, shape: Shape, picture: Grid, probe: Probe, layout: LayerLayout, drop_tokens: int | None
) -> bool:
    """Whether (N, a, b) is (N, C, S) and not (N, T, D)."""
    if layout != "auto" or drop_tokens is not None:  # who counts tokens has tokens
        return layout == _FIRST
    tokens, positions = (grid_of(length, picture) for length in shape[1:])
    special = grid_of(shape[1] - 1, picture)
    if not positions or (special and not tokens and shape[1] > 2):
        return False
    wider = probe("wider")
    if wider and (wider[1] != shape[1]) != (wider[2] != shape[2]):
        return wider[2] != shape[2]
    if tokens:
        text = f"layer {layer!r} returns {shape}, read as tokens (N, T, D)"
        warnings.warn(
            f"{text}; it may be (N, C, S): say so with --layout channels_first (layout= in Python)", stacklevel=2
        )
        return False
    advice = "--layout channels_first (N, C, S) or channels_last (N, T, D), and --drop-tokens"
    problem = f"{shape[1]} tokens make no grid, {shape[2]} positions would; say which with {advice}"
    raise LayoutError(layer, shape, f"{problem} (layout=, drop_tokens= in Python)")


def _tokens_to_drop(layer: str, tokens: int, picture: Grid, wider: Callable[[], Shape], drop: int | None) -> int:
    """How many leading tokens are left out. ``wider``: (tokens,) of a picture twice as wide, () where the network refuses it."""
    if drop is not None:
        if not 0 <= drop < tokens:
            raise LayoutError(layer, f"{tokens} tokens", f"cannot drop {drop} of them")
        if drop and not grid_of(tokens - drop, picture) and grid_of(tokens, picture):
            # A layer before the class token and the registers join the patches.
            text = f"layer {layer!r} returns {tokens} tokens, which make a grid; without the first {drop} they do not"
            warnings.warn(f"{text}: all are kept", stacklevel=2)
            return 0
        return drop
    candidates = [k for k in range(min(_MOST_SPECIAL_TOKENS, tokens)) if grid_of(tokens - k, picture)]
    if tokens == 1:
        return 0
    text, settled = f"layer {layer!r} returns {tokens} tokens", "(drop_tokens= in Python)"
    if candidates[:1] == [1]:
        said = f"--drop-tokens 1 says that this is right, 0 keeps it {settled}"
        warnings.warn(f"{text}; the first is left out, taken for a class token: {said}", stacklevel=2)
        return 1
    if candidates[:1] == [0]:
        # Patches double with the width; class and register tokens do not.
        special = [2 * tokens - count for count in wider()] if len(candidates) > 1 else []
        if special and special[0] in candidates[1:]:
            raise LayoutError(
                layer,
                f"{tokens} tokens",
                f"a picture twice as wide has {special[0]} fewer than twice as many, so these are no patches: "
                f"--drop-tokens {special[0]} leaves them out, --drop-tokens 0 keeps them {settled}",
            )
        return 0
    advice = f"--drop-tokens {candidates[0]} leaves {tokens - candidates[0]}, which do; " if candidates else ""
    problem = "they make no grid of the pictures' shape, with or without a class token (register tokens?)"
    raise LayoutError(
        layer, f"{tokens} tokens", f"{problem}; {advice}--drop-tokens 0 keeps all (drop_tokens= in Python)"
    )
