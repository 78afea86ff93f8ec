"""Solver x pair -> record: cases, workers, runner, results, environment and statistics."""
