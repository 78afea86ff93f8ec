"""A small network for tests that torch alone can build."""

import torch
from torch import nn


class TinyViT(nn.Module):
    """Stands in for a vision transformer: a class token, then patches of 16 pixels, from the submodule ``block``; (N, 1 + S, 8)."""

    def __init__(self, patch: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 8, patch, stride=patch)
        self.block = nn.Identity()
        self.head = nn.Linear(8, 4)
        self.eval()

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1))
        return self.head(tokens[:, 0])
