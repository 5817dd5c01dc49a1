"""What is kept of a file that comes in, is decoded, encoded again unchanged, and read back."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageCms

from app.bench.kinds import KINDS, Kind
from app.images import EncodeOptions, ImageLimits, Photo, Setting, decode, encode, read_settings

LIMITS = ImageLimits()
SETTINGS: dict[str, Setting] = {"version": "0", "model": "none", "steps": 1, "seed": 0}
_GONE = "gone"


@dataclass(frozen=True)
class RoundTrip:
    """One row of the table. Words are "kept", "gone", or "-" for what the upload did not have.

    Attributes:
        kind: Kind of the upload.
        result: Format of the result.
        upright: Whether the result has the upright size and no orientation left.
        bits: Bits per sample of upload and result, as "16 -> 16".
        pixels: "exact", or the largest difference of a colour value where the photo is not fully transparent.
        colours: "exact", or the mean difference as people see it, both turned into sRGB by their own profiles.
        alpha: Opacity: "exact", the largest difference, or a word.
        profile: The ICC profile.
        exif: Camera and time in the EXIF block.
        dpi: Dots per inch.
        preview: Preview picture in the EXIF block, which shows the damaged photo.
        place: GPS fields after metadata=strip-gps.
        settings: Whether the settings can be read back.
    """

    kind: str
    result: str
    upright: str
    bits: str
    pixels: str
    colours: str
    alpha: str
    profile: str
    exif: str
    dpi: str
    preview: str
    place: str
    settings: str


def measure_round_trips(kinds: tuple[Kind, ...] = KINDS) -> list[RoundTrip]:
    """Take one file of each kind through decoding and encoding with nothing done to its pixels.

    Raises:
        ServiceError: A file is refused.
    """
    return [_measure(kind) for kind in kinds]


def _measure(kind: Kind) -> RoundTrip:
    data = kind.make()
    before = decode(data, LIMITS)
    result, _ = encode(before, before.rgb, None, EncodeOptions(quality_factor=95, settings=SETTINGS))
    nowhere, _ = encode(before, before.rgb, None, EncodeOptions(metadata="strip-gps"))
    after = decode(result, LIMITS)
    # The file as it lies there, for what decoding takes away.
    with Image.open(io.BytesIO(data)) as upload, Image.open(io.BytesIO(result)) as written:
        had, has = upload.getexif(), written.getexif()
        has_profile = "icc_profile" in upload.info
        preview = _word(_has_preview(had), _has_preview(has))
        upright = "yes" if has.get(ExifTags.Base.Orientation, 1) == 1 and after.rgb.shape == before.rgb.shape else "NO"
    with Image.open(io.BytesIO(nowhere)) as without:
        place = _word(bool(had.get_ifd(ExifTags.IFD.GPSInfo)), bool(without.getexif().get_ifd(ExifTags.IFD.GPSInfo)))
    seen = np.ones(before.rgb.shape[:2], bool) if before.alpha is None else before.alpha > 0
    return RoundTrip(
        kind=kind.name,
        result=after.format,
        upright=upright,
        bits=f"{before.rgb.dtype.itemsize * 8} -> {after.rgb.dtype.itemsize * 8}",
        pixels=_difference(_unit(before.rgb)[seen], _unit(after.rgb)[seen]),
        colours=_difference(_as_srgb(before)[seen], _as_srgb(after)[seen], is_mean=True),
        alpha="-" if before.alpha is None else _alpha(before, after),
        profile=_profile_word(has_profile, before, after),
        exif=_word(_camera(had) is not None, _camera(had) == _camera(has)),
        dpi=_word(before.dpi is not None, after.dpi is not None),
        preview=preview,
        place=place,
        settings="kept" if read_settings(result) == {name: str(value) for name, value in SETTINGS.items()} else _GONE,
    )


def _word(was_there: bool, is_there: bool) -> str:
    return "-" if not was_there else "kept" if is_there else _GONE


def _profile_word(was_there: bool, before: Photo, after: Photo) -> str:
    if was_there and before.icc is None:
        return "used"  # the pixels were converted by it
    return _word(was_there, before.icc == after.icc)


def _camera(exif: Image.Exif) -> tuple[object, object] | None:
    camera = exif.get(ExifTags.Base.Make)
    return None if camera is None else (camera, exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal))


def _has_preview(exif: Image.Exif) -> bool:
    return ExifTags.Base.JpegIFOffset in exif or bool(exif.get_ifd(ExifTags.IFD.IFD1))


def _unit(samples: np.ndarray) -> np.ndarray:
    return samples / np.iinfo(samples.dtype).max


def _alpha(before: Photo, after: Photo) -> str:
    if before.alpha is None or after.alpha is None:
        return _GONE
    return _difference(_unit(before.alpha), _unit(after.alpha))


def _difference(before: np.ndarray, after: np.ndarray, *, is_mean: bool = False) -> str:
    differences = np.abs(before - after)
    figure = float(differences.mean() if is_mean else differences.max())
    return "exact" if figure == 0 else f"{figure * 255:.2f}/255"


def _as_srgb(photo: Photo) -> np.ndarray:
    """Give colours (H, W, 3) in 0..1 as a viewer shows them, to eight bits."""
    eight = np.rint(_unit(photo.rgb) * 255).astype(np.uint8)
    if photo.icc is None:
        return _unit(eight)
    source = ImageCms.ImageCmsProfile(io.BytesIO(photo.icc))
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    image = Image.fromarray(eight[..., 0] if photo.is_gray else eight)
    shown = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    return _unit(np.asarray(shown))
