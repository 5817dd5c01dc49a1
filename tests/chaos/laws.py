"""What must hold after a run, whatever went wrong in it. Each law gives its violations as sentences that name jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from app.jobs.job import TRANSITIONS, JobState
from tests.chaos.evidence import Evidence, JobEvidence
from tests.chaos.recovery import recoveries

RECOVERY_MARGIN_S = 1.0
"""Time beyond the lease within which another worker must have a job whose worker was killed."""

EXPLAINED_CODES: frozenset[str] = frozenset()
"""Codes with which jobs may fail in a run: none, since deliveries are as good as unlimited there."""


def every_accepted_job_is_there_and_over(evidence: Evidence) -> Iterator[str]:
    for job in evidence.jobs.values():
        if not job.state:
            if not evidence.may_forget:
                yield f"job {job.id} of order {job.order} was accepted and is lost"
        elif not JobState(job.state).is_terminal:
            yield f"job {job.id} of order {job.order} has not ended: {job.state}, attempt {job.attempt}"


def no_order_became_two_jobs(evidence: Evidence) -> Iterator[str]:
    counts = Counter(job.order for job in evidence.jobs.values())
    for order, jobs in counts.items():
        if jobs > evidence.orders.get(order, 0):
            ids = ", ".join(job.id for job in evidence.jobs.values() if job.order == order)
            yield f"order {order} of {evidence.orders.get(order, 0)} photos became {jobs} jobs: {ids}"


def jobs_that_nobody_knows_belong_to_lost_answers(evidence: Evidence) -> Iterator[str]:
    for job in evidence.jobs.values():
        if job.accepted is None and job.order not in evidence.unanswered and not evidence.may_forget:
            yield f"job {job.id} of order {job.order} is there, and its caller was told of another one"


def results_are_those_of_a_quiet_run(evidence: Evidence) -> Iterator[str]:
    for job in evidence.jobs.values():
        if job.state != "succeeded" or job.accepted is None:
            continue
        right = evidence.right[job.accepted.wish]
        if job.digest != right:
            yield f"job {job.id} of order {job.order} ({job.accepted.wish}) has a wrong result"
        if job.accepted.seen is JobState.SUCCEEDED and job.accepted.digest != right:
            yield f"job {job.id} of order {job.order} gave its caller a wrong result"


def events_are_whole_and_single(evidence: Evidence) -> Iterator[str]:
    for job in evidence.jobs.values():
        if job.state:
            yield from (f"job {job.id}: {fault}" for fault in _faults_of_events(job))


def _faults_of_events(job: JobEvidence) -> Iterator[str]:
    state, attempt, step = None, 0, 0
    ends = [noted for noted in job.events if noted.type == "state" and JobState(noted.data["state"]).is_terminal]
    if len(ends) != 1 or job.events[-1] is not ends[0]:
        yield f"has {len(ends)} terminal events, and the last of all its events is {job.events[-1:]}"
    elif ends[0].data["state"] != job.state:
        yield f"ended as {ends[0].data['state']} by its events, and is {job.state}"
    for noted in job.events:
        if noted.type == "progress":
            if state is not JobState.RUNNING or noted.data["attempt"] != attempt or noted.data["step"] < step:
                yield f"tells step {noted.data} in state {state}, attempt {attempt}, after step {step}"
            step = int(noted.data["step"])
            continue
        if noted.type != "state":
            continue
        new = JobState(noted.data["state"])
        is_first = state is None
        if is_first and new is not JobState.QUEUED:
            yield f"begins as {new.value}"
        if state is not None and new not in TRANSITIONS[state]:
            yield f"went from {state.value} to {new.value}"
        rises = new is JobState.RUNNING and "cancel_requested" not in noted.data
        if noted.data["attempt"] != attempt + rises:
            yield f"is {new.value} with attempt {noted.data['attempt']} after attempt {attempt}"
        attempt = int(noted.data["attempt"])
        state, step = new, 0 if rises else step
    if attempt != job.attempt:
        yield f"has attempt {job.attempt}, and its events end with {attempt}"


def only_the_result_of_the_last_attempt_counts(evidence: Evidence) -> Iterator[str]:
    for job in evidence.jobs.values():
        if job.state == "succeeded" and job.attempt not in job.results:
            yield f"job {job.id} succeeded in attempt {job.attempt}; results are stored for {sorted(job.results)}"
        for fence, is_mortal in job.results.items():
            if not is_mortal:
                yield f"job {job.id}: the result of attempt {fence} is kept for ever"


def what_callers_saw_is_still_so(evidence: Evidence) -> Iterator[str]:
    for job in evidence.jobs.values():
        seen = None if job.accepted is None else job.accepted.seen
        if seen is not None and job.state and seen.value != job.state:
            yield f"job {job.id} was seen to end as {seen.value}, and is {job.state}"
        if seen is None and job.accepted is not None and not evidence.may_forget:
            yield f"job {job.id} of order {job.order} was never seen to end by its caller"


def nobody_fails_or_is_canceled_without_reason(evidence: Evidence) -> Iterator[str]:
    for job in evidence.jobs.values():
        if job.state == "failed" and job.error_code not in EXPLAINED_CODES:
            yield f"job {job.id} of order {job.order} failed with {job.error_code}, which no fault explains"
        if job.state == "canceled" and job.accepted is not None and not job.accepted.is_cancel_asked:
            yield f"job {job.id} of order {job.order} is canceled, and nobody asked for that"


def nothing_is_left_behind(evidence: Evidence) -> Iterator[str]:
    for name, count in evidence.queue.items():
        if count:
            yield f"{name}: {count}, expected 0"
    for job_id, is_mortal in evidence.uploads.items():
        if job_id in evidence.jobs:
            yield f"job {job_id} has ended, and its photo is still stored"
        elif not is_mortal:
            yield f"a photo that never became job {job_id} is stored for ever"


def killed_workers_are_replaced_in_time(evidence: Evidence) -> Iterator[str]:
    attempts = {job.id: job.attempts for job in evidence.jobs.values()}
    most_s = evidence.lease_s + RECOVERY_MARGIN_S
    for recovery in recoveries(evidence.happenings, attempts):
        if recovery.is_alone and recovery.seconds > most_s:
            yield f"job {recovery.job_id} waited {recovery.seconds:.2f} s for another worker; due in {most_s:g} s"


def late_commits_are_refused(evidence: Evidence) -> Iterator[str]:
    for happening in evidence.happenings:
        if happening.is_refused is False:
            yield f"a stall: {happening.remark}"


def faults_pass(evidence: Evidence) -> Iterator[str]:
    for happening in evidence.happenings:
        if happening.is_stuck:
            yield f"{happening.kind}: {happening.remark}"


def nothing_ends_by_itself(evidence: Evidence) -> Iterator[str]:
    yield from evidence.deaths
    yield from evidence.tracebacks
    yield from evidence.complaints


LAWS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    every_accepted_job_is_there_and_over,
    no_order_became_two_jobs,
    jobs_that_nobody_knows_belong_to_lost_answers,
    results_are_those_of_a_quiet_run,
    events_are_whole_and_single,
    only_the_result_of_the_last_attempt_counts,
    what_callers_saw_is_still_so,
    nobody_fails_or_is_canceled_without_reason,
    nothing_is_left_behind,
    killed_workers_are_replaced_in_time,
    late_commits_are_refused,
    faults_pass,
    nothing_ends_by_itself,
)


def violations(evidence: Evidence) -> dict[str, list[str]]:
    """The violations of every law, by its name in words."""
    return {law.__name__.replace("_", " "): list(law(evidence)) for law in LAWS}
