"""The engine, method x task -> rows: plan, workers, rows, resume, optimum, intervals, compare, gate."""
