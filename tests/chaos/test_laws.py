"""The laws of chaos runs see what they are there to see: evidence of one good job, spoiled in one way at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.jobs.job import JobState
from tests.chaos.evidence import Evidence, JobEvidence, Noted
from tests.chaos.laws import LAWS, violations
from tests.chaos.load import Accepted
from tests.chaos.orders import Wish
from tests.chaos.recovery import Happening, recoveries
from tests.chaos.stage import Attempt

WISH = Wish(0, 0)


def state(name: str, attempt: int, at_ms: float = 0.0) -> Noted:
    return Noted("state", {"state": name, "attempt": attempt, "at_ms": at_ms})


def step(number: int, attempt: int) -> Noted:
    return Noted("progress", {"step": number, "attempt": attempt, "at_ms": 0})


def good() -> Evidence:
    """A job whose first worker was killed, and which the second one finished."""
    accepted = Accepted("a", 1, WISH, seen=JobState.SUCCEEDED, digest="right")
    events = [state("queued", 0), state("running", 1, 100), step(1, 1), state("running", 2, 3000), step(1, 2)]
    job = JobEvidence(
        "a", 1, accepted, "succeeded", 2, "", [*events, state("succeeded", 2)], {1: True, 2: True}, "right"
    )
    kill = Happening("kill-worker", 1000.0, 3100.0, [Attempt("a", 1)], had_other_worker=True)
    stall = Happening("stall", 9000.0, 9100.0, is_refused=True)
    return Evidence(
        {"a": job}, {1: 1}, set(), {WISH: "right"}, [], {"depth": 0}, {"never a job": True}, [kill, stall], [], [], 2.0
    )


def broken_laws(evidence: Evidence) -> set[str]:
    return {law for law, sentences in violations(evidence).items() if sentences}


def test_good_evidence_breaks_no_law() -> None:
    assert broken_laws(good()) == set()


def forget(evidence: Evidence) -> None:
    evidence.jobs["a"].state = ""


def leave_running(evidence: Evidence) -> None:
    evidence.jobs["a"].state = "running"


def double(evidence: Evidence) -> None:
    twin = good().jobs["a"]
    twin.id, twin.accepted = "b", None
    evidence.jobs["b"] = twin


def answer_for_another(evidence: Evidence) -> None:
    evidence.orders[2] = 1
    stranger = good().jobs["a"]
    stranger.id, stranger.order, stranger.accepted = "b", 2, None
    evidence.jobs["b"] = stranger


def spoil_result(evidence: Evidence) -> None:
    evidence.jobs["a"].digest = "wrong"


def spoil_download(evidence: Evidence) -> None:
    accepted = evidence.jobs["a"].accepted
    assert accepted is not None
    accepted.digest = "wrong"


def end_twice(evidence: Evidence) -> None:
    evidence.jobs["a"].events.append(state("succeeded", 2))


def go_on_after_the_end(evidence: Evidence) -> None:
    evidence.jobs["a"].events.append(step(1, 2))


def lose_an_attempt(evidence: Evidence) -> None:
    del evidence.jobs["a"].events[1:3]


def go_back(evidence: Evidence) -> None:
    evidence.jobs["a"].events.insert(5, step(0, 2))


def tell_of_a_stale_attempt(evidence: Evidence) -> None:
    evidence.jobs["a"].events.insert(5, step(1, 1))


def serve_the_stale_result(evidence: Evidence) -> None:
    evidence.jobs["a"].results = {1: True}


def keep_a_result_for_ever(evidence: Evidence) -> None:
    evidence.jobs["a"].results[1] = False


def change_after_the_end(evidence: Evidence) -> None:
    accepted = evidence.jobs["a"].accepted
    assert accepted is not None
    accepted.seen = JobState.CANCELED


def never_tell_the_caller(evidence: Evidence) -> None:
    accepted = evidence.jobs["a"].accepted
    assert accepted is not None
    accepted.seen = None


def fail(evidence: Evidence) -> None:
    evidence.jobs["a"].state, evidence.jobs["a"].error_code = "failed", "worker_lost"


def cancel_unasked(evidence: Evidence) -> None:
    evidence.jobs["a"].state = "canceled"


def leave_work(evidence: Evidence) -> None:
    evidence.queue["depth"] = 1


def leave_a_photo(evidence: Evidence) -> None:
    evidence.uploads["a"] = True


def leave_an_upload_for_ever(evidence: Evidence) -> None:
    evidence.uploads["never a job"] = False


def recover_late(evidence: Evidence) -> None:
    evidence.jobs["a"].events[3].data["at_ms"] = 4100.0
    evidence.happenings[0].ended_ms = 4200.0


def take_a_late_commit(evidence: Evidence) -> None:
    evidence.happenings[1].is_refused = False


def get_stuck(evidence: Evidence) -> None:
    evidence.happenings[0].is_stuck = True


def die(evidence: Evidence) -> None:
    evidence.deaths.append("worker-0 ended by itself")


def trip(evidence: Evidence) -> None:
    evidence.tracebacks.append("Traceback")


def complain(evidence: Evidence) -> None:
    evidence.complaints.append("order 1 got 500")


SPOILERS: dict[Callable[[Evidence], None], str] = {
    forget: "every accepted job is there and over",
    leave_running: "every accepted job is there and over",
    double: "no order became two jobs",
    answer_for_another: "jobs that nobody knows belong to lost answers",
    spoil_result: "results are those of a quiet run",
    spoil_download: "results are those of a quiet run",
    end_twice: "events are whole and single",
    go_on_after_the_end: "events are whole and single",
    lose_an_attempt: "events are whole and single",
    go_back: "events are whole and single",
    tell_of_a_stale_attempt: "events are whole and single",
    serve_the_stale_result: "only the result of the last attempt counts",
    keep_a_result_for_ever: "only the result of the last attempt counts",
    change_after_the_end: "what callers saw is still so",
    never_tell_the_caller: "what callers saw is still so",
    fail: "nobody fails or is canceled without reason",
    cancel_unasked: "nobody fails or is canceled without reason",
    leave_work: "nothing is left behind",
    leave_a_photo: "nothing is left behind",
    leave_an_upload_for_ever: "nothing is left behind",
    recover_late: "killed workers are replaced in time",
    take_a_late_commit: "late commits are refused",
    get_stuck: "faults pass",
    die: "nothing ends by itself",
    trip: "nothing ends by itself",
    complain: "nothing ends by itself",
}


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_what_is_wrong_breaks_its_law(spoil: Callable[[Evidence], None]) -> None:
    evidence = good()
    spoil(evidence)
    assert SPOILERS[spoil] in broken_laws(evidence)


def test_every_law_can_be_broken() -> None:
    assert {law.__name__.replace("_", " ") for law in LAWS} == set(SPOILERS.values())


def test_recovery_beside_another_fault_is_told_apart() -> None:
    evidence = good()
    evidence.happenings[1].began_ms = 2000.0
    (recovery,) = recoveries(evidence.happenings, {"a": evidence.jobs["a"].attempts})
    assert (recovery.seconds, recovery.is_alone) == (2.0, False)


def test_a_server_that_need_not_write_at_once_may_forget_but_not_do_wrong() -> None:
    evidence = good()
    evidence.may_forget = True
    forget(evidence)
    assert broken_laws(evidence) == set()
    evidence = good()
    evidence.may_forget = True
    spoil_result(evidence)
    assert broken_laws(evidence)
