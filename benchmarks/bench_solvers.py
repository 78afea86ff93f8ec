"""Matching solvers over spatial sizes: how long they take and how good their matchings are."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

# Imported here and not in `setup`, so that asv's fork server pays for it once.
from semrsm_bench.bench.measure import Task, measure

from .common import CENTRINGS, SIZES, SOLVERS, load_cases, probe, solver_for

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
    # Spread over all pairs is what qualities are for; times are those of the first pair.
    rounds = 1
    repeat = (1, 7, 1.0)
    warmup_time = 0.0
    sample_time = 0.005

    def setup_cache(self):
        """Problems and certified optima, made once for each commit and shared by all classes."""
        return load_cases()

    setup_cache.timeout = 1800

    def setup(self, cases, solver, size, centring):
        self.solver = solver_for(solver, size)
        self.cases = cases[size, centring]
        self.problem = self.cases[0].problem()
        if not self.solver.matrix_free:
            _ = self.problem.affinity

    def warm(self):
        """Compile and import before anything is timed: asv starts one process for each cell."""
        self.solve()

    def solve(self):
        return self.solver.function(self.problem, **self.solver.options)


class Runtime(_OverSizes):
    """Seconds for one pair of images."""

    def setup(self, cases, solver, size, centring):
        super().setup(cases, solver, size, centring)
        self.warm()

    def time_solve(self, cases, solver, size, centring):
        self.solve()

    time_solve.pretty_name = "Solve, the affinity being there (seconds, lower is better)"

    def time_end_to_end(self, cases, solver, size, centring):
        problem = self.cases[0].problem()
        if not self.solver.matrix_free:
            _ = problem.affinity
        self.solver.function(problem, **self.solver.options)

    time_end_to_end.pretty_name = "Affinity and solve (seconds, lower is better)"

    def track_rel_time(self, cases, solver, size, centring):
        return float(probe.relative_time(self.solve, probe.ReferenceKernel()))

    track_rel_time.unit = "reference kernels"
    track_rel_time.pretty_name = "Solve in units of a fixed kernel (lower is better; gated)"


class Quality(_OverSizes):
    """How near the optimum, over all pairs of the cell. asv takes every rise for a regression: gate inverse quality only."""

    def scores(self, solver, size, centring):
        """(k / k_opt, c) of every pair; one solve serves all benchmarks of this class, by a file in asv's cache folder."""
        path = Path(f"scores-{solver}-{size}-{centring}.json")
        if path.is_file():
            return json.loads(path.read_text())
        found = [case.score(self.solver.run(case.problem()).perm) for case in self.cases]
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(found))
        partial.replace(path)
        return found

    def track_quality(self, cases, solver, size, centring):
        ratios = [ratio for ratio, _ in self.scores(solver, size, centring)]
        return math.nan if any(map(math.isnan, ratios)) else float(sum(ratios) / len(ratios))

    track_quality.unit = "k/k_opt"
    track_quality.pretty_name = "Quality k/k_opt (HIGHER is better; means nothing where k_opt <= 0)"

    def track_chance_corrected(self, cases, solver, size, centring):
        return _mean_c(self.scores(solver, size, centring))

    track_chance_corrected.unit = "c"
    track_chance_corrected.pretty_name = "Chance-corrected quality c (HIGHER is better: 0 random, 1 optimal)"

    def track_gap_percent(self, cases, solver, size, centring):
        return 100.0 * (1.0 - _mean_c(self.scores(solver, size, centring)))

    track_gap_percent.unit = "%"
    track_gap_percent.pretty_name = "Gap 1 - c in percent (lower is better)"

    def track_worst_gap_percent(self, cases, solver, size, centring):
        return 100.0 * (1.0 - min(c for _, c in self.scores(solver, size, centring)))

    track_worst_gap_percent.unit = "%"
    track_worst_gap_percent.pretty_name = "Gap of the worst pair in percent (lower is better)"

    def track_inverse_quality(self, cases, solver, size, centring):
        return float(probe.inverse_quality(_mean_c(self.scores(solver, size, centring))))

    track_inverse_quality.unit = "1/c"
    track_inverse_quality.pretty_name = "Inverse quality 1/c (lower is better; gated)"


class Memory(_OverSizes):
    """What a solve takes beyond its inputs and the affinity."""

    def track_peak_extra(self, cases, solver, size, centring):
        task = Task(cases[size, centring][0].x, cases[size, centring][0].y, {}, memory=64 << 30, timed=False)
        for _ in range(2):  # the first call also compiles and imports
            outcome = measure(self.solver, task, set(), lambda stage, size: None)
        if outcome.status != "ok":
            raise RuntimeError(f"{outcome.status}: {outcome.message}")
        if outcome.peak_bytes is None:
            raise NotImplementedError("this kernel does not tell a process's peak memory")
        return float(max(outcome.peak_bytes, _MIB))

    track_peak_extra.unit = "bytes"
    track_peak_extra.pretty_name = "Peak memory of the solve, at least 1 MiB (bytes, lower is better)"


def _mean_c(scores):
    return float(sum(c for _, c in scores) / len(scores))
