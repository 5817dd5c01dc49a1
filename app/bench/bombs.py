"""Files that are small and cost much: huge sizes in the header, huge text, endless parts, endless passes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from app.bench.kinds import make_samples, save

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Bomb:
    """One file that must be refused.

    Attributes:
        name: In words.
        code: Public code of the error that refuses it.
        make: Gives the file.
    """

    name: str
    code: str
    make: Callable[[], bytes]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, *between: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(64)))
    return b"".join((_PNG_SIGNATURE, header, *between, pixels, _chunk(b"IEND", b"")))


def _jpeg(*segments: bytes) -> bytes:
    plain = save(make_samples(), "JPEG")
    return b"".join((plain[:2], *segments, plain[2:]))


def _jpeg_of_size(width: int, height: int) -> bytes:
    data = bytearray(save(make_samples(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _jpeg_of_scans(count: int) -> bytes:
    data = save(make_samples(), "JPEG", progressive=True)
    end = data.rindex(b"\xff\xd9")
    return data[:end] + data[data.rindex(b"\xff\xda") : end] * count + data[end:]


def _gif(width: int, height: int, *between: bytes) -> bytes:
    plain = save(Image.fromarray(make_samples()[..., 0]), "GIF")
    picture_at = plain.index(b"\x2c", 13 + 3 * (2 << (plain[10] & 7)))
    header = plain[:6] + struct.pack("<HH", width, height) + plain[10:picture_at]
    return b"".join((header, *between, plain[picture_at:]))


def _tiff(width: int, height: int, tile: tuple[int, int] | None = None) -> bytes:
    pixels = zlib.compress(bytes(1000))
    tags = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (277, 1)]
    tags += [(322, tile[0]), (323, tile[1])] if tile else [(278, height)]
    entries = 2 + 12 * (len(tags) + 2) + 4
    tags += [(324 if tile else 273, 8 + entries), (325 if tile else 279, len(pixels))]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(4) + pixels


def _tiff_of_pages(count: int) -> bytes:
    page = _tiff(16, 16)
    directory = page[8 : page.index(b"x\x9c")]
    parts = []
    for number in range(count):
        following = 8 + len(directory) * (number + 1) if number + 1 < count else 0
        parts.append(directory[:-4] + struct.pack("<I", following))
    return page[:8] + b"".join(parts)


def _boxed(form: str, width: int, height: int) -> bytes:
    """A file whose image size box claims something else."""
    data = save(make_samples(), form)
    start = data.index(b"ispe") + 8
    return data[:start] + struct.pack(">II", width, height) + data[start + 8 :]


def _webp(width: int, height: int) -> bytes:
    data = save(make_samples(4), "WEBP")
    start = data.index(b"VP8X") + 12
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return data[:start] + size + data[start + 6 :]


BOMBS: tuple[Bomb, ...] = (
    Bomb("PNG of 2 billion pixels a side", "image_too_large", lambda: _png(2**31 - 1, 2**31 - 1)),
    Bomb("PNG of 400 megapixels", "image_too_large", lambda: _png(19_999, 19_999)),
    Bomb("PNG, one pixel high", "image_too_large", lambda: _png(20_000, 1)),
    Bomb("JPEG of 65,500 pixels a side", "image_too_large", lambda: _jpeg_of_size(65_500, 65_500)),
    Bomb("GIF of 65,535 pixels a side", "image_too_large", lambda: _gif(65_535, 65_535)),
    Bomb("TIFF of 1 million pixels a side", "image_too_large", lambda: _tiff(10**6, 10**6)),
    Bomb("WebP of 16 million pixels a side", "image_too_large", lambda: _webp(2**24, 2**24)),
    Bomb("AVIF of 100,000 pixels a side", "invalid_image", lambda: _boxed("AVIF", 100_000, 100_000)),
    Bomb("AVIF of 30,000 pixels a side", "invalid_image", lambda: _boxed("AVIF", 30_000, 30_000)),
    Bomb("HEIC of 30,000 pixels a side", "image_too_large", lambda: _boxed("HEIF", 30_000, 30_000)),
    Bomb("TIFF, 1 gigabyte tile of a small picture", "invalid_image", lambda: _tiff(16, 16, (32_768, 32_768))),
    Bomb("TIFF of 100,000 pages", "animated_image", lambda: _tiff_of_pages(100_000)),
    Bomb("PNG, 200 texts that unpack to a megabyte", "invalid_image", lambda: _png(8, 8, _packed_text() * 200)),
    Bomb("PNG, 1 million empty chunks", "invalid_image", lambda: _png(8, 8, _chunk(b"tEXt", b"") * 1_000_000)),
    Bomb("JPEG, 5 million empty segments", "invalid_image", lambda: _jpeg(b"\xff\xe5\0\x02" * 5_000_000)),
    Bomb("JPEG, 1 million tiny EXIF segments", "invalid_image", lambda: _jpeg(b"\xff\xe1\0\x09Exif\0\0x" * 1_000_000)),
    Bomb("JPEG, 10,000 scans", "invalid_image", lambda: _jpeg_of_scans(10_000)),
    Bomb("GIF, 5 million comments", "invalid_image", lambda: _gif(96, 64, b"\x21\xfe\x01a\0" * 5_000_000)),
    Bomb("GIF, comment in 10 million pieces", "invalid_image", lambda: _gif(96, 64, b"\x21\xfe" + b"\x01a" * 10**7)),
    Bomb("more bytes than allowed", "upload_too_large", lambda: _jpeg() + bytes(64 * 1024 * 1024)),
)
"""Files that must be refused from the header."""


def _packed_text() -> bytes:
    return _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9))
