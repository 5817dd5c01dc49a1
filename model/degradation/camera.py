"""What a phone does to every photo: a little resizing, sensor noise and a good JPEG."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.degradation.draws import Draws, per_sample
from model.degradation.errors import DegradationError
from model.degradation.jpeg import jpeg_compress

# At strength 1: down to 55 % of the size, about sigma 6/255 of noise in mid-gray, JPEG quality 60.
_SMALLEST_SCALE = 0.55
_SHOT, _READ = 0.0008, 0.008
_BEST_QUALITY, _WORST_QUALITY = 98.0, 60.0


def camera_chain(image: Tensor, *, generator: torch.Generator | None = None, strength: Tensor | float) -> Tensor:
    """Pass photos through a mild imitation of a phone: resize down and up, signal-dependent noise, JPEG.

    Meant for a small share of training samples, before or after the ten kinds: it keeps a network from relying on
    perfectly clean pixels.

    Args:
        image: (B,3,H,W) RGB in [0,1]; values outside are clipped, as a camera does.
        generator: CPU generator; None = torch's default one.
        strength: 0..1, one number or (B,); the most that each sample may get. 0 returns it unchanged.

    Raises:
        DegradationError: For a wrong shape or strength.
    """
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
        raise DegradationError(f"got {image.dtype} of shape {tuple(image.shape)}, expected floating point (B,3,H,W)")
    limit = torch.as_tensor(strength, dtype=torch.float32).cpu()
    if (limit.ndim and limit.shape != image.shape[:1]) or not bool(((limit >= 0.0) & (limit <= 1.0)).all()):
        raise DegradationError(f"got strength {limit.tolist()}, expected one number or (B,) values in 0..1")
    limit = limit.expand(image.shape[0])
    draws = Draws(image.shape[0], generator, torch.device("cpu"))
    scale = 1.0 - (1.0 - _SMALLEST_SCALE) * limit * draws.uniform(0.0, 1.0)
    spread = (limit * draws.uniform(0.0, 1.0)).to(image.device)
    quality = _BEST_QUALITY - (_BEST_QUALITY - _WORST_QUALITY) * limit * draws.uniform(0.0, 1.0)
    photo = image.float().clamp(0.0, 1.0)
    photo = torch.stack([_resize_and_back(p, s) for p, s in zip(photo, scale.tolist(), strict=True)])
    grain = draws.normal(*image.shape[1:]).to(image.device)
    photo = photo + grain * (photo.clamp(0.0, 1.0) * _SHOT + _READ**2).sqrt() * per_sample(spread, photo)
    photo = jpeg_compress(photo, quality.round().long()).to(image.dtype)
    return torch.where(per_sample(limit.to(image.device) > 0.0, image), photo, image)


def _resize_and_back(photo: Tensor, scale: float) -> Tensor:
    """Shrink a (3,H,W) photo with anti-aliasing and enlarge it to its old size."""
    height, width = photo.shape[-2:]
    small = (max(1, round(height * scale)), max(1, round(width * scale)))
    if small == (height, width):
        return photo
    shrunk = F.interpolate(photo[None], small, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(shrunk, (height, width), mode="bicubic", align_corners=False)[0].clamp(0.0, 1.0)
