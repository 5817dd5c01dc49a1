"""Webhooks as they come in: proof that the service sent them, and what they say."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.client.documents import RemoteJob
from app.webhooks.signing import TOLERANCE_S, WebhookVerificationError, check_signature, decode_secret

__all__ = ["WebhookEvent", "WebhookVerificationError", "verify_webhook"]


@dataclass(frozen=True)
class WebhookEvent:
    """A message that the service sent.

    Attributes:
        id: The same whenever the same event is sent again; keep it to do nothing twice.
        type: "job.succeeded", "job.failed", "job.canceled" or "entry.refused"; newer services may have more.
        timestamp: When it happened, as text of ISO 8601.
        data: What it is about: the job, or the entry of a batch.
        sent_s: When it was sent this time, seconds since 1970.
    """

    id: str
    type: str
    timestamp: str
    data: Mapping[str, Any] = field(repr=False)
    sent_s: int

    @property
    def job(self) -> RemoteJob | None:
        """The job as it was at its end, or None if the event is about something else."""
        return RemoteJob.of(self.data) if self.type.startswith("job.") else None


def verify_webhook(
    headers: Mapping[str, str], body: bytes, secrets: str | Sequence[str], tolerance_s: float = TOLERANCE_S
) -> WebhookEvent:
    """Check that a message comes from the service, and read it.

    Signatures are compared in a time that does not depend on them. A message may come twice: compare its `id`.

    Args:
        headers: Headers of the request; names count in any case.
        body: Body of the request, the bytes as they came and not JSON read and written again.
        secrets: One secret (`whsec_...`) or several, while they are being changed.
        tolerance_s: Most seconds by which the time of sending may differ from now.

    Raises:
        WebhookVerificationError: It is not from the service, not whole, or too old to be believed.
        ValueError: A secret has another form.
    """
    keys = [decode_secret(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    message_id, sent_s = check_signature(headers, body, keys, time.time(), tolerance_s)
    try:
        document = json.loads(body)
        return WebhookEvent(message_id, document["type"], document["timestamp"], document["data"], sent_s)
    except (ValueError, KeyError, TypeError):
        raise WebhookVerificationError("the message is signed, but its body is none of this service") from None
