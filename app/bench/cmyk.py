"""A CMYK profile to measure and test with: real ones belong to somebody."""

from __future__ import annotations

import itertools
import struct

import numpy as np

from app.images.profiles import pack_profile

# Lightness and colour (a, b) of each ink alone on white paper; inks on each other multiply and add up.
_INKS = ((0.60, -36.0, -44.0), (0.50, 68.0, -4.0), (0.92, -6.0, 84.0), (0.12, 0.0, 0.0))


def cmyk_profile() -> bytes:
    """Give a profile of a printer with four inks, as a table of its 16 full overprints."""
    corners = []
    for amounts in itertools.product((0, 1), repeat=4):  # the first ink changes slowest
        lightness = float(np.prod([ink[0] for ink, amount in zip(_INKS, amounts, strict=True) if amount]))
        a, b = (sum(ink[i] for ink, amount in zip(_INKS, amounts, strict=True) if amount) * lightness for i in (1, 2))
        corners += [round(255 * lightness), round(128 + a) & 255, round(128 + b) & 255]
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if index % 4 == 0 else 0 for index in range(9)))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + straight * 4 + bytes(corners) + straight * 3
    return pack_profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})
