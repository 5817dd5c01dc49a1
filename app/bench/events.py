"""Events of jobs followed over a network that breaks connections off at random: is any of them lost, or doubled?

What followers saw is held against the streams in Redis, where the workers' scripts write events.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from app.bench.cutting import CuttingRelay
from app.client import AsyncVlmirClient, Event, Retries

if TYPE_CHECKING:
    from app.jobs.journal import JobEvent
    from app.jobs.queue import JobQueue

_LONGEST_CALM_S = 0.15


@dataclass
class FollowFigures:
    """What became of the events.

    Attributes:
        jobs: Jobs that were followed to their end.
        written: Events of them in Redis.
        received: Events that the followers were given.
        cuts: Connections broken off.
        connections: Connections that the followers made.
        lost: Events that were written and not received.
        doubled: Events that were received once more than once.
        strange: Events that were received with other content than written, or never written.
        out_of_order: Events that came behind a later one.
        seconds: Time from the first job to the last event.
    """

    jobs: int = 0
    written: int = 0
    received: int = 0
    cuts: int = 0
    connections: int = 0
    lost: int = 0
    doubled: int = 0
    strange: int = 0
    out_of_order: int = 0
    seconds: float = 0.0

    def count(self, written: list[JobEvent], received: list[Event]) -> None:
        """Add the events of a job."""
        truth = {event.id: event for event in written}
        seen = Counter(event.id for event in received)
        self.jobs += 1
        self.written += len(truth)
        self.received += len(received)
        self.lost += len(truth.keys() - seen.keys())
        self.doubled += sum(times - 1 for times in seen.values())
        self.strange += sum(not _is_same(truth.get(event.id), event) for event in received)
        places = [tuple(int(number) for number in event.id.split("-")) for event in received]
        self.out_of_order += sum(later < earlier for earlier, later in itertools.pairwise(places))


@dataclass(frozen=True)
class Load:
    """What to do while connections break.

    Attributes:
        cuts: Connections to break off, at least.
        at_once: Jobs that are followed at a time.
        steps: Steps of each.
        photo: The photo, as a file.
        seed: Of everything random.
        previews: Whether followers ask for previews too; these may be missed and are not counted.
    """

    cuts: int
    at_once: int
    steps: int
    photo: bytes = field(repr=False)
    seed: int = 0
    previews: bool = False


async def follow_under_cuts(url: str, queue: JobQueue, load: Load) -> FollowFigures:
    """Follow jobs over a relay that breaks connections off, one new job for each that ends, until there were enough.

    Args:
        url: Address of the service.
        queue: Its queue, to read what was written.
        load: What to do.

    Raises:
        ServiceError: The service is away, or refuses the photo.
    """
    numbers = random.Random(load.seed)  # noqa: S311 - no secret
    target = httpx.URL(url)
    figures = FollowFigures()
    begun_s = time.monotonic()
    async with (
        CuttingRelay(target.host, target.port or 80, numbers) as relay,
        AsyncVlmirClient(url) as direct,
        AsyncVlmirClient(f"http://127.0.0.1:{relay.port}", retries=Retries(first_s=0.05)) as cut_off,
    ):
        cutting = asyncio.create_task(_cut(relay, load, numbers))

        async def follow_one_after_another() -> None:
            while not figures.jobs or relay.cuts < load.cuts:
                job = await direct.submit(load.photo, steps=load.steps, seed=numbers.randrange(2**32))
                events = cut_off.events(job.id, previews=load.previews)
                received = [event async for event in events if event.type != "preview"]
                figures.count(await _written(queue, job.id), received)

        try:
            await asyncio.gather(*(follow_one_after_another() for _ in range(load.at_once)))
        finally:
            cutting.cancel()
            await asyncio.gather(cutting, return_exceptions=True)
        figures.cuts, figures.connections = relay.cuts, relay.connections
    figures.seconds = time.monotonic() - begun_s
    return figures


async def _cut(relay: CuttingRelay, load: Load, numbers: random.Random) -> None:
    while relay.cuts < load.cuts:
        await asyncio.sleep(numbers.uniform(0, _LONGEST_CALM_S))
        relay.cut()


async def _written(queue: JobQueue, job_id: str) -> list[JobEvent]:
    events: list[JobEvent] = []
    while more := await queue.journal.read(job_id, events[-1].id if events else None):
        events += more
    return [event for event in events if event.type != "preview"]


def _is_same(written: JobEvent | None, received: Event) -> bool:
    if written is None or written.type != received.type:
        return False
    return all(received.data.get(name) == value for name, value in written.data.items() if name != "at_ms")
