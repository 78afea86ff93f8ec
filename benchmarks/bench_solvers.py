"""Matching solvers over spatial sizes: how long they take and how good their matchings are."""

from __future__ import annotations

import json
import math
import os
import statistics
from pathlib import Path

import semrsm_bench as sb

from .clock import ReferenceKernel, peak_bytes
from .common import (
    CENTRINGS,
    FAMILIES,
    FAMILY_SOLVERS,
    SIZES,
    SOLVERS,
    answer_of,
    inverse_quality,
    matching_of,
    observed,
    relative_time,
    shifted,
    solver_for,
)
from .problems import family_problem, load_problems

# Loads all solvers here and not in `setup`, so that asv's fork server pays for it once.
sb.get_solver("identity")
_MIB = 1 << 20


def timeraw_import():
    """What a user waits for before the first line of their own code."""
    return "import semrsm_bench; semrsm_bench.solver_names()"


timeraw_import.version = "1"
timeraw_import.pretty_name = "Import and list the solvers (seconds, lower is better)"
timeraw_import.repeat = 5
timeraw_import.number = 1


class _OverSizes:
    """One benchmark over solver, S and centring."""

    params = (list(SOLVERS), list(SIZES), list(CENTRINGS))
    param_names = ("solver", "size", "centring")
    version = "1"
    timeout = 300.0

    def setup_cache(self):
        """Problems with their optima, read once for each commit and shared by all classes."""
        return load_problems()

    def setup(self, problems, solver, size, centring):
        solver_for(solver, size)
        self.problems = problems[size, centring]


class Runtime(_OverSizes):
    """Time for one pair of images. asv's own ``time_`` gives every call the same bytes; these calls each get another shift."""

    version = "2"

    def times(self, solver):
        """Median (solve, affinity) of each pair, in seconds."""
        found = [observed(solver, problem) for problem in self.problems]
        return [(statistics.median(o.seconds), statistics.median(o.affinity_seconds)) for o in found]

    def track_solve_seconds(self, problems, solver, size, centring):
        return float(statistics.median(solve for solve, _ in self.times(solver)))

    track_solve_seconds.unit = "seconds"
    track_solve_seconds.pretty_name = "Solve, the affinity being there (seconds, lower is better)"

    def track_end_to_end_seconds(self, problems, solver, size, centring):
        return float(statistics.median(map(sum, self.times(solver))))

    track_end_to_end_seconds.unit = "seconds"
    track_end_to_end_seconds.pretty_name = "Affinity and solve (seconds, lower is better)"

    def track_rel_time(self, problems, solver, size, centring):
        first = self.problems[0]
        kernel = ReferenceKernel()
        return relative_time(lambda number: observed(solver, first, seed=number).seconds, kernel.seconds)

    track_rel_time.unit = "reference kernels"
    track_rel_time.pretty_name = "Solve in units of a fixed kernel (lower is better; gated)"


class Quality(_OverSizes):
    """How near the optimum, over all pairs of the cell. asv takes every rise for a regression: gate inverse quality only."""

    def scores(self, solver, size, centring):
        """(k / k_opt, c) of every pair; one solve serves all benchmarks of this class, by a file in asv's cache folder."""
        path = Path(f"scores-{solver}-{size}-{centring}.json")
        if path.is_file():
            return json.loads(path.read_text())
        found = [problem.score(matching_of(solver, problem)) for problem in self.problems]
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(found))
        partial.replace(path)
        return found

    def track_quality(self, problems, solver, size, centring):
        ratios = [ratio for ratio, _ in self.scores(solver, size, centring)]
        return math.nan if any(map(math.isnan, ratios)) else float(sum(ratios) / len(ratios))

    track_quality.unit = "k/k_opt"
    track_quality.pretty_name = "Quality k/k_opt (HIGHER is better; means nothing where k_opt <= 0)"

    def track_chance_corrected(self, problems, solver, size, centring):
        return _mean_c(self.scores(solver, size, centring))

    track_chance_corrected.unit = "c"
    track_chance_corrected.pretty_name = "Chance-corrected quality c (HIGHER is better: 0 random, 1 optimal)"

    def track_gap_percent(self, problems, solver, size, centring):
        return 100.0 * (1.0 - _mean_c(self.scores(solver, size, centring)))

    track_gap_percent.unit = "%"
    track_gap_percent.pretty_name = "Gap 1 - c in percent (lower is better)"

    def track_worst_gap_percent(self, problems, solver, size, centring):
        return 100.0 * (1.0 - min(c for _, c in self.scores(solver, size, centring)))

    track_worst_gap_percent.unit = "%"
    track_worst_gap_percent.pretty_name = "Gap of the worst pair in percent (lower is better)"

    def track_inverse_quality(self, problems, solver, size, centring):
        return float(inverse_quality(_mean_c(self.scores(solver, size, centring))))

    track_inverse_quality.unit = "1/c"
    track_inverse_quality.pretty_name = "Inverse quality 1/c (lower is better; gated)"


class Memory(_OverSizes):
    """What a solve takes beyond its inputs and the affinity."""

    def track_peak_extra(self, problems, solver, size, centring):
        registered, problem = solver_for(solver, size), self.problems[0]
        matching_of(solver, problem)  # compiles and imports
        given, _ = shifted(problem, 0, registered.matrix_free)
        peak = peak_bytes(lambda: answer_of(registered, given))
        if peak is None:
            raise NotImplementedError("this kernel does not report a process's peak memory")
        return float(max(peak, _MIB))

    track_peak_extra.unit = "bytes"
    track_peak_extra.pretty_name = "Peak memory of the solve, at least 1 MiB (bytes, lower is better)"


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


def _mean_c(scores):
    return float(sum(c for _, c in scores) / len(scores))
