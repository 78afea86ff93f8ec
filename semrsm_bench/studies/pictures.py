"""Old place of `semrsm_bench.activations.pictures`."""

from semrsm_bench.activations.pictures import Pictures, photographs
from semrsm_bench.activations.pictures import read_pictures as study_pictures

__all__ = ["Pictures", "photographs", "study_pictures"]
