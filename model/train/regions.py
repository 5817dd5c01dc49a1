"""Damaged regions that patches are cut from, each looked at once by stage one and used several times.

Stage one is frozen and costs as much as a training step on small patches; a region holds more than one patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from model.degradation.camera import camera_chain
from model.degradation.synthesis import degrade_mixture, sample_severities
from model.diffusion.context import GuidanceFeatures
from model.diffusion.network import HOLE_FILL
from model.guidance import Guidance
from model.train.photos import Photo, crop_photo

# Power of the uniform severities: below 1 moves them up (mean 0.59), since mild damage teaches little but identity.
_HARDER = 0.7
# Share of regions that pass through a phone, and the most its chain may do: up to sigma 4/255 of grain, JPEG down to
# quality 75, resized by down to 0.73. With 10 % and half the strength real grain was left as it was.
_PHONE_SHARE, _PHONE_STRENGTH = 0.15, 0.6


@dataclass(frozen=True)
class Region:
    """One damaged region (3, R, R), its clean version, its known holes (1, R, R) and what stage one says of it."""

    degraded: torch.Tensor
    clean: torch.Tensor
    mask: torch.Tensor
    features: GuidanceFeatures


class RegionMaker:
    """Cuts regions from photos, damages them and looks at them.

    Args:
        guidance: Trained stage one, frozen.
        photos: Clean photos.
        captions: E_lora of two captions per photo, (N, 2, E).
        device: Where regions live.
    """

    def __init__(
        self,
        guidance: Guidance,
        photos: list[Photo],
        captions: torch.Tensor,
        device: torch.device,
    ) -> None:
        self._guidance, self._photos, self._captions = guidance, photos, captions
        self._device = device
        areas = torch.tensor([float(photo.pixels.shape[0] * photo.pixels.shape[1]) for photo in photos])
        self._weights = areas**0.75  # large photos hold more to learn from, small ones are more varied
        self.short_sides = torch.tensor([min(photo.pixels.shape[:2]) for photo in photos])

    @torch.no_grad()
    def make(self, count: int, side: int, generator: torch.Generator, kinds: Sequence[str]) -> list[Region]:
        """New regions of `side` px with random damage: mixtures, a phone's camera chain, 8-bit files, clean ones.

        Half of the hole masks are given away, as an API caller may; 15 % of the captions are dropped. A kind named
        twice comes twice as often.
        """
        weights = self._weights * (self.short_sides >= side)
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
        crops = [crop_photo(self._photos[index], side, generator, max_shrink=2.0) for index in chosen]
        clean = torch.stack(crops).to(self._device).float() / 255
        severities = sample_severities(count, generator=generator, kinds=kinds, mixture_probability=0.2)
        severities = severities.pow(_HARDER)
        result = degrade_mixture(clean, severities, generator=generator)
        damaged = result.image
        draws = torch.rand(4, count, generator=generator)
        phone = (draws[0] < _PHONE_SHARE).float()
        if bool(phone.any()):
            damaged = camera_chain(damaged, generator=generator, strength=_PHONE_STRENGTH * phone)
        stored = (draws[1] < 0.3).to(self._device)[:, None, None, None]  # what an 8-bit file keeps of it
        damaged = torch.where(stored, (damaged.clamp(0, 1) * 255).round() / 255, damaged)
        mask = result.mask * (draws[2] < 0.5).to(self._device)[:, None, None, None]
        pick = torch.randint(2, (count,), generator=generator)
        known = (draws[3] >= 0.15).to(self._device)
        caption = self._captions[chosen, pick].to(self._device) * known[:, None]
        half = self._device.type == "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            views = self._guidance.views(damaged, native=1)
            looked = self._guidance.look(views)
            features = self._guidance.assemble(looked, self._guidance.predict(looked, views), caption, known)
        degraded = torch.where(mask > 0, torch.full_like(mask, HOLE_FILL), damaged)
        rows = [
            GuidanceFeatures(*row) for row in zip(*(getattr(features, f.name) for f in fields(features)), strict=True)
        ]
        return [Region(*row) for row in zip(degraded, clean, mask, rows, strict=True)]


def stack_features(rows: Sequence[GuidanceFeatures]) -> GuidanceFeatures:
    """Features of single photos as one batch."""
    return GuidanceFeatures(
        **{item.name: torch.stack([getattr(row, item.name) for row in rows]) for item in fields(GuidanceFeatures)}
    )
