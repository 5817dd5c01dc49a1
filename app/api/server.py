"""The HTTP server of the API process."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI


class ApiServer(uvicorn.Server):
    """A uvicorn server that ends open streams of events before it waits for open requests.

    Args:
        config: What to serve.
        app: The app of the configuration, made by `app.api.app.create_app`.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; see uvicorn."""
        self._app.state.services.streams.stop()
        await super().shutdown(sockets)
