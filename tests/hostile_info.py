"""What a solver may say of its own work, and should not."""

import math

import numpy as np


class Unspeakable:
    """What cannot be turned into text."""

    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


def nested(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


INFO = {
    "huge": lambda: {"d": 10**5000},
    "long": lambda: {"a": "x" * 10_000_000, "y" * 10_000_000: 1},
    "many": lambda: {str(i): "x" * 1000 for i in range(10_000)},
    "nan": lambda: {"nan": math.nan, "inf": -math.inf, "none": None, "np": np.float32("nan")},
    "mute": lambda: {"a": Unspeakable(), Unspeakable(): 2},
    "deep": lambda: {"a": nested(100), "b": nested(100_000)},
    "keys": lambda: {1: 1, None: 2, (1, 2): 3, b"x": 4, 1.5: 6},
    "arrays": lambda: {"a": np.zeros(10**6), "b": np.int64(3), "c": np.bool_(True), "d": object()},
    "surrogate": lambda: {"a": "\ud800", "b": "\x00\n\u2028"},
    "none": lambda: None,
    "text": lambda: "not a mapping",
    "endless": lambda: Endless(),
}


class Endless(dict):
    """A mapping whose items raise."""

    def items(self):
        raise RuntimeError("no items")

    keys = __iter__ = items
