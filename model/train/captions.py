"""Caption pairs: what the vision-language model says of a photo before and after damage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from model.degradation.synthesis import degrade_mixture, sample_severities
from model.guidance import Guidance
from model.train.photos import Photo

_BATCH = 64
_TABLE_TOKENS = 12


@torch.inference_mode()
def caption_pairs(
    guidance: Guidance,
    photos: Sequence[Photo],
    seed: int,
    side: int = 160,
    max_tokens: int | None = None,
    half: bool = False,
) -> list[tuple[str, str]]:
    """Captions (of the damaged photo, of the clean photo), both by greedy decoding.

    Args:
        guidance: Whose caption decoder writes.
        photos: Clean photos.
        seed: Of the damage, which is drawn as in training.
        side: Photos are resized to squares of this side first, as the image tower sees them nearly so anyway.
        max_tokens: Longest caption; None means the model's context length.
        half: Decode in bfloat16.
    """
    device = next(guidance.predictor.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    pairs: list[tuple[str, str]] = []
    for first in range(0, len(photos), _BATCH):
        clean = torch.cat([_square(photo, side) for photo in photos[first : first + _BATCH]]).to(device)
        severities = sample_severities(clean.shape[0], generator=generator)
        damaged = degrade_mixture(clean, severities, generator=generator).image
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            texts = [guidance.describe(guidance.views(image, native=0), max_tokens) for image in (damaged, clean)]
        pairs += [(low or "", high or "") for low, high in zip(*texts, strict=True)]
    return pairs


@torch.inference_mode()
def caption_table(guidance: Guidance, photos: Sequence[Photo], seed: int, *, half: bool = False) -> torch.Tensor:
    """E_lora of two captions of every photo, of a damaged and of the clean version: (N, 2, E) on the CPU.

    Short captions do: decoding time grows with the square of the length, and the first words say what is seen.
    """
    pairs = caption_pairs(guidance, photos, seed, max_tokens=_TABLE_TOKENS, half=half)
    rows = [guidance.embed_captions(pair)[0].float().cpu() for pair in pairs]
    return torch.stack(rows)


def _square(photo: Photo, side: int) -> torch.Tensor:
    pixels = torch.from_numpy(photo.pixels).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
