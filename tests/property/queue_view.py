"""What a test sees of a queue: everything that is in Redis under one namespace, read at one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from app.jobs.job import PRIORITIES, JobState
from app.jobs.keys import GROUP, Keys

EntryId = tuple[int, int]
"""Id of a stream entry, in an order that can be compared."""


@dataclass(frozen=True)
class StreamView:
    """One stream of jobs.

    Attributes:
        entries: Job of each entry.
        last_delivered: Id of the newest entry that was given out; None without a group.
        pending: Consumer of each entry that was given out and is not acknowledged.
        lag: What XINFO GROUPS says; None when it does not say, or when there is no group.
    """

    entries: Mapping[EntryId, str]
    last_delivered: EntryId | None
    pending: Mapping[EntryId, str]
    lag: int | None

    @property
    def undelivered(self) -> set[EntryId]:
        """Entries that claims will still read."""
        return {entry for entry in self.entries if self.last_delivered is None or entry > self.last_delivered}


@dataclass(frozen=True)
class JobView:
    """One job.

    Attributes:
        fields: Its record.
        states: State and attempt of each of its state events, oldest first.
        has_image: Whether its upload is there.
        is_image_kept: Whether the upload has no time limit.
        results: Bytes of its results by attempt.
        kept_ms: Time for which they will be kept, by attempt.
    """

    fields: Mapping[str, str]
    states: tuple[tuple[JobState, int], ...]
    has_image: bool
    is_image_kept: bool
    results: Mapping[int, str]
    kept_ms: Mapping[int, int]

    @property
    def state(self) -> JobState:
        """State in the record."""
        return JobState(self.fields["state"])

    @property
    def attempt(self) -> int:
        """Fence of the latest attempt."""
        return int(self.fields["attempt"])

    @property
    def entry(self) -> EntryId:
        """Entry that stands for it."""
        return entry_id(self.fields["entry"])


@dataclass(frozen=True)
class QueueView:
    """A queue.

    Attributes:
        jobs: All that have a record.
        streams: By priority.
        queued: Ids in the depth, by priority.
        listed: Ids in the listing, by state.
        names: Names of all keys, without the prefix.
        now_ms: The server's clock.
    """

    jobs: Mapping[str, JobView]
    streams: Mapping[str, StreamView]
    queued: Mapping[str, frozenset[str]]
    listed: Mapping[JobState, frozenset[str]]
    names: frozenset[str]
    now_ms: int


def entry_id(text: str) -> EntryId:
    """Read an id as Redis writes it."""
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number)


def read_view(redis: Any, keys: Keys, tenant: str = "default") -> QueueView:
    """Look at a queue.

    Args:
        redis: Synchronous client that gives text.
        keys: Names of the keys.
        tenant: Whose listing is read.
    """
    names = frozenset(name.removeprefix(keys.prefix) for name in redis.keys(f"{keys.prefix}*"))
    ids = [name.removeprefix("job:") for name in sorted(names) if name.startswith("job:")]
    results = [name.split(":")[1:] for name in sorted(names) if name.startswith("result:")]
    asked = redis.pipeline(transaction=False)
    asked.time()
    for job_id in ids:
        asked.hgetall(keys.job(job_id))
        asked.xrange(keys.events(job_id))
        asked.pttl(keys.image(job_id))  # -2 when it is not there, -1 when it has no limit
    for job_id, fence in results:
        asked.get(keys.result(job_id, int(fence)))
        asked.pttl(keys.result(job_id, int(fence)))
    for priority in PRIORITIES:
        asked.xrange(keys.stream(priority))
        asked.xinfo_groups(keys.stream(priority))
        asked.xpending_range(keys.stream(priority), GROUP, "-", "+", 1000)
        asked.zrange(keys.queued(priority), 0, -1)
    for state in JobState:
        asked.zrange(keys.listed(tenant, state.value), 0, -1)
    answers = iter(asked.execute(raise_on_error=False))
    seconds, micros = next(answers)
    rows = {job_id: (next(answers), next(answers), next(answers)) for job_id in ids}
    found: dict[str, dict[int, str]] = {}
    kept: dict[str, dict[int, int]] = {}
    for job_id, fence in results:
        found.setdefault(job_id, {})[int(fence)] = next(answers)
        kept.setdefault(job_id, {})[int(fence)] = next(answers)
    streams, queued = {}, {}
    for priority in PRIORITIES:
        streams[priority] = _stream_view(next(answers), next(answers), next(answers))
        queued[priority] = frozenset(next(answers))
    listed = {state: frozenset(member.partition(":")[2] for member in next(answers)) for state in JobState}
    jobs = {
        job_id: JobView(
            fields, _states(events), image_ms != -2, image_ms == -1, found.get(job_id, {}), kept.get(job_id, {})
        )
        for job_id, (fields, events, image_ms) in rows.items()
    }
    return QueueView(jobs, streams, queued, listed, names, 1000 * seconds + micros // 1000)


def _states(events: list[tuple[str, Mapping[str, str]]]) -> tuple[tuple[JobState, int], ...]:
    told = [json.loads(fields["data"]) for _, fields in events if fields["type"] == "state"]
    # A request to cancel is told as a state event of its own, and changes no state.
    return tuple((JobState(data["state"]), data["attempt"]) for data in told if not data.get("cancel_requested"))


def _stream_view(rows: Any, groups: Any, pending: Any) -> StreamView:
    entries = {entry_id(entry): fields["job"] for entry, fields in rows}
    if isinstance(groups, ResponseError) or not groups:  # no stream, or no group
        return StreamView(entries, None, {}, None)
    (group,) = groups
    holders = {entry_id(row["message_id"]): row["consumer"] for row in pending}
    return StreamView(entries, entry_id(group["last-delivered-id"]), holders, group.get("lag"))
