"""One run: a service is started, loaded and left alone until everything has expired, and looked at all the while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import redis

from app.jobs.job import PRIORITIES
from app.jobs.keys import Keys
from tests.soak.caller import Tally, calling
from tests.soak.judging import judge
from tests.soak.load import SCENES, deal, play
from tests.soak.outcome import Outcome, Plan
from tests.soak.photos import make_photos
from tests.soak.service import SoakService, running_service, visitors
from tests.soak.watch import expiring_keys, lasting_keys, levels, redis_memory, sample_process, sample_redis

_LATE_S = 60.0


async def soak(plan: Plan, folder: Path) -> Outcome:
    """Start a service, load it, wait until everything has expired, judge.

    Args:
        plan: What to do.
        folder: For the service's data and its log.
    """
    outcome = Outcome(plan)
    making = asyncio.create_task(asyncio.to_thread(make_photos, plan.seed, heavy=not plan.once))
    with running_service(folder, plan.model, plan.lives) as service, redis.Redis.from_url(service.redis_url) as client:
        scenes = deal(plan.seed, once=plan.once)
        photos = await making
        async with (
            visitors(service, plan.stay_s, plan.pause_s) if plan.warm_s else contextlib.nullcontext(),
            calling(service.url, photos, plan.seed, Tally()) as caller,
        ):
            # One in any case: with it come the streams and their groups.
            await caller.client.purge(await caller.ended(await caller.submit(photos.masked)))
            await play(caller, scenes, plan.callers, plan.warm_s, pace_s=plan.pace_s)
        await _until_expired(client, plan)
        outcome.before = _levels(service, client)
        outcome.memory.append(redis_memory(client))
        async with (
            _sampling(outcome, service, client),
            visitors(service, plan.stay_s, plan.pause_s) as visits,
            calling(service.url, photos, plan.seed + 1, outcome.tally) as caller,
        ):
            await play(caller, scenes, plan.callers, plan.seconds, len(SCENES) if plan.once else 0, plan.pace_s)
        outcome.visits = visits
        await _until_expired(client, plan)
        outcome.after, outcome.lasting = _levels(service, client), lasting_keys(client)
        outcome.memory.append(redis_memory(client))
    outcome.complaints = (folder / "service.log").read_text(errors="replace").count("Traceback")
    judge(outcome)
    return outcome


async def _until_expired(client: redis.Redis, plan: Plan) -> None:
    """Wait until no job is left and whatever has a time has gone, or until it is late for that."""
    deadline = time.monotonic() + plan.lives.longest + _LATE_S
    while time.monotonic() < deadline:
        if not expiring_keys(client, Keys()) and not any(client.xlen(name) for name in _job_streams()):
            break
        await asyncio.sleep(0.2)
    await asyncio.sleep(plan.idle_s)


def _job_streams() -> list[str]:
    return [Keys().stream(priority) for priority in PRIORITIES]


def _levels(service: SoakService, client: redis.Redis) -> dict[str, int]:
    client.memory_purge()  # else its allocator keeps what was freed for later; what is not freed, no purge takes away
    return levels({name: sample_process(pid) for name, pid in service.pids.items()}, sample_redis(client, Keys()))


@contextlib.asynccontextmanager
async def _sampling(outcome: Outcome, service: SoakService, client: redis.Redis) -> AsyncIterator[None]:
    """Take samples for as long as the block lasts."""
    started = time.monotonic()

    async def sample_forever() -> None:
        while True:
            outcome.times.append(time.monotonic() - started)
            for name, pid in service.pids.items():
                outcome.processes.setdefault(name, []).append(sample_process(pid))
            outcome.server.append(await asyncio.to_thread(sample_redis, client, Keys()))
            await asyncio.sleep(outcome.plan.every_s)

    task = asyncio.create_task(sample_forever())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
