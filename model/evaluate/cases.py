"""What is measured: suites of damage applied to clean photos, always with the same seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from model.degradation.jpeg import jpeg_compress
from model.degradation.kinds import KINDS
from model.degradation.noise import add_gaussian_noise
from model.degradation.synthesis import degrade
from model.errors import ModelError

SUITES = ("denoise", "jpeg", "ten", "clean")


@dataclass(frozen=True)
class Case:
    """One kind of damage at one strength.

    Attributes:
        name: Of the row in the report.
        apply: Clean photo (1, 3, H, W) and photo index to (damaged photo, hole mask or None).
        inside_mask: Measure inside the holes only.
    """

    name: str
    apply: Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor | None]]
    inside_mask: bool = False


def list_cases(suite: str, severity: float = 0.5) -> Iterator[Case]:
    """The cases of a suite.

    denoise: colour Gaussian noise sigma 15, 25, 50, float and unclipped, as the literature does.
    jpeg: libjpeg quality 10, 20, 30, 40.
    ten: every kind at one severity, as an 8-bit file would hold it.
    clean: untouched photos, which must come back unharmed.

    Raises:
        ModelError: Unknown suite.
    """
    if suite == "denoise":
        for sigma in (15, 25, 50):
            yield Case(f"noise sigma {sigma}", _noise(sigma))
    elif suite == "jpeg":
        for quality in (10, 20, 30, 40):
            yield Case(f"jpeg quality {quality}", _jpeg(quality))
    elif suite == "ten":
        for kind in KINDS:
            yield Case(f"{kind} {severity:g}", _kind(kind, severity), inside_mask=kind == "inpainting")
    elif suite == "clean":
        yield Case("clean", lambda photo, index: (photo, None))
    else:
        raise ModelError(f"suite {suite!r}: expected one of {', '.join(SUITES)}")


def _noise(sigma: float) -> Callable[[torch.Tensor, int], tuple[torch.Tensor, None]]:
    return lambda photo, index: (add_gaussian_noise(photo, sigma, torch.Generator().manual_seed(index)), None)


def _jpeg(quality: int) -> Callable[[torch.Tensor, int], tuple[torch.Tensor, None]]:
    return lambda photo, index: (jpeg_compress(photo, quality), None)


def _kind(kind: str, severity: float) -> Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor | None]]:
    def apply(photo: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        result = degrade(photo, kind, severity, generator=torch.Generator().manual_seed(1000 + index))
        stored = (result.image.clamp(0, 1) * 255).round() / 255
        return stored, result.mask if kind == "inpainting" else None

    return apply
