"""The compiled parts of the solvers: numba functions on arrays, written once for float32 and float64.

From the bottom up: `vectors` (short vectors of floats), `amx` (inner products on a tile unit), `rows` (passes over rows of the
affinity), `lists` (candidate lists), `scale` (starting prices and the unit of ``eps``), `bidding` (auctions), `exact` (the
exact finish), `classes` (both of them between classes of equal vectors), `batches` (whole solves in one call). Kernels release
the GIL, do a bounded amount of work and check nothing.

numba keeps compiled code in ``__pycache__`` and looks only at a function's own file: after changing a kernel that others
call, delete that folder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
# Parts of vectors as a tile unit reads them.
Words = NDArray[np.uint16]
# One number, in the precision of the arrays it is used with.
Scalar = np.floating[Any]
# A row or a column.
Index = int | np.int64

# error_model: kernels divide by numbers they have checked; the Python model would add a branch and an exception path.
COMPILED: dict[str, Any] = {"error_model": "numpy"}


def read_only(*arrays: Floats) -> tuple[Floats, ...]:
    """Views that cannot be written to: for arrays that are writeable a kernel would be compiled once more."""
    views = tuple(array.view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views
