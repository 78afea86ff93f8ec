"""Vision models of transformers from small configurations, with random weights, saved to folders as their users have them."""

from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(frozen=True)
class Architecture:
    """Classes by name, what they are made of, and what is known of the layers: their shapes, special tokens and axes.

    ``hidden`` of them are the library's hidden states, too.
    """

    model: str
    config: dict[str, Any]
    processor: str
    layers: str
    shapes: list[tuple[int, int, int]]
    special: int = 0
    axes: str = ""
    hidden: int = 2
    prepared: dict[str, Any] = field(default_factory=dict)


_SQUARE = {"size": {"height": 32, "width": 32}}
_CROP = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
_VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 32,
}
_TOKENS = [(16, 4, 4)] * 2
_SAM = {
    "hidden_size": 16,
    "output_channels": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "mlp_dim": 32,
    "window_size": 2,
    "global_attn_indexes": [1],
    "num_pos_feats": 4,
}
_PAD = {"size": {"longest_edge": 32}, "pad_size": {"height": 32, "width": 32}}

ARCHITECTURES = {
    "vit": Architecture(
        "ViTForImageClassification", _VIT, "ViTImageProcessor", "vit.layers.*", _TOKENS, 1, prepared=_SQUARE
    ),
    "dinov2": Architecture("Dinov2Model", _VIT, "BitImageProcessor", "encoder.layer.*", _TOKENS, 1, prepared=_CROP),
    "dinov2-registers": Architecture(
        "Dinov2WithRegistersModel",
        {**_VIT, "num_register_tokens": 4},
        "BitImageProcessor",
        "encoder.layer.*",
        _TOKENS,
        5,
        prepared=_CROP,
    ),
    "clip": Architecture(
        "CLIPModel",
        {"text_config": _TEXT, "vision_config": _VIT, "projection_dim": 8},
        "CLIPImageProcessor",
        "encoder.layers.[0-9]",
        _TOKENS,
        1,
        prepared=_CROP,
    ),
    "clip-vision": Architecture(
        "CLIPVisionModel", _VIT, "CLIPImageProcessor", "encoder.layers.*", _TOKENS, 1, prepared=_CROP
    ),
    "siglip": Architecture(
        "SiglipModel",
        {"text_config": _TEXT, "vision_config": _VIT},
        "SiglipImageProcessor",
        "encoder.layers.*",
        _TOKENS,
        prepared=_SQUARE,
    ),
    "sam": Architecture(
        "SamModel", {"vision_config": _SAM}, "SamImageProcessor", "layers.*", _TOKENS, axes="NHWC", prepared=_PAD
    ),
    "bit": Architecture(
        "BitForImageClassification",
        {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1], "num_groups": 4},
        "BitImageProcessor",
        "bit.encoder.stages.*",
        [(8, 8, 8), (16, 4, 4), (16, 2, 2), (32, 1, 1)],
        hidden=3,
        prepared=_CROP,
    ),
    "convnext": Architecture(
        "ConvNextModel",
        {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "image_size": 32},
        "ConvNextImageProcessor",
        "encoder.stages.*",
        [(8, 8, 8), (8, 4, 4), (16, 2, 2), (16, 1, 1)],
        hidden=4,
        prepared={"size": {"shortest_edge": 32}},
    ),
    "swin": Architecture(
        "SwinModel",
        {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
        "ViTImageProcessor",
        "encoder.layers.*",
        [(16, 4, 4), (16, 4, 4)],
        prepared=_SQUARE,
    ),
}


def save_model(folder, name, **prepared):
    """Save a model and its image processor; returns the folder."""
    import torch

    transformers = pytest.importorskip("transformers")
    known = ARCHITECTURES[name]
    maker = getattr(transformers, known.model)
    torch.manual_seed(0)
    network = maker(maker.config_class(**known.config))
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    getattr(transformers, f"{known.processor}Pil")(**known.prepared, **prepared).save_pretrained(folder)
    return folder
