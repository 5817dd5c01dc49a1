"""A writer of PNG files with 16 bits per sample, which Pillow has for gray only."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from app.images.photo import Photo

_ROWS_AT_ONCE = 256
_COMPRESSION_LEVEL = 4  # 16-bit photos hardly shrink further, and level 9 takes ten times longer
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_SUB, _UP = 1, 2
_EXIF_PREFIX = b"Exif\0\0"
_METRES_PER_INCH = 0.0254


def encode_png16(samples: npt.NDArray[np.uint16], photo: Photo, xmp: bytes | None = None) -> bytes:
    """Write a PNG file with 16 bits per sample.

    Args:
        samples: (H, W, C) with C 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha).
        photo: Gives profile, EXIF block and resolution.
        xmp: XMP packet, or None.
    """
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header)]
    if photo.icc is not None:
        parts.append(_chunk(b"iCCP", b"icc\0\0" + zlib.compress(photo.icc)))
    if photo.dpi is not None:
        across, down = (round(dots / _METRES_PER_INCH) for dots in photo.dpi)
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    if photo.exif is not None:
        parts.append(_chunk(b"eXIf", photo.exif.removeprefix(_EXIF_PREFIX)))
    if xmp is not None:
        # Uncompressed, in no language.
        parts.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    parts += [_chunk(b"IDAT", _png_rows(samples)), _chunk(b"IEND", b"")]
    return b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _png_rows(samples: npt.NDArray[np.uint16]) -> bytes:
    """Filter and compress the rows: each as differences to the left or to above, whichever is smaller."""
    height, width, channels = samples.shape
    pixel_bytes = channels * 2
    packer = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    parts = []
    above = np.zeros((1, width * pixel_bytes), np.uint8)
    for top in range(0, height, _ROWS_AT_ONCE):
        rows = samples[top : top + _ROWS_AT_ONCE].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        left = rows.copy()
        left[:, pixel_bytes:] -= rows[:, :-pixel_bytes]
        up = rows - np.concatenate((above, rows[:-1]))
        above = rows[-1:]
        is_up = _size(up) < _size(left)
        kinds = np.where(is_up, _UP, _SUB).astype(np.uint8)
        lines = np.concatenate((kinds[:, None], np.where(is_up[:, None], up, left)), axis=1)
        parts.append(packer.compress(lines.tobytes()))
    parts.append(packer.flush())
    return b"".join(parts)


def _size(differences: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Give the sum of absolute signed differences per row."""
    sums: npt.NDArray[np.int64] = np.abs(differences.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
    return sums
