from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.worker.pools import Fit, Pool, Used

POOLS = st.integers(1, 60).flatmap(lambda total: st.builds(Pool, st.just(total), st.integers(0, total - 1)))
AMOUNTS = st.integers(0, 80)
USED = st.builds(Used, AMOUNTS, AMOUNTS)


@pytest.mark.parametrize(("places", "reserve"), [(1, 0), (2, 1), (3, 1), (4, 1), (8, 2), (64, 16)])
def test_a_quarter_of_the_places_is_kept_where_there_are_two(places: int, reserve: int) -> None:
    assert Pool.of_places(places) == Pool(places, reserve)


def test_what_is_kept_of_bytes_is_what_is_wanted_but_never_much() -> None:
    assert Pool.of_bytes(1000, 100) == Pool(1000, 100)
    assert Pool.of_bytes(1000, 900) == Pool(1000, 250)
    assert Pool.of_bytes(1, 900) == Pool(1, 0)
    with pytest.raises(ValueError, match="reserve < total"):
        Pool(3, 3)


def test_ordinary_jobs_leave_the_reserve_alone() -> None:
    pool = Pool(10, 3)
    assert pool.fit(7, False, Used()) is Fit.SHARED
    assert pool.fit(3, False, Used(5)) is Fit.NO
    assert pool.fit(99, False, Used(0, 3)) is Fit.SHARED  # alone but for express jobs in the reserve
    assert pool.fit(99, False, Used(0, 4)) is Fit.NO
    assert pool.fit(3, True, Used(99)) is Fit.RESERVED
    assert pool.fit(4, True, Used(6)) is Fit.SHARED
    assert pool.fit(4, True, Used(7)) is Fit.NO
    assert pool.fit(99, True, Used()) is Fit.SHARED


@given(pool=POOLS, used=USED, amount=AMOUNTS)
def test_an_express_job_in_the_reserve_takes_nothing_from_anybody(pool: Pool, used: Used, amount: int) -> None:
    if pool.fit(amount, True, used) is Fit.RESERVED:
        assert pool.taken(Used(used.ordinary, used.express + amount)) == pool.taken(used)


@given(pool=POOLS, used=USED, amount=AMOUNTS, is_express=st.booleans())
def test_nothing_is_given_away_twice(pool: Pool, used: Used, amount: int, is_express: bool) -> None:
    held = used.ordinary + used.express
    fit = pool.fit(amount, is_express, used)
    if fit is Fit.SHARED and pool.taken(used) and held <= pool.total:
        assert held + amount <= pool.total


@given(pool=POOLS, used=USED, amount=st.integers(1, 80))
def test_room_is_the_number_of_ordinary_jobs_that_fit_one_after_the_other(pool: Pool, used: Used, amount: int) -> None:
    count, ordinary = 0, used.ordinary
    while pool.fit(amount, False, Used(ordinary, used.express)) is Fit.SHARED:
        count, ordinary = count + 1, ordinary + amount
    assert pool.room(amount, used) == count
