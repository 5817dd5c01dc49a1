"""The threads of a worker: one for the model, some for photos; the event loop does neither."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

from app.pulse import PULSE
from app.worker.trace import NO_TRACE, Trace

T = TypeVar("T")

PHOTO_THREADS = 2
"""Threads that decode and encode photos of all sizes; one more is for express jobs while these are busy."""


class Threads:
    """Runs functions off the event loop and notes in a trace who did what.

    Args:
        trace: What is noted; None for nothing.
    """

    def __init__(self, trace: Trace | None = None) -> None:
        self.trace = trace or NO_TRACE
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._photo = ThreadPoolExecutor(PHOTO_THREADS, thread_name_prefix="photo")
        self._express = ThreadPoolExecutor(1, thread_name_prefix="photo-express")
        self._photos = 0  # under way or in line for the threads of all sizes

    async def in_model(self, name: str, function: Callable[..., T], *args: object, **details: object) -> T:
        """Run a function in the model's thread.

        Args:
            name: What it does, for the trace.
            function: What is run.
            args: Its arguments.
            details: What else the trace shows.
        """

        def watched(*args: object) -> T:
            with PULSE.in_model():
                return function(*args)

        return await self._run(self._model, "model", name, watched, args, details)

    async def in_photo(
        self, name: str, function: Callable[..., T], *args: object, is_express: bool = False, **details: object
    ) -> T:
        """Run a function in one of the threads for photos; arguments as for `in_model`.

        Encoding 24 megapixels takes seconds, so an express job never waits behind that.

        Args:
            name: As for `in_model`.
            function: Likewise.
            args: Likewise.
            is_express: It is short and must not wait for what is long.
            details: As for `in_model`.
        """
        if is_express and self._photos >= PHOTO_THREADS:
            return await self._run(self._express, "photo", name, function, args, details)
        self._photos += 1
        try:
            return await self._run(self._photo, "photo", name, function, args, details)
        finally:
            self._photos -= 1

    def close(self) -> None:
        """End the threads once they are done with what they are at; what has not begun is dropped."""
        for threads in (self._photo, self._express, self._model):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _run(
        self,
        threads: Executor,
        category: str,
        name: str,
        function: Callable[..., T],
        args: tuple[object, ...],
        details: dict[str, object],
    ) -> T:
        def work() -> T:
            with self.trace.span(name, category, **details):
                return function(*args)

        return await asyncio.get_running_loop().run_in_executor(threads, work)
