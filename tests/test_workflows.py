"""The workflows: every action pinned, nothing that needs a secret, no more rights than reading, but for publishing."""

import re

import pytest

from tests.gate_repository import CHECKOUT

WORKFLOWS = [CHECKOUT / ".github" / "workflows" / f"{name}.yml" for name in ("gate", "site", "tests")]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_nothing_is_secret_and_make_targets_exist(path):
    text = path.read_text()
    actions = re.findall(r"uses:\s*(\S+)(.*)", text)
    assert actions
    for action, comment in actions:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), f"{action} is not pinned to a commit"
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action} does not say its version"
    assert "secrets." not in text
    assert "pull_request_target" not in text
    assert re.search(r"^permissions:\n  contents: read$", text, flags=re.MULTILINE)
    assert "write" not in text or path.stem == "site"

    targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE)
    used = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert used or ".ci/run" in text, "a workflow runs what a contributor can run"
    assert not used - set(targets)
    assert ".ci/run" not in text or (CHECKOUT / ".ci" / "run").is_file()
