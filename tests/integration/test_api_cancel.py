"""DELETE /jobs/{id} while a real worker computes: the device stops, and nothing of the job is left."""

from __future__ import annotations

from typing import Any

import pytest

from app.jobs.connection import call, connect
from app.jobs.keys import Keys
from app.worker.runner import Runner
from tests.support.api import api_settings, until_state
from tests.support.jobs import until
from tests.support.server import all_events, live_api
from tests.support.workers import noise_png, tiny_runner, working

pytestmark = pytest.mark.anyio


class Counted:
    """Counts the steps and forwards of a runner."""

    def __init__(self, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forwards = self.steps = 0
        run, end_step = runner.run, runner.end_step

        def counted_run(batch: Any) -> Any:
            self.forwards += 1
            return run(batch)

        def counted_end_step(job_id: str) -> Any:
            self.steps += 1
            return end_step(job_id)

        monkeypatch.setattr(runner, "run", counted_run)
        monkeypatch.setattr(runner, "end_step", counted_end_step)


async def test_device_stops_within_one_step_of_a_canceled_job(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = tiny_runner(batch_tiles=2)
    async with live_api(api_settings(redis_url, namespace)) as live, working(live.services.queue, runner):
        counted = Counted(runner, monkeypatch)
        answer = await live.client.post("/restore?steps=100", content=noise_png(300, 300))
        links = answer.json()["links"]

        async def is_under_way() -> bool:
            return counted.steps >= 2

        await until(is_under_way, 60)
        forwards_per_step = counted.forwards / counted.steps
        assert forwards_per_step > 4  # else a step is too short to tell
        asked = await live.client.delete(links["cancel"])
        done = counted.steps
        assert asked.json()["state"] in ("running", "canceled")
        assert asked.json()["cancel_requested"] is True
        await until_state(live.client, links["self"], "canceled", within_s=60)
        ended, forwards = counted.steps, counted.forwards
        assert ended <= done + 1  # the step in which it was asked, and no other
        assert ended < 100
        events = await all_events(live.client, links["events"])
        assert [event.data["state"] for event in events if event.type == "state"][-1] == "canceled"
        assert any(event.data.get("cancel_requested") for event in events)
        result = await live.client.get(links["result"])
        assert (result.status_code, result.json()["code"]) == (409, "job_canceled")
        # The device is free: another job has it to itself, and not a forward was spent on the canceled one.
        other = (await live.client.post("/restore?steps=1", content=noise_png(16, 16))).json()
        await until_state(live.client, other["links"]["self"], "succeeded", within_s=60)
        assert counted.forwards == forwards + 1
    redis = connect(redis_url)
    keys = Keys(namespace)
    assert await call(redis, "EXISTS", keys.image(answer.json()["id"]), keys.result(answer.json()["id"], 1)) == 0
    await redis.aclose()
