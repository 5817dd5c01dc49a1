"""A client of the service: photos in, restored photos out, problem documents as the service's own errors."""

from app.client.aio import AsyncVlmirClient
from app.client.analyses import RemoteAnalysis
from app.client.documents import Event, JobsPage, RemoteJob
from app.client.errors import RemoteError, ServiceUnreachableError, WaitTimeoutError, error_of
from app.client.retries import Retries
from app.client.sync import VlmirClient
from app.client.webhooks import WebhookEvent, WebhookVerificationError, verify_webhook

__all__ = [
    "AsyncVlmirClient",
    "Event",
    "JobsPage",
    "RemoteAnalysis",
    "RemoteError",
    "RemoteJob",
    "Retries",
    "ServiceUnreachableError",
    "VlmirClient",
    "WaitTimeoutError",
    "WebhookEvent",
    "WebhookVerificationError",
    "error_of",
    "verify_webhook",
]
