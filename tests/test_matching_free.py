"""RSM methods without a matching: their definitions written out, the order among them, and where they are exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_bench import compute_rsm, get_rsm, register_rsm, rsm_names
from semrsm_bench.rsm.check_cases import CASES
from semrsm_bench.rsm.comparison import InvalidRsmError

FREE = [name for name in rsm_names() if get_rsm(name).category == "matching-free"]


def sides(seed, n=3, m=4, channels=5, size=7, shift=0.3):
    rng = np.random.default_rng(seed)
    return (np.maximum(rng.standard_normal((count, channels, size)) + shift, 0) for count in (n, m))


def nuclear(a):
    return np.sqrt(np.maximum(np.linalg.eigvalsh(a @ a.T), 0)).sum()


def unit(x):
    norms = np.sqrt((x**2).sum(axis=0))
    return np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)


def rbf(x, y):
    scale = (x**2).sum(axis=0).mean() + (y**2).sum(axis=0).mean() or 1.0
    return sum(np.exp(-((p - q) ** 2).sum() / scale) for p in x.T for q in y.T) / x.shape[1]


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
        match=r"'ragged' must return one vector an image, all of one length, got \(\d+,\) of kind 'f', ",
    ):
        compute_rsm(z, z2, matching="ragged")
    with pytest.raises(ValueError, match="inner products of vectors are symmetric"):
        register_rsm("odd", vectors=True, symmetric=False)(largest)


@pytest.mark.parametrize(
    ("name", "options"), [("set-rbf", {"t": 0}), ("sinkhorn", {"eps": -1}), ("sinkhorn", {"iterations": 0})]
)
def test_options_that_mean_nothing_are_refused(name, options):
    with pytest.raises(ValueError, match="positive"):
        compute_rsm(*sides(6), matching=name, options=options)
