"""Metrics by hand: known values, and the direction in which they move."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from model.evaluate.scores import METRICS, blur_effect, estimate_noise, gradient_distance, psnr, score, ssim
from tests.unit.model.samples import generator, photo


def noisy(image: torch.Tensor, sigma: float, seed: int = 0) -> torch.Tensor:
    return image + sigma / 255 * torch.randn(image.shape, generator=generator(seed))


def textured(side: int = 96) -> torch.Tensor:
    return (photo(side, side) * 0.6 + 0.2 + 0.1 * torch.randn(1, 3, side, side, generator=generator(1))).clamp(0, 1)


def blurred(image: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.pad(image, (2, 2, 2, 2), "reflect"), 5, 1)


def test_equal_photos_are_capped() -> None:
    assert psnr(photo(), photo()) == pytest.approx(100)


@pytest.mark.parametrize(("error", "expected"), [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0)])
def test_constant_errors(error: float, expected: float) -> None:
    assert psnr(torch.zeros(1, 3, 8, 8) + error, torch.zeros(1, 3, 8, 8)) == pytest.approx(expected, abs=1e-4)


def test_sigma_of_the_literature() -> None:
    noise = 25 / 255 * torch.randn(1, 3, 256, 256, generator=generator())
    assert psnr(noise, torch.zeros_like(noise)) == pytest.approx(20.17, abs=0.05)


def test_inside_a_mask_only() -> None:
    clean, mask = torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., :8, :8] = 1
    estimate = clean + 0.1
    estimate[..., :8, :8] = 0.01
    assert psnr(estimate, clean, mask) == pytest.approx(40, abs=1e-3)
    assert psnr(estimate, clean, 1 - mask) == pytest.approx(20, abs=1e-3)


def test_figures_inside_a_mask_do_not_see_the_rest() -> None:
    clean, mask = textured(64), torch.zeros(1, 1, 64, 64)
    mask[..., 40:, 40:] = 1
    harmed = clean.clone()
    harmed[..., :20, :20] = 0
    assert ssim(harmed, clean) < 0.95
    assert ssim(harmed, clean, mask) == pytest.approx(1, abs=1e-6)
    assert gradient_distance(harmed, clean) > 0.5
    assert gradient_distance(harmed, clean, mask) == 0


def test_ssim_is_one_for_equal_photos_and_falls_with_noise() -> None:
    clean = textured()
    values = [ssim(noisy(clean, sigma).clamp(0, 1), clean) for sigma in (0, 10, 30)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2]


def test_gradient_distance_asks_for_texture_but_not_for_its_place() -> None:
    clean = textured()
    assert gradient_distance(clean, clean) == 0
    assert gradient_distance(clean.flip(3), clean) == pytest.approx(0, abs=1e-4)
    assert gradient_distance(blurred(clean), clean) > 3
    assert gradient_distance(noisy(clean, 40).clamp(0, 1), clean) > 3


def test_gradient_distance_in_its_unit() -> None:
    ramp = torch.linspace(0, 1, 52).expand(1, 3, 52, 52)  # 5/255 per pixel along one of two axes
    assert gradient_distance(ramp, torch.zeros_like(ramp)) == pytest.approx(2.5, abs=1e-3)


@pytest.mark.parametrize("sigma", [5, 15, 40])
def test_noise_of_a_smooth_photo_is_estimated(sigma: float) -> None:
    assert estimate_noise(noisy(photo(128, 128), sigma)) == pytest.approx(sigma, rel=0.05)


def test_blur_grows_by_blurring() -> None:
    assert 0 <= blur_effect(textured()) < blur_effect(blurred(textured())) <= 1
    assert blur_effect(torch.full((1, 3, 32, 32), 0.5)) == 1


def test_scores_by_what_is_known() -> None:
    clean = textured(64)
    assert set(score(clean, clean)) == {"psnr", "ssim", "gradient", "blur", "noise"}
    assert set(score(clean, None)) == {"blur", "noise"}
    assert set(score(clean, clean)) <= {metric.key for metric in METRICS}


def test_psnr_alone_looks_beyond_the_range() -> None:
    clean = textured(64)
    wild, clipped = noisy(clean, 80), noisy(clean, 80).clamp(0, 1)
    assert score(wild, clean)["psnr"] < score(clipped, clean)["psnr"]
    assert score(wild, clean)["ssim"] == score(clipped, clean)["ssim"]
