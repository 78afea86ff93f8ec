"""Benchmarks for asv; `common` holds the cases, which pytest-benchmark shares."""

import os

# One thread in every library, set before the first of them is imported: asv's environment variables do not reach an existing
# environment.
for _variable in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA"):
    os.environ[f"{_variable}_NUM_THREADS"] = "1"
os.environ["VECLIB_MAXIMUM_THREADS"] = "1"
