"""What accepting is held against: the least that a FastAPI service can do with an upload, read it and answer its size.

Runs as `python -m app.bench.echo FD`, on a listening socket that it inherits, with uvicorn's own settings.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

import uvicorn
from fastapi import FastAPI, UploadFile

app = FastAPI()


@app.post("/echo")
async def echo(image: UploadFile) -> dict[str, int]:
    """Read an upload and give its size."""
    return {"bytes": len(await image.read())}


def main(fd: int) -> None:
    """Serve until SIGTERM, or until standard input closes because whoever started this is gone."""
    threading.Thread(target=_stop_when_stdin_closes, name="stdin", daemon=True).start()
    uvicorn.Server(uvicorn.Config(app)).run(sockets=[socket.socket(fileno=fd)])


def _stop_when_stdin_closes() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
