"""``python -m semrsm_bench`` is ``semrsm-bench``."""

from semrsm_bench.cli import main

main()
