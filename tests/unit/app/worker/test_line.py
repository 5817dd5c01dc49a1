"""Who goes next when not everybody fits, and how long that may keep somebody waiting."""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from app.worker.line import MOST_HOLDUPS, Line
from app.worker.pools import Fit, Pool, Used


@dataclass(eq=False)
class Sized:
    """A job that needs some of a pool."""

    amount: int
    is_express: bool


@dataclass
class Desk:
    """A line in front of a pool, and what has gone in."""

    pool: Pool
    line: Line[Sized] = field(default_factory=Line)
    inside: dict[Sized, Fit] = field(default_factory=dict)  # in order of admission

    def used(self) -> Used:
        return Used(
            sum(job.amount for job in self.inside if not job.is_express),
            sum(job.amount for job in self.inside if job.is_express),
        )

    def fit(self, job: Sized) -> Fit:
        return self.pool.fit(job.amount, job.is_express, self.used())

    def admit(self) -> Sized | None:
        fits = {job: self.fit(job) for job in self.line}
        job = self.line.take_next(self.fit, lambda job: job.is_express)
        if job is not None:
            self.inside[job] = fits[job]
        return job


def names(line: Line[str], fit: dict[str, Fit], express: str = "") -> list[str]:
    found = []
    while (name := line.take_next(fit.__getitem__, lambda name: name in express)) is not None:
        found.append(name)
    return found


def make(jobs: str, most_holdups: int = MOST_HOLDUPS) -> Line[str]:
    line: Line[str] = Line(most_holdups)
    for name in jobs:
        line.append(name)
    return line


def test_first_come_first_served_among_equals_that_fit() -> None:
    assert names(make("abc"), dict.fromkeys("abc", Fit.SHARED)) == ["a", "b", "c"]


def test_express_goes_first_and_what_fits_before_what_does_not() -> None:
    fits = dict.fromkeys("abcd", Fit.SHARED) | {"a": Fit.NO}
    line = make("abcd")
    assert names(line, fits, express="d") == ["d", "b", "c"]
    assert list(line) == ["a"]


def test_nobody_is_held_up_more_often_than_allowed() -> None:
    line = make("abcd", most_holdups=2)
    assert names(line, dict.fromkeys("abcd", Fit.SHARED) | {"a": Fit.NO}) == ["b", "c"]  # and no further
    assert names(line, dict.fromkeys("abcd", Fit.SHARED)) == ["a", "d"]


def test_what_takes_of_the_reserve_alone_holds_up_only_those_that_fit() -> None:
    reserved = dict.fromkeys("abcde", Fit.RESERVED)
    assert names(make("abcde", 1), reserved | {"a": Fit.NO}, express="bcde") == ["b", "c", "d", "e"]
    assert names(make("abcde", 1), reserved | {"a": Fit.SHARED}, express="bcde") == ["b", "a", "c", "d", "e"]
    assert names(make("abcde", 1), reserved | {"a": Fit.NO}, express="abcde") == ["b"]  # it waits for the reserve too


def test_a_job_is_in_line_once_and_can_leave_it() -> None:
    line = make("ab")
    with pytest.raises(ValueError, match="already"):
        line.append("a")
    line.remove("a")
    line.remove("a")
    assert (list(line), len(line), "a" in line) == (["b"], 1, False)


JOBS = st.builds(Sized, st.integers(1, 30), st.just(False)) | st.builds(Sized, st.integers(1, 3), st.booleans())
ENDS = st.integers(0, 10)
POOLS = st.integers(4, 20).flatmap(lambda total: st.builds(Pool, st.just(total), st.integers(0, total // 2)))


@given(pool=POOLS, moves=st.lists(JOBS | ENDS, max_size=60), most_holdups=st.integers(0, 2))
@settings(max_examples=300, deadline=None)
def test_waits_are_bounded_whatever_arrives_and_ends(pool: Pool, moves: list[Sized | int], most_holdups: int) -> None:
    """A job has begun when a known number of those have ended that hold what it could have.

    These are the ones that held it when the job came, the ones in line before it, and so many later ones as may hold
    it up: few here, so that chance finds the cases that would break the bound. An ordinary job could have all but the
    reserve, an express one all there is.
    """
    desk = Desk(pool, Line(most_holdups))
    bounds: dict[Sized, int] = {}  # of those in line: ends of others until it must have begun
    for move in moves:
        if isinstance(move, Sized):
            others = sum(move.is_express or fit is Fit.SHARED for fit in desk.inside.values())
            bounds[move] = others + len(desk.line) + most_holdups
            desk.line.append(move)
        elif desk.inside:
            job = list(desk.inside)[move % len(desk.inside)]
            is_shared = desk.inside.pop(job) is Fit.SHARED
            bounds = {other: bound - (other.is_express or is_shared) for other, bound in bounds.items()}
        while (begun := desk.admit()) is not None:
            del bounds[begun]
        assert not len(desk.line) or desk.inside  # nobody waits for nothing
        assert all(bound > 0 for bound in bounds.values())


@pytest.mark.parametrize("amount", [17, 20, 1000])
def test_a_large_job_begins_although_small_ones_never_stop_coming(amount: int) -> None:
    desk = Desk(Pool(20, 3))
    for _ in range(5):
        desk.line.append(Sized(4, False))
    while desk.admit() is not None:
        pass
    large = Sized(amount, False)
    desk.line.append(large)
    rounds = 0
    while large not in desk.inside:
        desk.inside.pop(next(iter(desk.inside)))
        for _ in range(3):  # of each kind more than ever ends
            desk.line.append(Sized(2, True))
            desk.line.append(Sized(3, False))
        while desk.admit() is not None:
            pass
        rounds += 1
        assert rounds <= 5 * 2 + 2 * MOST_HOLDUPS
