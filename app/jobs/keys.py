"""Every Redis key name of the queue.

All names share the hash tag `{vlmir}`, so that one script may touch several keys on a Redis Cluster too.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.jobs.job import PRIORITIES

GROUP = "workers"
"""Name of the one consumer group of every job stream."""


@dataclass(frozen=True)
class Keys:
    """Key names of one service.

    Args:
        namespace: Lets several services share one Redis; empty for none.
    """

    namespace: str = ""

    @property
    def prefix(self) -> str:
        """Beginning of every name."""
        return f"{{vlmir}}:{self.namespace}:" if self.namespace else "{vlmir}:"

    def stream(self, priority: str) -> str:
        """Stream of job ids that wait for a worker."""
        return f"{self.prefix}jobs:{priority}"

    def queued(self, priority: str) -> str:
        """Sorted set of queued job ids by creation time: the exact depth, without canceled ones."""
        return f"{self.prefix}queued:{priority}"

    @property
    def dead(self) -> str:
        """Stream of jobs that failed on every delivery.

        Under this name with `:photos` those whose photos are in Redis' memory, by the time of their end.
        """
        return f"{self.prefix}dead"

    @property
    def notices(self) -> str:
        """Stream with the id of every job that became terminal; wakes those who wait."""
        return f"{self.prefix}notices"

    @property
    def pace(self) -> str:
        """Hash with how fast jobs end; see `app.jobs.pace`."""
        return f"{self.notices}:pace"

    @property
    def workers(self) -> str:
        """Hash of announced workers.

        Under this name with `:looked`, for a minute, that somebody has looked for consumers that nobody needs.
        """
        return f"{self.prefix}workers"

    def job(self, job_id: str) -> str:
        """Hash of one job."""
        return f"{self.prefix}job:{job_id}"

    def events(self, job_id: str) -> str:
        """Capped stream of what happened to one job."""
        return f"{self.prefix}events:{job_id}"

    def listening(self, job_id: str) -> str:
        """There while somebody listens to the events of one job."""
        return f"{self.prefix}listening:{job_id}"

    def listed(self, tenant: str, state: str) -> str:
        """Sorted set of a tenant's jobs in a state, by creation time; entries go with the records they stand for."""
        return f"{self.prefix}listed:{tenant}:{state}"

    @property
    def unlist(self) -> str:
        """Sorted set of listed jobs by the time at which their records are deleted."""
        return f"{self.prefix}unlist"

    @property
    def news(self) -> str:
        """Pub/Sub channel (not a key) that names every job with a new event."""
        return f"{self.prefix}news"

    def idempotency(self, name: str) -> str:
        """Hash of one Idempotency-Key; see `app.jobs.idempotency`."""
        return f"{self.prefix}key:{name}"

    def batch(self, batch_id: str) -> str:
        """Hash of one batch; see `app.jobs.batches`."""
        return f"{self.prefix}batch:{batch_id}"

    @property
    def feed(self) -> str:
        """Sorted set of the entries of batches that are no jobs yet, by the time from which they may be taken.

        Under this name with `:stored` those whose photos are stored, with `:fed` the jobs that were made of entries.
        """
        return f"{self.prefix}feed"

    def image(self, job_id: str) -> str:
        """Bytes of the uploaded photo."""
        return f"{self.prefix}image:{job_id}"

    def mask(self, job_id: str) -> str:
        """Bytes of the uploaded mask."""
        return f"{self.prefix}mask:{job_id}"

    def result(self, job_id: str, fence: int) -> str:
        """Bytes of the result of one attempt; written once."""
        return f"{self.prefix}result:{job_id}:{fence}"

    @property
    def objects(self) -> str:
        """Sorted set of all photos in the object store, by the time from which they may be deleted."""
        return f"{self.prefix}objects"

    @property
    def outbox(self) -> str:
        """Sorted set of webhooks that are to be sent, by the time from which they may be; see `app.jobs.outbox`.

        Under this name with `:searched` how far a long line for busy endpoints was searched for others.
        """
        return f"{self.prefix}outbox"

    def delivery(self, message_id: str) -> str:
        """Hash of one webhook and its tries."""
        return f"{self.prefix}delivery:{message_id}"

    def deliveries(self, subject: str) -> str:
        """List of the webhooks about a job, or about an entry of a batch."""
        return f"{self.prefix}deliveries:{subject}"

    def endpoint(self, name: str) -> str:
        """There while a host that did not answer is left alone: until when."""
        return f"{self.prefix}endpoint:{name}"

    def script_keys(self) -> list[str]:
        """Give the KEYS list that every script gets, in the order of `lua/prelude.lua`.

        The last ones are beginnings of names to which a script adds a job id: which jobs it will touch is known
        only inside (a claim reads them from the stream), and the hash tag keeps them on the same shard.
        """
        return [
            *(self.stream(priority) for priority in PRIORITIES),
            *(self.queued(priority) for priority in PRIORITIES),
            self.dead,
            self.notices,
            self.workers,
            self.job(""),
            self.events(""),
            self.image(""),
            self.mask(""),
            f"{self.prefix}result:",
            self.listening(""),
            f"{self.prefix}listed:",
            self.unlist,
            self.news,
            self.idempotency(""),
            self.batch(""),
            self.feed,
            self.outbox,
            self.delivery(""),
            self.deliveries(""),
            self.endpoint(""),
            self.objects,
        ]
