"""The job queue on Redis Streams, as the API and the workers see it.

A job waits in the stream of its priority as an entry that holds its id. A worker's claim puts the entry into the
group's pending list, where its idle time is the lease: renewals reset it, and when it runs out another claim takes the
job over. Every attempt raises the job's fence; a commit with an old fence is refused, so a worker that lost its lease
can do no harm. Every change of more than one key is one script (`lua/`), so a crash at any moment leaves either the old
or the new state.

Photos wait in Redis' memory, so jobs are refused by number and by memory: when Redis uses more than a share of its
`maxmemory`. That asks Redis what it uses instead of counting bytes of our own, because such a count would know nothing
of results, of uploads that expire, nor of other users of the server, and would be wrong for ever after one mistake.
What was accepted can always be ended: scripts that free memory work beyond the limit too (see `lua/prelude.lua`).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from app.errors import (
    BatchNotFoundError,
    JobNotFoundError,
    QueueFullError,
    QueueMemoryError,
    ResultGoneError,
    ResultNotReadyError,
)
from app.jobs.batches import BatchStore
from app.jobs.blobs import BlobStore
from app.jobs.claim import Claim, QueuePolicy, Renewal, WorkerInfo
from app.jobs.claiming import Claimer, is_missing_group
from app.jobs.codec import decode_job, encode_findings, encode_job
from app.jobs.connection import call, connect
from app.jobs.directory import Directory, server_ms
from app.jobs.idempotency import IdempotencyKeys, check_key
from app.jobs.job import PRIORITIES, JobState
from app.jobs.journal import Journal
from app.jobs.keys import GROUP, Keys
from app.jobs.news import NewsReader
from app.jobs.notices import NoticeReader
from app.jobs.previews import Listeners
from app.jobs.results import ResultReader
from app.jobs.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from app.jobs.idempotency import KeyUse
    from app.jobs.job import Finding, Job
    from app.jobs.previews import Preview

__all__ = ["Claim", "JobQueue", "QueuePolicy", "Renewal", "WorkerInfo"]

_RECHECK_S = 5.0  # a waiter looks at the job this often, in case its notice was trimmed away


class JobQueue:
    """Durable queue with leases, fences and events; one per process and event loop.

    Every method raises `QueueUnavailableError` while Redis cannot be reached or refuses to work, and may then be
    called again with the same arguments: submit, commits and cancel have an effect once, however often they are sent.

    Args:
        redis: Client made by `app.jobs.connection.connect`.
        keys: Names of the keys.
        policy: Times and bounds; None gives the defaults.

    Attributes:
        directory: Lists jobs.
        batches: Batches and their entries.
        idempotency: Holds the keys of requests.
        journal: Reads what happened to a job.
        news: Tells when something has happened.
        results: Reads results piece by piece.
    """

    def __init__(self, redis: Redis, keys: Keys, policy: QueuePolicy | None = None) -> None:
        self.policy = policy or QueuePolicy()
        self._redis = redis
        self._keys = keys
        self._blobs = BlobStore(redis)
        self._scripts = Scripts(redis, keys, self.policy)
        self._notices = NoticeReader(redis, keys.notices)
        self._listeners = Listeners(redis, keys, self.policy.listen_ms)
        self.directory = Directory(redis, keys, self._scripts)
        self.batches = BatchStore(keys, self._scripts, self._blobs)
        self.idempotency = IdempotencyKeys(self._scripts)
        self.journal = Journal(redis, keys)
        self.news = NewsReader(redis, keys.news)
        self.results = ResultReader(self._blobs, keys)
        self._claimer = Claimer(redis, keys, self._scripts, self._blobs, self.policy.lease_ms, self.ensure)

    @classmethod
    def from_url(cls, url: str, namespace: str = "", policy: QueuePolicy | None = None) -> JobQueue:
        """Give a queue with its own connections to the Redis server at `url`."""
        return cls(connect(url), Keys(namespace), policy)

    async def close(self) -> None:
        """Stop waiting and close the connections."""
        await self._notices.close()
        await self.news.close()
        await self._redis.aclose()

    async def ensure(self) -> None:
        """Create streams and consumer groups that are missing, from the first entry on."""
        for priority in PRIORITIES:
            await self._ensure_group(self._keys.stream(priority))

    async def _ensure_group(self, stream: str) -> None:
        try:
            # From 0 and not from the end: jobs submitted before the first worker count.
            await call(self._redis, "XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def ping(self) -> None:
        """Return when Redis answers."""
        await call(self._redis, "PING")

    # Side of the API

    async def submit(
        self, job: Job, image: bytes, mask: bytes | None = None, key: KeyUse | None = None, entry: int | None = None
    ) -> Job:
        """Accept a job.

        Args:
            job: A queued job with a fresh id.
            image: Bytes of the upload.
            mask: Bytes of the mask image, or None.
            key: Idempotency key, held by the caller (`IdempotencyKeys.held`); settled together with the job.
            entry: Index in the job's batch; settled together with the job. None for a job of its own.

        Returns:
            The job as it now is (a job that was accepted before, or under the key, is given as it is).

        Raises:
            ValueError: The job is not in state queued.
            QueueFullError: Too many jobs wait, or Redis needs its memory for the jobs it has.
            IdempotencyKeyReusedError: The key belongs to another request.
            IdempotencyInProgressError: The key is held by another request.
            BatchNotFoundError: The batch does not wait for this entry (any more).
        """
        if job.state is not JobState.QUEUED:
            raise ValueError(f"only a queued job can be submitted, this one is {job.state.value}")
        # Cheap look first, so that a full queue does not have to take the upload; the script decides.
        self._check_room(*await self._scripts.room())
        names = [self._keys.image(job.id), self._keys.mask(job.id)]
        try:
            for name, data in zip(names, (image, mask), strict=True):
                if data is not None:
                    await self._blobs.put(name, data, self.policy.upload_ttl_s)
        except QueueMemoryError:
            await self._blobs.delete(*names)  # the photo, when only the mask found no room
            self._check_room("memory", sum((await self.depth()).values()))
        place = None if entry is None or job.batch_id is None else (job.batch_id, entry)
        word, queued, first = await self._scripts.submit(
            job.id, job.priority, job.created_ms, encode_job(job), key, place
        )
        if word not in ("ok", "known"):
            await self._blobs.delete(*names)
        self._check_room(word, queued)
        check_key(word)
        if word == "gone":
            raise BatchNotFoundError(f"The batch {job.batch_id} does not wait for its entry {entry} any more.")
        return job if word == "ok" else await self.get(first or job.id)

    def _check_room(self, word: str, queued: int) -> None:
        if word == "full":
            raise QueueFullError(f"{queued} jobs are waiting, the limit is {self.policy.max_queued}; try again later.")
        if word == "memory":
            raise QueueFullError(f"The queue's memory is full ({queued} jobs are waiting); try again later.")

    async def get(self, job_id: str) -> Job:
        """Give a job as it is now.

        Raises:
            JobNotFoundError: No job has this id (any more).
        """
        fields = await call(self._redis, "HGETALL", self._keys.job(job_id))
        if not fields:
            raise JobNotFoundError(f"No job has the id {job_id!r}; records are deleted some time after the end.")
        return decode_job(fields).seen_at(await server_ms(self._redis))

    async def result(self, job_id: str) -> bytes:
        """Give the bytes of the restored photo.

        Raises:
            JobNotFoundError: No job has this id (any more).
            ResultNotReadyError: The job is not succeeded; the error has its state.
            ResultGoneError: The result has been deleted after its time.
        """
        job = await self.get(job_id)
        if job.state is JobState.SUCCEEDED:
            data = await self._blobs.get(self._keys.result(job_id, job.attempt))
            if data is not None:
                return data
        elif job.state is not JobState.EXPIRED:
            raise ResultNotReadyError(job.state.value)
        raise ResultGoneError(f"Results are kept for {self.policy.result_ttl_s} s; submit the photo again.")

    async def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once, ask the worker of a running one to stop, leave a terminal one as it is.

        Raises:
            JobNotFoundError: No job has this id (any more).
        """
        if not await self._scripts.cancel(job_id):
            raise JobNotFoundError(f"No job has the id {job_id!r}; records are deleted some time after the end.")
        return await self.get(job_id)

    async def wait(self, job_id: str, timeout_s: float) -> Job:
        """Give the job as soon as it is terminal, or as it is when the time is up.

        Any number of waiters shares one connection; see `app.jobs.notices`.

        Raises:
            JobNotFoundError: No job has this id (any more).
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        notice = await self._notices.subscribe(job_id)
        try:
            while True:
                job = await self.get(job_id)
                left_s = deadline - loop.time()
                if job.state.is_terminal or left_s <= 0:
                    return job
                await asyncio.wait({notice}, timeout=min(left_s, _RECHECK_S))
                if notice.done():
                    notice.result()
        finally:
            self._notices.unsubscribe(job_id, notice)

    async def listen(self, job_id: str) -> None:
        """Say that somebody listens to the events of a job; say so again within `QueuePolicy.listen_ms`.

        Until that time is over workers put previews into the job's events: type "preview", the newest one only.
        """
        await self._listeners.listen(job_id)

    async def depth(self) -> dict[str, int]:
        """Give the number of queued jobs per priority."""
        return {priority: int(await call(self._redis, "ZCARD", self._keys.queued(priority))) for priority in PRIORITIES}

    async def workers(self) -> list[WorkerInfo]:
        """List the workers that gave a sign of life lately, by name."""
        rows = await call(self._redis, "HGETALL", self._keys.workers)
        now_ms = await server_ms(self._redis)
        found = []
        for name, text in sorted(rows.items()):
            row = json.loads(text)
            if row["until_ms"] >= now_ms:
                # Workers of earlier releases tell one model and no list.
                models = tuple(item for item in row.get("models", row["model"]).split(",") if item)
                found.append(WorkerInfo(name.decode(), row["ready"], row["model"], row["seen_ms"], models))
        return found

    # Side of the worker

    async def claim(self, worker: str, limit: int, block_ms: int) -> list[Claim]:
        """Take jobs: first those whose lease ran out (or that this worker lost), then new ones.

        A job that was delivered too often fails here instead of being given out; a canceled one is cleared away.

        Args:
            worker: Name of the worker, unique among living processes.
            limit: Most jobs to take; 0 takes none.
            block_ms: Longest time to wait for the first job, in milliseconds; 0 does not wait.

        Returns:
            What was taken, at most `limit`; empty when the time is up.
        """
        return await self._claimer.claim(worker, limit, block_ms)

    async def renew(self, claim: Claim) -> Renewal:
        """Prolong the lease by its full length; call it every quarter of the lease."""
        return self._noted(claim, await self._scripts.renew(claim))

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
        """Store the result and make the job succeeded.

        Returns:
            False when the result was not taken: the job went to another worker, is over, or was canceled.
        """
        name = self._keys.result(claim.job_id, claim.fence)
        data = b""
        try:
            await self._blobs.put(name, image, self.policy.result_ttl_s)
        except QueueMemoryError:
            data = image  # goes with the commit, which makes room by deleting the upload
        done = await self._scripts.finish(
            claim, media_type, caption or "", encode_findings(findings), steps_total, model or "", data
        )
        self._claimer.release(claim)
        if not done:
            await self._blobs.delete(name)
        return done

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
