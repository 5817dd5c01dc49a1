"""Laws of the table of legal transitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.job import TRANSITIONS, IllegalTransitionError, JobState, check_transition
from tests.support.jobs import make_job

states = st.sampled_from(JobState)


@given(states, states)
def test_a_move_is_refused_exactly_when_the_table_lacks_it(old: JobState, new: JobState) -> None:
    if new in TRANSITIONS[old]:
        check_transition(old, new)
    else:
        with pytest.raises(IllegalTransitionError):
            check_transition(old, new)


@given(states, states)
def test_work_never_starts_again_after_the_end(old: JobState, new: JobState) -> None:
    if old.is_terminal and new in TRANSITIONS[old]:
        assert new.is_terminal


@given(st.lists(states, max_size=20))
def test_every_path_that_is_taken_ends_at_most_once(path: list[JobState]) -> None:
    job = make_job()
    ends = 0
    for state in path:
        try:
            moved = job.moved_to(state)
        except IllegalTransitionError:
            continue
        ends += moved.state.is_terminal and not job.state.is_terminal
        job = moved
    assert ends == job.state.is_terminal


@given(states)
def test_every_state_is_reached_from_queued_and_every_life_can_end(state: JobState) -> None:
    def reachable(start: JobState) -> set[JobState]:
        seen, todo = {start}, [start]
        while todo:
            for after in TRANSITIONS[todo.pop()] - seen:
                seen.add(after)
                todo.append(after)
        return seen

    assert state in reachable(JobState.QUEUED)
    assert any(end.is_terminal for end in reachable(state))


@given(st.integers(0, 2**53), st.integers(0, 2**53))
def test_reading_later_never_undoes_expiry(expires_ms: int, now_ms: int) -> None:
    done = make_job().moved_to(JobState.RUNNING).moved_to(JobState.SUCCEEDED)
    job = type(done)(**{**vars(done), "expires_ms": expires_ms})
    if job.seen_at(now_ms).state is JobState.EXPIRED:
        assert job.seen_at(now_ms + 1).state is JobState.EXPIRED
    assert job.seen_at(now_ms).seen_at(now_ms) == job.seen_at(now_ms)
