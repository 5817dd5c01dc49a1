"""A convolutional look at the pixels themselves, beside the frozen image tower.

The tower was trained to say what a photo shows, which need not keep grain, block edges, drops and sharpness.
docs/training.md has what was tried with and without this branch, and with a shallower one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

GRID = 4  # the map is pooled to GRID x GRID tokens
_WIDTHS = (1, 2, 4, 5)  # of the stages, in units of `channels`; each halves the sides
_BLOCKS = (1, 2, 2, 2)  # one halving alone sees 31 px of a view: less than a large drop or the edge of a shadow


class ResidualBlock(nn.Module):
    """x + gelu(norm(conv3x3(x))), (N, C, H, W) -> same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine a feature map."""
        return x + F.gelu(self.norm(self.conv(x)))


class Stage(nn.Module):
    """Halves the sides, then refines: (N, C, H, W) -> (N, D, H / 2, W / 2)."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.shrink, self.norm = nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One level down."""
        refined: torch.Tensor = self.blocks(F.gelu(self.norm(self.shrink(x))))
        return refined


class LowLevelBranch(nn.Module):
    """Texture statistics of every level and a coarse map of each view.

    Args:
        width: Width of the tokens that come out.
        channels: Of the first stage; the last has five times as many.
    """

    def __init__(self, width: int, channels: int = 24) -> None:
        super().__init__()
        sizes = [6, *(factor * channels for factor in _WIDTHS)]
        self.stages = nn.ModuleList(
            Stage(sizes[index], sizes[index + 1], blocks) for index, blocks in enumerate(_BLOCKS)
        )
        self.statistics = nn.Linear(2 * sum(sizes[1:]), width)
        self.map = nn.Linear(sizes[-1], width)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Views (N, 3, px, px) in [0, 1] -> tokens (N, 1 + GRID^2, width), the statistics first."""
        smooth = F.avg_pool2d(F.pad(views, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        # what a 3x3 mean removes is where noise, block edges and sharpness are; scaled to the size of the pixels
        x = torch.cat([views * 2 - 1, (views - smooth) * 8], 1).to(memory_format=torch.channels_last)
        pooled = []
        for stage in self.stages:
            x = stage(x)
            flat = x.float().flatten(2)
            pooled += [flat.mean(2), flat.var(2).clamp(min=1e-6).log()]
        statistics = self.statistics(torch.cat(pooled, 1).to(x.dtype))
        tokens = self.map(F.adaptive_avg_pool2d(x, GRID).flatten(2).transpose(1, 2))
        return torch.cat([statistics[:, None], tokens], 1)
