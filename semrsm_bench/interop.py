"""RSMs and features to and from pandas, xarray and rsatoolbox, with the ids of their samples; each library only where it is used.

scikit-learn takes features (n, p) as they are, netrep a list of them in one order: `semrsm_bench.align`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from semrsm_bench.core.identity import ids_of, with_ids
from semrsm_bench.metrics.arrays import as_float64, as_rsm

ROWS, COLUMNS = "sample", "other"


def to_pandas(array: Any) -> Any:
    """A DataFrame of an RSM (n, m) or of features (n, p); ids, where they are known, are its index and columns."""
    pandas = _library("pandas")
    rows, columns = ids_of(array), getattr(array, "column_ids", None)
    return pandas.DataFrame(as_float64(array, "the array"), index=rows, columns=columns)


def from_pandas(frame: Any) -> Any:
    """The array of a DataFrame, its index as ids; also its columns where they are the same, as of an RSM.

    An index of numbers from 0, which pandas makes by itself, is no ids. Columns in another order keep it.
    """
    pandas = _library("pandas")
    values = as_float64(frame.to_numpy(), "the frame")
    if isinstance(frame.index, pandas.RangeIndex):
        return values
    same = set(frame.index) == set(frame.columns)
    return with_ids(values, frame.index, frame.columns if same else None)


def to_xarray(array: Any, name: str | None = None) -> Any:
    """A DataArray of an RSM (n, m), or of features (n, p), with the axes ``sample`` and ``other`` and ids as coordinates."""
    xarray = _library("xarray")
    ids = {ROWS: ids_of(array), COLUMNS: getattr(array, "column_ids", None)}
    known = {axis: list(names) for axis, names in ids.items() if names is not None}
    return xarray.DataArray(as_float64(array, "the array"), dims=(ROWS, COLUMNS), coords=known, name=name)


def from_xarray(array: Any) -> Any:
    """The array of a DataArray of two axes, its coordinates as ids: of the rows, and of the columns where these are an RSM's."""
    values = as_float64(array.to_numpy(), "the array")
    rows, columns = (array.coords[axis].to_numpy().tolist() if axis in array.coords else None for axis in array.dims)
    return with_ids(values, rows, columns) if rows or columns else values


def to_rdms(rsms: Any) -> Any:
    """RDMs of rsatoolbox of an RSM (n, n), or of RSMs by name: squared distances K_ii + K_jj - 2 K_ij.

    Of the linear kernel these are squared Euclidean distances, of a kernel with ones on its diagonal 2 (1 - K_ij). Ids become the
    pattern descriptor ``ids``, names the RDM descriptor ``name``. ValueError: no symmetric RSM, or RSMs of other samples.
    """
    rdm = _library("rsatoolbox.rdm", "rsatoolbox")
    named = dict(rsms) if isinstance(rsms, Mapping) else {"": rsms}
    found = {name: as_rsm(K, name or "the RSM") for name, K in named.items()}
    ids = {ids_of(K) for K in named.values()}
    if len(ids) != 1 or len({K.shape for K in found.values()}) != 1:
        raise ValueError(
            f"the RSMs {', '.join(found)} are of different samples; semrsm_bench.align brings them together"
        )
    (known,) = ids
    diagonals = {name: K.diagonal() for name, K in found.items()}
    distances = [d[:, None] + d - 2 * K for d, K in zip(diagonals.values(), found.values())]
    return rdm.RDMs(
        np.array([_without_diagonal(d) for d in distances]),
        dissimilarity_measure="squared distance",
        rdm_descriptors={"name": list(named)},
        pattern_descriptors=None if known is None else {"ids": list(known)},
    )


def from_rdms(rdms: Any, ids: str = "ids", names: str = "name") -> dict[str, Any]:
    """RSMs (n, n) of rsatoolbox's RDMs by name: similarities -d / 2, whose squared distances (`to_rdms`) are d again.

    ``ids`` is the pattern descriptor that says which samples these are, ``names`` the RDM descriptor of names; where there is none
    the RSMs have no ids, and numbers as names. ValueError: a name that is there twice, or NaN, by which rsatoolbox marks pairs that
    were not measured.
    """
    called = [str(name) for name in rdms.rdm_descriptors.get(names, range(rdms.n_rdm))]
    if len(set(called)) < len(called):
        raise ValueError(
            f"RDMs have one name more than once in {names!r}: {', '.join(called)}; name another descriptor"
        )
    known = rdms.pattern_descriptors.get(ids)
    found = {name: as_float64(matrix, f"RDM {name!r}") / -2 for name, matrix in zip(called, rdms.get_matrices())}
    return found if known is None else {name: with_ids(matrix, known, known) for name, matrix in found.items()}


def to_dataset(x: Any) -> Any:
    """Dataset of rsatoolbox of features (n, p); ids become the observation descriptor ``ids``."""
    data = _library("rsatoolbox.data", "rsatoolbox")
    ids = ids_of(x)
    return data.Dataset(as_float64(x, "x"), obs_descriptors=None if ids is None else {"ids": list(ids)})


def from_dataset(dataset: Any, ids: str = "ids") -> Any:
    """Features (n, p) of rsatoolbox's Dataset; ``ids`` is the observation descriptor that says which samples these are."""
    known = dataset.obs_descriptors.get(ids)
    values = as_float64(dataset.measurements, "measurements")
    return values if known is None else with_ids(values, known)


def _without_diagonal(distances: Any) -> Any:
    """Distances above the diagonal, row by row, as rsatoolbox keeps them."""
    return distances[np.triu_indices(len(distances), 1)]


def _library(module: str, package: str = "") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        name = package or module
        raise ImportError(f"this needs {name}, not installed here: `pip install {name}`") from None
