"""One side of the gate: a process that holds one commit's package and does as it is told, line by line.

Run by its path with ``python -P``, so that it works beside the package of any commit; of that package it needs only the public
names ``MatchingProblem``, ``get_solver``, ``load_plugin`` and ``solver_names``. Commands come as JSON lines on standard input;
answers leave through a descriptor of their own, because a solver may print.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

OWN_MODULES = "semrsm_bench.solvers."


def _probe() -> Any:
    path = Path(__file__).with_name("probe.py")
    spec = importlib.util.spec_from_file_location("_gate_probe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_gate_probe"] = module
    spec.loader.exec_module(module)
    return module


class _Side:
    """The package of this side, and the problems it was shown."""

    def __init__(self) -> None:
        self.probe = _probe()
        self.reference = self.probe.ReferenceKernel()
        self.problems: dict[tuple[str, bool], Any] = {}

    def hello(self, plugins: list[str]) -> dict[str, Any]:
        """Load everything and tell what there is."""
        import semrsm_bench
        from semrsm_bench.solvers import get_solver, load_plugin, solver_names

        for plugin in plugins:
            load_plugin(plugin)
        described = []
        for name in solver_names():
            solver = get_solver(name)
            module = getattr(solver.function, "__module__", None) or ""
            described.append(
                {
                    "name": name,
                    "kind": solver.kind,
                    "reason": solver.reason,
                    "max_size": solver.max_size,
                    "own": module.startswith(OWN_MODULES),
                }
            )
        return {"package": str(Path(semrsm_bench.__file__).resolve()), "solvers": described}

    def forget(self) -> dict[str, Any]:
        """Drop all problems: the next size needs the room."""
        self.problems.clear()
        return {}

    def solve(self, solver: str, problem: str) -> dict[str, Any]:
        """One matching, not validated here."""
        import numpy as np

        result = self._call(solver, problem)()
        perm = np.asarray(getattr(result, "perm", result))
        if perm.dtype.kind not in "iu" or perm.ndim != 1:
            raise ValueError(f"it returned an array of {perm.dtype} and shape {perm.shape}, not a permutation")
        return {"perm": perm.tolist()}

    def time(self, solver: str, problem: str) -> dict[str, Any]:
        """Seconds of one solve and of the reference kernel around it."""
        seconds, reference = self.probe.paired_sample(self._call(solver, problem), self.reference)
        return {"seconds": seconds, "reference": reference}

    def _call(self, name: str, problem: str) -> Any:
        from semrsm_bench.solvers import get_solver

        solver = get_solver(name)
        shown = self._problem(problem, bool(solver.matrix_free))
        return lambda: solver.function(shown, **solver.options)

    def _problem(self, path: str, matrix_free: bool) -> Any:
        import numpy as np

        from semrsm_bench.solvers import MatchingProblem

        key = (path, matrix_free)
        if key not in self.problems:
            with np.load(path) as arrays:
                made = MatchingProblem(arrays["x"], arrays["y"])
            if not matrix_free:
                _ = made.affinity
            self.problems[key] = made
        return self.problems[key]


def _die_with_parent() -> None:
    """A gate that is killed must not leave a process behind that still solves."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def main() -> None:
    """Answer until standard input closes."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if len(sys.argv) > 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    side = _Side()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(side, command.pop("do"))(**command)
        except BaseException as error:  # SystemExit from a solver is its failure, not our end
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:500], "memory": isinstance(error, MemoryError)}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
