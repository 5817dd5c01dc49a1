"""The table of what is kept is true: each word in it is what another reader finds."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from app.bench.formats import RoundTrip, measure_round_trips
from app.bench.kinds import KINDS, Kind, make_exif, make_samples, save
from app.images import FORMATS


@pytest.fixture(scope="module")
def rows() -> dict[str, RoundTrip]:
    return {row.kind: row for row in measure_round_trips()}


def test_there_is_a_row_for_each_kind_and_every_format_comes_in(rows: dict[str, RoundTrip]) -> None:
    assert len(rows) == len(KINDS) >= 12
    came = {Image.open(io.BytesIO(kind.make())).format for kind in KINDS if not kind.name.startswith("HEIC")}
    assert came | {"HEIF"} >= {form.pillow for form in FORMATS.values()}


def test_what_everybody_expects_is_kept(rows: dict[str, RoundTrip]) -> None:
    for row in rows.values():
        assert row.upright == "yes"
        assert row.settings == "kept"
        assert row.exif in ("kept", "-")
        assert row.place in ("gone", "-")
        assert row.preview in ("gone", "-")
        assert row.profile in ("kept", "used", "-")
        assert row.dpi in ("kept", "-")
        assert row.alpha in ("exact", "-")
    assert rows["JPEG, turned, with preview"].preview == "gone"
    assert rows["JPEG, turned, with preview"].place == "gone"
    assert rows["PNG, 16 bit, transparent"].bits == rows["TIFF, 16 bit"].bits == "16 -> 16"


def test_lossless_formats_lose_nothing(rows: dict[str, RoundTrip]) -> None:
    exact = {name for name, row in rows.items() if row.pixels == "exact"}
    assert exact >= {kind.name for kind in KINDS if kind.name.startswith(("PNG", "TIFF", "GIF"))}


def test_losses_are_told() -> None:
    # JPEG at its default quality, with colours at half resolution, comes out other than it went in.
    noisy = Image.effect_noise((64, 64), 90).convert("RGB")
    (row,) = measure_round_trips((Kind("noise", lambda: save(noisy, "JPEG", exif=make_exif())),))
    assert row.pixels != "exact"
    assert (row.exif, row.profile, row.alpha) == ("kept", "-", "-")


def test_samples_have_edges_that_are_half_transparent() -> None:
    alpha = make_samples(4)[..., 3]
    assert {0, 255} < set(alpha.flat)
