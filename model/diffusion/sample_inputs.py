"""Random inputs of the restoration network, for timing it: the time does not depend on what a tile shows."""

from __future__ import annotations

from typing import NamedTuple

import torch

from model.config import ModelConfig
from model.diffusion.context import Context


class SampleInputs(NamedTuple):
    """What one forward is given, in the order of the network's arguments: `network(*inputs)`.

    Attributes:
        noisy: x_t (B, 3, P, P) in [0, 1].
        degraded: LQ, the same tensor.
        mask: (B, 1, P, P), nothing missing.
        timestep: (B,), T everywhere.
        context: Of the VLM, B rows.
    """

    noisy: torch.Tensor
    degraded: torch.Tensor
    mask: torch.Tensor
    timestep: torch.Tensor
    context: Context


def draw_inputs(config: ModelConfig, tiles: int, device: torch.device, seed: int = 0) -> SampleInputs:
    """Inputs of one forward of `tiles` tiles; the same on every device for one seed.

    Args:
        config: Of the network; says the side P of a tile and the sizes of the context.
        tiles: B, at least 1.
        device: Where they are to be.
        seed: Of everything random.

    Raises:
        ValueError: No tile is asked for.
    """
    if tiles < 1:
        raise ValueError(f"got {tiles} tiles, expected at least 1")
    sizes, side = config.network, config.tile_px
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(tiles, 3, side, side, generator=generator).to(device)
    count = 2 * sizes.tokens_per_embedding + sizes.visual_pool**2
    tokens = torch.randn(tiles, count, sizes.context_dim, generator=generator).to(device)
    embedding = torch.randn(tiles, sizes.time_dim, generator=generator).to(device)
    times = torch.full((tiles,), config.diffusion.timesteps, device=device)
    return SampleInputs(pixels, pixels, torch.zeros_like(pixels[:, :1]), times, Context(tokens, embedding))
