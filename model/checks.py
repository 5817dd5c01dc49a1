"""Argument checks shared by the model's public functions."""

from __future__ import annotations

import torch

from model.errors import ShapeError


def check_image(image: torch.Tensor, name: str = "image", *, batch: int | None = None) -> None:
    """Refuse anything but a floating (B, 3, H, W) tensor.

    Args:
        image: The tensor to look at.
        name: What to call it in the message.
        batch: Required batch size; None accepts any.

    Raises:
        ShapeError: Wrong rank, channels, batch, size zero, or integer values.
    """
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise ShapeError(f"{name}: got shape {tuple(image.shape)}, expected (B, 3, H, W) with no empty side")
    if batch is not None and image.shape[0] != batch:
        raise ShapeError(f"{name}: got {image.shape[0]} images, expected {batch}; call once per image")
    if not image.is_floating_point():
        raise ShapeError(f"{name}: got {image.dtype}, expected float in [0, 1]; divide uint8 images by 255 first")
