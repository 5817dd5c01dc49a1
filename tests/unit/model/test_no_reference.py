"""Blur and noise without a clean photo."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from model import no_reference
from model.no_reference import estimate_blur, estimate_noise


def photo(height: int = 96, width: int = 80, seed: int = 0) -> torch.Tensor:
    """Blocks of random colours: edges, and nothing between them."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand((1, 3, height // 8, width // 8), generator=generator)
    return F.interpolate(blocks, size=(height, width))


def blurred(image: torch.Tensor, px: int) -> torch.Tensor:
    return F.avg_pool2d(F.pad(image, (px, px, px, px), mode="replicate"), 2 * px + 1, stride=1)


def test_blur_agrees_with_scikit_image() -> None:
    measure = pytest.importorskip("skimage.measure")
    for image in (photo(), blurred(photo(seed=1), 2), torch.rand((1, 3, 64, 90))):
        expected = measure.blur_effect(image[0].permute(1, 2, 0).numpy(), channel_axis=2)
        assert estimate_blur(image) == pytest.approx(expected, abs=0.02)  # borders are continued in another way


def test_blur_rises_with_blur_and_noise_with_noise() -> None:
    image = photo()
    levels = [estimate_blur(image), *(estimate_blur(blurred(image, px)) for px in (1, 2, 4))]
    assert levels == sorted(levels)
    assert 0 <= levels[0] < levels[-1] <= 1
    grain = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    flat = torch.full_like(image, 0.5)
    for sigma in (2.0, 10.0):
        assert estimate_noise(flat + sigma / 255 * grain) == pytest.approx(sigma, rel=0.1)


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand((1, 3, 75, 40), generator=torch.Generator().manual_seed(2))
    whole = estimate_blur(image), estimate_noise(image)
    monkeypatch.setattr(no_reference, "_STRIP_ROWS", 9)
    assert (estimate_blur(image), estimate_noise(image)) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (3, 3), (4, 4), (5, 200)])
def test_small_and_flat_photos_have_figures(size: tuple[int, int]) -> None:
    assert estimate_blur(torch.full((1, 3, *size), 0.5)) == 1.0
    assert 0 <= estimate_blur(torch.rand((1, 3, *size))) <= 1
    assert estimate_noise(torch.full((1, 3, *size), 0.5)) == pytest.approx(0, abs=1e-3)
