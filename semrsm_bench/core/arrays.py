"""Arrays as users give them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_numpy(value: Any, name: str) -> NDArray[Any]:
    """NumPy array of an array, nested lists, or a torch tensor on any device, with or without gradient.

    Nothing is copied that NumPy can use as it is; a memory-mapped array stays one; bfloat16, which NumPy lacks, becomes
    float32. torch is never imported. ValueError: masked entries, or lists that are no rectangle, in ``name``.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    if np.ma.isMaskedArray(value) and np.ma.getmaskarray(value).any():
        raise ValueError(f"{name} has masked entries; leave those images out on all sides first")
    try:
        return np.asanyarray(value) if isinstance(value, np.memmap) else np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None
