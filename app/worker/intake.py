"""From claim to admission: what to ask the queue for, whose photo is decoded next, and who begins next.

All three leave room for express jobs: a part of the places, of the memory for decoded photos and of that for states is
kept for them, so that they begin promptly while large photos fill the rest.

Sizes are known only once a job is claimed, and the queue gives jobs in order. So a worker that can take nothing but
express jobs still asks for a few more, one by one, and keeps those that are none as the bytes of their uploads. Jobs of
batches are never express, so they are asked for only as long as there are places outside the reserve: what lies beyond
is kept for interactive ones, and a flood of batches cannot fill it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs.job import ANALYZE, INTERACTIVE, PRIORITIES
from app.worker.held import EXPRESS_SIZE, HeldJob, Phase
from app.worker.line import Line
from app.worker.pools import Fit, Pool, Used
from app.worker.threads import PHOTO_THREADS

if TYPE_CHECKING:
    from app.worker.models import ModelSet
    from app.worker.threads import Threads

USUAL_SIZE = (4000, 3000)
"""Size that a job not yet claimed is taken to have when its memory is planned."""

PARKED_SHARE = 0.25
"""Part of the memory for decoded photos that uploads of a priority may fill beside it before no more are asked for."""


@dataclass(frozen=True)
class Ask:
    """What to claim.

    Args:
        jobs: At most; 0 for none.
        is_search: Only an express job could begin. Other workers, which may have room for any, should come first.
        priorities: Of which jobs.
    """

    jobs: int
    is_search: bool = False
    priorities: tuple[str, ...] = PRIORITIES


class Intake:
    """The jobs that have not begun, and the bounds on all of them.

    Args:
        held: All jobs of this worker by id.
        models: Loaded and warm.
        threads: Where photos are decoded.
        concurrency: Most jobs that are decoded, worked on or delivered at once.
        on_decoded: Called when a photo waits to be begun.
        on_failed: Called with a job whose photo cannot be decoded, and why.
    """

    def __init__(
        self,
        held: dict[str, HeldJob],
        models: ModelSet,
        threads: Threads,
        concurrency: int,
        on_decoded: Callable[[], None],
        on_failed: Callable[[HeldJob, Exception], None],
    ) -> None:
        self._held, self._models, self._threads = held, models, threads
        self._on_decoded, self._on_failed = on_decoded, on_failed
        self.places = Pool.of_places(concurrency)
        reserve = self.places.reserve
        wanted_bytes = reserve * models.estimate_state_bytes(*EXPRESS_SIZE)
        self.states = Pool.of_bytes(models.state_budget_bytes(), wanted_bytes)
        self.pixels = Pool.of_bytes(models.pixel_budget_bytes(), reserve * models.estimate_pixel_bytes(*EXPRESS_SIZE))
        # One photo begins while another one is decoded; more only where they are looked at together.
        self._ahead = max(PHOTO_THREADS, *(models.looks_together(name) for name in models.names))
        self._undecoded: Line[HeldJob] = Line()
        self._decoded: Line[HeldJob] = Line()

    def ask(self) -> Ask:
        """Say what may be claimed."""
        waiting = [held for held in self._held.values() if not held.is_begun]
        jobs = min(
            self._ahead - len(waiting),
            self.places.room(1, self._used(lambda _: 1)),
            self.states.room(self._models.estimate_state_bytes(*USUAL_SIZE), self._used(self._planned_state_bytes)),
            self.pixels.room(self._models.estimate_pixel_bytes(*USUAL_SIZE), self._used(self._planned_pixel_bytes)),
        )
        if jobs > 0:
            return Ask(jobs)
        if not self._may_search(waiting):
            return Ask(0)
        wanted = PRIORITIES if self._may_park_batch_jobs(waiting) else (INTERACTIVE,)
        return Ask(1, is_search=True, priorities=wanted)

    def append(self, held: HeldJob) -> None:
        """Put a claimed job in line to be decoded."""
        self._undecoded.append(held)
        self.decode_what_fits()

    def remove(self, held: HeldJob) -> None:
        """Drop whatever is kept of a job here."""
        self._undecoded.remove(held)
        self._decoded.remove(held)
        held.upload = None
        self.free_pixels(held)

    def decode_what_fits(self) -> None:
        """Begin to decode the photos for which there are places and memory."""
        while (held := self._undecoded.take_next(self._decoding_fit, _is_express)) is not None:
            held.pixel_bytes = self._models.estimate_pixel_bytes(*held.size)
            held.phase = Phase.DECODING
            held.task = asyncio.create_task(self._decode(held))

    def free_pixels(self, held: HeldJob) -> None:
        """Note that a photo is not kept as pixels any more."""
        held.decoded, held.pixel_bytes = None, 0
        self.decode_what_fits()

    def take_next(self) -> HeldJob | None:
        """Take the decoded job out of its line that begins next; None when there is none that fits."""
        return self._decoded.take_next(self._state_fit, _is_express)

    def wait_behind(self, first: HeldJob) -> list[HeldJob]:
        """List the decoded jobs for the same model that come after one that was taken, in order of arrival."""
        return [held for held in self._decoded if held.model == first.model]

    def parked(self) -> list[HeldJob]:
        """List the jobs of which nothing but the upload is kept."""
        return [held for held in self._undecoded if held.leave is None]

    def _may_search(self, waiting: list[HeldJob]) -> bool:
        if len(self._held) >= self.places.total + self.places.reserve or any(map(_is_express, waiting)):
            return False
        if self._is_parking_full(held for held in waiting if held.is_interactive):
            return False
        state_bytes = self._models.estimate_state_bytes(*EXPRESS_SIZE)
        pixel_bytes = self._models.estimate_pixel_bytes(*EXPRESS_SIZE)
        return Fit.NO not in (
            self.places.fit(1, True, self._used(_places)),
            # Where the reserve is less than the largest express job takes, there are smaller ones.
            self.states.fit(max(1, min(state_bytes, self.states.reserve)), True, self._used(_state_bytes)),
            self.pixels.fit(max(1, min(pixel_bytes, self.pixels.reserve)), True, self._used(_pixel_bytes)),
        )

    def _may_park_batch_jobs(self, waiting: list[HeldJob]) -> bool:
        # One that is small may fit where one of usual size would not: memory and not places is what is scarce then.
        has_place = self.places.room(1, self._used(lambda _: 1)) > 0
        return has_place and not self._is_parking_full(held for held in waiting if not held.is_interactive)

    def _is_parking_full(self, waiting: Iterable[HeldJob]) -> bool:
        return sum(map(_upload_bytes, waiting)) > self.pixels.total * PARKED_SHARE

    def _decoding_fit(self, held: HeldJob) -> Fit:
        if held.leave is not None:  # about to be taken out of the line
            return Fit.NO
        if not held.is_express and self._used(_is_ahead).ordinary >= self._ahead:
            return Fit.NO  # it could not begin soon anyway, and another worker may want it as it is
        needed_bytes = self._models.estimate_pixel_bytes(*held.size)
        return min(
            self.places.fit(1, held.is_express, self._used(_places)),
            self.pixels.fit(needed_bytes, held.is_express, self._used(_pixel_bytes)),
        )

    def _state_fit(self, held: HeldJob) -> Fit:
        needed_bytes = self._models.estimate_state_bytes(*held.size)
        if held.claim.job.options.task == ANALYZE:  # which needs none
            needed_bytes = 0
        return self.states.fit(needed_bytes, held.is_express, self._used(_state_bytes))

    def _planned_state_bytes(self, held: HeldJob) -> int:
        return held.state_bytes if held.is_begun else self._models.estimate_state_bytes(*held.size)

    def _planned_pixel_bytes(self, held: HeldJob) -> int:
        return self._models.estimate_pixel_bytes(*held.size) if held.phase is Phase.CLAIMED else held.pixel_bytes

    def _used(self, amount: Callable[[HeldJob], int]) -> Used:
        express = sum(amount(held) for held in self._held.values() if held.is_express)
        return Used(sum(map(amount, self._held.values())) - express, express)

    async def _decode(self, held: HeldJob) -> None:
        upload, held.upload = held.upload, None
        if upload is None:
            raise RuntimeError(f"job {held.id} has no upload to decode")
        try:
            held.decoded = await self._threads.in_photo(
                "decode", self._models.decode, *upload, is_express=held.is_express, job=held.id
            )
        except Exception as error:  # noqa: BLE001  only this job is lost
            self._on_failed(held, error)
            return
        held.phase = Phase.WAITING
        self._decoded.append(held)
        self._on_decoded()


def _is_express(held: HeldJob) -> bool:
    return held.is_express


def _places(held: HeldJob) -> int:
    return 0 if held.phase is Phase.CLAIMED else 1


def _is_ahead(held: HeldJob) -> int:
    return 1 if held.phase in (Phase.DECODING, Phase.WAITING) else 0


def _state_bytes(held: HeldJob) -> int:
    return held.state_bytes


def _pixel_bytes(held: HeldJob) -> int:
    return held.pixel_bytes


def _upload_bytes(held: HeldJob) -> int:
    return 0 if held.upload is None else sum(len(part) for part in held.upload if part is not None)
