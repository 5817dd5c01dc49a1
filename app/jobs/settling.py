"""What workers do with the queue: take jobs, show life, and settle what they took.

Every attempt has a fence; a commit with an old fence is refused, so a worker that lost its lease can do no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from app.errors import QueueMemoryError
from app.jobs.claim import Claim, QueuePolicy, Renewal
from app.jobs.claiming import Claimer, is_missing_group
from app.jobs.codec import encode_findings
from app.jobs.job import PRIORITIES
from app.jobs.parts import QueueParts
from app.storage.buckets import BucketPolicy, CallerBuckets
from app.storage.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from app.jobs.job import Finding, Job
    from app.jobs.keys import Keys
    from app.jobs.previews import Preview
    from app.storage.setup import Storage

_EXTENSIONS = {"jpeg": "jpg", "tiff": "tif"}  # the others end as their media types do


class Settling(QueueParts):
    """The side of the queue for workers."""

    def __init__(
        self, redis: Redis, keys: Keys, policy: QueuePolicy | None = None, storage: Storage | None = None
    ) -> None:
        super().__init__(redis, keys, policy, storage)
        self._buckets = CallerBuckets(BucketPolicy()) if storage is None else storage.buckets
        self._claimer = Claimer(redis, keys, self._scripts, self._blobs, self.policy.lease_ms, self.ensure)

    async def claim(
        self, worker: str, limit: int, block_ms: int, priorities: Sequence[str] = PRIORITIES
    ) -> list[Claim]:
        """Take jobs: first those whose lease ran out (or that this worker lost), then new ones.

        A job that was delivered too often fails here instead of being given out; a canceled one is cleared away.

        Args:
            worker: Name of the worker, unique among living processes.
            limit: Most jobs to take; 0 takes none.
            block_ms: Longest time to wait for the first job, in milliseconds; 0 does not wait.
            priorities: Only jobs of these, some of `PRIORITIES`.

        Returns:
            What was taken, at most `limit`; empty when the time is up.

        Raises:
            ValueError: No priority is given, or one that there is not.
        """
        return await self._claimer.claim(worker, limit, block_ms, priorities)

    async def renew(self, claim: Claim) -> Renewal:
        """Prolong the lease by its full length; call it every quarter of the lease."""
        return self._noted(claim, await self._scripts.renew(claim, claim.worker))

    async def progress(
        self,
        claim: Claim,
        step: int,
        steps_total: int,
        caption: str | None = None,
        findings: Sequence[Finding] | None = None,
        model: str | None = None,
    ) -> Renewal:
        """Record finished steps (and caption, findings and model once known) and answer as `renew` does.

        It does not prolong the lease.
        """
        text = "" if findings is None else encode_findings(findings)
        renewal = await self._scripts.progress(claim, step, steps_total, caption or "", text, model or "")
        return self._noted(claim, renewal)

    async def preview(self, claim: Claim, preview: Preview) -> Renewal:
        """Show how the photo looks by now to whoever listens, and answer as `renew` does.

        It takes the place of the preview before. Without effect when nobody listens or the claim is stale.
        """
        return self._noted(claim, await self._scripts.preview(claim, preview))

    def _noted(self, claim: Claim, renewal: Renewal) -> Renewal:
        if not renewal.owned:
            self._claimer.release(claim)
        return renewal

    async def finish(
        self,
        claim: Claim,
        image: bytes,
        media_type: str,
        *,
        caption: str | None,
        findings: Sequence[Finding],
        steps_total: int,
        model: str | None = None,
    ) -> bool:
        """Store the result, write it where its caller wants it too, and make the job succeeded.

        Returns:
            False when the result was not taken: the job went to another worker, is over, or was canceled.

        Raises:
            OutputError: The caller's bucket does not take it; the job still runs.
        """
        name = self._keys.result(claim.job_id, claim.fence)
        data = b""
        try:
            await self._blobs.put(name, image, self.policy.result_ttl_s, media_type)
        except QueueMemoryError:
            data = image  # goes with the commit, which makes room by deleting the upload
        try:
            await self._hand_over(claim.job, image, media_type)
        except OutputError:
            await self._blobs.delete(name)
            raise
        done = await self._scripts.finish(
            claim, media_type, caption or "", encode_findings(findings), steps_total, model or "", data
        )
        self._claimer.release(claim)
        if not done and not self._blobs.fills_redis:  # else the script has deleted it
            await self._blobs.delete(name)
        return done

    async def _hand_over(self, job: Job, image: bytes, media_type: str) -> None:
        """Write a result into the caller's bucket: before the job succeeds, so that success says that it is there."""
        if job.options.output_url is not None:
            kind = media_type.rpartition("/")[2]
            name = f"{job.id}.{_EXTENSIONS.get(kind, kind)}"
            await self._buckets.deliver(job.options.output_url, job.tenant, name, image, media_type)

    async def fail(self, claim: Claim, code: str, detail: str, retryable: bool = False) -> bool:
        """End the attempt with an error; a retryable one goes back to the queue while deliveries are left.

        Returns:
            False when the claim is stale.
        """
        done = await self._scripts.fail(claim, code, detail, retryable)
        self._claimer.release(claim)
        return done

    async def canceled(self, claim: Claim) -> bool:
        """End the job as canceled; False when the claim is stale."""
        done = await self._scripts.canceled(claim)
        self._claimer.release(claim)
        return done

    async def hand_back(self, claim: Claim) -> bool:
        """Give the job to whoever asks next, without counting the delivery; False when the claim is stale."""
        done = await self._scripts.hand_back(claim)
        self._claimer.release(claim)
        return done

    async def announce(
        self, worker: str, ready: bool, model: str, ttl_ms: int, models: Sequence[str] | None = None
    ) -> None:
        """Give a sign of life.

        Args:
            worker: Name of the worker.
            ready: Whether it takes jobs.
            model: Its model for jobs that name none; empty until it is known.
            ttl_ms: Time in milliseconds for which the sign is good.
            models: All its models; None for that one alone.
        """
        await self._scripts.announce(worker, ready, model, ttl_ms, [model] if models is None else models)

    async def retire(self, worker: str) -> None:
        """Forget a worker that stops, and hand back, uncounted, every job it still holds."""
        try:
            await self._scripts.retire(worker)
        except ResponseError as error:
            if not is_missing_group(error):
                raise
            await self.ensure()
            await self._scripts.retire(worker)
        self._claimer.forget(worker)
