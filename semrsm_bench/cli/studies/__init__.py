"""One module for each study: its options, handed to the function in `semrsm_bench.studies`."""
