"""The model as the worker sees it: photos in, tiles run, photos out.

Turns every error of the model into a `ServiceError`, keeps one bad job from harming its batch mates, and shrinks the
batch when memory runs out. Knows neither Redis nor whose turn it is.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from app.images import ImageLimits, Photo, PixelArray, decode, decode_mask, encode
from app.jobs.job import Finding, RestoreOptions
from app.worker import analysis
from app.worker.devices import choose_device, wait_for
from app.worker.engine import TileRef
from app.worker.failures import (
    as_service_errors,
    empty_device_cache,
    is_out_of_memory,
    probe_device,
)
from app.worker.forwards import BatchRun, free_memory, with_freed_memory
from app.worker.memory import PIXEL_BYTES, plan_pixel_bytes, plan_state_bytes
from app.worker.pixels import mask_to_tensor, sample_small, shape_only, to_array, to_tensor
from app.worker.provenance import encode_options
from app.worker.sizing import (
    find_batch_tiles,
    free_beside_graphs,
    leaves_room,
    most_tiles,
    sizes_up_to,
    unmeasured_tiles,
)
from app.worker.stages import AnalyzedPhoto, BatchReport, BegunJob, DecodedPhoto, RestoredPhoto
from model.buckets import bucket_tiles
from model.errors import NonFiniteError
from model.observe import CUDA_GROUP
from model.pipeline import Analysis, RestorationState, Restorer
from model.transfer import empty_image

logger = logging.getLogger(__name__)

WARM_UP = "warm-up"
"""Id of the job that `Runner.warm_up` makes up."""


@dataclass
class _Running:
    state: RestorationState
    photo: Photo
    options: RestoreOptions


class Runner:
    """Holds the resident model and the state of every job in progress.

    `decode` and `encode` may run in any thread; all other methods belong to one thread, the model's.

    Args:
        model: Name of a shipped model, or a folder with one.
        device: Torch device, or "auto" for the best one present.
        threads: CPU threads of torch; 0 leaves torch's own choice.
        batch_tiles: Most tiles in one forward, rounded down to a power of two (the model fills forwards up to one); 0
            for as many as pay on the device.
        limits: What photos are accepted.
        host_share: Part of the machine's memory that this process may plan with.
        device_share: Part of the device's memory that it may plan with, where that is not the machine's.
    """

    def __init__(
        self,
        model: str,
        device: str,
        threads: int,
        batch_tiles: int,
        limits: ImageLimits,
        host_share: float = 1.0,
        device_share: float = 1.0,
    ) -> None:
        self._model = model
        self._device = device
        self._threads = threads
        self._limits = limits
        self._host_share = host_share
        self._device_share = device_share
        self._restorer: Restorer | None = None
        self._running: dict[str, _Running] = {}
        self._seen: dict[str, Analysis] = {}  # of photos that have not begun
        self._bytes_per_pixel = 0.0
        self._tile_s: float | None = None  # as measured at warm-up
        self._wanted_tiles = batch_tiles
        self.batch_tiles = most_tiles(batch_tiles, torch.device("cpu"))

    @property
    def name(self) -> str:
        """Name of the model; as configured until it is loaded."""
        return self._model if self._restorer is None else self._restorer.name

    @property
    def restorer(self) -> Restorer:
        """The loaded model.

        Raises:
            RuntimeError: `load` has not been called.
        """
        if self._restorer is None:
            raise RuntimeError("the model is not loaded; call Runner.load() first")
        return self._restorer

    def load(self) -> None:
        """Load the model onto its device.

        Raises:
            ServiceError: The device is not there, the model is unknown, its weights are missing or damaged, or it does
                not fit.
        """
        if self._threads:
            torch.set_num_threads(self._threads)
        device = torch.device(choose_device(self._device))
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # of this thread: nothing is to be set up on another one by mistake
        with as_service_errors():
            self._restorer = Restorer.load(self._model, device=device)
        # until `warm_up` knows better
        self.batch_tiles = unmeasured_tiles(most_tiles(self._wanted_tiles, device), device)

    def warm_up(self) -> None:
        """Run batches of 2, 4, 8, ... tiles, so that the first job meets no first-call cost and no lack of memory.

        `batch_tiles` becomes the largest size up to which every doubling pays (`find_batch_tiles`).

        Raises:
            ServiceError: Not even one tile can be run.
        """
        restorer, device = self.restorer, self.restorer.device
        most = self.batch_tiles = most_tiles(self._wanted_tiles, device)
        side = math.ceil(math.sqrt(max(2, most))) * restorer.tile_px
        grey = Photo(np.full((side, side, 3), 128, np.uint8), None, False, None, None, "png")
        try:
            begun = self.begin(WARM_UP, DecodedPhoto(grey, to_tensor(grey.rgb), None), RestoreOptions(steps=1))
            self._bytes_per_pixel = begun.state_bytes / side**2
            free_before, tried = free_beside_graphs(device), 0

            def fits(size: int) -> bool:
                nonlocal tried
                tried = size  # the last one, whether or not it is used
                has_run = self.batch_tiles >= min(size, most)  # it is smaller once memory has run out
                return has_run and leaves_room(free_before, free_beside_graphs(device), self._device_share)

            size, self._tile_s = find_batch_tiles(self._time_tile, most, fits)
            self.batch_tiles = min(size, self.batch_tiles)
            if device.type == "cuda" and tried > size:
                free_memory(restorer)  # the graph of a size that is not used
                for used in sizes_up_to(size):
                    self._time_tile(used)
        finally:
            self.discard(WARM_UP)
            empty_device_cache()

    def _time_tile(self, size: int) -> float:
        """Run a forward of `size` tiles of the photo that the warm-up makes up; gives the seconds per tile."""
        self._running[WARM_UP].state.restart_step()
        wait_for(self.restorer.device)
        started_s = time.perf_counter()
        report = self.run([TileRef(WARM_UP, index, 0) for index in range(size)])
        wait_for(self.restorer.device)
        for error in report.failed.values():
            raise error
        return (time.perf_counter() - started_s) / size

    def estimate_state_bytes(self, width: int, height: int) -> int:
        """Tell how much memory a photo of this size will hold while it is worked on, as measured at warm-up."""
        return int(width * height * self._bytes_per_pixel)

    def state_budget_bytes(self) -> int:
        """Tell how much memory the photos in progress may hold together, judged by what is free at this moment.

        Call it once all models of the process are loaded and warm and before the first photo.
        """
        return plan_state_bytes(self.restorer.device, self._host_share, self._device_share)

    def estimate_pixel_bytes(self, width: int, height: int) -> int:
        """Tell how much memory a photo of this size takes at most between upload and state, or state and result."""
        return width * height * PIXEL_BYTES

    def pixel_budget_bytes(self) -> int:
        """Tell how much memory photos may hold together that are decoded but not begun, or restored but not encoded.

        Call it when `state_budget_bytes` is called.
        """
        return plan_pixel_bytes(self._host_share)

    def probe(self) -> None:
        """Have the device work a little.

        Raises:
            DeviceLostError: It does not.
        """
        probe_device(self.restorer.device)

    def padded_tiles(self, tiles: int) -> int:
        """Tell how many places stay empty in the forward that so many tiles run in."""
        return bucket_tiles(tiles) - tiles

    def decode(self, image: bytes, mask: bytes | None) -> DecodedPhoto:
        """Read an upload.

        Raises:
            ServiceError: It is not a photo that the service takes, or photo and mask do not fit each other.
        """
        with as_service_errors():
            photo = decode(image, self._limits)
            holes = None
            if mask is not None:
                holes = mask_to_tensor(decode_mask(mask, self._limits, photo.width, photo.height))
            memory = empty_image((1, 3, photo.height, photo.width), self.restorer.device)
            return DecodedPhoto(photo, to_tensor(photo.rgb, memory), holes)

    @property
    def looks_together(self) -> int:
        """How many photos one call of `look` is worth making for; 1 where looking together saves nothing."""
        return CUDA_GROUP if self.restorer.device.type == "cuda" else 1

    def look(self, jobs: Sequence[tuple[str, DecodedPhoto, RestoreOptions]]) -> None:
        """Look at several photos at once, ahead of `begin`, which then need not.

        Never fails: what is wrong with a photo is found again, and told, when it begins.
        """
        images, captions = [decoded.image for _, decoded, _ in jobs], [options.caption for _, _, options in jobs]
        kinds = [options.kinds for _, _, options in jobs]
        try:
            analyses = self.restorer.analyze_many(images, captions, kinds)
        except Exception as error:
            logger.exception("%d photos could not be looked at together, now one by one", len(jobs))
            is_full = is_out_of_memory(error)
        else:
            self._seen |= {job_id: seen for (job_id, _, _), seen in zip(jobs, analyses, strict=True)}
            return
        if is_full:
            free_memory(self.restorer)

    def begin(self, job_id: str, decoded: DecodedPhoto, options: RestoreOptions) -> BegunJob:
        """Look at the photo (caption, damage), unless `look` has, and set up its state.

        Kinds of damage that the options name take the place of what the model finds.

        Raises:
            ServiceError: This photo cannot be worked on; nothing is held.
        """
        restorer = self.restorer
        with as_service_errors():
            seen = self._look_at(job_id, decoded, options)
            steps = options.steps
            if steps is None:
                steps = restorer.choose_steps(options.quality, seen, decoded.mask)
            state = with_freed_memory(
                restorer,
                lambda: restorer.begin(decoded.image, seen, steps=steps, seed=options.seed, mask=decoded.mask),
            )
        # The result inherits all but the pixels, which are 72 MB for 24 megapixels.
        photo = replace(decoded.photo, rgb=shape_only(decoded.photo.rgb))
        self._running[job_id] = _Running(state, photo, options)
        return BegunJob(state.tiles, state.steps, state.state_bytes, seen.caption, _findings(seen.findings))

    def run(self, batch: Sequence[TileRef]) -> BatchReport:
        """Run tiles of any jobs; every tile has run or its job is reported as failed, as `BatchRun` tells.

        Out of memory halves `batch_tiles` for good.
        """
        work = BatchRun(
            self.restorer, {tile.job_id: self._running[tile.job_id].state for tile in batch}, self.batch_tiles
        )
        try:
            work.run(list(batch))
        finally:
            self.batch_tiles = work.batch_tiles
        for job_id in work.report.failed:
            self.discard(job_id)
        return work.report

    def preview(self, job_id: str, longest_px: int) -> PixelArray | None:
        """Show how the photo looks by now, from the tiles of the step that is about to end; cheap at any size.

        Args:
            job_id: A job all of whose tiles of this step have run.
            longest_px: Longest side of the answer, if the photo is not smaller.

        Returns:
            (h, w, 3) uint8 in the shape of the photo; None when tiles are missing or no step is left.
        """
        state = self._running[job_id].state
        if state.missing or state.is_done:
            return None
        rows, columns = state.weight_sums
        return sample_small(state.estimate, (rows.cpu(), columns.cpu()), state.size, longest_px)

    def end_step(self, job_id: str) -> None:
        """Blend the tiles of a step and move the whole photo on by one step.

        Raises:
            ServiceError: This job cannot go on.
        """
        state = self._running[job_id].state
        with as_service_errors():
            try:
                with_freed_memory(self.restorer, lambda: self.restorer.finish_step(state))
            except NonFiniteError:  # told only now where forwards do not wait for the device
                self._repeat_missing(job_id, state)
                with_freed_memory(self.restorer, lambda: self.restorer.finish_step(state))

    def _repeat_missing(self, job_id: str, state: RestorationState) -> None:
        tiles = [TileRef(job_id, index, state.step) for index in sorted(state.missing)]
        for first in range(0, len(tiles), self.batch_tiles):
            work = BatchRun(self.restorer, {job_id: state}, self.batch_tiles)
            work.run_in_full_precision(tiles[first : first + self.batch_tiles])
            for error in work.report.failed.values():
                raise error

    def finish(self, job_id: str, model: str | None = None) -> RestoredPhoto:
        """Take the restored photo out; the job is no longer held.

        Args:
            job_id: A job whose last step has ended.
            model: What callers know the model by, for the settings in the result; None for its own name.

        Raises:
            ServiceError: The result is not usable.
        """
        job = self._running.pop(job_id)
        with as_service_errors():
            result = with_freed_memory(self.restorer, lambda: self.restorer.finish(job.state))
        encoding = encode_options(job.options, model or self.name, job.state.steps)
        return RestoredPhoto(job.photo, result.image, job.options.format, encoding)

    def encode(self, restored: RestoredPhoto | AnalyzedPhoto) -> tuple[bytes, str]:
        """Write the restored photo as a file, or what was seen as a document; gives bytes and media type.

        Raises:
            ServiceError: The format asked for cannot hold this photo.
        """
        with as_service_errors():
            if isinstance(restored, AnalyzedPhoto):
                return analysis.write(restored)
            pixels = to_array(restored.image, restored.photo.rgb.dtype)
            return encode(restored.photo, pixels, restored.format, restored.encoding)

    def analyze(
        self, job_id: str, decoded: DecodedPhoto, options: RestoreOptions, tile_s: float | None = None
    ) -> AnalyzedPhoto:
        """Look at a photo, unless `look` has, without restoring it; nothing is held.

        Args:
            job_id: The job.
            decoded: The photo.
            options: What the caller asked for; caption and name of the model count.
            tile_s: Time per tile in seconds as of late; None takes what was measured at warm-up, if that was.

        Raises:
            ServiceError: This photo cannot be looked at.
        """
        with as_service_errors():
            seen = self._look_at(job_id, decoded, options)
            return analysis.describe(
                self.restorer, decoded, seen, options.model or self.name, self._tile_s if tile_s is None else tile_s
            )

    def _look_at(self, job_id: str, decoded: DecodedPhoto, options: RestoreOptions) -> Analysis:
        """What `look` has seen, or a look at the photo now."""
        seen = self._seen.pop(job_id, None)
        if seen is not None:
            return seen
        restorer = self.restorer
        return with_freed_memory(restorer, lambda: restorer.analyze(decoded.image, options.caption, options.kinds))

    def discard(self, job_id: str) -> None:
        """Free whatever is held of a job; no effect when nothing is."""
        self._running.pop(job_id, None)
        self._seen.pop(job_id, None)


def _findings(findings: Iterable[Any]) -> tuple[Finding, ...]:
    return tuple(Finding(item.kind, item.probability, item.severity) for item in findings)
