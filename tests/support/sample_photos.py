"""Small photos of every kind, made on the spot: a smooth picture in which each corner has its own colour."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

ORIENTATION = 0x0112


def pixels(width: int = 48, height: int = 32, channels: int = 3, depth: int = 8) -> npt.NDArray[Any]:
    """Samples (H, W, C): channel 0 rises to the right, 1 downwards, 2 along the diagonal, 3 is opaque on the left."""
    top = 2**depth - 1
    x = np.linspace(0, 1, width)[None, :].repeat(height, 0)
    y = np.linspace(0, 1, height)[:, None].repeat(width, 1)
    planes = [x, y, (x + y) / 2, (x < 0.75).astype(float)]
    if channels == 2:
        planes = [planes[0], planes[3]]
    stacked = np.stack(planes[:channels], axis=-1)
    return np.rint(stacked * top).astype(np.uint8 if depth == 8 else np.uint16)


def picture(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    """The same as a Pillow image."""
    if mode == "RGBA":
        return Image.fromarray(pixels(width, height, 4))
    return Image.fromarray(pixels(width, height)).convert(mode)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


def jpeg(width: int = 48, height: int = 32, orientation: int | None = None, **options: Any) -> bytes:
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        exif[0x010F] = "Maker"
        exif[0x8769] = {0xA002: width, 0xA003: height, 0x9003: "2024:05:06 07:08:09"}
        options["exif"] = exif
    return saved(picture(width, height), "JPEG", quality=95, **options)


def png(width: int = 48, height: int = 32, mode: str = "RGB", **options: Any) -> bytes:
    return saved(picture(width, height, mode), "PNG", **options)


def heic(**options: Any) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return saved(picture(64, 48), "HEIF", quality=90, **options)


def animated(form: str) -> bytes:
    frames = [picture(), picture().rotate(180)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:])


def mpo() -> bytes:
    return saved(picture(), "MPO", save_all=True, append_images=[picture().rotate(180)])


def png_header_only(width: int, height: int) -> bytes:
    """A PNG whose header claims any size, with pixel data for a few bytes only."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png16(samples: npt.NDArray[np.uint16], transparent: tuple[int, ...] | None = None) -> bytes:
    """A 16-bit PNG written without the code under test (no row filters)."""
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = np.zeros((height, 1 + width * channels * 2), np.uint8)
    rows[:, 1:] = np.ascontiguousarray(samples.astype(">u2")).reshape(height, -1).view(np.uint8)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    if transparent is not None:
        parts.append(chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    return b"".join([*parts, chunk(b"IDAT", zlib.compress(rows.tobytes())), chunk(b"IEND", b"")])


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
