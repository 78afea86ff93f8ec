"""The task shifts: what changes do, layers that are planted, ties, and networks whose answer is known."""

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.activations.pictures import changed_pictures
from semrsm_bench.activations.store import write_cache
from semrsm_bench.bench.worker import ResultCache
from semrsm_bench.core.method import Declaration
from semrsm_bench.core.stats import jackknife_draws
from semrsm_bench.core.task import Answer, Case, Result
from semrsm_bench.metrics import cka
from semrsm_bench.rsm import compute_rsm
from semrsm_bench.tasks.shifts import Shifts, identified
from tests.observing import answer, met, options, result

N = 12


def rsm_of(rng, width=6):
    x = rng.standard_normal((N, width))
    return x @ x.T


def row(network, layer, plain, changed, channels=8):
    raw = {"network": network, "layer": layer, "place": 0, "channels": channels, "positions": 4}
    return Result(f"{network}/{layer}", {}, {"network": (network,)}, {}, raw, {"plain": plain, "changed": changed})


def planted(noise, networks=("a", "b", "c"), layers=4, seed=0):
    """Rows of networks whose layers have RSMs in common; noise is added to those of changed pictures."""
    rng = np.random.default_rng(seed)
    shared = [rsm_of(rng) for _ in range(layers)]
    return [
        row(network, f"l{k}", rsm + 0.1 * rsm_of(rng), (1 - noise) * rsm + noise * rsm_of(rng))
        for network in networks
        for k, rsm in enumerate(shared)
    ]


@pytest.mark.parametrize("estimator", ["biased", "debiased"])
@pytest.mark.parametrize("noise", [0.0, 0.6, 1.0])
def test_layers_identified_are_those_of_all_pairs_written_out(noise, estimator):
    rows = planted(noise)
    expected = {}
    for first in "abc":
        for second in "abc":
            mine = [r for r in rows if r.raw["network"] == first]
            theirs = [r for r in rows if r.raw["network"] == second]
            table = np.array([[cka(x.arrays["plain"], y.arrays["changed"], estimator) for y in theirs] for x in mine])
            hits = [*(table.argmax(1) == np.arange(4)), *(table.argmax(0) == np.arange(4))]
            expected |= {(first, second): np.mean(hits)} if first != second else {}
    found = identified(rows, estimator)
    assert found == {"same width": pytest.approx(expected), "across widths": {}}
    draws = jackknife_draws(3)
    shares = Shifts().aggregate(rows, draws, list("abc"))["identification" if estimator == "debiased" else "biased"]
    assert shares[0] == pytest.approx(np.mean(list(expected.values())))
    assert shares[1] == pytest.approx(np.mean([expected["b", "c"], expected["c", "b"]])), "a left out"
    if noise == 0:
        assert shares[0] == 1
    if noise == 1:
        assert shares[0] < 0.6


def test_ties_share_the_credit_and_what_is_undefined_earns_none():
    rng = np.random.default_rng(1)
    one, other, flat = rsm_of(rng), rsm_of(rng), np.ones((N, N))
    # Both layers of b are equal to a's first: a tie for it, and whichever a's second finds is half right.
    rows = [row("a", "l0", one, one), row("a", "l1", other, other), row("b", "l0", one, one), row("b", "l1", one, one)]
    found = identified(rows)["same width"]["a", "b"]
    assert found == pytest.approx(np.mean([0.5, 0.5, 1.0, 0.0]))
    rows = [row(network, layer, flat, flat) for network in "ab" for layer in ("l0", "l1")]
    assert identified(rows)["same width"] == {("a", "b"): 0.0, ("b", "a"): 0.0}
    # Without a partner of its name a layer asks nothing; one network has nothing to find.
    assert identified([row("a", "l0", one, one), row("b", "l1", one, one)])["same width"] == {}
    assert identified(rows[:2]) == {"same width": {}, "across widths": {}}


def test_networks_of_other_widths_have_a_score_of_their_own():
    rows = [*planted(0.0, "ab"), *(r for r in planted(0.0, "c"))]
    for r in rows[-4:]:
        r.raw["channels"] = 16
    found = identified(rows)
    assert set(found["same width"]) == {("a", "b"), ("b", "a")}
    assert set(found["across widths"]) == {("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")}
    shares = Shifts().aggregate(rows, np.ones((1, 3)), list("abc"))
    assert shares["across"] == shares["identification"] == 1


@pytest.mark.parametrize("change", ["plain", "shift-4"])
def test_stability_is_of_the_rsms_of_one_layer(change):
    rng = np.random.default_rng(2)
    plain, changed = rsm_of(rng), rsm_of(rng)
    known = {"network": "a", "layer": "l0", "place": 0}
    case = Case("a/l0", {"change": change}, dict, {"network": ("a",)}, size=4, channels=8)
    task, inputs = Shifts(), {"z": np.zeros((N, 8, 4)), "beside": np.zeros((N, 8, 4))}
    found = task.score(case, inputs, Answer({"rsm": changed, "beside": plain}), known, Declaration("rsm", "m"))
    assert found.raw["pairs"] == N * (N - 1) // 2
    if change == "plain":
        assert found.scores == {}, "of itself it would be 1"
    else:
        assert found.scores["stability"] == pytest.approx(cka(plain, changed, "debiased"))
        assert task.aggregate([result(case, found)], np.ones((1, 1)), ["a"])["stability"] == found.scores["stability"]
    with pytest.raises(ValueError, match="RSM of the plain pictures"):
        task.score(case, inputs, Answer({"rsm": changed, "beside": plain[:3]}), known, Declaration("rsm", "m"))


def test_changes_do_what_they_say():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    assert changed_pictures(pixels, "plain") is pixels
    np.testing.assert_array_equal(changed_pictures(pixels, "flip")[:, :, 0], pixels[:, :, -1])
    directions = set()
    for one, moved in zip(pixels, changed_pictures(pixels, "shift-3")):
        ways = [
            (down, right)
            for down in (-3, 3)
            for right in (-3, 3)
            if np.array_equal(
                moved[max(0, -down) : 16 - max(0, down), max(0, -right) : 16 - max(0, right)],
                one[max(0, down) : 16 + min(0, down), max(0, right) : 16 + min(0, right)],
            )
        ]
        directions |= set(ways)
        assert len(ways) == 1
        down, right = ways[0]
        # The row beside the border comes in as the first of its mirror image.
        mirrored = one[14 if down > 0 else 1, 3 + right : 13 + right]
        np.testing.assert_array_equal(moved[13 if down > 0 else 2, 3:13], mirrored)
    assert len(directions) == 4
    noise = changed_pictures(np.full((5, 32, 32, 3), 128, np.uint8), "noise").astype(float) - 128
    assert 24 < noise.std() < 27
    assert abs(noise.mean()) < 1
    np.testing.assert_array_equal(changed_pictures(pixels, "noise", 3), changed_pictures(pixels, "noise", 3))
    for odd in ("shift", "shift-0", "shift-16", "shift--2", "blur", ""):
        with pytest.raises(ValueError, match="no change of these pictures"):
            changed_pictures(pixels, odd)


@pytest.fixture
def caches(tmp_path):
    """Two networks whose layers are known; the changed pictures are the plain ones in another order of positions."""
    rng = np.random.default_rng(0)
    shared = {f"l{k}": rng.standard_normal((N, 5, 9)) for k in range(3)}
    names = [f"p{i}" for i in range(N)]
    for network in "ab":
        layers = {}
        for name, z in shared.items():
            plain = z + 0.05 * rng.standard_normal(z.shape)
            order = np.array([rng.permutation(9) for _ in range(N)])
            layers[name] = np.concatenate([plain, np.take_along_axis(plain, order[:, None, :], axis=2)])
        write_cache(
            tmp_path / f"{network}.safetensors", layers, {n: z.mean(axis=0) for n, z in layers.items()},
            images=[*names, *(f"{name}#mixed" for name in names)],
        )  # fmt: skip
    return tmp_path


def test_methods_that_ignore_places_are_stable_and_identity_is_not(caches):
    found = {}
    for method, case, one in met(
        Shifts(), ("identity", "exact-auction", "pooled", "random"), options(Shifts(), data=caches)
    ):
        found.setdefault((method, case.cell["change"]), []).append(result(case, one))
    assert {change for _, change in found} == {"plain", "mixed"}
    scores = {key: Shifts().aggregate(rows, np.ones((1, 2)), ["a", "b"]) for key, rows in found.items()}
    for method in ("exact-auction", "pooled"):
        assert scores[method, "mixed"]["stability"] == pytest.approx(1, abs=1e-3)
        assert scores[method, "mixed"]["identification"] == scores[method, "plain"]["identification"] == 1
    assert scores["identity", "plain"]["identification"] == 1
    assert scores["identity", "mixed"]["stability"] < 0.6
    assert abs(scores["random", "mixed"]["stability"][0]) < 0.3
    assert "stability" not in scores["identity", "plain"]
    # What a cache lacks is named.
    for given, said in (({"changes": ("flip",)}, "#flip"), ({"count": 5}, "at least 10"), ({"layers": ("l9",)}, "l9")):
        with pytest.raises(ValueError, match=said):
            list(Shifts().cases(options(Shifts(), data=caches, **given)))


def test_shipped_activations_need_no_torch_and_no_pictures(monkeypatch):
    monkeypatch.setattr("semrsm_bench.tasks.networks.load_networks", None)
    monkeypatch.setattr("semrsm_bench.tasks.networks.read_pictures", None)
    cases = list(Shifts().cases(options(Shifts())))
    assert {case.cell["change"] for case in cases} == {"plain", "shift-4", "shift-8", "noise"}
    units = {unit for case in cases for unit in case.units["network"]}
    assert len(units) == 5
    assert len(cases) == 4 * len(units) * 4
    with pytest.raises(TypeError):  # networks that are named run
        list(Shifts().cases(options(Shifts(), model=("mine.safetensors",))))


def test_an_rsm_beside_is_that_of_its_images_and_is_made_once():
    rng = np.random.default_rng(0)
    inputs = {"z": rng.standard_normal((7, 3, 4)), "beside": rng.standard_normal((5, 3, 4))}
    settings = {"kernel": "cosine", "centring": "channel"}
    found = answer("rsm", "exact-auction", inputs, settings)["arrays"]
    for name, side in (("rsm", "z"), ("beside", "beside")):
        expected = compute_rsm(inputs[side], kernel="cosine", matching="exact-auction", centring="channel")
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-9)
    calls = []

    @sb.register_rsm("noted-rsm", prepare=lambda image: calls.append(len(image)) or image)
    def noted_rsm(a, b):
        return float((a * b).sum())

    memory = ResultCache()
    answer("rsm", "noted-rsm", {"z": inputs["beside"]}, settings, memory)
    once = len(calls)
    answer("rsm", "noted-rsm", inputs, settings, memory)
    twice = len(calls) - once
    answer("rsm", "noted-rsm", inputs, settings, memory)
    assert len(calls) == once + twice, "nothing is left to make"
    assert twice < 2 * once, "the images beside were those of the first call"
