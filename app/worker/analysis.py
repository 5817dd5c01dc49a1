"""What a photo suffers from and what restoring it would take: the document that `POST /analyze` answers with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from app.jobs.job import Finding
from app.worker.stages import AnalyzedPhoto
from model.budget import is_found
from model.config import JPEG_BLOCK, QUALITIES
from model.no_reference import estimate_blur, estimate_noise
from model.tiling import count_tiles

if TYPE_CHECKING:
    from app.worker.stages import DecodedPhoto
    from model.pipeline import Analysis, Restorer

MEDIA_TYPE = "application/json"
USUAL, CHEAPEST = "balanced", "fast"


def describe(
    restorer: Restorer, decoded: DecodedPhoto, analysis: Analysis, model: str, tile_s: float | None
) -> AnalyzedPhoto:
    """Put together what is known once the model has looked at a photo.

    The suggested quality is the usual one, whose steps are those that pay off for the damage found, and the cheapest
    one where nothing was found.

    Args:
        restorer: The model.
        decoded: The photo.
        analysis: What the model saw in it.
        model: What callers know the model by.
        tile_s: Measured time per tile in seconds, or None if nothing was measured.
    """
    config = restorer.config
    tiles = count_tiles(decoded.photo.height, decoded.photo.width, config.tile_px, config.overlap_px, JPEG_BLOCK)
    steps = {quality: restorer.choose_steps(quality, analysis) for quality in QUALITIES}
    seconds = {
        quality: None if tile_s is None else round(tiles * count * tile_s, 3) for quality, count in steps.items()
    }
    is_damaged = any(is_found(finding) for finding in analysis.findings)
    chosen = USUAL if is_damaged else CHEAPEST
    findings = tuple(Finding(item.kind, item.probability, item.severity) for item in analysis.findings)
    document = {
        "model": model,
        "width": decoded.photo.width,
        "height": decoded.photo.height,
        "caption": analysis.caption,
        "degradations": [
            {"kind": item.kind, "probability": round(item.probability, 4), "severity": round(item.severity, 4)}
            for item in findings
        ],
        "scores": None,
        "suggestion": {"restore": is_damaged, "quality": chosen, "steps": steps[chosen]},
        "estimated_s": seconds[chosen],
        "estimates": [{"quality": name, "steps": steps[name], "seconds": seconds[name]} for name in QUALITIES],
    }
    return AnalyzedPhoto(decoded.image, analysis.caption, findings, document)


def complete(analyzed: AnalyzedPhoto) -> dict[str, Any]:
    """Give the whole document; measures the photo itself, which need not be done in the model's thread."""
    scores = {"blur": round(estimate_blur(analyzed.image), 4), "noise": round(estimate_noise(analyzed.image), 3)}
    return {**analyzed.document, "scores": scores}


def write(analyzed: AnalyzedPhoto) -> tuple[bytes, str]:
    """Give the document as bytes with its media type."""
    return json.dumps(complete(analyzed), ensure_ascii=False, separators=(",", ":")).encode(), MEDIA_TYPE
