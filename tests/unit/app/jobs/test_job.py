from __future__ import annotations

from dataclasses import replace

import pytest

from app.jobs.job import (
    KINDS,
    TRANSITIONS,
    IllegalTransitionError,
    JobState,
    check_transition,
    new_job_id,
    parse_kinds,
)
from tests.support.jobs import make_job


def test_terminal_states_are_those_without_work_left() -> None:
    assert {state for state in JobState if not state.is_terminal} == {JobState.QUEUED, JobState.RUNNING}


def test_table_lists_every_state() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_illegal_transition_names_what_is_allowed() -> None:
    with pytest.raises(IllegalTransitionError, match="from succeeded to running; allowed: expired"):
        check_transition(JobState.SUCCEEDED, JobState.RUNNING)


def test_illegal_transition_of_final_state_says_so() -> None:
    with pytest.raises(IllegalTransitionError, match="none, it is final"):
        check_transition(JobState.CANCELED, JobState.QUEUED)


def test_moved_to_changes_the_state_only() -> None:
    job = make_job()
    assert job.moved_to(JobState.RUNNING) == replace(job, state=JobState.RUNNING)


def test_only_an_operators_retry_of_a_failed_job_leads_back_to_the_queue() -> None:
    for state in JobState:
        if state.is_terminal:
            assert not TRANSITIONS[state] & {JobState.QUEUED, JobState.RUNNING}
        job = replace(
            make_job(),
            state=state,
            attempt=3,
            step=2,
            steps_total=4,
            started_ms=1,
            finished_ms=5,
            error_code="worker_lost",
        )
        if state is JobState.FAILED:
            again = job.retried()
            assert again == replace(make_job(), id=job.id, created_ms=job.created_ms, attempt=3)
        else:
            with pytest.raises(IllegalTransitionError, match=f"from {state.value} to queued"):
                job.retried()


def test_succeeded_job_reads_as_expired_from_its_expiry_on() -> None:
    job = replace(make_job(), state=JobState.SUCCEEDED, expires_ms=1000)
    assert job.seen_at(999).state is JobState.SUCCEEDED
    assert job.seen_at(1000).state is JobState.EXPIRED


def test_failed_job_never_reads_as_expired() -> None:
    job = replace(make_job(), state=JobState.FAILED, finished_ms=5)
    assert job.seen_at(10**15) == job


def test_unknown_priority_is_refused() -> None:
    with pytest.raises(ValueError, match="'urgent'; expected one of interactive, batch"):
        make_job(priority="urgent")


def test_job_ids_are_32_hex_digits_and_differ() -> None:
    ids = {new_job_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(job_id) == 32 and int(job_id, 16) >= 0 for job_id in ids)


def test_kinds_are_those_of_the_model_in_its_order() -> None:
    from model.degradation.kinds import KINDS as MODEL_KINDS

    assert KINDS == MODEL_KINDS
    assert parse_kinds(["rain", " blur ", "rain"]) == ("blur", "rain")
    assert parse_kinds([]) == ()
    with pytest.raises(ValueError, match="no kind 'scratches'; there are blur, haze"):
        parse_kinds(["rain", "scratches"])
