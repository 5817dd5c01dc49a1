"""JPEG compression with real codecs: libjpeg on the CPU, our tensor codec for images on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

from model.degradation.draws import Draws
from model.degradation.errors import DegradationError
from model.degradation.fields import reflect_pad
from model.degradation.jpeg_codec import code_and_decode

BEST_QUALITY = 95
WORST_QUALITY = 5
# quality = 5 + 90 (1 - severity)^1.5 puts quality 10, the usual hard test, at severity 0.85 and quality 50 at 0.37.
_CURVE = 1.5
_BLOCK_PX = 8
# A whole photo has its blocks at the corner, a crop of a photo that was compressed before has them anywhere.
_AT_THE_CORNER = 0.8


def severity_to_jpeg_quality(severity: Tensor) -> Tensor:
    """Return encoder qualities (whole numbers, 95 at severity 0 to 5 at 1)."""
    span = BEST_QUALITY - WORST_QUALITY
    return (WORST_QUALITY + span * (1.0 - severity).clamp(0.0, 1.0).pow(_CURVE)).round().long()


def jpeg_quality_to_severity(quality: Tensor | float) -> Tensor:
    """Return the severity (0..1) whose quality this is; qualities outside 5..95 count as the nearest of them."""
    values = torch.as_tensor(quality, dtype=torch.float32).clamp(WORST_QUALITY, BEST_QUALITY)
    return 1.0 - ((values - WORST_QUALITY) / (BEST_QUALITY - WORST_QUALITY)).pow(1.0 / _CURVE)


def jpeg_compress(image: Tensor, quality: Tensor | int) -> Tensor:
    """Encode and decode as a JPEG file with 4:2:0 chroma, as encoders do by default.

    Args:
        image: (B,3,H,W); values outside [0,1] are clipped, as any uint8 export does.
        quality: 1..100, one for all or (B,) whole numbers.

    Returns:
        The decoded pictures. On a GPU they differ from libjpeg's in rounding only.

    Raises:
        DegradationError: For a quality outside 1..100.
    """
    qualities = torch.as_tensor(quality).expand(image.shape[0])
    if bool(((qualities < 1) | (qualities > 100)).any()):
        raise DegradationError(f"got JPEG quality {qualities.tolist()}, expected 1..100")
    pixels = (image.clamp(0.0, 1.0) * 255.0).round()
    if image.device.type != "cpu":
        return code_and_decode(pixels.float(), qualities.to(image.device)).to(image.dtype) / 255.0
    files = [encode_jpeg(p, quality=q) for p, q in zip(pixels.byte(), qualities.tolist(), strict=True)]
    return torch.stack([decode_jpeg(file, mode=ImageReadMode.RGB) for file in files]).to(image.dtype) / 255.0


def jpeg(image: Tensor, severity: Tensor, draws: Draws) -> Tensor:
    """Compress at the quality of each severity; the block grid of one batch in five starts anywhere."""
    shift = draws.uniform(0.0, _BLOCK_PX, 2)[0].long().tolist()
    aligned = bool(draws.chance(_AT_THE_CORNER)[0])
    top, left = (0, 0) if aligned else shift
    height, width = image.shape[-2:]
    padded = reflect_pad(image, top, 0, left, 0)
    return jpeg_compress(padded, severity_to_jpeg_quality(severity))[..., top : top + height, left : left + width]
