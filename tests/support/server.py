"""The real API on a real port, in the event loop of the test, and the events that come out of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from app.api.app import create_app
from app.api.deps import Services
from app.api.server import ApiServer
from app.fetch.fetcher import ImageFetcher
from app.settings import Settings


@dataclass
class LiveApi:
    """A server that listens.

    Attributes:
        client: Talks to it over TCP.
        services: The app's own parts.
        server: To stop it.
        port: Where it listens.
    """

    client: httpx.AsyncClient
    services: Services
    server: ApiServer
    port: int


@contextlib.asynccontextmanager
async def live_api(
    settings: Settings, graceful_stop_s: int = 5, fetcher: ImageFetcher | None = None
) -> AsyncIterator[LiveApi]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = create_app(settings, fetcher)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=graceful_stop_s)
    server = ApiServer(config, app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
            assert not serving.done(), "the server did not start"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield LiveApi(client, app.state.services, server, port)
    finally:
        server.should_exit = True
        await serving


@dataclass
class Received:
    """One event as a browser would give it."""

    type: str
    data: Any
    id: str


async def events_of(answer: httpx.Response) -> AsyncIterator[Received | str]:
    """The events of a stream, and its comments and `retry` lines as texts."""
    fields: dict[str, str] = {}
    last_id = ""
    async for line in answer.aiter_lines():
        if not line:
            if "data" in fields:
                yield Received(fields.get("event", "message"), json.loads(fields["data"]), last_id)
            fields = {}
        elif line.startswith((":", "retry:")):
            yield line
        else:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            last_id = fields.get("id", last_id)


async def all_events(client: httpx.AsyncClient, path: str, **request: Any) -> list[Received]:
    """The events of a stream, up to its end."""
    async with client.stream("GET", path, **request) as answer:
        assert answer.status_code == 200, await answer.aread()
        return [item async for item in events_of(answer) if isinstance(item, Received)]
