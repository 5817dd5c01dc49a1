"""Ways in which a caller may try to make the service reach the network behind it: all must be refused.

The URL may be that of a photo, which is fetched, or of a webhook, which is sent there.

A server on loopback stands for what must not be reached, and counts who reaches it. Where a case needs a first host
that may be fetched from, the same server stands for that too, at an address that is allowed for this run alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Literal

from app.api.budget import UploadBudget
from app.errors import ServiceError
from app.fetch.addresses import IPAddress
from app.fetch.fetcher import FetchPolicy, ImageFetcher
from app.fetch.pinned import PinnedClient
from app.fetch.resolver import Resolver
from app.webhooks.post import post

PUBLIC = "93.184.215.14"
Way = Literal["photo", "webhook"]
"""What the URL is given for."""

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Attempt:
    """One way to try.

    Attributes:
        name: What it is.
        url: What the caller gives; PORT stands for that of the server.
        answers: What the name server gives, one list per question; the last one again for further questions.
        redirect: Where the server at the first URL, then an allowed one, redirects to; None for no redirection.
        https_only: Plain http is refused in this case, as it is by default.
    """

    name: str
    url: str
    answers: tuple[tuple[str, ...], ...] = ()
    redirect: str | None = None
    https_only: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of an attempt.

    Attributes:
        attempt: Which one.
        code: Error code, "fetched" or "sent", or "not followed" for the redirection of a webhook.
        reason: The error in words.
        reached: Requests that reached the server, without the first of a redirection.
        way: What the URL was given for.
    """

    attempt: Attempt
    code: str
    reason: str
    reached: int
    way: Way = "photo"

    @property
    def is_refused(self) -> bool:
        """Whether it was refused as it must be, before anything was asked of the forbidden host."""
        is_stopped = self.way == "webhook" and self.attempt.redirect is not None and self.code == "not followed"
        return (self.code == "image_url_refused" or is_stopped) and self.reached == 0


def _literal(name: str, host: str) -> Attempt:
    return Attempt(name, f"http://{host}:PORT/photo")


def _resolving(name: str, *addresses: str) -> Attempt:
    return Attempt(f"name of {name}", "http://photos.example:PORT/photo", (addresses,))


def _redirecting(name: str, location: str, *answers: tuple[str, ...]) -> Attempt:
    return Attempt(f"redirect to {name}", "http://127.0.0.1:PORT/redirect", answers, redirect=location)


ATTEMPTS: tuple[Attempt, ...] = (
    _literal("loopback", "127.0.0.1"),
    _literal("other loopback", "127.8.9.10"),
    _literal("decimal", "2130706433"),
    _literal("octal", "0177.0.0.1"),
    _literal("octal in one", "017700000001"),
    _literal("hexadecimal", "0x7f000001"),
    _literal("hexadecimal parts", "0x7f.0x0.0x0.0x1"),
    _literal("short", "127.1"),
    _literal("shorter", "0"),
    _literal("mixed bases", "127.0x0.1"),
    _literal("leading zeros", "127.000.000.001"),
    _literal("overflowing number", "4294967297"),
    _literal("five parts", "127.0.0.0.1"),
    _literal("trailing dot", "127.0.0.1."),
    _literal("name with trailing dot", "localhost."),
    _literal("localhost", "localhost"),
    _literal("localhost in capitals", "LOCALHOST"),
    _literal("subdomain of localhost", "photos.localhost"),
    _literal("name without dots", "redis"),
    _literal("unspecified", "0.0.0.0"),  # noqa: S104 - nothing is bound to it
    _literal("private 10", "10.0.0.1"),
    _literal("private 172", "172.16.0.1"),
    _literal("private 192", "192.168.1.1"),
    _literal("carrier-grade NAT", "100.64.0.1"),
    _literal("link-local metadata", "169.254.169.254"),
    _literal("metadata of Alibaba", "100.100.100.200"),
    _literal("metadata of Oracle", "192.0.0.192"),
    _literal("host service of Azure", "168.63.129.16"),
    _literal("multicast", "224.0.0.1"),
    _literal("broadcast", "255.255.255.255"),
    _literal("reserved", "240.0.0.1"),
    _literal("documentation", "203.0.113.7"),
    _literal("IPv6 loopback", "[::1]"),
    _literal("IPv6 loopback in full", "[0:0:0:0:0:0:0:1]"),
    _literal("IPv6 unspecified", "[::]"),
    _literal("IPv4-mapped", "[::ffff:127.0.0.1]"),
    _literal("IPv4-mapped in hexadecimal", "[::ffff:7f00:1]"),
    _literal("IPv4-mapped of a public host", f"[::ffff:{PUBLIC}]"),
    _literal("IPv4-compatible", "[::127.0.0.1]"),
    _literal("IPv4-translated", "[::ffff:0:127.0.0.1]"),
    _literal("NAT64", "[64:ff9b::7f00:1]"),
    _literal("local NAT64", "[64:ff9b:1::7f00:1]"),
    _literal("6to4", "[2002:7f00:1::]"),
    _literal("Teredo", "[2001:0:7f00:1::]"),
    _literal("ISATAP", "[2a00:1:2:3:0:5efe:7f00:1]"),
    _literal("IPv6 private", "[fd00::1]"),
    _literal("IPv6 metadata of AWS", "[fd00:ec2::254]"),
    _literal("IPv6 metadata of Google", "[fd20:ce::254]"),
    _literal("IPv6 metadata of Oracle", "[fd00:c1::a9fe:a9fe]"),
    _literal("IPv6 link-local", "[fe80::1]"),
    _literal("IPv6 with a zone", "[fe80::1%25lo]"),
    _literal("IPv6 multicast", "[ff02::1]"),
    _literal("digits in circles", "①②⑦.⓪.⓪.①"),
    _literal("full-width digits", "１２７.０.０.１"),  # noqa: RUF001 - that is the trick
    _literal("full-width dots", "127。0。0。1"),
    _literal("percent-encoded host", "%31%32%37.0.0.1"),
    _literal("letters that become others", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"),
    Attempt("credentials", "http://user:secret@127.0.0.1:PORT/photo"),
    Attempt("public host as user name", f"http://{PUBLIC}@127.0.0.1:PORT/photo"),
    Attempt("user name behind a fragment", f"http://127.0.0.1:PORT#@{PUBLIC}/photo"),
    Attempt("backslash", f"http://127.0.0.1:PORT\\@{PUBLIC}/photo"),
    Attempt("line break", "http://127.0.0.1:PORT/photo\r\nX-Injected: 1"),
    Attempt("blank", "http://127.0.0.1 :PORT/photo"),
    Attempt("zero byte", "http://127.0.0.1\0.photos.example:PORT/photo"),
    Attempt("no host", "http:///photo"),
    Attempt("no slashes", "http:127.0.0.1:PORT/photo"),
    Attempt("relative to the scheme", "//127.0.0.1:PORT/photo"),
    Attempt("plain http", "http://photos.example:PORT/photo", ((PUBLIC,),), https_only=True),
    Attempt("file", "file:///etc/passwd"),
    Attempt("gopher", "gopher://127.0.0.1:PORT/_photo"),
    Attempt("data", "data:image/png;base64,AAAA"),
    Attempt("port of mail", f"https://{PUBLIC}:25/photo"),
    Attempt("port that is none", f"https://{PUBLIC}:65536/photo"),
    _resolving("loopback", "127.0.0.1"),
    _resolving("a private host", "10.1.2.3"),
    _resolving("metadata", "169.254.169.254"),
    _resolving("IPv6 loopback", "::1"),
    _resolving("IPv4-mapped loopback", "::ffff:127.0.0.1"),
    _resolving("public and private hosts", PUBLIC, "10.1.2.3"),
    _resolving("private and public hosts", "127.0.0.1", PUBLIC),
    _redirecting("loopback", "http://127.0.0.2:PORT/photo"),
    _redirecting("a decimal address", "http://2130706433:PORT/photo"),
    _redirecting("metadata", "http://169.254.169.254/latest/meta-data/"),
    _redirecting("IPv6 loopback", "http://[::1]:PORT/photo"),
    _redirecting("a private name", "http://inside.example:PORT/photo", ("10.0.0.1",)),
    _redirecting("credentials", "http://user@127.0.0.1:PORT/photo"),
    _redirecting("another scheme", "file:///etc/passwd"),
    _redirecting("a host without a scheme", "//127.0.0.2:PORT/photo"),
    Attempt(
        "rebinding between redirections",
        "http://photos.example:PORT/redirect",
        (("127.0.0.1",), ("127.0.0.2",)),
        redirect="/photo",
    ),
)  # fmt: skip


class _Server:
    """A real HTTP server at several addresses of loopback; counts requests by path."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.location = ""
        self.port = 0
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        for host in ("127.0.0.1", "127.0.0.2", "127.8.9.10", "::1"):
            with contextlib.suppress(OSError):  # not every system has all of them
                self._servers.append(await asyncio.start_server(self._answer, host, self.port))
                self.port = self._servers[0].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        self.requests.append(path)
        if path == "/redirect":
            answer = f"HTTP/1.1 302 Found\r\nLocation: {self.location}\r\nContent-Length: 0\r\n"
        else:
            answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n"
        body = "" if path == "/redirect" else "secret"
        writer.write(f"{answer}Connection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()


async def try_all(attempts: Sequence[Attempt] = ATTEMPTS, way: Way = "photo") -> list[Verdict]:
    """Make every attempt; one verdict each, in order."""
    server = _Server()
    await server.start()
    try:
        return [await _try(attempt, server, way) for attempt in attempts]
    finally:
        await server.stop()


async def _try(attempt: Attempt, server: _Server, way: Way) -> Verdict:
    questions = 0

    async def resolve(host: str, port: int) -> list[IPAddress]:
        nonlocal questions
        questions += 1
        return [ip_address(text) for text in attempt.answers[min(questions, len(attempt.answers)) - 1]]

    server.requests.clear()
    server.location = (attempt.redirect or "").replace("PORT", str(server.port))
    policy = FetchPolicy(
        allow_http=not attempt.https_only,
        allowed_networks=(ip_network("127.0.0.1/32"),) if attempt.redirect is not None else (),
        connect_s=2.0,
        read_s=2.0,
        total_s=5.0,
    )
    reason = ""
    try:
        code = await (_fetch if way == "photo" else _send)(
            policy, resolve, attempt.url.replace("PORT", str(server.port))
        )
    except ServiceError as error:
        code, reason = error.code, error.detail
    reached = sum(path != "/redirect" for path in server.requests)
    if attempt.redirect is not None and "/redirect" not in server.requests:
        code, reason = "not tried", f"the first host was not asked: {reason}"
    return Verdict(attempt, code, reason, reached, way)


async def _fetch(policy: FetchPolicy, resolve: Resolver, url: str) -> str:
    with UploadBudget(_MAX_BYTES).share() as share:
        await ImageFetcher(policy, resolve).fetch(url, _MAX_BYTES, share)
    return "fetched"


async def _send(policy: FetchPolicy, resolve: Resolver, url: str) -> str:
    answer = await post(PinnedClient(policy, resolve), url, {}, b"{}", policy.total_s)
    return "not followed" if 300 <= answer.status < 400 else "sent"
