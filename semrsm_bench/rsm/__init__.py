"""Pairs of images to similarity matrices: kernels, matchings, tiles, and runs that can be interrupted."""

from semrsm_bench.metrics.kernels import bandwidth
from semrsm_bench.rsm.comparison import InvalidRsmError
from semrsm_bench.rsm.compute import compute_rsm
from semrsm_bench.rsm.estimate import Estimate, estimate_rsm
from semrsm_bench.rsm.options import RsmOptions
from semrsm_bench.rsm.registry import RsmMethod
from semrsm_bench.rsm.sources import ArraySource, CacheLayer, ImageSource
from semrsm_bench.rsm.store import IncompleteError, ResumeError, load_rsm

__all__ = [
    "ArraySource",
    "CacheLayer",
    "Estimate",
    "ImageSource",
    "IncompleteError",
    "InvalidRsmError",
    "ResumeError",
    "RsmMethod",
    "RsmOptions",
    "bandwidth",
    "compute_rsm",
    "estimate_rsm",
    "load_rsm",
]
