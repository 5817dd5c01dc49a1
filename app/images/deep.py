"""Sixteen bits per sample with three or four channels, which Pillow reads as eight.

Pillow's file readers reach every compression, filter and interlacing, but its unpackers keep only the high byte of a
sample. The same file read a second time with the byte order of the unpacker turned round yields the low bytes, so two
ordinary decodes give the full depth. Where that is not possible the caller falls back to eight bits.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.images.header import image_tiles, raw_mode

_OTHER_ORDER = {"B": "L", "L": "B", "N": "B"}


def is_deep_colour(image: Image.Image) -> bool:
    """Tell whether an opened, not yet loaded file holds 16-bit samples that Pillow would cut to eight."""
    tiles = image_tiles(image)
    return bool(tiles) and all(raw_mode(tile.args)[:-1] in ("RGB;16", "RGBA;16", "LA;16") for tile in tiles)


def read_deep_colour(data: bytes, pillow_format: str) -> npt.NDArray[np.uint16]:
    """Decode a file for which `is_deep_colour` is true, at full depth.

    Args:
        data: The whole file.
        pillow_format: Pillow's name of its format.

    Returns:
        Samples (H, W, C); C is 2 for gray with alpha, 3, or 4 with alpha.

    Raises:
        ValueError: This Pillow version gives no way to the low bytes.
    """
    with Image.open(io.BytesIO(data), formats=[pillow_format]) as image:
        layout = raw_mode(image_tiles(image)[0].args)
    if layout == "LA;16B":
        # Two 16-bit samples take as many bits as four 8-bit ones, so the pixel can be read as it lies in the file.
        pixels = _read(data, pillow_format, "RGBA").astype(np.uint16)
        return np.stack((pixels[..., 0] << 8 | pixels[..., 1], pixels[..., 2] << 8 | pixels[..., 3]), axis=-1)
    if layout[:-1] not in ("RGB;16", "RGBA;16"):
        raise ValueError(f"the sample layout is {layout!r}; expected RGB;16, RGBA;16 or LA;16 with a byte order")
    deep = _read(data, pillow_format, layout).astype(np.uint16)
    deep <<= 8
    deep |= _read(data, pillow_format, layout[:-1] + _OTHER_ORDER[layout[-1]])
    return deep


def _read(data: bytes, pillow_format: str, layout: str) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=[pillow_format]) as image:
        image.tile = [
            tile._replace(args=(layout, *tile.args[1:]) if isinstance(tile.args, tuple) else layout)
            for tile in image_tiles(image)
        ]
        image.load()
        return np.asarray(image)
