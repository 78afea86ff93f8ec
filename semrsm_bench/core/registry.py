"""Methods and tasks by name: one registry class for all kinds, and the files and packages that add to it."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

ENTRY_POINT_GROUPS = ("semrsm_bench.plugins", "semrsm_bench.solvers")
PLUGIN_MODULE = "semrsm_bench_plugin_"
_OWN_PACKAGE = "semrsm_bench."
# Names become parts of file names, of comma-separated lists and of table cells.
_NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")


class Entry(Protocol):
    """What a registry holds: anything with a name and the module that brings it."""

    @property
    def name(self) -> str:
        """Registered name."""

    @property
    def module(self) -> str:
        """Name of the module that brings it."""


E = TypeVar("E", bound=Entry)


class UnknownNameError(KeyError, ValueError):
    """Nothing of that name is registered; a KeyError whose text prints without quotes."""

    def __str__(self) -> str:
        return str(self.args[0])


REGISTRIES: dict[str, Registry[Any]] = {}
"""Every registry that has been made, by the kind of its entries."""

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

# Loading registers, and registering loads: one thread may enter again.
_LOCK = threading.RLock()
# What the plugin that is loading right now has added: (registry, name).
_added: list[tuple[Registry[Any], str]] | None = None
_plugins: dict[Path, list[tuple[str, str]]] = {}
_entry_points_loaded = False


class Registry(Generic[E]):
    """Entries of one kind.

    Parameters
    ----------
    kind : str
        Of its entries, a key of `PLACES`.
    package : str
        The package whose modules bring the built-in entries.
    modules : sequence of str
        Its modules, imported on first use; tables list their entries in this order.
    derive : callable, optional
        Makes an entry from a name that is not registered, or returns None: ``cka[identity]``, a solver as the matching of an RSM.
    """

    def __init__(
        self, kind: str, package: str, modules: Sequence[str], derive: Callable[[str], E | None] | None = None
    ) -> None:
        self.kind, self.package, self.modules, self._derive = kind, package, tuple(modules), derive
        self.noun = NOUNS.get(kind, kind)
        self._entries: dict[str, E] = {}
        self._loaded = False
        REGISTRIES[kind] = self

    def add(self, entries: Iterable[E]) -> None:
        """Register entries, all or none.

        Raises
        ------
        ValueError
            A name is malformed or taken.
        """
        made = list(entries)
        own = all(entry.module.startswith(_OWN_PACKAGE) for entry in made)
        with _LOCK:
            if not own:
                self._load()
            fresh: dict[str, E] = {}
            for entry in made:
                if not _NAME.fullmatch(entry.name):
                    raise ValueError(
                        f"the name of {_with_article(self.noun)} is lower case letters, digits and . _ + -, its words joined by "
                        f"hyphens, got {entry.name!r}"
                    )
                taken = self._entries.get(entry.name) or fresh.get(entry.name)
                if taken is not None:
                    raise ValueError(
                        f"{_with_article(self.noun)} named {entry.name!r} is registered already, by {_origin(taken)}; "
                        "choose another name"
                    )
                fresh[entry.name] = entry
            self._entries.update(fresh)
            if _added is not None and not own:
                _added.extend((self, name) for name in fresh)

    def get(self, name: str) -> E:
        """The entry of that name.

        Raises
        ------
        UnknownNameError
            A KeyError and ValueError; the message names the nearest ones.
        """
        found = self.find(name)
        if found is None:
            names = self.names()
            found = self.find(name)
        if found is None:
            others = [other for kind in PLACES if (other := registry_of(kind)).find(str(name)) is not None]
            if others:
                raise UnknownNameError(f"{name} is {_with_article(others[0].noun)}, not {_with_article(self.noun)}")
            raise UnknownNameError(f"unknown {self.noun} {name!r}; {nearest(name, names)}")
        return found

    def find(self, name: str) -> E | None:
        """The entry of that name, or None; loads the built-in ones and no plugin."""
        self._load()
        found = self._entries.get(name)
        if found is None and self._derive is not None:
            found = self._derive(name)
        return found

    def names(self) -> list[str]:
        """All registered names: the built-in ones in the order of the tables, then plugins as they came."""
        self._load()
        load_entry_points()
        # A module may have been imported by itself before the rest: the tables' order holds all the same.
        rank = {f"{self.package}.{module}": i for i, module in enumerate(self.modules)}
        entries = self._entries.copy().values()
        return [e.name for e in sorted(entries, key=lambda e: rank.get(e.module, len(rank)))]

    def _load(self) -> None:
        if self._loaded:
            return
        with _LOCK:
            if self._loaded:
                return
            for module in self.modules:
                importlib.import_module(f"{self.package}.{module}")
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


def _with_article(noun: str) -> str:
    return f"{'an' if noun.startswith('RSM') else 'a'} {noun}"


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of a message about an unknown name: those that are nearest, or all."""
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(names)}"


def _origin(entry: Any) -> str:
    function = getattr(entry, "function", entry)
    return f"{entry.module}.{getattr(function, '__qualname__', repr(function))}"


def load_plugin(path: str | Path) -> list[str]:
    """Import a Python file that registers methods, or tasks; returns the names it added. The same file loads once.

    Modules beside the file can be imported by it.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        It fails to import, registers nothing, or both methods and tasks; nothing that it registered stays then.
    """
    return [name for _, name in plugin_entries(path)]


def plugin_entries(path: str | Path) -> list[tuple[str, str]]:
    """What `load_plugin` adds, as pairs of (kind, name)."""
    file = Path(path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"plugin {path}: no such file")
    with _LOCK:
        if file in _plugins:
            return list(_plugins[file])
        name = f"{PLUGIN_MODULE}{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise ValueError(f"plugin {path}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        if str(file.parent) not in sys.path:
            sys.path.append(str(file.parent))

        def execute() -> None:
            sys.modules[name] = module
            spec.loader.exec_module(module)  # type: ignore[union-attr]

        def judge(added: Sequence[tuple[str, str]]) -> None:
            if not added:
                raise ValueError(
                    "it registers nothing; decorate a function with @semrsm_bench.register_solver, register_rsm, register_metric "
                    "or register_instance, or a class with register_task"
                )
            if len({kind == "task" for kind, _ in added}) > 1:
                raise ValueError("one file brings methods or tasks, not both: tasks run where answers are scored")

        try:
            added = _collect(execute, judge, digest=hashlib.sha256(file.read_bytes()).hexdigest()[:12], file=str(file))
        except (Exception, SystemExit) as error:
            sys.modules.pop(name, None)
            raise ValueError(f"plugin {path} failed to load: {type(error).__name__}: {error}") from error
        _plugins[file] = added
        return list(added)


def load_entry_points() -> None:
    """Load the plugins that installed distributions announce; a broken one is left out with a warning."""
    global _entry_points_loaded
    with _LOCK:
        if _entry_points_loaded:
            return
        _entry_points_loaded = True
        for group in ENTRY_POINT_GROUPS:
            for point in importlib.metadata.entry_points(group=group):
                owner = point.dist.name if point.dist else ""
                try:
                    _collect(point.load, lambda added: None, distribution=owner)
                except (Exception, SystemExit) as error:
                    warnings.warn(
                        f"the plugin {point.name!r} of {owner or 'an unknown distribution'} is broken and was left out: "
                        f"{type(error).__name__}: {error}",
                        RuntimeWarning,
                        stacklevel=3,
                    )


def _collect(
    execute: Callable[[], Any], judge: Callable[[Sequence[tuple[str, str]]], None], **origin: str
) -> list[tuple[str, str]]:
    """Run what registers, and say what it added; if it fails, or is judged bad, nothing of it stays."""
    global _added
    outer, _added = _added, []
    found = _added
    try:
        execute()
        named = [(registry.kind, name) for registry, name in found]
        judge(named)
    except BaseException:
        for registry, name in found:
            registry.forget(name)
        raise
    finally:
        _added = outer
    for registry, name in found:
        registry.update(name, **origin)
    return named
