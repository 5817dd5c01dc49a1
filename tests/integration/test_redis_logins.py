"""Sentinels and clusters that ask for passwords and speak nothing but TLS."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import QueueUnavailableError, UnusableRedisError
from app.jobs.job import JobState
from app.jobs.queue import JobQueue
from app.jobs.waiting import wait_for_queue
from tests.support.jobs import make_job, open_queue
from tests.support.redis_nodes import RedisNode, Sentinel, wait_for
from tests.support.redis_server import find_binary

pytestmark = pytest.mark.anyio

PASSWORD = "p@ss/word"  # noqa: S105 - of a server that lives for a second
WRITTEN = "p%40ss%2Fword"  # as a URL has it


class TlsNode(RedisNode):
    """A server that speaks TLS alone and asks for a password."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(*tls(folder), "--requirepass", PASSWORD, *arguments, **login(folder, PASSWORD))

    def command(self) -> list[str]:
        return [*super().command(), "--port", "0", "--tls-port", str(self.port)]


def tls(folder: Path) -> list[str]:
    files = ("cert-file", "cert.pem"), ("key-file", "key.pem"), ("ca-cert-file", "cert.pem")
    words = [word for name, file in files for word in (f"--tls-{name}", str(folder / file))]
    return [*words, "--tls-auth-clients", "no"]


def login(folder: Path, password: str) -> dict[str, Any]:
    return {"password": password, "ssl": True, "ssl_ca_certs": str(folder / "cert.pem")}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate of 127.0.0.1 that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run([openssl, "req", "-x509", *kind, *names, *files], check=True, capture_output=True)
    answer = subprocess.run(
        [find_binary(), "--tls-port", "0", "--port", "x"], capture_output=True, text=True, check=False
    )
    if "tls-port" in answer.stderr:
        pytest.skip("this redis-server was built without TLS")
    return folder


@pytest.fixture
def cluster_node(certificate: Path) -> Iterator[RedisNode]:
    """A cluster of one node, which does not know its own address."""
    node = TlsNode(certificate, "--cluster-enabled", "yes", "--tls-cluster", "yes")
    try:
        node.start()
        node.ask("CLUSTER", "ADDSLOTS", *range(16384))
        wait_for(lambda: bool(node.client.cluster("info")["cluster_state"] == "ok"), "the cluster is well")
        yield node
    finally:
        node.close()


@pytest.fixture
def sentinel(certificate: Path) -> Iterator[Sentinel]:
    """A Sentinel with a password of its own."""
    master = TlsNode(certificate)
    settings = tls(certificate)
    lines = [f"{name.removeprefix('--')} {value}" for name, value in zip(settings[::2], settings[1::2], strict=True)]
    lines += ["port 0", "tls-replication yes", f"sentinel auth-pass photos {PASSWORD}", "requirepass of-sentinels"]
    watching = Sentinel(master, port_setting="tls-port", lines=lines, **login(certificate, "of-sentinels"))
    try:
        master.start()
        watching.start()
        yield watching
    finally:
        watching.close()
        master.close()


async def goes_through(queue: JobQueue) -> bool:
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)
    return (await queue.wait(job.id, 30)).state is JobState.SUCCEEDED


async def test_cluster(cluster_node: RedisNode, certificate: Path) -> None:
    place, ca = cluster_node.address, f"ssl_ca_certs={certificate / 'cert.pem'}"
    async with open_queue(f"rediss+cluster://default:{WRITTEN}@{place}?{ca}&max_connections=4", "") as queue:
        assert await goes_through(queue)
    wrong = f"rediss+cluster://:wrong@{place}?{ca}&max_connections=4"
    async with open_queue(wrong, "") as queue:
        with pytest.raises(UnusableRedisError, match="password"):  # nobody who starts waits for another answer
            await wait_for_queue(queue, wrong)
    for url in (
        f"rediss+cluster://:wrong@{place}?{ca}",
        f"rediss+cluster://:{WRITTEN}@{place}",
        f"redis+cluster://{place}",
    ):
        async with open_queue(url, "") as queue:
            with pytest.raises(QueueUnavailableError):
                await queue.ping()


async def test_sentinel(sentinel: Sentinel, certificate: Path) -> None:
    place, ca = sentinel.address, f"ssl_ca_certs={certificate / 'cert.pem'}"
    whole = f"rediss+sentinel://:{WRITTEN}@{place}/photos?{ca}&sentinel_password=of-sentinels"
    async with open_queue(whole, "") as queue:
        assert await goes_through(queue)
    for url in (
        whole.replace("of-sentinels", "wrong"),
        whole.replace(WRITTEN, "wrong"),
        whole.replace("rediss", "redis").replace(f"{ca}&", ""),
    ):
        async with open_queue(url, "") as queue:
            with pytest.raises(QueueUnavailableError):
                await queue.ping()
