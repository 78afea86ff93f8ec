"""Random changes of the pictures of a batch during training: moved and mirrored, and more where that is asked for."""

from __future__ import annotations

import torch
from torch.nn import functional

_SMALLEST_CROP = 0.5  # side of the smallest part that is cut out, of the picture's
_COLOUR = 0.4  # brightness, contrast and saturation are multiplied by 1 - _COLOUR .. 1 + _COLOUR
_GREY = 0.2  # share of the pictures that lose their colour
_NOISE = 0.05  # largest deviation of the noise, of the range 0..255


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


def distort(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Cut a random square out of each image, change its brightness, contrast and saturation, grey some, add noise.

    (N, H, W, 3) uint8 both; the part that was cut out is scaled back to the whole.
    """
    n = len(pixels)

    def between(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand((n, 1, 1, 1), generator=generator)

    x = pixels.permute(0, 3, 1, 2).float() / 255
    side = between(_SMALLEST_CROP, 1)
    # In coordinates that run from -1 to 1 the middle of the part may move by what the part leaves free.
    across, down = ((1 - side) * between(-1, 1) for _ in range(2))
    zero = torch.zeros_like(side)
    theta = torch.cat([torch.cat([side, zero, across], dim=2), torch.cat([zero, side, down], dim=2)], dim=1)
    grid = functional.affine_grid(theta[..., 0], list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    x = x * between(1 - _COLOUR, 1 + _COLOUR)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * between(1 - _COLOUR, 1 + _COLOUR)
    grey = x.mean(dim=1, keepdim=True)
    saturation = between(1 - _COLOUR, 1 + _COLOUR) * (between(0, 1) >= _GREY)
    x = grey + (x - grey) * saturation
    x = x + between(0, _NOISE) * torch.randn(x.shape, generator=generator)
    return (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
