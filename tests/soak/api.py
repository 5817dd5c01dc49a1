"""The API as `vlmir api` runs it, except that every host name leads to this machine: `python -m tests.soak.api`.

So webhooks and photos by URL go to servers of the run, which no setting of the service allows. The settings are in the
environment. Prints its address once it listens.
"""

from __future__ import annotations

import signal
import socket
import sys

import uvicorn

from app.allocator import keep_little_freed_memory
from app.api.app import create_app
from app.api.server import ApiServer
from app.fetch.fetcher import ImageFetcher
from app.logs import configure_logging
from app.settings import Settings
from tests.support.photo_host import loopback_policy, resolving


def main() -> None:
    """Serve until told to stop."""
    settings = Settings()
    configure_logging(settings)
    keep_little_freed_memory()
    app = create_app(settings, ImageFetcher(loopback_policy(), resolving(["127.0.0.1"])))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5)
        ApiServer(config, app).run(sockets=[listener])


if __name__ == "__main__":
    main()
