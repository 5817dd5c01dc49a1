"""What is measured on one photo: distances to the clean photo, and two figures that need none.

Photos are (1, 3, H, W) RGB in [0, 1]; PSNR alone looks beyond that range, since papers do not clip their noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.evaluate.optional import import_package, is_installed
from model.no_reference import estimate_noise as estimate_noise

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Metric:
    """A column of the reports.

    Attributes:
        key: In JSON, with `_before` or `_after` behind it.
        name: In tables.
        better: "higher", "lower" or "" where neither is better in itself.
        meaning: One sentence.
    """

    key: str
    name: str
    better: str
    meaning: str


METRICS = (
    Metric("psnr", "PSNR", "higher", "Peak signal-to-noise ratio over RGB, dB, at most 100."),
    Metric(
        "psnr_capped",
        "PSNR, none above the ceiling",
        "higher",
        "Mean in which no photo counts for more than the ceiling of the case (45 dB for clean photos), so that photos "
        "that come back unchanged cannot pay for harmed ones, dB.",
    ),
    Metric("psnr_worst", "PSNR of the worst photo", "higher", "The lowest of the photos of a case, dB."),
    Metric("ssim", "SSIM", "higher", "Structural similarity over RGB, Gaussian window (Wang et al. 2004)."),
    Metric("lpips", "LPIPS", "lower", "Learned perceptual distance (Zhang et al. 2018)."),
    Metric(
        "fid",
        "FID",
        "lower",
        "Fréchet inception distance between all restored and all clean photos (Heusel et al. 2017). Of few photos it "
        "is far too high, so it can be compared within one report only.",
    ),
    Metric(
        "gradient",
        "gradient distance",
        "lower",
        "How far the sizes of luminance gradients are distributed from those of the clean photo (Wasserstein-1, "
        "1/255): 0 = as much texture and as many edges, wherever they are.",
    ),
    Metric(
        "blur",
        "blur",
        "",
        "Needs no clean photo: perceptual blur (Crété-Roffet et al. 2007), 0 = sharp, 1 = blurred. It takes noise for "
        "sharpness.",
    ),
    Metric(
        "noise",
        "noise",
        "",
        "Needs no clean photo: standard deviation of the noise (Immerkær 1996), 1/255. It takes fine texture for "
        "noise.",
    ),
)


def score(estimate: torch.Tensor, clean: torch.Tensor | None, mask: torch.Tensor | None = None) -> dict[str, float]:
    """Every metric of this module that can be had.

    Args:
        estimate: Restored or damaged photo.
        clean: Reference; None leaves the figures that need none.
        mask: (1, 1, H, W), 1 = measure here; None measures everywhere. The figures without reference ignore it.
    """
    seen = estimate.clamp(0, 1)
    figures = {}
    if clean is not None:
        figures["psnr"] = psnr(estimate, clean, mask)
        if is_installed("skimage"):
            figures["ssim"] = ssim(seen, clean, mask)
        figures["gradient"] = gradient_distance(seen, clean, mask)
    if is_installed("skimage"):
        figures["blur"] = blur_effect(seen)
    figures["noise"] = estimate_noise(estimate)
    return figures


def find_missing() -> dict[str, str]:
    """Metrics of this module that cannot be had, with the reason."""
    if is_installed("skimage"):
        return {}
    reason = "scikit-image is not installed: pip install 'vlmir[eval]'"
    return {"SSIM": reason, "blur": reason}


def psnr(estimate: torch.Tensor, clean: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB over RGB, at most 100; where a mask is given, inside it only."""
    error = (estimate.double() - clean.double()).square()
    if mask is not None:
        error = error[mask.expand_as(error) > 0.5]
    return float(-10 * error.mean().clamp(min=1e-10).log10())


def hold_against_ceiling(psnrs: Sequence[float], ceiling: float) -> dict[str, float]:
    """What a plain mean of PSNR hides where most photos are nearly perfect.

    Args:
        psnrs: Of the photos of a case, dB, at least one.
        ceiling: Above which more is worth nothing, dB.
    """
    capped = [min(value, ceiling) for value in psnrs]
    return {"psnr_capped": sum(capped) / len(capped), "psnr_worst": min(psnrs)}


def ssim(estimate: torch.Tensor, clean: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Structural similarity, mean over RGB, with the window of its paper; 1 for equal photos.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    metrics = import_package("skimage.metrics", "vlmir[eval]", "SSIM")
    mean, picture = metrics.structural_similarity(
        _pixels(estimate),
        _pixels(clean),
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return float(mean if mask is None else picture[mask[0, 0].numpy() > 0.5].mean())


def gradient_distance(estimate: torch.Tensor, clean: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Wasserstein-1 distance of the sizes of luminance gradients, in 1/255.

    Where the gradients lie does not matter, only how many there are of which size. So a restoration that is too smooth
    or too rough is far away, and one with plausible texture in other places is near.
    """
    difference = _gradients(estimate, mask).sort().values - _gradients(clean, mask).sort().values
    return float(difference.abs().mean() * 255) if difference.numel() else 0.0


def blur_effect(image: torch.Tensor) -> float:
    """How little is lost by blurring once more: 0 = sharp, 1 = as blurred as can be (a flat photo counts as that).

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    measure = import_package("skimage.measure", "vlmir[eval]", "the blur metric")
    if float(image.std()) < 1e-4:
        return 1.0
    return float(measure.blur_effect(_pixels(image), channel_axis=2))


def _gradients(image: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    luminance = torch.einsum("bchw,c->bhw", image.double(), torch.tensor(_LUMINANCE, dtype=torch.float64))
    inside = torch.ones_like(luminance) if mask is None else mask[:, 0].double()
    parts = []
    for axis in (1, 2):
        size = luminance.shape[axis] - 1
        both = inside.narrow(axis, 0, size) * inside.narrow(axis, 1, size) > 0.5
        parts.append(luminance.diff(dim=axis).abs()[both])
    return torch.cat(parts)


def _pixels(image: torch.Tensor) -> np.ndarray:
    pixels: np.ndarray = image[0].permute(1, 2, 0).numpy()
    return pixels
