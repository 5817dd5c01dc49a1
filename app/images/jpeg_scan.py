"""Proof that a JPEG is whole without decoding its pixels, for the files that nearly all cameras and platforms write.

libjpeg never fails on the bits of a baseline scan (ITU-T T.81, annex F): codes that do not exist, too few and too many
of them only cost picture quality. It fails on what stands in front of the scan, and on a file that ends inside of it.
So it is enough to see where the scan ends, which is at the first marker, and to decode the file with an empty scan.
Files of any other build are decoded in full.
"""

from __future__ import annotations

import re

_BASELINE = (0xC0, 0xC1)
_OTHER_FRAMES = frozenset({*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xDA), 0xFF})
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # stuffed bytes and restarts belong to the scan


def without_pixels(data: bytes) -> bytes | None:
    """Give a JPEG that a decoder refuses exactly if it refuses this one, but that costs next to nothing to decode.

    Args:
        data: The whole file; beginning with the marker of a JPEG.

    Returns:
        The file with an empty scan, or None if there is no such short cut: it is progressive, has several scans, ends
        without a mark of its end, or has anything else in it that is not usual.
    """
    at, components = 2, 0
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        kind, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind in _OTHER_FRAMES or kind in _WITHOUT_LENGTH or size < 2 or at + 2 + size >= len(data):
            return None
        if kind in _BASELINE:
            if components:
                return None
            components = data[at + 9] if size > 8 else 0
        at += 2 + size
        if kind == _START_OF_SCAN:
            in_scan = data[at - size + 2]
            end = _NEXT_MARKER.search(data, at)
            is_whole = end is not None and end.group() == _END_OF_IMAGE
            return data[:at] + _END_OF_IMAGE if is_whole and in_scan == components else None
    return None
