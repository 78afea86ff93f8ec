"""The gate proved in a throw-away repository: what it must catch, what it must pass, how often. Run with ``make test-gate``."""

import pytest

from tests.gate_repository import MOSTLY_SLOWER, SLOWER, WORSE, ThrowAway, texts_of

pytestmark = [pytest.mark.gate, pytest.mark.timeout(1200)]
# One environment, few solvers and sizes, among them S = 1024.
FEW = ("--sizes", "256,1024", "--centrings", "none", "--solvers")
SOLVERS = "greedy,batch-optimal-128,ortools,identity"


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


TIME, QUALITY = "time relative to the reference kernel rose", "chance-corrected quality fell"


@pytest.mark.parametrize(
    ("tag", "said", "run"),
    [
        *(("slower", TIME, run) for run in range(5)),
        *(("worse", QUALITY, run) for run in range(5)),
        # A retry hides no solver that is fast one time in four, and none that is bad every other time.
        *(("mostly-slower", TIME, run) for run in range(3)),
        *(("sometimes-worse", QUALITY, run) for run in range(3)),
    ],
)
def test_a_solver_that_got_worse_fails(repository, tag, said, run):
    code, report = repository.gate("base", tag, *FEW, SOLVERS)
    assert (code, failing(report)) == (1, {"greedy"})
    said_of = {f["size"] for f in report["findings"] if f["severity"] == "regression" and said in f["text"]}
    assert said_of == {256, 1024} or "-" in tag
    assert max(cell["attempts"] for cell in report["cells"] if cell["solver"] == "greedy") > 1


@pytest.mark.parametrize("run", range(10))
def test_no_change_passes(repository, run):
    code, report = repository.gate("base", "base", *FEW, SOLVERS)
    assert (code, failing(report)) == (0, set()), report["findings"]


def test_a_faster_and_better_solver_passes(repository):
    code, report = repository.gate("both", "base", *FEW, SOLVERS)
    assert (code, failing(report)) == (0, set())
    texts = " ".join(texts_of(report, "improvement"))
    assert "quality rose" in texts
    assert "time relative to the reference kernel fell" in texts


def test_a_new_solver_in_the_middle_changes_no_other_figure(repository):
    code, report = repository.gate("base", "middle", *FEW, "ortools,reverse,greedy,identity")
    assert (code, failing(report)) == (0, set())
    assert {f["solver"] for f in report["findings"]} == {"reverse"}
    for cell in report["cells"]:
        if cell["solver"] != "reverse":
            assert cell["base"]["chance_corrected"] == cell["head"]["chance_corrected"]


def test_an_exact_solver_that_is_a_little_inexact_fails(repository):
    code, report = repository.gate("base", "inexact", *FEW, "scipy,identity")
    assert (code, failing(report)) == (1, {"scipy"})
