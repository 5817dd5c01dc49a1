"""The job queue on Redis Streams, as the API and the workers see it.

A job waits in the stream of its priority as an entry that holds its id. A worker's claim puts the entry into the
group's pending list, where its idle time is the lease: renewals reset it, and when it runs out another claim takes the
job over. Every attempt raises the job's fence; a commit with an old fence is refused, so a worker that lost its lease
can do no harm. Every change of more than one key is one script (`lua/`), so a crash at any moment leaves either the old
or the new state.

Photos wait in Redis' memory; how much of it jobs may fill is told in `app.jobs.submitting`. What was accepted can
always be ended: scripts that free memory work beyond the limit too (see `lua/prelude.lua`).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from app.errors import ResultGoneError, ResultNotReadyError
from app.jobs.batches import BatchStore
from app.jobs.claim import Claim, QueuePolicy, Renewal, WorkerInfo
from app.jobs.connection import call, connect
from app.jobs.dead import DeadJobs
from app.jobs.directory import Directory, server_ms
from app.jobs.idempotency import IdempotencyKeys
from app.jobs.job import JobState
from app.jobs.journal import Journal
from app.jobs.keys import Keys
from app.jobs.news import NewsReader
from app.jobs.notices import NoticeReader
from app.jobs.outbox import Outbox
from app.jobs.parts import unknown_job
from app.jobs.previews import Listeners
from app.jobs.results import ResultReader
from app.jobs.retention import Retention
from app.jobs.server import ServerFacts, check_server
from app.jobs.settling import Settling
from app.jobs.submitting import Submitting

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from app.jobs.job import Job
    from app.storage.setup import Storage

__all__ = ["Claim", "JobQueue", "QueuePolicy", "Renewal", "WorkerInfo", "unknown_job"]

_RECHECK_S = 5.0  # a waiter looks at the job this often, in case its notice was trimmed away


class JobQueue(Submitting, Settling):
    """Durable queue with leases, fences and events; one per process and event loop.

    Every method raises `QueueUnavailableError` while Redis cannot be reached or refuses to work, and may then be
    called again with the same arguments: submit, commits, cancel and purge have an effect once, however often they are
    sent.

    Args:
        redis: Client made by `app.jobs.connection.connect`.
        keys: Names of the keys.
        policy: Times and bounds; None gives the defaults.
        storage: Where photos are beside Redis; None for in Redis alone.

    Attributes:
        directory: Lists jobs.
        batches: Batches and their entries.
        idempotency: Holds the keys of requests.
        journal: Reads what happened to a job.
        news: Tells when something has happened.
        results: Reads results piece by piece.
        outbox: Webhooks that are to be sent.
        retention: Deletes photos.
        dead: Jobs that failed on every delivery.
        server: What the Redis server told about itself (`check`).
    """

    def __init__(
        self, redis: Redis, keys: Keys, policy: QueuePolicy | None = None, storage: Storage | None = None
    ) -> None:
        super().__init__(redis, keys, policy, storage)
        self._notices = NoticeReader(redis, keys.notices)
        self._listeners = Listeners(redis, keys, self.policy.listen_ms)
        self.directory = Directory(redis, keys, self._scripts)
        self.batches = BatchStore(keys, self._scripts, self._blobs, self.policy, self.pace)
        self.idempotency = IdempotencyKeys(self._scripts)
        self.journal = Journal(redis, keys)
        self.news = NewsReader(redis, keys.news)
        self.results = ResultReader(self._blobs, keys)
        self.outbox = Outbox(redis, keys, self._scripts)
        self.retention = Retention(redis, keys, self._blobs)
        self.dead = DeadJobs(self._scripts, self.policy)
        self.server = ServerFacts()

    @classmethod
    def from_url(
        cls,
        url: str,
        namespace: str = "",
        policy: QueuePolicy | None = None,
        storage: Storage | None = None,
    ) -> JobQueue:
        """Give a queue with its own connections to the Redis server at `url`."""
        return cls(connect(url), Keys(namespace), policy, storage)

    async def close(self) -> None:
        """Stop waiting and close the connections."""
        await self._notices.close()
        await self.news.close()
        await self._redis.aclose()

    async def ping(self) -> None:
        """Return when Redis answers."""
        await call(self._redis, "PING")

    async def check(self) -> ServerFacts:
        """Look whether the server will do, and note what it tells about itself.

        Raises:
            UnusableRedisError: It is too old.
        """
        self.server = await check_server(self._redis)
        return self.server

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
            raise unknown_job(job_id)
        return await self.get(job_id)

    async def purge(self, job_id: str) -> bool:
        """Delete all that is kept of a job: record, events, photo, mask, results, webhooks, its place in the listing.

        One that has not ended is canceled in the same step; its worker stops with its next sign of life, and what it
        still hands in is refused. An Idempotency-Key is kept for its time, with digests of the request and no more.

        Returns:
            Whether all is gone now; what is not, because the object store did not answer, is deleted by a sweep.

        Raises:
            JobNotFoundError: No job has this id (any more).
        """
        job = await self.get(job_id)  # before it is gone: it tells which results there are
        if not await self._scripts.purge(job_id):
            raise unknown_job(job_id)
        return await self.retention.delete(job)

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
