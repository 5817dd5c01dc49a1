"""The values that pass between bytes and the model: limits, what a header says, and a decoded photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from app.settings import Settings

PixelArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Samples of 8 bits (0..255) or 16 bits (0..65535)."""


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before anything is decoded.

    Attributes:
        max_bytes: Largest file in bytes.
        max_megapixels: Most millions of pixels. Pillow's own guard adds a ceiling of 178 that no setting lifts.
        max_side_px: Longest side in pixels.
        max_aspect: Most times that the longer side may be the shorter one. A row of pixels is no photo, but takes the
            memory of a row of tiles.
        max_frames: Most pictures in a file of which only the main one counts (HEIC bursts, previews in MPO files);
            animations and pages are always refused.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_megapixels: float = 50.0
    max_side_px: int = 20_000
    max_aspect: float = 200.0
    max_frames: int = 100

    @classmethod
    def of(cls, settings: Settings) -> ImageLimits:
        """Give the limits that the settings ask for."""
        return cls(
            settings.max_upload_bytes,
            settings.max_megapixels,
            settings.max_side_px,
            settings.max_aspect_ratio,
            settings.max_frames,
        )


@dataclass(frozen=True)
class ImageInfo:
    """What the header of a file says.

    Attributes:
        format: Name of the format, see `app.images.formats`.
        media_type: Media type that belongs to it.
        width: Width in pixels as a viewer shows it (EXIF orientation applied).
        height: Height in pixels as a viewer shows it.
        mode: Pixel layout in Pillow's words, such as "RGB" or "CMYK".
        bits: Bits per sample: 1, 8 or 16.
        frames: Pictures in the file; above 1 only where the first one stands for the photo (MPO, HEIC).
    """

    format: str
    media_type: str
    width: int
    height: int
    mode: str
    bits: int
    frames: int


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo, upright.

    Attributes:
        rgb: Colours (H, W, 3), uint8, or uint16 where the file had 16 bits per sample.
        alpha: Opacity (H, W) of the same type as `rgb`, or None without transparency.
        is_gray: Whether the file held gray values only; the three channels of `rgb` are then equal.
        icc: Colour profile that belongs to the colours, or None (sRGB is then meant).
        exif: EXIF block that starts with "Exif", without an orientation, or None.
        format: Name of the format of the file.
        dpi: Dots per inch across and down, or None if the file does not say.
    """

    rgb: PixelArray
    alpha: PixelArray | None
    is_gray: bool
    icc: bytes | None
    exif: bytes | None
    format: str
    dpi: tuple[float, float] | None = None

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.rgb.shape[0])
