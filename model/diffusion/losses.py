"""Losses of stage two."""

from __future__ import annotations

import torch


def log_mean_squared_error(estimate: torch.Tensor, clean: torch.Tensor, floor: float = 1e-3) -> torch.Tensor:
    """Mean over the batch of the logarithm of each image's squared error (NAFNet's "PSNR loss", arXiv 2204.04676).

    Balances kinds of damage whose errors differ a hundredfold. The gradient of the logarithm grows as an image's error
    falls, so without a floor nearly perfect images (mild damage, identity examples) outweigh the others. 1e-3 is
    30 dB; it replaced 1e-5 (50 dB) in the middle of one run and was never compared alone (docs/training.md).

    Args:
        estimate: x0_hat (B, C, H, W).
        clean: x_0, same shape.
        floor: Added to the squared error.
    """
    error = (estimate.float() - clean).square().flatten(1).mean(1)
    return (error + floor).log().mean()


def gradient_error(estimate: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of horizontal and vertical gradients: rewards edges and texture in the right place."""
    difference = estimate.float() - clean
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
