"""ICC profiles for files that describe their colours in other words, as PNG does with gAMA and cHRM chunks.

Without one the result would be taken for sRGB and look paler, darker or lighter than the upload did.
Layout by ICC.1:2001-04 (version 2 profiles, which every reader knows).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

_D50 = np.array([0.9642, 1.0, 0.8249])
_SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # white, red, green, blue
_SRGB_GAMMA = 2.2
_NEAR = 0.01
_MAX_GAMMA = 5.0
# Cone responses by Bradford, in which white points are exchanged.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def profile_of_png(image: Image.Image, *, is_gray: bool) -> bytes | None:
    """Give a profile for what the gAMA and cHRM chunks of a PNG file say, or None if that is about sRGB or nonsense.

    Args:
        image: An opened PNG file.
        is_gray: Whether the result will have gray pixels.
    """
    if "srgb" in image.info:
        return None
    stored, chromaticity = image.info.get("gamma"), image.info.get("chromaticity")
    gamma = 1 / stored if isinstance(stored, float) and stored > 0 else _SRGB_GAMMA
    primaries = chromaticity if isinstance(chromaticity, tuple) and len(chromaticity) == 8 else _SRGB_PRIMARIES
    is_srgb_gamma = abs(gamma / _SRGB_GAMMA - 1) < _NEAR * 5
    if not 1 / _MAX_GAMMA < gamma < _MAX_GAMMA:
        return None
    if is_gray:
        return None if is_srgb_gamma else gray_profile(gamma)
    if is_srgb_gamma and max(abs(a - b) for a, b in zip(primaries, _SRGB_PRIMARIES, strict=True)) < _NEAR:
        return None
    try:
        return rgb_profile(primaries, gamma)
    except (np.linalg.LinAlgError, ZeroDivisionError, struct.error):
        return None  # colours that no light has


def rgb_profile(primaries: Sequence[float], gamma: float) -> bytes:
    """Give a profile of an RGB space.

    Args:
        primaries: x and y of white, red, green and blue.
        gamma: Exponent that turns samples (0..1) into light.

    Raises:
        numpy.linalg.LinAlgError: The primaries lie on a line.
        ZeroDivisionError: A y is zero.
        struct.error: The colours do not fit the numbers of a profile.
    """
    white, *lights = [_xyz(x, y) for x, y in zip(primaries[::2], primaries[1::2], strict=True)]
    columns = np.stack(lights, axis=1)
    columns = _to_d50(white) @ (columns * np.linalg.solve(columns, white))
    curve = _curve(gamma)
    tags = {name: _xyz_tag(columns[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return pack_profile(b"mntr", b"RGB ", b"XYZ ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def gray_profile(gamma: float) -> bytes:
    """Give a profile of gray samples by the exponent that turns them (0..1) into light."""
    return pack_profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def _xyz(x: float, y: float) -> npt.NDArray[np.float64]:
    if y == 0:
        raise ZeroDivisionError("the chromaticity has y = 0; expected a colour of light")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_d50(white: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the matrix that moves colours under a white point to that of all profiles."""
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted: npt.NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD
    return adapted


def _fixed(values: Sequence[float] | npt.NDArray[np.float64]) -> bytes:
    return struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _xyz_tag(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _curve(gamma: float) -> bytes:
    return struct.pack(">4sIIHxx", b"curv", 0, 1, round(gamma * 256))


def pack_profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Give the bytes of a profile.

    Args:
        kind: Signature of its class, such as b"mntr".
        space: Signature of the colours that it describes.
        connection: Signature of the space that it translates to, b"XYZ " or b"Lab ".
        tags: What it says, beside name and white point, each by its signature; of lengths that are multiples of 4.
    """
    name = b"from the image file\0"
    described = struct.pack(">4sII", b"desc", 0, len(name)) + name + bytes(78)
    everything = {
        b"desc": described + bytes(-len(described) % 4),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": _xyz_tag(_D50),
        **tags,
    }
    at = 128 + 4 + 12 * len(everything)
    table, bodies = struct.pack(">I", len(everything)), b""
    for tag, body in everything.items():
        table += struct.pack(">4sII", tag, at + len(bodies), len(body))
        bodies += body
    header = struct.pack(">I4xI4s4s4s12x4s", at + len(bodies), 0x02100000, kind, space, connection, b"acsp")
    return header.ljust(68, b"\0") + _fixed(_D50) + bytes(48) + table + bodies
