"""From the features of stage one to what the network attends to and is modulated by.

Visual tokens: the clean-content embedding e_c, expanded, and pooled patch tokens. Linguistic tokens: the caption
embedding, expanded, or a learned null caption. One token per kind would make cross-attention a constant bias, since the
softmax over a single key is 1 everywhere; so every kind has at least two.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import nn

from model.config import NetworkConfig


@dataclass(frozen=True)
class GuidanceFeatures:
    """What stage one knows of B photos.

    Attributes:
        content: e_c (B, E), unit length.
        patches: Patch tokens of the whole-photo view pooled to a grid (B, G*G, W).
        caption: E_lora(caption) (B, E), unit length; zeros where there is none.
        has_caption: (B,) bool.
        degradation: e_d (B, E).
        severities: (B, 10) expected severity per kind, probability times severity, 0..1.
    """

    content: torch.Tensor
    patches: torch.Tensor
    caption: torch.Tensor
    has_caption: torch.Tensor
    degradation: torch.Tensor
    severities: torch.Tensor

    def select(self, rows: torch.Tensor) -> GuidanceFeatures:
        """The features of some of the photos."""
        return GuidanceFeatures(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})


@dataclass(frozen=True)
class Context:
    """What the network is given: `tokens` (B, N, context_dim) and `embedding` (B, time_dim)."""

    tokens: torch.Tensor
    embedding: torch.Tensor


class ContextEncoder(nn.Module):
    """Projects guidance features to context tokens and the degradation part of the FiLM embedding.

    Args:
        config: Network sizes.
        embed_dim: E of the vision-language model.
        patch_dim: W of its patch tokens.
        kinds: Number of degradation kinds.
    """

    def __init__(self, config: NetworkConfig, embed_dim: int, patch_dim: int, kinds: int) -> None:
        super().__init__()
        self.count, self.dim = config.tokens_per_embedding, config.context_dim
        self.content = nn.Linear(embed_dim, self.count * self.dim)
        self.caption = nn.Linear(embed_dim, self.count * self.dim)
        self.null_caption = nn.Parameter(torch.randn(self.count, self.dim) * 0.02)
        self.patches = nn.Linear(patch_dim, self.dim)
        self.kind = nn.Parameter(torch.randn(3, self.dim) * 0.02)  # which kind a token is of
        self.norm = nn.LayerNorm(self.dim)
        self.degradation = nn.Sequential(
            nn.Linear(embed_dim + kinds, config.time_dim), nn.SiLU(), nn.Linear(config.time_dim, config.time_dim)
        )

    def forward(self, features: GuidanceFeatures) -> Context:
        """Tokens in the order content, patches, caption; and the embedding of e_d."""
        batch = features.content.shape[0]
        content = self.content(features.content).view(batch, self.count, self.dim) + self.kind[0]
        patches = self.patches(features.patches) + self.kind[1]
        caption = self.caption(features.caption).view(batch, self.count, self.dim)
        caption = torch.where(features.has_caption[:, None, None], caption, self.null_caption) + self.kind[2]
        tokens = self.norm(torch.cat([content, patches, caption], 1))
        return Context(tokens, self.degradation(torch.cat([features.degradation, features.severities], 1)))
