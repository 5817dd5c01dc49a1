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

    @property
    def is_unusable(self) -> bool:
        """Whether the app has found out that it can never work; see `app.api.app.create_app`."""
        return getattr(self._app.state, "unusable", None) is not None  # not there before the app has started

    async def on_tick(self, counter: int) -> bool:
        """Say whether to stop; see uvicorn."""
        return await super().on_tick(counter) or self.is_unusable

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; see uvicorn."""
        self._app.state.services.streams.stop()
        await super().shutdown(sockets)
