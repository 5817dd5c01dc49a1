"""What of a file's metadata travels on: EXIF block without orientation, fitting ICC profile, dots per inch.

Also the changes that a caller may ask for: the place left out, the name of the software written in.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL import ExifTags, Image

_MAX_EXIF_BYTES = 65_533 - 6  # what one JPEG segment can hold
_MAX_ICC_BYTES = 4 * 1024 * 1024
_ICC_HEADER_BYTES = 128
_MAX_DPI = 65_535  # JPEG has two bytes for it

# Tags that describe how the old file stored its pixels. In a TIFF file they lie among the EXIF tags.
_LAYOUT_TAGS = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 284, 288, 289),
        *(290, 291, 292, 293, 297, 301, 317, 320, 321, 322, 323, 324, 325, 330, 332, 334, 336, 337, 338, 339, 340, 341),
        *(342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 700, 33723, 34377, 34675, 37724),
    }
)
_KEPT_BLOCKS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# GeoTIFF: scale and corners of a map, its matrix, keys and their values; GDAL's notes.
_PLACE_TAGS = frozenset({33550, 33922, 34264, 34735, 34736, 34737, 42112})
_BROKEN_EXIF = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error)


def kept_exif(image: Image.Image, width: int, height: int) -> bytes | None:
    """Give the EXIF block for the result, or None if there is none or it is damaged or too large.

    The orientation tag goes (the pixels are turned), and so does the embedded preview, which shows the old photo.
    A maker's note goes where the block would else be too large for a JPEG file.

    Args:
        image: The opened file.
        width: Upright width in pixels, written into the block.
        height: Upright height in pixels.
    """
    try:
        old = image.getexif()
        tags = {tag: value for tag, value in old.items() if tag not in _LAYOUT_TAGS and tag not in tuple(ExifTags.IFD)}
        blocks = {block: dict(old.get_ifd(block)) for block in _KEPT_BLOCKS}
        details = blocks[ExifTags.IFD.Exif]
        details.pop(ExifTags.IFD.Interop, None)
        for tag, side in ((ExifTags.Base.ExifImageWidth, width), (ExifTags.Base.ExifImageHeight, height)):
            if tag in details:
                details[tag] = side
        packed = _pack_exif(tags, blocks)
        if packed is None and details.pop(ExifTags.Base.MakerNote, None) is not None:
            packed = _pack_exif(tags, blocks)  # the notes of some cameras are larger than all else together
    except _BROKEN_EXIF:
        return None  # cameras and editors write broken blocks; the photo matters more
    return packed


def change_exif(exif: bytes | None, *, keeps_place: bool, software: str | None) -> bytes | None:
    """Give an EXIF block with what a caller asked for changed, or None if nothing is left.

    Without the place, the GPS and GeoTIFF fields go, and so does the maker's note: only the maker knows what it tells.

    Args:
        exif: A block made by `kept_exif`, or None.
        keeps_place: Whether fields that tell the place stay.
        software: What made the file, or None to leave what the block says.
    """
    if keeps_place and software is None:
        return exif
    try:
        old = Image.Exif()
        if exif is not None:
            old.load(exif)
        tags = {tag: value for tag, value in old.items() if tag not in tuple(ExifTags.IFD)}
        blocks = {block: dict(old.get_ifd(block)) for block in _KEPT_BLOCKS}
        if not keeps_place:
            tags = {tag: value for tag, value in tags.items() if tag not in _PLACE_TAGS}
            del blocks[ExifTags.IFD.GPSInfo]
            blocks[ExifTags.IFD.Exif].pop(ExifTags.Base.MakerNote, None)
        if software is not None:
            tags[ExifTags.Base.Software] = software
        return _pack_exif(tags, blocks)
    except _BROKEN_EXIF:
        return exif if keeps_place else None  # rather nothing than a place that was to go


def _pack_exif(tags: dict[int, Any], blocks: dict[ExifTags.IFD, dict[int, Any]]) -> bytes | None:
    """Give the block, or None if it is empty or more than a JPEG file can hold."""
    new = Image.Exif()
    for tag, value in tags.items():
        new[tag] = value
    for block, entries in blocks.items():
        if entries:
            new[block] = entries
    packed = new.tobytes() if len(new) else b""
    return packed if 0 < len(packed) <= _MAX_EXIF_BYTES else None


def kept_dpi(dpi: object, *, is_sideways: bool) -> tuple[float, float] | None:
    """Give dots per inch (across, down) of the upright photo, or None if the file says nothing believable.

    Args:
        dpi: What the file carried, as Pillow gives it.
        is_sideways: Whether turning the photo upright swaps its sides.
    """
    if not isinstance(dpi, tuple) or len(dpi) != 2:
        return None
    try:
        across, down = float(dpi[0]), float(dpi[1])
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not (1 <= across <= _MAX_DPI and 1 <= down <= _MAX_DPI):  # false for NaN too
        return None
    return (down, across) if is_sideways else (across, down)


def kept_icc(icc: object, *, is_gray: bool) -> bytes | None:
    """Give a colour profile if it is one for the pixels of the result, otherwise None.

    Args:
        icc: What the file carried.
        is_gray: Whether the result has gray pixels (a profile for RGB would make the file invalid, and vice versa).
    """
    if not isinstance(icc, bytes) or not _ICC_HEADER_BYTES <= len(icc) <= _MAX_ICC_BYTES:
        return None
    colour_space = icc[16:20]
    return icc if colour_space == (b"GRAY" if is_gray else b"RGB ") else None
