"""Divergence of outputs against similarity of representations: planted answers, the command, bad input."""

import numpy as np
import pandas as pd
import pytest

from semrsm_bench.activations.locate import shipped_weights
from semrsm_bench.bench.stats import Interval
from semrsm_bench.cli import main
from semrsm_bench.metrics import jensen_shannon, jensen_shannon_correlation
from semrsm_bench.studies import outputs as study
from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC, LayerRsms
from semrsm_bench.studies.outputs import Correlation, correlations, outputs, sentence
from semrsm_bench.studies.pair_bootstrap import draw_images
from semrsm_bench.studies.study import read_study

N = 14


def probabilities(seed=0):
    odds = np.exp(2 * np.random.default_rng(seed).standard_normal((N, 5)))
    return odds / odds.sum(axis=1, keepdims=True)


def noise(seed=1):
    values = np.random.default_rng(seed).standard_normal((N, N))
    return values + values.T


def layer(spatial, semantic):
    rsms = {SPATIO_SEMANTIC: {"linear": spatial}, SEMANTIC: {"linear": semantic}}
    return LayerRsms("net", "last", 4, 3, "exact-auction", True, rsms)


def found(spatial, semantic):
    result = correlations(layer(spatial, semantic), jensen_shannon(probabilities()), draw_images(N, 200))
    return {(c.method, c.matching): c for c in result}, result


def test_an_rsm_that_is_the_divergence_correlates_to_minus_one():
    divergence = jensen_shannon(probabilities())
    by_key, everything = found(noise(), 3 - 2 * divergence)
    for method in ("pearson", "spearman"):
        assert by_key[method, SEMANTIC].value == pytest.approx((-1, -1, -1), abs=1e-6)
        assert by_key[method, SEMANTIC].difference.high < 0
        assert by_key[method, SPATIO_SEMANTIC].difference is None
    assert "In 1 of 1 combinations" in sentence(everything)
    assert "in 0 it predicts it worse" in sentence(everything)
    assert "-1.000 against" in sentence(everything)


def test_the_sentence_says_so_where_semantic_is_worse_or_no_different():
    divergence = jensen_shannon(probabilities())
    _, worse = found(-divergence, noise())
    assert "In 0 of 1 combinations" in sentence(worse)
    assert "in 1 it predicts it worse, in 0 the interval holds 0" in sentence(worse)
    by_key, equal = found(-divergence, -divergence)
    assert by_key["pearson", SEMANTIC].difference == (0, 0, 0)
    assert "in 0 it predicts it worse, in 1 the interval holds 0" in sentence(equal)


def test_values_are_those_of_the_metric():
    by_key, _ = found(noise(1), noise(2))
    for method in ("pearson", "spearman"):
        for matching, rsm in ((SPATIO_SEMANTIC, noise(1)), (SEMANTIC, noise(2))):
            expected = jensen_shannon_correlation(probabilities(), rsm, method)
            assert by_key[method, matching].value.value == pytest.approx(expected)
        paired = by_key[method, SEMANTIC].value.value - by_key[method, SPATIO_SEMANTIC].value.value
        assert by_key[method, SEMANTIC].difference.value == pytest.approx(paired)


def test_the_diagonal_and_the_scale_of_an_rsm_do_not_matter():
    rsm = noise()
    other = 7 * rsm + 5
    np.fill_diagonal(other, 1e6)
    assert [c.value for c in found(rsm, rsm)[1]] == [pytest.approx(c.value) for c in found(other, other)[1]]


def test_an_rsm_without_differences_is_named():
    with pytest.raises(ValueError, match="an RSM of net, last"):
        found(noise(), np.ones((N, N)))


def test_a_mean_over_networks_goes_into_the_sentence():
    one = [
        Correlation(name, "l", "cosine", matching, "pearson", Interval(value, value, value), difference)
        for name, value in (("a", -0.2), ("b", -0.4))
        for matching, difference in ((SPATIO_SEMANTIC, None), (SEMANTIC, Interval(-0.1, -0.3, 0.1)))
    ]
    assert sentence(one).endswith(
        "the mean correlation, semantic against spatio-semantic, is -0.300 against -0.300 (cosine)."
    )


def test_the_papers_two_tables_of_pearson_agree_but_for_one_sign():
    """Both are of the same networks, so a slip in copying would show; the sign of ResNet18, rbf, differs in print."""
    first, pearson, spearman = study.paper_tables()
    for table in (first, pearson, spearman):
        assert "The paper's own figures, not measured here" in table.note
    gaps = {
        (row[0], column): abs(a - b)
        for row, other in zip(first.rows, pearson.rows, strict=True)
        for column, a, b in zip(first.columns[1:], row[1:], other[1:], strict=True)
    }
    assert [key for key, gap in gaps.items() if gap > 0.06] == [("ResNet18", "rbf, spatio-semantic")]
    assert [row[0] for row in spearman.rows] == [row[0] for row in first.rows]


@pytest.mark.slow
def test_defaults_do_not_move_with_the_number_of_processes():
    two = [outputs(quick=True, quiet=True, how=study.How(kernels=("cosine",), jobs=jobs)).rows for jobs in (1, 2)]
    assert two[0] == two[1]


def test_quick_on_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["study", "outputs", "--quick", "--quiet", "--jobs", "1"])
    assert end.value.code == 0
    folder = tmp_path / "results/studies/outputs"
    content = read_study(folder)
    rows = pd.read_csv(folder / "rows.csv")
    # Five networks, three kernels, three matchings, two methods.
    assert len(rows) == 5 * 3 * 3 * 2
    assert rows["correlation"].between(-1, 1).all()
    assert (rows["low"] <= rows["high"]).all()
    assert rows["difference"].isna().equals(rows["matching"] == SPATIO_SEMANTIC)
    assert len(content["inputs"]["networks"]) == 5
    assert all((folder / figure["file"]).stat().st_size > 10_000 for figure in content["figures"])
    assert len(content["paper"]) == 3
    assert str(tmp_path) not in (folder / "study.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "9"], "at least 10 images"),
        (["--count", "100000"], "the installed photographs give"),
        (["--images", "nowhere.zip"], "does not exist"),
        (["--layers", "layer9"], "no submodule 'layer9'"),
        (["--matching", "exact-auctoin"], "did you mean 'exact-auction'"),
        (["--large-matching", "nothing-like-it"], "known are"),
        (["--matching", "identity"], "no matching of a semantic RSM"),
        (["--kernel", "sigmoid"], "kernel must be one of"),
        (["--kernel", ""], "name at least one kernel"),
        (["--sigma", "silverman"], "sigma must be"),
        (["--sigma", "-1"], "positive"),
        (["--jobs", "0"], "--jobs must not be 0"),
        (["--model", "nowhere.safetensors"], "no such checkpoint"),
    ],
)
def test_bad_input_ends_in_one_message(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["study", "outputs", "--quick", "--quiet", "--model", str(shipped_weights()), *arguments])
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "results").exists()
