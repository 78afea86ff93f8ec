"""What the README says is what the project does."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_ten_lines_are_the_example_that_runs():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert (ROOT / "examples" / "norm_sort.py").read_text() in blocks


def test_python_blocks_compile():
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", README, flags=re.S)):
        compile(block, f"README block {i}", "exec")


def test_every_make_target_and_file_it_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.M)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_verb_it_names_exists():
    from semrsm_bench.cli import VERBS

    named = set(re.findall(r"semrsm-bench ([a-z]+)", README))
    assert {"check", "doctor", "data", "rsm"} <= named
    assert named <= set(VERBS)
