"""Problems of all benchmarks, read from the shipped activations, with optima that no commit under test has found.

``python -m benchmarks.problems`` proves the optima in ``optima.json`` anew, with this checkout's solvers; nothing else here uses
more than NumPy and safetensors, so that moving code never breaks measuring an older commit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import safe_open

from .calls import Problem, proved_optimum

CHECKOUT = Path(__file__).resolve().parent.parent
OPTIMA = Path(__file__).with_name("optima.json")


def data_file(name: str) -> Path:
    """The cache of that name beside these benchmarks, or else where ``SEMRSM_BENCH_DATA`` says."""
    own = CHECKOUT / "data" / f"{name}.safetensors"
    place = Path(os.environ.get("SEMRSM_BENCH_DATA", own))
    return own if own.is_file() else place / own.name if place.is_dir() else place


@lru_cache(maxsize=256)
def positions(path: Path, layer: str, image: int, centring: str) -> np.ndarray:
    """Position vectors (S, C) of one image, float32; "channel" subtracts each channel's mean over images and positions."""
    with safe_open(path, "np") as file:
        values = file.get_slice(layer)[image : image + 1][0].astype(np.float32)
        if centring == "channel":
            values -= file.get_tensor(f"{layer}.mean").mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
    return np.ascontiguousarray(values.T)


def first_layer(path: Path) -> tuple[str, int]:
    """Name of the first layer of a cache, and its number of images."""
    with safe_open(path, "np") as file:
        layer = next(iter(json.loads(file.metadata()["layers"])))
        return layer, int(file.get_slice(layer).get_shape()[0])


def positions_of(path: Path, entry) -> tuple[np.ndarray, np.ndarray]:
    """Position vectors of both images of an entry of ``optima.json``."""
    first, second = (positions(path, entry["layer"], int(i), entry["centring"]) for i in entry["pair"].split("-"))
    return first, second


def images_of(sizes, count: int) -> dict[int, np.ndarray]:
    """The first images of the layer with each of these S, (count, C, H, W) float16, where it lies on a grid."""
    found = {}
    with safe_open(data_file(frozen()["data"]), "np") as file:
        for layer, facts in json.loads(file.metadata()["layers"]).items():
            images, channels, size = file.get_slice(layer).get_shape()
            if size in sizes and facts["grid"]:
                part = file.get_slice(layer)[: min(count, images)]
                found.setdefault(size, part.reshape(len(part), channels, *facts["grid"]))
    return found


def frozen() -> dict:
    """What ``optima.json`` says: the data's name and digest, and a list of problems."""
    return json.loads(OPTIMA.read_text())


def load_problems() -> dict[tuple[int, str], list[Problem]]:
    """All problems by (S, centring)."""
    content = frozen()
    path = data_file(content["data"])
    if hashlib.sha256(path.read_bytes()).hexdigest() != content["sha256"]:
        raise ValueError(
            f"{path} is not the data whose optima stand in {OPTIMA.name}; write it anew: {__doc__.split('``')[1]}"
        )
    found: dict[tuple[int, str], list[Problem]] = {}
    for entry in content["problems"]:
        made = Problem(entry["pair"], *positions_of(path, entry), entry["k_opt"])
        found.setdefault((entry["size"], entry["centring"]), []).append(made)
    return found


def family_problem(name: str, size: int = 256) -> Problem:
    """One problem of another kind than the maps of a network; a matrix has its rows as x, and unit vectors as y.

    The optimum is SciPy's, in float64.
    """
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    if name == "flat-maps":  # half of the positions of two shipped pictures set to their mean
        x, y = (z.copy() for z in positions_of(data_file(frozen()["data"]), _first_entry(size)))
        for z in (x, y):
            z[: size // 2] = z[: size // 2].mean(axis=0)
    elif name == "machol-wien":  # costs i j
        x, y = (sign * (rng.permutation(size) + 1.0).astype(np.float32)[:, None] for sign in (1, -1))
    elif name == "uniform-small":  # costs from 1 to 100
        x, y = -rng.integers(1, 101, (size, size)).astype(np.float32), np.eye(size, dtype=np.float32)
    else:
        raise KeyError(name)
    found = Problem(name, x, y, math.nan)
    affinity = x.astype(np.float64) @ y.astype(np.float64).T
    found.k_opt = float(affinity[linear_sum_assignment(affinity, maximize=True)].sum())
    return found


def _first_entry(size: int) -> dict:
    return next(e for e in frozen()["problems"] if (e["size"], e["centring"]) == (size, "none"))


def certified(sizes=()) -> dict:
    """``optima.json`` anew, for its own pairs: k of an exact matching, proved by the duals of another solver.

    Raises
    ------
    ValueError
        The two disagree by more than rounding.
    """
    import semrsm_bench as sb

    content = frozen()
    entries = [entry for entry in content["problems"] if entry["size"] in (sizes or {entry["size"]})]
    path = data_file(content["data"])
    for entry in entries:
        try:
            entry["k_opt"] = proved_optimum(sb.MatchingProblem(*positions_of(path, entry)))
        except ValueError as error:
            raise ValueError(f"pair {entry['pair']} at S = {entry['size']}: {error}") from None
    return {"data": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "problems": entries}


if __name__ == "__main__":
    argparse.ArgumentParser(description="Prove the optima in optima.json anew.").parse_args()
    text = json.dumps(certified(), indent=1)
    OPTIMA.write_text(text.replace("{\n   ", "{ ").replace(",\n   ", ", ").replace("\n  }", " }") + "\n")
