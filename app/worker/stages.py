"""What passes between the stages of a job in the worker: decoded, begun, run, restored. Plain data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from app.errors import ServiceError
    from app.images import EncodeOptions, Photo
    from app.jobs.job import Finding
    from app.worker.engine import TileRef


@dataclass
class DecodedPhoto:
    """A photo ready for the model; made off the model's thread.

    Attributes:
        photo: What the result inherits (profile, transparency, format); its own pixels are dropped once begun.
        image: The photo as (1, 3, H, W) float32 in 0..1.
        mask: (1, 1, H, W), 1 where pixels are missing; None without a mask.
    """

    photo: Photo
    image: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True)
class BegunJob:
    """What scheduler and caller learn once a job has begun; `tiles` are forwards per step."""

    tiles: int
    steps: int
    state_bytes: int
    caption: str | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class RestoredPhoto:
    """A finished restoration, still as (1, 3, H, W) floats; encoded off the model's thread.

    Attributes:
        photo: What the result inherits.
        image: The restored photo.
        format: Format of the result, or None for that of the upload.
        encoding: How it is written beside its format, with the settings that go into the file.
    """

    photo: Photo
    image: torch.Tensor
    format: str | None
    encoding: EncodeOptions


@dataclass(frozen=True)
class AnalyzedPhoto:
    """A photo that was only looked at; measured and written off the model's thread.

    Attributes:
        image: The photo as (1, 3, H, W) float32 in 0..1.
        caption: What it shows, or None.
        findings: What is wrong with it.
        document: What callers get, but for what is measured on the pixels.
    """

    image: torch.Tensor
    caption: str | None
    findings: tuple[Finding, ...]
    document: dict[str, Any]


@dataclass
class BatchReport:
    """What became of a batch: tiles that ran, and jobs that cannot go on with the reason."""

    ran: list[TileRef] = field(default_factory=list)
    failed: dict[str, ServiceError] = field(default_factory=dict)
