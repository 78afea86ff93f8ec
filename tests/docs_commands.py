"""Commands in Markdown: collected from the pages, read by the command line's own parser, laid ready for a run."""

import contextlib
import functools
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from unittest.mock import patch

import click
import numpy as np
from markdown_it import MarkdownIt

from semrsm_bench.cli import cli
from semrsm_bench.cli.options import click_option
from semrsm_bench.cli.run import tasks_of
from semrsm_bench.core.options import describe
from semrsm_bench.tasks.registry import default_tasks, get_task
from tests.bench_data import small_cache
from tests.gate_repository import CHECKOUT
from tests.image_files import image_zip, picture

SHELLS = ("sh", "bash", "shell", "console")
# What a command of a block without a language begins with; every line of a shell block is one anyway.
FIRST_WORDS = ("semrsm-bench", "make", "python", "pip", "dask", ".venv/bin/")
# Words that stand for a number; others in capitals are taken as they are.
PLACEHOLDERS = {"SEED": "0"}
# A shell's comment begins with a # at the start of a word, outside quotes.
UNTIL_COMMENT = re.compile(r"""(?:"[^"]*"|'[^']*'|(?<=\S)#|[^#"'])*""")


def pages():
    """Every Markdown page of the docs, with README.md and data/README.md; paths relative to the checkout."""
    docs = [p for p in (CHECKOUT / "docs").rglob("*.md") if not {"_build", "katex"} & set(p.parts)]
    return [
        str(p.relative_to(CHECKOUT)) for p in sorted([*docs, CHECKOUT / "README.md", CHECKOUT / "data" / "README.md"])
    ]


@dataclass(frozen=True)
class Block:
    """A code block: its language ("" where none is said), its text, and its first line in the page."""

    language: str
    text: str
    line: int


def blocks(text):
    """All code blocks of a Markdown text: fenced, indented, and those inside lists and quotes."""
    for token in MarkdownIt().parse(text):
        if token.type in ("fence", "code_block"):
            language = (token.info.split() or [""])[0].strip("{}")
            yield Block(language, token.content, token.map[0] + 1)


def inline_code(text):
    """All code spans of a Markdown text, tables included."""
    for token in MarkdownIt().enable("table").parse(text):
        for child in token.children or []:
            if child.type == "code_inline":
                yield child.content


def shell_lines(block):
    """Commands of a block: lines joined at backslashes and open quotes, comments cut off."""
    if block.language not in (*SHELLS, ""):
        return
    lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    for line in lines:
        command = UNTIL_COMMENT.match(line.strip()).group().strip().removeprefix("$ ")
        if command and (block.language in SHELLS or command.startswith(FIRST_WORDS)):
            yield re.sub(r"\s+", " ", command)


@functools.cache
def commands(text):
    """Commands of all shell blocks of a page, in order."""
    return [command for block in blocks(text) for command in shell_lines(block)]


def parsed(command):
    """Names of the verbs and of the parameters that a command of ours gives, as click reads it; nothing is run.

    Raises click's errors for a verb, option or argument that does not exist.
    """
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command) if word != "&"]
    if words[0] != "semrsm-bench":
        raise ValueError(f"{command!r} is no command of semrsm-bench")
    context, rest, verbs = click.Context(cli, info_name="semrsm-bench"), words[1:], []
    found = cli
    while isinstance(found, click.Group):
        name, found, rest = found.resolve_command(context, rest)
        verbs.append(name)
    with files_taken_for_granted(found):
        context = found.make_context(verbs[-1], list(rest), parent=context)
    given = {
        name for name in context.params if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    return verbs, given


@contextlib.contextmanager
def files_taken_for_granted(command):
    """Meanwhile the command's paths need not exist."""
    with contextlib.ExitStack() as stack:
        for path in (p.type for p in command.params if isinstance(p.type, click.Path)):
            stack.enter_context(patch.object(path, "exists", False))
        yield


def unknown_options(command):
    """Options in a code span that its verb does not have; such a span may leave arguments out or stand for them in capitals."""
    words = shlex.split(command)[1:]
    context, found = click.Context(cli, info_name="semrsm-bench"), cli
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        _, found, words = found.resolve_command(context, words)
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"-h", "--help", "--version"}
    if found.name == "run":
        named = tasks_of(words) or default_tasks()
        options = [click_option(info) for name in named for info in describe(get_task(name).options)]
        known |= {option for one in options for option in (*one.opts, *one.secondary_opts)}
    return [word for word in words if word.startswith("-") and word.split("=")[0] not in known]


def lay_out(folder, full):
    """A folder in which the commands of the pages find what they name.

    ``full`` takes the shipped activations and network; otherwise small ones lie in their place, under the same names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(CHECKOUT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shipped = CHECKOUT / "data"
    if full:
        (folder / "data").symlink_to(shipped)
    else:
        (folder / "data").mkdir()
        small_cache(folder / "data", sizes=(16, 36, 64, 100), name="resnet18-tiny-imagenet")
    named = "resnet18-tiny-imagenet.weights.safetensors"
    weights = shipped / (named if full else "plain-resnet18-w8-seed0.weights.safetensors")
    for name in (named, "mine.safetensors"):
        shutil.copy(weights, folder / name)  # a copy: commands of the pages write to the first
    rng = np.random.default_rng(0)
    np.save(folder / "queries.npy", rng.normal(size=(4, 6, 16)))
    np.save(folder / "database.npy", rng.normal(size=(5, 6, 16)))
    np.save(folder / "activations.npy", np.abs(rng.normal(size=(6, 8, 4, 4))))
    np.save(folder / "tokens.npy", rng.normal(size=(5, 17, 8)))
    layers = {"layer3": rng.normal(size=(12, 8, 4, 4)), "layer4": rng.normal(size=(12, 12, 2, 2))}
    np.savez(folder / "net.npz", **layers, labels=np.arange(12) % 3, ids=[f"picture-{i}" for i in range(12)])
    np.savez(folder / "vit.npz", **{"blocks.5": rng.normal(size=(8, 21, 16))})
    for name, width in (("images", 8), ("texts", 6)):
        np.save(folder / f"{name}.npy", rng.normal(size=(40, width)))
    features = {
        f"{group}:{seed}/{name}": rng.normal(size=(40, 5))
        for group in ("one", "two")
        for seed in range(3)
        for name in ("layer3.0", "layer3.1", "layer4.0", "layer4.1", "logits")
    }
    np.savez(folder / "mine.npz", **features, labels=np.arange(40) % 5)
    np.savez(folder / "problems.npz", **{"random/costs": rng.integers(0, 9, (2, 20, 20))})
    (folder / "names.txt").write_text("".join(f"item {i}\n" for i in range(40)))
    # Tiny-ImageNet's archives in small, 28 classes of noise.
    classes = tuple(f"class{i:02}" for i in range(28))
    for name, seed in (("train-0", 1), ("train-1", 2), ("train-2", 2), ("val", 1)):
        image_zip(folder / f"{name}.zip", classes, per_class=seed)
    (folder / "classes.tsv").write_text("\n".join(classes) + "\n")
    for name in classes[:2]:
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(2):
            (folder / "pictures" / name / f"{i}.png").write_bytes(picture(i))

    return folder


def environment(folder):
    """Variables under which a command of a page runs: this checkout's package, the folder's data, one thread, own caches."""
    return {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "PATH": f"{tools(folder)}:{os.environ['PATH']}",
        "SEMRSM_BENCH_DATA": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "user-cache"),
        "OMP_NUM_THREADS": "1",
    }


def tools(folder):
    """A folder with ``semrsm-bench`` and ``python``: those of this interpreter and this checkout."""
    place = folder / "bin"
    if not place.exists():
        place.mkdir()
        for name, arguments in (("semrsm-bench", "-P -m semrsm_bench"), ("python", "")):
            script = place / name
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
            script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return place


def copy_of_checkout(folder):
    """The project's files as they are now, committed or not, with the shipped data linked."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and not name.startswith("data/") and (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    (folder / "data").symlink_to(CHECKOUT / "data")
    return folder


def ready_environment(folder, stamps):
    """A folder that make takes for a virtual environment with everything in it: it calls this interpreter."""
    tools(folder)
    for name in stamps:
        (folder / f".{name}").touch()
    return folder
