"""`vlmir degrade`: damage a photo on purpose, to try out a restoration or to make test data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

_DEFAULT_SEVERITY = 0.5
# What a damaged photo is stored with must not damage it further; the sheet is to be looked at, and noise is large.
_JPEG_QUALITY, _SHEET_QUALITY = 95, 72


def degrade_command(
    photo: Annotated[
        Path | None, typer.Argument(help="Photo to damage. With --contact-sheet it may be left out.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write; the suffix is the format.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="blur, haze, jpeg, low-light, noise, raindrop, rain, shadow, snow or inpainting; "
            "may be repeated, applied in the order given."
        ),
    ] = None,
    severity: Annotated[
        list[float] | None,
        typer.Option(help=f"0 to 1; one for each --kind, or one for all. Default {_DEFAULT_SEVERITY}."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same damage.")] = 0,
    mask_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the mask of holes (white = missing).")
    ] = None,
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Write all ten kinds at severities 0.25, 0.5, 0.75 as one picture.")
    ] = False,
) -> None:
    """Damage a photo on purpose, in a known way."""
    target = _writable(output, "-o")
    mask_target = _writable(mask_out, "--mask-out") if mask_out is not None else None
    if contact_sheet:
        if kind or severity or mask_out is not None:
            raise typer.BadParameter("--contact-sheet shows every kind: leave out --kind, --severity and --mask-out")
        from model.degradation.contact_sheet import contact_sheet as draw_sheet

        _save(draw_sheet(_read(photo) if photo is not None else _sample_photo(), seed=seed), target, _SHEET_QUALITY)
        return
    pairs = _pair(kind or [], severity or [])
    if photo is None:
        raise typer.BadParameter("name the photo to damage, for example: vlmir degrade photo.jpg -o damaged.png")
    damaged, mask = _apply(_read(photo), pairs, seed)
    _save(damaged, target)
    if mask_target is not None:
        _save(mask, mask_target)


def _pair(kinds: list[str], severities: list[float]) -> list[tuple[str, float]]:
    """Return each kind with its severity, or complain in terms of the options."""
    from model.degradation.kinds import KINDS

    if not kinds:
        raise typer.BadParameter(f"name at least one --kind: {', '.join(KINDS)}")
    for kind in kinds:
        if kind not in KINDS:
            raise typer.BadParameter(f"unknown --kind {kind!r}: use one of {', '.join(KINDS)}")
    for severity in severities:
        if not 0.0 <= severity <= 1.0:
            raise typer.BadParameter(f"got --severity {severity:g}, expected 0 (no damage) to 1")
    if len(severities) not in (0, 1, len(kinds)):
        raise typer.BadParameter(
            f"got {len(severities)} --severity for {len(kinds)} --kind: give one for all, or one for each in order"
        )
    spread = severities * len(kinds) if len(severities) == 1 else severities or [_DEFAULT_SEVERITY] * len(kinds)
    return list(zip(kinds, spread, strict=True))


def _apply(image: Tensor, pairs: list[tuple[str, float]], seed: int) -> tuple[Image.Image, Image.Image]:
    import torch

    from model.degradation.contact_sheet import to_picture
    from model.degradation.synthesis import degrade

    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros_like(image[:, :1])
    for kind, severity in pairs:
        result = degrade(image, kind, severity, generator=generator)
        image, mask = result.image, torch.maximum(mask, result.mask)
    return to_picture(image), to_picture(mask.expand(-1, 3, -1, -1)).convert("L")


def _read(path: Path) -> Tensor:
    """Return the upright photo as (1,3,H,W) in [0,1]."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            pixels = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise typer.BadParameter(f"{path} is not a photo that can be read: {error}") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror or error}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0


def _sample_photo() -> Tensor:
    """Return the portrait of Eileen Collins that comes with scikit-image (by NASA, public domain)."""
    import torch

    try:
        from skimage.data import astronaut
    except ModuleNotFoundError:
        raise typer.BadParameter("name a photo, or install the sample photos: pip install 'vlmir[train]'") from None
    return torch.from_numpy(astronaut()).permute(2, 0, 1)[None].float() / 255.0


def _writable(path: Path | None, option: str) -> Path:
    """Check before the work that a picture can be written there."""
    from PIL import Image

    if path is None:
        raise typer.BadParameter(f"say where to write the picture: {option} FILE.png")
    if path.suffix.lower() not in Image.registered_extensions():
        raise typer.BadParameter(f"{option} {path}: unknown picture format {path.suffix!r}, use .png, .jpg or .webp")
    if not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"{option} {path}: the folder {path.parent} does not exist")
    return path


def _save(picture: Image.Image, path: Path, quality: int = _JPEG_QUALITY) -> None:
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    options: dict[str, Any] = (
        {"quality": quality, "subsampling": 0 if quality == _JPEG_QUALITY else 2} if is_jpeg else {}
    )
    try:
        picture.save(path, **options)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {path}: {error.strerror or error}") from None
