"""PSNR of restored photos over suites of damage."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.evaluate.cases import Case
from model.pipeline import Restorer


@dataclass(frozen=True)
class Row:
    """Mean figures of one case.

    Attributes:
        case: Name.
        photos: How many.
        steps: Denoising steps.
        psnr_before: RGB PSNR of the damaged photos, dB (float, unclipped where the case is).
        psnr_after: RGB PSNR of the restored photos, as 8-bit images, dB.
        seconds: Per photo.
    """

    case: str
    photos: int
    steps: int
    psnr_before: float
    psnr_after: float
    seconds: float


def read_photo(path: Path) -> torch.Tensor:
    """A photo as (1, 3, H, W) float32 RGB in [0, 1]."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def psnr(estimate: torch.Tensor, clean: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB over RGB, at most 100; where a mask is given, inside it only."""
    error = (estimate.double() - clean.double()).square()
    if mask is not None:
        error = error[mask.expand_as(error) > 0.5]
    return float(-10 * error.mean().clamp(min=1e-10).log10())


def measure(
    restorer: Restorer,
    paths: Sequence[Path],
    cases: Iterable[Case],
    steps: int,
    *,
    give_mask: bool = True,
    pictures: Path | None = None,
) -> Iterable[Row]:
    """Restore every photo under every case; one row per case.

    Args:
        restorer: The model.
        paths: Clean photos.
        cases: What to do to them.
        steps: Denoising steps.
        give_mask: Tell the model where the holes are; False lets it find them.
        pictures: Folder for damaged | restored | clean strips of the first photos; None writes none.
    """
    for case in cases:
        before, after, started = [], [], time.perf_counter()
        for index, path in enumerate(paths):
            clean = read_photo(path)
            damaged, mask = case.apply(clean, index)
            result = restorer.restore(damaged, steps=steps, seed=index, mask=mask if give_mask else None).image
            stored = (result * 255).round() / 255
            region = mask if case.inside_mask else None
            before.append(psnr(damaged, clean, region))
            after.append(psnr(stored, clean, region))
            if pictures is not None and index < 2:
                strip = torch.cat([damaged.clamp(0, 1), stored, clean], 3)[0]
                pixels = (strip.permute(1, 2, 0) * 255).round().byte().numpy()
                Image.fromarray(pixels).save(pictures / f"{case.name.replace(' ', '_')}_{index}.jpg", quality=92)
        seconds = (time.perf_counter() - started) / max(1, len(paths))
        yield Row(case.name, len(paths), steps, float(np.mean(before)), float(np.mean(after)), seconds)
