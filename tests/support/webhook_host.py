"""A real web server on loopback that takes webhooks and answers as a test wants it, and senders that may reach it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.fetch.pinned import PinnedClient
from app.jobs.job import Job
from app.jobs.outbox import Outbox
from app.webhooks.policy import WebhookPolicy
from app.webhooks.sender import WebhookSender
from app.webhooks.signing import WebhookSecrets
from tests.support.photo_host import loopback_policy, resolving, response

SECRET = "whsec_" + base64.b64encode(b"a key that only tests have").decode()
POLICY = WebhookPolicy(schedule_s=(0.02, 0.02, 0.02), timeout_s=5.0, lease_s=60.0, endpoint_pause_s=0.02)


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class WebhookHost:
    """Keeps what it gets; `answer` makes an HTTP answer of a request, None gives none while the test lasts."""

    def __init__(self, answer: Callable[[Received], bytes | None]) -> None:
        self.received: list[Received] = []
        self.port = 0
        self.most_at_once = 0
        self._answer = answer
        self._open = 0
        self._ending = asyncio.Event()

    def url(self, path: str = "/hook") -> str:
        return f"http://hooks.example:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if line)}
            assert lines[0].startswith("POST ")
            body = await reader.readexactly(int(headers["content-length"]))
            request = Received(lines[0].split(" ")[1], headers, body)
            self.received.append(request)
            answer = self._answer(request)
            if answer is None:
                await self._ending.wait()
            else:
                writer.write(answer)
                await writer.drain()
        self._open -= 1
        writer.close()

    def end(self) -> None:
        self._ending.set()


@contextlib.asynccontextmanager
async def webhook_host(answer: Callable[[Received], bytes | None] | None = None) -> AsyncIterator[WebhookHost]:
    """A receiver for as long as the block lasts; it says 204 to everything unless told otherwise."""
    host = WebhookHost(answer or (lambda _request: response(b"", "204 No Content")))
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        host.end()
        server.close()


def in_turn(*statuses: str) -> Callable[[Received], bytes]:
    """Answers with these statuses, one after the other, the last one for ever."""
    left = list(statuses)
    return lambda _request: response(b"", left.pop(0) if len(left) > 1 else left[0])


def describe(job: Job) -> dict[str, Any]:
    return {"id": job.id, "state": job.state.value, "metadata": job.metadata}


def make_sender(outbox: Outbox, policy: WebhookPolicy = POLICY, secrets: str = SECRET) -> WebhookSender:
    """A sender that may send to loopback, whatever name leads there."""
    client = PinnedClient(loopback_policy(), resolving(["127.0.0.1"]))
    return WebhookSender(outbox, client, WebhookSecrets.parse(secrets), policy, describe)


@contextlib.asynccontextmanager
async def sending(sender: WebhookSender) -> AsyncIterator[None]:
    """The sender at work for as long as the block lasts."""
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        sender.stop()
        await task
