"""Matching solvers over spatial sizes: how long they take and how good their matchings are."""

from __future__ import annotations

import statistics

import semrsm_bench as sb

from . import cells
from .calls import matching_of, observed, solver_for
from .common import CENTRINGS, FAMILIES, FAMILY_SOLVERS, SIZES, SOLVERS
from .problems import family_problem, load_problems

# Loads all solvers here and not in `setup`, so that asv's fork server pays for it once.
sb.get_solver("identity")


def timeraw_import():
    """What a user waits for before the first line of their own code."""
    return "import semrsm_bench; semrsm_bench.solver_names()"


timeraw_import.version = "1"
timeraw_import.pretty_name = "Import and list the solvers (seconds, lower is better)"
timeraw_import.repeat = 5
timeraw_import.number = 1


class _Frozen:
    """The frozen lists, and problems with frozen optima."""

    params = (list(SOLVERS), list(SIZES), list(CENTRINGS))

    def setup_cache(self):
        """Problems with their optima, read once for each commit and shared by all classes."""
        return load_problems()


class Runtime(_Frozen, cells.Runtime):
    pass


class Quality(_Frozen, cells.Quality):
    pass


class Memory(_Frozen, cells.Memory):
    pass


class Families:
    """Time and quality on problems that are no maps of a network, S = 256."""

    params = (list(FAMILIES), list(FAMILY_SOLVERS))
    param_names = ("family", "solver")
    version = "1"
    timeout = 300.0

    def setup(self, family, solver):
        solver_for(solver, 256)
        self.problem = family_problem(family)

    def track_solve_seconds(self, family, solver):
        return float(statistics.median(observed(solver, self.problem).seconds))

    track_solve_seconds.unit = "seconds"
    track_solve_seconds.pretty_name = "Solve on other kinds of problems (seconds, lower is better)"

    def track_gap_percent(self, family, solver):
        return 100.0 * (1.0 - self.problem.score(matching_of(solver, self.problem))[1])

    track_gap_percent.unit = "%"
    track_gap_percent.pretty_name = "Gap 1 - c on other kinds of problems (%, lower is better)"
