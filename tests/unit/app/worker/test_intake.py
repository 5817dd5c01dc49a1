"""What a worker asks the queue for, given what it holds; sizes and memory are those of the real tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.jobs.queue import Claim
from app.worker.held import HeldJob, Phase
from app.worker.intake import USUAL_SIZE, Ask, Intake
from app.worker.models import ModelSet
from app.worker.pools import Pool
from app.worker.threads import PHOTO_THREADS, Threads
from tests.support.workers import only, photo_job, tiny_runner

LARGE, SMALL = (6000, 4000), (512, 512)
SEARCH = Ask(1, is_search=True, priorities=("interactive",))


@pytest.fixture(scope="module")
def models() -> ModelSet:
    models = only(tiny_runner())
    models.load()
    return models


class Desk:
    """An intake and the jobs that it is about."""

    def __init__(self, models: ModelSet) -> None:
        self.threads = Threads()
        self.held: dict[str, HeldJob] = {}
        self.intake = Intake(self.held, models, self.threads, 8, lambda: None, lambda *_: None)
        self._models = models
        self.memory(100, 100)

    def memory(self, states: float, pixels: float) -> None:
        """Memory for so many photos of usual size; the reserve comes on top."""
        state_bytes = self._models.estimate_state_bytes(*USUAL_SIZE)
        pixel_bytes = self._models.estimate_pixel_bytes(*USUAL_SIZE)
        small = self._models.estimate_state_bytes(*SMALL), self._models.estimate_pixel_bytes(*SMALL)
        self.intake.states = Pool(int(states * state_bytes) + 2 * small[0], 2 * small[0])
        self.intake.pixels = Pool(int(pixels * pixel_bytes) + 2 * small[1], 2 * small[1])

    def hold(
        self, count: int, phase: Phase, size: tuple[int, int] = LARGE, priority: str = "interactive", upload: int = 0
    ) -> None:
        """Hold jobs of one size in one phase, as the workbench would."""
        for _ in range(count):
            job = replace(photo_job(*size), priority=priority)
            held = HeldJob(Claim(job, b"", None, 1, "1-1", priority, "w"), phase=phase)
            if phase is Phase.CLAIMED:
                held.upload = (b"x" * upload, None)
            if phase in (Phase.DECODING, Phase.WAITING):
                held.pixel_bytes = self._models.estimate_pixel_bytes(*size)
            if phase is Phase.RUNNING:
                held.state_bytes = self._models.estimate_state_bytes(*size)
            self.held[held.id] = held


@pytest.fixture
def desk(models: ModelSet) -> Iterator[Desk]:
    desk = Desk(models)
    yield desk
    desk.threads.close()


def test_an_idle_worker_takes_as_many_as_it_can_begin_soon(desk: Desk) -> None:
    assert desk.intake.ask() == Ask(PHOTO_THREADS)
    desk.hold(1, Phase.WAITING)
    assert desk.intake.ask() == Ask(PHOTO_THREADS - 1)


@pytest.mark.parametrize(("states", "pixels"), [(0.5, 100), (100, 0.5), (0.001, 0.001), (1.5, 1.5)])
def test_an_idle_worker_keeps_to_its_memory_and_takes_one_at_least(desk: Desk, states: float, pixels: float) -> None:
    desk.memory(states, pixels)
    assert desk.intake.ask() == Ask(1)


def test_small_photos_take_all_places(desk: Desk) -> None:
    desk.hold(7, Phase.RUNNING, SMALL)
    assert desk.intake.ask() == Ask(1)
    desk.hold(1, Phase.RUNNING, SMALL)
    assert desk.intake.ask() == Ask(0)


def test_memory_of_what_has_not_begun_is_planned(desk: Desk) -> None:
    desk.memory(3, 100)
    desk.hold(1, Phase.CLAIMED)  # of 24 megapixels: as much as two of usual size
    assert desk.intake.ask().jobs == 1
    desk.hold(1, Phase.RUNNING, USUAL_SIZE)
    assert desk.intake.ask() == Ask(1, is_search=True)  # of any priority: there are places


@pytest.mark.parametrize("priority", ["interactive", "batch"])
def test_express_jobs_are_looked_for_when_large_photos_have_their_places(desk: Desk, priority: str) -> None:
    desk.hold(6, Phase.RUNNING, priority=priority)
    assert desk.intake.ask() == SEARCH
    desk.hold(2, Phase.CLAIMED)  # found instead
    assert desk.intake.ask() == SEARCH
    desk.hold(2, Phase.CLAIMED)
    assert desk.intake.ask() == Ask(0)


def test_batch_jobs_are_looked_for_as_long_as_memory_alone_is_scarce(desk: Desk) -> None:
    desk.memory(0.5, 100)
    desk.hold(5, Phase.RUNNING, SMALL, priority="batch")
    assert desk.intake.ask() == Ask(1, is_search=True)  # another small one may fit
    desk.hold(1, Phase.CLAIMED, priority="batch")
    assert desk.intake.ask() == SEARCH
    desk.hold(1, Phase.RUNNING, SMALL)  # in the reserve: it takes nothing from those of batches
    assert desk.intake.ask() == SEARCH


def test_express_jobs_are_looked_for_when_large_photos_have_the_memory(desk: Desk) -> None:
    desk.memory(6, 2)
    desk.hold(3, Phase.RUNNING)
    desk.hold(1, Phase.WAITING)
    desk.hold(4, Phase.CLAIMED)
    assert desk.intake.ask() == SEARCH


def test_one_express_job_is_looked_for_at_a_time(desk: Desk) -> None:
    desk.hold(6, Phase.RUNNING)
    desk.hold(1, Phase.DECODING, SMALL)
    assert desk.intake.ask() == Ask(0)


def test_nothing_is_looked_for_that_could_not_begin(desk: Desk) -> None:
    desk.hold(6, Phase.RUNNING)
    desk.hold(2, Phase.RUNNING, SMALL)  # the places that are kept
    assert desk.intake.ask() == Ask(0)


def test_uploads_that_wait_are_bounded_in_bytes(desk: Desk) -> None:
    desk.hold(6, Phase.RUNNING)
    desk.intake.pixels = Pool(1000)
    desk.hold(1, Phase.CLAIMED, upload=250)
    assert desk.intake.ask() == SEARCH
    desk.hold(1, Phase.CLAIMED, upload=1)
    assert desk.intake.ask() == Ask(0)


def test_uploads_of_batches_that_wait_keep_no_interactive_ones_away(desk: Desk) -> None:
    desk.memory(0.5, 100)
    desk.hold(1, Phase.RUNNING, SMALL, priority="batch")
    desk.intake.pixels = Pool(1000)
    desk.hold(1, Phase.CLAIMED, priority="batch", upload=250)
    assert desk.intake.ask() == Ask(1, is_search=True)
    desk.hold(1, Phase.CLAIMED, priority="batch", upload=1)
    assert desk.intake.ask() == SEARCH


def test_small_photos_of_batches_are_not_express(desk: Desk) -> None:
    desk.hold(6, Phase.RUNNING, SMALL, priority="batch")
    assert desk.intake.ask() == SEARCH
