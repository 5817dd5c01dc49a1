"""The job queue on Redis Streams, as the API and the workers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.jobs.claim import Claim, QueuePolicy, Renewal, WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from app.jobs.job import Finding, Job
    from app.jobs.keys import Keys

__all__ = ["Claim", "JobQueue", "QueuePolicy", "Renewal", "WorkerInfo"]


class JobQueue:
    """Durable queue with leases, fences and events. One per process; see the methods."""

    def __init__(self, redis: Redis, keys: Keys, policy: QueuePolicy | None = None) -> None:
        self.redis = redis
        self.keys = keys
        self.policy = policy or QueuePolicy()

    @classmethod
    def from_url(cls, url: str, namespace: str = "", policy: QueuePolicy | None = None) -> JobQueue:
        """Give a queue with its own connections to the Redis server at `url`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections."""
        raise NotImplementedError

    async def ensure(self) -> None:
        """Create streams and consumer groups that are missing, starting at 0."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Check that Redis answers."""
        raise NotImplementedError

    async def submit(self, job: Job, image: bytes, mask: bytes | None = None) -> Job:
        """Accept a job."""
        raise NotImplementedError

    async def get(self, job_id: str) -> Job:
        """Give a job as it is now."""
        raise NotImplementedError

    async def result(self, job_id: str) -> bytes:
        """Give the bytes of the restored photo."""
        raise NotImplementedError

    async def cancel(self, job_id: str) -> Job:
        """Ask to cancel."""
        raise NotImplementedError

    async def wait(self, job_id: str, timeout_s: float) -> Job:
        """Wait until the job is terminal or the time is up."""
        raise NotImplementedError

    async def depth(self) -> dict[str, int]:
        """Give the number of queued jobs per priority."""
        raise NotImplementedError

    async def workers(self) -> list[WorkerInfo]:
        """List workers that were heard of lately."""
        raise NotImplementedError

    async def claim(self, worker: str, limit: int, block_ms: int) -> list[Claim]:
        """Take up to `limit` jobs."""
        raise NotImplementedError

    async def renew(self, claim: Claim) -> Renewal:
        """Prolong the lease."""
        raise NotImplementedError

    async def progress(
        self,
        claim: Claim,
        step: int,
        steps_total: int,
        caption: str | None = None,
        findings: Sequence[Finding] | None = None,
    ) -> Renewal:
        """Tell how far the job is; also answers like `renew`."""
        raise NotImplementedError

    async def finish(
        self,
        claim: Claim,
        image: bytes,
        media_type: str,
        *,
        caption: str | None,
        findings: Sequence[Finding],
        steps_total: int,
    ) -> bool:
        """Commit the result; False when refused."""
        raise NotImplementedError

    async def fail(self, claim: Claim, code: str, detail: str, retryable: bool = False) -> bool:
        """End the attempt with an error."""
        raise NotImplementedError

    async def canceled(self, claim: Claim) -> bool:
        """End the job as canceled."""
        raise NotImplementedError

    async def hand_back(self, claim: Claim) -> bool:
        """Give the job to whoever asks next, without counting the delivery."""
        raise NotImplementedError

    async def announce(self, worker: str, ready: bool, model: str, ttl_ms: int) -> None:
        """Tell that this worker lives."""
        raise NotImplementedError

    async def retire(self, worker: str) -> None:
        """Forget this worker and hand back what it still holds."""
        raise NotImplementedError
