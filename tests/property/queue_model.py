"""A plain model of the queue: what a record must say after each step, and what a claim may and must give."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from app.jobs.job import JobState
from app.jobs.queue import Claim
from tests.property.queue_history import MAX_DELIVERIES, LawBrokenError
from tests.property.queue_view import EntryId, entry_id

# In seconds of the server's clock, which the test moves by multiples of STEP_S: no sum of steps comes close to one of
# these times, so it does not matter how long a step really takes.
STEP_S = 250
LEASE_S = 600
RESULT_S = 1100
RECORD_S = 1100
DEAD_S = 600


@dataclass
class ModelJob:
    """What is true of a job.

    Attributes:
        priority: Its priority.
        state: Its state.
        fence: Number of its attempts.
        deliveries: Attempts that count.
        cancel_requested: Whether its caller wants it stopped.
        claim: The latest claim, while it runs.
        owner: Process that was given that claim: worker and instance.
        leased_s: When its lease began or was renewed.
        is_unread: It runs, and its entry will be read once more, because the group was deleted.
        has_row: It runs, and its entry is pending.
        ended_s: When it ended.
        is_result_gone: Its result is past its time.
        is_dead: It failed because its deliveries were used up.
        is_photo_gone: It cannot be retried any more.
    """

    priority: str
    state: JobState = JobState.QUEUED
    fence: int = 0
    deliveries: int = 0
    cancel_requested: bool = False
    claim: Claim | None = None
    owner: str = ""
    leased_s: int = 0
    is_unread: bool = False
    has_row: bool = False
    ended_s: int = 0
    is_result_gone: bool = False
    is_dead: bool = False
    is_photo_gone: bool = False

    @property
    def worker(self) -> str:
        """Name of the worker that was given the latest claim."""
        return self.owner.partition("/")[0]


@dataclass
class QueueModel:
    """All jobs that have a record, by id, and the clock."""

    now_s: int = 0
    jobs: dict[str, ModelJob] = field(default_factory=dict)

    def of_state(self, *states: JobState) -> list[str]:
        """Give the ids of the jobs in some states, in order of acceptance."""
        return [job_id for job_id, job in self.jobs.items() if job.state in states]

    def is_free(self, job: ModelJob, owner: str, held: Collection[str]) -> bool:
        """Say whether a claim by this process may give the job out."""
        if job.claim is None:
            return job.state is JobState.QUEUED
        is_its_own = job.owner == owner and job.claim.entry_id in held
        if (job.is_unread and not is_its_own) or self.is_unknown(job, owner, held):
            return True
        leases = 2 if job.worker == owner.partition("/")[0] else 1  # it will renew what it holds as soon as it can
        return job.has_row and self.now_s - job.leased_s >= leases * LEASE_S

    def is_unknown(self, job: ModelJob, owner: str, held: Collection[str]) -> bool:
        """Say whether a job runs in the name of this worker and its process does not know: a lost answer, a restart."""
        is_mine = job.has_row and job.worker == owner.partition("/")[0]
        return is_mine and job.claim is not None and job.claim.entry_id not in held

    def check_claim(
        self,
        owner: str,
        held: Collection[str],
        limit: int,
        wanted: Collection[str],
        tries: int,
        given: Sequence[Claim],
        seen: Mapping[str, JobState],
    ) -> list[Claim]:
        """Follow a claim.

        Args:
            owner: Process that claims.
            held: Entries that it said it works on.
            limit: Most jobs that it wants.
            wanted: Priorities that it wants.
            tries: How often the script may have run: once more when it met a missing group.
            given: What it was given.
            seen: States in the records after that.

        Returns:
            Claims that do not count any more.

        Raises:
            LawBrokenError: It was given what it may not have, or not given what there was for it.
        """
        taken = {claim.job_id: claim for claim in given}
        _require(
            len(taken) == len(given) <= limit, "a_claim_gives_each_job_once", f"{len(given)} of {limit} for {taken}"
        )
        stale = []
        for job_id, job in self.jobs.items():
            is_free = job.priority in wanted and self.is_free(job, owner, held)
            counts = not (self.is_unknown(job, owner, held) and job.owner == owner)
            is_used_up = counts and job.deliveries >= MAX_DELIVERIES
            before = job.claim
            if job_id in taken:
                _require(is_free, "a_live_owner_keeps_its_job", f"{owner} was given {job_id} of {job.owner}")
                _require(not job.cancel_requested, "canceled_jobs_are_not_given_out", job_id)
                _require(not is_used_up, "retries_are_bounded", f"{job_id} after {job.deliveries} deliveries")
                self._begin(job, taken[job_id], owner, counts, tries)
            elif is_free and (len(given) < limit or seen.get(job_id) is not job.state):
                is_over = job.cancel_requested or is_used_up
                _require(
                    is_over, "no_free_job_is_passed_over", f"{owner} asked for {limit} jobs and not given {job_id}"
                )
                self.end(job_id, JobState.CANCELED if job.cancel_requested else JobState.FAILED, is_dead=is_used_up)
            if before is not None and job.claim is not before:
                stale.append(before)
        return stale

    def _begin(self, job: ModelJob, claim: Claim, owner: str, counts: bool, tries: int) -> None:
        is_next = 1 <= claim.fence - job.fence <= tries
        _require(is_next, "fences_rise", f"claim {claim.fence} of {claim.job_id} comes after {job.fence}")
        job.state, job.claim, job.owner, job.leased_s = JobState.RUNNING, claim, owner, self.now_s
        job.fence, job.deliveries, job.has_row = claim.fence, job.deliveries + counts, True

    def end(self, job_id: str, state: JobState, is_dead: bool = False) -> None:
        """Follow the end of a job; a dead one may be retried for a time, unless its caller wants it no more."""
        job = self.jobs[job_id]
        job.state, job.claim, job.ended_s, job.is_unread, job.has_row = state, None, self.now_s, False, False
        job.is_dead = is_dead and state is JobState.FAILED
        job.is_photo_gone = not job.is_dead or job.cancel_requested

    def retry(self, job_id: str) -> None:
        """Follow a dead job into its next life."""
        job = self.jobs[job_id]
        job.state, job.deliveries, job.is_dead = JobState.QUEUED, 0, False

    def requeue(self, job_id: str, counts: bool) -> None:
        """Follow a running job back to the queue, or to its end when its caller wants it stopped."""
        job = self.jobs[job_id]
        if job.cancel_requested:
            self.end(job_id, JobState.CANCELED)
            return
        job.state, job.claim, job.is_unread, job.has_row = JobState.QUEUED, None, False, False
        job.deliveries -= not counts

    def let_time_pass(self, seconds: int) -> None:
        """Move the clock; records and results past their time go, and do not come back with the clock."""
        self.now_s += seconds
        for job_id, job in list(self.jobs.items()):
            if job.state.is_terminal:
                age_s = self.now_s - job.ended_s
                is_success = job.state is JobState.SUCCEEDED
                job.is_result_gone = job.is_result_gone or age_s >= RESULT_S
                job.is_photo_gone = job.is_photo_gone or age_s >= DEAD_S
                if age_s >= RECORD_S + RESULT_S * is_success:
                    del self.jobs[job_id]

    def lose_groups(self, priority: str) -> None:
        """Follow the deletion of a group: what runs will be read again."""
        for job in self.jobs.values():
            if job.priority == priority and job.state is JobState.RUNNING:
                job.is_unread, job.has_row = True, False

    def note_reading(self, undelivered: Mapping[str, set[EntryId]]) -> None:
        """Note which entries were read, once groups are there again; they are pending then."""
        for job in self.jobs.values():
            if (
                job.is_unread
                and job.claim is not None
                and entry_id(job.claim.entry_id) not in undelivered[job.priority]
            ):
                job.is_unread, job.has_row, job.leased_s = False, True, self.now_s


def _require(holds: bool, law: str, found: str) -> None:
    if not holds:
        raise LawBrokenError(law, found)
