"""Typed stubs of the Lua scripts: every change of more than one key is one of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from app.jobs.claim import Renewal
from app.jobs.connection import translated_errors
from app.jobs.keys import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.asyncio import Redis

    from app.jobs.claim import Claim, QueuePolicy
    from app.jobs.idempotency import KeyUse
    from app.jobs.keys import Keys
    from app.jobs.previews import Preview

_NAMES = (
    "room", "submit", "claim", "renew", "progress", "finish", "fail", "canceled", "hand_back", "cancel", "announce",
    "retire", "preview", "page", "reserve_key", "release_key", "batch_create", "batch_take",
    "batch_refuse", "batch_defer", "batch_cancel", "batch_view", "batch_room", "purge",
    "webhook_take", "webhook_settle", "objects_hold", "objects_take", "dead_page", "dead_retry", "dead_drop",
)  # fmt: skip
_PARTS = dict.fromkeys(("submit", "reserve_key", "release_key", "batch_create"), ("idempotency",))
"""Files that a script needs between the prelude and its own."""


@dataclass(frozen=True)
class Taken:
    """One claim as the script gives it.

    Attributes:
        priority: Stream from which it came.
        entry_id: Entry in that stream.
        fence: Attempt number.
        age_ms: Time since the job was accepted, by the server's clock.
        fields: The job's hash.
    """

    priority: str
    entry_id: str
    fence: int
    age_ms: int
    fields: Mapping[bytes, bytes]

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.fields[b"id"].decode()

    @property
    def owner(self) -> str:
        """Process that it was given to."""
        return self.fields[b"owner"].decode()


class Scripts:
    """The scripts of one queue. All methods raise `QueueUnavailableError` while Redis cannot work.

    Args:
        redis: Client that gives bytes.
        keys: Names of the keys.
        policy: Times and bounds.
    """

    def __init__(self, redis: Redis, keys: Keys, policy: QueuePolicy) -> None:
        folder = resources.files("app.jobs") / "lua"
        # Runs by EVALSHA; redis-py loads the text again when the server does not know it (a restart, a failover).
        self._scripts = {
            name: redis.register_script(
                "".join(
                    (folder / f"{part}.lua").read_text(encoding="utf-8")
                    for part in ("prelude", *_PARTS.get(name, ()), name)
                )
            )
            for name in _NAMES
        }
        self._keys = keys.script_keys()
        self._policy = policy
        self._head: list[str | int] = [
            GROUP,
            policy.event_maxlen,
            policy.dead_maxlen,
            policy.record_ttl_s * 1000,
            policy.result_ttl_s * 1000,
            policy.max_deliveries,
            policy.lease_ms,
            policy.dead_ttl_s * 1000,
        ]

    async def _run(self, name: str, *args: str | int | bytes) -> Any:
        with translated_errors():
            return await self._scripts[name](keys=self._keys, args=[*self._head, *args])

    async def submit(
        self,
        job_id: str,
        priority: str,
        created_ms: int,
        fields: Mapping[str, str],
        key: KeyUse | None = None,
        entry: tuple[str, int] | None = None,
        is_stored: bool = False,
    ) -> tuple[str, int, str]:
        """Accept a job; gives a word (see `lua/submit.lua`), the number of queued jobs, the job that has the key."""
        flat = [part for pair in fields.items() for part in pair]
        head = (*self._bounds(), *self.key_args(key), *(entry or ("", "")), int(is_stored))
        word, queued, *first = await self._run("submit", job_id, priority, created_ms, *head, *flat)
        return word.decode(), queued, first[0].decode() if first else ""

    def key_args(self, key: KeyUse | None) -> tuple[str | int, ...]:
        """Give what scripts that accept something take of an Idempotency-Key."""
        return ("", "", "", 0) if key is None else (*_used(key), self._policy.idempotency_ttl_s * 1000)

    async def run(self, name: str, *args: str | int | bytes) -> Any:
        """Run a script that has no stub here."""
        return await self._run(name, *args)

    async def reserve_key(self, key: KeyUse, hold_ms: int) -> tuple[str, str]:
        """Hold a key; gives ("ok", "reused", "accepting" or "repeated", id of what was accepted under it)."""
        word, first = await self._run("reserve_key", *_used(key), hold_ms)
        return word.decode(), first.decode()

    async def release_key(self, key: KeyUse) -> None:
        """Give up a key that was held and not used."""
        await self._run("release_key", key.name, key.token)

    async def room(self, job_id: str, is_stored: bool) -> tuple[str, int]:
        """Look whether a job would be accepted now; answers as `submit` does."""
        word, queued = await self._run("room", *self._bounds(), job_id, int(is_stored))
        return word.decode(), queued

    def _bounds(self) -> tuple[int, str]:
        return self._policy.max_queued, str(self._policy.memory_share)

    async def claim(
        self, worker: str, instance: str, limit: int, tick: int, held: Iterable[str], priorities: Iterable[str]
    ) -> tuple[list[Taken], list[bytes]]:
        """Take up to `limit` jobs; gives them and the last id of each stream, in the order of `PRIORITIES`.

        Args:
            worker: Consumer name.
            instance: Tells this process from an earlier one of the same name.
            limit: Most jobs to take.
            tick: Jobs claimed so far; decides whose turn it is to look at batch first.
            held: Entry ids that this process works on.
            priorities: Streams to take jobs from.
        """
        wanted = ",".join(priorities)
        head = (worker, instance, limit, tick, self._policy.batch_every, wanted)
        rows, *last_ids = await self._run("claim", *head, *held)
        taken = [
            Taken(priority.decode(), entry.decode(), fence, age_ms, _flat(flat))
            for priority, entry, fence, age_ms, flat in rows
        ]
        return taken, last_ids

    async def renew(self, claim: Claim | Taken, worker: str) -> Renewal:
        """Prolong a lease of a worker."""
        return _renewal(await self._run("renew", *_held(claim), claim.priority, worker))

    async def progress(
        self, claim: Claim, step: int, steps_total: int, caption: str, findings: str, model: str
    ) -> Renewal:
        """Record a step; empty texts mean unchanged."""
        return _renewal(await self._run("progress", *_held(claim), step, steps_total, caption, findings, model))

    async def preview(self, claim: Claim, preview: Preview) -> Renewal:
        """Put a preview in the place of the one before; without effect when nobody listens."""
        size = preview.width, preview.height
        about = (preview.step, preview.steps_total, *size, preview.media_type)
        return _renewal(await self._run("preview", *_held(claim), *about, preview.data))

    async def finish(
        self, claim: Claim, media_type: str, caption: str, findings: str, steps_total: int, model: str, data: bytes
    ) -> bool:
        """Commit a result that is stored, or `data`, which then takes the place of the upload; False when refused."""
        known = (media_type, caption, findings, steps_total, model)
        return bool(await self._run("finish", *_held(claim), *known, data))

    async def fail(self, claim: Claim | Taken, code: str, detail: str, retryable: bool) -> bool:
        """End an attempt with an error; False when stale."""
        return bool(await self._run("fail", *_held(claim), code, detail, int(retryable)))

    async def canceled(self, claim: Claim | Taken) -> bool:
        """End a running job as canceled; False when stale."""
        return bool(await self._run("canceled", *_held(claim)))

    async def hand_back(self, claim: Claim) -> bool:
        """Return a running job to the queue; False when stale."""
        return bool(await self._run("hand_back", *_held(claim)))

    async def cancel(self, job_id: str) -> bool:
        """Cancel or ask to; False without such a job."""
        return bool(await self._run("cancel", job_id))

    async def purge(self, job_id: str) -> bool:
        """Delete a job, after canceling it if it has not ended; False without such a job."""
        return bool(await self._run("purge", job_id))

    async def page(self, tenant: str, *args: str | int) -> tuple[str, list[tuple[dict[bytes, bytes], int]]]:
        """Look up a page of jobs; see `lua/page.lua` for the arguments.

        Returns:
            The place to go on from (empty at the end), and of each job its record and its position in the queue.
        """
        last, *rows = await self._run("page", tenant, *args)
        found = [(_flat(flat), int(position)) for flat, position in rows]
        return last.decode(), found

    async def dead_page(
        self, before: str, limit: int
    ) -> list[tuple[str, dict[bytes, bytes], dict[bytes, bytes], bool]]:
        """List dead jobs, newest first; gives entry, its fields, record (empty when gone), whether a retry can be."""
        rows = await self._run("dead_page", before, limit)
        return [(entry.decode(), _flat(about), _flat(record), bool(can)) for entry, about, record, can in rows]

    async def dead_retry(self, job_id: str) -> tuple[str, int]:
        """Put a dead job back into the queue; gives a word (see `lua/dead_retry.lua`) and the number of queued jobs."""
        word, queued = await self._run("dead_retry", job_id, self._policy.max_queued)
        return word.decode(), queued

    async def dead_drop(self, job_id: str) -> str:
        """Give up a dead job; gives a word, see `lua/dead_drop.lua`."""
        word: bytes = await self._run("dead_drop", job_id)
        return word.decode()

    async def announce(self, worker: str, ready: bool, model: str, ttl_ms: int, models: Iterable[str]) -> None:
        """Record a sign of life."""
        about = (int(ready), model, ttl_ms, ",".join(models))
        await self._run("announce", worker, *about, self._policy.consumer_idle_ms)

    async def retire(self, worker: str) -> int:
        """Forget a worker; gives the number of jobs handed back."""
        return int(await self._run("retire", worker))


def _used(key: KeyUse) -> tuple[str, str, str]:
    return key.name, key.fingerprint, key.token


def _flat(row: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(row[::2], row[1::2], strict=True))


def _renewal(answer: Sequence[int]) -> Renewal:
    return Renewal(*(word == 1 for word in answer))


def _held(claim: Claim | Taken) -> tuple[str, int, str, str]:
    return claim.job_id, claim.fence, claim.entry_id, claim.owner
