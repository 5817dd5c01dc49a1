"""Which tiles run next: step-level continuous batching as a pure scheduler over plain data.

Knows neither tensors nor Redis nor time itself: callers say what arrived and what is done, the engine says what to run.
One tile of one denoising step is the unit of work, so a batch may mix tiles of any jobs at any step, as long as they
are for the same model.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.worker.deadlines import NO_DEADLINE, Deadline
from app.worker.turns import Turns


@dataclass(frozen=True)
class EnginePolicy:
    """Limits and shares of the engine.

    Args:
        batch_tiles: Most tiles in one batch; `Engine.limit_batch` says otherwise for single models.
        quantum_tiles: Tiles a job, tenant or priority of weight one gets before the next one's turn.
        max_state_bytes: Sum of the states of admitted jobs; a larger job is admitted only when it is alone.
        priority_weights: Share of each priority while several have work; priorities not named weigh 1.
        light_tile_steps: Jobs of at most so many tiles over all steps have turns twice as long as others: what they
            gain by that they lose by their end, and the others hardly notice.
    """

    batch_tiles: int = 8
    quantum_tiles: int = 2
    max_state_bytes: int = 4 * 1024**3
    priority_weights: tuple[tuple[str, int], ...] = (("interactive", 4), ("batch", 1))
    light_tile_steps: int = 16

    def __post_init__(self) -> None:
        for name in ("batch_tiles", "quantum_tiles", "max_state_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for priority, weight in self.priority_weights:
            if weight < 1:
                raise ValueError(f"the weight of priority {priority!r} must be at least 1, got {weight}")


@dataclass(frozen=True)
class JobShape:
    """What the engine needs to know of a job.

    Args:
        job_id: Unique among admitted jobs.
        tiles: Network forwards per step.
        steps: Denoising steps.
        priority: Name of the priority class.
        tenant: Whom the work is charged to.
        state_bytes: Memory held from `add` to `remove`.
        model: Whose forward its tiles need.
        deadline: When it must have begun and be done, by the engine's clock.
    """

    job_id: str
    tiles: int
    steps: int
    priority: str = "interactive"
    tenant: str = "default"
    state_bytes: int = 0
    model: str = ""
    deadline: Deadline = NO_DEADLINE

    def __post_init__(self) -> None:
        if self.tiles < 1 or self.steps < 1 or self.state_bytes < 0:
            raise ValueError(
                f"job {self.job_id!r} needs tiles >= 1, steps >= 1 and state_bytes >= 0, "
                f"got {self.tiles}, {self.steps} and {self.state_bytes}"
            )


@dataclass(frozen=True)
class TileRef:
    """One network forward: a tile of a job at a step (both counted from 0)."""

    job_id: str
    tile_index: int
    step: int


@dataclass(frozen=True)
class JobStatus:
    """Where an admitted job stands; `tiles_left` counts every step still to do, `age_s` since it was admitted."""

    job_id: str
    step: int
    tiles_left: int
    age_s: float


@dataclass
class _Entry:
    shape: JobShape
    added_s: float
    step: int = 0
    waiting: deque[int] = field(default_factory=deque)  # tiles of this step nobody has taken yet
    running: set[int] = field(default_factory=set)  # tiles of this step in a batch that is not complete
    has_begun: bool = False  # a tile was handed out at some time

    @property
    def is_step_complete(self) -> bool:
        return not self.waiting and not self.running


class Engine:
    """Fair, work-conserving choice of the next batch.

    Deficit round robin over priority, then tenant, then job: a photo of thousands of tiles cannot starve one of a
    single tile. Every tile of every step is handed out once; tiles of the next step only after `step_done`, because a
    step needs all tiles of the one before. Whose turn it is decides the model of a batch; the rest of the batch is then
    filled by the same rules with tiles of that model, and those passed over come first in the next one. Choices depend
    on the order of calls alone, so a run can be replayed.

    Args:
        policy: Limits and shares.
        clock: Seconds from any fixed start, for ages and deadlines; which tile is next does not depend on it.
    """

    def __init__(self, policy: EnginePolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._batch_tiles = policy.batch_tiles
        self._model_tiles: dict[str, int] = {}  # limits of single models
        self._entries: dict[str, _Entry] = {}
        self._turns = Turns(policy.quantum_tiles, dict(policy.priority_weights), policy.light_tile_steps)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._entries

    @property
    def batch_tiles(self) -> int:
        """Most tiles in one batch at present, for models without a limit of their own."""
        return self._batch_tiles

    @property
    def _most_debt(self) -> int:
        """Largest batch there can be: less, and shares across models would not be kept; more, and waits grow."""
        return max(self._batch_tiles, *self._model_tiles.values(), 1)

    @property
    def state_bytes(self) -> int:
        """Memory held by admitted jobs."""
        return sum(entry.shape.state_bytes for entry in self._entries.values())

    def limit_batch(self, batch_tiles: int, model: str | None = None) -> None:
        """Change the most tiles in one batch, for instance after running out of memory.

        Args:
            batch_tiles: At least 1.
            model: Whose batches are meant; None means those of every model without a limit of its own.
        """
        if batch_tiles < 1:
            raise ValueError(f"batch_tiles must be at least 1, got {batch_tiles}")
        if model is None:
            self._batch_tiles = batch_tiles
        else:
            self._model_tiles[model] = batch_tiles

    def can_admit(self, state_bytes: int) -> bool:
        """Say whether a job with a state of this size fits beside the admitted ones.

        A job above the whole budget is admitted when it would run alone: refusing it would refuse it for ever.
        """
        return not self._entries or self.state_bytes + state_bytes <= self._policy.max_state_bytes

    def add(self, shape: JobShape) -> None:
        """Admit a job; its first tiles may be in the next batch.

        Raises:
            ValueError: A job of that id is admitted already.
        """
        if shape.job_id in self._entries:
            raise ValueError(f"job {shape.job_id!r} is admitted already")
        entry = _Entry(shape, added_s=self._clock())
        self._entries[shape.job_id] = entry
        self._open_step(entry)

    def remove(self, job_id: str) -> bool:
        """Forget a job, finished or not, and free its share of memory; False when it is not admitted.

        Its tiles in a running batch are ignored when that batch completes.
        """
        entry = self._entries.pop(job_id, None)
        if entry is None:
            return False
        self._turns.forget(entry.shape)
        return True

    def next_batch(self) -> list[TileRef]:
        """Take the next tiles to run: as many of one model as its batch holds or as there are; empty without any."""
        batch: list[TileRef] = []
        model, most = None, 1
        while len(batch) < most and (tile := self._take_tile(model)) is not None:
            batch.append(tile)
            model = self._entries[tile.job_id].shape.model
            most = self._model_tiles.get(model, self._batch_tiles)
        return batch

    def complete(self, batch: Sequence[TileRef]) -> list[str]:
        """Record that these tiles ran; return the jobs whose step this completed, in batch order.

        Raises:
            ValueError: A tile of an admitted job was not running.
        """
        return [job_id for job_id in self._settle(batch) if self._entries[job_id].is_step_complete]

    def step_done(self, job_id: str) -> bool:
        """Open the job's next step; True when there is none left, and the job waits only for `remove`.

        Raises:
            KeyError: The job is not admitted.
            ValueError: Tiles of its current step have not run, or it has finished already.
        """
        entry = self._entries[job_id]
        if not entry.is_step_complete or entry.step >= entry.shape.steps:
            raise ValueError(
                f"job {job_id!r} cannot end step {entry.step} of {entry.shape.steps}: "
                f"{len(entry.waiting)} tiles wait and {len(entry.running)} run"
            )
        entry.step += 1
        if entry.step == entry.shape.steps:
            return True
        self._open_step(entry)
        return False

    def overdue(self) -> list[str]:
        """List the jobs that missed their deadline, in order of admission; they run on until `remove`.

        A job whose last step is done is never overdue.
        """
        now_s = self._clock()
        return [
            job_id
            for job_id, entry in self._entries.items()
            if entry.step < entry.shape.steps and entry.shape.deadline.is_missed(now_s, entry.has_begun)
        ]

    def has_begun(self, job_id: str) -> bool:
        """Say whether a tile of an admitted job was handed out; False for one that is not admitted."""
        entry = self._entries.get(job_id)
        return entry is not None and entry.has_begun

    def status(self, job_id: str) -> JobStatus:
        """Tell where a job stands.

        Raises:
            KeyError: The job is not admitted.
        """
        entry = self._entries[job_id]
        later = max(entry.shape.steps - entry.step - 1, 0) * entry.shape.tiles
        left = later + len(entry.waiting) + len(entry.running)
        return JobStatus(job_id, entry.step, left, self._clock() - entry.added_s)

    def _open_step(self, entry: _Entry) -> None:
        entry.waiting.extend(range(entry.shape.tiles))
        self._turns.join(entry.shape)

    def _take_tile(self, model: str | None) -> TileRef | None:
        """Take the tile that is next, among those of a model if one is given; None when there is none."""
        job_id = self._turns.take(model, self._most_debt)
        if job_id is None:
            return None
        entry = self._entries[job_id]
        tile = TileRef(job_id, entry.waiting.popleft(), entry.step)
        entry.running.add(tile.tile_index)
        entry.has_begun = True
        if not entry.waiting:
            self._turns.leave(entry.shape)
        return tile

    def _settle(self, batch: Sequence[TileRef]) -> list[str]:
        """Move tiles out of `running`, all or none; return the jobs they belong to, each once, in batch order."""
        ran = [tile for tile in batch if tile.job_id in self._entries]  # the others were removed while the batch ran
        for index, tile in enumerate(ran):
            entry = self._entries[tile.job_id]
            if tile.step != entry.step or tile.tile_index not in entry.running or tile in ran[:index]:
                raise ValueError(f"{tile} is not running: job {tile.job_id!r} is at step {entry.step}")
        for tile in ran:
            self._entries[tile.job_id].running.remove(tile.tile_index)
        return list(dict.fromkeys(tile.job_id for tile in ran))
