"""Turning Pillow's many pixel layouts into gray or RGB with optional alpha, and colours under transparency."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import UnsupportedFormatError
from app.images.photo import PixelArray


def to_plain_mode(image: Image.Image) -> Image.Image:
    """Convert a loaded 8-bit image to mode "L", "LA", "RGB" or "RGBA".

    CMYK goes through its embedded profile when there is one, palettes and colour keys become plain pixels.

    Raises:
        UnsupportedFormatError: Samples are 32-bit numbers without a defined range.
    """
    mode = image.mode
    has_key = "transparency" in image.info
    if mode in ("L", "LA", "RGB", "RGBA") and not has_key:
        return image
    if mode in ("1", "L"):
        return image.convert("L").convert("LA") if has_key and mode == "1" else image.convert("LA" if has_key else "L")
    if mode in ("RGB", "P", "PA"):
        return image.convert("RGBA" if has_key or mode == "PA" else "RGB")
    if mode in ("La", "RGBa"):
        return image.convert("LA" if mode == "La" else "RGBA")
    if mode in ("CMYK", "LAB"):
        return _convert_by_profile(image)
    if mode in ("RGBX", "YCbCr", "HSV"):
        return image.convert("RGB")
    if mode in ("LA", "RGBA"):
        return image
    raise UnsupportedFormatError(
        f"Pixels of type {mode} (32 bits per sample) have no defined range. Save the photo with 8 or 16 bits."
    )


def _convert_by_profile(image: Image.Image) -> Image.Image:
    """Convert CMYK or LAB to sRGB by colour management, or by Pillow's plain formula where that is not possible."""
    from PIL import ImageCms  # only few photos need the colour engine

    icc = image.info.get("icc_profile")
    try:
        if image.mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif icc:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        else:
            return image.convert("RGB")
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        converted = ImageCms.profileToProfile(
            image,
            source,
            target,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = None  # a profile that does not fit the pixels is worth no refusal
    if converted is not None:
        return converted
    if image.mode == "LAB":
        raise UnsupportedFormatError("LAB pixels cannot be converted here. Save the photo as RGB.")
    return image.convert("RGB")


def gray_to_srgb(gray: npt.NDArray[np.uint8], icc: bytes) -> npt.NDArray[np.uint8]:
    """Give gray samples (H, W, 1) as their profile means them in sRGB, or as they are where the profile is unusable."""
    from PIL import ImageCms  # only few photos need the colour engine

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        converted = ImageCms.profileToProfile(Image.fromarray(gray[..., 0]), source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = None
    return gray if converted is None else np.asarray(converted)[..., :1]


def bleed_colour(rgb: PixelArray, alpha: PixelArray) -> PixelArray:
    """Replace the colours of fully transparent pixels by those of the visible pixels around them.

    Editors leave black or rubbish there; a model that looks at neighbourhoods would pull it into the visible edge.

    Args:
        rgb: Colours (H, W, 3).
        alpha: Opacity (H, W); only zeros matter.

    Returns:
        New colours where any pixel was transparent, otherwise `rgb` itself.
    """
    seen = alpha > 0
    if seen.all() or not seen.any():
        return rgb
    height, width = seen.shape
    # Sums over 2x2 blocks of visible pixels, level by level up to one pixel.
    colour = _halve(np.where(seen[..., None], rgb, 0).astype(rgb.dtype))
    weight = _halve(seen[..., None].astype(np.uint8))
    levels = []
    while max(colour.shape[:2]) > 1:
        levels.append((colour, weight))
        known = weight > 0
        colour, weight = _halve(_mean(colour, weight)), _halve(known.astype(np.float32))
    # Down again: what a level does not know comes from the one above, and the top level knows something.
    filled = _mean(colour, weight)
    for colour, weight in reversed(levels):
        filled = np.where(weight > 0, _mean(colour, weight), _double(filled, *colour.shape[:2]))
    background = np.rint(_double(filled, height, width)).astype(rgb.dtype)
    return np.where(seen[..., None], rgb, background)


def _mean(colour: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Divide sums by their counts; zero where nothing was counted."""
    return np.divide(colour, weight, out=np.zeros_like(colour), where=weight > 0)


def _halve(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Sum 2x2 blocks of (H, W, C); an odd last row or column counts with zeros beside it."""
    height, width, channels = samples.shape
    total = np.zeros(((height + 1) // 2, (width + 1) // 2, channels), np.float32)
    for top in (0, 1):
        for left in (0, 1):
            part = samples[top::2, left::2]
            total[: part.shape[0], : part.shape[1]] += part
    return total


def _double(samples: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Repeat every pixel 2x2 and cut to the given size."""
    return np.repeat(np.repeat(samples, 2, axis=0), 2, axis=1)[:height, :width]
