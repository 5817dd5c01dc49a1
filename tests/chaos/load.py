"""Those who use the service meanwhile: they hand photos in, ask again when no answer comes, and fetch results."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.client import AsyncVlmirClient
from app.client.retries import Retries
from app.errors import JobNotFoundError, ServiceError
from app.jobs.job import JobState
from tests.chaos.orders import OPTION_SETS, Order, Wish, all_wishes, draw_orders

PATIENCE_S = 240.0
"""Longest time for which a caller goes on asking."""

ENOUGH = 4
"""Orders under way at which even those who want many wait."""

MOST = 12
"""Orders under way at which everybody waits: on a busy machine a queue that grows would tell of the machine alone."""


@dataclass
class Accepted:
    """A job that the service has accepted, and what its caller saw of it.

    Attributes:
        id: The job.
        order: Number of its order.
        wish: What was asked for.
        is_cancel_asked: Its caller asked to cancel it.
        seen: State in which its caller saw it end, or None.
        digest: SHA-256 of the result that its caller got.
        error_code: Of one that failed.
    """

    id: str
    order: int
    wish: Wish
    is_cancel_asked: bool = False
    seen: JobState | None = None
    digest: str = ""
    error_code: str = ""


@dataclass
class Ledger:
    """What callers know.

    Attributes:
        accepted: Every accepted job by id.
        orders: Every order that was sent, and the number of its photos.
        unanswered: Orders without a key that got no answer: the service may have them or not.
        complaints: What no fault explains.
        counts: Answers and their lack, by name.
    """

    accepted: dict[str, Accepted] = field(default_factory=dict)
    orders: dict[int, int] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Load:
    """All callers.

    Args:
        url: Address of the service.
        seed: Of what they ask for.
        photos: The photos.

    Attributes:
        ledger: What they know.
        right: SHA-256 of the right result of each wish, once `learn` has found out.
        under_way: Orders that are not accepted yet.
        ended: Jobs that callers saw end.
        refused: Requests that were told to come again.
    """

    def __init__(self, url: str, seed: int, photos: list[bytes]) -> None:
        self.ledger = Ledger()
        self.right: dict[Wish, str] = {}
        self.under_way = self.ended = self.refused = 0
        self._photos, self._seed = photos, seed
        self._orders = draw_orders(seed, len(photos))
        self._pauses = random.Random(f"pauses {seed}")
        self._canceled: set[str] = set()
        self._hungry = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._http = httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(30.0, connect=10.0))
        self._client = AsyncVlmirClient(url, timeout_s=30.0, retries=Retries(attempts=8, longest_s=1.0))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
        await self._client.close()

    async def learn(self) -> None:
        """Find out every right result, one after the other, while nothing goes wrong."""
        for number, wish in enumerate(all_wishes(len(self._photos))):
            await self._handle(Order(-1 - number, (wish,)))
            done = next(job for job in self.ledger.accepted.values() if job.order == -1 - number)
            if done.seen is not JobState.SUCCEEDED:
                raise RuntimeError(f"without any fault the job for {wish} ended as {done.seen}")
            self.right[wish] = done.digest

    async def feed(self, count: int, over: asyncio.Event) -> None:
        """Send orders until `over` is set, and then at once what is missing to this many photos."""
        while not over.is_set() or self._sent < count:
            for _ in range(self._pauses.randint(1, 4)):
                order = next(self._orders)
                task = asyncio.create_task(self._handle(order))
                self._tasks.add(task)
                task.add_done_callback(self._done)
            pause_s = 0.02 if over.is_set() else self._pauses.uniform(0.3, 3.2)
            await self._pause(pause_s, over)

    async def _pause(self, pause_s: float, over: asyncio.Event) -> None:
        until_s = time.monotonic() + pause_s
        await asyncio.sleep(min(pause_s, 0.2))
        while len(self._tasks) >= MOST or (time.monotonic() < until_s and not over.is_set()):
            if self._hungry and len(self._tasks) < ENOUGH:
                return
            await asyncio.sleep(0.02)

    async def finish(self) -> None:
        """Return when every caller has what they wanted, or has given up."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @contextlib.contextmanager
    def hungry(self) -> Iterator[None]:
        """Send more than usual while the block lasts."""
        self._hungry += 1
        try:
            yield
        finally:
            self._hungry -= 1

    def is_canceled(self, job_id: str) -> bool:
        """Whether its caller cancels a job, or will."""
        return job_id in self._canceled

    async def listed(self) -> list[tuple[str, int]]:
        """Id and number of the order of every job that the service lists."""
        return [(job.id, int(job.document["metadata"]["order"])) async for job in self._client.jobs(limit=200)]

    async def fetch(self, job_id: str) -> str:
        """SHA-256 of the result of a job, fetched once more."""
        return hashlib.sha256(await self._client.result(job_id)).hexdigest()

    @property
    def _sent(self) -> int:
        return sum(photos for number, photos in self.ledger.orders.items() if number > 0)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.ledger.complaints.append(f"a caller met {type(error).__name__}: {error}")

    async def _handle(self, order: Order) -> None:
        self.ledger.orders[order.number] = len(order.wishes)
        self.under_way += 1
        try:
            document = await self._hand_in(order)
        finally:
            self.under_way -= 1
        if document is None:
            return
        if order.is_batch:
            await self._follow_batch(document["id"], order)
            return
        job = Accepted(document["id"], order.number, order.wishes[0])
        self.ledger.accepted[job.id] = job
        if order.cancel_after_s is not None:
            self._canceled.add(job.id)
            await asyncio.sleep(order.cancel_after_s)
            job.is_cancel_asked = True
            await self._until_answered(lambda: self._client.cancel(job.id))
        await self._follow(job)

    async def _hand_in(self, order: Order) -> dict[str, Any] | None:
        """Send an order until it is accepted; one without a key is sent once."""
        headers = {"Idempotency-Key": f'"chaos-{self._seed}-{order.number}"'} if order.has_key else {}
        form = OPTION_SETS[order.wishes[0].options] | {"metadata": json.dumps({"order": order.number})}
        form |= {} if order.is_batch else {"priority": order.priority}
        files = [("image", ("photo", self._photos[wish.photo])) for wish in order.wishes]
        path = "/restore/batch" if order.is_batch else "/restore"
        until_s, pauses, failures = time.monotonic() + PATIENCE_S, Retries(longest_s=1.0), 0
        while time.monotonic() < until_s:
            try:
                answer = await self._http.post(path, data=form, files=files, headers=headers)
            except httpx.TransportError as error:
                self.ledger.counts["answers lost"] += 1
                self.ledger.counts[f"lost: {type(error).__name__}"] += 1
            else:
                if answer.status_code == httpx.codes.ACCEPTED:
                    self.ledger.counts["repetitions answered"] += "idempotent-replayed" in answer.headers
                    document: dict[str, Any] = answer.json()
                    return document
                code = answer.json().get("code", "?") if "json" in answer.headers.get("content-type", "") else "?"
                self.ledger.counts[f"{answer.status_code} {code}"] += 1
                self.refused += 1
                if answer.status_code not in (409, 429, 503):
                    self.ledger.complaints.append(f"order {order.number} got {answer.status_code}: {answer.text[:200]}")
                    return None
            if not order.has_key:
                self.ledger.unanswered.add(order.number)
                return None
            failures += 1
            await asyncio.sleep(pauses.backoff_s(failures))
        self.ledger.complaints.append(f"order {order.number} was not accepted in {PATIENCE_S:g} s")
        return None

    async def _follow(self, job: Accepted) -> None:
        try:
            seen = await self._client.wait(job.id, timeout_s=PATIENCE_S)
        except JobNotFoundError:
            self.ledger.counts["accepted jobs not found"] += 1
            return
        job.seen, job.error_code = seen.state, seen.error_code or ""
        if seen.state is JobState.SUCCEEDED:
            job.digest = await self._until_answered(lambda: self.fetch(job.id)) or ""
        self.ended += 1

    async def _follow_batch(self, batch_id: str, order: Order) -> None:
        """Take every photo of an accepted batch for an accepted job, as its caller does."""
        from app.jobs.batch import entry_job_id

        ids = [entry_job_id(batch_id, index) for index in range(len(order.wishes))]
        for job_id, wish in zip(ids, order.wishes, strict=True):
            self.ledger.accepted[job_id] = Accepted(job_id, order.number, wish)
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            batch = await self._until_answered(lambda: self._http.get(f"/batches/{batch_id}"))
            if batch is not None and batch.status_code == httpx.codes.OK:
                if batch.json()["errors"]:
                    self.ledger.complaints.append(f"batch {batch_id}: refused photos {batch.json()['errors']}")
                if batch.json()["state"] == "done":
                    break
            await asyncio.sleep(0.3)
        for job_id in ids:
            await self._follow(self.ledger.accepted[job_id])

    async def _until_answered(self, ask: Any) -> Any:
        """Ask again and again while the service is away; None when it stays away."""
        until_s, pauses, failures = time.monotonic() + PATIENCE_S, Retries(longest_s=1.0), 0
        while time.monotonic() < until_s:
            try:
                return await ask()
            except JobNotFoundError:
                return None
            except (ServiceError, httpx.TransportError):
                failures += 1
            await asyncio.sleep(pauses.backoff_s(failures))
        return None
