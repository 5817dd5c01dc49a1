"""What a service says about photos that it only looks at, and the requests that ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.client.errors import RemoteError
from app.client.requests import Request, fields_of
from app.errors import ServiceError
from app.jobs.job import Finding

PAGE = 100
"""Photos of a batch that are asked about at a time."""


@dataclass(frozen=True)
class RemoteAnalysis:
    """What a photo suffers from, and what restoring it would take.

    Attributes:
        caption: What it shows, or None.
        findings: Every kind of damage with probability and severity.
        blur: Perceptual blur, 0 sharp to 1 blurred.
        noise: Standard deviation of the noise in 1/255.
        is_damaged: Whether the service suggests to restore it at all.
        quality: Suggested quality.
        steps: Steps that this quality will take.
        estimated_s: Seconds of the network's work at this quality, or None while nothing was measured.
        document: The whole answer.
    """

    caption: str | None
    findings: tuple[Finding, ...]
    blur: float
    noise: float
    is_damaged: bool
    quality: str
    steps: int
    estimated_s: float | None
    document: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> RemoteAnalysis:
        """Read the service's analysis."""
        scores, suggestion = document["scores"], document["suggestion"]
        return cls(
            caption=document["caption"],
            findings=tuple(
                Finding(item["kind"], item["probability"], item["severity"]) for item in document["degradations"]
            ),
            blur=scores["blur"],
            noise=scores["noise"],
            is_damaged=suggestion["restore"],
            quality=suggestion["quality"],
            steps=suggestion["steps"],
            estimated_s=document["estimated_s"],
            document=document,
        )


def analysis_request(photo: bytes, idempotency_key: str | None, options: Mapping[str, Any]) -> Request:
    """Give the request that has one photo looked at."""
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return Request("POST", "analyze", headers=headers, files={"image": ("image", photo)}, data=fields_of(options))


def analyses_request(photos: Sequence[bytes], idempotency_key: str | None, options: Mapping[str, Any]) -> Request:
    """Give the request that has several photos looked at."""
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    files = [("image", ("image", photo)) for photo in photos]
    return Request("POST", "analyze/batch", headers=headers, files=files, data=fields_of(options))


def page_of(batch: str, start: int) -> Request:
    """Give the request for analyses of a batch, from the photo `start` on."""
    return Request("GET", f"batches/{batch}/analyses", {"start": start, "limit": PAGE})


def read_page(document: Mapping[str, Any]) -> list[RemoteAnalysis | ServiceError]:
    """Read a page of analyses: what was seen, or why nothing was."""
    return [_read_entry(entry) for entry in document["entries"]]


def _read_entry(entry: Mapping[str, Any]) -> RemoteAnalysis | ServiceError:
    if entry["analysis"] is not None:
        return RemoteAnalysis.of(entry["analysis"])
    error = entry["error"] or {"code": None, "detail": f"The photo is {entry['state']}, so there is no analysis."}
    return RemoteError(error["detail"] or error["code"], remote_status=200, remote_code=error["code"])
