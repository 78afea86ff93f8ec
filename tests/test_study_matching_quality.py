"""The study of matching quality: planted optima, solvers that fail, the sentence both ways, the command line."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from semrsm_bench.activations.store import write_cache
from semrsm_bench.bench.stats import Interval
from semrsm_bench.cli import main
from semrsm_bench.rsm.sources import ArraySource
from semrsm_bench.solvers import (
    MatchingProblem,
    chance_corrected,
    matching_value,
    quality,
    random_value,
    register_solver,
    solve,
)
from semrsm_bench.studies.downstream import Standing
from semrsm_bench.studies.matched_layers import (
    OPTIMUM,
    chosen_solvers,
    match_layer,
    reason_to_leave_out,
    share_of,
)
from semrsm_bench.studies.matching_report import sentence
from semrsm_bench.studies.solver_times import one_pinned_thread, time_solvers
from semrsm_bench.studies.study import read_study
from semrsm_bench.studies.unevenness import unevenness


def activations(n=12, channels=5, size=9, seed=0):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(size=(n, channels, size)), 0).astype(np.float32) + rng.random((n, 1, 1), np.float32)


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "made.safetensors"
    layers = {"early": activations(size=36), "late": activations(size=9, seed=1)}
    write_cache(path, layers, {k: v.mean(axis=0) for k, v in layers.items()}, images=[f"i{k}" for k in range(12)])
    return path


def run(*arguments):
    """Exit code of the command line."""
    with pytest.raises(SystemExit) as ended:
        main(["study", "matching-quality", "--quiet", "--jobs", "1", *map(str, arguments)])
    return ended.value.code


# --- matching a layer -------------------------------------------------------------------------------------------------


def test_shuffled_copies_have_the_optimum_that_was_planted():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(4, 16)).astype(np.float32)
    scales = np.linspace(1, 2, 10).astype(np.float32)
    z = np.stack([scale * base[:, rng.permutation(16)] for scale in scales])
    matched = match_layer("made", ArraySource(z, "made"), "none", ["identity", "greedy"], ["linear", "cosine"])
    expected = np.outer(scales, scales) * float((base.astype(float) ** 2).sum())
    np.testing.assert_allclose(matched.products[OPTIMUM], expected, rtol=1e-5)
    np.testing.assert_allclose(matched.rsms[OPTIMUM]["cosine"], 1, rtol=1e-5)
    assert (matched.quality("identity")[np.triu_indices(10, 1)] < 1).all()


@pytest.mark.parametrize("centring", ["none", "channel"])
def test_quality_is_that_of_the_solver_on_the_pair(centring):
    z = activations(n=10)
    matched = match_layer("made", ArraySource(z, "made"), centring, ["identity", "greedy"], ["linear"])
    shift = z.mean(axis=(0, 2), keepdims=True) if centring == "channel" else 0
    for i, j in ((0, 1), (3, 7), (2, 9)):
        problem = MatchingProblem(*((z - shift)[k].T for k in (i, j)))
        best = matching_value(problem, solve(problem, "scipy"))
        for solver in ("identity", "greedy"):
            k = matching_value(problem, solve(problem, solver))
            # Undefined, on both sides, where the optimum is not positive.
            assert matched.quality(solver)[i, j] == pytest.approx(quality(k, best), rel=1e-4, nan_ok=True)
            expected = chance_corrected(k, best, random_value(problem))
            assert matched.chance_corrected(solver)[i, j] == pytest.approx(expected, abs=1e-4)
        made = matched.problem(i, j)
        np.testing.assert_allclose(made.x, problem.x, atol=1e-6)
        np.testing.assert_allclose(made.y, problem.y, atol=1e-6)


def test_a_solver_that_fails_is_left_out_with_its_message():
    @register_solver("never-right", kind="approximate")
    def never_right(problem):
        raise RuntimeError("no luck")

    told = []
    source = ArraySource(activations(n=10), "made")
    matched = match_layer("made", source, "none", ["never-right", "greedy"], ["linear"], tell=told.append)
    assert "no luck" in matched.left_out["never-right"]
    assert matched.solvers == ["greedy"]
    assert told == [45, 45, 45]


def test_blocks_that_hold_everything_are_left_out_unless_asked_for():
    assert "optimum" in reason_to_leave_out("batch-optimal-256", 256)
    assert "optimum" in reason_to_leave_out("topk-greedy-128", 64)
    assert reason_to_leave_out("batch-optimal-128", 256) == ""
    assert reason_to_leave_out("auction-coarse", 64) == ""
    source = ArraySource(activations(n=10), "made")
    asked = match_layer("made", source, "none", ["batch-optimal-128"], ["linear"], asked_for=True)
    np.testing.assert_allclose(asked.products["batch-optimal-128"], asked.products[OPTIMUM], rtol=1e-6)


def test_larger_layers_get_fewer_images():
    assert [share_of(100, s, 12) for s in (16, 64, 256, 1024, 4096)] == [100, 100, 50, 25, 12]
    assert share_of(10, 4096, 12) == 10


def test_solvers_by_default_are_those_that_can_be_compared():
    names = chosen_solvers()
    assert names[0] == "identity"
    assert {"greedy", "batch-optimal-512", "auction-fine"} < set(names)
    assert not {OPTIMUM, "scipy"} & set(names)
    assert chosen_solvers(["scipy", OPTIMUM, "greedy", "scipy"]) == ["scipy", "greedy"]


# --- unevenness -------------------------------------------------------------------------------------------------------


def matched_with(values, kernels=("linear",)):
    """A layer whose same-position similarities are given, and the optimum as it is."""
    matched = match_layer("made", ArraySource(activations(n=10), "made"), "none", ["identity"], list(kernels))
    matched.products["identity"] = values(matched.products[OPTIMUM])
    matched.rsms["identity"] = dict.fromkeys(kernels, matched.products["identity"])
    return matched


def test_matching_that_only_rescales_is_even():
    found = unevenness(matched_with(lambda best: 0.7 * best))
    assert found["ratio"] == pytest.approx(0.7)
    assert found["ratio_cv"] == pytest.approx(0, abs=1e-12)
    assert (found["ratio_low"], found["ratio_high"]) == pytest.approx((0.7, 0.7))
    assert found["rank_linear"] == pytest.approx(1)
    assert found["gain_cv"] > 0.01


def test_matching_that_adds_the_same_everywhere_has_an_even_gain():
    found = unevenness(matched_with(lambda best: best - 1))
    assert found["gain_cv"] == pytest.approx(0, abs=1e-12)
    assert found["ratio_cv"] > 0.001


def test_a_ratio_that_means_nothing_is_not_given():
    matched = matched_with(lambda best: best - 1)
    matched.products[OPTIMUM] = matched.products[OPTIMUM] - 1e6
    found = unevenness(matched)
    assert found["ratio"] is None
    assert found["ratio_cv"] is None
    assert found["gain_cv"] is not None


# --- times ------------------------------------------------------------------------------------------------------------


def test_every_solver_is_timed_on_every_pair_and_failures_are_left_out():
    @register_solver("never-there", kind="approximate")
    def never_there(problem):
        raise RuntimeError("no luck")

    z = activations(n=4)
    problems = [MatchingProblem(z[i].T, z[i + 1].T) for i in range(3)]
    rows = time_solvers(problems, ["greedy", "never-there", "matrix-free-coarse", "scipy"], "cpu")
    frame = pd.DataFrame(rows)
    assert sorted(zip(frame["pair"], frame["solver"])) == sorted(
        (pair, name) for pair in range(3) for name in ("greedy", "matrix-free-coarse", "scipy")
    )
    # The one that begins changes, so that none always follows the same.
    assert len(set(frame.groupby("pair")["solver"].first())) == 3
    assert (frame["solve_seconds"] > 0).all()
    np.testing.assert_allclose(frame["seconds"], frame["solve_seconds"] + frame["affinity_seconds"])
    free = frame["solver"] == "matrix-free-coarse"
    assert (frame.loc[free, "affinity_seconds"] == 0).all()
    assert (frame.loc[~free, "affinity_seconds"] > 0).all()
    for row in rows:
        problem = problems[row["pair"]]
        assert row["k"] == pytest.approx(matching_value(problem, solve(problem, row["solver"])), rel=1e-6)


def test_the_pinned_thread_is_let_go_again():
    before = os.sched_getaffinity(0)
    with one_pinned_thread():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


# --- the sentence -----------------------------------------------------------------------------------------------------

DEMANDS = {"spearman": 0.999, "same_neighbour": 0.99}


def standing(solver, seconds, spearman, neighbours, layer="layer1"):
    values = {"spearman": spearman, "same_neighbour": neighbours, "cka": spearman, "top5": neighbours}
    return Standing(solver, layer, 64, 20, Interval(seconds, seconds, seconds), values, values)


def test_the_sentence_follows_the_figures():
    exact = standing(OPTIMUM, 4.0, 1.0, 1.0)
    identity = standing("identity", 0.001, 0.5, 0.31)
    greedy = standing("greedy", 1.0, 0.97, 0.62)
    auction = standing("auction-coarse", 2.0, 0.9999, 1.0)
    good = sentence([exact, identity, greedy, auction], DEMANDS)
    assert "auction-coarse (layer1), 2.0 times as fast as exact-auction;" in good
    assert "Spearman is 0.50 and 31 % of the neighbours stay" in good
    assert "greedy at layer1) keeps 62 %" in good
    none = sentence([exact, identity, greedy], DEMANDS)
    assert none.startswith("No approximation is both good enough")
    assert sentence([greedy, standing(OPTIMUM, float("nan"), 1.0, 1.0)], DEMANDS).startswith("No timed solver")
    second = [standing(OPTIMUM, 3.0, 1, 1, "layer2"), standing("auction-coarse", 5.0, 0.9999, 1.0, "layer2")]
    mixed = sentence([exact, auction, *second], DEMANDS)
    assert (
        "auction-coarse (layer1), exact-auction (layer2), 2.0 times as fast as exact-auction where it is another"
        in mixed
    )
    assert "without matching" not in mixed


# --- the command line -------------------------------------------------------------------------------------------------


def test_a_cache_is_studied_with_a_solver_of_ones_own(cache, tmp_path, capsys):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import numpy as np\n"
        "from semrsm_bench import register_solver\n"
        "@register_solver('mine-reversed', kind='approximate')\n"
        "def mine(problem):\n"
        "    return np.arange(problem.size)[::-1].copy()\n"
    )
    out = tmp_path / "out"
    solvers = "identity,greedy,mine-reversed"
    kernels = "linear,cosine,rbf"
    assert run("--data", cache, "--plugin", plugin, "--matching", solvers, "--kernels", kernels, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "mine-reversed" in shown
    content = read_study(out)
    assert content["inputs"]["cache"] == "made"
    assert str(tmp_path) not in json.dumps(content)
    assert {f["file"] for f in content["figures"]} == {
        "downstream.png",
        "unevenness.png",
        "quality-none.png",
        "quality-channel.png",
    }
    assert all((out / f["file"]).stat().st_size > 10_000 for f in content["figures"])
    rows = pd.read_csv(out / "rows.csv")
    assert set(rows["layer"]) == {"early", "late"}
    measured = rows[(rows["measure"] == "spearman") & (rows["solver"] == "mine-reversed")]
    assert len(measured) == 2 * 2 * 3
    exact = rows[(rows["solver"] == OPTIMUM) & rows["measure"].isin(["quality", "chance_corrected"])]
    np.testing.assert_allclose(exact["value"].dropna(), 1)
    # Row and column constants change neither c of a permutation nor the optimal one; only same-position is one permutation.
    c = rows[(rows["measure"] == "chance_corrected") & rows["solver"].isin(["identity", "mine-reversed"])]
    for _, both in c.groupby(["layer", "solver"]):
        assert both["value"].iloc[0] == pytest.approx(both["value"].iloc[1], abs=1e-4)
    assert "mine-reversed" in str(content["tables"][1]["rows"])
    assert content["paper"][0]["title"].startswith("The paper's")


def test_the_same_seed_gives_the_same_agreement(cache, tmp_path):
    frames = []
    for name in ("a", "b"):
        folder = tmp_path / name
        run("--data", cache, "--matching", "identity,greedy", "--layers", "late", "--quick", "--out", folder)
        rows = pd.read_csv(folder / "rows.csv")
        frames.append(rows[~rows["measure"].str.contains("seconds")].reset_index(drop=True))
    pd.testing.assert_frame_equal(*frames)


def test_a_cache_needs_no_torch(cache, tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from semrsm_bench.studies.matching_quality import matching_quality\n"
        f"matching_quality(data=Path({str(cache)!r}), matching=['identity'], layers=['late'], jobs=1, quick=True, quiet=True)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--matching", "gredy"], "did you mean 'greedy'"),
        (["--layers", "middle"], "no layer 'middle'; it has early, late"),
        (["--kernels", "cosin"], "kernel must be one of"),
        (["--kernels", ""], "at least one kernel"),
        (["--centrings", "row"], "centring must be one of"),
        (["--centrings", ""], "at least one centring"),
        (["--count", "13"], "asked for 13 images, made.safetensors has 12"),
        (["--count", "9"], "at least 10 images"),
        (["--least-spearman", "1.5"], "between 0 and 1"),
        (["--jobs", "0"], "jobs must not be 0"),
        (["--model", "timm:x"], "leave out --model"),
    ],
)
def test_wrong_use_is_told_in_one_line(cache, tmp_path, capsys, arguments, message):
    assert run("--data", cache, "--out", tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_cache_and_missing_images_are_told(tmp_path, capsys):
    assert run("--data", tmp_path / "nothing.safetensors") == 2
    assert "nothing.safetensors" in capsys.readouterr().err
    assert run("--images", tmp_path / "nothing.zip") == 2
    assert "nothing.zip" in capsys.readouterr().err


def test_a_cache_of_few_images_is_refused(tmp_path, capsys):
    path = tmp_path / "few.safetensors"
    layers = {"late": activations(n=6)}
    write_cache(path, layers, {"late": layers["late"].mean(axis=0)}, images=list("abcdef"))
    assert run("--data", path) == 2
    assert "few.safetensors has 6 images" in capsys.readouterr().err


def test_the_shipped_network_on_its_last_layers(tmp_path, capsys):
    out = tmp_path / "out"
    solvers = "identity,greedy,auction-coarse"
    assert run("--quick", "--layers", "layer3,layer4", "--matching", solvers, "--out", out) == 0
    content = read_study(out)
    assert content["quick"] is True
    assert content["inputs"]["pictures"]["count"] == 32
    assert len(content["inputs"]["networks"][0]["weights_sha256"]) == 64
    rows = pd.read_csv(out / "rows.csv")
    spearman = rows[rows["measure"] == "spearman"].groupby("solver")["value"].min()
    assert spearman["identity"] < spearman["greedy"] < spearman["auction-coarse"]


@pytest.mark.slow
def test_quick_on_the_defaults(tmp_path):
    out = tmp_path / "out"
    assert run("--quick", "--out", out) == 0
    rows = pd.read_csv(out / "rows.csv")
    assert set(rows["layer"]) == {"layer2", "layer3", "layer4"}
    assert {"batch-optimal-512", "topk-greedy-128", "matrix-free-fine"} <= set(rows["solver"])
