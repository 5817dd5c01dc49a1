"""One POST request to an address that a caller gave, by the rules for such addresses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from app.fetch.pinned import PinnedClient
from app.fetch.urls import parse_url
from app.webhooks.policy import read_retry_after

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "vlmir-webhooks"}


@dataclass(frozen=True)
class Answer:
    """What a receiver said.

    Attributes:
        status: HTTP status.
        retry_after_s: Seconds after which it wants to be asked again, or None if it does not say.
    """

    status: int
    retry_after_s: float | None = None


async def post(client: PinnedClient, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
    """Send a webhook. Redirections are not followed, and the body of the answer is not read.

    Args:
        client: Connects to addresses that are allowed.
        url: Given by a caller.
        headers: Headers of the message.
        body: JSON text.
        timeout_s: Longest time for all of it, in seconds.

    Raises:
        ImageUrlRefusedError: The URL is none that anything is sent to.
        ImageFetchError: The receiver cannot be connected to, or does not answer.
        TimeoutError: The time is up.
    """
    target = parse_url(url, allow_http=client.policy.allow_http)
    with anyio.fail_after(timeout_s):
        async with client.answer("POST", target, {**_HEADERS, **headers}, body) as response:
            retry_after = response.headers.get("retry-after", "")
            return Answer(response.status_code, read_retry_after(retry_after, time.time()))
