"""The mixed load: scenes dealt from a shuffled deck to a fixed number of callers, so that every part of a run has the
same mix."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping

from app.errors import BatchNotFoundError, JobNotFoundError, ResultGoneError, ServiceError
from tests.soak import hostile, many, restoring
from tests.soak.caller import Caller

Scene = Callable[[Caller], Awaitable[None]]

SCENES: Mapping[Scene, int] = {
    restoring.restore: 24,
    restoring.restore_large: 1,
    restoring.restore_at_once: 6,
    restoring.fill_holes: 4,
    restoring.follow: 6,
    restoring.leave_events: 4,
    restoring.cancel: 6,
    restoring.purge: 6,
    restoring.repeat: 5,
    restoring.miss_deadline: 2,
    restoring.tell_by_webhook: 6,
    restoring.download_in_parts: 3,
    restoring.fetch_by_url: 3,
    restoring.look_around: 3,
    hostile.send_damaged: 8,
    hostile.send_bomb: 2,
    hostile.break_upload_off: 2,
    hostile.hang_up_while_waiting: 2,
    many.analyze: 3,
    many.analyze_later: 2,
    many.batch_of_uploads: 2,
    many.batch_of_urls: 2,
    many.cancel_batch: 1,
    many.analyze_many: 1,
}
"""The scenes, with how often each is in the deck."""

_SCENE_S = 150.0
_PAUSE_S = 0.1
_MOST_FAILURES = 50

# What had gone after its time, which is short here, before a scene came to look.
_EXPIRED = (JobNotFoundError, ResultGoneError, BatchNotFoundError)


def deal(seed: int, *, once: bool = False) -> Iterator[Scene]:
    """Give scenes for ever, each round of the deck in another order.

    Args:
        seed: Of the orders.
        once: Whether every scene is in the deck once, whatever its weight; for short runs.
    """
    chance = random.Random(seed)
    deck = [scene for scene, weight in SCENES.items() for _ in range(1 if once else weight)]
    while True:
        chance.shuffle(deck)
        yield from deck


async def play(
    caller: Caller, scenes: Iterator[Scene], callers: int, seconds: float, least: int = 0, pace_s: float = _PAUSE_S
) -> None:
    """Let callers play scenes, one after the other each, until the time is up; scenes that have begun are ended.

    A service holds what the last seconds brought, so its memory follows the rate of scenes. Where that is left to how
    fast the machine happens to be, it rises whenever another program ends.

    Args:
        caller: What they share.
        scenes: Dealt to whoever is free.
        callers: How many.
        seconds: Time in which scenes are begun.
        least: Scenes that are begun in any case, for slow machines.
        pace_s: Least time from the beginning of a caller's scene to that of its next one.
    """
    until = time.monotonic() + seconds
    begun = 0

    async def play_one_after_another() -> None:
        nonlocal begun
        while time.monotonic() < until or begun < least:
            begun += 1
            next_s = time.monotonic() + pace_s
            await _play(caller, next(scenes))
            await asyncio.sleep(max(_PAUSE_S, next_s - time.monotonic()))

    await asyncio.gather(*(play_one_after_another() for _ in range(callers)))


async def _play(caller: Caller, scene: Scene) -> None:
    name, tally = scene.__name__, caller.tally
    tally.scenes[name] += 1
    try:
        await asyncio.wait_for(scene(caller), _SCENE_S)
    except _EXPIRED:
        tally.expired += 1
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
        what = f"{type(error).__name__}: {error.detail if isinstance(error, ServiceError) else error}"
        if len(tally.failures) < _MOST_FAILURES:
            tally.failures.append(f"{name}: {what}")
