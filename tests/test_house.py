"""The directions of imports, read from the source: rooms import downwards only, and no modules import each other in a circle."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "semrsm_bench"
LEVELS = {
    "core": 0, "solvers": 1, "metrics": 1, "activations": 1, "rsm": 2, "tasks": 3, "bench": 4, "report": 5, "testing": 5, "cli": 6,
}  # fmt: skip


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
# All but the package's own modules: __init__, __main__, progress.
TREES = {n: ast.parse(path.read_text()) for n, path in NAMES.items() if len(path.relative_to(PACKAGE).parts) > 1}


class WithoutTypeChecking(ast.NodeTransformer):
    def visit_If(self, node):
        return None if "TYPE_CHECKING" in ast.dump(node.test) else self.generic_visit(node)


def imported(nodes):
    """Names of all modules that these nodes import, by absolute names."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in NAMES else node.module for name in names}
    return found


# Also those inside of functions: a circle that is hidden there is still one.
EDGES = {n: imported(ast.walk(WithoutTypeChecking().visit(tree))) & {*NAMES} - {n} for n, tree in TREES.items()}
AT_THE_TOP = {n: {name.split(".")[0] for name in imported(tree.body)} for n, tree in TREES.items()}


@pytest.mark.parametrize("room", LEVELS)
def test_imports_run_downwards(room):
    for name, others in EDGES.items():
        if name.split(".")[1] == room:
            # The package as its users see it leads to every room: for what runs beside any commit, and for lists of it.
            assert "semrsm_bench" not in others or LEVELS[room] >= LEVELS["bench"], f"{name} imports the whole package"
            rooms = {other.split(".")[1] for other in others - {"semrsm_bench"}} - {room}
            assert all(LEVELS.get(other, -1) < LEVELS[room] for other in rooms), f"{name} imports from {rooms}"


@pytest.mark.parametrize("circle", [False, True])
def test_no_modules_import_each_other_in_a_circle(circle):
    edges = {name: others - {"semrsm_bench"} for name, others in EDGES.items()}
    assert edges["semrsm_bench.bench.engine"] > {"semrsm_bench.core.row"}
    if circle:  # would be found
        edges["semrsm_bench.core.row"] = {*edges["semrsm_bench.core.row"], "semrsm_bench.bench.engine"}
        with pytest.raises(graphlib.CycleError):
            list(graphlib.TopologicalSorter(edges).static_order())
    else:
        list(graphlib.TopologicalSorter(edges).static_order())


def test_torch_is_imported_at_the_top_only_in_activations():
    using = {name for name, modules in AT_THE_TOP.items() if "torch" in modules}
    assert using
    assert {name.split(".")[1] for name in using} == {"activations"}


def test_every_room_of_the_package_has_a_level():
    assert {p.name for p in PACKAGE.iterdir() if list(p.glob("*.py"))} == {*LEVELS, "examples"}  # a link to examples/


@pytest.mark.parametrize("name", ["bench.worker", "bench.observe", "core.clock"])
def test_the_worker_needs_the_standard_library_and_numpy_alone(name):
    assert AT_THE_TOP[f"semrsm_bench.{name}"] <= {*sys.stdlib_module_names, "numpy"}
