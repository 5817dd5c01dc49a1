"""What must not be decoded is refused from the header, fast and with the right code."""

from __future__ import annotations

import io
import time

import pytest
import tifffile
from PIL import Image

from app.bench.bombs import BOMBS, Bomb
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


@pytest.mark.parametrize("bomb", BOMBS, ids=[bomb.name for bomb in BOMBS])
@pytest.mark.filterwarnings("ignore")
def test_small_file_that_costs_much_is_refused_from_the_header(bomb: Bomb) -> None:
    data = bomb.make()
    inspect_error(data)
    started = time.process_time()
    error = inspect_error(data)
    assert time.process_time() - started < 0.1
    assert error.code == bomb.code


def test_sides_may_differ_so_much_and_no_more() -> None:
    limits = ImageLimits(max_aspect=4)
    for size in ((40, 10), (10, 40), (1, 4)):
        assert inspect(samples.png(*size), limits).width == size[0]
    for size in ((41, 10), (10, 41)):
        with pytest.raises(ServiceError, match="4 times") as caught:
            inspect(samples.png(*size), limits)
        assert caught.value.code == "image_too_large"


def test_pictures_beside_the_main_one_are_counted() -> None:
    assert inspect(samples.mpo(), ImageLimits(max_frames=2)).frames == 2
    with pytest.raises(ServiceError) as caught:
        inspect(samples.mpo(), ImageLimits(max_frames=1))
    assert caught.value.code == "animated_image"


def test_many_scans_are_fine_only_in_small_pictures() -> None:
    def with_scans(width: int, height: int) -> bytes:
        data = samples.saved(Image.new("RGB", (width, height)), "JPEG", progressive=True)
        end = data.rindex(b"\xff\xd9")
        return data[:end] + data[data.rindex(b"\xff\xda") : end] * 40 + data[end:]

    assert inspect(with_scans(64, 48), LIMITS).width == 64
    with pytest.raises(ServiceError, match="scans"):
        inspect(with_scans(4500, 3000), LIMITS)


def test_files_cut_as_encoders_cut_them_are_accepted() -> None:
    plain = samples.png(mode="RGB")
    texts = samples.chunk(b"tEXt", b"key\0value") * 500
    assert check(plain[:33] + texts + plain[33:], LIMITS).width == 48
    photo = samples.jpeg()
    parts = b"\xff\xe2\x10\0" + bytes(4094)  # a long profile or a depth map lies in such
    assert check(photo[:2] + parts * 1000 + photo[2:], LIMITS).width == 48
    noise = Image.effect_noise((1200, 900), 90)
    for form in ("GIF", "PNG", "JPEG"):
        assert check(samples.saved(noise, form), LIMITS).width == 1200


def test_tiles_may_be_larger_than_a_small_picture() -> None:
    image = tiff_of_tiles(48, 32, 512)
    assert check(image, LIMITS).width == 48


def tiff_of_tiles(width: int, height: int, tile: int) -> bytes:
    target = io.BytesIO()
    tifffile.imwrite(target, samples.pixels(width, height), tile=(tile, tile), metadata=None, photometric="rgb")
    return target.getvalue()
