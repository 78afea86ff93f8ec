"""What can be done to representations: the vocabulary in which metrics say what does not change them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from semrsm_bench.core.method import words

INVARIANCES: dict[str, dict[str, str]] = {
    "features": {
        "translation": "one vector added to all stimuli",
        "isotropic_scaling": "all entries times one positive number",
        "unit_permutation": "units in another order",
        "orthogonal": "units rotated or reflected",
        "unit_scaling": "every unit times a positive number of its own",
        "invertible_linear": "units mapped by any invertible matrix",
        "row_scaling": "every stimulus times a positive number of its own",
        "zero_units": "units that are always 0 appended",
        "repeated_unit": "a copy of one unit appended",
    },
    "rsm": {
        "positive_scaling": "all entries times one positive number",
        "constant": "one number added to all entries",
        "row_and_column": "u 1' + 1 u' added",
        "monotone": "all entries through one strictly increasing function",
        "diagonal": "another diagonal",
    },
    "probabilities": {
        "class_order": "classes in another order",
        "unused_class": "a class of probability 0 appended",
        "temperature": "softmax taken at another temperature",
    },
    "counts": {
        "class_order": "classes in another order",
        "count_scaling": "all counts times one positive number",
        "membership": "any other counts above 0 where there were some",
    },
    "aligned": {
        "orthogonal": "all models rotated or reflected alike",
        "isotropic_scaling": "all models times one positive number",
        "translation": "one vector added to all stimuli of all models",
        "row_scaling": "every stimulus of every model times a positive number of its own",
        "model_order": "models in another order",
    },
}
"""What can be done to one input of each kind. A metric that does not name one of these is changed by it.

Beside these, every metric but a baseline is indifferent to one reordering of the stimuli in all its inputs (those that give a
value per stimulus reorder it), and changed by a reordering in one input alone.
"""

ROTATIONS = ("unit_permutation", "orthogonal", "zero_units")
SHAPES = (*ROTATIONS, "translation")
FORMS = (*SHAPES, "isotropic_scaling")
SUBSPACES = (*FORMS, "unit_scaling", "invertible_linear", "repeated_unit")
CENTRED = ("constant", "row_and_column")
RANKS = ("positive_scaling", "constant", "monotone", "diagonal")


def known(names: str | Iterable[str], kind: str) -> tuple[str, ...]:
    """The names, if they are words for inputs of that kind; else ValueError with the nearest one."""
    found = words(names)
    for name in found:
        if name not in INVARIANCES[kind]:
            near = difflib.get_close_matches(name, INVARIANCES[kind], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(INVARIANCES[kind])}"
            raise ValueError(f"no invariance {name!r} of {kind}; {hint}")
    return found
