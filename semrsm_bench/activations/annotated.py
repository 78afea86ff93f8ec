"""Images of a data set with what they show, for retrieval: common to the loaders of published data sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semrsm_bench.activations.images import ImageRef


@dataclass(frozen=True)
class AnnotatedImages:
    """Images and what is known of them; nothing of the pixels is read yet.

    Attributes
    ----------
    images : list of ImageRef
    counts : ndarray, (N, classes), int64
        Annotated objects of each class, or 1 and 0 where a data set says only whether there are any.
    groups : list of str
        Images of one group show the same thing from the same recording; a query never retrieves from its own group.
    classes : list of str
    """

    images: list[ImageRef]
    counts: NDArray[np.int64]
    groups: list[str]
    classes: list[str]

    def __len__(self) -> int:
        return len(self.images)


def read_json(path: Path, what: str) -> Any:
    """Content of a JSON file; FileNotFoundError or ValueError with its name and with ``what`` the file is."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; needed are {what}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged ({error}); needed are {what}") from None


def field(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """``record[key]``, which must be there and of that type; ValueError starts with ``where``, the file and the place in it."""
    if not isinstance(record, dict) or key not in record:
        raise ValueError(f"{where} has no {key!r}")
    value = record[key]
    # A bool is an int to isinstance, and never meant here.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{where}: {key!r} is {value!r:.60}")
    return value


def records(content: Any, key: str, path: Path) -> list[tuple[str, Any]]:
    """Each entry of the list ``content[key]`` after its place, as `field` names it."""
    return [(f"{path}: {key}[{i}]", record) for i, record in enumerate(field(content, key, list, str(path)))]
