"""Every kind of photo comes in as upright RGB with alpha, grayness and depth kept."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from app.errors import InvalidMaskError, ServiceError, UnsupportedFormatError
from app.images import ImageLimits, check, decode, decode_mask, inspect
from tests.support import sample_photos as samples

LIMITS = ImageLimits()


def mean_error(photo_rgb: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(photo_rgb.astype(float) - expected.astype(float)).mean())


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif", "tiff", "gif"])
def test_colour_photo_is_decoded(form: str) -> None:
    data = samples.saved(samples.picture(), form.upper(), **({"quality": 95} if form in ("jpeg", "webp") else {}))
    info = inspect(data, LIMITS)
    assert (info.format, info.width, info.height, info.bits, info.frames) == (form, 48, 32, 8, 1)
    assert info.media_type == f"image/{form}"
    assert check(data, LIMITS) == info
    photo = decode(data, LIMITS)
    assert photo.rgb.shape == (32, 48, 3)
    assert photo.rgb.dtype == np.uint8
    assert photo.alpha is None
    assert not photo.is_gray
    assert mean_error(photo.rgb, samples.pixels()) < 8


def test_heic_photo_is_decoded() -> None:
    data = samples.heic()
    info = check(data, LIMITS)
    assert (info.format, info.media_type, info.width, info.height) == ("heic", "image/heic", 64, 48)
    assert mean_error(decode(data, LIMITS).rgb, samples.pixels(64, 48)) < 6


def test_first_picture_of_a_phones_mpo_counts() -> None:
    info = inspect(samples.mpo(), LIMITS)
    assert (info.format, info.frames) == ("jpeg", 2)
    assert mean_error(decode(samples.mpo(), LIMITS).rgb, samples.pixels()) < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_orientation_is_applied_and_its_tag_removed(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[samples.ORIENTATION] = orientation
    exif[0x010F] = "Maker"
    samples.heic()  # lets Pillow write such files
    options = {"quality": 95} if form in ("JPEG", "WEBP", "AVIF", "HEIF") else {}
    data = samples.saved(samples.picture(), form, exif=exif.tobytes() if form == "HEIF" else exif, **options)
    info = inspect(data, LIMITS)
    photo = decode(data, LIMITS)
    assert (info.width, info.height) == ((32, 48) if orientation >= 5 else (48, 32))
    assert (photo.width, photo.height) == (info.width, info.height)
    assert check(data, LIMITS) == info
    # Where the corner of the stored picture that is dark in both directions must lie, by the EXIF standard.
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    assert photo.rgb[corner[orientation]][:2].max() < 40
    right_hand = (
        photo.rgb[:, -1, 0 if orientation < 5 else 1].mean() - photo.rgb[:, 0, 0 if orientation < 5 else 1].mean()
    )
    assert (right_hand > 0) == (orientation in (1, 4, 5, 8))
    assert photo.exif is not None
    kept = Image.Exif()
    kept.load(photo.exif)
    assert samples.ORIENTATION not in kept
    assert kept[0x010F] == "Maker"


def test_exif_block_keeps_its_parts_and_gets_the_upright_size() -> None:
    photo = decode(samples.jpeg(orientation=6), LIMITS)
    assert photo.exif is not None
    kept = Image.Exif()
    kept.load(photo.exif)
    block = kept.get_ifd(0x8769)
    assert (block[0xA002], block[0xA003], block[0x9003]) == (32, 48, "2024:05:06 07:08:09")


@pytest.mark.filterwarnings("ignore:.*[Cc]orrupt.*")
def test_damaged_exif_is_dropped_and_the_photo_kept() -> None:
    data = samples.jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01\x02")
    photo = decode(data, LIMITS)
    assert photo.rgb.shape == (32, 48, 3)


@pytest.mark.parametrize("mode", ["1", "L"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_gray_is_known_as_gray(mode: str, form: str) -> None:
    image = samples.picture(mode=mode)
    photo = decode(samples.saved(image, form), LIMITS)
    assert photo.is_gray
    assert photo.alpha is None
    assert np.array_equal(photo.rgb[..., 1], np.asarray(image.convert("L")))
    assert np.array_equal(photo.rgb[..., 0], photo.rgb[..., 2])


def test_gray_with_alpha_is_kept_apart() -> None:
    image = Image.fromarray(samples.pixels(channels=2))
    photo = decode(samples.saved(image, "PNG"), LIMITS)
    assert photo.is_gray
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, samples.pixels(channels=2)[..., 1])


def test_gray_and_colour_keys_become_alpha() -> None:
    gray = Image.fromarray(samples.pixels()[..., 0])
    photo = decode(samples.saved(gray, "PNG", transparency=0), LIMITS)
    assert photo.alpha is not None
    assert photo.is_gray
    assert (photo.alpha == np.where(samples.pixels()[..., 0] == 0, 0, 255)).all()
    colour = samples.picture()
    key = colour.getpixel((0, 0))
    keyed = decode(samples.saved(colour, "PNG", transparency=key), LIMITS)
    assert keyed.alpha is not None
    assert keyed.alpha[0, 0] == 0
    assert keyed.alpha[5, 5] == 255
    bits = decode(samples.saved(samples.picture(mode="1"), "PNG", transparency=0), LIMITS)
    assert bits.alpha is not None
    assert set(np.unique(bits.alpha)) == {0, 255}


def test_palette_with_and_without_transparency() -> None:
    image = samples.picture().quantize(16)
    plain = decode(samples.saved(image, "PNG"), LIMITS)
    assert plain.alpha is None
    assert mean_error(plain.rgb, np.asarray(image.convert("RGB"))) == 0
    clear = decode(samples.saved(image, "PNG", transparency=3), LIMITS)
    assert clear.alpha is not None
    assert np.array_equal(clear.alpha == 0, np.asarray(image) == 3)


def test_colour_bleeds_under_transparent_pixels() -> None:
    rgba = samples.pixels(channels=4)
    rgba[rgba[..., 3] == 0, :3] = (255, 0, 255)  # rubbish
    photo = decode(samples.saved(Image.fromarray(rgba), "PNG"), LIMITS)
    clear = rgba[..., 3] == 0
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, rgba[..., 3])
    assert np.array_equal(photo.rgb[~clear], rgba[~clear][:, :3])
    first_clear = int(np.argmax(clear[0]))
    step = photo.rgb[:, first_clear].astype(int) - photo.rgb[:, first_clear - 1]
    assert np.abs(step).max() < 40
    assert photo.rgb[clear][:, 1].max() > 200  # follows the picture downwards, not one mean colour


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (3, 2), (2, 3)])
def test_tiny_photos_are_accepted_in_every_layout(size: tuple[int, int]) -> None:
    for mode in ("RGB", "L", "RGBA"):
        data = samples.png(*size, mode=mode)
        assert (check(data, LIMITS).width, check(data, LIMITS).height) == size
        assert decode(data, LIMITS).rgb.shape == (size[1], size[0], 3)


def test_cmyk_becomes_rgb() -> None:
    image = samples.picture().convert("CMYK")
    photo = decode(samples.saved(image, "JPEG", quality=95), LIMITS)
    assert mean_error(photo.rgb, samples.pixels()) < 6
    assert photo.icc is None


def test_cmyk_with_an_unfitting_profile_still_becomes_rgb() -> None:
    image = samples.picture().convert("CMYK")
    photo = decode(samples.saved(image, "JPEG", quality=95, icc_profile=samples.srgb_profile()), LIMITS)
    assert mean_error(photo.rgb, samples.pixels()) < 6
    assert photo.icc is None


def test_lab_becomes_rgb() -> None:
    gray = samples.pixels()[..., 0]
    neutral = np.full_like(gray, 128)
    image = Image.merge("LAB", [Image.fromarray(plane) for plane in (gray, neutral, neutral)])
    photo = decode(samples.saved(image, "TIFF"), LIMITS)
    assert np.abs(photo.rgb.astype(int).max(axis=2) - photo.rgb.min(axis=2)).max() <= 3
    assert photo.rgb[0, -1].min() > 250


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_keeps_every_bit(channels: int) -> None:
    deep = np.random.default_rng(channels).integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    if channels in (2, 4):
        deep[..., -1] |= 1  # fully transparent pixels would take the colour of their neighbours
    data = samples.png16(deep)
    assert inspect(data, LIMITS).bits == 16
    photo = decode(data, LIMITS)
    assert photo.rgb.dtype == np.uint16
    assert photo.is_gray == (channels <= 2)
    assert np.array_equal(photo.rgb, np.broadcast_to(deep[..., :1] if channels <= 2 else deep[..., :3], (20, 30, 3)))
    if channels in (2, 4):
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, deep[..., -1])


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_colour_key_becomes_alpha(channels: int) -> None:
    deep = samples.pixels(channels=3, depth=16)[..., :channels]
    key = tuple(int(value) for value in deep[4, 4])
    photo = decode(samples.png16(deep, transparent=key), LIMITS)
    assert photo.alpha is not None
    assert photo.alpha.dtype == np.uint16
    assert photo.alpha[4, 4] == 0
    assert photo.alpha[9, 9] == 65535


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("packed", [False, True])
def test_sixteen_bit_tiff_keeps_every_bit(channels: int, order: Literal["<", ">"], packed: bool) -> None:
    deep = np.random.default_rng(channels).integers(1, 65536, (20, 30, channels)).astype(np.uint16)
    target = io.BytesIO()
    tifffile.imwrite(
        target,
        deep if channels > 1 else deep[..., 0],
        byteorder=order,
        compression="zlib" if packed else None,
        predictor=packed,
        photometric="rgb" if channels > 1 else "minisblack",
        extrasamples=["unassalpha"] if channels == 4 else None,
        metadata=None,
    )
    photo = decode(target.getvalue(), LIMITS)
    assert np.array_equal(photo.rgb, np.broadcast_to(deep[..., :3], (20, 30, 3)))
    assert (photo.alpha is None) == (channels < 4)


def test_sixteen_bit_tiff_with_white_as_zero_is_inverted() -> None:
    deep = samples.pixels(depth=16)[..., 0]
    target = io.BytesIO()
    tifffile.imwrite(target, deep, photometric="miniswhite", metadata=None)
    assert np.array_equal(decode(target.getvalue(), LIMITS).rgb[..., 0], 65535 - deep)


def test_float_samples_are_refused_with_the_reason() -> None:
    data = samples.saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    for read in (check, decode):
        with pytest.raises(UnsupportedFormatError, match="8 or 16 bits"):
            read(data, LIMITS)


def test_profile_is_kept_only_where_it_fits() -> None:
    profile = samples.srgb_profile()
    assert decode(samples.jpeg(icc_profile=profile), LIMITS).icc == profile
    assert decode(samples.png(mode="L", icc_profile=profile), LIMITS).icc is None


def test_mask_is_white_where_missing_and_must_fit() -> None:
    image = Image.new("L", (48, 32))
    image.paste(255, (0, 0, 10, 5))
    mask = decode_mask(samples.saved(image, "PNG"), LIMITS, 48, 32)
    assert mask.dtype == bool
    assert mask.sum() == 50
    assert mask[4, 9]
    with pytest.raises(InvalidMaskError, match="48 x 32"):
        decode_mask(samples.saved(image, "PNG"), LIMITS, 32, 48)


def test_transparent_parts_of_a_mask_are_kept() -> None:
    image = Image.new("RGBA", (48, 32), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 10, 5))
    assert decode_mask(samples.saved(image, "PNG"), LIMITS, 48, 32).sum() == 50


@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_never_raise_anything_but_service_errors() -> None:
    rng = np.random.default_rng(7)
    originals = [samples.jpeg(orientation=6), samples.png(mode="RGBA"), samples.heic(), samples.mpo()]
    originals += [samples.saved(samples.picture(), form) for form in ("WEBP", "AVIF", "TIFF", "GIF")]
    statuses: list[int] = []
    for original in originals:
        for _ in range(40):
            data = bytearray(original)
            for at in rng.integers(0, len(data), rng.integers(1, 12)):
                data[at] = rng.integers(0, 256)
            if rng.random() < 0.4:
                data = data[: rng.integers(1, len(data))]
            try:
                photo = decode(bytes(data), LIMITS)
            except ServiceError as error:
                statuses.append(error.status)
            else:
                assert photo.rgb.ndim == 3
    assert len(statuses) > 50
    assert set(statuses) <= {413, 415, 422}
