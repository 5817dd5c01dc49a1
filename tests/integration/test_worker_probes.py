"""A real worker is asked what Kubernetes asks: alive at once, ready once it is warm, gone after SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Callable

import httpx
import pytest

from tests.support.roles import answer_of, wait_until
from tests.support.workers import start_worker_process

pytestmark = pytest.mark.slow


def answered(url: str, status: int) -> Callable[[], bool]:
    def ask() -> bool:
        answer: httpx.Response | None = answer_of(url)
        return answer is not None and answer.status_code == status

    return ask


def test_worker_is_alive_before_it_is_ready(redis_url: str, namespace: str, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    process = start_worker_process(redis_url, namespace, METRICS_PORT=str(free_port))
    try:
        wait_until(answered(f"{url}/healthz", 200))
        wait_until(answered(f"{url}/readyz", 200))
        metrics = httpx.get(f"{url}/metrics", timeout=30).text
        assert "vlmir_worker_ready 1.0" in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
