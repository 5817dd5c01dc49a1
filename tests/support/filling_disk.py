"""A program: the API on an embedded Redis whose disk fills and is emptied again; prints what requests got as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from app.jobs.embedded import EmbeddedRedis
from tests.support.roles import answer_of, environment_of
from tests.support.workers import noise_png

WAIT_S = 60.0


def until(look: Callable[[], httpx.Response | None], *statuses: int) -> httpx.Response:
    """Asks until the answer has one of the statuses."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        answer = look()
        if answer is not None and answer.status_code in statuses:
            return answer
        if time.monotonic() > deadline_s:
            raise AssertionError(f"no {statuses} in {WAIT_S} s: {answer and answer.text}")
        time.sleep(0.05)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def main(disk: Path, port: int) -> None:
    server, url, photo = EmbeddedRedis(disk / "state"), f"http://127.0.0.1:{port}", noise_png(40, 30)
    server.start()
    command = [sys.executable, "-m", "app.cli", "api", "--port", str(port)]
    api = subprocess.Popen(command, env=environment_of({"REDIS_URL": server.url, "MODEL": "tiny"}))

    def post() -> httpx.Response:
        return httpx.post(f"{url}/restore", content=photo, timeout=30)

    def post_while_full() -> httpx.Response:
        fill(disk / "zeros")  # again, for what has become free meanwhile
        return post()

    try:
        until(lambda: answer_of(f"{url}/healthz"), 200)
        kept = until(post, 202).json()["id"]
        full = until(post_while_full, 503)
        ready = until(lambda: answer_of(f"{url}/readyz"), 503)
        os.unlink(disk / "zeros")  # noqa: PTH108 - what a person does in a shell
        until(post, 202)
        state = until(lambda: answer_of(f"{url}/jobs/{kept}"), 200).json()["state"]
        told = {"full": full.json(), "reasons": ready.json()["reasons"], "kept": state, "api": api.poll()}
        print(json.dumps(told | {"redis": server.is_alive()}))  # noqa: T201
    finally:
        api.terminate()
        api.wait(60)
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
