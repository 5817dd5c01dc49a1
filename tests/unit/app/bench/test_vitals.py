"""Processes are watched: what they fill, and that another one took their place."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app.bench.vitals import Sign, VitalsWatch, can_see_processes, cpu_seconds, read_sign, watch_children, watch_metrics

METRICS = """# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes {bytes}
# TYPE process_start_time_seconds gauge
process_start_time_seconds {started}
"""
# Says a word when it is ready; with a line on its input it fills memory, gives it back and says so.
GREEDY = "print('ready', flush=True); input(); block = b'1' * 60_000_000; del block; print('done', flush=True); input()"


def watch(*looks: dict[str, Sign]) -> VitalsWatch:
    """A watch that has seen these looks, the first on entering; the last one is seen again at the end."""
    left = list(looks)
    seen_all = threading.Event()

    def look() -> dict[str, Sign]:
        if len(left) == 1:
            seen_all.set()
            return left[0]
        return left.pop(0)

    with VitalsWatch(look) as watching:
        assert seen_all.wait(30)
    return watching


def test_growth_restarts_and_ends_are_told() -> None:
    seen = watch(
        {"API": Sign(1, 100, 100), "worker": Sign(2, 1000, 5000)},
        {"API": Sign(1, 300, 350), "worker": Sign(2, 900, 1000)},
        {"API": Sign(1, 200, 350)},
        {"API": Sign(1, 200, 350), "worker": Sign(3, 500, 500)},
        {"API": Sign(1, 200, 350), "worker": Sign(4, 400, 400)},
    ).seen
    api, worker = seen["API"], seen["worker"]
    assert (api.first_bytes, api.largest_bytes, api.last_bytes, api.growth_bytes) == (100, 350, 200, 250)
    assert (api.restarts, api.is_gone) == (0, False)
    assert (worker.restarts, worker.is_gone, worker.last_bytes) == (2, False, 400)
    gone = watch({"API": Sign(1, 100, 100)}, {}).seen["API"]
    assert (gone.is_gone, gone.last_bytes, gone.restarts) == (True, 0, 0)


@pytest.mark.skipif(not can_see_processes(), reason="needs the books of Linux")
def test_children_are_seen_with_their_peaks_and_successors() -> None:
    with child() as first, watch_children(os.getpid()) as watching:
        say(first, "go", "done")
        watching.note()
        first.kill()
        first.wait()
        with child() as second:
            watching.note()
            second.kill()
            second.wait()
    worker = watching.seen["worker"]
    assert worker.growth_bytes > 50_000_000
    assert (worker.restarts, worker.is_gone) == (1, True)


def test_metrics_are_read_and_their_absence_is_noted() -> None:
    sign = read_sign(METRICS.format(bytes="1.5e+06", started="12.25"))
    assert sign == Sign(12.25, 1_500_000, 1_500_000)
    with pytest.raises(KeyError):
        read_sign("# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1\n")
    with serving() as (url, numbers):
        with watch_metrics({"API": url, "worker": "http://127.0.0.1:1/metrics"}, {"X-Test": "yes"}) as watching:
            numbers["bytes"], numbers["started"] = 50, 2
        numbers["bytes"] = 10
    assert list(watching.seen) == ["API"]  # what does not answer at first cannot be watched
    api = watching.seen["API"]
    assert (api.first_bytes, api.largest_bytes, api.restarts, api.is_gone) == (20, 50, 1, False)


def test_processor_time_of_a_process_is_read() -> None:
    if can_see_processes():
        before = cpu_seconds(os.getpid())
        assert before > 0
        sum(number * number for number in range(2_000_000))
        assert cpu_seconds(os.getpid()) > before
    assert cpu_seconds(2**22 + 1) == 0.0  # beyond the largest number of a process


@contextmanager
def child() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", GREEDY, "worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str], word: str, answer: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    assert process.stdout.readline() == f"{answer}\n"


@contextmanager
def serving() -> Iterator[tuple[str, dict[str, int]]]:
    """A server of metrics and the numbers that it shows."""
    numbers = {"bytes": 20, "started": 1}

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["X-Test"] == "yes" else 401)
            self.end_headers()
            self.wfile.write(METRICS.format(**numbers).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics", numbers
        finally:
            server.shutdown()
            thread.join()
