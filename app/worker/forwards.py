"""One batch of tiles through the network, whatever goes wrong on the way: one bad job never harms its batch mates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, MutableMapping
from typing import TypeVar

from app.errors import ServiceError
from app.metrics import record_memory_split
from app.worker.engine import TileRef
from app.worker.failures import empty_device_cache, is_out_of_memory, to_service_error
from app.worker.sizing import halve
from app.worker.stages import BatchReport
from model.errors import NonFiniteError
from model.pipeline import RestorationState, Restorer

logger = logging.getLogger(__name__)

T = TypeVar("T")


class BatchRun:
    """Runs one batch; every tile has run or its job has failed.

    Out of memory splits the batch; what cannot be split is tried once more after all that can be freed was. A job with
    non-finite output is tried once more, alone and in full precision.

    Args:
        restorer: The model.
        states: Of all jobs in the batch by id; those that fail are taken out.
        batch_tiles: Most tiles in one forward.

    Attributes:
        report: What became of the batch.
        batch_tiles: Smaller after a lack of memory.
    """

    def __init__(self, restorer: Restorer, states: MutableMapping[str, RestorationState], batch_tiles: int) -> None:
        self.report = BatchReport()
        self.batch_tiles = batch_tiles
        self._restorer = restorer
        self._states = states

    def run(self, batch: list[TileRef], *, is_last_try: bool = False) -> None:
        """Run tiles.

        Args:
            batch: Tiles of jobs that have not failed.
            is_last_try: Memory has been freed for it.

        Raises:
            DeviceLostError: The device does not work any more.
        """
        error = self._forward(batch)
        left = [tile for tile in batch if self._is_missing(tile)]  # a failed forward may still have served some
        self.report.ran.extend(tile for tile in batch if tile not in left)
        if error is None:
            return
        jobs = list(dict.fromkeys(tile.job_id for tile in left))
        if isinstance(error, NonFiniteError):
            for job_id in jobs:
                self.run_in_full_precision([tile for tile in left if tile.job_id == job_id])
        elif is_out_of_memory(error) and len(batch) > 1:
            half = halve(len(batch))
            self.batch_tiles = min(self.batch_tiles, half)
            logger.warning("out of memory with %d tiles, batches are now %d", len(batch), self.batch_tiles)
            record_memory_split()
            free_memory(self._restorer)
            self._run_parts([left[:half], left[half:]])
        elif is_out_of_memory(error) and not is_last_try:
            logger.warning("out of memory with one tile, once more", extra={"job_id": jobs[0]})
            free_memory(self._restorer)
            self.run(left, is_last_try=True)
        elif len(jobs) > 1:  # find out whose fault it is
            self._run_parts([[tile for tile in left if tile.job_id == job_id] for job_id in jobs])
        else:
            self._fail(jobs[0], error)

    def _run_parts(self, parts: Iterable[list[TileRef]]) -> None:
        for part in parts:
            if alive := [tile for tile in part if tile.job_id not in self.report.failed]:
                self.run(alive)

    def run_in_full_precision(self, tiles: list[TileRef]) -> None:
        """Run tiles of one job that came back with NaN or infinity.

        Raises:
            DeviceLostError: The device does not work any more.
        """
        job_id = tiles[0].job_id
        logger.warning("non-finite output, once more in full precision", extra={"job_id": job_id})
        error = self._forward(tiles, full_precision=True)
        if error is not None and is_out_of_memory(error):
            free_memory(self._restorer)
            errors = (self._forward([tile], full_precision=True) for tile in tiles)  # as little at a time as can be
            error = next((found for found in errors if found is not None), None)
        if error is None:
            self.report.ran.extend(tiles)
        else:
            self._fail(job_id, error)

    def _is_missing(self, tile: TileRef) -> bool:
        return tile.tile_index in self._states[tile.job_id].missing

    def _forward(self, batch: list[TileRef], full_precision: bool = False) -> Exception | None:
        tiles = [(self._states[tile.job_id], tile.tile_index) for tile in batch]
        try:
            self._restorer.forward_tiles(tiles, full_precision=full_precision)
        except Exception as error:  # noqa: BLE001  a batch mate must survive whatever this is
            # The traceback's frames would keep the tensors alive that a smaller batch needs the room of.
            return error.with_traceback(None) if is_out_of_memory(error) else error
        return None

    def _fail(self, job_id: str, error: Exception) -> None:
        failure: ServiceError = to_service_error(error)
        del self._states[job_id]
        self.report.failed[job_id] = failure
        self.report.ran = [tile for tile in self.report.ran if tile.job_id != job_id]  # parts of an earlier split


def with_freed_memory(restorer: Restorer, work: Callable[[], T]) -> T:
    """Do some work, and once more where memory ran out, after all that can be freed was.

    Args:
        restorer: Whose captured graphs can be freed.
        work: Leaves things such that it can be done again, whatever it raises.
    """
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        logger.warning("out of memory, once more after freeing what can be freed")
    # Out here nothing refers to the error any more, whose frames would keep the tensors alive.
    free_memory(restorer)
    return work()


def free_memory(restorer: Restorer) -> None:
    """Give the device all memory back that nothing needs: captured graphs are captured anew when they are needed."""
    restorer.forward.forget_graphs()
    empty_device_cache()
