"""Photos to measure with: slopes and grain, since the time does not depend on what a photo shows. Needs no torch."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Size = tuple[int, int]
"""Width and height in pixels."""

SIZES: dict[str, Size] = {
    "thumbnail": (256, 256),
    "512": (512, 512),
    "2 MP": (1600, 1200),
    "24 MP": (6000, 4000),
}
"""Named sizes of photos, smallest first."""

SHARES: dict[str, float] = {"thumbnail": 4.0, "512": 4.0, "2 MP": 2.0, "24 MP": 0.1}
"""How often each size comes in mixed traffic; need not add up to 1."""


def sizes_up_to(largest: str) -> dict[str, float]:
    """Shares of the named sizes up to one of them.

    Raises:
        ValueError: There is no size of that name.
    """
    if largest not in SIZES:
        raise ValueError(f"got size {largest!r}, expected one of {', '.join(SIZES)}")
    names = list(SIZES)
    return {name: SHARES[name] for name in names[: names.index(largest) + 1]}


def make_pixels(size: Size, seed: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of slopes with grain."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(seed).integers(0, 32, (height, width, 3))
    return (np.stack([rows // 4, columns // 4, (rows + columns) // 8], -1) % 224 + grain).astype(np.uint8)


def make_file(size: Size, seed: int, image_format: str = "JPEG") -> bytes:
    """The bytes of a photo as a file ("JPEG" or "PNG")."""
    target = io.BytesIO()
    Image.fromarray(make_pixels(size, seed)).save(
        target, image_format, **({"quality": 88} if image_format == "JPEG" else {})
    )
    return target.getvalue()
