"""Photos to measure with, as they leave the decoder."""

from __future__ import annotations

from collections.abc import Sequence

from app.bench.photos import Size, make_pixels
from app.images import Photo
from app.worker.pixels import to_tensor
from app.worker.stages import DecodedPhoto


def make_decoded(size: Size, seed: int) -> DecodedPhoto:
    """A photo as it leaves the decoder."""
    pixels = make_pixels(size, seed)
    return DecodedPhoto(Photo(pixels, None, False, None, None, "png"), to_tensor(pixels), None)


def make_photos(sizes: Sequence[Size]) -> list[DecodedPhoto]:
    """Decoded photos of these sizes, each with grain of its own."""
    return [make_decoded(size, index) for index, size in enumerate(sizes)]


def copy_of(photo: DecodedPhoto) -> DecodedPhoto:
    """The photo with pixels of its own: the state of a restoration may keep and overwrite those it is given."""
    return DecodedPhoto(photo.photo, photo.image.clone(), None if photo.mask is None else photo.mask.clone())
