"""Every command and every Python block of README.md, data/README.md and docs/ runs.

A command is found in the page, then looked up in `WAYS`; one that is not there fails and is named. The normal suite runs what a
`Way` says; the slow suite runs commands as they are written.
"""

import functools
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import types
import warnings
from dataclasses import dataclass

import click
import numpy as np
import pytest
from click.testing import CliRunner

import semrsm_bench
from semrsm_bench.cli import cli
from tests import docs_commands as docs
from tests.gate_repository import CHECKOUT, git
from tests.hugging_face import save_model
from tests.images92 import write_images92

PAGES = docs.pages()
TEXTS = {page: (CHECKOUT / page).read_text() for page in PAGES}
EXAMPLES = list((CHECKOUT / "examples").glob("*.py"))
EXTRAS = set(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
MAKEFILE = (CHECKOUT / "Makefile").read_text()


@dataclass(frozen=True)
class Way:
    """How a command of a page is tested.

    The normal suite runs ``quick`` instead, the same verb with at least the same options; as written for None; "" is only read.
    The slow suite runs it as written where ``slow``. ``why`` says why it never runs as written.
    """

    quick: str | None = None
    slow: bool = True
    why: str = ""


def only_read(why):
    return Way("", slow=False, why=why)


PICTURES = "takes minutes and needs Tiny-ImageNet; it runs on an archive of the same layout"
LIBRARY = "needs the library and its pretrained weights; tests/test_libraries.py has stand-ins for both libraries"

FAMILY = "needs wheels and minutes; tests/test_recipes.py makes the families"

OUTSIDE = "tests/test_package.py runs it away from the checkout"
STEPS = "tests/test_command.py runs the three steps of docs/any-language.md on a small cache"

# The reader's own, for --model module:...
NETWORKS = """
from collections import OrderedDict
from torch import nn

def small():
    stages = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Conv2d(4, 6, 2, 2))
    return nn.Sequential(OrderedDict(stages=stages, pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=nn.Linear(6, 5)))
"""
GROUPS = "w16,w8,resnet10,labels,shortcuts,augmentation,untrained,half"
NETWORK = "resnet18-tiny-imagenet.weights.safetensors"
# What the normal suite gives a verb instead or besides, so that it takes seconds: options with their values.
FEW = {"model": [NETWORK], "layers": ["layer4"], "methods": ["identity"]}
OWN = {"features": ["mine.npz"], "methods": ["linear_cka,spectrum"]}
SMALL = {
    "run matching": {"layers": ["layer4"], "pairs": ["3"]},
    "run outputs": {**FEW, "count": ["12"], "kernels": ["cosine"], "methods": ["identity,greedy"]},
    "run retrieval": {**FEW, "queries": ["4"], "database": ["12"]},
    "run translation": {**FEW, "count": ["12"], "batch": ["6"]},
    "run shifts": {"count": ["10"], "methods": ["identity,random"]},
    **{
        f"run {name}": {"networks": ["2"], "count": ["100"], "methods": ["linear_cka,spectrum"]}
        for name in ("layers", "exchange", "noise", "function")
    },
    **{
        f"run {name}": OWN
        for name in (
            "accuracy",
            "output-difference",
            "random-labels",
            "shortcuts",
            "augmentation",
            "monotonicity",
        )
    },
    "run null": {"networks": ["2"], "count": ["20"], "sizes": ["12"], "methods": ["linear_cka,spectrum"]},
    "run samples": {"networks": ["2"], "count": ["20"], "sizes": ["12"], "methods": ["linear_cka,spectrum"]},
    "run cost": {"stimuli": ["20"], "units": ["4"], "methods": ["linear_cka,spectrum"]},
    "run rsm-cost": {"cells": ["4x3x3"], "sets": ["1"], "methods": ["identity,pooled"]},
    "run instances": {**FEW, "model": [NETWORK, "mine.safetensors"], "count": ["12"], "methods": ["dispersion"]},
    "data train": {"phases": ["16:1,32:1"], "width": ["8"], "batch": ["28"]},
}
WORDS = {
    "--compile": "--no-compile",
    "ARCHITECTURE": "resnet10",
    "SEED": "1",
    "NAME.weights.safetensors": "resnet10.safetensors",
}


def smaller(command):
    """The same verb and options with less work; of methods that a command names the first three."""
    _, verb, task, *words = shlex.split(command)
    changes, kept = dict(SMALL[f"{verb} {task}"]), []
    rest = iter(words)
    for word in rest:
        if word == "--methods":
            changes["methods"] = [",".join(next(rest).split(",")[:3])]
        elif word.removeprefix("--") in changes:
            next(rest)
        else:
            kept.append(WORDS.get(word, word))
    added = [part for name, values in changes.items() for value in values for part in (f"--{name}", value)]
    return shlex.join(["semrsm-bench", verb, task, *kept, *added])


RIVALS = "ortools,scipy,lapx-lapjvr,lapx-lapjvs,laprust,lapcpp,acm1015,pot-emd,exact-auction,auction-fine,greedy"
FLAT_RIVALS = "ortools,lapx-lapjvr,lapx-lapjvs,laprust,lapcpp,acm1015,exact-auction"
SLOW = (
    "exact-auction,acm1015,ortools,ortools-2023,scipy,scipy-2023,laprust,lapcpp,lap,lap-lapjv,lapjv,lapx-lapjv,lapx-lapjvx,"
    "lapx-lapjvc,lapx-lapjvh,lapx-lapjvr,lapx-lapjvs,minilsap,nanolsap,pot-emd,fastlap-lapjv,fastlap-lapjvsp,"
    "fastlap-auction,sinkhorn-rounded"
)
MADE = "efficientnet-lite0 vit self flat resnet18-quarter resnet10-quarter plain-resnet18-w16"
SIX = "accuracy output-difference random-labels shortcuts augmentation monotonicity"
# Commands that do not follow the rules of `way_of`.
WAYS = {
    f"semrsm-bench table docs/runs/metrics {SIX} --json | python examples/beside_resi.py": only_read(
        "tests/test_paper_figures.py runs the example"
    ),
    # make: the normal suite reads the recipe (test_make_lines_have_a_recipe), the slow one runs it in a copy of the checkout
    "make bench": Way(""),
    'make bench ARGS="--plugin examples/norm_sort.py"': Way(""),
    "make docs": Way(""),
    "make wheels": Way("", slow=False, why="tests/test_package.py runs it"),
    "pip install dist/*.whl": only_read(OUTSIDE),
    """cp -r "$(python -c 'import semrsm_bench.examples as e; print(e.__path__[0])')" examples""": only_read(OUTSIDE),
    "semrsm-bench run layers --networks 2 --count 60 --methods linear_cka,spectrum": Way(""),
    """ASV_PYTHONPATH="$PWD" asv run --environment existing --set-commit-hash "$(git rev-parse HEAD)\"""": only_read(
        OUTSIDE
    ),
    "python -m pytest speed.py --benchmark-json speed.json": only_read(OUTSIDE),
    """semrsm-bench compare .asv/results@"$(git rev-parse HEAD)" .asv/results@"$(git rev-parse HEAD)\"""": only_read(
        OUTSIDE
    ),
    "semrsm-bench compare speed.json speed.json": only_read(OUTSIDE),
    "semrsm-bench run metrics --profile paper --run-id metrics": only_read(
        "takes 45 minutes; tests/test_task_tables.py reads what it measured"
    ),
    "semrsm-bench run rsm-cost --profile paper --run-id rsm-cost": only_read(
        "takes half an hour; tests/test_task_tables.py reads what it measured"
    ),
    "semrsm-bench run metrics --plugin examples/mutual_knn.py": Way(
        "semrsm-bench run null monotonicity --plugin examples/mutual_knn.py --networks 2 --count 60 --methods mutual-knn-5",
        slow=False,
        why="takes minutes",
    ),
    "semrsm-bench plot docs/runs/metrics layers exchange noise function output-difference monotonicity null samples "
    "--format png": only_read("takes a minute; tests/test_overview.py draws such figures"),
    "semrsm-bench table docs/runs/metrics layers --json": only_read("tests/test_task_tables.py prints its tables"),
    "python docs/task_tables.py --keep results/metrics --write": only_read("tests/test_task_tables.py runs it"),
    "make tasks": Way("", slow=False, why="takes half an hour; each task runs below"),
    "make test": only_read("it is the suite that this test belongs to"),
    "semrsm-bench check examples/norm_sort.py": Way("semrsm-bench check examples/norm_sort.py --case two"),
    ". .venv/bin/activate": only_read("make lays that environment out"),
    "semrsm-bench run --profile paper --estimate": Way(
        "semrsm-bench run --profile paper --estimate --solvers greedy,scipy --layers layer4"
    ),
    "semrsm-bench data extract pictures92/ --model mine.safetensors --layers layer4 --out net92.safetensors": Way(
        "semrsm-bench data extract pictures/ --model mine.safetensors --layers layer4 --out net92.safetensors",
    ),
    "semrsm-bench data large": Way("semrsm-bench data large --size 72 --count 2"),
    "semrsm-bench data family efficientnet-lite0 vit self flat": Way(
        "semrsm-bench data family flat", slow=False, why=FAMILY
    ),
    "semrsm-bench run matching --family flat,machol-wien --pairs 1024=3": Way(
        "semrsm-bench run matching --family flat-maps,machol-wien --pairs 256=1 --methods identity",
        slow=False,
        why=FAMILY,
    ),
    "semrsm-bench run matching --family all --pairs 1024=2 --methods exact-auction,scipy,ortools,lapjv,lap": only_read(
        "takes minutes; a part of it runs above"
    ),
    "pip install 'semrsm-bench[families]'": only_read("its wheels are what tests/test_recipes.py runs with"),
    f"semrsm-bench data family {MADE}": only_read(FAMILY),
    "semrsm-bench run matching --profile paper --family all --pairs 1024=100 --pairs 4096=30 --pairs 5": only_read(
        "takes hours; the shorter ones below have their test"
    ),
    "semrsm-bench run matching --profile paper --family resnet18 --smallest 256 --pairs 1024=100 --pairs 4096=30 "
    "--budget 6 --run-id resnet18": only_read("takes half an hour; tests/test_headline.py reads what it measured"),
    f"semrsm-bench run matching --profile paper --family all --smallest 256 --pairs 1024=5 --pairs 4096=2 "
    f"--deadline 12 --budget 10 --run-id families --methods {RIVALS}": only_read(
        "takes half an hour; tests/test_families.py meets every family"
    ),
    "semrsm-bench run matching --profile paper --family all --pairs 256=2 --deadline 12 --run-id agreement": only_read(
        "takes minutes; tests/test_headline.py reads what it measured"
    ),
    "semrsm-bench run matching --profile paper --family resnet18 --smallest 1024 --pairs 1024=100 --pairs 4096=30 "
    "--budget 60 --run-id strongest --methods ortools,laprust,acm1015,exact-auction": only_read(
        "takes minutes; tests/test_headline.py reads what it measured"
    ),
    "semrsm-bench run matching --profile paper --family resnet18 --smallest 4096 --pairs 4096=5 --budget 600 "
    f"--run-id slow --methods {SLOW}": only_read("takes half an hour; tests/test_headline.py reads what it measured"),
    "semrsm-bench run --profile quick --run-id quick": only_read(
        "takes minutes; tests/test_headline.py reads what it measured"
    ),
    "semrsm-bench plot docs/runs/quick --format png": only_read("tests/test_figures.py draws them"),
    "semrsm-bench run matching --profile large --pairs 1 --deadline 120 --budget 60 --run-id large --methods "
    "ortools,lapx-lapjvs,acm1015,exact-auction,hierarchical-coarse,hierarchical-fine,hierarchical-certified": only_read(
        "takes minutes; tests/test_headline.py reads what it measured"
    ),
    "semrsm-bench run matching --profile paper --family flat,flat-maps --smallest 256 --pairs 1024=5 --pairs 4096=2 "
    f"--deadline 30 --budget 30 --run-id flat --methods {FLAT_RIVALS}": only_read(
        "takes minutes; tests/test_headline.py reads what it measured"
    ),
    "semrsm-bench plot docs/runs/families --format png": only_read("tests/test_figures.py draws them"),
    "xz results/resnet18/rows.jsonl": only_read("tests/test_results.py reads a run whose rows are compressed"),
    "python docs/headline.py --write": only_read("tests/test_headline.py holds the pages against it"),
    "semrsm-bench plot docs/runs/resnet18 --format png --out docs/figures": only_read(
        "tests/test_figures.py draws them"
    ),
    "semrsm-bench compare docs/runs/resnet18 latest --all --allow-missing all": only_read(
        "tests/test_results.py compares a run whose rows are compressed"
    ),
    "semrsm-bench run matching --family all": only_read("takes hours; a part of it runs above"),
    "semrsm-bench table matching --where model=machol-wien": only_read("tests/test_cli_table.py has --where"),
    "semrsm-bench run --profile large": Way(
        "semrsm-bench run --profile large --solvers hierarchical-coarse --pairs 1 --data user-cache/semrsm_bench/large",
        slow=False,
        why="takes hours",
    ),
    "semrsm-bench run --data mine-activations.safetensors --methods exact-auction,ortools,greedy": Way(
        "semrsm-bench run --data mine-activations.safetensors --methods exact-auction,ortools,greedy --layers layer4"
    ),
    "semrsm-bench data extract pictures/ --model torchvision:resnet50 --layers layer2,layer3 --count 100"
    " --out resnet50.safetensors": only_read(LIBRARY),
    "semrsm-bench data extract pictures/ --model timm:vit_small_patch16_224 --layers 'blocks.*' --count 100"
    " --out timm-vit.safetensors": only_read(LIBRARY),
    "semrsm-bench run matching --data vit.safetensors --methods exact-auction,ortools,greedy": Way(
        "semrsm-bench run matching --data vit.safetensors --methods exact-auction,ortools,greedy --pairs 3"
    ),
    "pip install 'semrsm-bench[hf]'": only_read("the extra is looked up in pyproject.toml; make test installs it"),
    'pip install "semrsm-bench[dask]"': only_read("the extra is looked up in pyproject.toml; make test installs it"),
    "cc -O2 -std=c99 -o greedy examples/greedy.c": only_read(STEPS),
    'semrsm-bench check --command "c-greedy=./greedy {problem} {answer}"': only_read(STEPS),
    'semrsm-bench run matching --command "c-greedy=./greedy {problem} {answer}"'
    " --solvers c-greedy,greedy,exact-auction": only_read(STEPS),
    "semrsm-bench env create laprust": only_read("needs the package index; make test-environments makes all"),
    "semrsm-bench env create --all": only_read("as for one of them"),
    "dask scheduler &": only_read("needs several machines; tests/test_rsm_dask.py runs clusters of this one"),
    "dask worker tcp://HOST:8786 --nthreads 1 --nworkers auto": only_read("as the scheduler"),
    "semrsm-bench rsm /shared/queries.npy /shared/database.npy --matching exact-auction --dask tcp://HOST:8786"
    " --out retrieval.npy": only_read("as the scheduler"),
    "python -m benchmarks.bench_metrics": Way("python -m benchmarks.bench_metrics --case rsa_pearson --rounds 1"),
    "python -m benchmarks.barycenter": Way("python -m benchmarks.barycenter --part fit --stimuli 30 --units 6"),
    # track-your-solver.md; its workflow runs in tests/test_track_docs.py
    "semrsm-bench check row-by-row --plugin bench_solver.py": Way(
        "semrsm-bench check row-by-row --plugin bench_solver.py --case two"
    ),
    "semrsm-bench gate main --plugin bench_solver.py": Way(""),
    'semrsm-bench gate main --plugin bench_solver.py --build "python setup.py build_ext --inplace"': only_read(
        "tests/test_gate_build.py builds two commits"
    ),
    "semrsm-bench compare before after --fail gap:0.5% --fail time:3x": Way(
        "semrsm-bench compare before after --fail gap:0.5% --fail time:1000x"
    ),
    "semrsm-bench run retrieval --profile paper": Way(
        smaller("semrsm-bench run retrieval --profile paper"), slow=False, why="takes minutes"
    ),
    "semrsm-bench run instances --features images.npy --features texts.npy --ids names.txt": Way(),
    "semrsm-bench data extract val50.zip --model plain-resnet18-w8-seed0.weights.safetensors"
    " --layers layer3.0,layer3.1,layer4.0,layer4.1 --count 24 --changes shift-4,shift-8,noise"
    " --out shifts/plain-resnet18-w8-seed0.safetensors": Way(
        f"semrsm-bench data extract val.zip --model {NETWORK} --layers layer4.1 --count 4 --changes shift-4"
        " --out shifts/small.safetensors",
        slow=False,
        why="it needs Tiny-ImageNet",
    ),
    "semrsm-bench data extract val.zip --model resnet18-tiny-imagenet.weights.safetensors --classes classes.tsv --count 24"
    " --mean-images 2000 --seed 0 --out resnet18-tiny-imagenet.safetensors": Way(slow=False),
    # data/README.md: archives of fewer classes, and hours of training
    "semrsm-bench data extract val50.zip --model resnet18-quarter-seed0.weights.safetensors --classes classes.tsv"
    " --layers layer3,layer4 --count 120 --out outputs/resnet18-quarter-seed0.safetensors": Way(
        "semrsm-bench data extract val.zip --model resnet18-tiny-imagenet.weights.safetensors --classes classes.tsv"
        " --layers layer3,layer4 --count 4 --out outputs/small.safetensors",
        slow=False,
        why=PICTURES,
    ),
    f"semrsm-bench data networks train50.zip --val val50.zip --classes classes50.tsv --group {GROUPS} --threads 1"
    " --out networks": Way(
        "semrsm-bench data networks train-0.zip --val val.zip --classes classes.tsv --group untrained --first 1 --threads 1"
        " --out networks",
        slow=False,
        why=PICTURES,
    ),
    f"semrsm-bench data features val50.zip --networks networks --classes classes50.tsv --count 500 --group {GROUPS}"
    " --out data": Way(
        "semrsm-bench data features val.zip --networks networks --classes classes.tsv --count 20 --group untrained"
        " --out features",
        slow=False,
        why=PICTURES,
    ),
    "semrsm-bench data features val50.zip --networks networks --classes classes50.tsv --count 24 --group w16,w8 --first 8"
    " --positions --layers layer3.0,layer3.1,layer4.0,layer4.1 --out data": Way(
        "semrsm-bench data features val.zip --networks networks --classes classes.tsv --count 8 --group untrained --first 1"
        " --positions --layers layer3.0,layer4.1 --out features",
        slow=False,
        why=PICTURES,
    ),
}
# Names that a block of a page takes for granted.
TAKEN_FOR_GRANTED = {
    "docs/rsm.md": {
        "z": np.random.default_rng(0).normal(size=(5, 6, 4, 4)),
        "queries": np.random.default_rng(1).normal(size=(3, 6, 16)),
        "database": np.random.default_rng(2).normal(size=(4, 6, 16)),
    }
}


def way_of(command):
    """Its way in `WAYS`; others run as written, but for examples, which tests/test_examples.py runs, and tasks and trainings, which
    are made smaller. None for what is no command of ours.
    """
    if command not in WAYS and any(f"examples/{path.name}" in command for path in EXAMPLES):
        return Way("")
    if command in WAYS or not command.startswith("semrsm-bench "):
        return WAYS.get(command)
    if " ".join(command.split()[1:3]) not in SMALL:
        return Way()
    needs_pictures = "--images" in command or "data train" in command
    return Way(smaller(command), slow=not needs_pictures, why=PICTURES if needs_pictures else "")


def commands_of(page):
    return docs.commands(TEXTS[page])


def all_commands(*first):
    return sorted({c for page in PAGES for c in commands_of(page) if c.startswith(first or "")})


def extras(command):
    return {e.strip() for names in re.findall(r"semrsm-bench\[([^]]*)\]", command) for e in names.split(",")}


def python_blocks(page):
    return [block for block in docs.blocks(TEXTS[page]) if block.language == "python"]


def with_commands(keep):
    """Pages with a command that ``keep`` takes."""
    return [page for page in PAGES if any(keep(way_of(command)) for command in commands_of(page))]


KNOWN_LANGUAGES = {*docs.SHELLS, "", "python", "toml", "yaml", "bibtex", "text", "toctree", "include", "eval-rst"}


@pytest.mark.parametrize("page", PAGES)
def test_no_command_escapes(page):
    strangers = [command for command in commands_of(page) if way_of(command) is None]
    assert not strangers, (
        f"{page} has commands that no test runs; say in WAYS of tests/test_docs_commands.py how: {strangers}"
    )
    odd = {block.language for block in docs.blocks(TEXTS[page])} - KNOWN_LANGUAGES
    assert not odd, f"{page} has code blocks in {odd}, which no test reads"


def test_every_way_belongs_to_a_page():
    gone = set(WAYS) - set(all_commands())
    assert not gone, f"no page has these any more: {sorted(gone)}"


@pytest.mark.parametrize("command", all_commands("semrsm-bench", "python"))
def test_commands_are_read_and_what_runs_instead_keeps_the_verb_and_every_option(command):
    way = way_of(command)
    if command.startswith("semrsm-bench"):
        verbs, options = docs.parsed(command)
        assert command.split()[1 : 1 + len(verbs)] == verbs
        if way.quick:
            other_verbs, other_options = docs.parsed(way.quick)
            assert verbs == other_verbs
            assert options <= other_options
    elif way.quick:
        assert way.quick.startswith(command)
    assert way.quick is None or way.slow or way.why, "a command that never runs as written says why"


@pytest.mark.parametrize("page", ["README.md", "docs/register.md"])
def test_the_ten_lines_are_the_example_that_runs(page):
    example = (CHECKOUT / "examples" / "norm_sort.py").read_text()
    assert example in [block.text for block in docs.blocks(TEXTS[page])]


def test_the_readme_names_the_verbs_that_people_start_with_and_files_that_exist():
    assert {"check", "doctor", "data", "rsm"} <= set(re.findall(r"semrsm-bench ([a-z]+)", TEXTS["README.md"]))
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXTS["README.md"]):
        assert (CHECKOUT / target).exists(), target


def test_an_option_that_is_gone_is_noticed():
    with pytest.raises(click.NoSuchOption):
        docs.parsed("semrsm-bench run --profil quick")
    with pytest.raises(click.UsageError):
        docs.parsed("semrsm-bench data extrakt x")
    assert docs.unknown_options("semrsm-bench run --profile quick --pages 3") == ["--pages"]
    assert docs.parsed("semrsm-bench data train a.zip --out b --no-compile")[1] == {"images", "out", "compile"}


def test_commands_are_found_wherever_they_stand():
    text = """
Text `make inline`.

    semrsm-bench indented --a 1 \\
        --b 2

1. item

   ```
   a table
   semrsm-bench plain
   ```

> ```sh
> $ anything at all   # with a comment
> echo "a # b"
> ```

```python
semrsm-bench not_shell
```
"""
    assert docs.commands(text) == [
        "semrsm-bench indented --a 1 --b 2",
        "semrsm-bench plain",
        "anything at all",
        'echo "a # b"',
    ]
    assert list(docs.inline_code(text)) == ["make inline"]


@functools.cache
def options_of_module(name):
    """What ``python -m`` of a module takes, as its help says."""
    words = [sys.executable, "-m", name, "--help"]
    shown = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--?[a-z][a-z-]*", shown))


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_have_their_verb_and_options(page):
    for code in docs.inline_code(TEXTS[page]):
        words = code.split()
        if code.startswith("semrsm-bench ") and words[1] != "VERB":
            assert not docs.unknown_options(code), code
        elif code.startswith("python -m "):
            assert {word for word in words[3:] if word.startswith("-")} <= options_of_module(words[2])
        elif words and words[0] == "make" and len(words) > 1:
            assert re.search(rf"^{words[1]}:", MAKEFILE, flags=re.MULTILINE), code
        elif code.startswith("pip install"):
            assert extras(code) <= EXTRAS, code


@pytest.mark.parametrize("command", all_commands("pip install"))
def test_extras_that_pages_install_exist(command):
    assert extras(command) or "dist/" in command
    assert extras(command) <= EXTRAS


@pytest.mark.parametrize("command", all_commands("make"))
def test_make_lines_have_a_recipe(command, tmp_path):
    done = subprocess.run(
        [*shlex.split(command), "-n", f"VENV={tmp_path}"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    for line in re.findall(rf"{re.escape(str(tmp_path))}/bin/(semrsm-bench [^|;&>\n]*)", done.stdout):
        if "$" not in line:
            docs.parsed(line)


@pytest.mark.usefixtures("kept_workers")
@pytest.mark.parametrize("page", with_commands(lambda way: way and way.quick != ""))
def test_commands_run(page, same_place, monkeypatch):
    folder = ready(page, same_place, full=False)
    monkeypatch.chdir(folder)
    for name, value in docs.environment(folder).items():
        monkeypatch.setenv(name, value)
    for command in commands_of(page):
        way = way_of(command)
        if way.quick == "":
            continue
        words = shlex.split(way.quick or command)
        if words[0] == "python":
            run_module(words[2], words[3:], monkeypatch)
            continue
        with monkeypatch.context() as patch:
            if words[1] == "run":
                # tests/test_cli_run.py checks a run's figures; drawing them is most of the time here.
                patch.setattr("semrsm_bench.report.figures.draw_all", lambda *_, **__: [])
            warnings.simplefilter("error", semrsm_bench.MisleadingWarning)
            done = CliRunner().invoke(cli, words[1:], standalone_mode=False)
        if done.exception is not None:
            raise AssertionError(f"{page}: {command}\n{done.output}") from done.exception
        assert done.return_value in (0, None), f"{page}: {command} ended with {done.return_value}\n{done.output}"


def run_module(name, arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.syspath_prepend(str(CHECKOUT))
    monkeypatch.setattr(sys, "exit", lambda code=0: None if not code else pytest.fail(f"{name} ended with {code}"))
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def ready(page, folder, *, full):
    """The folder in which a page's commands run; a page with a solver of the reader's gets a repository of the reader's."""
    docs.lay_out(folder, full)
    if page == "docs/your-model.md":
        save_model(folder / "my-vit", "vit")
        write_images92(folder / "92imageData")
        (folder / "my_networks.py").write_text(NETWORKS)
    if page == "docs/track-your-solver.md":
        (folder / "bench_solver.py").write_text(python_blocks(page)[0].text)
        git(folder, "init", "--quiet", "--initial-branch=main")
        git(folder, "add", "bench_solver.py")
        git(folder, "commit", "--quiet", "--message", "solver")
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)])
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bench_solver.py").touch()  # stands for the solver of a page, which its blocks import
    warnings.simplefilter("error", semrsm_bench.MisleadingWarning)  # pytest puts the filters back
    for block in python_blocks(page):
        module = types.ModuleType("block_of_a_page")
        vars(module).update(TAKEN_FOR_GRANTED.get(page, {}))
        exec(compile(block.text, f"{page}, line {block.line}", "exec"), vars(module))
        assert module.sb is semrsm_bench, "a block can be copied as it stands, its imports included"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", with_commands(lambda way: way and way.slow))
def test_commands_run_as_written(page, tmp_path):
    folder = ready(page, tmp_path / "place", full=True)
    variables = docs.environment(folder)
    for command in commands_of(page):
        if way_of(command).slow and not command.startswith("make "):
            in_checkout = {"cwd": CHECKOUT} if command.startswith("python -m benchmarks") else {"cwd": folder}
            done = subprocess.run(["bash", "-c", command], env=variables, capture_output=True, text=True, **in_checkout)
            assert done.returncode == 0, f"{page}: {command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", [c for c in all_commands("make") if WAYS.get(c, Way()).slow])
def test_make_lines_run(command, tmp_path):
    copy = docs.copy_of_checkout(tmp_path / "copy")
    (tmp_path / "venv").mkdir()
    stamps = re.findall(r"^\$\(VENV\)/\.([a-z]+):", MAKEFILE, flags=re.MULTILINE)
    environment = docs.ready_environment(tmp_path / "venv", stamps)
    done = subprocess.run(
        [*shlex.split(command), f"VENV={environment}"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_what_docs_build_in_a_checkout_is_ignored_by_git():
    built = {
        name
        for page in docs.pages()
        for name in re.findall(r"^cc .*-o (\S+)", (CHECKOUT / page).read_text(), re.MULTILINE)
    }
    assert built
    for name in built:
        git(CHECKOUT, "check-ignore", "--quiet", name)
