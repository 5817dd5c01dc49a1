"""What a worker says of itself to whoever starts it again when it stands still."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app import pulse
from app.pulse import LOOP_STALE_S, MODEL_STALE_S, Pulse, with_probes


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def ask(path: str, of: Pulse) -> tuple[str, Any]:
    """Status and body of GET."""
    said: list[str] = []

    def other(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b'"other"']

    def start_response(status: str, headers: Any, _: Any = None) -> Any:
        said.append(status)

    body = b"".join(with_probes(other, of)({"PATH_INFO": path}, start_response))
    return said[0], json.loads(body)


def test_worker_that_moves_is_well_long_before_it_is_ready() -> None:
    heart = Pulse(Clock())
    assert ask("/healthz", heart) == ("200 OK", {"status": "ok", "reasons": []})
    status, body = ask("/readyz", heart)
    assert status.startswith("503")
    assert "not loaded and warm" in body["reasons"][0]
    heart.is_ready = True
    assert ask("/readyz", heart) == ("200 OK", {"status": "ok", "reasons": []})


def test_other_paths_go_to_the_metrics() -> None:
    assert ask("/metrics", Pulse()) == ("200 OK", "other")
    assert ask("/", Pulse()) == ("200 OK", "other")


def test_event_loop_that_stops_going_round_is_told() -> None:
    clock = Clock()
    heart = Pulse(clock)
    heart.is_ready = True
    clock.now_s += LOOP_STALE_S
    assert heart.standstills() == []
    clock.now_s += 1
    assert "The event loop has not gone round for 61 s" in heart.standstills()[0]
    assert ask("/healthz", heart)[0].startswith("503")
    assert ask("/readyz", heart)[0].startswith("503")
    heart.beat()
    assert heart.standstills() == []


def test_call_of_the_model_that_never_ends_is_told_and_others_are_not() -> None:
    clock = Clock()
    heart = Pulse(clock)
    with heart.in_model():
        clock.now_s += MODEL_STALE_S + 1
        heart.beat()
        assert "at one call for 601 s" in heart.standstills()[0]
    assert heart.standstills() == []
    for _ in range(3):  # many calls, none of them long
        with heart.in_model():
            clock.now_s += MODEL_STALE_S / 2
            heart.beat()
            assert heart.standstills() == []


def test_call_that_fails_is_over() -> None:
    clock = Clock()
    heart = Pulse(clock)
    with pytest.raises(RuntimeError), heart.in_model():
        raise RuntimeError
    clock.now_s += MODEL_STALE_S + 1
    heart.beat()
    assert heart.standstills() == []


def test_event_loop_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "BEAT_S", 0.001)
    clock = Clock()
    heart = Pulse(clock)

    async def live() -> None:
        beating = asyncio.create_task(heart.beat_forever())
        clock.now_s += LOOP_STALE_S + 1
        while heart.standstills():  # noqa: ASYNC110 - nothing tells of a beat
            await asyncio.sleep(0.001)
        beating.cancel()

    asyncio.run(asyncio.wait_for(live(), 30))
