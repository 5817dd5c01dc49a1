"""Photos between bytes and arrays: limits, decoding and encoding. No torch, Redis or web framework in here."""

from app.images.decode import check, check_mask_size, decode, decode_mask
from app.images.encode import check_output, encode, output_format
from app.images.formats import FORMATS, OUTPUT_FORMATS, ImageFormat, sniff_format
from app.images.header import inspect
from app.images.photo import ImageInfo, ImageLimits, Photo, PixelArray

__all__ = [
    "FORMATS",
    "OUTPUT_FORMATS",
    "ImageFormat",
    "ImageInfo",
    "ImageLimits",
    "Photo",
    "PixelArray",
    "check",
    "check_mask_size",
    "check_output",
    "decode",
    "decode_mask",
    "encode",
    "inspect",
    "output_format",
    "sniff_format",
]
