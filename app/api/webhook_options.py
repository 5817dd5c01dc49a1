"""The options `webhook` and `webhook_events`: where a caller wants to be told of the end of a job."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api.problems import ParametersError
from app.errors import ImageUrlRefusedError
from app.fetch.pinned import PinnedClient
from app.fetch.urls import MAX_URL_CHARS, parse_url
from app.jobs.webhook import WEBHOOK_EVENTS, Webhook, parse_webhook_events

_EVENTS = "|".join(event.replace(".", r"\.") for event in WEBHOOK_EVENTS)


def _check_form(url: str) -> str:
    try:
        parse_url(url, allow_http=True)  # whether http will do is a matter of the settings; see `check_webhook`
    except ImageUrlRefusedError as error:
        raise PydanticCustomError("webhook", "{reason}", {"reason": _reason(error)}) from None
    return url


def _read_events(value: Any) -> Any:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PydanticCustomError("webhook_events", "expected names of events, comma-separated")
    try:
        return parse_webhook_events(names)
    except ValueError as error:
        raise PydanticCustomError("webhook_events", "{reason}", {"reason": str(error)}) from None


WebhookUrl = Annotated[
    str,
    AfterValidator(_check_form),
    WithJsonSchema({"type": "string", "format": "uri", "pattern": "^https?://", "maxLength": MAX_URL_CHARS}),
]
WebhookEvents = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_events),
    WithJsonSchema({"type": "string", "pattern": f"^({_EVENTS})(,({_EVENTS}))*$"}),
]


def make_webhook(url: str | None, events: tuple[str, ...] | None) -> Webhook | None:
    """Put the two options together; None without a URL."""
    return None if url is None else Webhook(url, events or WEBHOOK_EVENTS)


def check_webhook(webhook: Webhook | None, client: PinnedClient, field: str = "webhook") -> None:
    """Refuse an address to which this service sends nothing, as far as the URL alone tells.

    Names are resolved when a webhook is sent, and what they lead to is judged then, each time.

    Args:
        webhook: What was asked for, or None.
        client: Sends webhooks.
        field: Name of the option in an error.

    Raises:
        ParametersError: It is plain http, or an address that is not public.
    """
    if webhook is None:
        return
    try:
        target = parse_url(webhook.url, allow_http=client.policy.allow_http)
        if target.address is not None:
            client.check_address(target, target.address)
    except ImageUrlRefusedError as error:
        raise ParametersError([{"field": field, "message": _reason(error)}]) from None


def _reason(error: ImageUrlRefusedError) -> str:
    reason = error.detail.removeprefix("The URL is not fetched: ").rstrip(".")
    return f"nothing is sent to this URL: {reason}"


def openapi_events() -> dict[str, Any]:
    """Describe the events as they may be given in JSON too."""
    return {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(WEBHOOK_EVENTS)}}
