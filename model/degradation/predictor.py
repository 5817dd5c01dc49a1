"""The degradation predictor: what is wrong with a photo, and what its clean content looks like to the image tower.

Learned queries attend to the frozen image tower's tokens of all views, and to a small branch that sees the pixels. The
degradation embedding e_d is tied to the text embeddings of the degradation names: its product with each name's
(slightly adjusted) embedding is that kind's logit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from model.config import PredictorConfig
from model.degradation.low_level import LowLevelBranch


@dataclass(frozen=True)
class Prediction:
    """What the predictor says of B photos.

    Attributes:
        logits: (B, K) multi-label, one per kind.
        severities: (B, K) 0..1, given that the kind is there.
        degradation: e_d (B, E).
        content: e_c (B, E), unit length, comparable to the image embedding of the clean photo.
    """

    logits: torch.Tensor
    severities: torch.Tensor
    degradation: torch.Tensor
    content: torch.Tensor

    @property
    def probabilities(self) -> torch.Tensor:
        """(B, K) in 0..1."""
        return self.logits.sigmoid()


class DegradationPredictor(nn.Module):
    """Two learned queries (degradation, content) over the tokens of all views.

    Args:
        config: Sizes.
        embed_dim: E of the vision-language model.
        patch_dim: W of its patch tokens.
        names: Frozen text embeddings of the degradation names (K, E), unit length.
    """

    def __init__(self, config: PredictorConfig, embed_dim: int, patch_dim: int, names: torch.Tensor) -> None:
        super().__init__()
        kinds = names.shape[0]
        self.register_buffer("names", names.detach().clone())
        # the names' embeddings lie close together; a learned shift lets kinds differ without untying them
        self.name_shift = nn.Parameter(torch.randn_like(names) * 0.02)
        self.late, self.early = nn.Linear(patch_dim, config.width), nn.Linear(patch_dim, config.width)
        self.low_level = LowLevelBranch(config.width, config.channels)
        self.view = nn.Parameter(torch.randn(2, config.width) * 0.02)  # whole photo, native crop
        self.queries = nn.Parameter(torch.randn(1, 2, config.width) * 0.5)
        self.norm = nn.LayerNorm(config.width)
        self.rounds = nn.ModuleList(
            nn.TransformerDecoderLayer(
                config.width,
                config.heads,
                4 * config.width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.layers)
        )
        self.to_degradation = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, embed_dim))
        # a short way from the pixels to e_d: through the queries alone, drops on the lens were not learnt at all
        self.from_pixels = nn.Linear(config.width, embed_dim)
        nn.init.zeros_(self.from_pixels.weight)
        self.to_content = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, embed_dim))
        for value in self.to_content[1].parameters():  # e_c starts as the embedding of the damaged photo
            nn.init.zeros_(value)
        self.to_severity = nn.Sequential(nn.Linear(embed_dim, config.width), nn.GELU(), nn.Linear(config.width, kinds))
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.full((kinds,), -2.0))

    def forward(
        self, embedding: torch.Tensor, tokens: torch.Tensor, early: torch.Tensor, views: torch.Tensor
    ) -> Prediction:
        """Predict from V views of B photos and their features.

        Args:
            embedding: (B, V, E) image embeddings; the first view is the whole photo.
            tokens: (B, V, L, W) patch tokens of the last block.
            early: (B, V, L, W) patch tokens of an early block.
            views: (B, V, 3, px, px) in [0, 1].
        """
        batch, count = tokens.shape[:2]
        pixels = self.low_level(views.flatten(0, 1))
        pixels = pixels.reshape(batch, count, *pixels.shape[1:])
        memory = torch.cat([self.late(tokens) + self.early(early), pixels], 2)
        kind = torch.cat([self.view[:1], self.view[1:].expand(count - 1, -1)], 0)
        memory = self.norm((memory + kind[None, :, None]).flatten(1, 2))
        state = self.queries.expand(batch, -1, -1)
        for layer in self.rounds:
            state = layer(state, memory)
        degradation = self.to_degradation(state[:, 0]) + self.from_pixels(pixels[:, :, 0].mean(1))
        prototypes = F.normalize(self.get_buffer("names") + self.name_shift, dim=-1)
        logits = self.log_scale.exp() * degradation @ prototypes.T + self.bias
        severities = self.to_severity(degradation).sigmoid()
        content = F.normalize(embedding[:, 0] + self.to_content(state[:, 1]), dim=-1)
        return Prediction(logits, severities, degradation, content)
