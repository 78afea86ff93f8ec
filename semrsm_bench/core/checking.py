"""What the cases of ``semrsm-bench check`` of all kinds of methods share."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class CheckFailedError(AssertionError):
    """A method does not do what every method of its kind must."""


def require(condition: bool, message: str) -> None:
    """Raise CheckFailedError with the message unless the condition holds."""
    if not condition:
        raise CheckFailedError(message)


def describe(error: Exception) -> str:
    """An error and the line it was raised at."""
    place = "".join(f" ({f.filename}:{f.lineno})" for f in traceback.extract_tb(error.__traceback__)[-1:])
    return f"raised {type(error).__name__}: {error}{place}"


def without_global_randomness(answer: Callable[[], T], same: Callable[[T, T], bool]) -> None:
    """Fail where an answer moves the process-wide random generators, or depends on them."""
    answers = []
    for seed in (1, 1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the legacy generator is what this is about
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr, index]  # noqa: NPY002
        answers.append(answer())
        after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr, index]  # noqa: NPY002
        require(before == after, "it draws from the process-wide random generator; take a seed instead")
    if same(answers[0], answers[1]):
        require(same(answers[0], answers[2]), "the answer depends on the process-wide random generator")
