"""What the queue hands out: claims, renewals, workers, and the policy it works by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs.job import Job

if TYPE_CHECKING:
    from app.settings import Settings


@dataclass(frozen=True)
class QueuePolicy:
    """Times and bounds of the queue.

    Attributes:
        lease_ms: Time without a renewal after which another worker may take a running job.
        max_deliveries: Workers that may take a job before it counts as failed.
        result_ttl_s: Time for which a result can be fetched.
        record_ttl_s: Time for which the job's record outlives its result (or its failure).
        upload_ttl_s: Time after which an upload that never became a job is deleted.
        max_queued: Waiting jobs, over all priorities, above which new ones are refused.
        memory_share: Part of Redis' memory limit in use above which new jobs are refused; the rest is for results.
        max_waiting_entries: Entries of batches that wait to become jobs above which new batches are refused.
        batch_memory_share: As `memory_share`, for new batches and the photos that they store; the difference is left to
            jobs that somebody waits for.
        event_maxlen: Events kept per job.
        dead_maxlen: Entries kept in the dead stream and in the notices stream.
        listen_ms: Time for which somebody who listens to events counts without saying so again.
        batch_every: One of this many claims looks for a batch job first, so that batch never starves.
        idempotency_ttl_s: Time for which an Idempotency-Key is remembered from acceptance.
        batch_ttl_s: Time for which a batch is kept, with what it stores of photos that are no jobs yet.
        dead_ttl_s: Time for which a job that failed on every delivery can be retried, its photo kept; 0 for not at all.
        consumer_idle_ms: Time after which a consumer that holds nothing and never announced itself is forgotten.
    """

    lease_ms: int = 30_000
    max_deliveries: int = 3
    result_ttl_s: int = 3600
    record_ttl_s: int = 24 * 3600
    upload_ttl_s: int = 24 * 3600
    max_queued: int = 1000
    memory_share: float = 0.6
    max_waiting_entries: int = 100_000
    batch_memory_share: float = 0.4
    event_maxlen: int = 512
    dead_maxlen: int = 10_000
    listen_ms: int = 15_000
    batch_every: int = 8
    idempotency_ttl_s: int = 24 * 3600
    batch_ttl_s: int = 7 * 24 * 3600
    dead_ttl_s: int = 24 * 3600
    consumer_idle_ms: int = 3_600_000

    @classmethod
    def of(cls, settings: Settings) -> QueuePolicy:
        """Give the policy that the settings ask for; API and worker must work by the same one."""
        return cls(
            lease_ms=int(settings.lease_s * 1000),
            max_deliveries=settings.max_deliveries,
            result_ttl_s=settings.result_ttl_s,
            record_ttl_s=settings.record_ttl_s,
            max_queued=settings.max_queued,
            max_waiting_entries=settings.max_waiting_entries,
            idempotency_ttl_s=settings.idempotency_ttl_s,
            batch_ttl_s=settings.batch_ttl_s,
            dead_ttl_s=settings.dead_ttl_s,
        )


@dataclass(frozen=True)
class Claim:
    """A job that this worker holds until its lease runs out.

    Attributes:
        job: The job as of this claim, state running.
        image: Bytes of the upload.
        mask: Bytes of the mask, or None without one.
        fence: Attempt number; a commit with an old one is refused.
        entry_id: Stream entry that stands for the claim.
        priority: Stream from which it came.
        worker: Name of the worker that holds it.
        accepted_s: When the job was accepted, on this process's monotonic clock. Only ages cross machines: the server
            tells how long ago it was by its own clock, so clocks of API and workers need not agree.
        owner: Process that holds it, as the job's record names it.
    """

    job: Job
    image: bytes
    mask: bytes | None
    fence: int
    entry_id: str
    priority: str
    worker: str
    accepted_s: float = 0.0
    owner: str = ""

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.job.id


@dataclass(frozen=True)
class Renewal:
    """Answer to a sign of life.

    Attributes:
        owned: False when the job went to another worker or is over: stop working on it.
        cancel_requested: The caller wants it stopped; end it with `JobQueue.canceled`.
        watched: Somebody listens to its events and may want previews.
    """

    owned: bool
    cancel_requested: bool
    watched: bool = False


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that gave a sign of life lately.

    Attributes:
        name: Its unique name.
        ready: Whether its models are loaded and warm.
        model: Name of the model for jobs that name none; empty until it is loaded.
        seen_ms: When it was last heard of (server clock, UTC milliseconds).
        models: Names of all its models.
    """

    name: str
    ready: bool
    model: str
    seen_ms: int
    models: tuple[str, ...] = ()
