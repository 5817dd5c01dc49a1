"""Files that a run hands in: sound ones of many formats and sizes, masks, and bad ones."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from app.bench.bombs import BOMBS
from app.bench.kinds import KINDS, save
from app.bench.mutate import CHANGES, make_hostile
from app.bench.photos import Size, make_pixels
from app.images import Photo
from app.images.png16 import encode_png16
from app.images.tiff import encode_tiff

_SMALL: tuple[Size, ...] = ((40, 56), (200, 150), (512, 384))
_MIDDLE: tuple[Size, ...] = ((800, 600), (1024, 768))
_LARGE: Size = (2400, 1600)
_BOMB_TURN = len(CHANGES) * 5 + 1  # every so many hostile files is a bomb; those come from here
_HEAVY_BYTES = 1_000_000


@dataclass(frozen=True)
class Photos:
    """The files of one run.

    Attributes:
        small: Files of every kind, up to 512 px.
        middle: JPEG and WebP files of up to a megapixel.
        large: A JPEG and a 16-bit PNG of 4 megapixels.
        bombs: Files that must be refused, with the code of the refusal.
        mask: A mask for `masked`.
        masked: A photo to fill.
    """

    small: tuple[bytes, ...]
    middle: tuple[bytes, ...]
    large: tuple[bytes, ...]
    bombs: tuple[tuple[bytes, str], ...]
    mask: bytes
    masked: bytes

    def any(self, chance: random.Random) -> bytes:
        """Give a small or, seldom, a middle one."""
        return chance.choice(self.small if chance.random() < 0.85 else self.middle)


def make_photos(seed: int, *, heavy: bool) -> Photos:
    """Make the files.

    Args:
        seed: Of the grain of photos.
        heavy: Whether bombs of many megabytes are among them.
    """
    small = [kind.make() for kind in KINDS]
    for number, size in enumerate(_SMALL):
        pixels = make_pixels(size, seed + number)
        small += [save(pixels, form) for form in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF")]
    deep = make_pixels((300, 200), seed).astype(np.uint16) * 257
    about = Photo(deep, None, False, None, None, "png", None)
    small += [encode_png16(deep, about), encode_tiff(deep, about)]
    middle = [save(make_pixels(size, seed), form) for size in _MIDDLE for form in ("JPEG", "WEBP")]
    wide = make_pixels(_LARGE, seed)
    wide_deep = wide.astype(np.uint16) * 257
    large = (save(wide, "JPEG", quality=95), encode_png16(wide_deep, about)) if heavy else middle[-1:]
    hole = np.zeros((384, 512), np.uint8)
    hole[100:200, 150:300] = 255
    made = [(bomb.make(), bomb.code) for bomb in BOMBS]
    return Photos(
        small=tuple(small),
        middle=tuple(middle),
        large=tuple(large),
        bombs=tuple((data, code) for data, code in made if heavy or len(data) < _HEAVY_BYTES),
        mask=save(hole, "PNG"),
        masked=save(make_pixels((512, 384), seed), "JPEG"),
    )


def make_bad(index: int, seed: int) -> tuple[str, bytes]:
    """Give a damaged file, other than a bomb, and the name of what was done to it."""
    return make_hostile(index + 1 if index % _BOMB_TURN == 0 else index, seed)
