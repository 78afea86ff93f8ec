"""What Wald et al. 2024 print for retrieval, for comparison: other networks and other data than ours."""

from __future__ import annotations

from semrsm_bench.studies.study import Table

_SIZES = ("2,500", "5,000", "10,000")
# Network, kernel, then F1@1 without and with permutation invariance for each size of the database.
_EGOOBJECTS = (
    ("CLIPSeg", "cosine", 0.240, 0.781, 0.280, 0.835, 0.344, 0.859),
    ("CLIPSeg", "linear", 0.233, 0.548, 0.281, 0.624, 0.328, 0.569),
    ("CLIPSeg", "rbf", 0.205, 0.781, 0.247, 0.836, 0.293, 0.854),
    ("DinoV2-Giant", "cosine", 0.765, 0.840, 0.827, 0.876, 0.857, 0.889),
    ("DinoV2-Giant", "linear", 0.767, 0.839, 0.829, 0.876, 0.856, 0.890),
    ("DinoV2-Giant", "rbf", 0.735, 0.834, 0.810, 0.876, 0.843, 0.888),
    ("BiT-50", "cosine", 0.670, 0.799, 0.750, 0.846, 0.800, 0.868),
    ("BiT-50", "linear", 0.659, 0.780, 0.730, 0.823, 0.782, 0.852),
    ("BiT-50", "rbf", 0.582, 0.789, 0.668, 0.835, 0.741, 0.859),
    ("CLIP", "cosine", 0.704, 0.803, 0.784, 0.858, 0.827, 0.876),
    ("CLIP", "linear", 0.703, 0.792, 0.780, 0.848, 0.823, 0.867),
    ("CLIP", "rbf", 0.584, 0.779, 0.679, 0.835, 0.749, 0.863),
    ("SAM ViT/B32", "cosine", 0.509, 0.735, 0.614, 0.804, 0.688, 0.838),
    ("SAM ViT/B32", "linear", 0.511, 0.695, 0.616, 0.774, 0.688, 0.815),
    ("SAM ViT/B32", "rbf", 0.371, 0.703, 0.474, 0.784, 0.556, 0.823),
)
# Network, then IoU@1 without and with permutation invariance for cosine, linear and RBF kernel.
_CITYSCAPES = (
    ("CLIPSeg", 0.662, 0.694, 0.664, 0.654, 0.664, 0.696),
    ("DinoV2-Giant", 0.689, 0.700, 0.686, 0.696, 0.686, 0.690),
    ("BiT-50", 0.679, 0.687, 0.677, 0.677, 0.684, 0.687),
    ("CLIP", 0.691, 0.701, 0.693, 0.701, 0.678, 0.687),
    ("SAM ViT/B32", 0.690, 0.702, 0.687, 0.677, 0.679, 0.687),
)


def paper_tables() -> list[Table]:
    """Tables 2 and 3 of the paper, as printed; the differences are left out, they are those of the two columns."""
    egoobjects = Table(
        "Wald et al. 2024, Table 2: F1@1 on EgoObjects, 2,000 queries",
        ["network", "kernel", *(f"{name}, {size}" for size in _SIZES for name in ("spatio-semantic", "semantic"))],
        _EGOOBJECTS,
        "Printed figures of the paper: other networks, other data. The number in a column's name is the size of the "
        "database. Semantic by Batch-Optimal.",
    )
    cityscapes = Table(
        "Wald et al. 2024, Table 3: IoU@1 on Cityscapes, 500 queries, database of 2,975",
        [
            "network",
            *(f"{kernel}, {name}" for kernel in ("cosine", "linear", "rbf") for name in ("spatio-s.", "semantic")),
        ],
        _CITYSCAPES,
        "Printed figures of the paper: other networks, other data. Semantic by Batch-Optimal.",
    )
    return [egoobjects, cityscapes]
