"""How a photo is to be restored, as options of commands."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from app.jobs.job import RestoreOptions


class Quality(str, Enum):
    """How much time a restoration may take."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


class Format(str, Enum):
    """Formats of a result."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    TIFF = "tiff"


class PhotoMetadata(str, Enum):
    """What of a photo's own metadata the result has."""

    KEEP = "keep"
    STRIP_GPS = "strip-gps"
    STRIP = "strip"


QualityOption = Annotated[Quality, typer.Option("--quality", help="How much time it may take.")]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, max=100, help="Denoising steps, instead of a quality.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Same photo, options and seed: same result.")]
KindsOption = Annotated[
    str | None,
    typer.Option(
        "--kinds", help="What to repair, comma-separated, such as rain,noise; '' for nothing [default: found out]."
    ),
]
PhotoMetadataOption = Annotated[
    PhotoMetadata | None,
    typer.Option(
        "--photo-metadata",
        help="What of the photo's own metadata stays: strip-gps leaves out where it was taken [default: keep].",
    ),
]
QualityFactorOption = Annotated[
    int | None,
    typer.Option(
        "--quality-factor", min=1, max=100, help="How well JPEG, WebP and AVIF results are kept [default: 92]."
    ),
]
ServerOption = Annotated[str | None, typer.Option("--server", metavar="URL", help="Use this running service.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Name of a model; without --server also a folder with one.")
]


@dataclass(frozen=True)
class Order:
    """What the caller wants of photos; `model` is None when the model runs in this process."""

    quality: str
    steps: int | None
    seed: int
    caption: str | None
    format: str | None
    model: str | None
    kinds: str | None = None
    photo_metadata: str | None = None
    quality_factor: int | None = None
    start_within: float | None = None
    finish_within: float | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """What is asked of a service; None means its default."""
        return asdict(self)

    @property
    def options(self) -> RestoreOptions:
        """What is asked of the model in this process, without the times, which only a service keeps."""
        from app.jobs.job import RestoreOptions, parse_kinds

        return RestoreOptions(
            self.quality,
            self.steps,
            self.seed,
            self.caption,
            self.format,
            kinds=None if self.kinds is None else parse_kinds(self.kinds.split(",") if self.kinds else ()),
            photo_metadata=self.photo_metadata,
            quality_factor=self.quality_factor,
        )


def check_kinds(kinds: str | None) -> None:
    """Refuse what names no kinds.

    Raises:
        typer.BadParameter: There is no such kind.
    """
    from app.jobs.job import parse_kinds

    try:
        parse_kinds(kinds.split(",") if kinds else ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--kinds") from None
