"""Webhooks that are to be sent, kept in Redis from the moment at which there is something to tell.

The script that ends a job puts what is to be told into the outbox in the same step (`tell` in `lua/prelude.lua`), with
the job's record as it is then. Senders (`app.webhooks.sender`) take webhooks from there under a lease, so one whose
sender dies is given out again. Every try is recorded, for callers to look at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from app.jobs.connection import call

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.jobs.keys import Keys
    from app.jobs.scripts import Scripts

Outcome = Literal["delivered", "failed", "disabled", "retry", "release"]
"""How a try ends: for good in one of three ways, to be tried again after a failure, or given back as if untried."""


@dataclass(frozen=True)
class Message:
    """One webhook in the hands of a sender.

    Attributes:
        id: Stable name, the same at every try.
        event: What is told, one of `app.jobs.webhook.WEBHOOK_EVENTS`.
        tenant: Whose job it is about.
        url: Where it goes.
        endpoint: Name of tenant and host together.
        at_ms: When it happened.
        about: The record that it tells about, as it was then: fields of the job's hash, or of a refused entry.
        number: Number of this try, from 1.
        failures: Tries that failed before.
    """

    id: str
    event: str
    tenant: str
    url: str
    endpoint: str
    at_ms: int
    about: Mapping[bytes, bytes]
    number: int
    failures: int


@dataclass(frozen=True)
class Attempt:
    """One try to send a webhook.

    Attributes:
        at_ms: When it began.
        status: HTTP status of the answer, or None without one.
        error: What went wrong in words, or None.
        seconds: How long it took, or None while it is not known.
    """

    at_ms: int
    status: int | None = None
    error: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Delivery:
    """A webhook and what has become of it.

    Attributes:
        id: Its stable name.
        event: What it tells.
        url: Where it goes.
        state: "pending", "delivered", "failed" or "disabled".
        at_ms: When it happened.
        next_ms: When it is tried again, or None if it is not.
        attempts: In order; of one that is under way, or whose sender disappeared, only the time is known.
    """

    id: str
    event: str
    url: str
    state: str
    at_ms: int
    next_ms: int | None
    attempts: tuple[Attempt, ...]


class Outbox:
    """The webhooks of one queue. All methods raise `QueueUnavailableError` while Redis cannot work.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
        scripts: The scripts of the queue.
    """

    def __init__(self, redis: Redis, keys: Keys, scripts: Scripts) -> None:
        self._redis, self._keys, self._scripts = redis, keys, scripts

    async def take(self, limit: int, lease_ms: int, per_endpoint: int, busy: Iterable[str] = ()) -> list[Message]:
        """Take webhooks that are due, oldest first; each is given out again after the lease unless it is settled.

        One call looks at a part of those that are due. What is behind a long line for busy endpoints is found by
        further calls, and so may be given before an older one.

        Args:
            limit: Most to take.
            lease_ms: Time to settle them in, in milliseconds.
            per_endpoint: Most at a time to one endpoint.
            busy: Endpoint of each that this process is sending.
        """
        rows = await self._scripts.run("webhook_take", limit, lease_ms, per_endpoint, *busy)
        return [_message(number, dict(zip(flat[::2], flat[1::2], strict=True))) for number, flat in rows]

    async def settle(
        self, message: Message, outcome: Outcome, attempt: Attempt, delay_s: float = 0.0, pause_s: float = 0.0
    ) -> bool:
        """Record how a try ended.

        Args:
            message: What was tried.
            outcome: What is to become of it. "disabled" also ends all further ones of its batch to the same URL.
            attempt: The try.
            delay_s: Seconds until the next one.
            pause_s: Seconds for which nothing is sent to the endpoint, because it does not answer.

        Returns:
            False when another sender has taken it since.
        """
        text = json.dumps({name: value for name, value in vars(attempt).items() if value is not None})
        times = int(delay_s * 1000), int(pause_s * 1000)
        return bool(await self._scripts.run("webhook_settle", message.id, message.number, outcome, *times, text))

    async def waiting(self) -> int:
        """Give the number of webhooks that are not settled."""
        return int(await call(self._redis, "ZCARD", self._keys.outbox))

    async def deliveries(self, subject: str) -> list[Delivery]:
        """List what was told about a job, oldest first."""
        found = []
        for message_id in await call(self._redis, "LRANGE", self._keys.deliveries(subject), 0, -1):
            fields = await call(self._redis, "HGETALL", self._keys.delivery(message_id.decode()))
            if fields:
                found.append(_delivery(fields))
        return found


def _message(number: int, fields: Mapping[bytes, bytes]) -> Message:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    about = [part.encode() for part in json.loads(text["about"])]
    return Message(
        id=text["id"],
        event=text["event"],
        tenant=text["tenant"],
        url=text["url"],
        endpoint=text["endpoint"],
        at_ms=int(text["at_ms"]),
        about=dict(zip(about[::2], about[1::2], strict=True)),
        number=number,
        failures=int(text.get("failures", 0)),
    )


def _delivery(fields: Mapping[bytes, bytes]) -> Delivery:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    tries = sorted(int(name.removeprefix("try:")) for name in text if name.startswith("try:"))
    rows: list[dict[str, Any]] = [json.loads(text[f"try:{number}"]) for number in tries]
    return Delivery(
        id=text["id"],
        event=text["event"],
        url=text["url"],
        state=text["state"],
        at_ms=int(text["at_ms"]),
        next_ms=int(text["next_ms"]) if "next_ms" in text else None,
        attempts=tuple(Attempt(**row) for row in rows),
    )
