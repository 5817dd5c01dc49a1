"""Signs of life of a worker, for whoever starts it again when it stands still.

Two things can stand still while the process is there: the event loop, and the call that the model's thread is at, when
a device never comes back. One `PULSE` per process, like the collectors of `app.metrics`. Nothing here knows Redis or
torch: while Redis is away a worker lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BEAT_S = 1.0
"""Time between beats of the event loop."""

LOOP_STALE_S = 60.0
"""Silence after which the event loop counts as stuck."""

MODEL_STALE_S = 600.0
"""Time in one call after which the model's thread counts as stuck; loading and warming up a model is one call."""


class Pulse:
    """When the parts of a worker last moved; any thread may ask.

    Args:
        clock: Gives seconds that never go back.

    Attributes:
        is_ready: Whether all models are loaded and warm, and the worker takes jobs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_s = clock()
        self._calls: dict[object, float] = {}  # begin of each call under way
        self.is_ready = False

    def beat(self) -> None:
        """Note that the event loop goes round."""
        self._beat_s = self._clock()

    async def beat_forever(self) -> None:
        """Beat until canceled."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_S)

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """Note that the model's thread is at something."""
        call = object()
        self._calls[call] = self._clock()
        try:
            yield
        finally:
            del self._calls[call]

    def standstills(self) -> list[str]:
        """Say what stands still, in words for people; nothing when the worker lives."""
        now_s, found = self._clock(), []
        if (silent_s := now_s - self._beat_s) > LOOP_STALE_S:
            found.append(f"The event loop has not gone round for {silent_s:.0f} s, expected every {BEAT_S:.0f} s.")
        if (longest_s := now_s - min(tuple(self._calls.values()), default=now_s)) > MODEL_STALE_S:
            found.append(
                f"The model's thread is at one call for {longest_s:.0f} s, expected {MODEL_STALE_S:.0f} at most."
            )
        return found


PULSE = Pulse()
"""That of this process."""


def with_probes(other: WSGIApplication, pulse: Pulse = PULSE) -> WSGIApplication:
    """Answer `/healthz` and `/readyz` of a worker before another application.

    200 means yes and 503 no, with the reasons as JSON. `/healthz` says whether the worker moves, `/readyz` whether it
    takes jobs as well.

    Args:
        other: Gets every other path.
        pulse: What is asked.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path not in ("/healthz", "/readyz"):
            return other(environ, start_response)
        reasons = pulse.standstills()
        if path == "/readyz" and not pulse.is_ready:
            reasons.append("The models are not loaded and warm, or the worker is about to stop.")
        status, said = ("503 Service Unavailable", "no") if reasons else ("200 OK", "ok")
        body = json.dumps({"status": said, "reasons": reasons}).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return answer
