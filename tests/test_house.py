"""The directions of imports, read from the source: rooms import downwards only, and no modules import each other in a circle."""

import ast
import graphlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "semrsm_bench"
FLOORS = {
    "core": 0, "solvers": 1, "metrics": 1, "activations": 1, "rsm": 2, "tasks": 3, "bench": 4, "report": 5, "cli": 6,
}  # fmt: skip
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if len(p.relative_to(PACKAGE).parts) > 1)


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in PACKAGE.rglob("*.py")}


def without_type_checking(tree):
    class Visitor(ast.NodeTransformer):
        def visit_If(self, node):
            return None if "TYPE_CHECKING" in ast.dump(node.test) else self.generic_visit(node)

    return Visitor().visit(tree)


def imports_of(path, *, lazy):
    """Modules of the package that a file imports; with ``lazy`` also those inside of functions."""
    tree = without_type_checking(ast.parse(path.read_text()))
    nodes = ast.walk(tree) if lazy else (n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in NAMES else node.module for a in node.names
            }
    return {name for name in found if name in NAMES}


def graph(*, lazy):
    return {name_of(path): imports_of(path, lazy=lazy) - {name_of(path), "semrsm_bench"} for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    room = path.relative_to(PACKAGE).parts[0]
    for name in imports_of(path, lazy=True):
        if name == "semrsm_bench":
            # The package as its users see it, which leads to every room: for what runs beside any commit, and for lists of it.
            assert FLOORS[room] >= FLOORS["bench"], f"{room} imports the whole package"
            continue
        other = name.split(".")[1]
        assert other == room or other not in FLOORS or FLOORS[other] < FLOORS[room], f"{room} imports {name}"


def test_no_modules_import_each_other_in_a_circle():
    # Also through imports inside of functions: a circle that is hidden there is still one.
    edges = graph(lazy=True)
    assert edges["semrsm_bench.bench.engine"] > {"semrsm_bench.core.row"}
    list(graphlib.TopologicalSorter(edges).static_order())


def test_a_circle_would_be_found():
    edges = {**graph(lazy=True)}
    edges["semrsm_bench.core.row"] = {*edges["semrsm_bench.core.row"], "semrsm_bench.bench.engine"}
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter(edges).static_order())


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_torch_is_imported_at_the_top_only_in_activations(path):
    top = ast.Module([n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)], [])
    names = {a.name for n in top.body if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in top.body if isinstance(n, ast.ImportFrom)}
    uses_torch = any(name and name.split(".")[0] == "torch" for name in names)
    assert not uses_torch or path.relative_to(PACKAGE).parts[0] == "activations"


def test_the_floors_are_those_of_the_package():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and list(p.glob("*.py"))}
    assert rooms == set(FLOORS)


def test_the_worker_needs_the_standard_library_and_numpy_alone():
    allowed = {"numpy", "zlib"}
    for name in ("bench/worker", "bench/observe", "core/clock"):
        path = PACKAGE / f"{name}.py"
        top = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)]
        imported = {(a.name if isinstance(n, ast.Import) else n.module).split(".")[0] for n in top for a in n.names}
        import sys

        assert imported <= {*sys.stdlib_module_names, *allowed}, imported
