"""Pixels back to bytes, with the alpha, grayness, profile, EXIF block, resolution and depth of the photo."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from app.errors import InvalidOptionError
from app.images.colour import gray_to_srgb
from app.images.formats import FORMATS, OUTPUT_FORMATS, ImageFormat
from app.images.metadata import change_exif
from app.images.photo import Photo, PixelArray
from app.images.png16 import encode_png16
from app.images.provenance import Setting, pack_settings, software_name
from app.images.tiff import encode_tiff

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ROWS_AT_ONCE = 512
_GRAY_AS_RGB = ("webp", "avif")
DEFAULT_QUALITY_FACTOR = 92
"""For JPEG, WebP and AVIF, where a caller asks for none."""
METADATA_CHOICES = ("keep", "strip", "strip-gps")
"""What may happen to a photo's metadata, in public words."""


@dataclass(frozen=True)
class EncodeOptions:
    """How a result is written, beside its format.

    Attributes:
        quality_factor: 1..100 for JPEG, WebP and AVIF, by the scale of each; PNG and TIFF lose nothing in any case.
        metadata: "keep" all that travels on; "strip" it, except the ICC profile, without which colours would be others;
            or "strip-gps", which leaves out the place and the maker's note.
        settings: How the photo was restored, by names in lower_snake_case. They are written into the result unless
            metadata is "strip". Must hold no paths.
    """

    quality_factor: int = DEFAULT_QUALITY_FACTOR
    metadata: str = "keep"
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.quality_factor <= 100:
            raise InvalidOptionError(f"The quality_factor is {self.quality_factor}; expected 1 to 100.")
        if self.metadata not in METADATA_CHOICES:
            raise InvalidOptionError(f"metadata is {self.metadata!r}; expected one of {', '.join(METADATA_CHOICES)}.")


_AS_EVER = EncodeOptions()


def output_format(source: str, wanted: str | None) -> ImageFormat:
    """Give the format of a result.

    Args:
        source: Name of the format of the upload.
        wanted: What the caller asked for; None means that of the upload (JPEG for HEIC, PNG for GIF).

    Raises:
        InvalidOptionError: There is no such output format.
    """
    name = wanted or FORMATS[source].output
    if name not in OUTPUT_FORMATS:
        raise InvalidOptionError(f"The format is {name!r}; expected one of {', '.join(OUTPUT_FORMATS)}.")
    return FORMATS[name]


def check_output(source: str, wanted: str | None, width: int, height: int) -> None:
    """Refuse an output format that cannot hold a photo of this size.

    Raises:
        InvalidOptionError: There is no such format, or its sides are too short.
    """
    form = output_format(source, wanted)
    if max(width, height) > form.max_side_px:
        raise InvalidOptionError(
            f"{form.name.upper()} holds at most {form.max_side_px:,} pixels per side; the photo is {width:,} x "
            f"{height:,}. Ask for another format, such as png."
        )


def encode(photo: Photo, rgb: PixelArray, format: str | None, options: EncodeOptions = _AS_EVER) -> tuple[bytes, str]:
    """Write restored colours as a file like the one the photo came in.

    JPEG has no transparency: there the photo is put on white. Only PNG and TIFF keep 16 bits.

    Args:
        photo: The decoded upload; gives alpha, grayness, ICC profile, EXIF block and default format.
        rgb: Restored colours (H, W, 3) of the size of `photo.rgb`, uint8 or uint16.
        format: Output format, or None for that of the upload.
        options: Quality, what metadata travels on, and the settings to write down.

    Returns:
        The file and its media type.

    Raises:
        InvalidOptionError: The format is unknown or too small for the photo.
        ValueError: `rgb` has another shape or type.
    """
    if rgb.shape != photo.rgb.shape or rgb.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"rgb is {rgb.dtype} {rgb.shape}; expected uint8 or uint16 {photo.rgb.shape}, the size of the photo"
        )
    check_output(photo.format, format, photo.width, photo.height)
    form = output_format(photo.format, format)
    depth = rgb.dtype if form.keeps_16_bit else np.dtype(np.uint8)
    colours = _to_depth(rgb, depth)
    samples: npt.NDArray[Any] = to_gray(colours)[..., None] if photo.is_gray else colours
    photo, xmp = _apply_metadata(photo, options)
    if photo.is_gray and photo.icc is not None and form.name in _GRAY_AS_RGB:
        # A profile for gray does not describe what these store.
        samples, photo = gray_to_srgb(samples, photo.icc), replace(photo, icc=None)
    if photo.alpha is not None:
        alpha: npt.NDArray[Any] = _to_depth(photo.alpha, depth)
        if form.name == "jpeg":
            samples = _put_on_white(samples, alpha)
        else:
            samples = np.concatenate((samples, alpha[..., None]), axis=-1)
    if form.name == "tiff":
        return encode_tiff(samples, photo, xmp), form.media_type
    if depth == np.uint16:
        return encode_png16(samples, photo, xmp), form.media_type
    return _write(samples, form, photo, xmp, options.quality_factor), form.media_type


def _apply_metadata(photo: Photo, options: EncodeOptions) -> tuple[Photo, bytes | None]:
    """Give the photo with the metadata that is to be written, and the XMP packet if there is to be one."""
    if options.metadata == "strip":
        return replace(photo, exif=None, dpi=None), None
    software = software_name(options.settings) if options.settings else None
    exif = change_exif(photo.exif, keeps_place=options.metadata == "keep", software=software)
    return replace(photo, exif=exif), pack_settings(options.settings) if options.settings else None


def to_gray(rgb: PixelArray) -> PixelArray:
    """Give the luma (H, W) of colours (H, W, 3), in the same type."""
    gray = np.empty(rgb.shape[:2], rgb.dtype)
    for top in range(0, len(rgb), _ROWS_AT_ONCE):  # floats of the whole photo would take four times its memory
        gray[top : top + _ROWS_AT_ONCE] = np.rint(rgb[top : top + _ROWS_AT_ONCE].astype(np.float32) @ _LUMA)
    return gray


def _to_depth(samples: PixelArray, depth: np.dtype[Any]) -> PixelArray:
    if samples.dtype == depth:
        return samples
    if depth == np.uint16:
        wide = samples.astype(np.uint16)
        wide *= 257
        return wide
    # Rounds to the nearest of 0..255, as x / 257 would.
    return ((samples.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)


def _put_on_white(samples: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    opacity = alpha[..., None].astype(np.uint16)
    mixed = samples * opacity + 255 * (255 - opacity)
    return ((mixed + 127) // 255).astype(np.uint8)


def _write(samples: npt.NDArray[np.uint8], form: ImageFormat, photo: Photo, xmp: bytes | None, quality: int) -> bytes:
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else np.ascontiguousarray(samples))
    options: dict[str, Any] = {"icc_profile": photo.icc}
    if photo.exif is not None:
        options["exif"] = photo.exif
    if photo.dpi is not None and form.name in ("jpeg", "png"):
        options["dpi"] = photo.dpi
    if xmp is not None and form.name == "png":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = texts
    elif xmp is not None:
        options["xmp"] = xmp
    if form.name == "jpeg":
        # Full colour resolution: restored edges would smear at half of it.
        options |= {"quality": quality, "subsampling": 0}
    elif form.name == "webp":
        options |= {"quality": quality, "method": 4}
    elif form.name == "avif":
        options |= {"quality": quality, "subsampling": "4:4:4"}
    target = io.BytesIO()
    image.save(target, form.pillow, **options)
    return target.getvalue()
