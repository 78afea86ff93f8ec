"""What is judged: a function with a name, bound options, and what one must know to use and to recognise it."""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, TypeVar

from semrsm_bench.core.registry import NOUNS, Registry

OWN_DISTRIBUTION = "semrsm-bench"
_OWN_PACKAGE = "semrsm_bench"
# What every method of this package may call, whatever it declares.
_LIBRARIES = ("numpy", "scipy", "numba")
# How names of files end that hold code which Python, or a library that it opens, runs.
_CODE = (".py", ".so", ".pyd", ".dylib")


class UnavailableError(RuntimeError):
    """The method is registered, but something that it needs is missing here."""


@dataclass(frozen=True)
class Declaration:
    """What is known of a method without importing it: read in a worker, sent as JSON.

    Attributes
    ----------
    kind : str
        "solver", "rsm", "metric" or "instance".
    name, category : str
        The category is how tables group methods: exact, approximate, baseline; "" for others.
    options, defaults : mapping
        Bound to the name; and all options with their values.
    version, code : str
        Of the distribution that does the work; digest of everything that decides what the method does.
    reason : str
        Why it cannot run here; "" where it can.
    summary, complexity, reference : str
    max_size, slow_from : int or None
        Largest S it is meant for; S from which quick runs leave it out.
    facts : mapping
        What only its kind knows: ``matrix_free`` of a solver, ``takes`` of a metric, ...
    plugins : tuple of str
        Files, or entry points, that its worker imports.
    files : mapping of str to str
        Paths of a plugin's own files, its sources and those that it declares, and their SHA-256.
    """

    kind: str
    name: str
    category: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    version: str = "unknown"
    code: str = ""
    reason: str = ""
    summary: str = ""
    complexity: str = ""
    reference: str = ""
    max_size: int | None = None
    slow_from: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, but for options of strange types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Declaration:
        """Back from JSON; what it does not know is left out."""
        known = {name: value for name, value in content.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, "plugins": tuple(content["plugins"])})


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What a method of any kind may declare: keywords of all ``register_...`` functions, beside ``grid``.

    Attributes
    ----------
    complexity, reference : str
        Cost in O-notation, and where the method is described; shown by ``semrsm-bench list``.
    requires : tuple of str
        Modules that the function imports; where one is missing the method stays listed with the reason.
    unavailable : callable or None
        Returns a reason, or "", for what a module's name does not decide.
    files : tuple of str
        Files that decide what the method does, such as a shared library, relative to the file that registers it: a run that is
        resumed after one of them changed measures the method again.
    distribution : str
        Distribution whose version is recorded with every result; by default the one that the plugin came in.
    """

    complexity: str = ""
    reference: str = ""
    requires: tuple[str, ...] = ()
    unavailable: Callable[[], str] | None = None
    files: tuple[str, ...] = ()
    distribution: str = ""


@dataclass(frozen=True)
class Method(Registration):
    """A registered function with what was declared of it; each kind adds what it needs.

    Attributes
    ----------
    name : str
    function : callable
    options : mapping
        Options bound to this name (``{"b": 128}``); a call may override them and give any other option of the function.
    plugin, digest : str
        What a worker imports for it, a file or an entry point, "" for a method of this package; start of the SHA-256 of a file.
    """

    kind_name: ClassVar[str] = "method"
    arguments: ClassVar[int] = 1
    """How many positional arguments the function takes before its options."""

    name: str
    function: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    plugin: str = ""
    digest: str = ""

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
        """Why the method cannot be used here; empty when it can."""
        for module in self.requires:
            if not _importable(module):
                return f"needs the module {module!r}, which is not installed"
        return self.unavailable() if self.unavailable else ""

    @property
    def available(self) -> bool:
        """Whether everything it needs is installed."""
        return not self.reason

    @property
    def version(self) -> str:
        """Version of the distribution that does the work, or the digest of a bare file; "unknown" where there is neither."""
        if self.distribution:
            try:
                return _installed_version(self.distribution)
            except importlib.metadata.PackageNotFoundError:
                if self.distribution == OWN_DISTRIBUTION:
                    import semrsm_bench

                    return semrsm_bench.__version__
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
        """Digest of what decides the method's results: its sources, the versions of its libraries, the files it declares.

        Raises
        ------
        FileNotFoundError
            A declared file is missing.
        """
        digest = hashlib.sha256()
        module = sys.modules.get(self.module)
        files = sources(module)
        for path in sorted(files):
            digest.update(_sha256(path).digest())
        for library in sorted({*_libraries(module, files), *(r.partition(".")[0] for r in self.requires)}):
            digest.update(f"{library} {_version_of(library)}\n".encode())
        digest.update(f"{self.distribution} {self.version}\n".encode())
        for path in self._declared_files():
            digest.update(_sha256(path).digest())
        return digest.hexdigest()[:16]

    def _declared_files(self) -> list[Path]:
        beside = Path(getattr(sys.modules.get(self.module), "__file__", None) or ".").parent
        for name in self.files:
            if not (beside / name).is_file():
                raise FileNotFoundError(
                    f"{self.noun} {self.name!r} declares the file {name}, which is not at {beside / name}"
                )
        return [beside / name for name in self.files]

    def require_available(self) -> None:
        """Raise `UnavailableError` with the reason where the method cannot run here."""
        if reason := self.reason:
            raise UnavailableError(f"{self.noun} {self.name!r} is not available: {reason}")

    def check_options(self, options: Mapping[str, Any], keywords: Iterable[str] = ()) -> None:
        """Raise TypeError for an option that the function does not take; the message names the nearest option or keyword."""
        known = self.option_names
        if known is None:
            return
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, [*known, *keywords], n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known) or 'none'}"
                raise TypeError(f"{self.noun} {self.name!r} has no option {name!r}; {hint}")

    def declare(self) -> Declaration:
        """What others must know of the method without importing it."""
        reason = self.reason
        try:
            code = self.code
            own = [*sources(sys.modules.get(self.module)), *self._declared_files()] if self.plugin else []
            files = {str(path.absolute()): _sha256(path).hexdigest() for path in own}
        except OSError as error:
            code, files, reason = "", {}, reason or str(error)
        return Declaration(
            kind=self.kind_name,
            name=self.name,
            category=self.category,
            options=dict(self.options),
            defaults=self.defaults,
            version=self.version,
            code=code,
            reason=reason,
            summary=self.summary,
            complexity=self.complexity,
            reference=self.reference,
            max_size=getattr(self, "max_size", None),
            slow_from=getattr(self, "slow_from", None),
            facts=self.facts,
            plugins=(self.plugin,) if self.plugin else (),
            files=files,
        )


def joined_code(codes: Sequence[str]) -> str:
    """The code of a method, or of a composite of several."""
    return codes[0] if len(codes) == 1 else hashlib.sha256(" ".join(codes).encode()).hexdigest()[:16]


def _sha256(path: Path) -> Any:
    return hashlib.sha256(path.read_bytes())


M = TypeVar("M", bound=Method)
T = TypeVar("T")


def variants(
    name: str, grid: Mapping[str, Sequence[Any]] | None, options: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any]]]:
    """Names and bound options of every combination of a grid: ``("batch-optimal-128", {"b": 128})``.

    Raises
    ------
    ValueError
        An option of the grid has no value.
    """
    grid = grid or {}
    if any(not len(values) for values in grid.values()):
        raise ValueError(f"{name!r}: an empty grid registers nothing")
    return [
        ("-".join([name, *(str(v).lower() for v in values)]), MappingProxyType({**options, **dict(zip(grid, values))}))
        for values in itertools.product(*grid.values())
    ]


def registering(
    registry: Registry[M], cls: type[M], name: str, declared: Mapping[str, Any], **own: Any
) -> Callable[[T], T]:
    """The decorator that registers a function as methods of a class, one for each combination of the grid.

    Parameters
    ----------
    registry : Registry
    cls : type
        A kind of `Method`.
    name : str
    declared : mapping
        ``grid``, fields of `Registration`, and options that are bound to the name.
    **own
        Fields that the kind adds.

    Raises
    ------
    ValueError
        The name is taken or malformed, or the grid is empty. Nothing is registered then.
    TypeError
        The function takes too few arguments, or lacks an option that is bound.
    """
    common = {f.name: declared[f.name] for f in fields(Registration) if f.name in declared and f.name != "distribution"}
    common |= {key: words(common[key]) for key in ("requires", "files") if key in common}
    keywords = {"grid", *(f.name for f in fields(Registration)), *own}
    bound = {key: value for key, value in declared.items() if key not in keywords}

    def register(target: T) -> T:
        parts = cls.parts(target)
        distribution = declared.get("distribution") or own_distribution(parts["function"])
        made = [
            cls(name=full, options=options, distribution=distribution, **parts, **common, **own)
            for full, options in variants(name, declared.get("grid"), bound)
        ]
        for method in made:
            method.check_options(method.options, keywords)
        registry.add(made)
        return target

    return register


def words(values: Iterable[str] | str) -> tuple[str, ...]:
    """One string or several, as a tuple."""
    return (values,) if isinstance(values, str) else tuple(values)


def own_distribution(function: Callable[..., Any]) -> str:
    """The distribution of this package where the function is its own, else ""."""
    module = getattr(function, "__module__", None) or ""
    return OWN_DISTRIBUTION if module.startswith(f"{_OWN_PACKAGE}.") else ""


@functools.lru_cache(maxsize=1024)
def option_names(function: Callable[..., Any], arguments: int = 1) -> tuple[str, ...] | None:
    """Names of the options of a method's function; None where it takes any.

    Raises
    ------
    TypeError
        The function cannot take that many positional arguments.
    """
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < arguments and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        what = "the problem as its first argument" if arguments == 1 else f"{arguments} positional arguments"
        raise TypeError(f"the function takes {what}; its signature is {inspect.signature(function)}")
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return tuple(p.name for p in parameters[arguments:] if p.kind is not p.VAR_POSITIONAL)


def _importable(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def sources(module: ModuleType | None) -> set[Path]:
    """Files whose code a module may run: its room here; of a plugin its package, and what it imports from beside it.

    Compiled files of a package count, too.
    """
    file = getattr(module, "__file__", None)
    if module is None or not file:
        return set()
    path = Path(file)
    if module.__name__.startswith(f"{_OWN_PACKAGE}."):
        room = module.__name__.split(".")[1]
        rooms = {room, "core", *(("solvers", "metrics") if room == "rsm" else ())}
        root = next(p for p in path.parents if p.name == _OWN_PACKAGE)
        return {source for room in rooms for source in (root / room).rglob("*.py")}
    package = hasattr(module, "__path__")
    waiting = set(_code_in(_package_folder(module.__name__))) if package or "." in module.__name__ else {path}
    folder = path.parents[module.__name__.count(".") + package]
    # What other distributions installed has a version, which says enough; there is no end of it.
    own = _distributions().get(module.__name__.partition(".")[0], ())
    foreign = {name for name, owners in _distributions().items() if set(own).isdisjoint(owners)}
    found: set[Path] = set()
    while waiting:
        found |= waiting
        names = {name for source in waiting for name in imported(source)} - {*sys.stdlib_module_names, *foreign}
        waiting = {f for name in names for f in _beside(folder, name)} - found
    return found


def _package_folder(name: str) -> Path:
    """Folder of the outermost package that a module lies in; without an ``__init__.py`` on the way, the module's own."""
    parts = name.split(".")
    outer = (sys.modules.get(".".join(parts[:count])) for count in range(1, len(parts) + 1))
    return Path(next(filter(None, (getattr(module, "__file__", None) for module in outer)))).parent


def _beside(folder: Path, name: str) -> Iterable[Path]:
    """Files of the module or package of that name in a folder, with an ``__init__.py`` or without, compiled ones too."""
    return [*(p for p in folder.glob(f"{name}.*") if p.suffix in _CODE), *_code_in(folder / name)]


def _code_in(folder: Path) -> Iterable[Path]:
    return [path for path in folder.rglob("*") if path.suffix in _CODE and path.is_file()]


def imported(path: Path) -> frozenset[str]:
    """Top-level names of all modules that a Python file imports, inside of functions too."""
    return _imported(path.read_bytes()) if path.suffix == ".py" else frozenset()


@functools.lru_cache(maxsize=256)
def _imported(source: bytes) -> frozenset[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif (
            isinstance(node, ast.ImportFrom) and node.module and not node.level
        ):  # a relative import stays in its package
            names.add(node.module.partition(".")[0])
    return frozenset(names)


def _libraries(module: ModuleType | None, files: Iterable[Path]) -> set[str]:
    """Top-level packages that a method's files import, and those that every method's inputs are made with."""
    own = module is None or module.__name__.startswith(f"{_OWN_PACKAGE}.")
    names = set() if own else {name for path in files for name in imported(path)}
    return {*_LIBRARIES, *names} - {_OWN_PACKAGE, *sys.stdlib_module_names}


def _version_of(module: str) -> str:
    names = _distributions().get(module, [])
    return ", ".join(f"{name} {_installed_version(name)}" for name in sorted(set(names)))


@functools.lru_cache(maxsize=256)
def _installed_version(distribution: str) -> str:
    # Hundreds of methods ask for the same few libraries, and each answer is parsed from a file.
    return importlib.metadata.version(distribution)


@functools.lru_cache(maxsize=1)
def _distributions() -> Mapping[str, Sequence[str]]:
    return importlib.metadata.packages_distributions()
