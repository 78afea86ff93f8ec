"""Which methods there are: files of plugins, declarations read in workers, and names that mean methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from semrsm_bench.bench.observe import CASES
from semrsm_bench.bench.process import WorkerProcess, WorkerSetup
from semrsm_bench.core.method import Declaration, UnavailableError
from semrsm_bench.core.registry import (
    COMMAND,
    UnknownNameError,
    brings_tasks,
    entry_points,
    leave_out_if_broken,
    load_plugin,
    nearest,
    unknown_name,
)
from semrsm_bench.core.task import Task

KINDS = tuple(CASES)


def sort_plugins(plugins: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Files that bring methods, and names of the tasks that the others bring; those are imported here.

    A file of tasks runs where answers are scored and is trusted; a file of methods is imported in workers alone.
    """
    methods, tasks = [], []
    for path in plugins:
        if not path.is_file():
            raise FileNotFoundError(f"plugin {path}: no such file")
        if brings_tasks(path):
            tasks += load_plugin(path)
        else:
            methods.append(path)
    return methods, tasks


def plugin_keys(files: Sequence[Path]) -> list[str]:
    """Files as what a worker imports."""
    return list(dict.fromkeys(str(path.resolve()) for path in files))


def command_keys(commands: Mapping[str, str]) -> list[str]:
    """Programs as what a worker registers."""
    return [f"{COMMAND}{name}={command}" for name, command in commands.items()]


def declarations(plugins: Sequence[str] = (), kinds: Sequence[str] | None = None) -> list[Declaration]:
    """Declarations of all methods, or of some kinds, read in workers: one for the package, and one for each plugin."""
    return [*describe((), kinds), *brought(plugins, kinds)]


def brought(plugins: Sequence[str] = (), kinds: Sequence[str] | None = None) -> list[Declaration]:
    """Declarations of what plugins (see `load_plugin`) and installed distributions bring; of these a broken one is left out."""
    found: dict[tuple[str, str], Declaration] = {}
    # Programs are no code that one worker must keep from another.
    together = tuple(plugin for plugin in plugins if plugin.startswith(COMMAND))
    for parts in (*((plugin,) for plugin in plugins if plugin not in together), *([together] if together else [])):
        for method in describe(parts, kinds):
            if found.setdefault((method.kind, method.name), method) is not method:
                raise ValueError(f"two plugins bring a {method.kind} named {method.name!r}; rename one")
    for point in entry_points():
        with leave_out_if_broken(point):
            new = {} if brings_tasks(point) else {(m.kind, m.name): m for m in describe((point,), kinds)}
            for (kind, name), method in new.items():
                if found.get((kind, name), method).code != method.code:  # the same where one module imports the other
                    raise ValueError(f"another plugin brings a {kind} named {name!r}")
            found |= new
    return list(found.values())


def describe(plugins: tuple[str, ...] = (), kinds: Sequence[str] | None = None) -> list[Declaration]:
    """What a worker says that plugins bring, or else the package; ValueError in a plugin's words where it does not load."""
    with WorkerProcess(WorkerSetup(plugins=plugins)) as worker:
        reply = worker.ask({"do": "describe", "kinds": kinds}, 120.0)
    if reply.status != "ok":
        raise ValueError(reply.message.partition(": ")[2] or reply.message)
    declared = map(Declaration.from_dict, reply.value["declared"])
    return [method for method in declared if method.plugins or not plugins]


def lacks_environment(methods: Iterable[Declaration]) -> list[str]:
    """Names of methods whose environments are not made: they take part where they are named."""
    return [m.name for m in methods if m.environment and m.reason]


def choose_methods(task: Task, names: Sequence[str] | None, declared: Sequence[Declaration]) -> list[Declaration]:
    """Methods that take part: those named that are of the task's kind, or else those that the task chooses and those of plugins."""
    known = {m.name: m for m in declared if m.kind == task.kind}
    wanted = list(names or ())
    if names is None:
        wanted = [n for n, m in known.items() if task.methods is None or n in task.methods or m.plugins]
        lacking = lacks_environment(known.values())
        wanted = [name for name in wanted if name not in lacking]
        wanted += [n for n in task.methods or () if n not in known]
    found = []
    for name in wanted:
        parts = parts_of(name)
        if name in known:
            found.append(known[name])
        elif parts and parts[0][1] in known:
            found.append(_composite(name, _resolved(parts, declared)))
        elif names is None:
            raise UnknownNameError(f"task {task.name!r} names the {task.kind} {name!r}; {nearest(name, list(known))}")
    return found


def parts_of(name: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of the metric and the RSM methods that make up a composite such as ``cka[identity|greedy,rbf]``; or ()."""
    outer, bracket, inner = name.partition("[")
    if not bracket or not inner.endswith("]"):
        return ()
    return ("metric", outer), *(("rsm", part.partition(",")[0].strip()) for part in inner[:-1].split("|"))


def _resolved(parts: Sequence[tuple[str, str]], declared: Sequence[Declaration]) -> list[Declaration]:
    """The declarations of parts, or the error that names the first unknown one."""
    known = {(m.kind, m.name): m for m in declared}
    for kind, name in parts:
        if (kind, name) not in known:
            raise unknown_name(name, [kind], [m.name for m in declared if m.kind == kind])
    return [known[part] for part in parts]


def _composite(name: str, parts: Sequence[Declaration]) -> Declaration:
    """The declaration of a composite: that of its metric, with code and files of all its parts."""
    metric, *rsms = parts
    needs_grid = any(m.facts.get("needs_grid") for m in rsms)
    inputs = {"rsms": [m.name for m in rsms], "inputs": ["zx", "zy"], "needs_grid": needs_grid}
    return dataclasses.replace(
        metric,
        name=name,
        code=" ".join(m.code for m in parts),
        files={path: digest for m in parts for path, digest in m.files.items()},
        reason=next((m.reason for m in parts if m.reason), ""),
        max_size=min((m.max_size for m in parts if m.max_size is not None), default=None),
        slow_from=min((m.slow_from for m in parts if m.slow_from is not None), default=None),
        plugins=tuple(dict.fromkeys(p for m in parts for p in m.plugins)),
        facts={**metric.facts, **inputs},
    )


def find_methods(
    targets: Sequence[str],
    plugins: Sequence[Path] = (),
    kind: str | None = None,
    commands: Mapping[str, str] | None = None,
) -> list[Declaration]:
    """Methods that are meant by names and by files, which stand for all methods that they bring, and programs by name.

    A composite stands for its parts. A solver is the matcher of an RSM method of its name, too; the solver alone is meant,
    unless ``kind`` is "rsm". UnavailableError: a library is missing of a method that is named, or of all that a file brings; of
    others of a file the declaration says so.
    """
    files = [*plugins, *(Path(target) for target in targets if target.endswith(".py"))]
    composite = any(map(parts_of, targets))
    keys = [*plugin_keys(files), *command_keys(commands or {})]
    declared = declarations(keys, [kind] if kind and not composite else None)
    solvers = {method.name for method in declared if method.kind == "solver"}
    known = [m for m in declared if kind in (None, m.kind) and (kind or m.kind != "rsm" or m.name not in solvers)]
    found: list[Declaration] = []
    for target in targets:
        if target.endswith(".py"):
            meant = [m for m in known if str(Path(target).resolve()) in m.plugins]
            if not meant:
                raise ValueError(f"{target} brings no {kind or 'method'} to check")
            needed = [] if any(not m.reason for m in meant) else meant
        elif (parts := parts_of(target)) and kind in (None, "metric"):
            needed = meant = _resolved(parts, declared)
        else:
            needed = meant = [m for m in known if m.name == target]
            if not meant:
                raise unknown_name(target, [kind] if kind else KINDS, [m.name for m in known])
        found += meant
        for method in needed:
            if method.reason:
                raise UnavailableError(f"{method.kind} {method.name!r} is not available: {method.reason}")
    return list({(m.kind, m.name): m for m in found}.values())
