"""Random histories of the queue on a real Redis; `make model-check` plays many more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.property.queue_clock import Clock, open_clocked_server
from tests.property.queue_machine import play
from tests.property.queue_mutants import MUTANTS, alter_by, hunt
from tests.property.queue_stage import Stage
from tests.support.jobs import open_queue

EXAMPLES, STEPS = 40, 50
HOLES = "settling leaves holes in the stream"
IN_THE_SUITE = ("commits are not acknowledged", HOLES)


@pytest.fixture(scope="module")
def clocked() -> Iterator[tuple[str, Clock]]:
    """A server of these tests' own, because they move its clock."""
    with open_clocked_server() as (server, clock):
        yield server.url, clock


@pytest.mark.slow
def test_no_history_breaks_the_laws_of_the_queue(clocked: tuple[str, Clock]) -> None:
    stage = Stage(*clocked)
    play(stage, examples=EXAMPLES, steps=STEPS, chosen_seed=7)
    assert stage.examples >= EXAMPLES


@pytest.mark.parametrize("name", IN_THE_SUITE)
def test_broken_scripts_break_a_law(clocked: tuple[str, Clock], name: str) -> None:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    with Redis.from_url(clocked[0]) as client:
        if name == HOLES and int(str(client.info("server")["redis_version"]).split(".")[0]) < 7:
            pytest.skip("this Redis tells no lag, by which holes are noticed")
    assert hunt(mutant, Stage(*clocked), examples=300, steps=STEPS, chosen_seed=7) is not None


@pytest.mark.anyio
async def test_every_breakage_still_fits_the_scripts(redis_url: str, namespace: str) -> None:
    """The others are played by `make model-check`."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        async with open_queue(redis_url, namespace) as queue:
            alter_by(mutant)(queue)
