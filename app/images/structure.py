"""Walks over a file's container before any decoder sees it: how many parts it has, and no more.

Readers take the parts one by one, in Python, and glue some of them together, which takes time by the square of their
number. A file of a few megabytes made of empty parts would keep them busy for minutes and fill a gigabyte. Each walk
here ends at its bound, early whatever the file is. What is broken is left to the decoder to refuse.
"""

from __future__ import annotations

from app.errors import InvalidImageError

_MAX_JPEG_SEGMENTS = 2_000  # 64 KiB each: more than any file may have if they are full
_MAX_JPEG_EXIF_SEGMENTS = 64  # one is the rule
_MAX_PNG_CHUNKS = 1_000  # beside those with pixels
_MAX_PNG_PACKED_TEXTS = 24  # each may unpack to a megabyte
_MIN_PNG_PIXEL_CHUNK_BYTES = 1_024  # on average; libpng writes 8 KiB
_MAX_GIF_BLOCKS = 5_000  # beside those with pixels
_MIN_GIF_PIXEL_BLOCK_BYTES = 200  # on average; encoders write 255
_SPARE_PARTS = 1_000  # small files may be cut more finely
_JPEG_STARTS_OF_PIXELS = (0xDA, 0xD9)
_JPEG_WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xD9), 0xFF)
_PNG_SIGNATURE_BYTES = 8
_GIF_HEADER_BYTES = 13
_GIF_PICTURE_BYTES = 10


def check_structure(name: str, data: bytes) -> None:
    """Refuse a file that is cut into absurdly many parts.

    Args:
        name: Name of its format; those whose containers are read by compiled code are not walked over.
        data: The whole file.

    Raises:
        InvalidImageError: It has more parts than any camera or editor writes.
    """
    walk = {"jpeg": _walk_jpeg, "png": _walk_png, "gif": _walk_gif}.get(name)
    if walk is not None:
        walk(data)


def _refuse(form: str, parts: str) -> InvalidImageError:
    return InvalidImageError(f"The {form} file has more {parts} than any camera or editor writes. Save the photo anew.")


def _walk_jpeg(data: bytes) -> None:
    """Count the segments in front of the pixels."""
    at, count, exif = 2, 0, 0
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)  # readers skip what is no marker
            if at < 0:
                return
            continue
        kind = data[at + 1]
        if kind in _JPEG_STARTS_OF_PIXELS:
            return
        count += 1
        exif += kind == 0xE1 and data[at + 4 : at + 8] == b"Exif"
        if count > _MAX_JPEG_SEGMENTS or exif > _MAX_JPEG_EXIF_SEGMENTS:
            raise _refuse("JPEG", "segments")
        if kind in _JPEG_WITHOUT_LENGTH:
            at += 1 if kind == 0xFF else 2
        else:
            at += 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)


def _walk_png(data: bytes) -> None:
    at, pixels, others, texts = _PNG_SIGNATURE_BYTES, 0, 0, 0
    most_pixels = _SPARE_PARTS + len(data) // _MIN_PNG_PIXEL_CHUNK_BYTES
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            return
        if kind == b"IDAT":
            pixels += 1
        else:
            others += 1
            texts += kind in (b"zTXt", b"iTXt")
        if pixels > most_pixels or others > _MAX_PNG_CHUNKS or texts > _MAX_PNG_PACKED_TEXTS:
            raise _refuse("PNG", "chunks")
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _walk_gif(data: bytes) -> None:
    if len(data) < _GIF_HEADER_BYTES:
        return
    at = _GIF_HEADER_BYTES + _gif_colours(data[10])
    most_pixels = _SPARE_PARTS + len(data) // _MIN_GIF_PIXEL_BLOCK_BYTES
    pixels, others = 0, 0
    while at < len(data):
        kind = data[at]
        is_picture = kind == 0x2C
        if kind == 0x3B or (is_picture and at + _GIF_PICTURE_BYTES > len(data)):
            return  # the end
        others += 1
        if is_picture:  # its place, its colours, the size of its codes
            at += _GIF_PICTURE_BYTES + _gif_colours(data[at + 9]) + 1
        elif kind == 0x21:  # an extension and its label
            at += 2
        else:
            at += 1  # readers skip what is no block
            if others > _MAX_GIF_BLOCKS:
                raise _refuse("GIF", "blocks")
            continue
        count, at = _skip_gif_blocks(data, at, most_pixels if is_picture else _MAX_GIF_BLOCKS)
        pixels, others = (pixels + count, others) if is_picture else (pixels, others + count)
        if pixels > most_pixels or others > _MAX_GIF_BLOCKS:
            raise _refuse("GIF", "blocks")


def _skip_gif_blocks(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Give how many blocks lie at a place, up to one above a bound, and where the next part is."""
    count = 0
    while at < len(data) and count <= most and (size := data[at]):
        at += 1 + size
        count += 1
    return count, at + 1


def _gif_colours(flags: int) -> int:
    """Give the bytes of a colour table by the flags in front of it."""
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0
