"""The directions of imports, read from the source."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "semrsm_bench"
FLOORS = {"solvers": 0, "activations": 0, "metrics": 0, "rsm": 1, "bench": 1, "report": 2, "studies": 3, "cli": 4}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if len(p.relative_to(PACKAGE).parts) > 1)


def imported_rooms(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("semrsm_bench.")]
    return {p[1] for p in parts if p[1] in FLOORS}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    room = path.relative_to(PACKAGE).parts[0]
    for other in imported_rooms(ast.parse(path.read_text())):
        assert other == room or FLOORS[other] < FLOORS[room], f"{room} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_torch_is_imported_at_the_top_only_in_activations(path):
    top = ast.Module([n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)], [])
    names = {a.name for n in top.body if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module for n in top.body if isinstance(n, ast.ImportFrom)}
    uses_torch = any(name and name.split(".")[0] == "torch" for name in names)
    assert not uses_torch or path.relative_to(PACKAGE).parts[0] == "activations"


def test_the_floors_are_those_of_the_package():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and list(p.glob("*.py"))}
    assert rooms <= set(FLOORS)
