"""A result keeps what its upload had: format, alpha, grayness, depth, profile and EXIF block."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from app.errors import InvalidOptionError
from app.images import OUTPUT_FORMATS, ImageLimits, Photo, check_output, decode, encode
from app.images.metadata import kept_dpi
from tests.support import sample_photos as samples

LIMITS = ImageLimits()


def photo_of(channels: int, depth: int = 8, source: str = "png") -> Photo:
    planes = samples.pixels(channels=channels, depth=depth)
    is_gray = channels <= 2
    rgb = np.repeat(planes[..., :1], 3, axis=2) if is_gray else planes[..., :3]
    alpha = planes[..., -1] if channels in (2, 4) else None
    return Photo(np.ascontiguousarray(rgb), alpha, is_gray, None, None, source)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("form", OUTPUT_FORMATS)
def test_each_layout_survives_each_format(channels: int, form: str) -> None:
    photo = photo_of(channels)
    data, media_type = encode(photo, photo.rgb, form)
    back = decode(data, LIMITS)
    assert media_type == f"image/{form}"
    assert back.format == form
    error = np.abs(back.rgb.astype(int) - photo.rgb)
    if form in ("png", "tiff"):
        assert back.is_gray == photo.is_gray
        if photo.alpha is None:
            assert error.max() == 0
        else:
            assert error[photo.alpha > 0].max() == 0
    elif photo.alpha is None:
        assert error.mean() < 3
    if photo.alpha is not None and form != "jpeg":
        assert back.alpha is not None
        assert np.abs(back.alpha.astype(int) - photo.alpha).max() <= 8
    if form == "jpeg":
        assert back.alpha is None
        assert back.is_gray == photo.is_gray
        if photo.alpha is not None:
            assert back.rgb[:, -4:].min() > 240  # transparent there, so white


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("form", ["png", "tiff"])
def test_sixteen_bits_survive_in_png_and_tiff(channels: int, form: str) -> None:
    deep = np.random.default_rng(channels).integers(1, 65536, (300, 41, channels)).astype(np.uint16)
    rgb = np.repeat(deep[..., :1], 3, axis=2) if channels <= 2 else deep[..., :3]
    photo = Photo(rgb, deep[..., -1] if channels in (2, 4) else None, channels <= 2, None, None, "png")
    data, media_type = encode(photo, rgb, form)
    assert media_type == f"image/{form}"
    if form == "tiff":  # tifffile is a reader that shares no code with Pillow
        stored = tifffile.imread(io.BytesIO(data)).reshape(300, 41, channels)
        assert np.abs(stored.astype(int) - deep).max() <= (1 if channels <= 2 else 0)
        if channels == 2:
            return  # Pillow does not read 16-bit gray with alpha from TIFF
    back = decode(data, LIMITS)
    assert back.rgb.dtype == np.uint16
    assert np.abs(back.rgb.astype(int) - rgb).max() <= (1 if channels <= 2 else 0)
    assert (back.alpha is None) == (photo.alpha is None)
    if photo.alpha is not None and back.alpha is not None:
        assert np.array_equal(back.alpha, photo.alpha)


def test_sixteen_bits_become_eight_in_other_formats() -> None:
    photo = photo_of(3, depth=16)
    back = decode(encode(photo, photo.rgb, "webp")[0], LIMITS)
    assert back.rgb.dtype == np.uint8
    assert np.abs(back.rgb.astype(float) - photo.rgb / 257).mean() < 3


def test_depth_follows_the_restored_pixels() -> None:
    photo = photo_of(4, depth=16)
    shallow = (photo.rgb // 257).astype(np.uint8)
    back = decode(encode(photo, shallow, "png")[0], LIMITS)
    assert back.rgb.dtype == np.uint8
    assert back.alpha is not None
    assert back.alpha[0, 0] == 255


def test_reduction_to_eight_bits_rounds_to_nearest() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    photo = Photo(every, every[..., 0], False, None, None, "webp")
    data, _ = encode(photo, every, None)
    # Alpha is stored without loss, so it shows the rounding.
    alpha = np.asarray(Image.open(io.BytesIO(data)))[..., 3]
    assert np.array_equal(alpha, np.rint(every[..., 0] / 257))


@pytest.mark.filterwarnings("ignore")
def test_any_exif_block_that_was_kept_can_be_written() -> None:
    rng = np.random.default_rng(3)
    original = Image.Exif()
    original[0x010F] = "Maker"
    original[0x011A] = 72.5
    original[0x8769] = {0xA002: 48, 0x9003: "2024:05:06 07:08:09", 0x829A: 0.01, 0x927C: b"maker's note" * 9}
    original[0x8825] = {1: "N", 2: (52.0, 31.0, 12.5)}
    block = original.tobytes()
    kept = 0
    for _ in range(150):
        damaged = bytearray(block)
        for at in rng.integers(14, len(damaged), rng.integers(1, 8)):
            damaged[at] = rng.integers(0, 256)
        photo = decode(samples.jpeg(8, 8, exif=bytes(damaged)), LIMITS)
        kept += photo.exif is not None
        for form in OUTPUT_FORMATS:
            assert decode(encode(photo, photo.rgb, form)[0], LIMITS).rgb.shape == photo.rgb.shape
    assert kept > 50


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("jpeg", "jpeg"),
        ("png", "png"),
        ("webp", "webp"),
        ("avif", "avif"),
        ("tiff", "tiff"),
        ("heic", "jpeg"),
        ("gif", "png"),
    ],
)
def test_result_has_the_format_of_the_upload(source: str, result: str) -> None:
    photo = photo_of(3, source=source)
    assert encode(photo, photo.rgb, None)[1] == f"image/{result}"


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("form", OUTPUT_FORMATS)
def test_profile_and_exif_travel_on(form: str, depth: int) -> None:
    upload = decode(samples.jpeg(orientation=6, icc_profile=samples.srgb_profile()), LIMITS)
    rgb = upload.rgb if depth == 8 else upload.rgb.astype(np.uint16) * 257
    data, _ = encode(upload, rgb, form)
    back = decode(data, LIMITS)
    assert back.icc == upload.icc
    assert back.exif is not None
    kept = Image.Exif()
    kept.load(back.exif)
    assert kept[0x010F] == "Maker"
    assert samples.ORIENTATION not in kept
    assert kept.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    assert (back.width, back.height) == (32, 48)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("form", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "TIFF"])
def test_resolution_of_a_scan_travels_on(source: str, form: str, depth: int) -> None:
    upload = decode(samples.saved(samples.picture(), source, dpi=(300, 600)), LIMITS)
    rgb = upload.rgb if depth == 8 else upload.rgb.astype(np.uint16) * 257
    with Image.open(io.BytesIO(encode(upload, rgb, form)[0])) as result:
        assert result.info["dpi"] == pytest.approx((300, 600), abs=0.02)


def test_resolution_turns_with_the_photo_and_nonsense_is_dropped() -> None:
    assert decode(samples.jpeg(orientation=6, dpi=(300, 600)), LIMITS).dpi == pytest.approx((600, 300))
    for odd in ((0, 0), (float("nan"), 5), (1e9, 72), None, "72", (72,)):
        assert kept_dpi(odd, is_sideways=False) is None


def test_formats_with_short_sides_are_refused_by_name() -> None:
    with pytest.raises(InvalidOptionError, match=r"16,383.*png"):
        check_output("jpeg", "webp", 17000, 10)
    with pytest.raises(InvalidOptionError, match="bmp"):
        check_output("jpeg", "bmp", 10, 10)
    check_output("jpeg", None, 17000, 10)


def test_pixels_of_another_size_are_refused() -> None:
    photo = photo_of(3)
    with pytest.raises(ValueError, match="size of the photo"):
        encode(photo, photo.rgb[:-1], None)
