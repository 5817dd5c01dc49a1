from __future__ import annotations

import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from app import metrics


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_requests_are_counted_by_route() -> None:
    before = value(metrics.API, "vlmir_http_requests_total", method="GET", route="/jobs/{job_id}", status="200") or 0
    metrics.record_request("GET", "/jobs/{job_id}", 200, 0.01)
    after = value(metrics.API, "vlmir_http_requests_total", method="GET", route="/jobs/{job_id}", status="200")
    assert after == before + 1


def test_queue_gauges_vanish_while_the_queue_is_away() -> None:
    metrics.record_queue({"interactive": 3, "batch": 1}, ready_workers=2, other_workers=1)
    assert value(metrics.API, "vlmir_jobs_queued", priority="interactive") == 3
    assert value(metrics.API, "vlmir_workers", ready="true") == 2
    metrics.record_queue(None)
    assert value(metrics.API, "vlmir_jobs_queued", priority="interactive") is None
    assert value(metrics.API, "vlmir_queue_up") == 0


def test_unknown_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="outcome is 'vanished'; expected one of"):
        metrics.record_ended("vanished", 1.0)


def test_failed_attempts_are_counted_by_code() -> None:
    metrics.record_ended("failed", 1.0, code="worker_lost")
    assert value(metrics.WORKER, "vlmir_jobs_failed_total", code="worker_lost")


def test_work_is_counted_by_model() -> None:
    before = value(metrics.WORKER, "vlmir_steps_total", model="night") or 0
    metrics.record_step("night")
    metrics.record_ended("succeeded", 1.0, megapixels=2.0, model="night")
    assert value(metrics.WORKER, "vlmir_steps_total", model="night") == before + 1
    assert value(metrics.WORKER, "vlmir_jobs_ended_total", outcome="succeeded", model="night")
    assert value(metrics.WORKER, "vlmir_restored_megapixels_total", model="night") == 2
    metrics.record_submitted("batch", 10, "night")
    assert value(metrics.API, "vlmir_jobs_submitted_total", priority="batch", model="night") == 1


def test_only_the_first_attempt_counts_as_waiting() -> None:
    before = value(metrics.WORKER, "vlmir_job_wait_seconds_count") or 0
    metrics.record_claimed("batch", 2, 5.0)
    metrics.record_claimed("batch", 1, -0.1)  # clocks of two machines
    assert value(metrics.WORKER, "vlmir_job_wait_seconds_count") == before + 1


def test_names_have_the_prefix_and_roles_do_not_mix() -> None:
    metrics.record_forward(6, 2, 0.1)
    own = ("vlmir_", "python_", "process_", "#")
    for registry in (metrics.API, metrics.WORKER):
        body, media_type = metrics.render(registry)
        assert media_type.startswith("text/plain")
        assert all(line.startswith(own) for line in body.decode().splitlines())
    assert b"vlmir_forward_tiles" not in metrics.render(metrics.API)[0]


def test_worker_metrics_are_served_over_http(free_port: int) -> None:
    close = metrics.serve_worker_metrics(free_port, host="127.0.0.1")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=5) as answer:
            assert b"vlmir_worker_ready" in answer.read()
    finally:
        close()
