"""What the paper prints for the study `outputs`, to stand beside ours and never among it."""

from __future__ import annotations

from semrsm_bench.studies.network_rsms import SEMANTIC, SPATIO_SEMANTIC
from semrsm_bench.studies.study import Table

# Architecture -> Table 1 and Table 4: cosine, inner product, RBF, each without and with invariance to permutations.
_PAPER_TABLE_1 = {
    "ResNet18": (-0.276, -0.326, -0.259, -0.270, 0.176, -0.199),
    "ResNet50": (-0.248, -0.320, -0.243, -0.270, 0.040, 0.029),
    "ResNet101": (-0.192, -0.276, -0.174, -0.240, 0.091, 0.084),
    "ConvNextV2-Base": (-0.134, -0.098, -0.132, -0.171, 0.117, 0.090),
    "ViT-B/16": (-0.046, -0.100, -0.045, -0.026, -0.077, -0.122),
    "ViT-L/32": (-0.138, -0.188, -0.138, -0.144, -0.134, -0.166),
    "DinoV2-Giant": (-0.012, -0.044, -0.013, -0.031, -0.008, -0.048),
}
_PAPER_TABLE_4 = {
    "ResNet18": (-0.279, -0.328, -0.264, -0.272, -0.174, -0.197, -0.231, -0.337, -0.239, -0.225, -0.435, -0.476),
    "ResNet50": (-0.256, -0.305, -0.249, -0.269, 0.028, 0.015, -0.032, 0.007, -0.046, -0.040, 0.128, 0.132),
    "ResNet101": (-0.235, -0.330, -0.211, -0.274, 0.076, 0.067, -0.007, -0.053, -0.007, -0.077, 0.071, 0.068),
    "ConvNextV2-Base": (-0.162, -0.126, -0.160, -0.184, 0.077, 0.050, -0.017, 0.026, -0.013, -0.045, 0.143, 0.128),
    "ViT-B/16": (-0.058, -0.098, -0.056, -0.031, -0.079, -0.120, -0.013, -0.230, -0.021, 0.029, -0.220, -0.313),
    "ViT-L/32": (-0.142, -0.189, -0.143, -0.152, -0.131, -0.164, -0.034, -0.276, -0.029, -0.014, -0.335, -0.392),
    "DinoV2-Giant": (-0.016, -0.046, -0.016, -0.030, -0.013, -0.052, -0.014, -0.037, -0.015, -0.022, -0.015, -0.042),
}
_PAPER_COLUMNS = tuple(f"{k}, {m}" for k in ("cosine", "inner product", "rbf") for m in (SPATIO_SEMANTIC, SEMANTIC))


def paper_tables() -> list[Table]:
    """What the paper prints, for other networks and data."""
    shared = (
        "The paper's own figures, not measured here: classifiers of ImageNet-1k from Huggingface, last hidden layer"
    )
    return [
        Table(
            "Wald et al. 2024, Table 1: Pearson correlation",
            ["network", *_PAPER_COLUMNS],
            [[name, *values] for name, values in _PAPER_TABLE_1.items()],
            f"{shared}; 2,000 images. ResNet18, rbf, is printed as 0.176 here and as -0.174 in Table 4.",
        ),
        *(
            Table(
                f"Wald et al. 2024, Table 4: {method.capitalize()} correlation",
                ["network", *_PAPER_COLUMNS],
                [[name, *values[6 * k : 6 * k + 6]] for name, values in _PAPER_TABLE_4.items()],
                f"{shared}; 20,000 samples by its caption.",
            )
            for k, method in enumerate(("pearson", "spearman"))
        ),
    ]
