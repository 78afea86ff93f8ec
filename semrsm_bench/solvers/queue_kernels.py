"""The queue of free rows that every auction keeps: a ring of row numbers, first in first out.

``queue`` has one place for each row, ``head`` is where the next row stands and ``waiting`` how many there are. Column
and row sides of the matching, ``column_of`` and ``row_of``, hold -1 where free.
"""

from __future__ import annotations

from typing import Any

from numba import njit

# error_model: kernels divide by numbers they have checked; the Python model would add a branch and an exception path.
COMPILED: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**COMPILED)
def free_rows(column_of: Any, queue: Any) -> int:
    """Put the free rows into the queue, in order of index; returns how many there are."""
    waiting = 0
    for i in range(column_of.shape[0]):
        if column_of[i] < 0:
            queue[waiting] = i
            waiting += 1
    return waiting


@njit(forceinline=True, **COMPILED)
def turn(at: int, size: int) -> int:
    """A place of the ring that is less than one turn too far."""
    return at - size if at >= size else at


@njit(forceinline=True, **COMPILED)
def award(i: int, j: int, column_of: Any, row_of: Any, queue: Any, head: int, waiting: int) -> Any:
    """Give column j to row i, which has left the queue; its owner joins the queue. Returns how many wait then.

    No branch depends on whether there is an owner: nobody could predict it, and a wrong guess costs as much as a bid.
    """
    owner = row_of[j]
    row_of[j] = i
    queue[turn(head + waiting, queue.shape[0])] = owner
    column_of[owner if owner >= 0 else i] = -1
    column_of[i] = j
    return waiting + (owner >= 0)
