"""Opening a file as far as its header, and refusing what must never be decoded.

Nothing here allocates memory in proportion to what a header claims.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import ExifTags, Image

from app.errors import (
    AnimatedImageError,
    EmptyUploadError,
    ImageTooLargeError,
    InvalidImageError,
    ServiceError,
    UnsupportedFormatError,
    UploadTooLargeError,
)
from app.images.formats import FORMATS, ImageFormat, describe_unknown, sniff_format
from app.images.photo import ImageInfo, ImageLimits
from app.images.structure import check_structure

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
_FIRST_FRAME_COUNTS = ("jpeg", "heic")  # MPO: the others are previews or the second eye; HEIC: the others are a burst
# Each scan of a progressive JPEG walks over the whole picture, so that a small file with thousands of them would keep
# a core busy for hours. Real encoders write about ten; a phone's MPO holds a few pictures.
_MAX_JPEG_SCANS = 100
_MAX_JPEG_SCANS_OF_LARGE = 20
_MAX_JPEG_SCAN_MEGAPIXELS = 500  # scans times megapixels: about a second of a core
# A tile is unpacked in full, also one that is far larger than the picture.
_MAX_TIFF_TILE_PIXELS = 1024 * 1024
_MAX_TIFF_TILE_OVER_PICTURE = 4
_MAX_EXIF_BYTES = 64 * 1024


def inspect(data: bytes, limits: ImageLimits) -> ImageInfo:
    """Read the header of a file and refuse what the service does not take.

    Args:
        data: The whole file.
        limits: Bounds on bytes, pixels, sides and frames.

    Raises:
        EmptyUploadError: There are no bytes.
        UploadTooLargeError: There are too many bytes.
        UnsupportedFormatError: The bytes are in none of our formats.
        InvalidImageError: The format is ours, but the header is damaged, or the file is made to keep a decoder busy.
        ImageTooLargeError: Too many pixels, too long a side, or one side far longer than the other.
        AnimatedImageError: Several frames or pages, or more pictures beside the main one than are allowed.
    """
    with open_image(data, limits) as opened:
        return opened.info


@dataclass(frozen=True)
class OpenedImage:
    """A file whose header was read and found in order.

    Attributes:
        image: The Pillow image, not loaded yet.
        info: What the header says.
        orientation: EXIF orientation (1..8) that is still to be applied after loading.
    """

    image: Image.Image
    info: ImageInfo
    orientation: int


@contextlib.contextmanager
def open_image(data: bytes, limits: ImageLimits) -> Iterator[OpenedImage]:
    """Open a file with the one decoder of its format, checked as by `inspect`; pixels are not decoded yet.

    An error of the decoder inside the block becomes an `InvalidImageError`.
    """
    form = _recognise(data, limits)
    with reading_errors(form):
        image = Image.open(io.BytesIO(data), formats=[form.pillow])
        with image:
            _check_size(image, limits)
            _check_cost(image, form, data)
            frames = _count_frames(image, form, limits)
            orientation = _orientation(image, form, data)
            width, height = image.size[::-1] if orientation in SIDEWAYS else image.size
            info = ImageInfo(form.name, form.media_type, width, height, image.mode, bits_of(image), frames)
            yield OpenedImage(image, info, orientation)


@contextlib.contextmanager
def reading_errors(form: ImageFormat) -> Iterator[None]:
    """Turn whatever Pillow and the libraries below raise on damaged bytes into an `InvalidImageError`."""
    try:
        yield
    except ServiceError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError("The header claims far more pixels than any photo has; it was not decoded.") from error
    # Decoders meet hostile bytes with errors of any type (OSError, SyntaxError, ValueError, struct.error, KeyError,
    # TypeError, ...), and none of them may become a server error.
    except Exception as error:
        raise InvalidImageError(
            f"The {form.name.upper()} file is truncated or damaged and cannot be decoded. Send the whole file."
        ) from error


def bits_of(image: Image.Image) -> int:
    """Give the bits per sample of an image that was opened but not loaded."""
    if image.mode == "1":
        return 1
    if image.mode.startswith("I;16") or any(";16" in raw_mode(tile.args) for tile in image_tiles(image)):
        return 16
    return 8


def image_tiles(image: Image.Image) -> list[Any]:
    """Give the decoder instructions of an opened file (empty for plugins that decode themselves)."""
    return list(getattr(image, "tile", []))


def raw_mode(args: object) -> str:
    """Give the pixel layout in the file from a decoder instruction's arguments, or an empty text."""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _recognise(data: bytes, limits: ImageLimits) -> ImageFormat:
    if not data:
        raise EmptyUploadError("The upload has zero bytes. Send the bytes of a photo.")
    if len(data) > limits.max_bytes:
        raise UploadTooLargeError(f"The file has {len(data):,} bytes; at most {limits.max_bytes:,} are allowed.")
    name = sniff_format(data)
    if name is None:
        raise UnsupportedFormatError(
            f"The upload is {describe_unknown(data)}. Send JPEG, PNG, WebP, AVIF, TIFF, HEIC or a single-frame GIF."
        )
    if name == "heic" and not _register_heif():
        raise UnsupportedFormatError("HEIC needs the pillow-heif package, which is not installed. Send a JPEG instead.")
    check_structure(name, data)
    return FORMATS[name]


@cache
def _register_heif() -> bool:
    """Add the HEIF reader to Pillow on first need, so that a process without such photos does not load it."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


def _check_size(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise InvalidImageError(f"The header claims {width} x {height} pixels.")
    if max(width, height) > limits.max_side_px:
        raise ImageTooLargeError(
            f"The photo is {width:,} x {height:,} pixels; at most {limits.max_side_px:,} pixels per side are allowed."
        )
    if width * height > limits.max_megapixels * 1_000_000:
        raise ImageTooLargeError(
            f"The photo has {width * height / 1_000_000:.1f} megapixels; at most {limits.max_megapixels:g} are allowed."
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise ImageTooLargeError(
            f"The photo is {width:,} x {height:,} pixels; one side may be at most {limits.max_aspect:g} times the "
            "other. Cut it into parts."
        )


def _check_cost(image: Image.Image, form: ImageFormat, data: bytes) -> None:
    """Refuse files whose decoding takes far more time or memory than their pixels do."""
    pixels = image.width * image.height
    if form.name == "jpeg":
        # Counted in the whole file, so also in previews; real files stay far below either bound.
        scans = data.count(b"\xff\xda")
        if scans > _MAX_JPEG_SCANS or (
            scans > _MAX_JPEG_SCANS_OF_LARGE and scans * pixels > _MAX_JPEG_SCAN_MEGAPIXELS * 1_000_000
        ):
            raise InvalidImageError(f"The JPEG file has {scans} scans; no camera or editor writes that.")
    if form.name == "tiff":
        tags = getattr(image, "tag_v2", {})
        width, height = (tags.get(tag, 0) for tag in (ExifTags.Base.TileWidth, ExifTags.Base.TileLength))
        if isinstance(width, int) and isinstance(height, int):
            most = max(_MAX_TIFF_TILE_PIXELS, _MAX_TIFF_TILE_OVER_PICTURE * pixels)
            if width * height > most:
                raise InvalidImageError(
                    f"The TIFF file has tiles of {width:,} x {height:,} pixels for a picture of {image.width:,} x "
                    f"{image.height:,}. Save the photo with smaller tiles or with strips."
                )


def _count_frames(image: Image.Image, form: ImageFormat, limits: ImageLimits) -> int:
    """Count the pictures in a file of which the first or main one counts; refuse animations and pages."""
    if form.name not in _FIRST_FRAME_COUNTS:
        if getattr(image, "is_animated", False):
            raise AnimatedImageError("The file holds more than one frame or page. Send a single picture.")
        return 1
    frames = int(getattr(image, "n_frames", 1))
    if frames > limits.max_frames:
        raise AnimatedImageError(f"The file holds {frames} pictures; at most {limits.max_frames} may lie in one file.")
    return frames


def _orientation(image: Image.Image, form: ImageFormat, data: bytes) -> int:
    """Give the orientation that decoding leaves to us, without decoding anything."""
    if form.name in ("tiff", "heic"):  # Pillow and libheif turn these themselves and report the upright size
        return 1
    if form.name == "png" and "exif" not in image.info and (late := _late_png_exif(data)):
        image.info["exif"] = late
    # The method of the PNG class would decode all pixels in search of a late EXIF chunk.
    exif = Image.Image.getexif(image)
    value = exif.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _late_png_exif(data: bytes) -> bytes | None:
    """Find an EXIF chunk behind the pixel data of a PNG file."""
    at = data.rfind(b"eXIf")
    size = int.from_bytes(data[at - 4 : at], "big") if at >= 4 else 0
    body, crc = data[at + 4 : at + 4 + size], data[at + 4 + size : at + 8 + size]
    if at < 4 or size > _MAX_EXIF_BYTES or int.from_bytes(crc, "big") != zlib.crc32(b"eXIf" + body):
        return None
    return b"Exif\0\0" + body
