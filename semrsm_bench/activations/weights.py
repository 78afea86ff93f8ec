"""Weights of a network as files: read safetensors or bare .pt state dicts, write float16 safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from semrsm_bench.activations.manifest import atomic_write


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """State dict of a ``.safetensors`` file, or of a ``.pt``/``.pth`` file read with ``weights_only``.

    Raises
    ------
    ValueError
        The file is neither, is damaged, or a ``.pt`` file holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except Exception as error:  # safetensors raises its own class, which it does not export
            raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    if path.suffix not in (".pt", ".pth"):
        raise ValueError(f"{path}: weights must be .safetensors, .pt or .pth")
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: cannot be read with weights_only ({error}); save the bare state dict") from None
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise ValueError(f"{path}: does not hold a state dict of tensors")
    return {str(k).removeprefix("module."): v for k, v in loaded.items()}


def save_weights(path: Path, network: torch.nn.Module, metadata: dict[str, Any]) -> None:
    """Write float16 weights with their metadata (values as JSON) in the header."""
    tensors = {
        k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in network.state_dict().items()
    }
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata={k: json.dumps(v) for k, v in metadata.items()})
