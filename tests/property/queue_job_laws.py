"""Laws about jobs: none is lost, none ends twice, none has two owners, and states and fences only go on.

A law looks at what is in Redis and at what was there before, and gives what contradicts it, or None.
"""

from __future__ import annotations

from itertools import pairwise

from app.jobs.job import TRANSITIONS, JobState
from tests.property.queue_history import MAX_DELIVERIES, RESTORED, History
from tests.property.queue_view import QueueView


def no_job_is_lost(view: QueueView, history: History) -> str | None:
    """Whoever claims next can reach every job that has not ended: its entry is unread, or pending."""
    for job_id, job in view.jobs.items():
        stream = view.streams[job.fields["priority"]]
        is_unread, is_pending = job.entry in stream.undelivered, job.entry in stream.pending
        is_there = stream.entries.get(job.entry) == job_id
        if job.state is JobState.QUEUED and not (is_there and is_unread):
            return f"{job_id} is queued, and no claim will read its entry {job.fields['entry']}"
        if job.state is JobState.RUNNING and not (is_there and (is_unread or is_pending)):
            return f"{job_id} is running, and nobody could take it over by its entry {job.fields['entry']}"
    return None


def no_job_has_two_ends(view: QueueView, history: History) -> str | None:
    """A job has one terminal event at most, one result at most, and the result is that of its last attempt."""
    for job_id, job in view.jobs.items():
        ends = [state.value for state, _ in job.states if state.is_terminal]
        if len(ends) > 1:
            return f"{job_id} ended as {' and '.join(ends)}"
        kept = {fence: data for fence, data in job.results.items() if (job_id, fence) not in history.orphans}
        if kept and (job.state is not JobState.SUCCEEDED or set(kept) != {job.attempt}):
            return f"{job_id} is {job.state.value} by attempt {job.attempt} and has results of attempts {sorted(kept)}"
        if any(data != f"photo {job_id}{RESTORED}" for data in kept.values()):
            return f"{job_id} has the result {list(kept.values())}"
    return None


def no_job_has_two_owners(view: QueueView, history: History) -> str | None:
    """Exactly the running jobs are pending, each once and for the worker that its record names."""
    for priority, stream in view.streams.items():
        for entry, consumer in stream.pending.items():
            job = view.jobs.get(stream.entries.get(entry, ""))
            if job is None or job.state is not JobState.RUNNING or job.entry != entry:
                return f"entry {entry} of {priority} is pending for {consumer}, and no job runs by it"
            if job.fields["owner"].partition("/")[0] != consumer:
                return f"entry {entry} is pending for {consumer}, and its job belongs to {job.fields['owner']}"
    for job_id, job in view.jobs.items():
        if ("owner" in job.fields) != (job.state is JobState.RUNNING):
            return f"{job_id} is {job.state.value} and its owner is {job.fields.get('owner')}"
    return None


def states_never_go_back(view: QueueView, history: History) -> str | None:
    """What happened to a job stays true: its state events only grow, and a job that has ended keeps its end."""
    for job_id, before in history.states.items():
        job = view.jobs.get(job_id)
        if job is not None and job.states[: len(before)] != before:
            return f"{job_id} had the states {_words(before)} and now has {_words(job.states)}"
    return None


def states_take_legal_ways(view: QueueView, history: History) -> str | None:
    """The state events of a job are a way through the table of transitions, from queued to the state of its record."""
    for job_id, job in view.jobs.items():
        states = [state for state, _ in job.states]
        if states[:1] != [JobState.QUEUED] or states[-1] is not job.state:
            return f"{job_id} is {job.state.value} and had the states {_words(job.states)}"
        for old, new in pairwise(states):
            if new not in TRANSITIONS[old]:
                return f"{job_id} went from {old.value} to {new.value}"
    return None


def retries_are_bounded(view: QueueView, history: History) -> str | None:
    """No job counts more deliveries than are allowed, nor more than it had attempts."""
    for job_id, job in view.jobs.items():
        deliveries = int(job.fields["deliveries"])
        if not 0 <= deliveries <= min(MAX_DELIVERIES, job.attempt):
            return f"{job_id} counts {deliveries} deliveries in {job.attempt} attempts, {MAX_DELIVERIES} are allowed"
    return None


def canceled_never_succeeds(view: QueueView, history: History) -> str | None:
    """A job that was asked to cancel does not succeed after that."""
    for job_id in history.cancel_requested & set(view.jobs):
        if view.jobs[job_id].state is JobState.SUCCEEDED and history.states[job_id] != view.jobs[job_id].states:
            return f"{job_id} succeeded after it was asked to cancel"
    return None


def fences_rise(view: QueueView, history: History) -> str | None:
    """Each attempt of a job has a higher fence than the one before, and the record has the last one."""
    for job_id, job in view.jobs.items():
        fences = [attempt for state, attempt in job.states if state is JobState.RUNNING]
        if fences != sorted(set(fences)) or job.states[-1][1] != job.attempt:
            return f"{job_id} has attempt {job.attempt} and the states {_words(job.states)}"
    return None


def _words(states: tuple[tuple[JobState, int], ...]) -> str:
    return ", ".join(f"{state.value} {attempt}" for state, attempt in states)
