"""Ids of samples travel with arrays; other samples, or another order, are refused; aligned by id on request."""

import pickle

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.rsm import CacheLayer, load_rsm
from semrsm_bench.rsm.store import read_description

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(9, 4, 6)).astype(np.float16)
IDS = [f"p{i}" for i in range(9)]


@pytest.fixture
def cache(tmp_path):
    sb.save_activations(tmp_path / "net.safetensors", {"a": Z}, ids=IDS, labels=np.arange(9) % 3)
    return tmp_path / "net.safetensors"


def test_ids_travel_from_a_cache_to_an_rsm_and_its_file(cache, tmp_path):
    layer = CacheLayer(cache, "a")
    both = sb.compute_rsm(layer, matching="identity", kernel=["linear", "cosine"])
    for K in both.values():
        assert K.ids == K.column_ids == tuple(IDS)
    part = CacheLayer(cache, "a", slice(2, 6))
    K = sb.compute_rsm(part, layer, matching="scipy", kernel=["linear", "rbf"], out=tmp_path / "k.npy")["linear"]
    for found in (
        K,
        load_rsm(tmp_path / "k.npy"),
        load_rsm(tmp_path / "k.rbf.npy"),
        pickle.loads(pickle.dumps(both["cosine"])),
    ):
        assert found.column_ids == tuple(IDS)
    assert K.ids == tuple(IDS[2:6])
    assert read_description(tmp_path / "k.npy")["labels"] == [2, 0, 1, 2]
    resumed = sb.compute_rsm(part, layer, matching="scipy", kernel="linear", out=tmp_path / "k.npy")
    assert resumed.ids == tuple(IDS[2:6])


def test_what_is_computed_from_an_array_with_ids_has_none():
    K = sb.with_ids(np.eye(3), "abc", "abc")
    for other in (K[[2, 0, 1]], K[:2], K + 1, K.T, np.sort(K), K.copy()):
        assert other.ids is None
    assert sb.with_ids(np.eye(3), [1, 2, 3]).ids == ("1", "2", "3")


@pytest.mark.parametrize("kernel", [sb.metrics.linear_rsm, sb.metrics.cosine_rsm, sb.metrics.rbf_rsm])
def test_rsms_of_features_have_their_ids(kernel):
    x, y = RNG.normal(size=(2, 9, 5))
    K = kernel(sb.with_ids(x, IDS))
    assert K.ids == K.column_ids == tuple(IDS)
    K = kernel(x[:4], sb.with_ids(y, IDS))
    assert (K.ids, K.column_ids) == (None, tuple(IDS))
    assert type(kernel(x)) is np.ndarray


PAIRS = {
    "compare_rsms": (sb.metrics.compare_rsms, "rsms"),
    "cka": (sb.metrics.cka, "rsms"),
    "hsic": (sb.metrics.hsic, "rsms"),
    "minibatch_cka": (lambda K, L: sb.metrics.minibatch_cka([(K, L)]), "rsms"),
    "linear_cka": (sb.metrics.linear_cka, "features"),
    "svcca": (sb.metrics.svcca, "features"),
    "procrustes": (sb.metrics.procrustes_distance, "features"),
}


def sides(kind):
    x, y = RNG.normal(size=(2, 9, 5))
    return (x @ x.T, y @ y.T) if kind == "rsms" else (x, y)


@pytest.mark.parametrize("name", PAIRS)
def test_other_samples_or_another_order_are_refused_and_aligned_on_request(name):
    metric, kind = PAIRS[name]
    x, y = sides(kind)
    expected = metric(x, y)
    order = RNG.permutation(9)
    columns = [IDS[i] for i in order] if kind == "rsms" else None
    other = y[order][:, order] if kind == "rsms" else y[order]
    first = sb.with_ids(x, IDS, IDS if kind == "rsms" else None)
    second = sb.with_ids(other, [IDS[i] for i in order], columns)
    with pytest.raises(
        ValueError, match=r"the same samples in another order: at \d is 'p\d' in . and 'p\d' in .; .*align"
    ):
        metric(first, second)
    assert metric(*sb.align(first, second)) == pytest.approx(expected)
    assert metric(first, sb.with_ids(y, IDS)) == pytest.approx(expected)
    metric(first, other)  # whose ids nobody said
    strangers = sb.with_ids(y, [*IDS[:-1], "new"])
    with pytest.raises(ValueError, match=r"1 are only in ., such as 'p8' and 1 are only in ., such as 'new'"):
        metric(first, strangers)


def made(kind):
    x = RNG.normal(size=(30, 5))
    return {
        "rsm": lambda: x @ x.T,
        "probabilities": lambda: np.abs(x) / np.abs(x).sum(axis=1, keepdims=True),
        "counts": lambda: RNG.integers(1, 4, size=(30, 4)),
    }.get(kind, lambda: x)()


@pytest.mark.parametrize("name", [name for name, info in sb.metrics.METRICS.items() if len(info.inputs) == 2])
def test_every_metric_of_two_sides_refuses_another_order(name):
    info = sb.metrics.METRICS[name]
    first, second = map(made, info.inputs)
    info.function(first, second)
    with pytest.raises(ValueError, match="the same samples in another order"):
        info.function(sb.with_ids(first, range(30)), sb.with_ids(second, range(29, -1, -1)))


@pytest.mark.parametrize(
    "call",
    [
        sb.metrics.canonical_correlations,
        lambda x, y: sb.metrics.null_distribution(lambda a, b: 0.0, x, y, 2),
        lambda x, y: sb.metrics.significance("linear_cka", x, y, 2),
        lambda x, y: sb.metrics.cka_matrix([x, x], [x, y], kernel="linear"),
        lambda x, y: sb.metrics.instance_similarity([x, x, y]),
        lambda x, y: sb.metrics.Barycenter().fit([x, y]),
        sb.get_metric("linear_regression").run,
        sb.metrics.align,
    ],
)
def test_what_takes_several_arrays_refuses_another_order(call):
    x, y = RNG.normal(size=(2, 9, 3))
    call(x, y)
    call(sb.with_ids(x, IDS), sb.with_ids(y, IDS))
    with pytest.raises(ValueError, match="the same samples in another order"):
        call(sb.with_ids(x, IDS), sb.with_ids(y, IDS[::-1]))


def test_the_part_that_all_share_is_in_the_order_of_the_first():
    x = sb.with_ids(np.arange(8.0).reshape(4, 2), "abcd")
    K = sb.with_ids(np.arange(9.0).reshape(3, 3), "dxb", "dxb")
    found, rsm = sb.align(x, K)
    assert found.ids == rsm.ids == rsm.column_ids == ("b", "d")
    np.testing.assert_array_equal(found, [[2, 3], [6, 7]])
    np.testing.assert_array_equal(rsm, [[8, 6], [2, 0]])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sb.with_ids(np.eye(3), "aba"), "ids: 'a' is there twice, at 0 and 2"),
        (lambda: sb.with_ids(np.eye(3), "ab"), "ids: there are 2 ids for 3 samples"),
        (lambda: sb.with_ids(np.eye(3), "abc", "abb"), "column_ids: 'b' is there twice"),
        (lambda: sb.align(np.eye(3), sb.with_ids(np.eye(3), "abc")), "array 0 carries no ids"),
        (lambda: sb.align(sb.with_ids(np.eye(2), "xy"), sb.with_ids(np.eye(3), "abc")), "no id in common"),
    ],
)
def test_ids_that_name_no_samples_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_ids_travel_from_arrays_to_rsms_and_caches(tmp_path):
    named = sb.with_ids(Z.astype(np.float32), IDS)
    assert sb.compute_rsm(named, matching="identity").ids == tuple(IDS)
    between = sb.compute_rsm(named[:4], named, matching="identity")
    assert (between.ids, between.column_ids) == (None, tuple(IDS))
    sb.save_activations(tmp_path / "own.safetensors", {"a": named, "b": named.copy()})
    assert sb.compute_rsm(CacheLayer(tmp_path / "own.safetensors", "a"), matching="identity").ids == tuple(IDS)
    other = sb.with_ids(Z.astype(np.float32), IDS[::-1])
    with pytest.raises(ValueError, match="in another order"):
        sb.save_activations(tmp_path / "two.safetensors", {"a": named, "b": other})


@pytest.mark.parametrize("name", ["labels", "logits", "a.mean"])
def test_a_layer_cannot_have_a_name_that_means_something_else(tmp_path, name):
    with pytest.raises(ValueError, match=f"a layer cannot be called '{name}'"):
        sb.save_activations(tmp_path / "net.safetensors", {name: Z})
    with pytest.raises(TypeError, match="layers must be a mapping such as"):
        sb.save_activations(tmp_path / "net.safetensors", Z)
