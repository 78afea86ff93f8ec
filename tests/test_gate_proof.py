"""The gate proved in a throw-away repository: what it must catch, what it must pass, how often. Run with ``make test-gate``."""

import pytest

from tests.gate_repository import MOSTLY_SLOWER, SLOWER, WORSE, ThrowAway, texts_of

pytestmark = [pytest.mark.gate, pytest.mark.timeout(1200)]
# One environment, few solvers and sizes, among them S = 1024.
FEW = ("--solvers", "greedy,batch-optimal-128,ortools,identity", "--sizes", "256,1024", "--centrings", "none")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        made = ThrowAway(folder / "repository")
        made.change("slower", SLOWER.format(name="greedy", times=3))
        made.change("worse", WORSE.format(name="greedy", share=0.02, every=1))
        made.change("both", SLOWER.format(name="greedy", times=6) + WORSE.format(name="greedy", share=0.02, every=1))
        made.change("mostly-slower", MOSTLY_SLOWER.format(name="greedy"))
        made.change("sometimes-worse", WORSE.format(name="greedy", share=0.06, every=2))
        made.change("inexact", WORSE.format(name="scipy", share=0.002, every=1))
        made.with_solver_in_the_middle("middle")
        yield made


def failing(report):
    return {f["solver"] for f in report["findings"] if f["severity"] in ("regression", "failure")}


@pytest.mark.parametrize("run", range(5))
def test_a_solver_three_times_slower_fails(repository, run):
    code, report = repository.gate("base", "slower", *FEW)
    assert (code, failing(report)) == (1, {"greedy"})
    assert {f["size"] for f in report["findings"] if f["severity"] == "regression"} == {256, 1024}
    assert all("time relative to the reference kernel rose" in text for text in texts_of(report, "regression"))


@pytest.mark.parametrize("run", range(5))
def test_b_quality_two_percent_lower_fails(repository, run):
    code, report = repository.gate("base", "worse", *FEW)
    assert (code, failing(report)) == (1, {"greedy"})
    quality = [text for text in texts_of(report, "regression") if "chance-corrected quality fell" in text]
    assert {f["size"] for f in report["findings"] if f["text"] in quality} == {256, 1024}


@pytest.mark.parametrize("run", range(10))
def test_c_no_change_passes(repository, run):
    code, report = repository.gate("base", "base", *FEW)
    assert (code, failing(report)) == (0, set()), report["findings"]


def test_d_a_faster_and_better_solver_passes(repository):
    code, report = repository.gate("both", "base", *FEW)
    assert (code, failing(report)) == (0, set())
    texts = " ".join(texts_of(report, "improvement"))
    assert "quality rose" in texts
    assert "time relative to the reference kernel fell" in texts


def test_e_a_new_solver_in_the_middle_mislabels_nobody(repository):
    code, report = repository.gate("base", "middle", "--solvers", "ortools,reverse,greedy,identity", *FEW[2:])
    assert (code, failing(report)) == (0, set())
    assert {f["solver"] for f in report["findings"]} == {"reverse"}
    for cell in report["cells"]:
        if cell["solver"] != "reverse":
            assert cell["base"]["chance_corrected"] == cell["head"]["chance_corrected"]


@pytest.mark.parametrize("run", range(3))
def test_a_retry_hides_no_solver_that_is_fast_one_time_in_four(repository, run):
    code, report = repository.gate("base", "mostly-slower", *FEW)
    assert (code, failing(report)) == (1, {"greedy"})
    assert max(cell["attempts"] for cell in report["cells"] if cell["solver"] == "greedy") > 1


@pytest.mark.parametrize("run", range(3))
def test_a_retry_hides_no_solver_that_is_bad_every_other_time(repository, run):
    code, report = repository.gate("base", "sometimes-worse", *FEW)
    assert (code, failing(report)) == (1, {"greedy"})


def test_an_exact_solver_that_is_a_little_inexact_fails(repository):
    code, report = repository.gate("base", "inexact", "--solvers", "scipy,identity", *FEW[2:])
    assert (code, failing(report)) == (1, {"scipy"})
