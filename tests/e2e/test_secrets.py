"""API and worker with secrets wherever there may be one, at the level of debug, and errors of all kinds: none is seen.

They use Redis as the user of docs/security.md, which so is shown to be enough.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from typer.testing import CliRunner

from app.cli import app
from tests.support.redis_rule import add_user
from tests.support.redis_server import RedisServer
from tests.support.roles import Role, answer_of, environment_of, role, wait_until
from tests.support.workers import noise_png

pytestmark = pytest.mark.slow

# Values that occur nowhere else.
WORDS = {
    "password of Redis": "hidden-word-one",
    "password of Redis, wrong": "hidden-word-two",
    "webhook secret": "aGlkZGVuLXdvcmQtdGhyZWUtaXMtbG9uZy1lbm91Z2g=",
    "webhook secret of a tenant": "aGlkZGVuLXdvcmQtZm91ci1pcy1sb25nLWVub3VnaC0=",
    "credential of the store": "hidden-word-five",
    "token of the store": "hidden-word-six",
    "password of the collector": "hidden-word-seven",
    "header of the collector": "hidden-word-eight",
    "signature of a URL": "hidden-word-nine",
    "password in a URL": "hidden-word-ten",
    "token of a webhook": "hidden-word-eleven",
    "credentials for a proxy": "aGlkZGVuLXdvcmQtdHdlbHZl",
    "cookie": "hidden-word-thirteen",
    "value of an option": "hidden-word-fourteen",
}


@dataclass
class Setup:
    """A running API and worker.

    Attributes:
        url: Of the API.
        metrics: Of the worker.
        roles: Both processes.
        keys: API keys, by what they may do.
        answers: All answers so far.
    """

    url: str
    metrics: str
    roles: list[Role]
    keys: dict[str, str]
    answers: list[httpx.Response] = field(default_factory=list)

    def send(self, method: str, path: str, key: str = "full", **request: Any) -> httpx.Response:
        headers = {"Cookie": f"session={WORDS['cookie']}"} | request.pop("headers", {})
        if key:
            headers["Authorization"] = f"Bearer {self.keys.get(key, key)}"
        answer = httpx.request(method, f"{self.url}{path}", headers=headers, timeout=90, **request)
        self.answers.append(answer)
        return answer


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def make_key(environment: dict[str, str], name: str, *options: str) -> str:
    """A key by `vlmir keys create`; only this command ever shows it."""
    done = CliRunner().invoke(app, ["keys", "create", name, *options], env=environment)
    assert done.exit_code == 0, done.output
    return next(word for word in done.output.split() if word.startswith("vlmir_"))


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    folder = tmp_path_factory.mktemp("secrets")
    port, metrics_port, closed = free_ports(3)
    server = RedisServer()
    server.start()
    try:
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            add_user(client, WORDS["password of Redis"])
            client.config_set("requirepass", "of-nobody")
        settings = {
            "REDIS_URL": f"unix://vlmir:{WORDS['password of Redis']}@{server.socket}",
            "MODEL": "tiny",
            "THREADS": 1,
            "LOG_LEVEL": "debug",
            "OPEN_ACCESS": "false",
            "GRACE_S": 5,
            "FETCH_HTTP": "true",
            "FETCH_TIMEOUT_S": 5,
            "WEBHOOK_SECRETS": f"whsec_{WORDS['webhook secret']},acme=whsec_{WORDS['webhook secret of a tenant']}",
            "WEBHOOK_SCHEDULE_S": "0.1",
            "INPUT_PREFIXES": "s3://photos/",
            "OTLP_ENDPOINT": f"http://spans:{WORDS['password of the collector']}@127.0.0.1:{closed}",
            "=OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={WORDS['header of the collector']}",
            "=AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "=AWS_SECRET_ACCESS_KEY": WORDS["credential of the store"],
            "=AWS_SESSION_TOKEN": WORDS["token of the store"],
            "=AWS_REGION": "eu-central-1",
            "=AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed}",
            "=AWS_ALLOW_HTTP": "true",
        }
        keys = {
            "full": make_key(environment_of(settings), "full", "--tenant", "acme", "--scope", "admin"),
            "reader": make_key(environment_of(settings), "reader", "--scope", "jobs:read"),
        }
        with (
            role(folder / "api", "api", "--port", port, **settings) as api,
            role(folder / "worker", "worker", **settings, METRICS_PORT=metrics_port, LOG_JSON="true") as worker,
        ):
            url = f"http://127.0.0.1:{port}"
            running = Setup(url, f"http://127.0.0.1:{metrics_port}", [api, worker], keys)

            def is_ready() -> bool:
                answer = answer_of(f"{url}/readyz")
                return (answer is not None and answer.status_code == 200) or not (api.is_alive() and worker.is_alive())

            wait_until(is_ready)
            assert api.is_alive(), api.output
            assert worker.is_alive(), worker.output
            yield running
    finally:
        server.close()


def provoke(setup: Setup) -> None:
    """Requests that go well and requests that go wrong, each with a secret somewhere."""
    hook = f"https://no.such.host.invalid/hook?token={WORDS['token of a webhook']}"
    signed = f"X-Amz-Signature={WORDS['signature of a URL']}"
    photo = noise_png(40, 30)
    done = setup.send("POST", f"/restore?steps=1&webhook={hook}", content=photo, headers={"Prefer": "wait=60"})
    assert done.status_code == 200, done.text
    assert setup.send("POST", "/analyze", content=photo, headers={"Prefer": "wait=60"}).status_code == 200
    for image_url in (
        f"http://127.0.0.1/nothing?{signed}",
        f"https://no.such.host.invalid/a.jpg?{signed}",
        f"https://10.0.0.1/a.jpg?{signed}",
        f"https://user:{WORDS['password in a URL']}@127.0.0.1/a.jpg",
        "s3://photos/in/a.jpg",
        f"file:///etc/passwd?{signed}",
    ):
        answer = setup.send("POST", "/restore", json={"image_url": image_url})
        assert answer.status_code >= 400, answer.text
    # What the log would say of a request must not be what stands in its query.
    assert setup.send("POST", f"/restore?nonsense=1&webhook={hook}", content=photo).status_code == 422
    assert setup.send("GET", f"/jobs?cursor={WORDS['value of an option']}").status_code == 422
    assert setup.send("GET", "/nothing", key="").status_code == 401
    assert setup.send("GET", "/jobs", key=setup.keys["full"][:-1] + "x").status_code == 401
    proxy = {"Authorization": f"Basic {WORDS['credentials for a proxy']}"}
    assert setup.send("GET", "/jobs", key="", headers=proxy).status_code == 401
    assert setup.send("GET", "/metrics", key="reader").status_code == 403
    assert setup.send("POST", "/restore", key="reader", content=photo).status_code == 403
    assert setup.send("POST", "/restore", content=b"no photo").status_code == 415
    assert setup.send("GET", "/metrics").status_code == 200
    assert setup.send("GET", "/readyz").status_code == 200


def seen(setup: Setup) -> Iterator[tuple[str, str]]:
    """Everything that others than the caller may see, and problems, each with where it was."""
    for process in setup.roles:
        yield process.log.name, process.output
        pid = process.process.pid
        yield f"title of {process.log.name}", Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    for answer in setup.answers:
        if answer.status_code >= 400 or answer.url.path in ("/metrics", "/readyz"):
            yield f"{answer.request.method} {answer.url.path}", answer.text + repr(answer.headers)
    yield "metrics of the worker", httpx.get(f"{setup.metrics}/metrics", timeout=10).text


def test_no_secret_is_seen(setup: Setup) -> None:
    provoke(setup)
    wait_until(lambda: "is given up after" in setup.roles[0].output)  # the webhook
    texts = dict.fromkeys(seen(setup))
    assert any("Traceback" in text or "rror" in text for _, text in texts)
    assert '"level": "debug"' in setup.roles[1].output
    own = "value of an option"  # which its caller is told, and nobody else
    asked = {name: word for name, word in WORDS.items() if name != own} | setup.keys
    shown = [
        f"{name} in {where}: ...{text[max(0, text.find(word) - 200) : text.find(word) + 80]}..."
        for where, text in texts
        for name, word in asked.items()
        if word in text or (name in setup.keys and word[-20:] in text)
    ]
    assert shown == []
    assert WORDS[own] not in "".join(process.output for process in setup.roles)


def test_wrong_password_is_not_seen_either(setup: Setup, tmp_path: Path) -> None:
    wrong = WORDS["password of Redis, wrong"]
    address = f"redis://:{wrong}@127.0.0.1:1?db={wrong}"
    with role(tmp_path / "log", "api", "--port", 0, REDIS_URL=address) as broken:
        assert broken.end() == 78
        assert "VLMIR_REDIS_URL is not the address of a queue" in broken.output
        assert wrong not in broken.output
