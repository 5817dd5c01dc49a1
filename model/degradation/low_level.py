"""A small convolutional look at the pixels themselves, beside the frozen image tower.

The tower was trained to say what a photo shows, which need not keep grain, block edges and sharpness. One short run
each, with and without this branch, is in docs/training.md.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_STRIDES = 4  # halvings
GRID = 4  # the map is pooled to GRID x GRID tokens


class LowLevelBranch(nn.Module):
    """Texture statistics and a coarse map of each view.

    Args:
        width: Width of the tokens that come out.
        channels: Of the first convolution; later ones have up to four times as many.
    """

    def __init__(self, width: int, channels: int = 24) -> None:
        super().__init__()
        sizes = [6, channels, 2 * channels, 4 * channels, 4 * channels]
        self.layers = nn.ModuleList(
            nn.Conv2d(sizes[index], sizes[index + 1], 3, stride=2, padding=1) for index in range(_STRIDES)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in sizes[1:])
        self.statistics = nn.Linear(2 * sum(sizes[1:]), width)
        self.map = nn.Linear(sizes[-1], width)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Views (N, 3, px, px) in [0, 1] -> tokens (N, 1 + GRID^2, width), the statistics first."""
        smooth = F.avg_pool2d(F.pad(views, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        # what a 3x3 mean removes is where noise, block edges and sharpness are; scaled to the size of the pixels
        x = torch.cat([views * 2 - 1, (views - smooth) * 8], 1).to(memory_format=torch.channels_last)
        pooled = []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.gelu(norm(layer(x)))
            flat = x.float().flatten(2)
            pooled += [flat.mean(2), flat.var(2).clamp(min=1e-6).log()]
        statistics = self.statistics(torch.cat(pooled, 1).to(x.dtype))
        tokens = self.map(F.adaptive_avg_pool2d(x, GRID).flatten(2).transpose(1, 2))
        return torch.cat([statistics[:, None], tokens], 1)
