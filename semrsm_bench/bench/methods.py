"""Which methods there are: files of plugins, declarations read in workers, and names that mean methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semrsm_bench.bench.process import WorkerLostError, WorkerProcess, WorkerSetup
from semrsm_bench.core.method import Declaration, UnavailableError, joined_code
from semrsm_bench.core.registry import (
    UnknownNameError,
    brings_tasks,
    entry_points,
    leave_out_if_broken,
    nearest,
    plugin_entries,
    unknown_name,
)
from semrsm_bench.core.task import Task

KINDS = ("solver", "rsm", "metric", "instance")
_DESCRIBE_SECONDS = 120.0


def sort_plugins(plugins: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Files that bring methods, and names of the tasks that the others bring; those are imported here.

    A file of tasks runs where answers are scored and is trusted; a file of methods is imported in workers alone.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file, a file of tasks that does not load, or one that brings methods too.
    """
    methods, tasks = [], []
    for path in plugins:
        if not path.is_file():
            raise FileNotFoundError(f"plugin {path}: no such file")
        if brings_tasks(path):
            tasks += [name for _, name in plugin_entries(path)]
        else:
            methods.append(path)
    return methods, tasks


def declarations(plugins: Sequence[Path] = (), kinds: Sequence[str] | None = None) -> list[Declaration]:
    """Declarations of all methods, or of some kinds, read in workers: one for the package, and one for each plugin."""
    return [*_declared_by(None, kinds), *brought(plugins, kinds)]


def brought(plugins: Sequence[Path] = (), kinds: Sequence[str] | None = None) -> list[Declaration]:
    """Declarations of the methods that files and installed distributions bring; of these a broken one is left out.

    Raises
    ------
    FileNotFoundError, ValueError
        A file that does not load, or two that bring a method of the same name.
    """
    found: dict[tuple[str, str], Declaration] = {}
    for path in dict.fromkeys(plugins):
        for declared in _declared_by(str(path.resolve()), kinds):
            if found.setdefault((declared.kind, declared.name), declared) is not declared:
                raise ValueError(f"two plugins bring a {declared.kind} named {declared.name!r}; rename one")
    for point in entry_points():
        with leave_out_if_broken(point):
            new = [] if brings_tasks(point) else _declared_by(point, kinds)
            for declared in new:
                other = found.get((declared.kind, declared.name), declared)
                if other.code != declared.code:  # the same where one module imports the other
                    raise ValueError(f"another plugin brings a {declared.kind} named {declared.name!r}")
            found |= {(declared.kind, declared.name): declared for declared in new}
    return list(found.values())


def _declared_by(plugin: str | None, kinds: Sequence[str] | None) -> list[Declaration]:
    """What a worker says that a plugin brings; None: the package."""
    told = map(Declaration.from_dict, describe([plugin] if plugin else [], kinds))
    return [declared for declared in told if plugin is None or declared.plugins]


def describe(plugins: Sequence[str | Path] = (), kinds: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Declarations of the package and of plugins as JSON, read in one worker; each says which plugin brings it.

    Raises
    ------
    ValueError
        A plugin does not load; the message is the plugin's.
    """
    with WorkerProcess(WorkerSetup(plugins=tuple(map(str, plugins)))) as worker:
        try:
            worker.start()
        except WorkerLostError as error:
            raise ValueError(str(error).partition(": ")[2] or str(error)) from None
        reply = worker.ask({"do": "describe", "kinds": list(kinds) if kinds else None}, _DESCRIBE_SECONDS)
    if reply.status != "ok":
        raise ValueError(f"the methods cannot be listed: {reply.message}")
    declared: list[dict[str, Any]] = reply.value["declared"]
    return declared


def choose_methods(task: Task, names: Sequence[str] | None, declared: Sequence[Declaration]) -> list[Declaration]:
    """Methods that take part: those named that are of the task's kind, or the task's own choice with those of plugins."""
    known = {m.name: m for m in declared if m.kind == task.kind}
    if names is None:
        wanted = [n for n, m in known.items() if task.methods is None or n in task.methods or m.plugins]
        wanted += [n for n in task.methods or () if n not in known]
    else:
        wanted = list(names)
    found = []
    for name in wanted:
        method = known.get(name) or _composite(name, known, declared)
        if method is not None:
            found.append(method)
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


def _composite(name: str, known: Mapping[str, Declaration], declared: Sequence[Declaration]) -> Declaration | None:
    """The declaration of a composite: that of its metric, with code and files of all its parts."""
    parts = parts_of(name)
    if not parts or parts[0][1] not in known:
        return None
    outer, rsms = known[parts[0][1]], _resolved(parts[1:], declared)
    used = [outer, *rsms]
    inputs = {
        "rsms": [m.name for m in rsms],
        "inputs": ["zx", "zy"],
        "needs_grid": any(m.facts.get("needs_grid") for m in rsms),
    }
    return dataclasses.replace(
        outer,
        name=name,
        code=joined_code([m.code for m in used]),
        files={path: digest for m in used for path, digest in m.files.items()},
        reason=next((m.reason for m in used if m.reason), ""),
        max_size=min((m.max_size for m in used if m.max_size is not None), default=None),
        slow_from=min((m.slow_from for m in used if m.slow_from is not None), default=None),
        plugins=tuple(dict.fromkeys(p for m in used for p in m.plugins)),
        facts={**outer.facts, **inputs},
    )


def find_methods(targets: Sequence[str], plugins: Sequence[Path] = (), kind: str | None = None) -> list[Declaration]:
    """Methods that are meant by names and by files, which stand for all methods that they bring.

    A composite stands for its parts. A solver is the matcher of an RSM method of its name, too; the solver alone is meant,
    unless ``kind`` is "rsm".

    Raises
    ------
    FileNotFoundError, ValueError
        A file that is missing, does not load, or brings no method.
    UnknownNameError
        Nothing of that name is registered.
    UnavailableError
        A library is missing.
    """
    files = [Path(target) for target in targets if target.endswith(".py")]
    for file in [*plugins, *files]:
        if not file.is_file():
            raise FileNotFoundError(f"plugin {file}: no such file")
    composite = any(parts_of(target) for target in targets)
    declared = declarations(list(dict.fromkeys([*plugins, *files])), [kind] if kind and not composite else None)
    solvers = {method.name for method in declared if method.kind == "solver"}
    known = [m for m in declared if kind in (None, m.kind) and (kind or m.kind != "rsm" or m.name not in solvers)]
    found: list[Declaration] = []
    for target in targets:
        path, parts = str(Path(target).resolve()), parts_of(target)
        if target.endswith(".py"):
            meant = [m for m in known if path in m.plugins]
            if not meant:
                raise ValueError(f"{target} brings no {kind or 'method'} to check")
        elif parts and kind in (None, "metric"):
            meant = _resolved(parts, declared)
        else:
            meant = [m for m in known if m.name == target]
            if not meant:
                raise unknown_name(target, [kind] if kind else KINDS, [m.name for m in known])
        found += meant
    for method in found:
        if method.reason:
            raise UnavailableError(f"{method.kind} {method.name!r} is not available: {method.reason}")
    return list({(m.kind, m.name): m for m in found}.values())
