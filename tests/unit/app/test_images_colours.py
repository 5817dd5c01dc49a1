"""Colours are right: inks by their profile, wide colours with theirs, gray where a format has no gray."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from app.bench.cmyk import cmyk_profile
from app.images import OUTPUT_FORMATS, ImageLimits, Photo, decode, encode
from app.images.profiles import gray_profile, rgb_profile
from tests.support import sample_photos as samples

LIMITS = ImageLimits()
DISPLAY_P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
SRGB = (0.3127, 0.329, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def shown(photo: Photo) -> np.ndarray:
    """The colours as a viewer with colour management shows them on an sRGB screen."""
    if photo.icc is None:
        return photo.rgb
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    image = Image.fromarray(photo.rgb[..., 0] if photo.is_gray else photo.rgb)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(photo.icc))
    return np.asarray(ImageCms.profileToProfile(image, profile, target, outputMode="RGB"))


def mean_error(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left.astype(float) - right).mean())


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_become_the_colours_that_their_profile_says(form: str) -> None:
    # Yellow paper: what Pillow's own formula makes (255, 255, 0) is darker and warmer in this profile.
    image = Image.new("CMYK", (16, 16), (0, 0, 255, 0))
    options = {"quality": 100} if form == "JPEG" else {}
    photo = decode(samples.saved(image, form, icc_profile=cmyk_profile(), **options), LIMITS)
    expected = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile())),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert mean_error(photo.rgb, np.asarray(expected)) < 3
    assert mean_error(photo.rgb, np.full((16, 16, 3), (255, 255, 0))) > 5
    assert photo.icc is None


@pytest.mark.parametrize("profile", [None, cmyk_profile()], ids=["no profile", "profile"])
def test_inverted_inks_of_jpeg_files_are_turned(profile: bytes | None) -> None:
    # Pillow writes CMYK as Photoshop does, 0 for full ink, and marks it so.
    data = samples.saved(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), "JPEG", icc_profile=profile)
    assert b"Adobe" in data
    assert decode(data, LIMITS).rgb.max() < 80  # black ink is black


@pytest.mark.parametrize("form", OUTPUT_FORMATS)
def test_wide_colours_look_the_same_in_every_format(form: str) -> None:
    profile = rgb_profile(DISPLAY_P3, 2.2)
    photo = decode(samples.png(icc_profile=profile), LIMITS)
    assert photo.icc == profile
    back = decode(encode(photo, photo.rgb, form)[0], LIMITS)
    assert mean_error(shown(back), shown(photo)) < 4
    assert mean_error(photo.rgb, shown(photo)) > 3  # so losing the profile would have been seen


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("form", OUTPUT_FORMATS)
def test_gray_looks_the_same_in_every_format(form: str, gamma: float) -> None:
    image = Image.fromarray(samples.pixels()[..., 0])
    photo = decode(samples.saved(image, "PNG", icc_profile=gray_profile(gamma)), LIMITS)
    back = decode(encode(photo, photo.rgb, form)[0], LIMITS)
    assert mean_error(shown(back), shown(photo)) < 4
    if gamma == 1.0:
        assert mean_error(photo.rgb, shown(photo)) > 20


def test_gray_with_alpha_and_profile_keeps_its_alpha() -> None:
    image = Image.fromarray(samples.pixels(channels=2))
    photo = decode(samples.saved(image, "PNG", icc_profile=gray_profile(1.0)), LIMITS)
    back = decode(encode(photo, photo.rgb, "webp")[0], LIMITS)
    assert back.alpha is not None
    assert np.array_equal(back.alpha, samples.pixels(channels=2)[..., 1])


def test_damaged_gray_profile_is_passed_over() -> None:
    profile = gray_profile(1.0)[:128] + bytes(200)
    photo = decode(samples.saved(Image.fromarray(samples.pixels()[..., 0]), "PNG", icc_profile=profile), LIMITS)
    assert mean_error(decode(encode(photo, photo.rgb, "webp")[0], LIMITS).rgb, photo.rgb) < 4


def png_with(*chunks: bytes, mode: str = "RGB") -> bytes:
    plain = samples.png(mode=mode)
    return plain[:33] + b"".join(chunks) + plain[33:]


def gamma_chunk(gamma: float) -> bytes:
    return samples.chunk(b"gAMA", struct.pack(">I", round(100_000 / gamma)))


def light_chunk(primaries: tuple[float, ...]) -> bytes:
    return samples.chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in primaries)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_gamma_of_a_png_becomes_a_profile(mode: str) -> None:
    photo = decode(png_with(gamma_chunk(1.0), mode=mode), LIMITS)
    linear = samples.picture(mode=mode).convert("RGB")
    light = np.asarray(linear) / 255
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert mean_error(shown(photo), expected) < 2


def test_primaries_of_a_png_become_a_profile() -> None:
    photo = decode(png_with(gamma_chunk(2.2), light_chunk(DISPLAY_P3)), LIMITS)
    assert photo.icc == rgb_profile(DISPLAY_P3, 100_000 / round(100_000 / 2.2))


def test_png_that_says_srgb_in_other_words_gets_no_profile() -> None:
    for chunks in (
        (gamma_chunk(2.2),),
        (gamma_chunk(2.2), light_chunk(SRGB)),
        (samples.chunk(b"sRGB", b"\0"), gamma_chunk(1.0)),
        (gamma_chunk(2.2), light_chunk((0.3, 0.3, *(0.2, 0.2) * 3))),  # no colours: all lights are one
        (gamma_chunk(2.2), light_chunk((0.3, 0.0, *SRGB[2:]))),
        (gamma_chunk(90.0),),
        (samples.chunk(b"gAMA", bytes(4)),),
    ):
        assert decode(png_with(*chunks), LIMITS).icc is None


def test_profile_of_srgb_primaries_is_srgb() -> None:
    photo = Photo(samples.pixels(), None, False, rgb_profile(SRGB, 2.2), None, "png")
    middle = samples.pixels()[:, 12:36]  # its curve is a pure power, which differs in the shadows
    assert mean_error(shown(photo)[:, 12:36], middle) < 3
