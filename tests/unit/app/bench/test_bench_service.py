"""What a large job must lose by work, tiles as the pipeline cuts them, memory as the worker's metrics say."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
import torch

from app.bench import service
from app.bench.arrivals import Arrival, Latency
from app.bench.memory import MemoryWatch, read_memory
from app.bench.service import Company
from app.bench.work import count_tiles
from app.jobs.job import JobState
from app.metrics import WORKER, render, serve_worker_metrics
from model.config import load_config
from model.pipeline import Restorer


def test_a_slowdown_is_held_against_the_work_of_both() -> None:
    company = Company(
        idle=Latency("512", 10, 1.0, 2.0, 2.0),
        beside=Latency("512", 10, 1.5, 3.0, 3.0),
        large_alone_s=100.0,
        large_beside_s=132.0,
        large_tile_steps=1000,
        small_tile_steps=200,
    )
    assert company.small_ratio == 1.5
    assert company.slowdown == pytest.approx(1.32)
    assert company.slowdown_by_work == pytest.approx(1.2)
    assert company.excess == pytest.approx(0.1)


def test_tiles_are_counted_as_the_pipeline_cuts_them() -> None:
    restorer = Restorer.random(load_config("tiny"))
    for width, height in ((64, 64), (20, 30), (65, 64), (200, 150)):
        image = torch.rand(1, 3, height, width)
        state = restorer.begin(image, restorer.analyze(image, caption="a dog"), steps=1)
        assert count_tiles(restorer.config, (width, height)) == state.tiles


def test_memory_is_read_from_a_workers_metrics(free_port: int) -> None:
    assert read_memory("# nothing\n") == 0
    own_bytes = read_memory(render(WORKER)[0].decode())
    close = serve_worker_metrics(free_port, "127.0.0.1")
    try:
        with MemoryWatch(f"http://127.0.0.1:{free_port}/metrics") as watch:
            pass
    finally:
        close()
    assert watch.largest_bytes == pytest.approx(own_bytes, rel=0.2)
    assert watch.largest_bytes > 2**24


def test_a_worker_without_metrics_is_no_error(free_port: int) -> None:
    with MemoryWatch(f"http://127.0.0.1:{free_port}/metrics") as watch:
        pass
    assert watch.largest_bytes == 0


class SlowService:
    """In place of a client: takes photos when it is told to, and knows who waits for jobs too early."""

    def __init__(self, expected: int) -> None:
        self.expected, self.taken = expected, 0
        self.open = threading.Event()

    def __enter__(self) -> SlowService:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, photo: bytes) -> SimpleNamespace:
        self.open.wait()
        self.taken += 1
        return SimpleNamespace(id=str(self.taken))

    def wait(self, job_id: str, timeout_s: float) -> SimpleNamespace:
        assert self.taken == self.expected, "a job was waited for before all photos were sent"
        times = {"created_at": "2026-01-01T00:00:00+00:00", "finished_at": "2026-01-01T00:00:01+00:00"}
        return SimpleNamespace(state=JobState.SUCCEEDED, document={"timings": times})


def test_an_open_loop_counts_from_the_planned_moment_and_waits_for_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = [Arrival(-50.0, "thumbnail"), Arrival(-40.0, "thumbnail"), Arrival(-30.0, "thumbnail")]
    client, pauses = SlowService(len(arrivals)), []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == len(arrivals):
            client.open.set()

    monkeypatch.setattr(service, "VlmirClient", lambda url: client)
    monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    monkeypatch.setattr(service, "_SENDERS", 1)
    load = service.open_loop("http://service", arrivals, "late")
    (latency,) = load.latencies
    assert load.succeeded == latency.count == 3
    assert latency.p50_s >= 40 + 1
    assert latency.p99_s >= 50 + 1
    assert load.held_up >= 1  # the second one met a busy sender; the third may have
