"""Files of the kinds that people have, made on the spot: format, layout, depth, colours and metadata differ."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from app.bench.cmyk import cmyk_profile
from app.images import Photo
from app.images.png16 import encode_png16
from app.images.profiles import gray_profile, rgb_profile
from app.images.tiff import encode_tiff

WIDTH, HEIGHT = 96, 64
_DISPLAY_P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
_ADOBE_RGB = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_JPEG_PREVIEW_BYTES = b"\xff\xd8\xff\xe0 the damaged photo, small \xff\xd9"


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: In words.
        make: Gives a file of it.
    """

    name: str
    make: Callable[[], bytes]


def make_samples(channels: int = 3, depth: int = 8) -> npt.NDArray[Any]:
    """Samples (HEIGHT, WIDTH, C), smooth, with a half-transparent edge in the last channel of 2 and 4."""
    x = np.linspace(0, 1, WIDTH)[None, :].repeat(HEIGHT, 0)
    y = np.linspace(0, 1, HEIGHT)[:, None].repeat(WIDTH, 1)
    planes = [x, y, (x + y) / 2]
    planes = (planes[:1] if channels <= 2 else planes) + ([np.clip(4 - 5 * x, 0, 1)] if channels in (2, 4) else [])
    full: npt.NDArray[Any] = np.rint(np.stack(planes, axis=-1) * (2**depth - 1))
    return full.astype(np.uint8 if depth == 8 else np.uint16)


def make_exif(orientation: int = 1, *, has_preview: bool = False) -> bytes:
    """An EXIF block with a camera, a time, a place and, if asked for, a preview picture."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Software] = "camera firmware 1.0"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: "2024:05:06 07:08:09",
        ExifTags.Base.ExifImageWidth: WIDTH,
        ExifTags.Base.ExifImageHeight: HEIGHT,
        ExifTags.Base.MakerNote: b"maker's note",
    }
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (52.0, 31.0, 12.5), 3: "E", 4: (13.0, 24.0, 36.0)}
    if not has_preview:
        return exif.tobytes()
    exif[ExifTags.Base.JpegIFByteCount] = len(_JPEG_PREVIEW_BYTES)
    exif[ExifTags.Base.JpegIFOffset] = 0
    block = exif.tobytes()
    preview_at = (len(block) - 6).to_bytes(4, "little" if block[6:8] == b"II" else "big")
    entry = ExifTags.Base.JpegIFOffset.to_bytes(2, "little" if block[6:8] == b"II" else "big")
    at = block.index(entry) + 8  # tag, type and count come before the value
    return block[:at] + preview_at + block[at + 4 :] + _JPEG_PREVIEW_BYTES


def save(samples: npt.NDArray[Any] | Image.Image, form: str, **options: Any) -> bytes:
    """Give the file that Pillow writes."""
    if form == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    image = samples if isinstance(samples, Image.Image) else Image.fromarray(samples.squeeze())
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def _cmyk(form: str, **options: Any) -> bytes:
    return save(Image.fromarray(make_samples()).convert("CMYK"), form, **options)


def _photo(samples: npt.NDArray[Any], icc: bytes | None) -> Photo:
    """What the writers of deep files take metadata from; they read nothing else of it."""
    return Photo(samples[..., :3], None, samples.shape[2] <= 2, icc, make_exif(), "png", (300.0, 300.0))


def _phone() -> bytes:
    first = Image.fromarray(make_samples())
    return save(first, "MPO", save_all=True, append_images=[first.rotate(180)], exif=make_exif(6), quality=95)


KINDS: tuple[Kind, ...] = (
    Kind(
        "JPEG, turned, with preview",
        lambda: save(make_samples(), "JPEG", quality=95, exif=make_exif(6, has_preview=True), dpi=(300, 300)),
    ),
    Kind(
        "JPEG, Display P3",
        lambda: save(make_samples(), "JPEG", quality=95, icc_profile=rgb_profile(_DISPLAY_P3, 2.2), exif=make_exif()),
    ),
    Kind(
        "JPEG, gray with its profile",
        lambda: save(make_samples(1), "JPEG", quality=95, icc_profile=gray_profile(1.8), exif=make_exif(3)),
    ),
    Kind(
        "JPEG, CMYK with profile",
        lambda: _cmyk("JPEG", quality=95, icc_profile=cmyk_profile(), exif=make_exif(8)),
    ),
    Kind("JPEG, CMYK without profile", lambda: _cmyk("JPEG", quality=95)),
    Kind("MPO of a phone, turned", _phone),
    Kind("PNG, transparent", lambda: save(make_samples(4), "PNG", dpi=(300, 300), exif=make_exif())),
    Kind(
        "PNG, 16 bit, transparent",
        lambda: encode_png16(make_samples(4, 16), _photo(make_samples(4, 16), rgb_profile(_ADOBE_RGB, 2.2))),
    ),
    Kind(
        "PNG, palette with key",
        lambda: save(Image.fromarray(make_samples()).quantize(64), "PNG", transparency=5, exif=make_exif()),
    ),
    Kind("WebP, transparent", lambda: save(make_samples(4), "WEBP", quality=95, exif=make_exif(5))),
    Kind("AVIF, transparent", lambda: save(make_samples(4), "AVIF", quality=95, exif=make_exif(7))),
    Kind("TIFF, CMYK, LZW", lambda: _cmyk("TIFF", compression="tiff_lzw", icc_profile=cmyk_profile(), dpi=(300, 300))),
    Kind(
        "TIFF, 16 bit",
        lambda: encode_tiff(make_samples(3, 16), _photo(make_samples(3, 16), rgb_profile(_ADOBE_RGB, 2.2))),
    ),
    Kind("TIFF, 16 bit gray", lambda: encode_tiff(make_samples(1, 16), _photo(make_samples(1, 16), gray_profile(2.2)))),
    Kind("HEIC, turned", lambda: save(make_samples(), "HEIF", quality=95, exif=make_exif(6))),
    Kind("GIF", lambda: save(Image.fromarray(make_samples()).quantize(64), "GIF")),
)
"""The rows of the round-trip table."""
