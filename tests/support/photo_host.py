"""A real web server on loopback that gives photos, slowly or wrongly where a test wants it, with or without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

from app.fetch.addresses import IPAddress
from app.fetch.fetcher import FetchPolicy

LOOPBACK = (ip_network("127.0.0.0/8"),)

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
"""Answers a request for a path by writing to the connection."""


class PhotoHost:
    """Counts what it is asked; `paths`, `hosts` (Host headers) and `names` (of TLS) are in order."""

    def __init__(self, answer: Answer) -> None:
        self.paths: list[str] = []
        self.hosts: list[str] = []
        self.names: list[str | None] = []
        self.heads: list[str] = []
        self.port = 0
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            path = head.split(" ", 2)[1]
            self.paths.append(path)
            lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            self.hosts.append(lines["host"])
            await self._answer(path, writer)
            await writer.drain()
        writer.close()


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A whole HTTP/1.1 answer; underscores in the names of headers stand for dashes."""
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def giving(data: bytes) -> Answer:
    """Gives the same bytes at every path."""

    async def answer(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(data, Content_Type="text/plain"))

    return answer


@contextlib.asynccontextmanager
async def photo_host(
    answer: Answer, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[PhotoHost]:
    """A server for as long as the block lasts."""
    host = PhotoHost(answer)
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: host.names.append(name)
    server = await asyncio.start_server(host.serve, address, 0, ssl=tls)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()


def resolving(*answers: Sequence[str]) -> Callable[[str, int], Awaitable[list[IPAddress]]]:
    """A resolver that gives these lists of addresses, one after the other, the last one for ever."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> list[IPAddress]:
        return [ip_address(text) for text in (left.pop(0) if len(left) > 1 else left[0])]

    return resolve


def loopback_policy(**more: float) -> FetchPolicy:
    """Fetching from servers of tests."""
    bounds: dict[str, float] = {"connect_s": 5.0, "read_s": 5.0, "total_s": 10.0} | more
    return FetchPolicy(allow_http=True, allowed_networks=LOOPBACK, **bounds)  # type: ignore[arg-type]


def make_certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A context for a server called `name`, and one for a client that trusts it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    return server, client
