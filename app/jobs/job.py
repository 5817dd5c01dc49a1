"""A job and the states it may pass through: plain values, no Redis, no clock."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from app.jobs.webhook import Webhook

INTERACTIVE = "interactive"
"""Priority of jobs that somebody waits for."""

PRIORITIES = (INTERACTIVE, "batch")
"""Order in which a worker looks for jobs."""

KINDS = ("blur", "haze", "jpeg", "low-light", "noise", "raindrop", "rain", "shadow", "snow", "inpainting")
"""Kinds of damage; the same words as in `model.degradation.kinds`, which the API must not import."""


ANALYZE = "analyze"
"""Task of jobs that only look at their photo; their result is a JSON document."""


def parse_kinds(names: Iterable[str]) -> tuple[str, ...]:
    """Give kinds of damage in the order of `KINDS`, each once; none means that nothing is wrong.

    Raises:
        ValueError: A name is none of `KINDS`.
    """
    given = {name.strip() for name in names}
    unknown = sorted(given.difference(KINDS))
    if unknown:
        raise ValueError(f"there is no kind {unknown[0][:64]!r}; there are {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in given)


class JobState(str, Enum):
    """Where a job is; the values are public words."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """Whether the job will never run again, unless an operator has it retried."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # A queued job fails without running when its last delivery was already used up by lost workers.
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELED, JobState.FAILED}),
    # Back to queued: handed back or retried. Running again: another worker took over an expired lease.
    JobState.RUNNING: frozenset(
        {JobState.RUNNING, JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED}
    ),
    # From here on nothing goes back by itself; an operator's retry begins a new life (`Job.retried`).
    JobState.SUCCEEDED: frozenset({JobState.EXPIRED}),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
    JobState.EXPIRED: frozenset(),
}


class IllegalTransitionError(ValueError):
    """A job was asked to move to a state that its present state does not allow."""

    def __init__(self, old: JobState, new: JobState) -> None:
        allowed = ", ".join(sorted(state.value for state in TRANSITIONS[old])) or "none, it is final"
        super().__init__(f"a job cannot go from {old.value} to {new.value}; allowed: {allowed}")
        self.old = old
        self.new = new


def check_transition(old: JobState, new: JobState) -> None:
    """Refuse a move that the table does not list.

    Raises:
        IllegalTransitionError: The move is not allowed.
    """
    if new not in TRANSITIONS[old]:
        raise IllegalTransitionError(old, new)


@dataclass(frozen=True)
class RestoreOptions:
    """What the caller asked for.

    Attributes:
        quality: "fast", "balanced" or "best".
        steps: Number of diffusion steps (1..100), or None for what the quality says.
        seed: Seed of all noise; the same photo, options and seed give the same result.
        caption: Description given by the caller, or None to let the model write one.
        format: Output format ("jpeg", "png", "webp", "avif", "tiff"), or None for that of the upload.
        model: Name of one of the service's models, or None for its first one.
        start_within_s: Seconds from acceptance in which its first step must begin, or None for any time.
        finish_within_s: Seconds from acceptance in which its last step must be done, or None for any time.
        kinds: What is wrong with the photo, in the order of `KINDS`, empty for nothing; None lets the model find out.
        photo_metadata: What of the upload's metadata the result keeps: "keep", "strip" or "strip-gps"; None keeps it.
        quality_factor: 1..100 for results in JPEG, WebP and AVIF, or None for the usual one.
        output_url: Object in a bucket that the result is written to as well, or the beginning of its name, or None.
        task: `ANALYZE` to look at the photo only, None to restore it.
    """

    quality: str = "balanced"
    steps: int | None = None
    seed: int = 0
    caption: str | None = None
    format: str | None = None
    model: str | None = None
    start_within_s: float | None = None
    finish_within_s: float | None = None
    kinds: tuple[str, ...] | None = None
    photo_metadata: str | None = None
    quality_factor: int | None = None
    output_url: str | None = None
    task: str | None = None


@dataclass(frozen=True)
class Finding:
    """One kind of damage seen in the photo.

    Attributes:
        kind: Name of the kind, such as "rain".
        probability: How sure the model is, 0..1.
        severity: How strong the damage is, 0..1.
    """

    kind: str
    probability: float
    severity: float


@dataclass(frozen=True)
class Job:
    """One photo to restore and how far it has come.

    Times are UTC milliseconds of the Redis server's clock, except `created_ms`, which the API sets.

    Attributes:
        id: 32 lower-case hex digits.
        state: Present state.
        options: What the caller asked for.
        tenant: Who asked; fairness and limits are per tenant.
        priority: "interactive" or "batch".
        media_type: Media type of the upload.
        width: Upright width in pixels.
        height: Upright height in pixels.
        input_bytes: Size of the upload.
        created_ms: When the API accepted the job.
        started_ms: When a worker took it for the first time, or None.
        finished_ms: When it became terminal, or None.
        expires_ms: When the result is deleted, or None without a result.
        attempt: Rises with every delivery to a worker; 0 before the first. Also the fence of commits.
        step: Finished diffusion steps of the present attempt.
        steps_total: Steps of the present attempt, or None until a worker knows.
        model: Name of the model that works on it, or None until a worker has begun.
        caption: Caption that guided the restoration, or None until known.
        findings: Damage that was found.
        result_media_type: Media type of the result, or None without one.
        error_code: Stable code of the failure (or of the last failed attempt), or None.
        error_detail: Sentence about the failure, or None.
        cancel_requested: Whether the caller asked to cancel.
        metadata: What the caller wants to get back with the job, a JSON object; None for nothing.
        batch_id: Batch that it belongs to, or None.
        webhook: Where the caller wants to be told of its end, or None.
        traceparent: Trace that it belongs to, as W3C Trace Context writes it, or None.
    """

    id: str
    media_type: str
    width: int
    height: int
    input_bytes: int
    created_ms: int
    options: RestoreOptions = field(default_factory=RestoreOptions)
    state: JobState = JobState.QUEUED
    tenant: str = "default"
    priority: str = "interactive"
    started_ms: int | None = None
    finished_ms: int | None = None
    expires_ms: int | None = None
    attempt: int = 0
    step: int = 0
    steps_total: int | None = None
    model: str | None = None
    caption: str | None = None
    findings: tuple[Finding, ...] = ()
    result_media_type: str | None = None
    error_code: str | None = None
    error_detail: str | None = None
    cancel_requested: bool = False
    metadata: Mapping[str, Any] | None = None
    batch_id: str | None = None
    webhook: Webhook | None = None
    traceparent: str | None = None

    def __post_init__(self) -> None:
        if self.priority not in PRIORITIES:
            raise ValueError(f"priority is {self.priority!r}; expected one of {', '.join(PRIORITIES)}")

    def moved_to(self, state: JobState) -> Job:
        """Give this job in another state.

        Raises:
            IllegalTransitionError: The move is not allowed.
        """
        check_transition(self.state, state)
        return replace(self, state=state)

    def retried(self) -> Job:
        """Give this failed job as an operator's retry leaves it: in the queue, at the beginning of a new life.

        That is no transition: within a life states never go back. The attempt goes on rising, so that no worker of an
        earlier life can commit. Whether there is still a photo to work on, the queue knows.

        Raises:
            IllegalTransitionError: It has not failed.
        """
        if self.state is not JobState.FAILED:
            raise IllegalTransitionError(self.state, JobState.QUEUED)
        fresh = replace(self, state=JobState.QUEUED, step=0, steps_total=None)
        return replace(fresh, started_ms=None, finished_ms=None, error_code=None, error_detail=None)

    def seen_at(self, now_ms: int) -> Job:
        """Give the job as it reads at a moment: a succeeded one whose result is past its time reads as expired."""
        if self.state is JobState.SUCCEEDED and self.expires_ms is not None and self.expires_ms <= now_ms:
            return self.moved_to(JobState.EXPIRED)
        return self


def new_job_id() -> str:
    """Give a fresh job id: 32 lower-case hex digits, not guessable."""
    return uuid.uuid4().hex
