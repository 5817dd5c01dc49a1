"""Four ways to decide what the device does next: ours, and three that others use.

All run the same model in the same process. Photos are decoded beforehand and results are not encoded: what is compared
is the order of the work and how full the forwards are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from app.bench.decoded import copy_of
from app.bench.engine import look_ahead, serve_in_batches
from app.bench.replay import Policy, Request, Slots
from app.bench.whole import STATIC_BATCH, restore_whole
from app.jobs.job import RestoreOptions
from app.worker.engine import Engine, EnginePolicy, JobShape
from app.worker.runner import Runner
from app.worker.stages import DecodedPhoto


@dataclass(frozen=True)
class Setting:
    """What all policies of a run share.

    Attributes:
        runner: Loaded and warm.
        photos: One decoded photo per size.
        steps: Denoising steps of every photo.
        concurrency: Most photos that step-level batching works on at once, as in the service.
        timeout_s: Longest time that static batching waits for equals after the first one.
        whole_megapixels: Largest photo that is run whole; larger ones go tile by tile, alone, for want of memory.
    """

    runner: Runner
    photos: Mapping[str, DecodedPhoto]
    steps: int
    concurrency: int = 8
    timeout_s: float = 1.0
    whole_megapixels: float = 4.0

    def take_photo(self, request: Request) -> DecodedPhoto:
        """Give the photo of a request, for one use."""
        return copy_of(self.photos[request.size])

    def fits_whole(self, request: Request) -> bool:
        """Tell whether a photo can be run whole."""
        height, width = self.photos[request.size].image.shape[2:]
        return height * width <= self.whole_megapixels * 1e6


class StepBatching:
    """The engine of the service: tiles of all photos in progress share forwards; a photo may join before any."""

    name = "step-level batching"

    def __init__(self, setting: Setting) -> None:
        self.slots = Slots()
        self._setting = setting
        self._waiting: deque[Request] = deque()
        self._running: dict[str, Request] = {}
        self._looked_at: set[int] = set()  # indexes of requests
        runner = setting.runner
        self._engine = Engine(EnginePolicy(runner.batch_tiles, max_state_bytes=runner.state_budget_bytes()))

    def offer(self, request: Request) -> None:
        """Put it in line."""
        self._waiting.append(request)

    def work(self, now_s: float) -> list[Request]:
        """Admit one photo if there is room for it, then run one batch."""
        self._admit_next()
        batch = self._engine.next_batch()
        if not batch:
            return []
        runner = self._setting.runner
        self.slots.count(len(batch), runner.batch_tiles)
        report = runner.run(batch)
        for error in report.failed.values():
            raise error
        self._engine.limit_batch(runner.batch_tiles)  # smaller once memory has run out
        ended = []
        for job_id in self._engine.complete(report.ran):
            runner.end_step(job_id)
            if self._engine.step_done(job_id):
                runner.finish(job_id)
                self._engine.remove(job_id)
                ended.append(self._running.pop(job_id))
        return ended

    def wait_s(self, now_s: float) -> float | None:
        """There is work as long as there are photos."""
        return 0.0 if self._waiting or self._running else None

    def _admit_next(self) -> None:
        if not self._waiting or len(self._running) >= self._setting.concurrency:
            return
        runner = self._setting.runner
        height, width = self._setting.photos[self._waiting[0].size].image.shape[2:]
        if not self._engine.can_admit(runner.estimate_state_bytes(width, height)):
            return
        self._look_ahead()
        request = self._waiting.popleft()
        name, photo, options = self._job(request)
        begun = runner.begin(name, photo, options)
        self._engine.add(JobShape(name, begun.tiles, begun.steps, state_bytes=begun.state_bytes))
        self._running[name] = request

    def _look_ahead(self) -> None:
        """Look at the photos in line together, where the worker would."""
        most = self._setting.runner.looks_together
        group = [request for request in self._waiting if request.index not in self._looked_at][:most]
        if self._waiting[0] in group:
            look_ahead(self._setting.runner, [self._job(request) for request in group])
            self._looked_at |= {request.index for request in group}

    def _job(self, request: Request) -> tuple[str, DecodedPhoto, RestoreOptions]:
        options = RestoreOptions(steps=self._setting.steps, seed=request.index)
        return f"bench-{request.index}", self._setting.take_photo(request), options


class OneByOne:
    """First come, first served, one photo at a time.

    Args:
        name: Of the policy.
        setting: Shared.
        is_whole: Whether photos are run whole, as a plain loop over a diffusers pipeline does, or in batches of tiles.
    """

    def __init__(self, name: str, setting: Setting, is_whole: bool) -> None:
        self.name, self.slots = name, Slots()
        self._setting, self._is_whole = setting, is_whole
        self._waiting: deque[Request] = deque()

    def offer(self, request: Request) -> None:
        """Put it in line."""
        self._waiting.append(request)

    def work(self, now_s: float) -> list[Request]:
        """Serve the photo at the head of the line."""
        if not self._waiting:
            return []
        request = self._waiting.popleft()
        serve_alone(self._setting, self.slots, request, self._is_whole)
        return [request]

    def wait_s(self, now_s: float) -> float | None:
        """There is work as long as somebody is in line."""
        return 0.0 if self._waiting else None


class StaticBatching:
    """Waits for a full batch of photos of one size and runs it through all steps; after a time, for fewer.

    Among full batches and those whose time is up, the one goes first whose first photo came first.
    """

    name = "static batches of equals"

    def __init__(self, setting: Setting) -> None:
        self.slots = Slots()
        self._setting = setting
        self._lines: dict[str, deque[Request]] = {}

    def offer(self, request: Request) -> None:
        """Put it in line with its equals."""
        self._lines.setdefault(request.size, deque()).append(request)

    def work(self, now_s: float) -> list[Request]:
        """Run one batch if there is one to be run."""
        ready = [line for line in self._lines.values() if line and self._wait_of(line, now_s) == 0]
        if not ready:
            return []
        line = min(ready, key=lambda requests: requests[0].at_s)
        if not self._setting.fits_whole(line[0]):
            request = line.popleft()
            serve_alone(self._setting, self.slots, request, is_whole=True)
            return [request]
        group = [line.popleft() for _ in range(min(STATIC_BATCH, len(line)))]
        steps = self._setting.steps
        restore_whole(self._setting.runner, [self._setting.take_photo(request) for request in group], steps)
        for _ in range(steps):
            self.slots.count(len(group), STATIC_BATCH)
        return group

    def wait_s(self, now_s: float) -> float | None:
        """Time until the next batch is full or late."""
        return min((self._wait_of(line, now_s) for line in self._lines.values() if line), default=None)

    def _wait_of(self, line: deque[Request], now_s: float) -> float:
        if len(line) >= STATIC_BATCH or not self._setting.fits_whole(line[0]):
            return 0.0
        return max(0.0, line[0].at_s + self._setting.timeout_s - now_s)


def serve_alone(setting: Setting, slots: Slots, request: Request, is_whole: bool) -> None:
    """Restore one photo to its end, whole if it is to be and can be, else in batches of its tiles."""
    photo = setting.take_photo(request)
    if is_whole and setting.fits_whole(request):
        restore_whole(setting.runner, [photo], setting.steps)
        for _ in range(setting.steps):
            slots.count(1, 1)
        return
    for tiles in serve_in_batches(setting.runner, [photo], setting.steps):
        slots.count(tiles, setting.runner.batch_tiles)


def make_policies(setting: Setting) -> Iterator[Policy]:
    """Fresh policies of all four kinds, ours first."""
    makers: list[Callable[[], Policy]] = [
        lambda: StepBatching(setting),
        lambda: OneByOne("one at a time", setting, is_whole=False),
        lambda: StaticBatching(setting),
        lambda: OneByOne("plain pipeline loop", setting, is_whole=True),
    ]
    return (make() for make in makers)
