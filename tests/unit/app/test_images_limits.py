"""What must not be decoded is refused from the header, fast and with the right code."""

from __future__ import annotations

import time

import pytest
from PIL import Image

from app.errors import ServiceError
from app.images import ImageLimits, check, decode, inspect
from tests.support import sample_photos as samples

LIMITS = ImageLimits()


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [
        (b"", "empty_upload", 422),
        (b"hello, this is no image", "unsupported_format", 415),
        (b"%PDF-1.7 ...", "unsupported_format", 415),
        (b"\x00" * 1000, "unsupported_format", 415),
        (b"BM" + b"\0" * 100, "unsupported_format", 415),
        (samples.animated("GIF"), "animated_image", 422),
        (samples.animated("WEBP"), "animated_image", 422),
        (samples.animated("PNG"), "animated_image", 422),
        (samples.animated("AVIF"), "animated_image", 422),
        (samples.animated("TIFF"), "animated_image", 422),
        (samples.png_header_only(30_000, 10), "image_too_large", 413),
        (samples.png_header_only(10, 30_000), "image_too_large", 413),
        (samples.png_header_only(10_000, 6_000), "image_too_large", 413),
        (samples.png_header_only(19_999, 19_999), "image_too_large", 413),
        (samples.png_header_only(2**31 - 1, 2**31 - 1), "image_too_large", 413),
        (samples.png_header_only(0, 0), "invalid_image", 422),
        (b"\xff\xd8\xff", "invalid_image", 422),
        (b"\x89PNG\r\n\x1a\n", "invalid_image", 422),
        (b"II*\0\x08\0\0\0", "invalid_image", 422),
        (b"RIFF\0\0\0\0WEBP", "invalid_image", 422),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "invalid_image", 422),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "invalid_image", 422),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_header_is_enough_to_refuse(data: bytes, code: str, status: int) -> None:
    inspect_error(data)  # the first call loads a decoder's module
    started = time.process_time()  # not the clock on the wall: the machine may be busy with something else
    error = inspect_error(data)
    assert time.process_time() - started < 0.1
    assert (error.code, error.status) == (code, status)
    assert error.detail


def inspect_error(data: bytes) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        inspect(data, LIMITS)
    return caught.value


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "HEIF"])
@pytest.mark.parametrize("kept", [0.95, 0.5])
def test_truncated_file_is_found_by_the_full_check(form: str, kept: float) -> None:
    image = Image.effect_noise((160, 120), 60).convert("RGB")
    import pillow_heif

    pillow_heif.register_heif_opener()
    options = {"compression": "tiff_adobe_deflate"} if form == "TIFF" else {}
    whole = samples.saved(image, form, **options)
    assert check(whole, LIMITS).width == 160
    for read in (check, decode):
        with pytest.raises(ServiceError) as caught:
            read(whole[: int(len(whole) * kept)], LIMITS)
        assert (caught.value.code, caught.value.status) == ("invalid_image", 422)


@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_large_jpeg_is_found_although_the_check_decodes_small(progressive: bool) -> None:
    image = Image.effect_noise((1600, 1200), 60).convert("RGB")
    whole = samples.saved(image, "JPEG", progressive=progressive)
    assert check(whole, LIMITS).height == 1200
    with pytest.raises(ServiceError, match="truncated"):
        check(whole[:-2000], LIMITS)


def test_limits_are_those_given() -> None:
    data = samples.png(48, 32)
    for limits, code in (
        (ImageLimits(max_bytes=len(data) - 1), "upload_too_large"),
        (ImageLimits(max_megapixels=0.001), "image_too_large"),
        (ImageLimits(max_side_px=47), "image_too_large"),
    ):
        with pytest.raises(ServiceError) as caught:
            inspect(data, limits)
        assert caught.value.code == code
        assert caught.value.status == 413
    assert inspect(data, ImageLimits(max_bytes=len(data), max_megapixels=0.001536, max_side_px=48)).width == 48


def test_jpeg_with_absurdly_many_scans_is_refused() -> None:
    data = samples.jpeg(progressive=True)
    end = data.rindex(b"\xff\xd9")
    scan = data[data.rindex(b"\xff\xda") : end]
    check(data, LIMITS)
    with pytest.raises(ServiceError, match="scans"):
        check(data[:end] + scan * 200 + data[end:], LIMITS)


def test_header_check_of_a_png_does_not_decode_its_pixels() -> None:
    # Pixel data that cannot be decoded at all, and an EXIF chunk behind it, where the standard allows it.
    exif = Image.Exif()
    exif[samples.ORIENTATION] = 6
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    broken = samples.png_header_only(30, 20)
    data = broken[:-12] + samples.chunk(b"eXIf", block) + broken[-12:]
    info = inspect(data, LIMITS)
    assert (info.width, info.height) == (20, 30)
    whole = samples.png(30, 20)
    late = whole[:-12] + samples.chunk(b"eXIf", block) + whole[-12:]
    assert decode(late, LIMITS).rgb.shape == (30, 20, 3)
