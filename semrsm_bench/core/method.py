"""A method: a function with a name, options bound to it, and what one must know to use and to recognise it."""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, TypeVar

from semrsm_bench.core import __version__
from semrsm_bench.core.environments import Environment
from semrsm_bench.core.registry import NOUNS, Registry

OWN_DISTRIBUTION = "semrsm-bench"
_OWN_PACKAGE = "semrsm_bench"
# What every method of this package may call, whatever it declares.
_LIBRARIES = ("numpy", "scipy", "numba")
# Suffixes of files that hold code.
_CODE = (".py", ".so", ".pyd", ".dylib")
# Fields of `Method` that all ``register_...`` functions take as keywords, beside ``grid``.
_DECLARED = ("complexity", "reference", "requires", "unavailable", "files", "distribution", "max_size", "slow_from")


class UnavailableError(RuntimeError):
    """The method is registered, but something that it needs is missing here."""


@dataclass(frozen=True)
class Declaration:
    """What is known of a method without importing it: read in a worker, sent as JSON."""

    kind: str  # solver, rsm, metric or instance
    name: str
    category: str = ""  # how tables group methods: exact, approximate, baseline; "" for others
    options: Mapping[str, Any] = field(default_factory=dict)  # bound to the name
    defaults: Mapping[str, Any] = field(default_factory=dict)  # all options with their values
    version: str = "unknown"  # version of the distribution that does the work
    code: str = ""  # digest of everything that decides what the method does
    reason: str = ""  # why it cannot run here; "" where it can
    summary: str = ""
    complexity: str = ""
    reference: str = ""
    max_size: int | None = None
    slow_from: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # what only its kind knows: matrix_free, takes, ...
    plugins: tuple[str, ...] = ()  # files, or entry points, that its worker imports
    environment: tuple[str, ...] = ()  # requirements of the environment that its worker runs in; () for this one
    files: Mapping[str, str] = field(default_factory=dict)  # a plugin's sources and declared files, with their SHA-256

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Declaration:
        """Back from JSON; what it does not know is left out."""
        known = {name: value for name, value in content.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, **{name: tuple(known.get(name, ())) for name in ("plugins", "environment")}})


@dataclass(frozen=True)
class Method:
    """A registered function with what was declared of it; each kind adds what it needs."""

    kind_name: ClassVar[str] = "method"
    arguments: ClassVar[int] = 1
    """How many positional arguments the function takes before its options."""

    name: str
    function: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)  # bound to the name; a call may override them
    complexity: str = ""  # cost in O-notation
    reference: str = ""  # where it is described
    requires: tuple[str, ...] = ()  # modules that the function imports
    environment: tuple[str, ...] = ()  # requirements of an environment of its own, the only place where it runs
    unavailable: Callable[[], str] | None = None  # returns a reason, or "", for what a module's name does not decide
    files: tuple[str, ...] = ()  # files that decide what the method does, relative to the file that registers it
    distribution: str = ""  # whose version is recorded with every result
    max_size: int | None = None  # largest S that it is meant for
    slow_from: int | None = None  # S from which quick runs leave it out
    plugin: str = ""  # what a worker imports for it, a file or an entry point; "" for a method of this package
    digest: str = ""  # start of the SHA-256 of a plugin's file

    @classmethod
    def parts(cls, target: Any) -> dict[str, Any]:
        """The fields that hold what was decorated."""
        return {"function": target}

    @property
    def noun(self) -> str:
        """What it is called in messages."""
        return NOUNS.get(self.kind_name, self.kind_name)

    @property
    def module(self) -> str:
        """Module that brings the function."""
        return getattr(self.function, "__module__", None) or ""

    @property
    def category(self) -> str:
        """How tables group it."""
        return ""

    @property
    def reason(self) -> str:
        """Why the method cannot be measured here; empty when it can."""
        if self.is_elsewhere:
            file = f" --plugin {shlex.quote(self.plugin)}" if self.plugin.endswith(".py") else ""
            made = bool(Environment(self.environment).versions)
            return (
                ""
                if made
                else f"needs an environment of its own; make it with: semrsm-bench env create {self.name}{file}"
            )
        for module in self.requires:
            if not _importable(module):
                return f"needs the module {module!r}, which is not installed"
        return self.unavailable() if self.unavailable else ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs in an environment of its own, which is not that of this process."""
        return bool(self.environment) and not Environment(self.environment).is_here

    @property
    def available(self) -> bool:
        """Whether it can be called in this process: everything it needs is installed."""
        return not (self.is_elsewhere or self.reason)

    @property
    def version(self) -> str:
        """Version of the distribution that does the work, or the digest of a bare file; "unknown" where there is neither."""
        if self.is_elsewhere:
            return Environment(self.environment).versions.get(self.distribution, "unknown")
        if self.distribution:
            try:
                return _installed_version(self.distribution)
            except importlib.metadata.PackageNotFoundError:
                if self.distribution == OWN_DISTRIBUTION:
                    return __version__
        return f"sha256:{self.digest}" if self.digest else "unknown"

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n")[0]

    @property
    def option_names(self) -> tuple[str, ...] | None:
        """Names of the options; None where any is taken."""
        return option_names(self.function, self.arguments)

    @property
    def defaults(self) -> dict[str, Any]:
        """Every option of the function with the value it has under this name; options without a default are left out."""
        parameters = list(inspect.signature(self.function).parameters.values())[self.arguments :]
        found = {p.name: p.default for p in parameters if p.default is not p.empty}
        return {**found, **self.options}

    @property
    def facts(self) -> dict[str, Any]:
        """What only this kind of method has to say; see `Declaration`."""
        return {}

    @property
    def code(self) -> str:
        """Digest of what decides the results: sources, versions of libraries, and declared files, none of which may be missing."""
        module = sys.modules.get(self.module)
        files = sources(module)
        libraries = {*_LIBRARIES, *(required.partition(".")[0] for required in self.requires)}
        if module is not None and not _is_own(module.__name__):
            libraries |= {name for path in files for name in imported(path)}
        lines = [f"{self.distribution} {self.version}"]
        if self.environment:
            lines += map(str, sorted(Environment(self.environment).versions.items()))
        for library in sorted(libraries - {_OWN_PACKAGE, *sys.stdlib_module_names}):
            installed = sorted(set(_distributions().get(library, ())))
            lines += [library, *(f"{name} {_installed_version(name)}" for name in installed)]
        lines += [_sha256(path) for path in [*sorted(files), *self._declared_files()]]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def _declared_files(self) -> list[Path]:
        beside = Path(getattr(sys.modules.get(self.module), "__file__", None) or ".").parent
        for name in self.files:
            if not (file := beside / name).is_file():
                raise FileNotFoundError(f"{self.noun} {self.name!r} declares the file {name}, which is not at {file}")
        return [beside / name for name in self.files]

    def require_available(self) -> None:
        """Raise `UnavailableError` with the reason where the method cannot run here."""
        if reason := self.reason:
            raise UnavailableError(f"{self.noun} {self.name!r} is not available: {reason}")
        if self.is_elsewhere:
            raise UnavailableError(
                f"{self.noun} {self.name!r} runs in an environment of its own, not in this process: semrsm-bench run measures it"
            )

    def check_options(self, options: Mapping[str, Any], keywords: Iterable[str] = ()) -> None:
        """Raise TypeError for an option that the function does not take; the message names the nearest option or keyword."""
        known = self.option_names
        for name in options:
            if known is not None and name not in known:
                near = difflib.get_close_matches(name, [*known, *keywords], n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known) or 'none'}"
                raise TypeError(f"{self.noun} {self.name!r} has no option {name!r}; {hint}")

    def declare(self) -> Declaration:
        """What others must know of the method without importing it."""
        reason = self.reason
        try:
            code = self.code
            brought = [*sources(sys.modules.get(self.module)), *self._declared_files()] if self.plugin else []
            files = {str(path.absolute()): _sha256(path) for path in brought}
        except OSError as error:
            code, files, reason = "", {}, reason or str(error)
        found: dict[str, Any] = {"kind": self.kind_name, "options": dict(self.options), "code": code, "reason": reason}
        found |= {"plugins": (self.plugin,) if self.plugin else (), "files": files}
        return Declaration(
            **{name: getattr(self, name) for name in Declaration.__dataclass_fields__.keys() - found}, **found
        )


M = TypeVar("M", bound=Method)
T = TypeVar("T")


def registering(
    registry: Registry[M], cls: type[M], name: str, declared: Mapping[str, Any], **extra: Any
) -> Callable[[T], T]:
    """The decorator that registers a function as methods of a class, one for each combination of the grid.

    ``declared`` holds ``grid``, what any method may declare, and options that are bound to the name; ``extra`` the fields that the
    kind adds. ValueError: the name is taken or malformed, or the grid is empty. TypeError: the function takes too few arguments,
    or lacks an option that is bound. Nothing is registered then.
    """
    common = {key: declared[key] for key in _DECLARED if key in declared}
    common |= {key: words(common[key]) for key in ("requires", "files") if key in common}
    keywords = {"grid", *_DECLARED, *extra}
    bound = {key: value for key, value in declared.items() if key not in keywords}
    grid = declared.get("grid") or {}
    if any(not len(values) for values in grid.values()):
        raise ValueError(f"{name!r}: an empty grid registers nothing")

    def register(target: T) -> T:
        facts = {**common, **cls.parts(target), **extra}
        if not common.get("distribution") and _is_own(getattr(facts["function"], "__module__", None) or ""):
            facts["distribution"] = OWN_DISTRIBUTION
        made = []
        for values in itertools.product(*grid.values()):
            full = "-".join([name, *(str(value).lower() for value in values)])
            made.append(cls(name=full, options=MappingProxyType({**bound, **dict(zip(grid, values))}), **facts))
            made[-1].check_options(made[-1].options, keywords)
        registry.add(made)
        return target

    return register


def words(values: Iterable[str] | str) -> tuple[str, ...]:
    """One string or several, as a tuple."""
    return (values,) if isinstance(values, str) else tuple(values)


@functools.lru_cache(maxsize=1024)
def option_names(function: Callable[..., Any], arguments: int = 1) -> tuple[str, ...] | None:
    """Names of the options of a method's function; None where it takes any.

    TypeError: the function cannot take that many positional arguments.
    """
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < arguments and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        what = "the problem as its first argument" if arguments == 1 else f"{arguments} positional arguments"
        raise TypeError(f"the function takes {what}; its signature is {inspect.signature(function)}")
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return tuple(p.name for p in parameters[arguments:] if p.kind is not p.VAR_POSITIONAL)


def require_extra(what: str, extra: str, *modules: str) -> None:
    """ImportError where one of the modules, which an extra of this package brings, is not installed."""
    if missing := [module for module in modules if not _importable(module)]:
        raise ImportError(
            f"{what} needs {', '.join(missing)}, not installed here: `pip install 'semrsm-bench[{extra}]'`"
        )


def _importable(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _is_own(module: str) -> bool:
    return module.startswith(f"{_OWN_PACKAGE}.")


def sources(module: ModuleType | None) -> set[Path]:
    """Files whose code a module may run: its room here; of a plugin its package, and what it imports from beside it.

    Compiled files of a package count, too.
    """
    file = getattr(module, "__file__", None)
    if module is None or not file:
        return set()
    path, parts = Path(file), module.__name__.split(".")
    if _is_own(module.__name__):
        return own_sources(parts[1])
    package = hasattr(module, "__path__")
    waiting = {path}
    if package or len(parts) > 1:
        # The outermost package that it is in; where none has an ``__init__.py``, the module's folder.
        outer = (sys.modules.get(".".join(parts[:count])) for count in range(1, len(parts) + 1))
        waiting = _code_in(Path(next(filter(None, (getattr(m, "__file__", None) for m in outer)))).parent)
    folder = path.parents[len(parts) - 1 + package]
    # What other distributions installed is known by its version.
    owners = _distributions().get(parts[0], ())
    foreign = {name for name, others in _distributions().items() if set(owners).isdisjoint(others)}
    found: set[Path] = set()
    while waiting:
        found |= waiting
        names = {name for source in waiting for name in imported(source)} - {*sys.stdlib_module_names, *foreign}
        beside = (
            {p for p in folder.glob(f"{name}.*") if p.suffix in _CODE} | _code_in(folder / name) for name in names
        )
        waiting = set().union(*beside) - found
    return found


def own_sources(room: str) -> set[Path]:
    """Files whose code the methods of a room of this package may run."""
    rooms = {room, "core", *(("solvers", "metrics") if room == "rsm" else ())}
    return {source for each in rooms for source in (Path(__file__).parents[1] / each).rglob("*.py")}


def _code_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.suffix in _CODE and path.is_file()}


def imported(path: Path) -> frozenset[str]:
    """Top-level names of all modules that a Python file imports, inside of functions too."""
    return _imported(path.read_bytes()) if path.suffix == ".py" else frozenset()


@functools.lru_cache(maxsize=256)
def _imported(source: bytes) -> frozenset[str]:
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return frozenset()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    # A relative import stays in its package.
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return frozenset(name.partition(".")[0] for name in names)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Hundreds of methods ask for the same few libraries, and each answer is parsed from files.
_installed_version = functools.lru_cache(maxsize=256)(importlib.metadata.version)
_distributions = functools.lru_cache(maxsize=1)(importlib.metadata.packages_distributions)
