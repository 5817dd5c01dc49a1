"""Names are asked for in threads of their own, few at a time, and not for ever."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

import pytest

from app.fetch.resolver import SystemResolver, resolve_by_system
from tests.support.jobs import until

pytestmark = pytest.mark.anyio


SYSTEM = socket.getaddrinfo


class NameServer:
    """Answers in place of the system: at once, or only when it is let go; what other threads ask goes to the system."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, *others: Any, **more: Any) -> list[Any]:
        if not host.endswith(".example."):
            return SYSTEM(host, port, *others, **more)
        self.asked.append(host)
        if host.startswith("slow"):
            self.let_go.wait(60)
        if host.startswith("none"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, 0, 0, "", (text, port)) for text in ("192.0.2.1", "192.0.2.1", "192.0.2.2")]

    async def until_asked(self, times: int) -> None:
        async def is_asked() -> bool:
            return len(self.asked) >= times

        await until(is_asked)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.let_go.set()


async def test_name_becomes_its_addresses_without_search_domains(names: NameServer) -> None:
    assert await resolve_by_system("a.example", 443) == [ip_address("192.0.2.1"), ip_address("192.0.2.2")]
    assert names.asked == ["a.example."]
    with pytest.raises(OSError, match="unknown"):
        await resolve_by_system("none.example", 443)


async def test_slow_name_servers_leave_the_threads_of_others_free(names: NameServer) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    slow = [asyncio.create_task(resolve_by_system(f"slow{number}.example", 443)) for number in range(4)]
    await names.until_asked(2)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 30) == "free"
    names.let_go.set()
    assert len(await asyncio.gather(*slow)) == 4


async def test_few_lookups_at_a_time_and_those_given_up_make_room(names: NameServer) -> None:
    resolve = SystemResolver(lookups=1, threads=3, patience_s=0.05)
    for number in range(2):
        with pytest.raises(OSError, match=r"within 0\.05 s"):
            await resolve(f"slow{number}.example", 443)
    patient = SystemResolver(lookups=1, threads=3, patience_s=60)
    first = asyncio.create_task(patient("slow2.example", 443))
    second = asyncio.create_task(patient("a.example", 443))
    await names.until_asked(3)
    assert names.asked[-1] == "slow2.example."
    names.let_go.set()
    await asyncio.gather(first, second)
    assert names.asked[-1] == "a.example."
    assert len(await resolve("b.example", 443)) == 2
