"""Images read and centred once, for workers that share memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from semrsm_bench.rsm.sources import Floats, ImageSource
from semrsm_bench.rsm.survey import centred


class HeldImages(ImageSource):
    """All images of a source in memory, centred and in the precision of the call: reading them costs nothing.

    Parameters
    ----------
    source : ImageSource
    mean : ndarray or None
        See `common_mean`.
    dtype : dtype
    """

    def __init__(self, source: ImageSource, mean: Floats | None, dtype: np.dtype[Any]) -> None:
        self.name, self.grid, self.dtype = source.name, source.grid, dtype
        self.count, self.size, self.channels = source.count, source.size, source.channels
        self._images = centred(source.read(0, source.count), mean, dtype)
        self._images.flags.writeable = False

    def read(self, start: int, stop: int) -> Floats:
        """Images ``start:stop``, read-only; the same memory every time."""
        return self._images[start:stop]

    def portion(self, start: int, stop: int) -> ImageSource:
        """See `ImageSource.portion`."""
        part = object.__new__(HeldImages)
        part.__dict__.update({**self.__dict__, "_images": self._images[start:stop], "count": stop - start})
        return part

    @property
    def travels_light(self) -> bool:
        """See `ImageSource.travels_light`."""
        return False
