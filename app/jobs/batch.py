"""A batch and its entries: plain values, no Redis."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.jobs.codec import CodecError, decode_options, encode_options
from app.jobs.job import JobState, RestoreOptions
from app.jobs.webhook import Webhook

WAITING, REFUSED, DELETED = "waiting", "refused", "deleted"
"""States of entries beside those of jobs: not a job yet; never becoming one; a job whose record is deleted."""

ENDED = frozenset({REFUSED, DELETED} | {state.value for state in JobState if state.is_terminal})


@dataclass(frozen=True)
class BatchEntry:
    """One photo of a batch.

    Attributes:
        options: How to restore it.
        image_url: Where the photo is; None for one that is stored.
        mask_url: Where its mask is, or None.
        metadata: The caller's own object, or None.
        webhook: Where the caller wants to be told of its end, or None.
        traceparent: Trace that its job is to belong to, or None.
    """

    options: RestoreOptions
    image_url: str | None = None
    mask_url: str | None = None
    metadata: Mapping[str, Any] | None = None
    webhook: Webhook | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class TakenEntry:
    """An entry in the hands of a feeder.

    Attributes:
        batch_id: Its batch.
        index: Its place in there.
        tries: Times it was taken, this one included.
        tenant: Whose batch it is.
        entry: What is to be done.
    """

    batch_id: str
    index: int
    tries: int
    tenant: str
    entry: BatchEntry

    @property
    def job_id(self) -> str:
        """Id of the job that it becomes."""
        return entry_job_id(self.batch_id, self.index)


@dataclass(frozen=True)
class EntryView:
    """How far an entry is.

    Attributes:
        index: Its place in the batch.
        state: `WAITING`, `REFUSED`, `DELETED` or the state of its job.
        job_id: Its job, or None.
        error: Code and sentence why it was refused, or None.
    """

    index: int
    state: str
    job_id: str | None = None
    error: tuple[str, str] | None = None

    @classmethod
    def of_job(cls, index: int, job_id: bytes, state: bytes, expires_ms: bytes, now_ms: int) -> EntryView:
        """Give an entry that has a job, by what the job's record tells; no state means no record."""
        is_expired = state == b"succeeded" and expires_ms and int(expires_ms) <= now_ms
        word = JobState.EXPIRED.value if is_expired else state.decode() or DELETED
        return cls(index, word, job_id.decode())


@dataclass(frozen=True)
class Batch:
    """A batch as it is now.

    Attributes:
        id: Its id.
        tenant: Whose it is.
        created_ms: When it was accepted.
        cancel_requested: Whether the caller asked to cancel it.
        entries: In order.
    """

    id: str
    tenant: str
    created_ms: int
    cancel_requested: bool
    entries: tuple[EntryView, ...]

    @classmethod
    def new(cls, batch_id: str, tenant: str, created_ms: int, total: int) -> Batch:
        """Give a batch as it is in the moment of its acceptance."""
        return cls(batch_id, tenant, created_ms, False, tuple(EntryView(index, WAITING) for index in range(total)))

    @property
    def counts(self) -> dict[str, int]:
        """Number of entries by state, all states named."""
        counted = Counter(entry.state for entry in self.entries)
        return {state: counted[state] for state in (WAITING, REFUSED, *(item.value for item in JobState), DELETED)}

    @property
    def ended(self) -> int:
        """Number of entries that have come to their end."""
        return sum(entry.state in ENDED for entry in self.entries)


def new_batch_id() -> str:
    """Give a fresh batch id: 32 lower-case hex digits, not guessable."""
    return uuid.uuid4().hex


def entry_job_id(batch_id: str, index: int) -> str:
    """Give the id of the job that an entry becomes, as long and as hard to guess as others."""
    return hashlib.sha256(f"{batch_id}:{index}".encode()).hexdigest()[:32]


def encode_entry(entry: BatchEntry) -> str:
    """Give an entry as JSON text."""
    given = {
        "options": json.loads(encode_options(entry.options)),
        "image_url": entry.image_url,
        "mask_url": entry.mask_url,
        "metadata": entry.metadata,
        "webhook": None if entry.webhook is None else asdict(entry.webhook),
        "traceparent": entry.traceparent,
    }
    return json.dumps({name: value for name, value in given.items() if value is not None}, separators=(",", ":"))


def decode_entry(text: bytes) -> BatchEntry:
    """Read an entry written by `encode_entry`.

    Raises:
        CodecError: It is damaged, or of a release that knows more options.
    """
    try:
        given = json.loads(text)
        hook = given.pop("webhook", None)
        webhook = None if hook is None else Webhook(hook["url"], tuple(hook["events"]))
        return BatchEntry(**{**given, "options": decode_options(json.dumps(given["options"])), "webhook": webhook})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CodecError(f"the entry of a batch cannot be read ({type(error).__name__}: {error})") from error
