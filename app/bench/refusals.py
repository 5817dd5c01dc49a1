"""What it costs to refuse files that are small and cost much."""

from __future__ import annotations

import time
from dataclasses import dataclass

from app.bench.bombs import BOMBS, Bomb
from app.bench.kinds import KINDS
from app.bench.resident import peak_bytes, reset_peak, resident_bytes
from app.errors import ServiceError
from app.images import ImageLimits, check


@dataclass(frozen=True)
class Refusal:
    """How one file was refused.

    Attributes:
        name: The file, in words.
        file_bytes: Its size.
        code: Public code of the refusal, or "accepted".
        expected: The code that was to come.
        milliseconds: Time it took.
        growth_bytes: Memory that the process took beside what it had, the file itself aside.
    """

    name: str
    file_bytes: int
    code: str
    expected: str
    milliseconds: float
    growth_bytes: int


def measure_refusals(bombs: tuple[Bomb, ...] = BOMBS) -> list[Refusal]:
    """Refuse each file once, with decoders loaded beforehand."""
    limits = ImageLimits()
    for kind in KINDS:
        check(kind.make(), limits)
    refusals = []
    for bomb in bombs:
        data = bomb.make()
        reset_peak()
        before = resident_bytes()
        started = time.perf_counter()
        try:
            check(data, limits)
            code = "accepted"
        except ServiceError as error:
            code = error.code
        milliseconds = (time.perf_counter() - started) * 1000
        growth = max(peak_bytes() - before, 0)
        refusals.append(Refusal(bomb.name, len(data), code, bomb.code, milliseconds, growth))
    return refusals
