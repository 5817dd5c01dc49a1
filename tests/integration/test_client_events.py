"""Following jobs of a real worker over connections that break off at random."""

from __future__ import annotations

import pytest

from app.bench.events import FollowFigures, Load, follow_under_cuts
from app.client import Event
from app.jobs.journal import JobEvent
from app.worker.runner import Runner
from tests.support.api import api_settings
from tests.support.server import live_api
from tests.support.workers import noise_png, working

pytestmark = pytest.mark.anyio

CUTS = 50


@pytest.mark.parametrize("previews", [False, True])
async def test_no_event_is_lost_or_doubled_while_connections_break_off(
    redis_url: str, namespace: str, runner: Runner, previews: bool
) -> None:
    async with live_api(api_settings(redis_url, namespace)) as live, working(live.services.queue, runner):
        load = Load(CUTS, at_once=4, steps=40, photo=noise_png(64, 64), seed=1, previews=previews)
        figures = await follow_under_cuts(f"http://127.0.0.1:{live.port}", live.services.queue, load)
    assert figures.cuts >= CUTS
    assert figures.connections > figures.jobs + CUTS // 2  # followers did come back
    assert (figures.lost, figures.doubled, figures.out_of_order, figures.strange) == (0, 0, 0, 0)
    assert figures.received == figures.written >= 4 * figures.jobs


def test_figures_tell_what_went_wrong() -> None:
    written = [JobEvent(f"{number}-0", "progress", {"step": number, "at_ms": 5}) for number in (9, 10, 11)]
    received = [Event("progress", {"step": number, "at": "..."}, f"{number}-0") for number in (9, 10, 11)]
    good = FollowFigures()
    good.count(written, received)
    assert (good.jobs, good.written, good.received) == (1, 3, 3)
    assert (good.lost, good.doubled, good.out_of_order, good.strange) == (0, 0, 0, 0)
    bad = FollowFigures()
    odd = Event("progress", {"step": 5}, "11-0")
    bad.count(written, [received[1], received[0], received[0], odd, Event("state", {}, "12-0")])
    assert (bad.lost, bad.doubled, bad.out_of_order, bad.strange) == (0, 1, 1, 2)
    bad.count(written, received[:1])
    assert bad.lost == 2
