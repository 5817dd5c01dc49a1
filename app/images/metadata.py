"""What of a file's metadata travels on: EXIF block without orientation, fitting ICC profile, dots per inch."""

from __future__ import annotations

import struct

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


def kept_exif(image: Image.Image, width: int, height: int) -> bytes | None:
    """Give the EXIF block for the result, or None if there is none or it is damaged or too large.

    The orientation tag goes (the pixels are turned), and so does the embedded preview, which shows the old photo.

    Args:
        image: The opened file.
        width: Upright width in pixels, written into the block.
        height: Upright height in pixels.
    """
    try:
        old = image.getexif()
        new = Image.Exif()
        for tag, value in old.items():
            if tag not in _LAYOUT_TAGS and tag not in tuple(ExifTags.IFD):
                new[tag] = value
        for block in _KEPT_BLOCKS:
            entries = dict(old.get_ifd(block))
            if block is ExifTags.IFD.Exif:
                entries.pop(ExifTags.IFD.Interop, None)
                for tag, side in ((ExifTags.Base.ExifImageWidth, width), (ExifTags.Base.ExifImageHeight, height)):
                    if tag in entries:
                        entries[tag] = side
            if entries:
                new[block] = entries
        packed = new.tobytes() if len(new) else b""
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error):
        return None  # cameras and editors write broken blocks; the photo matters more
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
