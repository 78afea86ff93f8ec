"""compute_rsm against brute force, closed forms and its own invariances."""

import inspect
import itertools
import pickle

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import semrsm_bench as sb
from semrsm_bench.activations.store import write_cache
from semrsm_bench.rsm import ArraySource, CacheLayer, compute_rsm
from semrsm_bench.rsm.sources import as_source

SMALL = {"elements": st.integers(-9, 9).map(float)}


def by_brute_force(x, y):
    """Largest sum of matched inner products over all permutations; x, y: (C, S)."""
    affinity = x.T @ y
    rows = np.arange(len(affinity))
    return max(affinity[rows, list(perm)].sum() for perm in itertools.permutations(rows))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6).flatmap(lambda s: arrays(np.float64, (3, 2, s), **SMALL)))
def test_exact_matching_is_the_best_of_all_permutations(z):
    rsm = compute_rsm(z, matching="scipy")
    for i in range(3):
        assert rsm[i, i] == (z[i] ** 2).sum()
        for j in range(i + 1, 3):
            assert rsm[i, j] == rsm[j, i] == by_brute_force(z[i], z[j])


@settings(max_examples=15, deadline=None)
@given(arrays(np.float64, (2, 3, 4), **SMALL), arrays(np.float64, (3, 3, 4), **SMALL))
def test_query_by_database_matches_every_pair_and_mirrors_nothing(z, z2):
    rsm = compute_rsm(z, z2, matching="scipy")
    assert rsm.tolist() == [[by_brute_force(x, y) for y in z2] for x in z]


def test_one_channel_is_matched_by_sorting():
    z = np.random.default_rng(0).normal(size=(4, 1, 50))
    ordered = np.sort(z[:, 0])
    np.testing.assert_allclose(compute_rsm(z, matching="ortools"), ordered @ ordered.T, rtol=1e-6)


def test_a_permuted_copy_is_as_similar_as_the_image_itself():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(1, 8, 30))
    z2 = z[:, :, rng.permutation(30)]
    rsm, perms = compute_rsm(z, z2, matching="scipy", kernel=["linear", "cosine"], return_permutations=True)
    assert rsm["linear"][0, 0] == pytest.approx((z**2).sum(), rel=1e-12)
    assert rsm["cosine"][0, 0] == pytest.approx(1.0, abs=1e-12)
    assert (z2[0][:, perms[0, 0]] == z[0]).all()


@pytest.mark.parametrize("centring", ["none", "channel"])
@pytest.mark.parametrize("kernel", ["linear", "cosine"])
def test_semantic_rsms_do_not_see_where_positions_stand(kernel, centring):
    rng = np.random.default_rng(2)
    z = rng.normal(size=(5, 6, 20)) + 0.5
    shuffled = np.stack([image[:, rng.permutation(20)] for image in z])
    how = {"kernel": kernel, "matching": "scipy", "centring": centring}
    np.testing.assert_allclose(compute_rsm(shuffled, **how), compute_rsm(z, **how), rtol=1e-11)
    same = {**how, "matching": "identity"}
    assert not np.allclose(compute_rsm(shuffled, **same), compute_rsm(z, **same))


def test_centring_by_position_does_see_where_positions_stand():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(4, 3, 10))
    shuffled = np.stack([image[:, rng.permutation(10)] for image in z])
    how = {"matching": "scipy", "centring": "position"}
    assert not np.allclose(compute_rsm(shuffled, **how), compute_rsm(z, **how))


@pytest.mark.parametrize("together", [1, 3, 10**6])
def test_centring_subtracts_the_means_it_names_and_those_of_the_database(monkeypatch, together):
    monkeypatch.setattr("semrsm_bench.rsm.sources._CHUNK_BYTES", together * 2 * 5 * 8)
    rng = np.random.default_rng(4)
    z, z2 = rng.normal(size=(3, 2, 5)) + 1, rng.normal(size=(4, 2, 5)) + 2
    for centring, axes in (("channel", (0, 2)), ("position", (0,))):
        mean = z.mean(axis=axes, keepdims=True)
        alone = compute_rsm(z - mean, matching="scipy")
        np.testing.assert_allclose(compute_rsm(z, matching="scipy", centring=centring), alone, rtol=1e-10)
        mean = z2.mean(axis=axes, keepdims=True)
        both = compute_rsm(z - mean, z2 - mean, matching="scipy")
        np.testing.assert_allclose(compute_rsm(z, z2, matching="scipy", centring=centring), both, rtol=1e-10)


@pytest.mark.parametrize("matching", ["identity", "scipy", "pooled"])
@pytest.mark.parametrize("sides", [1, 2])
def test_images_read_in_several_parts_have_the_same_kernels(monkeypatch, matching, sides):
    z = np.random.default_rng(4).normal(size=(sides, 7, 2, 5)) + 1
    how = {"matching": matching, "kernel": ["linear", "cosine", "rbf"], "centring": "position"}
    whole = compute_rsm(*z, **how)
    monkeypatch.setattr("semrsm_bench.rsm.sources._CHUNK_BYTES", 3 * 2 * 5 * 8)
    parts = compute_rsm(*z, **how)
    for kernel in whole:
        np.testing.assert_allclose(parts[kernel], whole[kernel], rtol=1e-10, atol=1e-12)


def test_centring_by_channel_changes_no_optimal_matching():
    z = np.random.default_rng(5).normal(size=(4, 3, 12)) + 3
    _, raw = compute_rsm(z, matching="scipy", return_permutations=True)
    _, centred = compute_rsm(z, matching="scipy", centring="channel", return_permutations=True)
    assert (raw == centred).all()


@pytest.mark.parametrize("matching", ["identity", "translation", "scipy", "greedy"])
def test_permutations_are_those_of_the_values_on_both_sides_of_the_diagonal(matching):
    z = np.random.default_rng(20).normal(size=(7, 3, 3, 4))
    flat = z.reshape(7, 3, 12)
    for block in (2, 7):
        rsm, perms = compute_rsm(z, matching=matching, return_permutations=True, block=block)
        assert (np.sort(perms, axis=2) == np.arange(12)).all()
        for i, j in itertools.product(range(7), repeat=2):
            assert rsm[i, j] == pytest.approx((flat[i] * flat[j][:, perms[i, j]]).sum(), rel=1e-12)
            assert (perms[j, i] == np.argsort(perms[i, j])).all(), "the mirror image is matched by the inverse"


@pytest.mark.parametrize("matching", ["identity", "translation", "ortools", "greedy", "batch-optimal-128"])
def test_tiles_and_processes_change_nothing(matching):
    z = np.random.default_rng(6).normal(size=(7, 16, 6, 6)).astype(np.float32)
    whole, perms = compute_rsm(z, matching=matching, return_permutations=True)
    assert (whole == whole.T).all()
    rows, again = compute_rsm(z[:3], z, matching=matching, return_permutations=True)
    for how in ({"block": 1}, {"block": 3}, {"n_jobs": 2, "block": 2}):
        for sides, values, expected in (((z,), whole, perms), ((z[:3], z), rows, again)):
            cut, found = compute_rsm(*sides, matching=matching, return_permutations=True, **how)
            assert (found == expected).all()
            np.testing.assert_allclose(cut, values, rtol=1e-12, atol=1e-12 * whole.max())


def test_of_a_matching_by_rows_the_upper_triangle_is_computed():
    z = np.random.default_rng(7).normal(size=(5, 3, 9))
    rsm, perms = compute_rsm(z, matching="greedy", return_permutations=True)
    upper = np.zeros((5, 5), dtype=bool)
    for i, j in itertools.combinations(range(5), 2):
        problem = sb.MatchingProblem(z[i].T, z[j].T)
        assert (perms[i, j] == sb.solve(problem, "greedy")).all()
        assert rsm[i, j] == rsm[j, i] == pytest.approx(sb.matching_value(problem, perms[i, j]), rel=1e-13)
        turned = sb.MatchingProblem(z[j].T, z[i].T)
        upper[i, j] = sb.matching_value(turned, sb.solve(turned, "greedy")) != pytest.approx(rsm[i, j])
    assert upper.any(), "greedy is not symmetric, so the choice of triangle must matter somewhere"


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
        (with_token, {"layout": "channels_last", "class_token": "drop"}),
        (np.asfortranarray(z), {}),
        (z[::-1].copy()[::-1], {}),
    ):
        np.testing.assert_allclose(compute_rsm(other, matching="scipy", **how), expected, rtol=1e-6)
    kept = compute_rsm(with_token, matching="scipy", layout="channels_last")
    assert (kept[0, 1:] > expected[0, 1:]).all()
    on_grid = compute_rsm(with_token, matching="translation", layout="channels_last", class_token="drop", grid=(2, 3))
    np.testing.assert_allclose(on_grid, compute_rsm(z, matching="translation"), rtol=1e-6)
    with pytest.raises(ValueError, match="grid"):
        compute_rsm(with_token, matching="translation", layout="channels_last", grid=(2, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8"])
def test_tensors_of_any_precision(dtype):
    torch = pytest.importorskip("torch")
    z = torch.arange(-12, 12).reshape(2, 3, 4).to(getattr(torch, dtype)) * 1
    if z.is_floating_point():
        z.requires_grad_()
    expected = compute_rsm(np.arange(-12.0, 12).reshape(2, 3, 4), matching="scipy")
    np.testing.assert_array_equal(compute_rsm(z, matching="scipy"), expected)


def test_memory_mapped_files_are_read_in_slices_and_travel_as_paths(tmp_path):
    z = np.random.default_rng(9).normal(size=(6, 4, 12)).astype(np.float16)
    np.save(tmp_path / "z.npy", z)
    expected = compute_rsm(z, matching="scipy")
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    np.testing.assert_array_equal(compute_rsm(tmp_path / "z.npy", matching="scipy", n_jobs=2, block=2), expected)
    np.testing.assert_array_equal(compute_rsm(mapped[2:], matching="scipy", n_jobs=2, block=2), expected[2:, 2:])
    source = as_source(mapped[1:5])
    assert len(pickle.dumps(source)) < 2000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(1, 3), as_source(z[1:5]).read(1, 3))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source.portion(1, 3))).read(0, 2), source.read(1, 3))
    changed = np.load(tmp_path / "z.npy", mmap_mode="c")
    changed[0] = 0
    assert (compute_rsm(changed, matching="scipy", n_jobs=2, block=2)[0] == 0).all()


def test_a_layer_of_a_cache(tmp_path):
    z = np.random.default_rng(10).normal(size=(5, 3, 4)).astype(np.float16)
    mean = np.random.default_rng(11).normal(size=(3, 4)).astype(np.float32)
    path = tmp_path / "net.safetensors"
    write_cache(path, {"layer1": z}, {"layer1": mean}, images=list("abcde"), labels=np.arange(5))
    layer = CacheLayer(path, "layer1")
    shifted = compute_rsm(z.reshape(5, 3, 2, 2), matching="translation")
    np.testing.assert_array_equal(compute_rsm(layer, matching="translation"), shifted)
    expected = compute_rsm(z, matching="scipy")
    np.testing.assert_array_equal(compute_rsm(layer, matching="scipy", n_jobs=2, block=2), expected)
    # A cache brings its mean, over more images than it holds.
    expected = compute_rsm(z - mean.mean(axis=1, keepdims=True), matching="scipy")
    np.testing.assert_allclose(compute_rsm(layer, matching="scipy", centring="channel"), expected, rtol=1e-5)
    part = CacheLayer(path, "layer1", slice(1, 4))
    assert part.labels.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(part.read(1, 3), layer.read(2, 4))
    np.testing.assert_array_equal(
        compute_rsm(part, matching="scipy", block=1, n_jobs=2), compute_rsm(z[1:4], matching="scipy")
    )
    assert len(pickle.dumps(part)) < 2000
    with pytest.raises(ValueError, match="layer2"):
        CacheLayer(path, "layer2")
    with pytest.raises(ValueError, match="non-empty range"):
        CacheLayer(path, "layer1", slice(4, 4))


@pytest.mark.parametrize("scales", [(1e25, 1e25), (1e-25, 1e-25), (1e25, 1e-25)], ids=str)
def test_float32_that_would_leave_its_range_is_matched_in_float64(scales):
    z = np.random.default_rng(12).normal(size=(4, 3, 8)).astype(np.float32)
    z[2:] *= np.array(scales, np.float32)[:, None, None]
    rsm, perms = compute_rsm(z, matching="scipy", return_permutations=True)
    expected, right = compute_rsm(z.astype(np.float64), matching="scipy", return_permutations=True)
    np.testing.assert_allclose(rsm, expected, rtol=1e-12)
    np.testing.assert_array_equal(perms, right)


def test_what_goes_in_is_not_changed():
    z = np.random.default_rng(13).normal(size=(4, 3, 6)).astype(np.float32)
    before = z.copy()
    z.flags.writeable = False
    compute_rsm(z, matching="scipy", centring="position", kernel=["rbf", "cosine"])
    assert (z == before).all()


def test_a_single_image():
    z = np.full((1, 2, 3), 2.0)
    assert compute_rsm(z, matching="scipy").tolist() == [[24.0]]
    assert compute_rsm(z, kernel="cosine", matching="greedy").tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("z", "arguments", "message"),
    [
        (np.ones((2, 3)), {}, "shape"),
        (np.ones((0, 3, 4)), {}, "empty"),
        (np.ones((2, 0, 4)), {}, "empty"),
        (np.ones((2, 3, 0)), {}, "empty"),
        (np.ones((2, 1, 3)), {"layout": "channels_last", "class_token": "drop"}, "empty"),
        (np.ones((2, 3, 4)), {"class_token": "drop"}, "class_token"),
        (np.ones((2, 3, 4)), {"class_token": "yes"}, "class_token: .* one of keep, drop"),
        (np.ones((2, 3, 4)), {"layout": "NCHW"}, "layout: .* one of channels_first"),
        (np.ones((2, 3, 4)), {"centring": "zero"}, "centring: .* one of none"),
        (np.ones((2, 3, 4)), {"grid": (2, 3)}, "does not hold"),
        (np.ones((2, 3, 4)), {"n_jobs": 0}, "n_jobs"),
        (np.ones((2, 3, 4)), {"block": 0}, "block"),
        (np.ones((2, 3, 4)), {"matching": []}, "at least one matching"),
        (np.ones((2, 3, 4)), {"matching": "ortols"}, "did you mean 'ortools'"),
        (np.ones((2, 3, 4)), {"matching": "identity", "options": {"b": 3}}, "takes no options"),
        (np.ones((2, 3, 4)) * 1j, {}, "real numbers"),
        (np.array([["a"]]), {}, "real numbers"),
        ([np.ones((3, 4)), np.ones((3, 5))], {}, "rectangular"),
        (np.ma.masked_equal(np.ones((2, 3, 4)), 1), {}, "masked"),
        (np.full((2, 3, 4), 1e200), {}, "scale"),
        ("missing.npy", {}, "no such file"),
    ],
)
def test_wrong_input_is_named(z, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        compute_rsm(z, **{"matching": "scipy", **arguments})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("centring", ["none", "channel"])
def test_the_first_entry_that_is_not_finite_is_named(bad, centring):
    z = np.ones((4, 3, 5), dtype=np.float32)
    z[2, 1, 3] = bad
    with pytest.raises(ValueError, match="image 2, position 3, channel 1"):
        compute_rsm(z, matching="identity", centring=centring)


def test_the_two_sides_must_fit():
    z = np.ones((2, 3, 4))
    with pytest.raises(ValueError, match="4 positions and z2 has 5"):
        compute_rsm(z, np.ones((2, 3, 5)))
    with pytest.raises(ValueError, match="3 channels and z2 has 2"):
        compute_rsm(z, np.ones((2, 2, 4)))
    with pytest.raises(ValueError, match="lie on the grids"):
        compute_rsm(np.ones((2, 3, 2, 3)), np.ones((2, 3, 3, 2)))


def test_an_unknown_option_is_refused_before_anything_is_matched():
    with pytest.raises(TypeError, match="did you mean 'block_solver'"):
        compute_rsm(np.ones((2, 3, 4)), matching="batch-optimal-128", options={"block_solvr": "scipy"})


def test_options_reach_the_solver():
    z = np.random.default_rng(14).normal(size=(3, 2, 12))
    optimum = compute_rsm(z, matching="scipy")
    np.testing.assert_allclose(compute_rsm(z, matching="batch-optimal-128", options={"block_solver": "scipy"}), optimum)
    assert (compute_rsm(z, matching="batch-optimal-128", options={"b": 2}) <= optimum + 1e-9).all()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("np.zeros(problem.size, int)", "matched .* times"),
        ("np.arange(problem.size - 1)", "shape"),
        ("np.arange(problem.size) + 1", "holds 0"),
        ("np.arange(problem.size) * 1.0", "integers"),
        ("None", "solver"),
        ("[[0, 1], [2, 3]]", "shape"),
    ],
)
def test_a_solver_that_returns_no_permutation_is_found_out(answer, message):
    @sb.register_solver("liar", kind="approximate")
    def liar(problem):
        return eval(answer)

    with pytest.raises(sb.solvers.InvalidMatchingError, match=message):
        compute_rsm(np.ones((2, 3, 4)), matching="liar")


def test_a_solver_cannot_change_the_images():
    @sb.register_solver("vandal", kind="approximate")
    def vandal(problem):
        problem.x[:] = 0
        return np.arange(problem.size)

    with pytest.raises(ValueError, match="read-only"):
        compute_rsm(np.ones((2, 3, 4)), matching="vandal")


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


def test_joblib_threads_give_the_same():
    z = np.random.default_rng(16).normal(size=(6, 4, 16)).astype(np.float32)
    expected = compute_rsm(z, matching="ortools")
    with joblib.parallel_config(backend="threading"):
        np.testing.assert_array_equal(compute_rsm(z, matching="ortools", n_jobs=2, block=2), expected)


def test_array_source_reads_what_the_array_holds():
    z = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(np.int64)
    source = ArraySource(z, "z")
    assert source.dtype == np.float64
    np.testing.assert_array_equal(source.read(0, 2), z.swapaxes(1, 2))
    assert [(start, len(images)) for start, images in source.chunks()] == [(0, 2)]


def test_only_a_tile_of_images_is_in_memory_at_a_time(monkeypatch, tmp_path):
    np.save(tmp_path / "z.npy", np.random.default_rng(17).normal(size=(40, 2, 8)).astype(np.float32))
    expected = compute_rsm(tmp_path / "z.npy", matching="greedy")
    read, asked = ArraySource.read, []
    monkeypatch.setattr(ArraySource, "read", lambda self, i, j: (asked.append(j - i), read(self, i, j))[1])
    monkeypatch.setattr("semrsm_bench.rsm.sources._CHUNK_BYTES", 5 * 2 * 8 * 4)
    # One byte less than all images take: they may not be held.
    monkeypatch.setattr("semrsm_bench.rsm.images.BLOCK_BYTES", 40 * 2 * 8 * 4 - 1)
    rsm = compute_rsm(tmp_path / "z.npy", matching="greedy", centring="none", block=4)
    np.testing.assert_array_equal(rsm, expected)
    assert max(asked) == 5
    assert min(asked) > 0


def test_a_cache_that_is_rewritten_is_read_anew_by_workers_that_live_on(tmp_path):
    path = tmp_path / "net.safetensors"
    rng = np.random.default_rng(18)
    for _ in range(2):
        z = rng.normal(size=(5, 3, 4)).astype(np.float16)
        write_cache(path, {"layer1": z}, {"layer1": z.mean(axis=0)}, images=list("abcde"))
        rsm = compute_rsm(CacheLayer(path, "layer1"), matching="scipy", n_jobs=2, block=2)
        np.testing.assert_array_equal(rsm, compute_rsm(z, matching="scipy"))


def test_a_cache_that_changes_under_a_run_is_found_out(tmp_path):
    path = tmp_path / "net.safetensors"
    z = np.ones((3, 2, 4), np.float16)
    write_cache(path, {"layer1": z}, {"layer1": z[0]}, images=list("abc"))
    sent = pickle.dumps(CacheLayer(path, "layer1"))
    np.testing.assert_array_equal(pickle.loads(sent).read(0, 3), z.swapaxes(1, 2))
    write_cache(path, {"layer1": 2 * z}, {"layer1": z[0]}, images=list("abc"))
    with pytest.raises(ValueError, match="another file"):
        pickle.loads(sent).read(0, 3)


def test_images_whose_products_leave_float64_are_refused():
    z = np.random.default_rng(0).normal(size=(3, 2, 4))
    z[0] = 0
    for factor in (1e200, 1e-200):
        with pytest.raises(ValueError, match=r"image 1 of z reaches .* scale it"):
            compute_rsm(factor * z, matching="exact-auction")


def test_a_grid_may_be_named_for_a_source_that_knows_none(tmp_path):
    z = np.random.default_rng(21).normal(size=(4, 3, 6)).astype(np.float16)
    write_cache(tmp_path / "net.safetensors", {"block": z}, {"block": z[0]}, images=list("abcd"))
    layer = CacheLayer(tmp_path / "net.safetensors", "block")
    rsm = compute_rsm(layer, matching="translation", grid=(2, 3))
    np.testing.assert_array_equal(rsm, compute_rsm(z.reshape(4, 3, 2, 3), matching="translation"))
    assert layer.grid is None


def test_the_signature_shows_what_may_be_passed():
    parameters = inspect.signature(sb.compute_rsm).parameters
    assert (parameters["matching"].default, parameters["kernel"].default) == ("ortools", "linear")
    z = np.random.default_rng(0).standard_normal((3, 2, 4))
    shown = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    np.testing.assert_array_equal(sb.compute_rsm(z, **shown), sb.compute_rsm(z))
    with pytest.raises(TypeError, match="no keyword 'kernl'; did you mean 'kernel'"):
        sb.compute_rsm(z, kernl="rbf")
