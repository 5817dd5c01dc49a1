"""One process that takes hostile uploads one after the other, as `python -m app.bench.hostile SEED FIRST COUNT`.

It prints a line of JSON per upload, and is meant to be watched from outside: it may die or hang.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

from app.bench.mutate import make_hostile, originals
from app.bench.resident import peak_bytes, reset_peak, resident_bytes
from app.errors import ServiceError
from app.images import EncodeOptions, ImageLimits, check, decode, encode

LIMITS = ImageLimits()


def take(data: bytes) -> str:
    """Treat bytes as an upload is treated: check, decode, encode. Give "restored" or the code of the refusal.

    Raises:
        Exception: Anything but a refusal, which would be a bug.
    """
    try:
        check(data, LIMITS)
        photo = decode(data, LIMITS)
    except ServiceError as error:
        return error.code
    encode(photo, photo.rgb, None, EncodeOptions(metadata="strip-gps", settings={"version": "0"}))
    return "restored"


def main(seed: int, first: int, count: int) -> None:
    """Take uploads number `first` to `first + count - 1`."""
    warnings.simplefilter("ignore")  # libraries warn of what is broken
    for original in originals():
        take(original)  # the first of each kind loads its decoder
    for index in range(first, first + count):
        change, data = make_hostile(index, seed)
        reset_peak()
        before = resident_bytes()
        started = time.perf_counter()
        try:
            outcome = take(data)
        except Exception as error:  # noqa: BLE001  (what is looked for)
            outcome = f"uncaught {type(error).__name__}"
        row = {
            "index": index,
            "change": change,
            "outcome": outcome,
            "seconds": time.perf_counter() - started,
            "growth_bytes": max(peak_bytes() - before, 0),
            "resident_bytes": resident_bytes(),
        }
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:4]))
