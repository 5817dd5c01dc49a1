"""Bytes to upright pixels, in full or only to prove that they can be decoded."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from app.errors import InvalidImageError, InvalidMaskError
from app.images.colour import bleed_colour, to_plain_mode
from app.images.deep import is_deep_colour, read_deep_colour
from app.images.formats import FORMATS, sniff_format
from app.images.header import SIDEWAYS, inspect, open_image, reading_errors
from app.images.jpeg_scan import without_pixels
from app.images.metadata import kept_dpi, kept_exif, kept_icc
from app.images.photo import ImageInfo, ImageLimits, Photo, PixelArray
from app.images.profiles import profile_of_png
from app.images.structure import check_structure

_MASK_THRESHOLD = 128
_QUICK_BYTES = 1024 * 1024
_QUICK_PIXELS = 4_000_000


def decode(data: bytes, limits: ImageLimits) -> Photo:
    """Decode a photo: upright, RGB, alpha apart, 16 bits kept where the file had them.

    Args:
        data: The whole file.
        limits: Bounds, checked on the header first.

    Raises:
        ServiceError: As `inspect`, and `InvalidImageError` for pixels that cannot be decoded.
    """
    with open_image(data, limits) as opened:
        image, info = opened.image, opened.info
        deep_colour = is_deep_colour(image)
        _load(image, info)
        exif = kept_exif(image, info.width, info.height)
        if deep_colour:
            samples = _deep_samples(data, info.format, image)
        elif image.mode.startswith("I;16"):
            samples = _deep_gray(image)
        else:
            plain = to_plain_mode(image)
            samples = np.asarray(plain)
        is_managed = image.mode in ("CMYK", "LAB")  # converted to sRGB, so the old profile no longer fits
        icc = None if is_managed else image.info.get("icc_profile")
        if icc is None and info.format == "png":
            icc = profile_of_png(image, is_gray=samples.ndim == 2 or samples.shape[2] <= 2)
        dpi = kept_dpi(image.info.get("dpi"), is_sideways=opened.orientation in SIDEWAYS)
    if samples.ndim == 2:
        samples = samples[..., None]
    samples = turn_upright(samples, opened.orientation)
    channels = samples.shape[2]
    is_gray = channels <= 2
    alpha = np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None
    colours = samples[..., :1] if is_gray else samples[..., :3]
    rgb: PixelArray = np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))
    if alpha is not None:
        rgb = bleed_colour(rgb, alpha)
    return Photo(rgb, alpha, is_gray, kept_icc(icc, is_gray=is_gray), exif, info.format, dpi)


def check(data: bytes, limits: ImageLimits) -> ImageInfo:
    """Decode every byte of a photo without keeping the pixels, so that damage shows before a job exists.

    Args:
        data: The whole file.
        limits: Bounds, checked on the header first.

    Raises:
        ServiceError: As `decode`.
    """
    with open_image(data, limits) as opened:
        image, info = opened.image, opened.info
        if info.format == "jpeg":
            _load_jpeg_small(image, without_pixels(data))
        else:
            _load(image, info)
            if image.mode in ("I", "F"):
                to_plain_mode(image)  # refuses them with the reason
        return info


def check_quickly(data: bytes, limits: ImageLimits) -> ImageInfo | None:
    """Do what `check` does for files where that takes about a millisecond; give None, unchecked, for all others.

    Nearly all uploads are such files, and handing them to a thread would take longer than looking at them.

    Raises:
        ServiceError: As `check`.
    """
    if len(data) > _QUICK_BYTES or sniff_format(data) != "jpeg":
        return None
    check_structure("jpeg", data)  # before any other walk over it, because this one has a bound
    short = without_pixels(data)
    if short is None:
        return None
    with open_image(data, limits) as opened:
        if opened.info.width * opened.info.height > _QUICK_PIXELS:
            return None
        _load_jpeg_small(opened.image, short)
        return opened.info


def decode_mask(data: bytes, limits: ImageLimits, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Decode a mask of missing parts: white is missing, black (or transparent) is kept.

    Args:
        data: The whole file, in any of the photo formats.
        limits: Bounds, checked on the header first.
        width: Upright width of the photo in pixels.
        height: Upright height of the photo in pixels.

    Returns:
        (H, W), True where the photo has a hole.

    Raises:
        InvalidMaskError: The mask has another size.
        ServiceError: As `decode`.
    """
    check_mask_size(inspect(data, limits), width, height)
    mask = decode(data, limits)
    scale = 257 if mask.rgb.dtype == np.uint16 else 1
    light = mask.rgb.max(axis=2)
    holes: npt.NDArray[np.bool_] = light >= _MASK_THRESHOLD * scale
    return holes if mask.alpha is None else holes & (mask.alpha >= _MASK_THRESHOLD * scale)


def check_mask_size(info: ImageInfo, width: int, height: int) -> None:
    """Refuse a mask that does not cover the photo pixel by pixel.

    Raises:
        InvalidMaskError: The sizes differ.
    """
    if (info.width, info.height) != (width, height):
        raise InvalidMaskError(
            f"The mask is {info.width} x {info.height} pixels, the photo {width} x {height} (upright). "
            "Send a mask of the same size: white where the photo is missing, black elsewhere."
        )


def turn_upright(samples: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Apply an EXIF orientation (1..8) to samples (H, W, C)."""
    if orientation in SIDEWAYS:
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def _load_jpeg_small(image: Image.Image, short: bytes | None) -> None:
    """Load a JPEG, or what stands for it, at an eighth of its size."""
    with contextlib.nullcontext(image) if short is None else Image.open(io.BytesIO(short), formats=["JPEG"]) as small:
        # All entropy-coded data is read either way; small pixels save nine tenths of time and memory.
        small.draft(None, (1, 1))
        small.load()


def _load(image: Image.Image, info: ImageInfo) -> None:
    image.load()
    # libheif may find another size than the header promised; all limits were checked against the header.
    if sorted(image.size) != sorted((info.width, info.height)):
        raise InvalidImageError(
            f"The header says {info.width} x {info.height} pixels, the picture has {image.width} x {image.height}."
        )


def _deep_gray(image: Image.Image) -> npt.NDArray[np.uint16]:
    gray = np.asarray(image).astype(np.uint16)  # also into this machine's byte order
    tags = getattr(image, "tag_v2", None)
    if tags is not None and tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        gray = np.iinfo(np.uint16).max - gray  # white is zero; Pillow inverts only 8-bit samples
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return gray
    return np.stack((gray, np.where(gray == key, 0, 65535).astype(np.uint16)), axis=-1)


def _deep_samples(data: bytes, name: str, image: Image.Image) -> npt.NDArray[Any]:
    """Give 16-bit samples, or the 8-bit ones of the loaded image if this Pillow hides the low bytes."""
    try:
        with reading_errors(FORMATS[name]):
            deep = read_deep_colour(data, FORMATS[name].pillow)
    except InvalidImageError:
        return np.asarray(to_plain_mode(image))
    key = image.info.get("transparency")
    if not isinstance(key, tuple) or deep.shape[2] != 3:
        return deep
    opaque = np.where((deep == np.array(key, np.uint16)).all(axis=-1), 0, 65535).astype(np.uint16)
    return np.concatenate((deep, opaque[..., None]), axis=-1)
