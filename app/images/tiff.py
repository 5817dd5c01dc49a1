"""A writer of TIFF files: lossless Deflate with horizontal differences, 8 or 16 bits per sample.

Pillow's compressed writer takes neither 16-bit colours nor an EXIF directory; its directory class does the tags here.
"""

from __future__ import annotations

import io
import struct
import zlib
from itertools import accumulate

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from app.images.photo import Photo, PixelArray

_ROWS_AT_ONCE = 256
_COMPRESSION_LEVEL = 6
_UNDEFINED = 7  # type number of bytes without meaning to a reader
_ICC_TAG = 34675
_BYTE = 1
_XMP_TAG = 700


def encode_tiff(samples: PixelArray, photo: Photo, xmp: bytes | None = None) -> bytes:
    """Write a little-endian TIFF file.

    Args:
        samples: (H, W, C) with C 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha).
        photo: Gives profile, resolution and EXIF block; a block that a TIFF directory cannot hold is left out.
        xmp: XMP packet, or None.
    """
    strips = [_strip(samples[top : top + _ROWS_AT_ONCE]) for top in range(0, len(samples), _ROWS_AT_ONCE)]
    try:
        directory = _directory(samples, strips, photo, photo.exif, xmp)
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        directory = _directory(samples, strips, photo, None, xmp)
    return b"".join([directory, *strips])


def _strip(rows: PixelArray) -> bytes:
    differences = rows.astype(rows.dtype.newbyteorder("<"))
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.tobytes(), _COMPRESSION_LEVEL)


def _directory(samples: PixelArray, strips: list[bytes], photo: Photo, exif: bytes | None, xmp: bytes | None) -> bytes:
    height, width, channels = samples.shape
    tags = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    if exif is not None:
        kept = Image.Exif()
        kept.load(exif)
        for tag, value in kept.items():
            if tag not in tuple(ExifTags.IFD):
                tags[tag] = value
        for block in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if entries := kept.get_ifd(block):
                tags[block] = dict(entries)
    tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength] = width, height
    tags[ExifTags.Base.BitsPerSample] = (samples.dtype.itemsize * 8,) * channels
    tags[ExifTags.Base.Compression] = 8  # Deflate
    tags[ExifTags.Base.PhotometricInterpretation] = 1 if channels <= 2 else 2  # black is zero, or RGB
    tags[ExifTags.Base.SamplesPerPixel] = channels
    tags[ExifTags.Base.RowsPerStrip] = _ROWS_AT_ONCE
    tags[ExifTags.Base.PlanarConfiguration] = 1  # the samples of a pixel lie together
    tags[ExifTags.Base.Predictor] = 2  # horizontal differences
    if channels in (2, 4):
        tags[ExifTags.Base.ExtraSamples] = 2  # alpha that is not multiplied into the colours
    if photo.icc is not None:
        tags.tagtype[_ICC_TAG] = _UNDEFINED
        tags[_ICC_TAG] = photo.icc
    if xmp is not None:
        tags.tagtype[_XMP_TAG] = _BYTE
        tags[_XMP_TAG] = xmp
    if photo.dpi is not None:
        tags[ExifTags.Base.XResolution], tags[ExifTags.Base.YResolution] = photo.dpi
        tags[ExifTags.Base.ResolutionUnit] = 2  # inch
    sizes = [len(strip) for strip in strips]
    tags[ExifTags.Base.StripByteCounts] = tuple(sizes)
    # Pillow adds the length of the directory, which lies before the strips.
    tags[ExifTags.Base.StripOffsets] = tuple(accumulate([0, *sizes[:-1]]))
    target = io.BytesIO()
    tags.save(target)
    return target.getvalue()
