"""What callers ask for: small photos with few combinations of options, so that all right answers can be known."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

PHOTOS = 8
OPTION_SETS: tuple[dict[str, str], ...] = (
    {"steps": "1", "seed": "1"},
    {"steps": "4", "seed": "2", "format": "png", "quality": "best"},
    # Not few steps: without jobs that last a while few faults would meet one that is being worked on.
    {"steps": "16", "seed": "3", "format": "webp", "quality_factor": "80", "kinds": "noise,jpeg"},
)
_LONG = 2
_FORMATS = (("JPEG", "RGB"), ("PNG", "RGB"), ("WEBP", "RGB"), ("TIFF", "RGB"), ("PNG", "L"), ("PNG", "RGBA"))


@dataclass(frozen=True)
class Wish:
    """One photo and what is to be done with it, by their numbers."""

    photo: int
    options: int


@dataclass(frozen=True)
class Order:
    """One request.

    Attributes:
        number: Tells it from all others; the metadata of its jobs.
        wishes: One, or several for a batch; all with the same options.
        is_batch: Whether it goes to POST /restore/batch.
        has_key: Whether it is sent again, under an Idempotency-Key, until it is accepted.
        priority: Of a request that is no batch.
        cancel_after_s: When its caller changes their mind, or None.
    """

    number: int
    wishes: tuple[Wish, ...]
    is_batch: bool = False
    has_key: bool = True
    priority: str = "interactive"
    cancel_after_s: float | None = None


def make_photos(count: int = PHOTOS) -> list[bytes]:
    """Pieces of a real photo with noise, 64 to 160 px, in several formats."""
    from skimage.data import astronaut  # by NASA, public domain

    whole = astronaut()
    photos = []
    for index in range(count):
        numbers = np.random.default_rng(index)
        width, height = numbers.integers(64, 161, 2)
        left, top = numbers.integers(0, 512 - 160, 2)
        piece = whole[top : top + height, left : left + width]
        noisy = np.clip(piece + numbers.normal(0, 20, piece.shape), 0, 255).astype(np.uint8)
        form, mode = _FORMATS[index % len(_FORMATS)]
        target = io.BytesIO()
        Image.fromarray(noisy).convert(mode).save(target, form)
        photos.append(target.getvalue())
    return photos


def all_wishes(photos: int = PHOTOS) -> list[Wish]:
    """Everything that may be asked for."""
    return [Wish(photo, options) for options in range(len(OPTION_SETS)) for photo in range(photos)]


def draw_orders(seed: int, photos: int = PHOTOS) -> Iterator[Order]:
    """Orders without end; the same for the same seed."""
    numbers = random.Random(f"orders {seed}")
    number = 0
    while True:
        number += 1
        options = numbers.choice((0, 1, _LONG, _LONG))
        is_batch = numbers.random() < 0.06
        chosen = numbers.sample(range(photos), numbers.randint(2, 4)) if is_batch else [numbers.randrange(photos)]
        cancel_after_s = numbers.uniform(0.0, 0.8) if not is_batch and numbers.random() < 0.06 else None
        yield Order(
            number,
            tuple(Wish(photo, options) for photo in chosen),
            is_batch,
            has_key=is_batch or numbers.random() < 0.85,
            priority=numbers.choice(("interactive", "interactive", "batch")),
            cancel_after_s=cancel_after_s,
        )
