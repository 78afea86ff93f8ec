"""The task outputs: planted answers, pairs written out, resampled images."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from semrsm_bench.core.method import Declaration
from semrsm_bench.core.task import Answer, Case
from semrsm_bench.metrics import cka, jensen_shannon
from semrsm_bench.metrics.arrays import upper_triangle
from semrsm_bench.tasks import networks
from semrsm_bench.tasks.outputs import Outputs
from tests.command_line import call
from tests.observing import options, result

N = 14


def probabilities(seed=0):
    odds = np.exp(2 * np.random.default_rng(seed).standard_normal((N, 5)))
    return odds / odds.sum(axis=1, keepdims=True)


def noise(seed=1):
    values = np.random.default_rng(seed).standard_normal((N, N))
    return values + values.T


def scored(rsm, exact=None, category="matching", name="greedy"):
    """Score of an RSM where the divergences, and the RSM of the optimal matching, are known."""
    truth = SimpleNamespace(divergence=upper_triangle(jensen_shannon(probabilities())), exact=lambda case: exact)
    units = {"image": tuple(f"i{k}" for k in range(N))}
    case = Case("net/last/linear", {"model": "net", "layer": "last", "kernel": "linear"}, dict, units)
    declared = Declaration("rsm", name, category)
    return case, Outputs().score(case, {"z": np.zeros((N, 2, 4))}, Answer({"rsm": rsm}), truth, declared)


def test_an_rsm_that_is_the_divergence_correlates_to_minus_one():
    rsm = 3 - 2 * jensen_shannon(probabilities())
    # The diagonal plays no part.
    np.fill_diagonal(rsm, 1e6)
    case, found = scored(rsm, category="matching-free")
    assert found.scores == {"pearson": pytest.approx(-1), "spearman": pytest.approx(-1)}
    assert (Outputs.scores[0].name, Outputs.scores[0].best) == ("pearson", "min")
    assert found.raw == {"images": N, "pairs": len(upper_triangle(rsm))}
    # Without the exact RSM there is no agreement; the optimum agrees with itself, and is not computed again.
    kept = Outputs().aggregate([result(case, found)], np.ones((1, N)), case.units["image"])
    assert set(kept) == {"pearson", "spearman"}
    _, found = scored(noise(), exact=None, name="exact-auction")
    assert found.scores["agreement"] == found.scores["same_neighbour"] == pytest.approx(1)


def test_scores_of_all_and_of_resampled_images_are_those_of_their_pairs():
    rough, exact = noise(1), noise(1) + 0.5 * noise(2)
    case, found = scored(rough, exact)
    nearest = [np.argmax(np.where(np.eye(N, dtype=bool), -np.inf, rsm), axis=1) for rsm in (rough, exact)]
    same = nearest[0] == nearest[1]
    assert 0 < found.scores["same_neighbour"] == same.mean() < 1
    assert found.scores["agreement_cka"] == pytest.approx(cka(exact, rough, "debiased"))
    rng = np.random.default_rng(0)
    units = [*(f"i{k}" for k in rng.permutation(N)), "another image"]
    draws = np.concatenate([np.ones((1, N + 1)), rng.multinomial(N + 1, np.full(N + 1, 1 / (N + 1)), size=5)])
    resampled = Outputs().aggregate([result(case, found)], draws, units)
    assert {name: values[0] for name, values in resampled.items()} == pytest.approx(dict(found.scores))
    assert np.isnan(resampled["agreement_cka"][1:]).all()
    divergence = jensen_shannon(probabilities())
    for b, draw in enumerate(draws):
        counts = dict(zip(units, draw))
        images = np.repeat(np.arange(N), [int(counts[f"i{k}"]) for k in range(N)])
        pairs = tuple(np.array([(i, j) for k, i in enumerate(images) for j in images[k + 1 :] if i != j]).T)
        assert resampled["pearson"][b] == pytest.approx(pearsonr(divergence[pairs], rough[pairs])[0])
        assert resampled["spearman"][b] == pytest.approx(spearmanr(divergence[pairs], rough[pairs])[0])
        assert resampled["agreement"][b] == pytest.approx(spearmanr(exact[pairs], rough[pairs])[0])
        assert resampled["same_neighbour"][b] == pytest.approx(same[images].mean())


def test_an_rsm_without_differences_has_no_score():
    case, found = scored(np.ones((N, N)), category="matching-free")
    assert (found.status, found.scores) == ("ok", {"pearson": None, "spearman": None})
    assert np.isnan(Outputs().aggregate([result(case, found)], np.ones((1, N)), case.units["image"])["pearson"]).all()


def test_a_network_without_logits_or_with_equal_ones_is_named(monkeypatch):
    torch = pytest.importorskip("torch")
    from semrsm_bench.activations.models import Model
    from tests.small_networks import of_one_layer

    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = torch.nn.Identity()

        def forward(self, x):
            return torch.zeros(len(self.maps(x)), 3)

    for model, said in (
        (of_one_layer("colours", torch.nn.Identity(), 8), "colours returns no logits"),
        (Model("grey", Constant().eval(), ("maps",), 8), "grey has equal divergences between all pictures"),
    ):
        monkeypatch.setattr(networks, "load_networks", lambda *_, model=model: [model])
        case = next(iter(Outputs().cases(options(Outputs(), count=10, shipped=False))))
        with pytest.raises(ValueError, match=said):
            Outputs().truth(case, case.inputs(), None)


def test_activations_without_logits_are_refused_before_anything_is_measured(tmp_path):
    np.savez(tmp_path / "net.npz", layer=np.ones((14, 3, 4, 4)))
    said = call("run", "outputs", "--data", tmp_path / "net.npz", "--out", tmp_path / "results", code=2)[1]
    assert "net.npz: it has no logits (N, K)" in said
    assert not (tmp_path / "results").exists()
