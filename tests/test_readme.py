"""What the README says is what the project does; its commands and Python blocks run in tests/test_docs_commands.py."""

import re
from pathlib import Path

import pytest

from semrsm_bench.cli import VERBS
from tests import docs_commands

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/register.md"])
def test_the_ten_lines_are_the_example_that_runs(page):
    blocks = [block.text for block in docs_commands.blocks((ROOT / page).read_text())]
    assert (ROOT / "examples" / "norm_sort.py").read_text() in blocks


def test_every_file_it_names_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_it_names_the_verbs_that_people_start_with():
    named = set(re.findall(r"semrsm-bench ([a-z]+)", README))
    assert {"check", "doctor", "data", "rsm"} <= named
    assert named <= set(VERBS)
