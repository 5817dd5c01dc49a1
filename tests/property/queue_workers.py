"""What workers do with a queue, as rules: with claims that are good, with answers that get lost, with stale claims."""

from __future__ import annotations

from hypothesis import strategies as st

from app.jobs.codec import decode_job
from app.jobs.job import JobState
from app.jobs.queue import Claim
from tests.property.queue_history import MAX_DELIVERIES, RESTORED, LawBrokenError
from tests.property.queue_model import RESULT_S, ModelJob
from tests.property.queue_stage import Process, choices, picks, step, workers
from tests.property.queue_world import QueueWorld

# What each outcome gives when it is told once more: True as long as the job is as the outcome left it.
OUTCOMES: dict[str, tuple[JobState, ...]] = {
    "finish": (JobState.SUCCEEDED,),
    "fail": (JobState.FAILED, JobState.QUEUED),
    "canceled": (JobState.CANCELED,),
    "hand_back": (JobState.QUEUED,),
}

outcomes = st.sampled_from(
    ["finish", "finish", "fail", "fail_and_try_again", "fail_and_try_again", "hand_back", "end_as_canceled"]
)


class WorkerRules(QueueWorld):
    """Claiming, showing life, and settling."""

    @step(worker=workers, limit=st.integers(1, 3), wanted=choices, lost=st.sampled_from([0, 0, 0, 1, 2]))
    def claim_jobs(self, worker: int, limit: int, wanted: tuple[str, ...], lost: int) -> None:
        """Claim; the answer may get lost, and the process may then claim once more."""
        process = self.processes[worker]
        if lost:
            self.claim_and_lose_the_answer(process, limit, wanted)
        if lost != 1:
            self.claim(process, limit, wanted)

    def claim_and_lose_the_answer(self, process: Process, limit: int, wanted: tuple[str, ...]) -> None:
        queue = process.queue
        self.do(queue.ensure())
        asked = (process.name, queue._claimer.instance, limit, 0, tuple(process.held), wanted)
        taken, _ = self.do(queue._scripts.claim(*asked))
        lost = []
        for item in taken:
            job = decode_job(item.fields)
            image = self.do(queue._blobs.get(self.keys.image(job.id)))
            assert image is not None
            place = (item.fence, item.entry_id, item.priority)
            lost.append(Claim(job, image, None, *place, process.name, owner=item.owner))
        self.follow_claim(process, limit, wanted, lost)
        self.stage.rules["answer_is_lost"] += 1

    @step(lambda world: world.held(), pick=picks)
    def renew(self, pick: int) -> None:
        job_id, process, claim = self.pick_held(pick)
        job = self.model.jobs[job_id]
        told = self.do(process.queue.renew(claim))
        assert (told.owned, told.cancel_requested) == (True, job.cancel_requested), "a live owner was told to stop"
        if self.view.streams[job.priority].last_delivered is not None:  # without a group there is no lease to renew
            job.leased_s, job.has_row = self.model.now_s, True

    @step(lambda world: world.held(), pick=picks)
    def progress(self, pick: int) -> None:
        job_id, process, claim = self.pick_held(pick)
        told = self.do(process.queue.progress(claim, 1, 2, caption="a dog"))
        assert (told.owned, told.cancel_requested) == (True, self.model.jobs[job_id].cancel_requested)

    @step(worker=workers, outcome=outcomes)
    def work(self, worker: int, outcome: str) -> None:
        """Claim a job and settle it at once."""
        process = self.processes[worker]
        for claim in self.claim(process, 1):
            self.settle_as(outcome, claim.job_id, process, claim)

    @step(lambda world: world.held(), pick=picks, outcome=outcomes)
    def settle_one(self, pick: int, outcome: str) -> None:
        self.settle_as(outcome, *self.pick_held(pick))

    def settle_as(self, outcome: str, job_id: str, process: Process, claim: Claim) -> None:
        job, queue = self.model.jobs[job_id], process.queue
        self.stage.rules[outcome] += 1
        if outcome == "finish":
            self.finish_claim(job_id, process, claim)
        elif outcome == "hand_back":
            assert self.do(queue.hand_back(claim))
            self.settle(job_id, process, lambda: self.model.requeue(job_id, counts=False))
        elif outcome == "end_as_canceled":
            assert self.do(queue.canceled(claim))
            self.settle(job_id, process, lambda: self.model.end(job_id, JobState.CANCELED))
        else:
            is_retryable = outcome == "fail_and_try_again"
            assert self.do(queue.fail(claim, "restoration_failed", "no luck", is_retryable))
            if is_retryable and job.deliveries < MAX_DELIVERIES:
                self.settle(job_id, process, lambda: self.model.requeue(job_id, counts=True))
            else:
                self.settle(job_id, process, lambda: self.model.end(job_id, JobState.FAILED, is_dead=is_retryable))

    @step(lambda world: world.stale, pick=picks, how=st.sampled_from([*OUTCOMES, "show_life"]))
    def use_a_stale_claim(self, pick: int, how: str) -> None:
        """A worker whose lease ran out, or whose answer got lost and who says it again; it changes nothing."""
        self.try_claim(self.stale[-1 if pick % 2 else pick % len(self.stale)], how, pick % 3 == 0)

    @step(lambda world: world.committed(), pick=picks)
    def repeat_a_commit(self, pick: int) -> None:
        """Its answer was lost."""
        claims = self.committed()
        self.try_claim(claims[pick % len(claims)], "finish")

    def committed(self) -> list[Claim]:
        ended = {(job_id, self.model.jobs[job_id].fence) for job_id in self.of_state(JobState.SUCCEEDED)}
        return [claim for claim in self.stale if (claim.job_id, claim.fence) in ended]

    def try_claim(self, claim: Claim, how: str, is_retryable: bool = False) -> None:
        queue, job = self.queue_of(claim), self.model.jobs.get(claim.job_id)
        self.note_release(claim)
        if how == "show_life":
            told = self.do(queue.renew(claim)).owned or self.do(queue.progress(claim, 7, 9)).owned
        elif how == "finish":
            image = claim.image + RESTORED.encode()
            told = self.do(queue.finish(claim, image, "image/png", caption="stale", findings=(), steps_total=9))
        elif how == "fail":
            told = self.do(queue.fail(claim, "stale", "stale", is_retryable))
        else:
            told = self.do(queue.canceled(claim) if how == "canceled" else queue.hand_back(claim))
        is_settled = job is not None and job.fence == claim.fence and job.state in OUTCOMES.get(how, ())
        if told is not is_settled:
            raise LawBrokenError("stale_claims_are_refused", f"{how} of {claim.job_id} by {claim.fence} gave {told}")
        if how == "finish" and not told and job is not None and self.may_come(job, claim.fence):
            self.history.orphans.add((claim.job_id, claim.fence))
        if how == "finish" and told and job is not None:  # stored once more, but for no longer than before
            job.is_result_gone = self.model.now_s - job.ended_s >= RESULT_S

    def may_come(self, job: ModelJob, fence: int) -> bool:
        """Whether somebody may still commit under that fence: a Redis that forgot gives it out once more."""
        return fence > job.fence or (fence == job.fence and job.state is JobState.RUNNING)
