"""Photos between bytes and arrays: limits, decoding and encoding. No torch, Redis or web framework in here."""

from app.images.decode import check, check_mask_size, check_quickly, decode, decode_mask
from app.images.encode import (
    DEFAULT_QUALITY_FACTOR,
    METADATA_CHOICES,
    EncodeOptions,
    check_output,
    encode,
    output_format,
)
from app.images.formats import FORMATS, OUTPUT_FORMATS, ImageFormat, sniff_format
from app.images.header import inspect
from app.images.photo import ImageInfo, ImageLimits, Photo, PixelArray
from app.images.provenance import Setting, read_settings

__all__ = [
    "DEFAULT_QUALITY_FACTOR",
    "FORMATS",
    "METADATA_CHOICES",
    "OUTPUT_FORMATS",
    "EncodeOptions",
    "ImageFormat",
    "ImageInfo",
    "ImageLimits",
    "Photo",
    "PixelArray",
    "Setting",
    "check",
    "check_mask_size",
    "check_output",
    "check_quickly",
    "decode",
    "decode_mask",
    "encode",
    "inspect",
    "output_format",
    "read_settings",
    "sniff_format",
]
