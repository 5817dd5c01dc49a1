"""Laws about what the queue keeps beside its jobs: lag, depth, listing, photos, results, and what must be gone."""

from __future__ import annotations

from app.jobs.job import PRIORITIES, JobState
from tests.property.queue_history import History
from tests.property.queue_view import QueueView

ALLOWED_MS = 60_000  # clocks of these tests move by larger steps, and times are read one after another


def lag_is_exact(view: QueueView, history: History) -> str | None:
    """The group's lag can be read, and is the number of entries that were never given out."""
    for priority, stream in view.streams.items():
        is_told = history.has_lag and stream.last_delivered is not None
        if is_told and stream.lag != len(stream.undelivered):
            return f"the lag of {priority} reads {stream.lag}, {len(stream.undelivered)} entries are undelivered"
    return None


def depth_is_exact(view: QueueView, history: History) -> str | None:
    """The depth of a priority has exactly its queued jobs."""
    for priority in PRIORITIES:
        queued = {
            job_id
            for job_id, job in view.jobs.items()
            if job.state is JobState.QUEUED and job.fields["priority"] == priority
        }
        if view.queued[priority] != queued:
            return f"the depth of {priority} has {sorted(view.queued[priority])}, queued are {sorted(queued)}"
    return None


def listing_is_exact(view: QueueView, history: History) -> str | None:
    """The listing has each job once, under its state; of deleted records something may be left, of purged ones not."""
    for state, listed in view.listed.items():
        jobs = {job_id for job_id, job in view.jobs.items() if job.state is state}
        if listed & set(view.jobs) != jobs or listed & history.purged:
            return f"{sorted(listed)} are listed as {state.value}, and {sorted(jobs)} are"
    return None


def photos_live_as_long_as_jobs(view: QueueView, history: History) -> str | None:
    """The upload of a job is kept without limit until the job has ended; then only dead jobs have it for a time."""
    for job_id, job in view.jobs.items():
        may_be_retried = int(job.fields.get("dead_until_ms", 0)) > view.now_ms
        if job.is_image_kept == job.state.is_terminal or (job.state.is_terminal and job.has_image > may_be_retried):
            return f"{job_id} is {job.state.value}, its photo is {'there' if job.has_image else 'not there'}"
    return None


def results_go_in_time(view: QueueView, history: History) -> str | None:
    """No committed result is kept beyond the time that its record tells."""
    for job_id, job in view.jobs.items():
        left_ms = int(job.fields.get("expires_ms", 0)) - view.now_ms
        if job.state is JobState.SUCCEEDED and job.kept_ms.get(job.attempt, left_ms) > left_ms + ALLOWED_MS:
            return f"the result of {job_id} is kept for {job.kept_ms[job.attempt]} ms, its record says {left_ms} ms"
    return None


def nothing_is_left_of_purged_jobs(view: QueueView, history: History) -> str | None:
    """No key names a job that its caller has deleted, and nothing is pending for it."""
    named = {name for name in view.names for part in name.split(":") if part in history.purged}
    return f"keys {sorted(named)} are left" if named else None


def nothing_is_pending_at_the_end(view: QueueView, history: History) -> str | None:
    """Once claims find nothing more, every job has ended, and streams and photos are gone."""
    left = [job_id for job_id, job in view.jobs.items() if not job.state.is_terminal]
    left += [f"{priority}: {stream.entries}" for priority, stream in view.streams.items() if stream.entries]
    left += [job_id for job_id, job in view.jobs.items() if job.has_image and "dead" not in job.fields]
    return f"left are {left}" if left else None
