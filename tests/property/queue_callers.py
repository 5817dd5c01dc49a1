"""What callers do to a queue, as rules."""

from __future__ import annotations

from hypothesis import strategies as st

from app.errors import InputLostError, JobNotFoundError, ResultGoneError, ResultNotReadyError
from app.jobs.codec import encode_job
from app.jobs.dead import JobNotDeadError
from app.jobs.job import PRIORITIES, JobState
from tests.property.queue_history import LawBrokenError
from tests.property.queue_model import ModelJob
from tests.property.queue_stage import POLICY, picks, step
from tests.property.queue_world import QueueWorld
from tests.support.jobs import make_job

MOST_JOBS = 6
WISHES = ("submit_again", "submit_in_a_race", "cancel", "purge", "fetch")
ALIVE = (JobState.QUEUED, JobState.RUNNING)


class CallerRules(QueueWorld):
    """Submitting, asking, canceling and deleting."""

    @step(lambda world: len(world.of_state(*ALIVE)) < MOST_JOBS, priority=st.sampled_from(PRIORITIES))
    def submit(self, priority: str) -> None:
        job = make_job(priority)
        self.do(self.api.submit(job, f"photo {job.id}".encode()))
        self.sent[job.id], self.model.jobs[job.id] = job, ModelJob(priority)

    @step(lambda world: world.model.jobs, pick=picks, wish=st.sampled_from(WISHES))
    def ask(self, pick: int, wish: str) -> None:
        """One of what callers do to a job; as rules of their own they would leave few jobs to workers."""
        job_id = list(self.model.jobs)[pick % len(self.model.jobs)]
        self.stage.rules[wish] += 1
        if wish == "cancel":
            self.cancel(job_id)
        elif wish == "purge":
            self.purge(job_id)
        elif wish == "fetch":
            self.fetch(list(self.sent)[pick % len(self.sent)])
        else:
            self.submit_again(job_id, is_race=wish == "submit_in_a_race")

    @step(lambda world: world.held(), pick=picks)
    def cancel_what_runs(self, pick: int) -> None:
        self.cancel(self.pick_held(pick)[0])

    @step(lambda world: world.of_state(JobState.SUCCEEDED), pick=picks)
    def purge_with_its_result(self, pick: int) -> None:
        succeeded = self.of_state(JobState.SUCCEEDED)
        self.purge(succeeded[pick % len(succeeded)])

    def submit_again(self, job_id: str, is_race: bool) -> None:
        """The answer was lost; in a race the second copy passes the first look before the first copy is accepted."""
        job, photo = self.sent[job_id], f"photo {job_id}".encode()
        if is_race:
            self.do(self.api._blobs.put(self.keys.image(job_id), photo, POLICY.upload_ttl_s))
            word, *_ = self.do(self.api._scripts.submit(job.id, job.priority, job.created_ms, encode_job(job)))
            assert word == "known"
        else:
            told = self.do(self.api.submit(job, photo))
            assert told.attempt == self.model.jobs[job_id].fence

    def cancel(self, job_id: str) -> None:
        job = self.model.jobs[job_id]
        self.do(self.api.cancel(job_id))
        job.cancel_requested = job.cancel_requested or not job.state.is_terminal
        if job.state is JobState.QUEUED:
            self.model.end(job_id, JobState.CANCELED)

    def purge(self, job_id: str) -> None:
        assert self.do(self.api.purge(job_id))
        self.let_go(self.model.jobs.pop(job_id).claim)
        self.history.purged.add(job_id)

    def fetch(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is None:
            expected: object = JobNotFoundError
        elif job.state is JobState.SUCCEEDED:
            expected = ResultGoneError if job.is_result_gone else self.restored(job_id)
        else:
            expected = ResultNotReadyError
        try:
            found: object = self.do(self.api.result(job_id))
        except (JobNotFoundError, ResultGoneError, ResultNotReadyError) as error:
            found = type(error)
        if found != expected:
            raise LawBrokenError("results_are_there_for_their_time", f"{job_id} gave {found!r}, expected {expected!r}")

    @step(lambda world: world.of_state(JobState.FAILED), pick=picks)
    def retry(self, pick: int) -> None:
        """An operator has a dead job tried again, or a failed one, which is not to be had."""
        failed = self.of_state(JobState.FAILED)
        job_id = failed[pick % len(failed)]
        job = self.model.jobs[job_id]
        expected = JobNotDeadError if not job.is_dead else InputLostError if job.is_photo_gone else None
        found = None
        try:
            self.do(self.api.dead.retry(job_id))
        except (JobNotDeadError, InputLostError) as error:
            found = type(error)
        assert found is expected, f"retrying {job_id} gave {found}, expected {expected}"
        if found is None:
            self.model.retry(job_id)
            self.history.begin_anew(job_id)
