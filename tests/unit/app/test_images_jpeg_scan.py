"""The short check of a JPEG says what decoding all of it would say."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.bench.mutate import CHANGES
from app.errors import InvalidImageError
from app.images import ImageLimits, check, check_quickly
from app.images.jpeg_scan import without_pixels
from tests.support import sample_photos as samples

LIMITS = ImageLimits()
BASELINE: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": 2},
    "4:4:4": {"subsampling": 0},
    "own codes": {"optimize": True},
    "restarts": {"restart_marker_blocks": 2},
    "metadata": {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", "comment": b"\xff\xd9 \xff\xda"},
}


def saved(mode: str = "RGB", **options: Any) -> bytes:
    return samples.saved(samples.picture(mode=mode), "JPEG", **options)


def decodes(data: bytes) -> bool:
    """Whether libjpeg reads every byte of the scans without an error."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.draft(None, (1, 1))
            image.load()
    except Exception:  # noqa: BLE001  decoders meet damaged bytes with errors of any type
        return False
    return True


@pytest.mark.parametrize("options", BASELINE.values(), ids=BASELINE)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_baseline_files_need_no_decoding(mode: str, options: dict[str, Any]) -> None:
    data = saved(mode, **options)
    short = without_pixels(data)
    assert short is not None
    assert decodes(short)
    assert check(data, LIMITS).format == "jpeg"
    assert without_pixels(data + b"of an editor") == short  # what follows the end is none of the photo


def test_files_of_several_scans_are_decoded() -> None:
    assert without_pixels(saved(progressive=True)) is None
    assert check(saved(progressive=True), LIMITS).format == "jpeg"


def test_file_without_an_end_is_decoded() -> None:
    data = saved()
    assert without_pixels(data[:-2]) is None
    with pytest.raises(InvalidImageError):
        check(data[: len(data) * 2 // 3], LIMITS)


def test_verdict_on_damaged_files_is_that_of_the_decoder() -> None:
    originals = [saved(mode, **options) for mode in ("RGB", "L") for options in BASELINE.values()]
    short_cuts = refused = 0
    for index in range(2000):
        rng = np.random.default_rng((17, index))
        name = list(CHANGES)[index % len(CHANGES)]
        data = CHANGES[name](originals[int(rng.integers(len(originals)))], rng)
        short = without_pixels(data) if data.startswith(b"\xff\xd8\xff") else None
        if short is None:
            continue
        short_cuts += 1
        refused += not decodes(data)
        assert decodes(short) == decodes(data), f"{name} {index}"
    assert short_cuts > 300
    assert refused > 30


def test_files_of_countless_segments_are_refused_before_they_are_walked_over() -> None:
    with pytest.raises(InvalidImageError, match="more segments"):
        check_quickly(b"\xff\xd8" + b"\xff\xfe\x00\x02" * 262_000, LIMITS)
