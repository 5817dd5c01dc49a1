"""All models of one worker, each with a runner of its own; every job is worked on by exactly one of them.

They are loaded and warm before the worker is ready and stay resident: no job waits for weights, and what they take of
the memory is known before the first photo comes. Knows neither Redis nor whose turn it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.errors import ModelUnavailableError

if TYPE_CHECKING:
    from app.images import PixelArray
    from app.jobs.job import RestoreOptions
    from app.worker.engine import TileRef
    from app.worker.runner import Runner
    from app.worker.stages import AnalyzedPhoto, BatchReport, BegunJob, DecodedPhoto, RestoredPhoto


class ModelSet:
    """The models of a worker by name.

    `decode` and `encode` may run in any thread; what touches the state of a job belongs to one thread, the model's.

    Args:
        runners: By the names that jobs use, at least one, all on the same device; the first is for jobs that name none.
    """

    def __init__(self, runners: Mapping[str, Runner]) -> None:
        if not runners:
            raise ValueError("a worker needs at least one model, got none")
        self._runners = dict(runners)
        self._first = next(iter(self._runners.values()))
        self._names: dict[str, str] = {}  # job id -> name of its model

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all models."""
        return tuple(self._runners)

    def load(self) -> None:
        """Load every model, then warm every one up: what is measured is then measured beside all the others.

        Raises:
            ServiceError: One of them is unknown, damaged or does not fit.
        """
        for runner in self._runners.values():
            runner.load()
        for runner in self._runners.values():
            runner.warm_up()

    def choose(self, wanted: str | None) -> str:
        """Give the name of the model that a job is for.

        Args:
            wanted: What the job names, or None.

        Raises:
            ModelUnavailableError: This worker does not have it.
        """
        if wanted is None:
            return self.names[0]
        if wanted not in self._runners:
            raise ModelUnavailableError(
                f"The worker that took the job has no model {wanted[:64]!r}, it has {', '.join(self.names)}. "
                "API and workers need the same VLMIR_MODELS; submit the photo again when they do."
            )
        return wanted

    def batch_tiles(self, name: str) -> int:
        """Tell how many tiles one forward of a model may have at present."""
        return self._runners[name].batch_tiles

    def estimate_state_bytes(self, width: int, height: int) -> int:
        """Tell how much memory a photo of this size will hold while it is worked on, with the model that needs most."""
        return max(runner.estimate_state_bytes(width, height) for runner in self._runners.values())

    def state_budget_bytes(self) -> int:
        """Tell how much memory the photos in progress may hold together, beside all models: call it after `load`."""
        return self._first.state_budget_bytes()

    def estimate_pixel_bytes(self, width: int, height: int) -> int:
        """Tell how much memory a photo of this size takes at most between upload and state, or state and result."""
        return self._first.estimate_pixel_bytes(width, height)

    def pixel_budget_bytes(self) -> int:
        """Tell how much memory photos may hold between upload and state, or state and result: call it after `load`."""
        return self._first.pixel_budget_bytes()

    def decode(self, image: bytes, mask: bytes | None) -> DecodedPhoto:
        """Read an upload.

        Raises:
            ServiceError: As `Runner.decode`.
        """
        return self._first.decode(image, mask)

    def padded_tiles(self, name: str, tiles: int) -> int:
        """Tell how many places stay empty in the forward that so many tiles of a model run in."""
        return self._runners[name].padded_tiles(tiles)

    def probe(self) -> None:
        """Have the device work a little.

        Raises:
            DeviceLostError: It does not.
        """
        self._first.probe()

    def looks_together(self, name: str) -> int:
        """How many photos it is worth to `look` at together with a model."""
        return self._runners[name].looks_together

    def look(self, name: str, jobs: Sequence[tuple[str, DecodedPhoto, RestoreOptions]]) -> None:
        """Look at photos for one model at once, ahead of `begin`; never fails, see `Runner.look`."""
        self._runners[name].look(jobs)
        self._names |= dict.fromkeys((job_id for job_id, _, _ in jobs), name)

    def begin(self, job_id: str, decoded: DecodedPhoto, options: RestoreOptions) -> BegunJob:
        """Look at the photo and set up its state, with the model that the options name.

        Raises:
            ServiceError: As `choose` and `Runner.begin`.
        """
        name = self.choose(options.model)
        begun = self._runners[name].begin(job_id, decoded, options)
        self._names[job_id] = name
        return begun

    def analyze(
        self, job_id: str, decoded: DecodedPhoto, options: RestoreOptions, tile_s: float | None
    ) -> AnalyzedPhoto:
        """Look at a photo without restoring it, with the model that the options name; see `Runner.analyze`.

        Raises:
            ServiceError: As `choose` and `Runner.analyze`.
        """
        name = self.choose(options.model)
        self._names.pop(job_id, None)
        return self._runners[name].analyze(job_id, decoded, replace(options, model=name), tile_s)

    def run(self, batch: Sequence[TileRef]) -> BatchReport:
        """Run tiles of jobs of one model; see `Runner.run`.

        Raises:
            RuntimeError: The tiles belong to several models.
        """
        names = {self._names[tile.job_id] for tile in batch}
        if len(names) != 1:
            raise RuntimeError(f"a batch holds tiles for the models {sorted(names)}, expected one model")
        return self._runners[names.pop()].run(batch)

    def preview(self, job_id: str, longest_px: int) -> PixelArray | None:
        """Show how a photo looks by now, small; see `Runner.preview`."""
        return self._runners[self._names[job_id]].preview(job_id, longest_px)

    def end_step(self, job_id: str) -> None:
        """Blend the tiles of a step and move the whole photo on by one step.

        Raises:
            ServiceError: This job cannot go on.
        """
        self._runners[self._names[job_id]].end_step(job_id)

    def finish(self, job_id: str) -> RestoredPhoto:
        """Take the restored photo out; the job is no longer held.

        Raises:
            ServiceError: The result is not usable.
        """
        name = self._names.pop(job_id)
        return self._runners[name].finish(job_id, name)

    def encode(self, restored: RestoredPhoto | AnalyzedPhoto) -> tuple[bytes, str]:
        """Write the restored photo as a file, or what was seen in one as a document; gives its bytes and media type.

        Raises:
            ServiceError: As `Runner.encode`.
        """
        return self._first.encode(restored)

    def discard(self, job_id: str) -> None:
        """Free whatever is held of a job; no effect when nothing is."""
        name = self._names.pop(job_id, None)
        if name is not None:
            self._runners[name].discard(job_id)
