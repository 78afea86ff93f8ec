"""Methods and tasks by name: one registry class for all kinds, and the files and packages that add to it."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

ENTRY_POINT_GROUP = "semrsm_bench.plugins"
# Begins the name of a plugin that is no file but announced by a distribution: entry-point:DISTRIBUTION:MODULE.
ENTRY_POINT = "entry-point:"
# Begins that of a program that the command line names: command:NAME=COMMAND.
COMMAND = "command:"
PLUGIN_MODULE = "semrsm_bench_plugin_"
# Names become parts of file names, of comma-separated lists and of table cells.
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")

E = TypeVar("E", bound=Any)
"""An entry: anything with a ``name`` and the ``module`` that brings it."""

PLACES = {
    "solver": "semrsm_bench.solvers.registry",
    "rsm": "semrsm_bench.rsm.registry",
    "metric": "semrsm_bench.metrics.registry",
    "instance": "semrsm_bench.metrics.instances",
    "task": "semrsm_bench.tasks.registry",
}
"""The module that makes the registry of each kind."""

NOUNS = {"rsm": "RSM method", "instance": "score of single stimuli"}
"""What an entry of a kind is called, where that is not the kind itself."""

REGISTRIES: dict[str, Registry[Any]] = {}
"""Every registry that has been made, by the kind of its entries."""

# Loading registers, and registering loads: one thread may enter again.
_LOCK = threading.RLock()
# What the plugin that is loading right now has added: (registry, name).
_added: list[tuple[Registry[Any], str]] | None = None
_plugins: dict[str, list[str]] = {}
# Which entry points this process imports by itself, and for which answers that has been done.
_imported_here: Literal["all", "tasks", "none"] = "all"
_done: set[str] = {"none"}
# Whether built-in modules whose libraries are missing are left out: in an environment that holds one solver's library alone.
_sparse = False


class UnknownNameError(KeyError, ValueError):
    """Nothing of that name is registered; a KeyError whose text prints without quotes."""

    def __str__(self) -> str:
        return str(self.args[0])


class Registry(Generic[E]):
    """Entries of one kind, a key of `PLACES`.

    The ``modules`` of the ``package`` bring the built-in ones; they are imported on first use, and tables list their entries in
    this order. ``derive`` makes an entry from a name that is not registered, or returns None: ``cka[identity]``, a solver as the
    matching of an RSM.
    """

    def __init__(
        self, kind: str, package: str, modules: Sequence[str], derive: Callable[[str], E | None] | None = None
    ) -> None:
        self.kind, self.noun, self._derive = kind, NOUNS.get(kind, kind), derive
        self._modules = [f"{package}.{module}" for module in modules]
        self._entries: dict[str, E] = {}
        self._loaded = False
        REGISTRIES[kind] = self

    def add(self, entries: Iterable[E]) -> None:
        """Register entries, all or none; ValueError: a name is malformed or taken."""
        made = list(entries)
        built_in = all(entry.module.startswith("semrsm_bench.") for entry in made)
        with _LOCK:
            if not built_in:
                self._load()
            fresh: dict[str, E] = {}
            for entry in made:
                if not _NAME.fullmatch(entry.name):
                    raise ValueError(
                        f"{self.noun} {entry.name!r}: a name is lower case letters, digits and . _ + -, its words joined by hyphens"
                    )
                taken = self._entries.get(entry.name) or fresh.get(entry.name)
                if taken is not None:
                    function = getattr(taken, "function", taken)
                    by = f"{taken.module}.{getattr(function, '__qualname__', repr(function))}"
                    raise ValueError(f"{self.noun} {entry.name!r} is registered already, by {by}; choose another name")
                fresh[entry.name] = entry
            self._entries.update(fresh)
            if _added is not None and not built_in:
                _added.extend((self, name) for name in fresh)

    def get(self, name: str) -> E:
        """The entry of that name; UnknownNameError, a KeyError and ValueError, names the nearest ones, TypeError: no text."""
        if not isinstance(name, str):
            such = next(iter(self.names()), "name")
            raise TypeError(f"{self.noun}: wanted is a name, text such as {such!r}, got {type(name).__name__}")
        found = self.find(name)
        if found is None:
            names = self.names()  # also those of plugins
            found = self.find(name)
            if found is None:
                raise unknown_name(name, [self.kind], names)
        return found

    def find(self, name: str) -> E | None:
        """The entry of that name, or None; loads the built-in ones and no plugin."""
        self._load()
        found = self._entries.get(name)
        return self._derive(name) if found is None and self._derive is not None else found

    def names(self) -> list[str]:
        """All registered names: the built-in ones in the order of the tables, then plugins as they came."""
        self._load()
        load_entry_points()
        # A module may have been imported by itself before the rest: the tables' order holds all the same.
        rank = {module: i for i, module in enumerate(self._modules)}
        entries = self._entries.copy().values()
        return [e.name for e in sorted(entries, key=lambda e: rank.get(e.module, len(rank)))]

    def _load(self) -> None:
        if self._loaded:
            return
        with _LOCK:
            for module in self._modules:
                with contextlib.suppress(ModuleNotFoundError) if _sparse else contextlib.nullcontext():
                    importlib.import_module(module)
            self._loaded = True

    def forget(self, name: str) -> None:
        """Take an entry out again."""
        self._entries.pop(name, None)

    def update(self, name: str, **changes: Any) -> None:
        """Replace fields of an entry that is a dataclass and has not set them itself."""
        entry: Any = self._entries[name]
        if dataclasses.is_dataclass(entry) and not isinstance(entry, type):
            kept = {k: v for k, v in changes.items() if hasattr(entry, k) and not getattr(entry, k)}
            self._entries[name] = dataclasses.replace(entry, **kept)  # type: ignore[assignment]


def registry_of(kind: str) -> Registry[Any]:
    """The registry of a kind; the room that makes it is imported on first use."""
    importlib.import_module(PLACES[kind])
    return REGISTRIES[kind]


def unknown_name(name: str, kinds: Sequence[str], known: Sequence[str]) -> UnknownNameError:
    """The error for a name that means nothing of these kinds: it is of another kind, or unknown."""
    nouns = [NOUNS.get(kind, kind) for kind in kinds]
    for kind in PLACES:
        if kind not in kinds and (other := registry_of(kind)).find(str(name)) is not None:
            return UnknownNameError(f"{name} is registered as {other.noun}, not as {' or '.join(nouns)}")
    return UnknownNameError(f"unknown {nouns[0] if len(nouns) == 1 else 'method'} {name!r}; {nearest(name, known)}")


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of a message about an unknown name: those that are nearest, or all."""
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(names)}"


def load_plugin(path: str | Path) -> list[str]:
    """Import a Python file that registers methods, or tasks; returns the names it added. The same file loads once.

    Modules beside the file can be imported by it. In place of a file, one of `entry_points`, or a program after `COMMAND`.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        It fails to import, registers nothing, or both methods and tasks; nothing that it registered stays then.
    """
    global _added
    announced, program = (str(path).startswith(start) for start in (ENTRY_POINT, COMMAND))
    key = str(path) if announced or program else str(Path(path).resolve())
    module = f"{PLUGIN_MODULE}{Path(key).stem}_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    with _LOCK:
        if key in _plugins:
            return list(_plugins[key])
        execute: Callable[[], Any]
        if announced:
            if key not in entry_points():
                raise ValueError(f"plugin {key}: no installed distribution announces it")
            execute, origin = entry_points()[key].load, {"distribution": key.split(":")[1]}
        elif program:
            room = importlib.import_module("semrsm_bench.solvers.command")
            execute, origin = functools.partial(room.register_line, key.removeprefix(COMMAND)), {}
        else:
            if not Path(key).is_file():
                raise FileNotFoundError(f"plugin {path}: no such file")
            execute = functools.partial(_import_file, Path(key), module)
            origin = {"digest": hashlib.sha256(Path(key).read_bytes()).hexdigest()[:12]}
        found: list[tuple[Registry[Any], str]] = []
        outer, _added = _added, found
        try:
            execute()
            if not found and not announced:  # whose module may have been imported before
                raise ValueError(
                    "it registers nothing; decorate a function with @semrsm_bench.register_solver, register_rsm, register_metric "
                    "or register_instance, or a class with register_task"
                )
            if len({registry.kind == "task" for registry, _ in found}) > 1:
                raise ValueError("one file brings methods or tasks, not both: tasks run where answers are scored")
        except BaseException as error:
            for registry, name in found:
                registry.forget(name)
            sys.modules.pop(module, None)
            if isinstance(error, (Exception, SystemExit)):
                raise ValueError(f"plugin {path} failed to load: {type(error).__name__}: {error}") from error
            raise
        finally:
            _added = outer
        for registry, name in found:
            registry.update(name, plugin=key, **origin)
        _plugins[key] = [name for _, name in found]
        return list(_plugins[key])


def _import_file(file: Path, name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError("not a Python file")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Plugins that installed distributions announce, by what `load_plugin` takes; none is imported."""
    points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
    return {f"{ENTRY_POINT}{point.dist.name if point.dist else ''}:{point.value}": point for point in points}


def brings_tasks(plugin: str | Path) -> bool:
    """Whether a file or an entry point brings tasks, and not methods: its code names ``register_task``. Nothing is imported.

    ValueError: its code names a method's ``register_...`` too. A file of tasks is imported where answers are scored, one of
    methods in the workers of its methods alone.
    """
    file = _source(entry_points()[str(plugin)].value) if str(plugin).startswith(ENTRY_POINT) else Path(plugin)
    try:
        tree = ast.parse(file.read_bytes() if file else b"")
    except (SyntaxError, ValueError, OSError):
        return False
    fields = ("id", "attr", "name")  # fields of a name, an attribute, and what is imported by its name
    names = {str(getattr(node, field, "")) for node in ast.walk(tree) for field in fields}
    kinds = {kind for kind in PLACES if f"register_{kind}" in names}
    if "task" in kinds and len(kinds) > 1:
        raise ValueError(
            f"plugin {plugin} brings methods and tasks; put them into two files: tasks run where answers are scored"
        )
    return "task" in kinds


def _source(value: str) -> Path | None:
    """The file of the module that an entry point names, found without importing the packages that it is in."""
    name, *inner = re.split(r"[:\[]", value)[0].strip().split(".")
    try:
        spec = importlib.util.find_spec(name)
        for part in inner:
            name = f"{name}.{part}"
            spec = spec and importlib.machinery.PathFinder.find_spec(name, spec.submodule_search_locations or [])
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None


def load_entry_points() -> None:
    """Import the plugins of installed distributions, as far as this process may; a broken one is left out with a warning."""
    with _LOCK:
        if _imported_here in _done:
            return
        _done.add(_imported_here)
        for key in entry_points():
            with leave_out_if_broken(key):
                if brings_tasks(key) or _imported_here == "all":
                    load_plugin(key)


def leave_out_what_lacks_libraries() -> None:
    """From now on built-in modules whose libraries are missing here are left out, instead of an error."""
    global _sparse
    _sparse = True


@contextlib.contextmanager
def entry_points_limited_to(what: Literal["tasks", "none"]) -> Iterator[None]:
    """While it is open, only such entry points are imported in this process.

    A process that keeps time, scores or writes imports tasks alone, and a worker nothing but what brings its method.
    """
    global _imported_here
    before, _imported_here = _imported_here, what
    try:
        yield
    finally:
        _imported_here = before


@contextlib.contextmanager
def leave_out_if_broken(plugin: str) -> Iterator[None]:
    """Turn what goes wrong with an entry point into a warning that names it and its distribution."""
    try:
        yield
    except Exception as error:
        _, owner, module = plugin.split(":", 2)
        reason = str(error).removeprefix(f"plugin {plugin} failed to load: ")
        warnings.warn(
            f"the plugin {module!r} of {owner or 'an unknown distribution'} is left out: {reason}",
            RuntimeWarning,
            stacklevel=3,
        )
