"""API and worker as processes against a Redis that is absent, comes late, or will never do."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
import redis

from tests.support.redis_server import RedisServer
from tests.support.roles import Role, answer_of, page_row, role, start_role, wait_until
from tests.support.workers import noise_png

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"  # noqa: S105
WRONG = "wrong%20horse%20battery"
API = ("api", "--port", "0")
ROLES: dict[tuple[str, str], tuple[object, ...]] = {
    ("it asks for a password", "api"): API,
    ("it does not take", "api"): API,
    ("it does not take", "worker"): ("worker", "--model", "tiny"),
    ("it does not take", "serve"): ("serve", "--model", "tiny", "--port", "0"),
    ("it has no password", "api"): API,
    ("its user may not", "api"): API,
    ("it does not speak", "api"): API,
    ("The Redis server is", "worker"): ("worker", "--model", "tiny"),
}
"""By the beginning of the row of docs/startup.md and the role."""


class WebServer(socketserver.StreamRequestHandler):
    """Answers whatever comes as a web server does."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


class OldRedis(socketserver.StreamRequestHandler):
    """A stand-in for a server of an age that is hard to come by: knows PING and INFO."""

    ANSWERS: ClassVar[dict[bytes, bytes]] = {
        b"PING": b"+PONG\r\n",
        b"INFO": b"$32\r\n# Server\r\nredis_version:5.0.14\r\n\r\n",
    }

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2])
            self.wfile.write(self.ANSWERS.get(words[0].upper(), b"-ERR unknown command\r\n"))


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def redis_server(*arguments: str) -> Iterator[RedisServer]:
    server = RedisServer(*arguments)
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, str]]]:
    """Code and output of roles that were started at once, by the beginning of the row of docs/startup.md and role."""
    folder = tmp_path_factory.mktemp("redis")
    running: dict[str, Role] = {}
    with redis_server() as locked, redis_server() as opened, listening(WebServer) as web, listening(OldRedis) as old:
        with redis.Redis(unix_socket_path=str(locked.socket)) as client:
            client.acl_setuser(
                "tight", enabled=True, passwords=["+tight-password"], keys=["other:*"], categories=["+@all"]
            )
            client.config_set("requirepass", PASSWORD)
        path = f"{locked.socket}"
        urls = {
            "it asks for a password": f"unix://{path}",
            "it does not take": f"unix://:{WRONG}@{path}",
            "it has no password": f"unix://:{WRONG}@{opened.socket}",
            "its user may not": f"unix://tight:tight-password@{path}",
            "it does not speak": web,
            "The Redis server is": old,
        }
        for (row, name), arguments in ROLES.items():
            running[f"{row}, {name}"] = start_role(folder / f"{row} {name}.log", *arguments, REDIS_URL=urls[row])
        try:
            yield {name: (started.end(), started.output) for name, started in running.items()}
        finally:
            for started in running.values():
                started.process.kill()
                started.process.wait()


@pytest.mark.parametrize(("row", "name"), ROLES)
def test_redis_that_will_never_do_ends_a_role(ended: dict[str, tuple[int, str]], row: str, name: str) -> None:
    code, output = ended[f"{row}, {name}"]
    found = page_row(row)
    assert found.is_in(output), output
    assert code == found.code, output
    for secret in (PASSWORD, WRONG, WRONG.replace("%20", " "), "tight-password"):
        assert secret not in output
    assert "Traceback" not in output


def test_late_redis_is_waited_for(tmp_path: Path, free_port: int) -> None:
    server = RedisServer()
    url = f"http://127.0.0.1:{free_port}"
    shared = {"REDIS_URL": server.url, "MODEL": "tiny", "THREADS": 1, "GRACE_S": 5}
    with (
        role(tmp_path / "api", "api", "--port", free_port, **shared) as api,
        role(tmp_path / "worker", "worker", **shared) as worker,
    ):
        try:
            wait_until(lambda: (answer_of(f"{url}/healthz") is not None) or not api.is_alive())
            for started in (api, worker):
                started.wait_for_row(page_row("waiting for Redis"))
            answer = answer_of(f"{url}/readyz")
            assert answer is not None
            assert answer.status_code == 503
            assert "does not answer" in answer.json()["reasons"][0]
            health = answer_of(f"{url}/healthz")
            assert health is not None
            assert health.status_code == 200
            assert api.is_alive()
            assert worker.is_alive()

            server.start()
            wait_until(lambda: _is_ready(url) or not (api.is_alive() and worker.is_alive()))
            assert _is_ready(url), worker.output
            photo = noise_png(48, 40)
            done = httpx.post(f"{url}/restore?steps=1", content=photo, headers={"Prefer": "wait=60"}, timeout=90)
            assert done.status_code == 200, done.text
            assert api.output.count("waiting for Redis") <= 3  # told once per reason and half a minute

            for started in (api, worker):
                started.process.terminate()
                started.process.terminate()
            assert (api.end(), worker.end()) == (0, 0), worker.output
            assert "Traceback" not in api.output + worker.output
        finally:
            server.close()


def _is_ready(url: str) -> bool:
    answer = answer_of(f"{url}/readyz")
    return answer is not None and answer.status_code == 200
