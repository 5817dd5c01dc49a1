"""Blocks of the restoration network: NAFNet block with FiLM, and cross-attention to the context tokens.

NAFNet: "Simple Baselines for Image Restoration" (arXiv 2204.04676). FiLM: arXiv 1709.07871.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import nn


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every pixel, (B, C, H, W) -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise; the permutes cost nothing in channels_last memory."""
        y = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias, 1e-6)
        return y.permute(0, 3, 1, 2)


class NAFBlock(nn.Module):
    """Gated depthwise convolution and gated feed-forward, both residual with zero-initialised scales.

    Args:
        channels: C.
        embedding_dim: Width of the time + degradation embedding that modulates both halves (FiLM).
    """

    def __init__(self, channels: int, embedding_dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.feed_in = nn.Conv2d(channels, 2 * channels, 1)
        self.feed_out = nn.Conv2d(channels, channels, 1)
        self.scale1 = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale2 = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.film = nn.Linear(embedding_dim, 4 * channels)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and (B, embedding_dim) -> (B, C, H, W)."""
        gain1, shift1, gain2, shift2 = self.film(embedding)[:, :, None, None].chunk(4, 1)
        y = self.norm1(x) * (1 + gain1) + shift1
        a, b = self.depthwise(self.expand(y)).chunk(2, 1)
        y = a * b
        y = self.project(y * self.attention(y.mean((2, 3), keepdim=True)))
        x = x + y * self.scale1
        y = self.norm2(x) * (1 + gain2) + shift2
        a, b = self.feed_in(y).chunk(2, 1)
        return x + self.feed_out(a * b) * self.scale2


class ContextAttention(nn.Module):
    """Residual cross-attention of every pixel to the context tokens (diffusers `Attention`, SDPA).

    Args:
        channels: C of the feature map.
        context_dim: Width of the tokens.
        head_width: Channels per head.
    """

    def __init__(self, channels: int, context_dim: int, head_width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.attention = Attention(
            query_dim=channels,
            cross_attention_dim=context_dim,
            heads=max(1, channels // head_width),
            dim_head=head_width,
        )
        nn.init.zeros_(self.attention.to_out[0].weight)
        nn.init.zeros_(self.attention.to_out[0].bias)

    def forward(self, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and (B, N, context_dim) -> (B, C, H, W)."""
        batch, channels, height, width = x.shape
        queries = self.norm(x).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        attended = self.attention(queries, encoder_hidden_states=tokens)
        return x + attended.view(batch, height, width, channels).permute(0, 3, 1, 2)


def embed_time(fraction: torch.Tensor, dim: int) -> torch.Tensor:
    """Sinusoidal embedding (B, dim) of t / T in 0..1."""
    half = dim // 2
    frequencies = torch.exp(torch.linspace(0, math.log(1000), half, device=fraction.device))
    angles = fraction.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)
