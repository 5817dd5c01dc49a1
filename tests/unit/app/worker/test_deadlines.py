from __future__ import annotations

import pytest

from app.jobs.job import RestoreOptions
from app.worker.deadlines import NO_DEADLINE, Deadline, deadline_error


def test_times_count_from_acceptance() -> None:
    assert Deadline.of(RestoreOptions(start_within_s=2.0, finish_within_s=30.0), 100.0) == Deadline(102.0, 130.0)
    assert Deadline.of(RestoreOptions(), 100.0) == NO_DEADLINE


@pytest.mark.parametrize(
    ("deadline", "has_begun", "last_s"),
    [
        (Deadline(start_by_s=5.0), False, 5.0),
        (Deadline(start_by_s=5.0), True, None),
        (Deadline(finish_by_s=7.0), False, 7.0),
        (Deadline(finish_by_s=7.0), True, 7.0),
        (Deadline(5.0, 7.0), False, 5.0),
        (Deadline(5.0, 7.0), True, 7.0),
        (NO_DEADLINE, False, None),
    ],
)
def test_missed_means_after_the_next_moment(deadline: Deadline, has_begun: bool, last_s: float | None) -> None:
    assert deadline.next_s(has_begun) == last_s
    for now_s in (4.9, 5.0, 5.1, 7.0, 7.1):
        assert deadline.is_missed(now_s, has_begun) == (last_s is not None and now_s > last_s)


def test_error_names_the_time_that_was_missed() -> None:
    options = RestoreOptions(start_within_s=2.0, finish_within_s=30.0)
    error = deadline_error(options, has_begun=False, late_s=2.5)
    assert "start_within was 2 s" in error.detail
    assert (error.code, error.retryable) == ("deadline_exceeded", False)
    assert "finish_within was 30 s" in deadline_error(options, has_begun=True, late_s=31.0).detail
    only = deadline_error(RestoreOptions(finish_within_s=30.0), has_begun=False, late_s=31.0)
    assert "finish_within was 30 s" in only.detail
