"""Times that callers set a job: to begin by, and to be done by. Plain numbers; who compares brings the clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import DeadlineExceededError

if TYPE_CHECKING:
    from app.jobs.job import RestoreOptions


@dataclass(frozen=True)
class Deadline:
    """Until when a job is of use.

    A job has begun when the first of its tiles is handed out; being taken by a worker, decoded or looked at is not
    enough. Every attempt must begin in time: one that begins again elsewhere is as late for the caller as the first.

    Args:
        start_by_s: When it must have begun, in seconds of the clock that it is compared with; None for any time.
        finish_by_s: When its last step must be done, likewise. A result that is being encoded is never thrown away.
    """

    start_by_s: float | None = None
    finish_by_s: float | None = None

    @classmethod
    def of(cls, options: RestoreOptions, accepted_s: float) -> Deadline:
        """Give the deadline of a job with these options.

        Args:
            options: What was asked for, in seconds from acceptance.
            accepted_s: When the job was accepted, on the clock that the deadline is for.
        """

        def at(within_s: float | None) -> float | None:
            return None if within_s is None else accepted_s + within_s

        return cls(at(options.start_within_s), at(options.finish_within_s))

    def is_missed(self, now_s: float, has_begun: bool) -> bool:
        """Say whether the job can no longer be what was asked for."""
        next_s = self.next_s(has_begun)
        return next_s is not None and now_s > next_s

    def next_s(self, has_begun: bool) -> float | None:
        """Give the moment after which the job is of no use if nothing changes before; None if there is none."""
        times = [self.finish_by_s] if has_begun else [self.start_by_s, self.finish_by_s]
        return min((time_s for time_s in times if time_s is not None), default=None)


NO_DEADLINE = Deadline()


def deadline_error(options: RestoreOptions, has_begun: bool, late_s: float) -> DeadlineExceededError:
    """Give the error for a job that missed its deadline.

    Args:
        options: What was asked for.
        has_begun: Whether a tile of it was handed out in this attempt.
        late_s: Seconds since it was accepted.
    """
    if not has_begun and options.start_within_s is not None and late_s > options.start_within_s:
        return DeadlineExceededError(
            f"The restoration had not begun {late_s:.1f} s after the photo was accepted; start_within was "
            f"{options.start_within_s:g} s. Send it again when the service is less busy, or allow more time."
        )
    return DeadlineExceededError(
        f"The restoration was not done {late_s:.1f} s after the photo was accepted; finish_within was "
        f"{options.finish_within_s:g} s. "
        "Allow more time, or ask for fewer steps or a smaller photo."
    )
