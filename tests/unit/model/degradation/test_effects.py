"""What single effects promise beyond growing with severity."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from model.degradation.blur import RMS_RADIUS_PX, random_kernels
from model.degradation.camera import camera_chain
from model.degradation.draws import Draws
from model.degradation.errors import DegradationError
from model.degradation.fields import convolve_valid, reflect_pad
from model.degradation.inpainting import cover
from model.degradation.jpeg import jpeg_compress, jpeg_quality_to_severity, severity_to_jpeg_quality
from model.degradation.jpeg_codec import code_and_decode
from model.degradation.noise import add_gaussian_noise
from model.degradation.synthesis import degrade
from tests.unit.model.degradation.photos import photos, psnr, seeded

CPU = torch.device("cpu")


def test_gaussian_noise_has_the_deviation_asked_for_in_each_sample() -> None:
    clean = torch.full((2, 3, 128, 128), 0.5)
    noisy = add_gaussian_noise(clean, torch.tensor([25.0, 50.0]), seeded(0))
    deviation = (noisy - clean).flatten(1).std(1) * 255.0
    assert deviation.tolist() == pytest.approx([25.0, 50.0], rel=0.02)
    assert float(noisy.max()) > 1.0


def test_gaussian_noise_clips_on_request() -> None:
    noisy = add_gaussian_noise(photos(1), 75.0, seeded(0), clip=True)
    assert float(noisy.min()) >= 0.0
    assert float(noisy.max()) <= 1.0


def test_noise_severity_is_proportional_to_the_deviation() -> None:
    clean = torch.full((24, 3, 64, 64), 0.5)
    for severity, sigma in ((1 / 3, 25.0), (2 / 3, 50.0)):
        noisy = degrade(clean, "noise", severity, generator=seeded(1)).image
        deviation = (noisy - clean).flatten(1).square().mean(1).sqrt() * 255.0
        assert deviation.tolist() == pytest.approx([sigma] * 24, rel=0.06)


def test_jpeg_quality_and_severity_are_inverse() -> None:
    qualities = torch.arange(5, 96)
    assert torch.equal(severity_to_jpeg_quality(jpeg_quality_to_severity(qualities.float())), qualities)
    assert float(jpeg_quality_to_severity(10)) == pytest.approx(0.85, abs=0.02)
    assert float(jpeg_quality_to_severity(1)) == 1.0


def test_jpeg_equals_a_jpeg_file_of_that_quality() -> None:
    image = photos(2)
    decoded = jpeg_compress(image, torch.tensor([10, 60]))
    for sample, result, quality in zip(image, decoded, (10, 60), strict=True):
        pixels = (sample * 255.0).round().byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        with Image.open(file) as picture:
            expected = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(64, 72, 3)
        assert (result.permute(1, 2, 0) * 255.0 - expected).abs().max() <= 2.0


def test_the_codec_for_gpus_gives_what_jpeg_files_give() -> None:
    image = photos(4, 61, 83)
    qualities = torch.tensor([5, 10, 40, 90])
    files = jpeg_compress(image, qualities)
    tensors = code_and_decode((image * 255.0).round(), qualities) / 255.0
    assert float((files - tensors).abs().mean()) < 1.0 / 255.0
    assert psnr(tensors, image).tolist() == pytest.approx(psnr(files, image).tolist(), abs=0.15)


def test_jpeg_quality_outside_the_scale_is_refused() -> None:
    with pytest.raises(DegradationError, match=r"1\.\.100"):
        jpeg_compress(photos(1), 0)


def test_blur_kernels_sum_to_one_keep_the_centre_and_have_the_radius_of_their_severity() -> None:
    severity = torch.linspace(0.2, 1.0, 60)
    kernels = random_kernels(severity * RMS_RADIUS_PX, Draws(60, seeded(0), CPU))
    taps = torch.arange(31.0) - 15.0
    assert kernels.sum((1, 2)).tolist() == pytest.approx([1.0] * 60, abs=1e-4)
    assert float((kernels * taps[:, None]).sum((1, 2)).abs().max()) < 0.35
    assert float((kernels * taps).sum((1, 2)).abs().max()) < 0.35
    radius = (kernels * (taps[:, None] ** 2 + taps**2)).sum((1, 2)).sqrt()
    ratio = radius / (severity * RMS_RADIUS_PX)
    assert float(ratio.min()) > 0.6
    assert float(ratio.max()) < 1.4


def test_convolution_agrees_with_torch() -> None:
    image, kernels = photos(2, 23, 31), torch.rand(2, 7, 7, generator=seeded(0))
    weights = kernels.flip(1, 2).repeat_interleave(3, 0)[:, None]
    expected = torch.nn.functional.conv2d(image.view(1, 6, 23, 31), weights, groups=6).view(2, 3, 17, 25)
    torch.testing.assert_close(convolve_valid(image, kernels), expected, rtol=1e-4, atol=1e-4)


def test_padding_mirrors_like_torch_and_also_tiny_pictures() -> None:
    image = photos(1, 9, 11)
    expected = torch.nn.functional.pad(image, (4, 5, 2, 3), mode="reflect")
    assert torch.equal(reflect_pad(image, 2, 3, 4, 5), expected)
    assert reflect_pad(image[..., :1, :2], 15, 15, 15, 15).shape == (1, 3, 31, 32)


@pytest.mark.parametrize("size", [(64, 96), (200, 130)])
def test_holes_cover_the_share_of_their_severity(size: tuple[int, int]) -> None:
    severity = torch.tensor([0.05, 0.25, 0.5, 1.0])
    mask = degrade(photos(4, *size), "inpainting", severity, generator=seeded(0)).mask
    assert mask.mean((1, 2, 3)).tolist() == pytest.approx(cover(severity).tolist(), abs=0.02)
    assert cover(severity)[[0, 3]].tolist() == pytest.approx([0.03, 0.5], abs=1e-5)


def test_holes_grow_and_everything_outside_is_untouched() -> None:
    clean = photos(8)
    small = degrade(clean, "inpainting", 0.3, generator=seeded(4))
    large = degrade(clean, "inpainting", 0.6, generator=seeded(4))
    assert bool((large.mask >= small.mask).all())
    assert torch.equal(large.image * (1.0 - large.mask), clean * (1.0 - large.mask))


def test_most_holes_are_white() -> None:
    result = degrade(photos(200, 16, 16), "inpainting", 0.5, generator=seeded(0))
    white = torch.tensor(
        [bool((i[:, m[0] == 1.0] == 1.0).all()) for i, m in zip(result.image, result.mask, strict=True)]
    )
    assert 0.6 < float(white.float().mean()) < 0.8


def test_haze_lifts_the_dark_and_low_light_dims_everything() -> None:
    clean = photos(6)
    assert bool((degrade(clean, "haze", 0.8, generator=seeded(0)).image.amin((1, 2, 3)) > clean.amin((1, 2, 3))).all())
    dark = degrade(clean, "low-light", 0.8, generator=seeded(0)).image
    assert bool((dark.mean((1, 2, 3)) < 0.5 * clean.mean((1, 2, 3))).all())


def test_a_shadow_only_darkens_and_leaves_some_light() -> None:
    clean = photos(12)
    shaded = degrade(clean, "shadow", 0.6, generator=seeded(0)).image
    ratio = shaded / clean
    assert float(ratio.max()) <= 1.001
    assert float(ratio.min()) > 0.2
    assert float((ratio.amax(1) < 0.9).float().mean()) > 0.15


def test_a_large_photo_keeps_about_the_share_of_drops_of_a_small_one() -> None:
    changed = []
    for side in (128, 512):
        clean = photos(1, side, side).expand(6, -1, -1, -1)
        damaged = degrade(clean, "raindrop", 0.7, generator=seeded(0)).image
        changed.append(float(((damaged - clean).abs().amax(1) > 0.02).float().mean()))
    assert 0.4 < changed[0] / changed[1] < 2.5, changed


def test_the_camera_chain_is_mild_and_seeded() -> None:
    clean = photos(4)
    strength = torch.tensor([0.0, 0.3, 1.0, 1.0])
    first = camera_chain(clean, generator=seeded(2), strength=strength)
    assert torch.equal(first, camera_chain(clean, generator=seeded(2), strength=strength))
    assert torch.equal(first[0], clean[0])
    assert not torch.equal(first[1], clean[1])
    assert float(psnr(first, clean).min()) > 18.0
    with pytest.raises(DegradationError, match=r"0\.\.1"):
        camera_chain(clean, strength=1.5)


def test_a_generator_on_another_device_is_refused() -> None:
    class Elsewhere:
        device = torch.device("meta")

    with pytest.raises(DegradationError, match="CPU"):
        Draws(1, Elsewhere(), CPU)  # type: ignore[arg-type]
