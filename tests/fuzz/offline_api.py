"""The API on a real port, in a process that reaches nothing but Redis: `python -m tests.fuzz.offline_api`.

Random requests name random hosts, for photos and for webhooks. None of them is to hear of it. The settings are in the
environment, as for `vlmir api`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any, NoReturn

import uvicorn

from app.api.app import create_app
from app.api.server import ApiServer
from app.fetch.fetcher import FetchPolicy, ImageFetcher
from app.settings import Settings


class OfflineLoop(asyncio.SelectorEventLoop):
    """An event loop that connects to nobody; Redis is reached by a Unix socket."""

    async def create_connection(self, *_: Any, **__: Any) -> NoReturn:
        """Reach nobody."""
        raise OSError("offline")


async def know_no_name(host: str, port: int) -> NoReturn:
    """Resolve nothing."""
    raise socket.gaierror(socket.EAI_NONAME, f"offline, {host}:{port} is not looked up")


async def serve() -> None:
    """Serve until told to stop; says where once it listens."""
    settings = Settings()
    app = create_app(settings, ImageFetcher(FetchPolicy.of(settings), know_no_name))
    listener = socket.create_server(("127.0.0.1", 0))
    server = ApiServer(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5), app)
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    loop = OfflineLoop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve())
