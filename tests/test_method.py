"""Methods: what decides their code, and what they declare."""

import dataclasses
import functools
import json
import subprocess
import sys

import numpy as np
import pytest

import semrsm_bench as sb
from semrsm_bench.core import method as core
from semrsm_bench.core import registry
from semrsm_bench.core.method import Declaration, Method, imported, option_names
from semrsm_bench.core.row import plain
from tests.bench_data import distribution

PLUGIN = """
import numpy as np
import semrsm_bench as sb
from helper_beside import shift

@sb.register_solver("coded", kind="approximate", files=["engine.bin"])
def coded(problem):
    import late_beside
    return late_beside.turn(np.arange(problem.size), shift)
"""
FILES = {
    "coded.py": PLUGIN,
    "helper_beside.py": "import package_beside.inner, space_beside.inner\nshift = 1\n",
    "late_beside.py": "import numpy as np\nturn = np.roll\n",
    "package_beside/__init__.py": "",
    "package_beside/inner.py": "import another_beside\n",
    "another_beside.py": "x = 1\n",
    "space_beside/inner.py": "import under_beside\n",
    "space_beside/deeper/quiet.py": "",
    "under_beside.py": "",
    "package_beside/native.so": "first build",
    "package_beside/notes.txt": "no code",
    "engine.bin": "first build",
    "notes_beside.py": "imported by nobody",
    "data.csv": "declared by nobody",
}
CODE = [name for name in FILES if name not in ("notes_beside.py", "data.csv", "package_beside/notes.txt")]


@pytest.fixture
def plugin(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def code_of(folder, name="coded"):
    """As a new process finds it: modules beside a plugin stay imported in this one."""
    registry._plugins.clear()
    if registry.REGISTRIES["solver"].find(name):
        registry.REGISTRIES["solver"].forget(name)
    for module in [m for m in sys.modules if "beside" in m]:
        del sys.modules[module]
    sb.load_plugin(folder / "coded.py")
    return sb.get_solver(name).code


@pytest.mark.parametrize("name", FILES)
def test_the_code_is_all_that_a_plugin_runs_and_declares(plugin, name):
    before = code_of(plugin)
    assert code_of(plugin) == before
    (plugin / name).write_text(FILES[name] + "\n# edited\n")
    assert (code_of(plugin) != before) == (name in CODE)
    (plugin / name).write_text(FILES[name])
    assert code_of(plugin) == before


@pytest.mark.parametrize(
    ("how", "counts"),
    [
        ("import {}", True),
        ("import {} as other", True),
        ("from {} import __doc__", True),
        ("def inner():\n    import {}", True),
        ("try:\n    import {}.sub\nexcept ImportError:\n    pass", True),
        ("# import {}", False),
        ("text = 'import {}'", False),
    ],
)
def test_another_version_of_a_library_is_other_code(plugin, monkeypatch, how, counts):
    (plugin / "coded.py").write_text(PLUGIN + "\n" + how.format("tqdm") + "\n")
    before, real = code_of(plugin), core._installed_version
    monkeypatch.setattr(core, "_installed_version", lambda d: "99" if d == "tqdm" else real(d))
    assert (code_of(plugin) != before) == counts


@pytest.mark.parametrize(
    ("solver", "library"), [("scipy", "scipy"), ("ortools", "ortools"), ("greedy", "numba"), ("greedy", "numpy")]
)
def test_another_version_of_a_library_is_other_code_of_the_packages_own(monkeypatch, solver, library):
    before, real = sb.get_solver(solver).code, core._installed_version
    monkeypatch.setattr(core, "_installed_version", lambda d: "99" if d == library else real(d))
    assert sb.get_solver(solver).code != before


def test_a_file_that_is_declared_and_missing_is_a_reason_not_to_run(plugin):
    (plugin / "engine.bin").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"solver 'coded' declares the file engine.bin, which is not at .*engine.bin"
    ):
        code_of(plugin)
    declared = sb.get_solver("coded").declare()
    assert "declares the file engine.bin" in declared.reason
    assert declared.code == ""


INSTALLED = {
    "plug.py": "import helper, foreign, deep",
    "helper.py": "import helped",
    "helped.so": "",
    "deep/__init__.py": "",
    "deep/native.so": "",
    "pack/__init__.py": "",
    "pack/entry.py": "import helper, foreign",
    "pack/native.so": "",
    "pack/notes.txt": "",
    "space/entry.py": "import foreign",
    "space/other.py": "",
    "stray.py": "import foreign, json, numpy, unowned",
    "unowned.py": "",
    "foreign.py": "",
    "unused.py": "",
}
SOURCES = """
import importlib, json, sys
from semrsm_bench.core.method import sources
folder, entry = sys.argv[1:]
sys.path.insert(0, folder)
sys.modules["helper"] = sys.modules["foreign"] = sys.modules["deep"] = sys
print(json.dumps([str(path.relative_to(folder)) for path in sources(importlib.import_module(entry))]))
"""


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        ("plug", {"plug.py", "helper.py", "deep/__init__.py", "deep/native.so", "helped.so"}),
        ("pack.entry", {"pack/__init__.py", "pack/entry.py", "pack/native.so", "helper.py", "helped.so"}),
        ("pack", {"pack/__init__.py", "pack/entry.py", "pack/native.so", "helper.py", "helped.so"}),
        ("space.entry", {"space/entry.py", "space/other.py"}),
        ("stray", {"stray.py", "unowned.py"}),  # of no distribution
    ],
)
def test_sources_are_all_that_the_distribution_of_a_plugin_brings_itself(tmp_path, entry, files):
    """Not what other distributions bring: their versions are in the code."""
    for name, text in INSTALLED.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    distribution(tmp_path, "its-own", **{"top_level.txt": "plug\nhelper\nhelped\ndeep\npack\nspace\nunused"})
    distribution(tmp_path, "other", RECORD="foreign.py,,\n")
    done = subprocess.run([sys.executable, "-c", SOURCES, str(tmp_path), entry], capture_output=True, text=True)
    assert set(json.loads(done.stdout)) == files, done.stderr


def test_a_file_that_is_no_python_imports_nothing(tmp_path):
    for text in ("def (:", "\x00", "import"):
        (tmp_path / "x.py").write_text(text)
        assert imported(tmp_path / "x.py") == frozenset()


# What is declared.


@pytest.mark.parametrize("name", sb.solver_names())
def test_a_declaration_travels_as_json(name):
    declared = sb.get_solver(name).declare()
    again = Declaration.from_dict(json.loads(json.dumps(dataclasses.asdict(declared))))
    assert dataclasses.replace(again, options={}, defaults={}) == dataclasses.replace(declared, options={}, defaults={})
    assert again.options == plain(declared.options, bounded=False)
    assert len(declared.code) == 16


def test_all_solvers_of_the_package_share_its_code():
    solvers = [sb.get_solver(name) for name in sb.solver_names()]
    codes = {(s.distribution, s.version, s.requires, s.code) for s in solvers}
    assert len(codes) == len({where[:3] for where in codes}) < len(solvers)


def takes_one(problem, *, a=1, b): ...
def takes_two(x, y, /, c=2): ...
def takes_any(problem, **rest): ...
def takes_args(*problems, d=3): ...
def takes_none(*, a): ...


@pytest.mark.parametrize(
    ("function", "arguments", "names"),
    [
        (takes_one, 1, ("a", "b")),
        (takes_two, 2, ("c",)),
        (takes_two, 1, ("y", "c")),
        (takes_any, 1, None),
        (takes_args, 1, ("d",)),
        (functools.partial(takes_one, a=2), 1, ("a", "b")),
    ],
)
def test_options_of_a_function(function, arguments, names):
    if function is takes_args:
        assert "d" in option_names(function, arguments)
    else:
        assert option_names(function, arguments) == names


@pytest.mark.parametrize(("function", "arguments"), [(takes_none, 1), (takes_one, 2), (lambda: None, 1)])
def test_a_function_that_does_not_take_the_arguments_is_refused(function, arguments):
    with pytest.raises(TypeError, match="takes"):
        option_names(function, arguments)


def test_defaults_are_those_of_the_function_and_of_the_name():
    method = Method("m", takes_one, {"b": 5})
    assert method.defaults == {"a": 1, "b": 5}
    with pytest.raises(TypeError, match="method 'm' has no option 'aa'; did you mean 'a'"):
        method.check_options({"aa": 1})


def test_a_grid_may_hold_anything():
    grid = {"b": np.array([3]), "c": [True, None]}
    sb.register_solver("n", kind="approximate", grid=grid, z=0)(lambda problem, *, b, c, z=1: None)
    assert sb.solver_names()[-2:] == ["n-3-true", "n-3-none"]
    assert dict(sb.get_solver("n-3-none").options) == {"b": 3, "c": None, "z": 0}


@pytest.mark.parametrize("module", ["no_such_module", "numpy.no_such", "no.such.module", "..bad"])
def test_a_missing_module_is_a_reason(module):
    method = Method("m", takes_one, requires=("numpy", module))
    assert (method.available, method.reason) == (False, f"needs the module {module!r}, which is not installed")
    with pytest.raises(core.UnavailableError, match="'m' is not available: needs the module"):
        method.require_available()
