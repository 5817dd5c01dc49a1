"""The restoration network: predicts the clean photo from (x_t, LQ, hole mask, t, context).

A U-Net of NAFNet blocks on a pixel-unshuffled stem, in pixel space: no VAE, so no colour shift. diffusers'
`UNet2DConditionModel` can take its place by the config field `backbone`.
"""

from __future__ import annotations

import itertools
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import nn

from model.config import NetworkConfig
from model.diffusion.blocks import ContextAttention, NAFBlock, embed_time
from model.diffusion.context import Context, ContextEncoder, GuidanceFeatures

INPUT_CHANNELS = 7  # x_t, LQ, mask
HOLE_FILL = 0.5  # what the network sees in LQ where pixels are known to be missing


class NAFBackbone(nn.Module):
    """U-Net of NAFNet blocks with cross-attention at chosen levels.

    Args:
        config: Widths, block counts and attention levels.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths, square = config.widths, config.stem_factor**2
        self.factor = config.stem_factor
        self.stem = nn.Conv2d(INPUT_CHANNELS * square, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.ModuleList(NAFBlock(width, config.time_dim) for _ in range(count))
            for width, count in zip(widths, config.blocks, strict=True)
        )
        self.attend = nn.ModuleDict(
            {
                str(level): ContextAttention(widths[level], config.context_dim, config.head_width)
                for level in config.attention_levels
            }
        )
        pairs = list(itertools.pairwise(widths))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.grow = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1, bias=False) for fine, coarse in pairs)
        self.up = nn.ModuleList(
            nn.ModuleList(NAFBlock(width, config.time_dim) for _ in range(count))
            for width, count in zip(widths[:-1], config.decoder_blocks, strict=True)
        )
        self.out = nn.Conv2d(widths[0], 3 * square, 3, padding=1)
        for value in self.out.parameters():
            nn.init.zeros_(value)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(B, 7, H, W) -> residual (B, 3, H, W); H and W are multiples of stem_factor * 2^(levels - 1)."""
        x = F.pixel_unshuffle(x, self.factor).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        skips = []
        last = len(self.down) - 1
        for level, blocks in enumerate(self.down):
            for block in cast("nn.ModuleList", blocks):
                x = block(x, embedding)
            if str(level) in self.attend:
                x = self.attend[str(level)](x, tokens)
            if level < last:
                skips.append(x)
                x = self.shrink[level](x)
        for level in range(last - 1, -1, -1):
            x = F.pixel_shuffle(self.grow[level](x), 2) + skips[level]
            for block in cast("nn.ModuleList", self.up[level]):
                x = block(x, embedding)
        return F.pixel_shuffle(self.out(x), self.factor)


class UNet2DBackbone(nn.Module):
    """diffusers' `UNet2DConditionModel` on the same stem, for comparison."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        square, self.factor, levels = config.stem_factor**2, config.stem_factor, range(len(config.widths))
        attended = [level in config.attention_levels for level in levels]
        self.unet = UNet2DConditionModel(
            in_channels=INPUT_CHANNELS * square,
            out_channels=3 * square,
            block_out_channels=config.widths,
            layers_per_block=max(1, config.blocks[0]),
            down_block_types=tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in attended),
            up_block_types=tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attended)),
            cross_attention_dim=config.context_dim,
            attention_head_dim=config.head_width,
            norm_num_groups=8,
            class_embed_type="simple_projection",
            projection_class_embeddings_input_dim=config.time_dim,
        )
        nn.init.zeros_(self.unet.conv_out.weight)
        nn.init.zeros_(self.unet.conv_out.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """As `NAFBackbone.forward`; time comes inside `embedding`, so the U-Net's own clock stays at 0."""
        x = F.pixel_unshuffle(x, self.factor)
        time = torch.zeros(x.shape[0], device=x.device)
        residual = self.unet(x, time, encoder_hidden_states=tokens, class_labels=embedding, return_dict=False)[0]
        return F.pixel_shuffle(residual, self.factor)


class RestorationNetwork(ModelMixin, ConfigMixin):
    """Context encoder, time embedding and backbone; the prediction is LQ + backbone.

    Args:
        network: Fields of `NetworkConfig` as a dictionary (so that diffusers can store it as JSON).
        embed_dim: Width of the vision-language embeddings.
        patch_dim: Width of its patch tokens.
        kinds: Number of degradation kinds.
        timesteps: T of the bridge; times are given as integers 0..T.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self, network: dict[str, Any], embed_dim: int, patch_dim: int, kinds: int = 10, timesteps: int = 100
    ) -> None:
        super().__init__()
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in network.items()
        }
        sizes = NetworkConfig(**values)
        self.timesteps, self.time_dim = timesteps, sizes.time_dim
        self.context = ContextEncoder(sizes, embed_dim, patch_dim, kinds)
        self.time = nn.Sequential(
            nn.Linear(sizes.time_dim, sizes.time_dim), nn.SiLU(), nn.Linear(sizes.time_dim, sizes.time_dim)
        )
        self.backbone: nn.Module = NAFBackbone(sizes) if sizes.backbone == "nafnet" else UNet2DBackbone(sizes)

    def encode_context(self, features: GuidanceFeatures) -> Context:
        """Context of B photos; computed once per job and reused in all steps and tiles."""
        context: Context = self.context(features)
        return context

    def forward(
        self, noisy: torch.Tensor, degraded: torch.Tensor, mask: torch.Tensor, timestep: torch.Tensor, context: Context
    ) -> torch.Tensor:
        """Estimate of the clean photo.

        Args:
            noisy: x_t (B, 3, H, W).
            degraded: LQ (B, 3, H, W) in [0, 1] (float noise may leave the range).
            mask: (B, 1, H, W), 1 = missing, zeros when no mask is known.
            timestep: (B,) integers 0..T, one per sample.
            context: Of the same B samples.

        Returns:
            x0_hat (B, 3, H, W), not clamped.
        """
        dtype: torch.dtype = next(self.time.parameters()).dtype
        embedding = self.time(embed_time(timestep / self.timesteps, self.time_dim).to(dtype)) + context.embedding
        residual = self.backbone(torch.cat([noisy, degraded, mask], 1).to(dtype), F.silu(embedding), context.tokens)
        return degraded + residual.to(degraded.dtype)
