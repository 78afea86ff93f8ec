"""RSMs and features go to other libraries and back, and mean the same there."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

import semrsm_bench as sb
from semrsm_bench import interop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 9))
IDS = [f"p{i}" for i in range(6)]
RSM = sb.with_ids(X @ X.T, IDS, IDS)


@pytest.mark.parametrize("library", ["pandas", "xarray"])
def test_arrays_come_back_from_tables_as_they_were(library):
    pytest.importorskip(library)
    there, back = getattr(interop, f"to_{library}"), getattr(interop, f"from_{library}")
    for array in (RSM, sb.with_ids(X, IDS), X, sb.compute_rsm(X.reshape(6, 3, 3), layout="channels_first")):
        found = back(there(array))
        np.testing.assert_array_equal(found, array)
        for name in ("ids", "column_ids"):
            assert getattr(found, name, None) == getattr(array, name, None)
    assert list(there(RSM).loc["p2"]) == list(np.asarray(RSM)[2])


def test_rdms_are_squared_distances_and_what_rsatoolbox_makes_of_the_features():
    rsatoolbox = pytest.importorskip("rsatoolbox")
    other = RNG.normal(size=(6, 4))
    rdms = interop.to_rdms({"linear": RSM, "other": sb.with_ids(other @ other.T, IDS, IDS)})
    # Theirs is divided by the number of channels.
    expected = rsatoolbox.rdm.calc_rdm(interop.to_dataset(sb.with_ids(X, IDS)), method="euclidean", descriptor="ids")
    assert expected.pattern_descriptors["ids"] == IDS
    np.testing.assert_allclose(rdms.dissimilarities[0], expected.dissimilarities[0] * X.shape[1], rtol=1e-9)
    assert (rdms.rdm_descriptors["name"], rdms.pattern_descriptors["ids"]) == (["linear", "other"], IDS)
    back = interop.from_rdms(rdms)
    assert list(back) == ["linear", "other"]
    assert back["linear"].ids == back["linear"].column_ids == tuple(IDS)
    np.testing.assert_allclose(interop.to_rdms(back).dissimilarities, rdms.dissimilarities)
    theirs = rsatoolbox.rdm.compare(rdms[0], rdms[1], method="spearman")[0, 0]
    assert sb.metrics.compare_rsms(back["linear"], back["other"], "spearman") == pytest.approx(theirs)
    half = X / np.linalg.norm(X, axis=1, keepdims=True)
    cosine = interop.to_rdms(half @ half.T)
    np.testing.assert_allclose(cosine.dissimilarities[0], 2 * (1 - half @ half.T)[np.triu_indices(6, 1)])


def test_pairs_that_were_not_measured_are_refused():
    """rsatoolbox marks them by NaN."""
    matrices = np.ones((2, 6, 6)) - np.eye(6)
    matrices[1, 2, 3] = matrices[1, 3, 2] = np.nan
    said = {"rdm_descriptors": {}, "pattern_descriptors": {}}
    rdms = SimpleNamespace(n_rdm=2, get_matrices=lambda: matrices, **said)
    with pytest.raises(ValueError, match=r"RDM '1' has 2 non-finite entries, the first \(nan\) at \(2, 3\)"):
        interop.from_rdms(rdms)


def test_datasets_come_back_with_the_descriptor_that_is_named():
    rsatoolbox = pytest.importorskip("rsatoolbox")
    found = interop.from_dataset(interop.to_dataset(sb.with_ids(X, IDS)))
    np.testing.assert_array_equal(found, X)
    assert found.ids == tuple(IDS)
    data = rsatoolbox.data.Dataset(X, obs_descriptors={"conds": IDS})
    assert interop.from_dataset(data, ids="conds").ids == tuple(IDS)
    assert getattr(interop.from_dataset(data), "ids", None) is None


def test_rsms_that_do_not_belong_together_and_missing_libraries_are_named(monkeypatch):
    pytest.importorskip("rsatoolbox")
    with pytest.raises(ValueError, match=r"a, b are of different samples; semrsm_bench\.align"):
        interop.to_rdms({"a": RSM, "b": sb.with_ids(np.asarray(RSM), IDS[::-1], IDS[::-1])})
    with pytest.raises(ValueError, match="the RSM is not symmetric"):
        interop.to_rdms(RNG.normal(size=(4, 4)))
    twice = interop.to_rdms({"a": RSM, "b": RSM})
    twice.rdm_descriptors["name"] = ["a", "a"]
    with pytest.raises(ValueError, match="one name more than once"):
        interop.from_rdms(twice)
    monkeypatch.setitem(__import__("sys").modules, "xarray", None)
    with pytest.raises(ImportError, match="pip install xarray"):
        interop.to_xarray(X)


class StandIn:
    """LinearMetric(alpha=1) of netrep with angular scores: a list of arrays (n, p) -> (networks, networks)."""

    def pairwise_distances(self, Xs):
        assert isinstance(Xs, list)
        assert {type(X) for X in Xs} == {np.ndarray}
        return np.array([[self.score(X, Y) for Y in Xs] for X in Xs])

    def score(self, X, Y):
        X, Y = (Z - Z.mean(axis=0) for Z in (X, Y))
        R, _ = orthogonal_procrustes(X, Y)
        return np.arccos(np.clip((X @ R * Y).sum() / np.linalg.norm(X) / np.linalg.norm(Y), -1, 1))


def test_a_line_there_and_a_line_back_from_netrep():
    """The lines of docs/your-model.md."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 12, 5))
    order = rng.permutation(12)[:10]
    nets = {"a": sb.with_ids(values[0], range(12)), "b": sb.with_ids(values[1][order], order)}
    nets["c"] = sb.with_ids(values[2], range(12))
    Xs = [np.asarray(x) for x in sb.align(*nets.values())]
    D = sb.with_ids(StandIn().pairwise_distances(Xs), nets, nets)
    assert D.ids == D.column_ids == ("a", "b", "c")
    kept = np.sort(order)
    for i, j in ((0, 1), (1, 2)):
        expected = sb.metrics.procrustes_distance(values[i][kept], values[j][kept], "angular")
        assert D[i, j] == pytest.approx(expected)
    assert list(interop.to_pandas(D).loc["a"].index) == ["a", "b", "c"]


def test_an_rsm_whose_columns_are_in_another_order_is_refused_by_name_and_put_in_order_by_align():
    features = sb.with_ids(np.random.default_rng(0).normal(size=(8, 5)), "abcdefgh")
    rsm = sb.metrics.linear_rsm(features)
    frame = sb.interop.to_pandas(rsm)
    other = sb.interop.from_pandas(frame[frame.columns[::-1]])
    with pytest.raises(
        ValueError, match="rows of L and its columns hold the same samples in another order: at 0 is 'a'"
    ):
        sb.metrics.cka(rsm, other)
    again, whole = sb.align(other, rsm)
    np.testing.assert_array_equal(again, rsm)
    assert sb.metrics.cka(again, whole) == pytest.approx(1.0)
