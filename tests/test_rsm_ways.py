"""Every RSM method gives one matrix, whichever way it is computed: by the verb, in blocks, resumed, in processes, on a cluster."""

import json
from functools import cache

import joblib
import numpy as np
import pytest

from semrsm_bench.rsm import compute_rsm, store
from semrsm_bench.rsm.registry import rsm_names
from tests.command_line import call

METHODS = rsm_names(available_only=True)
Z = np.maximum(np.random.default_rng(0).normal(0.3, 1.0, (9, 5, 4, 6)), 0).astype(np.float32)
QUERIES = 4
KERNELS = ["linear", "cosine", "rbf"]


@cache
def expected(name, database):
    return compute_rsm(*sides(database), matching=name, kernel=KERNELS, centring="channel", block=64)


def sides(database):
    return (Z[:QUERIES], Z[QUERIES:]) if database else (Z,)


def by_verb(images, name, tmp_path, client):
    paths = [tmp_path / f"{i}.npy" for i in range(len(images))]
    for path, side in zip(paths, images, strict=True):
        np.save(path, side)
    kernels = [word for kernel in KERNELS for word in ("--kernel", kernel)]
    chosen = ("--matching", name, "--centring", "channel", "--out", tmp_path / "k.npy", "--json", "--quiet")
    said = json.loads(call("rsm", *paths, *chosen, *kernels)[0])["results"]
    return {row["kernel"]: np.load(row["file"]) for row in said}


def resumed(images, name, tmp_path, client):
    """The first run ends before its third tile is written, the second has tiles of another size."""
    how = {"matching": name, "kernel": KERNELS, "centring": "channel", "out": tmp_path / "k.npy"}
    written, put = [], store.Products.put

    def stopping(self, tile, values):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(tile)
        return put(self, tile, values)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store.Products, "put", stopping)
        with pytest.raises(KeyboardInterrupt):
            compute_rsm(*images, **how, block=2)
    left = np.load(how["out"])
    assert np.isnan(left).any()
    assert not np.isnan(left).all()
    found = compute_rsm(*images, **how, block=3)
    known = ~np.isnan(left) & ~np.eye(*left.shape, dtype=bool)
    np.testing.assert_array_equal(found["linear"][known], left[known], err_msg="what was there is not made again")
    return found


def in_processes(images, name, tmp_path, client):
    with joblib.parallel_config(backend="loky"):
        return compute_rsm(*images, matching=name, kernel=KERNELS, centring="channel", n_jobs=2)


def in_blocks(images, name, tmp_path, client):
    return compute_rsm(*images, matching=name, kernel=KERNELS, centring="channel", block=2)


def on_dask(images, name, tmp_path, client):
    return compute_rsm(*images, matching=name, kernel=KERNELS, centring="channel", block=3, client=client)


ONE_SIDE, TWO_SIDES = [by_verb, in_blocks, resumed, in_processes, on_dask], [by_verb, in_blocks, resumed]


@pytest.mark.parametrize(
    ("way", "database"), [*((way, False) for way in ONE_SIDE), *((way, True) for way in TWO_SIDES)]
)
@pytest.mark.parametrize("name", METHODS)
def test_every_way_gives_the_same_matrix(name, way, database, tmp_path, request):
    client = request.getfixturevalue("client") if way is on_dask else None
    found = way(sides(database), name, tmp_path, client)
    for kernel, values in expected(name, database).items():
        # Blocks of another shape are multiplied in another order.
        np.testing.assert_allclose(found[kernel], values, rtol=2e-6, atol=2e-6 * np.abs(values).max(), err_msg=kernel)
