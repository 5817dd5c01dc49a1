"""Memory of a worker while it works, as its own metrics tell."""

from __future__ import annotations

import threading
from types import TracebackType

import httpx
from prometheus_client.parser import text_string_to_metric_families

_GAUGE = "process_resident_memory_bytes"
_EVERY_S = 0.25


class MemoryWatch:
    """Asks a worker's metrics for its resident memory four times a second; use it as a context manager.

    What lies between two looks is not seen, so this is a lower bound of the peak.

    Args:
        url: Of the worker's metrics, such as "http://127.0.0.1:9100/metrics".
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self.largest_bytes = 0
        """Most memory seen so far; 0 while the metrics have not answered."""

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with httpx.Client(timeout=5) as client:
            while True:
                try:
                    answer = client.get(self._url)
                    self.largest_bytes = max(self.largest_bytes, read_memory(answer.text))
                except (httpx.HTTPError, ValueError):
                    pass  # a worker that starts anew has no metrics for a moment
                if self._stop.wait(_EVERY_S):
                    return


def read_memory(text: str) -> int:
    """Give the resident memory in bytes from metrics in Prometheus' text format; 0 where they have none."""
    for family in text_string_to_metric_families(text):
        if family.name == _GAUGE:
            return int(family.samples[0].value)
    return 0
