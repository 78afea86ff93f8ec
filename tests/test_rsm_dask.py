"""A real cluster on loopback: two worker processes, one of which is killed halfway."""

import os
import pickle
import signal
import threading
import time

import joblib
import numpy as np
import pytest

from semrsm_bench.activations.store import write_cache
from semrsm_bench.rsm import CacheLayer, compute_rsm
from semrsm_bench.rsm.images import Images
from semrsm_bench.rsm.registry import get_rsm
from semrsm_bench.rsm.sources import as_source
from semrsm_bench.rsm.tiles import connect, make_tasks, tiles

pytest.importorskip("distributed")


@pytest.fixture
def layer(tmp_path):
    z = np.random.default_rng(0).normal(size=(24, 16, 100)).astype(np.float16)
    path = tmp_path / "net.safetensors"
    write_cache(path, {"layer3": z}, {"layer3": z.mean(axis=0)}, images=[f"image {i}" for i in range(24)])
    return CacheLayer(path, "layer3")


def test_joblib_chooses_the_cluster_and_the_matrix_is_the_serial_one(client, layer):
    z, z2 = np.random.default_rng(1).normal(size=(2, 7, 4, 16))  # images without a file travel with their tiles
    how = {"matching": "greedy", "centring": "channel", "kernel": "rbf", "block": 3}
    for sides in ((layer,), (z, z2)):
        expected = compute_rsm(*sides, **how)
        np.testing.assert_array_equal(compute_rsm(*sides, client=client, **how), expected)
        with client.as_current(), joblib.parallel_config(backend="dask"):
            np.testing.assert_array_equal(compute_rsm(*sides, **how), expected)
    with pytest.raises(ValueError, match="block_solver must be an exact solver"):
        compute_rsm(z, matching="batch-optimal-128", options={"block_solver": "greedy"}, client=client)


def test_a_worker_killed_halfway_costs_only_its_tiles(client, layer, tmp_path):
    expected = compute_rsm(layer, matching="ortools")
    out = tmp_path / "rsm.npy"
    victim = next(iter(client.run(os.getpid).values()))
    left_at_death = []

    def kill_halfway():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not left_at_death:
            time.sleep(0.005)
            left = int(np.isnan(np.load(out, mmap_mode="r")).sum()) if out.exists() else 24 * 24
            if left < 24 * 23 / 2:
                left_at_death.append(left)
                os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill_halfway)
    killer.start()
    try:
        rsm = compute_rsm(layer, matching="ortools", client=client, block=3, out=out)
    finally:
        killer.join()
    assert left_at_death[0] > 0, "the worker died while there was work left"
    np.testing.assert_array_equal(rsm, expected)


def test_a_task_for_a_cache_is_a_path_and_a_few_numbers(layer):
    images = Images.of(layer, None, "channel")
    matching = get_rsm("ortools").comparison(None, {})
    task = next(make_tasks(images, matching, list(tiles(24, 24, 8, True))))
    assert len(pickle.dumps(task)) < 4000
    in_memory = Images.of(as_source(layer.read(0, 24).swapaxes(1, 2)), None, "none")
    task = next(make_tasks(in_memory, matching, list(tiles(24, 24, 8, True))))
    _, rows, columns, *_ = task.args
    assert rows.count == columns.count == 8


def test_an_address_without_a_scheduler():
    with pytest.raises(ValueError, match="no Dask scheduler"):
        connect("tcp://127.0.0.1:9", timeout=0.5)
