"""Photos fetched from real servers on loopback, which only these tests allow."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from app.api.budget import UploadBudget
from app.bench.ssrf import ATTEMPTS, Way, try_all
from app.errors import ImageFetchError, ImageUrlRefusedError, ServiceError, UploadsBusyError, UploadTooLargeError
from app.fetch.addresses import IPAddress
from app.fetch.fetcher import FetchPolicy, ImageFetcher
from app.fetch.resolver import resolve_by_system
from tests.support.photo_host import (
    LOOPBACK,
    giving,
    loopback_policy,
    make_certificate,
    photo_host,
    resolving,
    response,
)

pytestmark = pytest.mark.anyio
PHOTO = bytes(range(256)) * 40


async def fetch(fetcher: ImageFetcher, url: str, max_bytes: int = 100_000) -> bytes:
    budget = UploadBudget(1_000_000)
    with budget.share() as share:
        data = await fetcher.fetch(url, max_bytes, share)
        assert budget.held_bytes == len(data)
    return data


async def failure(fetcher: ImageFetcher, url: str, max_bytes: int = 100_000) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await fetch(fetcher, url, max_bytes)
    return caught.value


@pytest.mark.parametrize("way", ["photo", "webhook"])
async def test_every_way_to_a_forbidden_host_is_refused(way: Way) -> None:
    verdicts = await try_all(way=way)
    for item in verdicts:
        print(f"{item.attempt.name:36} {item.code:18} {item.reason}")  # noqa: T201 - pytest -s shows the table
    assert len(verdicts) == len(ATTEMPTS) >= 25
    assert [item for item in verdicts if not item.is_refused] == []


async def test_a_photo_comes_over_http_with_host_and_no_secrets() -> None:
    async with photo_host(giving(PHOTO)) as host:
        fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
        assert await fetch(fetcher, f"http://photos.example:{host.port}/a%20b.jpg?x=1#f") == PHOTO
    assert host.paths == ["/a%20b.jpg?x=1"]
    assert host.hosts == [f"photos.example:{host.port}"]
    assert "cookie" not in host.heads[0].lower()
    assert "authorization" not in host.heads[0].lower()
    assert "accept-encoding: identity" in host.heads[0].lower()


async def test_tls_uses_the_name_although_the_connection_goes_to_the_address(tmp_path: Path) -> None:
    server, client = make_certificate(tmp_path, "photos.example")
    async with photo_host(giving(PHOTO), tls=server) as host:
        fetcher = ImageFetcher(FetchPolicy(allowed_networks=LOOPBACK), resolving(["127.0.0.1"]), client)
        assert await fetch(fetcher, f"https://photos.example:{host.port}/a") == PHOTO
        assert host.names == ["photos.example"]
        wrong = await failure(fetcher, f"https://other.example:{host.port}/a")
        assert isinstance(wrong, ImageFetchError)
        strangers = ImageFetcher(FetchPolicy(allowed_networks=LOOPBACK), resolving(["127.0.0.1"]))
        assert isinstance(await failure(strangers, f"https://photos.example:{host.port}/a"), ImageFetchError)
    assert host.paths == ["/a"]


async def test_a_name_is_resolved_once_and_its_address_is_the_one_connected_to() -> None:
    asked: list[str] = []

    async def rebinding(name: str, _port: int) -> Sequence[IPAddress]:
        asked.append(name)
        return await resolving(["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"])(name, 0)

    async with photo_host(giving(b"first"), "127.0.0.1") as first:
        assert await fetch(ImageFetcher(loopback_policy(), rebinding), f"http://a.example:{first.port}/") == b"first"
    assert asked == ["a.example"]
    assert first.paths == ["/"]


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with photo_host(giving(PHOTO), "127.0.0.1") as host:
        fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.3", "127.0.0.1"]))
        assert await fetch(fetcher, f"http://a.example:{host.port}/") == PHOTO


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with photo_host(giving(b"from the proxy")) as proxy, photo_host(giving(PHOTO)) as host:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
        assert await fetch(fetcher, f"http://a.example:{host.port}/") == PHOTO
    assert proxy.paths == []


async def test_redirections_are_followed_three_times_and_no_more() -> None:
    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        left = int(path.strip("/"))
        writer.write(response(PHOTO) if left == 0 else response(b"", "302 Found", Location=f"/{left - 1}"))

    async with photo_host(answer) as host:
        fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
        assert await fetch(fetcher, f"http://a.example:{host.port}/3") == PHOTO
        assert host.paths == ["/3", "/2", "/1", "/0"]
        host.paths.clear()
        assert "more than 3 times" in (await failure(fetcher, f"http://a.example:{host.port}/4")).detail
        assert host.paths == ["/4", "/3", "/2", "/1"]


@pytest.mark.parametrize("location", ["http://[::bad/", "", "http://a.example:99999999/", "\t//"])
async def test_a_redirection_must_lead_somewhere(location: str) -> None:
    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"", "301 Moved", Location=location))

    async with photo_host(answer) as host:
        fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
        error = await failure(fetcher, f"http://a.example:{host.port}/")
    assert isinstance(error, ImageUrlRefusedError | ImageFetchError)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [("404 Gone", False), ("403 Forbidden", False), ("204 Empty", False), ("503 Busy", True), ("429 Many", True)],
)
async def test_other_answers_than_200_are_told(status: str, retryable: bool) -> None:
    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"", status))

    async with photo_host(answer) as host:
        error = await failure(
            ImageFetcher(loopback_policy(), resolving(["127.0.0.1"])), f"http://a.example:{host.port}/"
        )
    assert (error.code, error.retryable) == ("image_fetch_failed", retryable)
    assert status[:3] in error.detail


async def test_too_many_bytes_are_refused_by_the_header_and_by_what_comes() -> None:
    sent = 0

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        if path == "/told":
            writer.write(response(b"x" * 50_000))
            return
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(2000):
            writer.write(b"x" * 50_000)
            await writer.drain()
            sent += 50_000

    async with photo_host(answer) as host:
        fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
        for path in ("told", "endless"):
            error = await failure(fetcher, f"http://a.example:{host.port}/{path}", max_bytes=10_000)
            assert isinstance(error, UploadTooLargeError)
    assert sent < 90_000_000  # it was not read to its end


async def test_memory_for_uploads_bounds_what_is_fetched() -> None:
    budget = UploadBudget(len(PHOTO))
    async with photo_host(giving(PHOTO)) as host:
        fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
        with budget.share() as other, budget.share() as share:
            other.grow(1)
            with pytest.raises(UploadsBusyError):
                await fetcher.fetch(f"http://a.example:{host.port}/", 100_000, share)


async def test_packed_answers_are_refused_and_not_unpacked() -> None:
    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip"))

    async with photo_host(answer) as host:
        error = await failure(
            ImageFetcher(loopback_policy(), resolving(["127.0.0.1"])), f"http://a.example:{host.port}/"
        )
    assert isinstance(error, ImageFetchError)
    assert "encoding" in error.detail


async def test_a_host_that_drips_is_left_when_the_time_is_up() -> None:
    gone = asyncio.Event()

    async def drip(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    async with photo_host(drip) as host:
        fetcher = ImageFetcher(loopback_policy(total_s=0.3), resolving(["127.0.0.1"]))
        error = await failure(fetcher, f"http://a.example:{host.port}/")
        assert isinstance(error, ImageFetchError)
        assert error.retryable
        with anyio.fail_after(10):
            await gone.wait()


async def test_a_host_that_is_silent_or_stops_is_told() -> None:
    release = asyncio.Event()

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/silent":
            await release.wait()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nxxx")

    async with photo_host(answer) as host:
        fetcher = ImageFetcher(loopback_policy(read_s=0.2), resolving(["127.0.0.1"]))
        for path in ("silent", "stops"):
            error = await failure(fetcher, f"http://a.example:{host.port}/{path}")
            assert isinstance(error, ImageFetchError)
            assert error.retryable
        release.set()


async def test_names_without_addresses_and_closed_ports_are_told() -> None:
    async def unknown(_name: str, _port: int) -> Sequence[IPAddress]:
        raise OSError("no such host")

    assert "no address" in (await failure(ImageFetcher(loopback_policy(), unknown), "https://a.example/")).detail
    assert "no address" in (await failure(ImageFetcher(loopback_policy(), resolving([])), "https://a.example/")).detail
    async with photo_host(giving(PHOTO)) as host:
        port = host.port
    await asyncio.sleep(0)
    error = await failure(ImageFetcher(loopback_policy(), resolving(["127.0.0.9"])), f"http://a.example:{port}/")
    assert "cannot be connected to" in error.detail


async def test_only_so_many_photos_are_fetched_at_a_time() -> None:
    now = most = 0
    release = asyncio.Event()

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 2:
            release.set()
        await release.wait()
        await asyncio.sleep(0.01)
        now -= 1
        writer.write(response(PHOTO))

    async with photo_host(answer) as host:
        fetcher = ImageFetcher(loopback_policy(at_once=2), resolving(["127.0.0.1"]))
        url = f"http://a.example:{host.port}/"
        got = await asyncio.gather(*(fetch_alone(fetcher, url) for _ in range(7)))
    assert got == [PHOTO] * 7
    assert most == 2


async def fetch_alone(fetcher: ImageFetcher, url: str) -> bytes:
    with UploadBudget(1_000_000).share() as share:
        return await fetcher.fetch(url, 100_000, share)


async def test_the_system_resolver_completes_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_rest: int, **_more: int) -> list[tuple[object, ...]]:
        asked.append(host)
        rows = [("93.184.215.14", port), ("2003::1", port, 0, 0), ("93.184.215.14", port)]
        return [(0, 0, 0, "", row) for row in rows]

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    assert [str(address) for address in await resolve_by_system("photos.example", 443)] == ["93.184.215.14", "2003::1"]
    assert asked == ["photos.example."]
