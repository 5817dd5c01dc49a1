"""Hostile uploads, made from real files by chance: the same number and seed give the same bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np

from app.bench.bombs import BOMBS
from app.bench.kinds import KINDS

_MAX_FLIPS = 24
_MAX_SPARE_BYTES = 4096
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_OTHER_FILES = (b"%PDF-1.7\n%%EOF", b"PK\x03\x04" + bytes(40), b"<html><script>alert(1)</script></html>", b"\x7fELF")
_SIGNATURES = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"MM\0+", b"RIFF\0\0\0\0WEBP")

Change = Callable[[bytes, np.random.Generator], bytes]


@cache
def originals() -> tuple[bytes, ...]:
    """Give the files that all others are made from."""
    return tuple(kind.make() for kind in KINDS)


def make_hostile(index: int, seed: int) -> tuple[str, bytes]:
    """Give one hostile upload and the name of what was done to it.

    Args:
        index: Number of the upload; the ways to change a file take turns.
        seed: Of everything random.
    """
    rng = np.random.default_rng((seed, index))
    if index % _BOMB_EVERY == 0:
        bomb = BOMBS[index // _BOMB_EVERY % len(BOMBS)]
        return "bomb", bomb.make()
    names = list(CHANGES)
    name = names[index % len(names)]
    return name, CHANGES[name](_pick(rng), rng)


def _pick(rng: np.random.Generator) -> bytes:
    files = originals()
    return files[int(rng.integers(len(files)))]


def _flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(0, len(changed), int(rng.integers(1, _MAX_FLIPS))):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _flip_header_bits(data: bytes, rng: np.random.Generator) -> bytes:
    head = min(len(data), 256)
    return _flip_bits(data[:head], rng) + data[head:]


def _overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    at, size = int(rng.integers(len(data))), int(rng.integers(1, 64))
    return data[:at] + rng.bytes(size) + data[at + size :]


def _truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _repeat_or_drop(data: bytes, rng: np.random.Generator) -> bytes:
    at, size = int(rng.integers(len(data))), int(rng.integers(1, _MAX_SPARE_BYTES))
    times = int(rng.choice((0, 2, 20)))
    return data[:at] + data[at : at + size] * times + data[at + size :]


def _set_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Lengths, counts, offsets and sizes go to where arithmetic breaks."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        # Mostly in front, where such numbers lie.
        reach = len(changed) if rng.random() < 0.3 else min(len(changed), 512)
        at = int(rng.integers(0, max(reach - 4, 1)))
        value = int(rng.choice(_EXTREMES))
        form = str(rng.choice((">I", "<I", ">H", "<H")))
        number = struct.pack(form, value & (0xFFFFFFFF if form[1] == "I" else 0xFFFF))
        changed[at : at + len(number)] = number
    return bytes(changed)


def _confuse(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of one format on the body of another."""
    signature = _SIGNATURES[int(rng.integers(len(_SIGNATURES)))]
    return signature + (data if rng.random() < 0.5 else data[len(signature) :])


def _splice(data: bytes, rng: np.random.Generator) -> bytes:
    """The first part of one file, the last of another."""
    other = _pick(rng)
    return data[: int(rng.integers(1, len(data)))] + other[int(rng.integers(len(other))) :]


def _polyglot(data: bytes, rng: np.random.Generator) -> bytes:
    """A file that is also another one, in front or behind."""
    other = _OTHER_FILES[int(rng.integers(len(_OTHER_FILES)))]
    return other + data if rng.random() < 0.3 else data + other + _pick(rng)


def _repair_sums(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage inside PNG chunks whose checksums are right, so that it gets past them."""
    start = data.find(b"\x89PNG")
    if start != 0:
        return _flip_bits(_overwrite(data, rng), rng)
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        if body and rng.random() < 0.4:
            body = _flip_bits(body, rng)
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
        at += 12 + size
    return b"".join(parts)


CHANGES: dict[str, Change] = {
    "bits flipped": _flip_bits,
    "header bits flipped": _flip_header_bits,
    "bytes overwritten": _overwrite,
    "truncated": _truncate,
    "part repeated or gone": _repeat_or_drop,
    "numbers set to extremes": _set_number,
    "formats confused": _confuse,
    "files spliced": _splice,
    "polyglot": _polyglot,
    "damage with right checksums": _repair_sums,
}
"""Ways to make a hostile file from a real one."""
_BOMB_EVERY = len(CHANGES) * 5 + 1  # no multiple of the number of ways, so that each of them keeps its turns
