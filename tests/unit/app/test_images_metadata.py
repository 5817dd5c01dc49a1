"""What a caller may ask for: metadata kept, stripped or without the place; settings in the result; quality."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ExifTags, Image

from app.bench.kinds import make_exif
from app.errors import InvalidOptionError
from app.images import OUTPUT_FORMATS, EncodeOptions, ImageLimits, Photo, decode, encode, read_settings
from app.images.metadata import change_exif
from app.images.provenance import pack_settings
from tests.support import sample_photos as samples

LIMITS = ImageLimits()
SETTINGS = {"version": "1.2.3", "model": "small", "steps": 4, "seed": 2**53 - 1, "caption": None, "mask": True}


def upload(icc_profile: bytes | None = None) -> Photo:
    exif = make_exif(has_preview=True)
    return decode(samples.jpeg(exif=exif, dpi=(300, 300), icc_profile=icc_profile), LIMITS)


def exif_of(data: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif()


def written(form: str, depth: int = 8, **options: object) -> bytes:
    photo = upload(icc_profile=samples.srgb_profile())
    rgb = photo.rgb if depth == 8 else photo.rgb.astype(np.uint16) * 257
    return encode(photo, rgb, form, EncodeOptions(**options))[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("form", OUTPUT_FORMATS)
def test_place_is_kept_unless_it_is_to_go(form: str, depth: int) -> None:
    kept = exif_of(written(form, depth))
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[2] == (52.0, 31.0, 12.5)
    without = exif_of(written(form, depth, metadata="strip-gps"))
    assert not without.get_ifd(ExifTags.IFD.GPSInfo)
    assert without[ExifTags.Base.Make] == "Maker"
    details = without.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"
    assert ExifTags.Base.MakerNote not in details


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("form", OUTPUT_FORMATS)
def test_stripped_result_has_its_profile_and_nothing_else(form: str, depth: int) -> None:
    data = written(form, depth, metadata="strip", settings=SETTINGS)
    with Image.open(io.BytesIO(data)) as image:
        exif = {tag: value for tag, value in image.getexif().items() if tag > 400 and tag != 34675}  # TIFF's own layout
        assert not exif
        assert image.info["icc_profile"] == samples.srgb_profile()
        assert "xmp" not in image.info
    for word in (b"Maker", b"2024:05:06", b"VLMIR", b"small"):
        assert word not in data
    assert read_settings(data) == {}


@pytest.mark.parametrize("form", OUTPUT_FORMATS)
@pytest.mark.parametrize("metadata", ["keep", "strip", "strip-gps"])
def test_preview_of_the_damaged_photo_never_travels_on(form: str, metadata: str) -> None:
    original = samples.jpeg(exif=make_exif(has_preview=True))
    assert b"the damaged photo" in original
    assert b"the damaged photo" not in written(form, metadata=metadata)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("form", OUTPUT_FORMATS)
def test_settings_can_be_read_from_the_result(form: str, depth: int) -> None:
    data = written(form, depth, settings=SETTINGS)
    found = read_settings(data)
    assert found == {"version": "1.2.3", "model": "small", "steps": "4", "seed": str(2**53 - 1), "mask": "true"}
    assert exif_of(data)[ExifTags.Base.Software] == "VLMIR 1.2.3"
    with Image.open(io.BytesIO(data)) as image:  # where other programs look for it
        packet = image.info["xmp"]
        root = ElementTree.fromstring(packet if isinstance(packet, str) else packet.decode())  # noqa: S314
    about = root[0][0].attrib
    assert about["{http://ns.adobe.com/xap/1.0/}CreatorTool"] == "VLMIR 1.2.3"
    assert about["{urn:vlmir:settings:1}steps"] == "4"
    assert decode(data, LIMITS).rgb.shape == (32, 48, 3)


def test_settings_of_an_earlier_restoration_are_replaced() -> None:
    first = decode(written("png", settings={"model": "first"}), LIMITS)
    data, _ = encode(first, first.rgb, None, EncodeOptions(settings={"model": "second"}))
    assert read_settings(data) == {"model": "second"}


def test_without_settings_nothing_is_written() -> None:
    data = written("jpeg")
    assert exif_of(data)[ExifTags.Base.Software] == "camera firmware 1.0"
    assert b"xmpmeta" not in data


def test_any_words_survive_as_a_setting() -> None:
    odd = {"caption": "a <b> & \"c\" 'd' é 写真 \U0001f600", "lines": "a\nb\0c\ud800d", "long": "x&" * 5000}
    packet = pack_settings(odd)
    found = read_settings(packet)
    assert found["caption"] == odd["caption"]
    assert found["lines"] == "a b c d"
    assert len(found["long"]) == 500
    ElementTree.fromstring(packet.decode())  # noqa: S314


def test_largest_settings_fit_a_jpeg_file() -> None:
    settings = {f"{'n' * 38}{index:02d}": "'" * 1000 for index in range(20)}
    photo = upload()
    data, _ = encode(photo, photo.rgb, "jpeg", EncodeOptions(settings=settings))
    assert set(read_settings(data)) == set(settings)


@pytest.mark.parametrize("settings", [{"Model": 1}, {"a b": 1}, {"": 1}, {'a="': 1}, {f"n{i}": 1 for i in range(21)}])
def test_settings_with_odd_names_are_a_bug_of_the_caller(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        pack_settings(settings)


@pytest.mark.parametrize(
    "data",
    [b"", b"<x:xmpmeta", b"<x:xmpmeta>urn:vlmir:settings:1" + b"a" * 10**6, b'<x:xmpmeta vlmir:a="b"></x:xmpmeta>'],
)
def test_packets_of_others_and_broken_ones_tell_nothing(data: bytes) -> None:
    assert read_settings(data) == {}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_place_goes_even_from_a_block_that_cannot_be_read() -> None:
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff"
    assert change_exif(broken, keeps_place=False, software=None) is None
    assert change_exif(broken, keeps_place=True, software=None) == broken
    assert change_exif(None, keeps_place=False, software=None) is None


def test_tags_of_a_map_go_with_the_place() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[33922] = (0.0, 0.0, 0.0, 13.4, 52.5, 0.0)
    without = Image.Exif()
    without.load(change_exif(exif.tobytes(), keeps_place=False, software=None) or b"")
    assert dict(without) == {ExifTags.Base.Make: "Maker"}


def test_makers_note_goes_where_the_block_is_too_large() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.MakerNote: bytes(70_000),
        ExifTags.Base.DateTimeOriginal: "2024:05:06 07:08:09",
    }
    photo = decode(samples.png(exif=exif), LIMITS)
    assert photo.exif is not None
    assert len(photo.exif) < 200
    kept = exif_of(encode(photo, photo.rgb, "jpeg")[0])
    assert kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"


@pytest.mark.parametrize("form", ["jpeg", "webp", "avif"])
def test_quality_factor_is_size_against_likeness(form: str) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (64, 64, 1)).astype(np.uint8).repeat(3, axis=2)
    photo = Photo(rgb, None, False, None, None, "png")
    low, high = (encode(photo, rgb, form, EncodeOptions(quality_factor=factor))[0] for factor in (20, 95))
    assert len(low) < len(high) / 2
    errors = [np.abs(decode(data, LIMITS).rgb.astype(int) - rgb).mean() for data in (low, high)]
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_quality_factor_costs_lossless_formats_nothing(form: str) -> None:
    photo = upload()
    assert np.array_equal(decode(written(form, quality_factor=1), LIMITS).rgb, photo.rgb)


@pytest.mark.parametrize(("name", "value"), [("quality_factor", 0), ("quality_factor", 101), ("metadata", "gone")])
def test_odd_options_are_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidOptionError, match=name):
        EncodeOptions(**{name: value})  # type: ignore[arg-type]
