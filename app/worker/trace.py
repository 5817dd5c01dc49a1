"""Who worked on what and when, thread by thread, for Chrome's trace viewer (chrome://tracing) or ui.perfetto.dev.

Pure Python: knows neither tensors nor Redis. A worker without a trace pays one call and no memory per span.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Span:
    """One piece of work on one thread.

    Attributes:
        name: What was done, for instance "forward".
        category: Group of names that are shown or hidden together.
        thread: Name of the thread; empty for what the event loop waits for, many such at a time.
        start_s: When it began, by the trace's clock, counted from the making of the trace.
        duration_s: How long it took.
        arguments: Whatever else is to be seen, as plain JSON values.
    """

    name: str
    category: str
    thread: str
    start_s: float
    duration_s: float
    arguments: dict[str, Any]

    @property
    def end_s(self) -> float:
        """When it was over."""
        return self.start_s + self.duration_s


class Trace:
    """Collects spans of any number of threads.

    Everything stays in memory until `write`: a trace is for a run of minutes, not for a service of weeks.

    Args:
        clock: Seconds from any fixed start; the same for all threads.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._begun_s = clock()
        self._lock = threading.Lock()
        self._spans: list[Span] = []

    @property
    def spans(self) -> list[Span]:
        """What has ended so far, in order of the ends."""
        with self._lock:
            return list(self._spans)

    def span(self, name: str, category: str, **arguments: Any) -> AbstractContextManager[None]:
        """Record what happens inside `with` as work of the calling thread, also when it raises.

        Args:
            name: What is done.
            category: Group of names that belong together.
            arguments: Details, as plain JSON values.
        """
        return self._record(name, category, threading.current_thread().name, arguments)

    def wait(self, name: str, category: str, **arguments: Any) -> AbstractContextManager[None]:
        """Record what a task waits for inside `with`; no thread works meanwhile, and several may wait at once."""
        return self._record(name, category, "", arguments)

    def write(self, path: Path) -> None:
        """Write the spans as JSON in Chrome's trace event format.

        Work of threads is a complete event in the row of its thread. What tasks waited for is an async event of its
        own, because events of one row must not overlap.
        """
        path.write_text(json.dumps({"traceEvents": self._events(), "displayTimeUnit": "ms"}) + "\n", encoding="utf-8")

    @contextmanager
    def _record(self, name: str, category: str, thread: str, arguments: dict[str, Any]) -> Iterator[None]:
        started_s = self._clock()
        try:
            yield
        finally:
            spent_s = self._clock() - started_s
            with self._lock:
                self._spans.append(Span(name, category, thread, started_s - self._begun_s, spent_s, arguments))

    def _events(self) -> list[dict[str, Any]]:
        """Names of the threads, then the spans; times in microseconds."""
        spans = sorted(self.spans, key=lambda span: span.start_s)
        process = os.getpid()
        # Numbers of our own: the system gives those of ended threads to new ones, which would share a row.
        rows = {
            thread: row for row, thread in enumerate(dict.fromkeys(span.thread for span in spans if span.thread), 1)
        }
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "thread_name", "pid": process, "tid": row, "args": {"name": thread}}
            for thread, row in rows.items()
        ]
        for number, span in enumerate(spans):
            event = {"name": span.name, "cat": span.category, "pid": process, "ts": span.start_s * 1e6}
            if span.thread:
                work = {"ph": "X", "tid": rows[span.thread], "dur": span.duration_s * 1e6, "args": span.arguments}
                events.append(event | work)
            else:
                wait = event | {"tid": 0, "id": number}
                events.append(wait | {"ph": "b", "args": span.arguments})
                events.append(wait | {"ph": "e", "ts": span.end_s * 1e6})
        return events


class NoTrace(Trace):
    """Records nothing."""

    def span(self, name: str, category: str, **arguments: Any) -> AbstractContextManager[None]:
        """Do nothing."""
        return _NOTHING

    def wait(self, name: str, category: str, **arguments: Any) -> AbstractContextManager[None]:
        """Do nothing."""
        return _NOTHING


_NOTHING = nullcontext()
NO_TRACE = NoTrace()
"""For whoever was given no trace: `self._trace = trace or NO_TRACE`."""
