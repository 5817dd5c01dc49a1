"""The photo formats that the service takes and gives, recognised by their first bytes and never by a name.

Only the decoder of the recognised format is ever started, so the many rarely used ones of Pillow stay out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageFormat:
    """One format.

    Attributes:
        name: Public word, such as "jpeg".
        pillow: Name of the Pillow plugin that reads it.
        media_type: Its registered media type.
        extension: Usual ending of file names, without the dot.
        output: Name of the format of the result when the caller asks for none.
        max_side_px: Longest side that the format can store.
        keeps_16_bit: Whether a result may have 16 bits per sample.
    """

    name: str
    pillow: str
    media_type: str
    extension: str
    output: str
    max_side_px: int
    keeps_16_bit: bool = False


FORMATS: dict[str, ImageFormat] = {
    entry.name: entry
    for entry in (
        ImageFormat("jpeg", "JPEG", "image/jpeg", "jpg", "jpeg", 65_500),
        ImageFormat("png", "PNG", "image/png", "png", "png", 2**31 - 1, keeps_16_bit=True),
        ImageFormat("webp", "WEBP", "image/webp", "webp", "webp", 16_383),
        ImageFormat("avif", "AVIF", "image/avif", "avif", "avif", 32_768),
        ImageFormat("tiff", "TIFF", "image/tiff", "tif", "tiff", 2**31 - 1, keeps_16_bit=True),
        ImageFormat("heic", "HEIF", "image/heic", "heic", "jpeg", 65_535),
        ImageFormat("gif", "GIF", "image/gif", "gif", "png", 65_535),
    )
}

OUTPUT_FORMATS = ("jpeg", "png", "webp", "avif", "tiff")
"""Formats in which a result can be had."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

_KNOWN_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"BM", "a BMP image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"8BPS", "a Photoshop document"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data (send the photo itself, without Content-Encoding)"),
    (b"FUJIFILMCCD-RAW", "a camera raw file"),
)


def sniff_format(data: bytes) -> str | None:
    """Name the format by its first bytes, or None if it is none of ours."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 256)
        # Major brand, four bytes of version, then the compatible brands.
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, size - 3, 4))}
        if brands & _AVIF_BRANDS:
            return "avif"
        if brands & _HEIC_BRANDS:
            return "heic"
    return None


def describe_unknown(data: bytes) -> str:
    """Say in words what bytes seem to be that are no photo of ours."""
    start = data[:64].lstrip()
    for magic, words in _KNOWN_OTHERS:
        if start.startswith(magic) or data.startswith(magic):
            return words
    return "not an image that can be recognised"
