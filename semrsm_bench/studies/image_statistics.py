"""What a picture is like, without any network: brightness, contrast, colourfulness, edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

STATISTICS = ("brightness", "contrast", "colourfulness", "edge density")
# Change of luma from one pixel to the next, on the scale 0..1, from which a pixel counts as lying on an edge.
EDGE_THRESHOLD = 0.1
_LUMA = (0.299, 0.587, 0.114)


def image_statistics(pixels: NDArray[np.uint8]) -> dict[str, FloatArray]:
    """Four statistics of each picture.

    ``brightness`` and ``contrast``
        Mean and standard deviation of luma (ITU-R BT.601), in [0, 1] and [0, 0.5].
    ``colourfulness``
        sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2) with rg = R - G, yb = (R + G)/2 - B on the scale 0..255
        (Hasler and Suesstrunk 2003); 0 for grey pictures.
    ``edge density``
        Share of pixels at which the length of the Sobel gradient of luma, per pixel, exceeds `EDGE_THRESHOLD`; in [0, 1].

    Parameters
    ----------
    pixels : ndarray, (N, H, W, 3), uint8

    Returns
    -------
    dict of ndarray, (N,), float64
        In the order of `STATISTICS`.

    Raises
    ------
    ValueError
        Pixels of another shape or type, or none.
    """
    from scipy.ndimage import sobel

    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"pixels must be (N, H, W, 3) uint8 with N, H, W >= 1, got {pixels.shape} {pixels.dtype}")
    result = {name: np.empty(len(pixels)) for name in STATISTICS}
    for i, picture in enumerate(pixels):
        red, green, blue = (picture[:, :, c].astype(np.float64) for c in range(3))
        luma = (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue) / 255
        result["brightness"][i] = luma.mean()
        result["contrast"][i] = luma.std()
        rg, yb = red - green, (red + green) / 2 - blue
        result["colourfulness"][i] = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
        # Sobel's weights add up to 4 over a distance of 2 pixels.
        gradient = np.hypot(sobel(luma, axis=0), sobel(luma, axis=1)) / 8
        result["edge density"][i] = np.mean(gradient > EDGE_THRESHOLD)
    return result
