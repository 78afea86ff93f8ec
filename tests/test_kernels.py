"""Kernels from matched inner products, against their definitions on the flattened activations."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semrsm_bench.metrics.kernels import BANDWIDTH_RULES
from semrsm_bench.rsm import bandwidth, compute_rsm, store
from semrsm_bench.rsm.kernels import middle_values, squared_distances


def by_definition(z, perms, sigma):
    """Every kernel from the vectors themselves, for all pairs."""
    flat = z.reshape(len(z), z.shape[1], -1)
    a, b = flat[:, None], np.take_along_axis(flat[None], perms[:, :, None], axis=3)
    products, distances = (a * b).sum(axis=(2, 3)), ((a - b) ** 2).sum(axis=(2, 3))
    norms = np.sqrt((a**2).sum(axis=(2, 3)) * (b**2).sum(axis=(2, 3)))
    return {"linear": products, "cosine": products / norms, "rbf": np.exp(-distances / (2 * sigma**2))}


@pytest.mark.parametrize("matching", ["identity", "translation", "scipy", "greedy"])
def test_kernels_follow_their_definitions_for_the_permutations_that_are_returned(matching):
    z = np.random.default_rng(0).normal(size=(6, 5, 3, 4)) + 0.3
    how = {"kernel": ["linear", "cosine", "rbf"], "sigma": 7.5, "return_permutations": True}
    rsms, perms = compute_rsm(z, matching=matching, **how)
    # z alone: the lower triangle is the mirror image of the upper one, and its permutations are the inverses.
    for kernel, expected in by_definition(z, perms, 7.5).items():
        np.testing.assert_allclose(rsms[kernel], expected, rtol=1e-12)


def test_one_shared_bandwidth_keeps_semantic_similarity_above_spatio_semantic():
    z = np.random.default_rng(4).normal(size=(8, 3, 4, 4)) + np.linspace(0, 2, 8)[:, None, None, None]
    both = compute_rsm(z, kernel="rbf", matching=["identity", "scipy"])
    assert (both["scipy"] >= both["identity"]).all()
    apart = compute_rsm(z, kernel="rbf", matching="scipy")
    assert not (apart >= both["identity"]).all()


def test_equal_images_have_distance_zero_whatever_the_rounding_and_images_of_zeros_no_cosine():
    z = np.random.default_rng(5).normal(size=(4, 16, 64)).astype(np.float32)
    z[3] = z[1]
    rsms = compute_rsm(z, kernel=["rbf", "cosine"], matching="identity")
    assert rsms["rbf"][1, 3] == 1.0
    assert rsms["cosine"][1, 3] == pytest.approx(1.0, abs=1e-14)
    z[1] = 0
    with pytest.raises(ValueError, match=r"image 1.*cosine"):
        compute_rsm(z, kernel="cosine", matching="identity")
    assert compute_rsm(z, matching="identity")[1].tolist() == [0.0] * 4
    with pytest.raises(ValueError, match="bandwidth"):
        compute_rsm(np.ones((3, 2, 4)), kernel="rbf", matching="identity")


@given(
    arrays(
        np.float64, st.integers(0, 60), elements=st.one_of(st.sampled_from([0.0, 1.0, 1e-310]), st.floats(0, 1e300))
    ),
    st.integers(1, 20),
    st.integers(1, 7),
)
def test_the_middle_values_of_parts_are_those_of_all(values, room, length):
    ordered = np.sort(values)
    expected = (ordered[(len(values) - 1) // 2], ordered[len(values) // 2]) if len(values) else None
    parts = [values[i : i + length] for i in range(0, len(values), length)]
    assert middle_values(lambda: iter(parts), room) == expected


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("rule", BANDWIDTH_RULES)
def test_a_matrix_in_many_strips_has_the_same_kernels(tmp_path, monkeypatch, rule, count):
    rng = np.random.default_rng(6)
    z, z2 = rng.normal(size=(count, 3, 8)), rng.normal(size=(8, 3, 8))
    z[count // 2], z2[3] = z[0], z[0]
    how = {"matching": ["identity", "scipy"], "kernel": ["linear", "rbf", "cosine"], "sigma": rule, "t": 1.5}
    for sides in [(z, z2)] + [(z,)] * (count > 2):
        linear = compute_rsm(*sides, matching=["identity", "scipy"])
        norms = [(side**2).sum((1, 2)) for side in (sides[0], sides[-1])]
        distances = [squared_distances(rsm, *norms) for rsm in linear.values()]
        sigma = bandwidth(distances, rule, query_database=len(sides) == 2, t=1.5)
        in_memory = compute_rsm(*sides, **how)
        with monkeypatch.context() as patched:
            patched.setattr(store, "STRIP_BYTES", 2 * 8 * len(sides[-1]))
            assert len(list(store.strips(linear["scipy"].shape))) == (count + 1) // 2
            cut = compute_rsm(*sides, **how)
            streamed = compute_rsm(*sides, **how, out=tmp_path / f"{len(sides)}.npy")
        for matching, matrix in zip(linear, distances, strict=True):
            np.testing.assert_allclose(in_memory[matching]["rbf"], np.exp(-matrix / (2 * sigma**2)), rtol=1e-14)
            for kernel in how["kernel"]:
                np.testing.assert_array_equal(cut[matching][kernel], in_memory[matching][kernel])
                np.testing.assert_array_equal(streamed[matching][kernel], in_memory[matching][kernel])


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("matching", ["identity", "scipy", "pooled"])
def test_the_cosine_of_an_image_with_itself_is_one_in_every_strip(tmp_path, monkeypatch, matching, streamed):
    z = np.random.default_rng(8).normal(size=(40, 3, 8)) + 0.5
    own = np.diag(compute_rsm(z, matching=matching))
    strips = (own / np.sqrt(own) / np.sqrt(own) != 1.0).reshape(-1, 5).any(axis=1)
    assert strips[0], "the formula alone misses 1 by rounding"
    assert strips[1:].sum() > 3
    monkeypatch.setattr(store, "STRIP_BYTES", 5 * 8 * 40)
    cosine = compute_rsm(z, matching=matching, kernel="cosine", out=tmp_path / "rsm.npy" if streamed else None)
    assert np.diag(cosine).tolist() == [1.0] * 40
    off = compute_rsm(z, matching=matching) / np.sqrt(np.outer(own, own))
    np.testing.assert_allclose(cosine[~np.eye(40, dtype=bool)], off[~np.eye(40, dtype=bool)], rtol=1e-14)


@pytest.mark.parametrize("streamed", [True, False])
def test_kernels_take_no_more_memory_than_a_few_strips_beside_the_result(tmp_path, monkeypatch, streamed):
    monkeypatch.setattr(store, "STRIP_BYTES", 2**14)
    z = np.random.default_rng(7).normal(size=(1000, 1, 2)).astype(np.float32)
    how = {"matching": ["identity", "translation"], "grid": (1, 2), "block": 50, "centring": "channel"}
    how |= {"out": tmp_path / "rsm.npy"} if streamed else {}
    compute_rsm(z[:4], **{**how, "out": None}, kernel=["linear", "rbf", "cosine"])
    tracemalloc.start()
    compute_rsm(z, **how, kernel=["linear", "rbf", "cosine"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    results = 0 if streamed else 6
    assert peak < (results + 0.5) * 1000 * 1000 * 8
