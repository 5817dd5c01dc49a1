"""What laws of a queue remember between two looks, and how one says that it is broken."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.jobs.job import JobState
from tests.property.queue_view import QueueView

MAX_DELIVERIES = 2

RESTORED = " restored"
"""What a worker of the test appends to a photo: as a real one, it makes of one photo always the same."""


class LawBrokenError(AssertionError):
    """What is in Redis contradicts a law; says which."""

    def __init__(self, law: str, found: str) -> None:
        super().__init__(f"{law}: {found}")
        self.law = law


@dataclass
class History:
    """What laws remember between two looks.

    Attributes:
        states: State events of each job as of the last look.
        cancel_requested: Jobs that were asked to cancel.
        purged: Jobs that were deleted by their callers.
        orphans: Results (job, attempt) whose worker died before it could commit them.
        has_lag: Whether this Redis tells the lag (7 and newer).
    """

    states: dict[str, tuple[tuple[JobState, int], ...]] = field(default_factory=dict)
    cancel_requested: set[str] = field(default_factory=set)
    purged: set[str] = field(default_factory=set)
    orphans: set[tuple[str, int]] = field(default_factory=set)
    has_lag: bool = True

    def begin_anew(self, job_id: str) -> None:
        """Note that a job begins a new life: its events begin anew, and within it the laws hold as before."""
        self.states.pop(job_id, None)

    def remember(self, view: QueueView) -> None:
        """Take note of what is there now."""
        self.states = {job_id: job.states for job_id, job in view.jobs.items()}
        self.cancel_requested |= {
            job_id for job_id, job in view.jobs.items() if job.fields.get("cancel_requested") == "1"
        }
