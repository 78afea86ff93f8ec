"""compute_rsm against brute force, closed forms and its own invariances."""

import itertools
import pickle
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import semrsm_bench as sb
from semrsm_bench.activations.store import write_cache
from semrsm_bench.rsm import ArraySource, CacheLayer, ResumeError, compute_rsm
from semrsm_bench.rsm.images import BLOCK_BYTES
from semrsm_bench.rsm.sources import as_source
from semrsm_bench.rsm.tiles import block_length
from tests.hard_problems import best_by_trying_all

SMALL = {"elements": st.integers(-9, 9).map(float)}


@settings(max_examples=30)
@given(st.integers(1, 6).flatmap(lambda s: arrays(np.float64, (5, 2, s), **SMALL)))
def test_exact_matching_is_the_best_of_all_permutations(z):
    best = np.array([[best_by_trying_all(x.T @ y) for y in z] for x in z])
    rsm = compute_rsm(z[:3], matching="scipy")
    assert rsm.diagonal().tolist() == (z[:3] ** 2).sum(axis=(1, 2)).tolist()
    off = ~np.eye(3, dtype=bool)
    assert rsm[off].tolist() == best[:3, :3][off].tolist()
    # Query x database: every pair is matched, and nothing mirrored.
    assert compute_rsm(z[:2], z[2:], matching="scipy").tolist() == best[:2, 2:].tolist()


def test_one_channel_is_matched_by_sorting():
    z = np.random.default_rng(0).normal(size=(4, 1, 50))
    ordered = np.sort(z[:, 0])
    np.testing.assert_allclose(compute_rsm(z, matching="ortools"), ordered @ ordered.T, rtol=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "cosine"])
@pytest.mark.parametrize(
    ("matching", "centring", "invariant"),
    [("scipy", "none", True), ("scipy", "channel", True), ("scipy", "position", False), ("identity", "none", False)],
)
def test_semantic_rsms_do_not_see_where_positions_stand(kernel, matching, centring, invariant):
    rng = np.random.default_rng(2)
    z = rng.normal(size=(5, 6, 20)) + 0.5
    shuffled = np.stack([image[:, rng.permutation(20)] for image in z])
    how = {"kernel": kernel, "matching": matching, "centring": centring}
    assert np.allclose(compute_rsm(shuffled, **how), compute_rsm(z, **how), rtol=1e-11) == invariant


@pytest.mark.parametrize(("centring", "axes"), [("channel", (0, 2)), ("position", (0,))])
@pytest.mark.parametrize("sides", [1, 2])
def test_centring_subtracts_the_means_it_names_and_those_of_the_database(centring, axes, sides):
    z = np.random.default_rng(4).normal(size=(sides, 4, 2, 5)) + np.arange(1, sides + 1).reshape(-1, 1, 1, 1)
    moved = compute_rsm(*(z - z[-1].mean(axis=axes, keepdims=True)), matching="scipy")
    np.testing.assert_allclose(compute_rsm(*z, matching="scipy", centring=centring), moved, rtol=1e-10)


@pytest.mark.parametrize("matching", ["identity", "scipy", "pooled"])
@pytest.mark.parametrize("sides", [1, 2])
def test_images_read_in_several_parts_have_the_same_kernels(monkeypatch, matching, sides):
    z = np.random.default_rng(4).normal(size=(sides, 7, 2, 5)) + 1
    how = {"matching": matching, "kernel": ["linear", "cosine", "rbf"], "centring": "position"}
    whole = compute_rsm(*z, **how)
    for together in (1, 3):
        monkeypatch.setattr("semrsm_bench.rsm.sources._CHUNK_BYTES", together * 2 * 5 * 8)
        parts = compute_rsm(*z, **how)
        for kernel in whole:
            np.testing.assert_allclose(parts[kernel], whole[kernel], rtol=1e-10, atol=1e-12)


def test_centring_by_channel_changes_no_optimal_matching_and_no_distance():
    z = np.random.default_rng(5).normal(size=(4, 3, 12)) + 3
    how = {"matching": "scipy", "kernel": "rbf", "return_permutations": True}
    raw, centred = compute_rsm(z, **how), compute_rsm(z, centring="channel", **how)
    np.testing.assert_array_equal(raw[1], centred[1])
    np.testing.assert_allclose(raw[0], centred[0], rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "matching", ["identity", "translation", "scipy", "greedy", "exact-auction", "auction-fine", "auction-coarse"]
)
def test_the_upper_triangle_is_matched_and_mirrored_with_the_inverse_permutations(matching, dtype):
    z = np.random.default_rng(20).normal(size=(7, 3, 3, 4)).astype(dtype)
    flat, places, mirrored = z.reshape(7, 3, 12).astype(np.float64), np.arange(12), []
    for block in (2, 7):
        rsm, perms = compute_rsm(z, matching=matching, return_permutations=True, block=block)
        assert (np.sort(perms, axis=2) == places).all()
        assert (places == np.diagonal(perms).T).all()
        for i, j in itertools.permutations(range(7), 2):
            assert rsm[i, j] == pytest.approx((flat[i] * flat[j][:, perms[i, j]]).sum(), rel=1e-12)
            assert (perms[j, i] == np.argsort(perms[i, j])).all()
            if matching in sb.solver_names():
                alone = sb.solve(sb.MatchingProblem(*(z[k].reshape(3, 12).T for k in (i, j))), matching)
                mirrored += [] if i < j else [np.array_equal(alone, perms[i, j])]
                assert i > j or (alone == perms[i, j]).all()
    assert matching != "greedy" or not all(mirrored), "it depends on the order, so the choice of triangle must matter"


@pytest.mark.parametrize(
    "matching", ["identity", "translation", "ortools", "greedy", "exact-auction", "list-auction-fine"]
)
@pytest.mark.parametrize("block_bytes", [2**27, 0])
def test_tiles_processes_threads_and_held_images_change_nothing(matching, block_bytes, monkeypatch):
    monkeypatch.setattr("semrsm_bench.rsm.images.BLOCK_BYTES", block_bytes)
    z = np.random.default_rng(6).normal(size=(7, 16, 6, 6)).astype(np.float32)
    how = {"matching": matching, "return_permutations": True, "centring": "channel"}
    for sides in ((z,), (z[:3], z)):
        values, perms = compute_rsm(*sides, **how)
        for backend, more in (
            ("loky", {"block": 1}),
            ("loky", {"n_jobs": 2, "block": 2}),
            ("threading", {"n_jobs": 2}),
        ):
            with joblib.parallel_config(backend=backend):
                cut, found = compute_rsm(*sides, **how, **more)
            np.testing.assert_array_equal(found, perms)
            np.testing.assert_allclose(cut, values, rtol=1e-12, atol=1e-12 * values.max())


def test_every_layout_is_the_same_rsm():
    z = np.random.default_rng(8).normal(size=(4, 5, 2, 3)).astype(np.float32)
    flat = z.reshape(4, 5, 6)
    tokens = flat.swapaxes(1, 2)
    expected = compute_rsm(z, matching="scipy")
    with_token = np.concatenate([np.full((4, 1, 5), 50, np.float32), tokens], axis=1)
    for other, how in (
        (flat, {}),
        (z.tolist(), {}),
        (tokens, {"layout": "channels_last"}),
        (z.transpose(0, 2, 3, 1), {"layout": "channels_last"}),
        (with_token, {"layout": "channels_last", "drop_tokens": 1}),
        (np.asfortranarray(z), {}),
        (z[::-1].copy()[::-1], {}),
    ):
        np.testing.assert_allclose(compute_rsm(other, matching="scipy", **how), expected, rtol=1e-6)
    kept = compute_rsm(with_token, matching="scipy", layout="channels_last")
    assert (kept[0, 1:] > expected[0, 1:]).all()
    on_grid = compute_rsm(with_token, matching="translation", layout="channels_last", drop_tokens=1, grid=(2, 3))
    np.testing.assert_allclose(on_grid, compute_rsm(z, matching="translation"), rtol=1e-6)
    with pytest.raises(ValueError, match="grid"):
        compute_rsm(with_token, matching="translation", layout="channels_last", grid=(2, 3))
    tensor = pytest.importorskip("torch").from_numpy(z).requires_grad_()
    np.testing.assert_array_equal(compute_rsm(tensor, matching="scipy"), expected)


def test_memory_mapped_files_are_read_in_slices_and_travel_as_paths(tmp_path):
    z = np.random.default_rng(9).normal(size=(6, 4, 12)).astype(np.float16)
    np.save(tmp_path / "z.npy", z)
    how = {"matching": "scipy", "n_jobs": 2, "block": 2}
    expected = compute_rsm(z, matching="scipy")
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    np.testing.assert_array_equal(compute_rsm(tmp_path / "z.npy", **how), expected)
    np.testing.assert_array_equal(compute_rsm(mapped[2:], **how), expected[2:, 2:])
    sent = pickle.dumps(as_source(mapped[1:5]))
    assert len(sent) < 2000
    np.testing.assert_array_equal(pickle.loads(sent).portion(1, 3).read(0, 2), as_source(z[2:4]).read(0, 2))
    changed = np.load(tmp_path / "z.npy", mmap_mode="c")
    changed[0] = 0
    assert (compute_rsm(changed, **how)[0] == 0).all()


def test_a_layer_of_a_cache_is_read_like_its_array_and_brings_its_mean(tmp_path):
    z = np.random.default_rng(10).normal(size=(5, 3, 6)).astype(np.float16)
    mean = np.random.default_rng(11).normal(size=(3, 6)).astype(np.float32)
    path = tmp_path / "net.safetensors"
    write_cache(path, {"layer1": z}, {"layer1": mean}, images=list("abcde"), labels=np.arange(5))
    layer, part = CacheLayer(path, "layer1"), CacheLayer(path, "layer1", slice(1, 4))
    for source, array in ((layer, z), (part, z[1:4])):
        assert len(pickle.dumps(source)) < 2000
        rsm = compute_rsm(source, matching="scipy", n_jobs=2, block=2)
        np.testing.assert_array_equal(rsm, compute_rsm(array, matching="scipy"))
        shifted = compute_rsm(source, matching="translation", grid=(2, 3))
        np.testing.assert_array_equal(shifted, compute_rsm(array.reshape(-1, 3, 2, 3), matching="translation"))
    assert (layer.grid, part.labels.tolist()) == (None, [1, 2, 3])
    np.testing.assert_array_equal(part.read(1, 3), layer.read(2, 4))
    expected = compute_rsm(z - mean.mean(axis=1, keepdims=True), matching="scipy")
    np.testing.assert_allclose(compute_rsm(layer, matching="scipy", centring="channel"), expected, rtol=1e-5)
    compute_rsm(part, matching="scipy", out=tmp_path / "k.npy")
    with pytest.raises(ResumeError, match="inputs"):
        compute_rsm(CacheLayer(path, "layer1", slice(2, 5)), matching="scipy", out=tmp_path / "k.npy")
    with pytest.raises(ValueError, match="layer2"):
        CacheLayer(path, "layer2")
    with pytest.raises(ValueError, match="non-empty range"):
        CacheLayer(path, "layer1", slice(4, 4))


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("scales", [(1e25, 1e25), (1e-25, 1e-25), (1e25, 1e-25)], ids=str)
def test_float32_that_would_leave_its_range_is_matched_in_float64(scales, positive):
    z = np.abs(np.random.default_rng(12).normal(size=(4, 3, 8))).astype(np.float32) * np.float32(2 * positive - 1)
    z[2:] *= np.array(scales, np.float32)[:, None, None]
    rsm, perms = compute_rsm(z, matching="scipy", return_permutations=True)
    expected, right = compute_rsm(z.astype(np.float64), matching="scipy", return_permutations=True)
    np.testing.assert_allclose(rsm, expected, rtol=1e-12)
    np.testing.assert_array_equal(perms, right)


ONES = np.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("z", "arguments", "message"),
    [
        (np.ones((2, 3)), {}, "shape"),
        *((np.ones(shape), {}, "empty") for shape in ((0, 3, 4), (2, 0, 4), (2, 3, 0))),
        (np.ones((2, 1, 3)), {"layout": "channels_last", "drop_tokens": 1}, "empty"),
        (ONES, {"drop_tokens": 1}, "drop_tokens"),
        (ONES, {"layout": "NCHW"}, "layout: .* one of channels_first"),
        (ONES, {"centring": "zero"}, "centring: .* one of none"),
        (ONES, {"grid": (2, 3)}, "does not hold"),
        (ONES, {"kernel": "gaussian"}, "kernel: 'gaussian' is not one of linear, cosine, rbf"),
        (ONES, {"kernel": []}, "at least one kernel"),
        (ONES, {"kernel": "rbf", "sigma": "median"}, "sigma: 'median' is no positive number"),
        *((ONES, {"kernel": "rbf", "sigma": sigma}, "positive") for sigma in (-1.0, 0.0, float("nan"), float("inf"))),
        (ONES, {"kernel": "rbf", "t": 0.0}, "t: 0.0 is not larger than 0"),
        (ONES, {"n_jobs": 0}, "n_jobs"),
        (ONES, {"block": 0}, "block"),
        (ONES, {"matching": "ortols"}, "did you mean 'ortools'"),
        (ONES, {"matching": "identity", "options": {"b": 3}}, "takes no options"),
        (ONES, {"z2": np.ones((2, 3, 5))}, "4 positions and z2 has 5"),
        (ONES, {"z2": np.ones((2, 2, 4))}, "3 channels and z2 has 2"),
        (np.ones((2, 3, 2, 3)), {"z2": np.ones((2, 3, 3, 2))}, "lie on the grids"),
        (ONES * 1j, {}, "real numbers"),
        (np.array([["a"]]), {}, "real numbers"),
        ([np.ones((3, 4)), np.ones((3, 5))], {}, "rectangular"),
        (np.ma.masked_equal(ONES, 1), {}, "masked"),
        *(
            (np.stack([0 * ONES[0], ends * ONES[0]]), {}, r"image 1 of z reaches .* scale it")
            for ends in (1e200, -1e-200)
        ),
        *(
            (np.insert(np.ones(59), 43, bad).reshape(4, 3, 5), {"centring": centring}, "image 2, position 3, channel 2")
            for bad in (np.nan, np.inf, -np.inf)
            for centring in ("none", "channel")
        ),
        ("missing.npy", {}, "no such file"),
    ],
)
def test_wrong_input_is_named(z, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        compute_rsm(z, **{"matching": "scipy", **arguments})


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_solvers_of_users_work_in_other_processes(n_jobs, tmp_path):
    @sb.register_solver("backwards", kind="approximate")
    def backwards(problem):
        return np.arange(problem.size)[::-1]

    plugin = tmp_path / "mirror.py"
    plugin.write_text(
        "import numpy as np, semrsm_bench as sb\n"
        "@sb.register_solver('mirror-test', kind='approximate', grid={'flip': [True]})\n"
        "def mirror(problem, *, flip):\n"
        "    return np.arange(problem.size)[:: -1 if flip else 1]\n"
    )
    sb.load_plugin(plugin)
    z = np.random.default_rng(15).normal(size=(5, 2, 6))
    expected = np.einsum("ics,jcs->ij", z, z[:, :, ::-1])
    for name in ("backwards", "mirror-test-true"):
        rsm = compute_rsm(z, matching=name, n_jobs=n_jobs, block=2)
        off = ~np.eye(5, dtype=bool)
        np.testing.assert_allclose(rsm[off], expected[off], rtol=1e-12)


def test_only_a_tile_of_images_is_in_memory_at_a_time(monkeypatch, tmp_path):
    np.save(tmp_path / "z.npy", np.random.default_rng(17).normal(size=(40, 2, 8)).astype(np.float32))
    expected = compute_rsm(tmp_path / "z.npy", matching="greedy")
    asked = []
    for name in ("read", "planes"):
        read = getattr(ArraySource, name)
        monkeypatch.setattr(ArraySource, name, lambda self, i, j, read=read: (asked.append(j - i), read(self, i, j))[1])
    monkeypatch.setattr("semrsm_bench.rsm.sources._CHUNK_BYTES", 5 * 2 * 8 * 4)
    # One byte less than all images take: they may not be held.
    monkeypatch.setattr("semrsm_bench.rsm.images.BLOCK_BYTES", 40 * 2 * 8 * 4 - 1)
    rsm = compute_rsm(tmp_path / "z.npy", matching="greedy", centring="none", block=4)
    np.testing.assert_array_equal(rsm, expected)
    assert max(asked) == 5
    assert min(asked) > 0


def test_a_cache_that_changes_under_a_run_is_found_out_and_read_anew_by_the_next(tmp_path):
    path, rng = tmp_path / "net.safetensors", np.random.default_rng(18)
    for _ in range(2):
        z = rng.normal(size=(5, 3, 4)).astype(np.float16)
        write_cache(path, {"layer1": z}, {"layer1": z.mean(axis=0)}, images=list("abcde"))
        # Workers live on from one call to the next.
        rsm = compute_rsm(CacheLayer(path, "layer1"), matching="scipy", n_jobs=2, block=2)
        np.testing.assert_array_equal(rsm, compute_rsm(z, matching="scipy"))
    sent = pickle.dumps(CacheLayer(path, "layer1"))
    np.testing.assert_array_equal(pickle.loads(sent).read(0, 5), z.swapaxes(1, 2))
    write_cache(path, {"layer1": 2 * z}, {"layer1": z[0]}, images=list("abcde"))
    with pytest.raises(ValueError, match="another file"):
        pickle.loads(sent).read(0, 3)


@given(*(st.integers(1, most) for most in (70_000, 3000, 5000, 5000, 64)), st.booleans())
def test_a_tile_holds_what_memory_a_lost_tile_and_an_even_load_allow(size, channels, rows, columns, workers, mirrored):
    images = SimpleNamespace(rows=SimpleNamespace(size=size, channels=channels), dtype=np.dtype(np.float32))
    length = block_length(images, rows, columns, mirrored, workers)
    for tried in (length, length + 1):
        memory, loss = 2 * tried * size * channels * 4 <= BLOCK_BYTES, tried**2 * size**2 <= 2**32
        load = workers == 1 or tried**2 * 8 * workers <= rows * columns / (1 + mirrored)
        assert (tried <= 64 and memory and loss and load) == (tried == length) or tried == length == 1
