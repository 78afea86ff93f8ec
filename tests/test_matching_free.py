"""RSM methods without a matching: their definitions written out, the order among them, and where they are exact."""

import itertools

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from semrsm_bench import compute_rsm, get_rsm, register_rsm, rsm_names
from semrsm_bench.rsm.check_cases import CASES
from semrsm_bench.rsm.comparison import InvalidRsmError
from semrsm_bench.rsm.registry import VectorRsm
from semrsm_bench.rsm.vectors import Vectors

FREE = [name for name in rsm_names() if get_rsm(name).category == "matching-free"]


def sides(seed, n=3, m=4, channels=5, size=7, shift=0.3):
    rng = np.random.default_rng(seed)
    return [np.maximum(rng.standard_normal((count, channels, size)) + shift, 0) for count in (n, m)]


def nuclear(a):
    return np.sqrt(np.maximum(np.linalg.eigvalsh(a @ a.T), 0)).sum()


def unit(x):
    norms = np.sqrt((x**2).sum(axis=0))
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def rbf(x, y):
    scale = (x**2).sum(axis=0).mean() + (y**2).sum(axis=0).mean() or 1.0
    return sum(np.exp(-((p - q) ** 2).sum() / scale) for p in x.T for q in y.T) / x.shape[1]


def polynomial(x, y):
    x, y = (side / (np.sqrt((side**2).sum(axis=0).mean()) or 1.0) for side in (x, y))
    return sum((1 + p @ q) ** 3 for p in x.T for q in y.T) / x.shape[1]


def soft(x, y, eps=0.1):
    """The doubly stochastic matrix of the form u exp(A / w) v, by many of Sinkhorn's steps."""
    a = x.T @ y
    kernel = np.exp((a - a.max()) / (eps * np.sqrt((a**2).mean()) or 1.0))
    v = np.ones(len(a))
    for _ in range(2000):
        u = 1 / (kernel @ v)
        v = 1 / (u @ kernel)
    return u @ (kernel * a) @ v


DEFINITIONS = {
    "pooled": lambda x, y: (x.T @ y).mean() * x.shape[1],
    "second-moment": lambda x, y: ((x.T @ y) ** 2).sum(),
    "second-moment-unit": lambda x, y: ((unit(x).T @ unit(y)) ** 2).sum(),
    "chamfer": lambda x, y: ((x.T @ y).max(axis=0).sum() + (x.T @ y).max(axis=1).sum()) / 2,
    "set-rbf": rbf,
    "set-polynomial": polynomial,
    "sinkhorn": soft,
    "bures": lambda x, y: nuclear(x.T @ y),
}
OPTIONS = {"sinkhorn": {"iterations": 2000}}
TOLERANCE = {"sinkhorn": 1e-3, "bures": 1e-6}


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), channels=st.integers(1, 9), size=st.integers(1, 8))
def test_definition_written_out(name, seed, channels, size):
    z, z2 = sides(seed, 2, 2, channels, size)
    expected = [[DEFINITIONS[name](x, y) for y in z2] for x in z]
    scale = max(np.abs(expected).max(), 1e-12)
    found = compute_rsm(z, z2, matching=name, options=OPTIONS.get(name))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE.get(name, 1e-9) * scale)


def test_every_method_has_a_definition_here():
    assert {*FREE} == {*DEFINITIONS, "sliced"}


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), shift=st.sampled_from([-1.0, 0.0, 3.0]))
def test_order_among_the_methods(seed, shift):
    """pooled <= sinkhorn <= semantic <= chamfer and bures: a mean, a soft and a hard matching, and two relaxations of it."""
    z, z2 = sides(seed, shift=shift)
    of = {
        m: compute_rsm(z, z2, matching=m, options=OPTIONS.get(m))
        for m in ("pooled", "sinkhorn", "scipy", "chamfer", "bures")
    }
    slack = 1e-3 * max(1e-12, np.abs(of["bures"]).max())  # Sinkhorn stops before its end
    assert (of["pooled"] <= of["sinkhorn"] + slack).all()
    assert (of["sinkhorn"] <= of["scipy"] + slack).all()
    assert (of["scipy"] <= np.minimum(of["chamfer"], of["bures"]) + 1e-9 * slack).all()


def test_sliced_is_at_least_semantic_with_many_directions_and_exact_in_one_dimension():
    z, z2 = sides(1)
    semantic, many = (
        compute_rsm(z, z2, **how)
        for how in ({"matching": "scipy"}, {"matching": "sliced", "options": {"directions": 20_000}})
    )
    assert (semantic <= many * 1.02).all()
    z, z2 = sides(2, channels=1)
    np.testing.assert_allclose(compute_rsm(z, z2, matching="sliced"), compute_rsm(z, z2, matching="scipy"), rtol=1e-12)


def test_sliced_sorts_along_each_direction():
    """Of images whose positions lie on one line, along which every direction sorts alike, it is a multiple of the matching."""
    rng = np.random.default_rng(3)
    line = rng.standard_normal(6)
    z, z2 = (rng.standard_normal((n, 1, 9)) * line[:, None] for n in (3, 4))
    found, semantic = (compute_rsm(z, z2, matching=m) for m in ("sliced", "scipy"))
    np.testing.assert_allclose(found / semantic, np.full((3, 4), (found / semantic)[0, 0]), rtol=1e-9)


@pytest.mark.parametrize("name", ["second-moment", "second-moment-unit"])
def test_a_sketch_is_unbiased_and_as_near_as_it_says(name):
    z, z2 = sides(4, channels=12, size=20)
    exact = compute_rsm(z, z2, matching=name)
    norms = [np.sqrt(np.diag(compute_rsm(side, matching=name))) for side in (z, z2)]
    seeds = [compute_rsm(z, z2, matching=name, options={"sketch": 400, "seed": seed}) for seed in range(60)]
    error = 3 * np.multiply.outer(*norms) / np.sqrt(400)
    assert (np.std(seeds, axis=0) <= error).all()
    assert (np.abs(np.mean(seeds, axis=0) - exact) <= 4 * error / np.sqrt(60)).all()


@pytest.mark.parametrize("name", ["pooled", "second-moment", "second-moment-unit", "sliced"])
@given(seed=st.integers(0, 10**6))
def test_inner_products_of_vectors_are_positive_semidefinite(name, seed):
    z, _ = sides(seed, n=8)
    values = np.linalg.eigvalsh(compute_rsm(z, matching=name))
    assert values[0] >= -1e-10 * max(values[-1], 1e-300)


def test_a_method_may_make_a_vector_of_each_image_and_is_checked():
    @register_rsm("largest", vectors=True, invariant_to="permutation")
    def largest(image, *, power=1):
        return image.max(axis=1) ** power

    z, z2 = sides(5)
    for sided in ((z, z2), (z,)):
        found = compute_rsm(*sided, matching="largest", options={"power": 2}, block=2)
        maxima = [side.max(axis=2) ** 2 for side in sided]
        np.testing.assert_allclose(found, maxima[0] @ maxima[-1].T)
    assert [case for case, check in CASES.items() if check(get_rsm("largest"))] == []

    register_rsm("ragged", vectors=True)(lambda image: image[image > 0])
    with pytest.raises(
        InvalidRsmError,
        match=r"'ragged' must return one vector an image, all of one length, got \(\d+,\), ",
    ):
        compute_rsm(z, z2, matching="ragged")
    with pytest.raises(ValueError, match="inner products of vectors are symmetric"):
        register_rsm("odd", vectors=True, symmetric=False)(largest)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("set-rbf", {"t": 0}),
        ("set-polynomial", {"degree": 0}),
        ("sinkhorn", {"eps": -1}),
        ("sinkhorn", {"iterations": 0}),
    ],
)
def test_options_that_mean_nothing_are_refused(name, options):
    with pytest.raises(ValueError, match="positive"):
        compute_rsm(*sides(6), matching=name, options=options)


HOMOGENEOUS = {
    "pooled": 2, "sliced": 2, "chamfer": 2, "sinkhorn": 2, "bures": 2, "second-moment": 4,
    "second-moment-unit": 0, "set-rbf": 0, "set-polynomial": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e35])
def test_scaling_all_images_scales_the_rsm_by_its_power(name, scale):
    z, z2 = sides(7)
    expected = compute_rsm(z, z2, matching=name) * scale ** HOMOGENEOUS[name]
    np.testing.assert_allclose(compute_rsm(z * scale, z2 * scale, matching=name), expected, rtol=1e-9)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("scale", [1e-140, 1e145])
def test_activations_at_the_ends_of_float64(name, scale):
    z = sides(8)[0] * scale
    if HOMOGENEOUS[name] == 4 and scale > 1:
        with pytest.raises(InvalidRsmError, match="finds a similarity of inf"):
            compute_rsm(z, matching=name)
    else:
        found = compute_rsm(z, matching=name)
        assert np.isfinite(found).all()
        assert (found.diagonal() > 0).all() == (HOMOGENEOUS[name] < 4)


@pytest.mark.parametrize("name", FREE)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    channels=st.integers(1, 4),
    size=st.integers(1, 6),
    kind=st.sampled_from(["ties", "zeros", ""]),
)
def test_the_order_of_positions_and_of_the_two_images_does_not_matter(name, seed, channels, size, kind):
    z, z2 = sides(seed, 3, 2, channels, size)
    if kind == "ties":
        z, z2 = np.round(z), np.round(z2)
    if kind == "zeros":
        z[1], z2[0] = 0, 0
    rng = np.random.default_rng(seed)
    found = compute_rsm(z, z2, matching=name)
    moved = (np.stack([image[:, rng.permutation(size)] for image in side]) for side in (z, z2))
    tolerance = {"rtol": 1e-6, "atol": 1e-6 * max(np.abs(found).max(), 1e-300)}
    np.testing.assert_allclose(compute_rsm(*moved, matching=name), found, **tolerance)
    np.testing.assert_allclose(compute_rsm(z2, z, matching=name).T, found, **tolerance)


@pytest.mark.parametrize("name", FREE)
def test_half_precision_tensors_and_arrays_that_cannot_be_written_to_are_the_same_images(name):
    torch = pytest.importorskip("torch")
    z = sides(9)[0].astype(np.float16)
    expected = compute_rsm(z.astype(np.float64), matching=name, kernel="cosine")
    z.flags.writeable = False
    for same in (z, torch.tensor(np.array(z)), np.asfortranarray(z), z.swapaxes(1, 2)):
        layout = "channels_last" if same.shape != z.shape else "channels_first"
        found = compute_rsm(same, matching=name, kernel="cosine", layout=layout)
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("how", [{"n_jobs": 2}, {"rows": 1}])
def test_threads_and_small_memory_change_nothing(name, two_sided, how, monkeypatch):
    z, z2 = sides(10, 7, 5, 6, 40)
    images, how = ([z, z2] if two_sided else [z]), dict(how)
    kernels = ["linear", "cosine", "rbf"]
    expected = compute_rsm(*images, matching=name, kernel=kernels, centring="channel")
    if "rows" in how:
        # An affinity a few rows at a time, and panels of two vectors.
        monkeypatch.setattr("semrsm_bench.rsm.matching_free._ENTRIES", 3 * 40 * how.pop("rows"))
        width = len(get_rsm(name).function(z[0])) if isinstance(get_rsm(name), VectorRsm) else 1
        monkeypatch.setattr("semrsm_bench.rsm.vectors.VECTOR_BYTES", 2 * 2 * 8 * width)
    with joblib.parallel_config(backend="threading"):
        found = compute_rsm(*images, matching=name, kernel=kernels, centring="channel", **how)
    for kernel in kernels:
        np.testing.assert_allclose(
            found[kernel], expected[kernel], rtol=1e-7, atol=1e-9 * np.abs(expected[kernel]).max()
        )


def test_a_vector_is_made_once_where_all_fit_and_two_panels_are_held_where_they_do_not(monkeypatch):
    made = []

    @register_rsm("counted-mean", vectors=True)
    def counted(image):
        made.append(1)
        return image.mean(axis=1)

    z, z2 = sides(11, 8, 8)
    panel, held = Vectors._panel, []
    monkeypatch.setattr(
        Vectors, "_panel", lambda self, *a: (panel(self, *a), held.append(sum(map(len, self._kept))))[0]
    )
    for images in ((z,), (z, z2)):
        made.clear()
        expected = compute_rsm(*images, matching="counted-mean", kernel=["linear", "cosine"])["cosine"]
        assert len(made) == 1 + 8 * len(images), "one more to know its length"
        held.clear()
        with monkeypatch.context() as patch:
            patch.setattr("semrsm_bench.rsm.vectors.VECTOR_BYTES", 2 * 2 * 8 * 5)  # two panels of two images
            found = compute_rsm(*images, matching="counted-mean", kernel="cosine")
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert max(held) == 2


def test_functions_of_blocks_are_asked_for_the_pairs_that_are_wanted_and_no_more():
    asked = []

    @register_rsm("counting-blocks")
    def counting(z, z2):
        asked.append(len(z) * len(z2))
        return np.einsum("ncs,mcs->nm", z, z2)

    z = sides(12, 33)[0]
    np.testing.assert_allclose(compute_rsm(z, matching="counting-blocks"), compute_rsm(z, matching="identity"))
    assert sum(asked) == 33 * 32 // 2 + 33, "and every image with itself"
    assert len(asked) == 32 + 33


def test_sinkhorn_goes_from_the_mean_over_matchings_to_the_best_one():
    z, z2 = sides(13, size=6)
    soft_to_hard = [
        compute_rsm(z, z2, matching="sinkhorn", options={"eps": eps, "iterations": 20_000})
        for eps in (1e4, 1.0, 0.1, 0.01)
    ]
    scale = np.abs(soft_to_hard[-1]).max()
    np.testing.assert_allclose(soft_to_hard[0], compute_rsm(z, z2, matching="pooled"), atol=1e-3 * scale)
    np.testing.assert_allclose(soft_to_hard[-1], compute_rsm(z, z2, matching="scipy"), atol=5e-3 * scale)
    for softer, harder in itertools.pairwise(soft_to_hard):
        assert (softer <= harder + 1e-3 * scale).all()


def test_sinkhorn_is_that_of_a_public_package():
    ot = pytest.importorskip("ot")
    for x, y in zip(*sides(14, 4, 4, 8, 30)):
        a = x.T @ y
        width = 0.1 * np.sqrt((a**2).mean())
        plan = ot.sinkhorn(np.ones(30), np.ones(30), -a, width, stopThr=1e-12, numItermax=20_000)
        found = compute_rsm(x[None], y[None], matching="sinkhorn", options={"iterations": 5000})[0, 0]
        assert found == pytest.approx((plan * a).sum(), rel=2e-4)


def test_bures_is_the_fidelity_of_second_moments():
    for x, y in zip(*sides(15, 4, 4, 4, 9)):
        m, n = x @ x.T, y @ y.T
        root = sqrtm(m)
        fidelity = np.trace(sqrtm(root @ n @ root)).real
        assert compute_rsm(x[None], y[None], matching="bures")[0, 0] == pytest.approx(fidelity, rel=1e-7)
