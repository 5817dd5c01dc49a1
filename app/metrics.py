"""Every Prometheus collector of the service and the functions that record into them.

Two registries, one per role, so that an API process does not show a worker's zeros. Labels are bounded: never a job,
a tenant or a path with an id in it. Nothing here knows Redis or torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    make_wsgi_app,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from app.pulse import PULSE, with_probes

API = CollectorRegistry()
"""What an API process shows."""
WORKER = CollectorRegistry()
"""What a worker process shows."""

for _registry in (API, WORKER):
    ProcessCollector(registry=_registry)
    PlatformCollector(registry=_registry)
    GCCollector(registry=_registry)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_BYTES = tuple(float(4**power) for power in range(5, 15))  # 1 KiB to 256 MiB
_TILES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)

_http_requests = Counter("vlmir_http_requests", "Answered HTTP requests.", ("method", "route", "status"), registry=API)
_http_seconds = Histogram(
    "vlmir_http_request_seconds",
    "Time from request to the end of its answer.",
    ("method", "route"),
    buckets=_SECONDS,
    registry=API,
)
_submitted = Counter("vlmir_jobs_submitted", "Accepted jobs.", ("priority", "model"), registry=API)
_refused = Counter("vlmir_jobs_refused", "Photos that were not accepted, by error code.", ("code",), registry=API)
_upload_bytes = Histogram("vlmir_upload_bytes", "Size of accepted photos.", buckets=_BYTES, registry=API)
_queued = Gauge("vlmir_jobs_queued", "Jobs waiting for a worker.", ("priority",), registry=API)
_workers = Gauge("vlmir_workers", "Workers that gave a sign of life lately.", ("ready",), registry=API)
_webhooks = Counter("vlmir_webhooks", "Tries to send webhooks, by how they ended.", ("outcome",), registry=API)
_queue_up = Gauge("vlmir_queue_up", "1 while the queue answers, else 0.", registry=API)

_ready = Gauge("vlmir_worker_ready", "1 once all models are loaded and warm, else 0.", registry=WORKER)
_held = Gauge("vlmir_jobs_held", "Jobs that this worker holds.", registry=WORKER)
_claimed = Counter("vlmir_jobs_claimed", "Jobs taken from the queue.", ("priority", "redelivered"), registry=WORKER)
_ended = Counter("vlmir_jobs_ended", "Attempts by how they ended.", ("outcome", "model"), registry=WORKER)
_failed = Counter("vlmir_jobs_failed", "Failed attempts by error code.", ("code",), registry=WORKER)
_stale_commits = Counter(
    "vlmir_stale_commits",
    "Outcomes that the queue refused, because another worker has the job or it is over.",
    registry=WORKER,
)
_wait_seconds = Histogram(
    "vlmir_job_wait_seconds", "Time from acceptance to the first claim.", buckets=_SECONDS, registry=WORKER
)
_job_seconds = Histogram(
    "vlmir_job_seconds",
    "Time from claim to the end of an attempt.",
    ("outcome", "model"),
    buckets=_SECONDS,
    registry=WORKER,
)
_megapixels = Counter("vlmir_restored_megapixels", "Size of all restored photos.", ("model",), registry=WORKER)
_forward_seconds = Histogram(
    "vlmir_forward_seconds", "Time of one network forward.", ("model",), buckets=_SECONDS, registry=WORKER
)
_forward_tiles = Histogram(
    "vlmir_forward_tiles", "Tiles of photos in one network forward.", ("model",), buckets=_TILES, registry=WORKER
)
_padded = Counter("vlmir_padded_tiles", "Empty places in network forwards.", ("model",), registry=WORKER)
_steps = Counter("vlmir_steps", "Finished diffusion steps of whole photos.", ("model",), registry=WORKER)
_memory_splits = Counter("vlmir_memory_splits", "Batches halved because the device was full.", registry=WORKER)

_preview_bytes = Histogram(
    "vlmir_preview_bytes", "Size of previews sent to those who listen to a job.", buckets=_BYTES[:4], registry=WORKER
)

OUTCOMES = ("succeeded", "failed", "canceled", "handed_back", "lost")
"""How an attempt may end; lost means that another worker has it now."""


def record_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request.

    Args:
        method: HTTP method.
        route: Template of the route, such as "/jobs/{job_id}", or "other" without one.
        status: HTTP status of the answer.
        seconds: Time it took.
    """
    _http_requests.labels(method, route, str(status)).inc()
    _http_seconds.labels(method, route).observe(seconds)


def record_submitted(priority: str, input_bytes: int, model: str) -> None:
    """Count an accepted job, by the name of its model, and the size of its photo."""
    _submitted.labels(priority, model).inc()
    _upload_bytes.observe(input_bytes)


def record_refused(code: str) -> None:
    """Count a photo that was not accepted, by the code of its error."""
    _refused.labels(code).inc()


def record_webhook(outcome: str) -> None:
    """Count a try to send a webhook: delivered, retry, failed, disabled, or release when it was broken off."""
    _webhooks.labels(outcome).inc()


def record_queue(depth: Mapping[str, int] | None, ready_workers: int = 0, other_workers: int = 0) -> None:
    """Show the state of the queue, as of this scrape.

    Args:
        depth: Queued jobs per priority, or None while the queue does not answer.
        ready_workers: Workers that are ready.
        other_workers: Workers that are starting or stopping.
    """
    _queue_up.set(0 if depth is None else 1)
    if depth is None:
        _queued.clear()  # no figure is better than an old one
        _workers.clear()
        return
    for priority, count in depth.items():
        _queued.labels(priority).set(count)
    _workers.labels("true").set(ready_workers)
    _workers.labels("false").set(other_workers)


def record_ready(is_ready: bool) -> None:
    """Show whether all models are loaded and warm."""
    _ready.set(1 if is_ready else 0)
    PULSE.is_ready = is_ready


def record_held(count: int) -> None:
    """Show how many jobs this worker holds."""
    _held.set(count)


def record_claimed(priority: str, attempt: int, wait_s: float) -> None:
    """Count a claim.

    Args:
        priority: Stream from which it came.
        attempt: Attempt number, 1 for the first.
        wait_s: Seconds since the job was accepted.
    """
    _claimed.labels(priority, "true" if attempt > 1 else "false").inc()
    if attempt == 1:
        _wait_seconds.observe(max(0.0, wait_s))


def record_ended(
    outcome: str, seconds: float, *, megapixels: float = 0.0, code: str | None = None, model: str = ""
) -> None:
    """Count the end of an attempt.

    Args:
        outcome: One of `OUTCOMES`.
        seconds: Time since the claim.
        megapixels: Size of the restored photo in millions of pixels.
        code: Error code of a failed attempt.
        model: Name of the model that worked on it; empty when this worker does not have the one asked for.

    Raises:
        ValueError: The outcome is not one of `OUTCOMES`.
    """
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome is {outcome!r}; expected one of {', '.join(OUTCOMES)}")
    _ended.labels(outcome, model).inc()
    _job_seconds.labels(outcome, model).observe(seconds)
    if outcome == "succeeded":
        _megapixels.labels(model).inc(megapixels)
    if code is not None:
        _failed.labels(code).inc()


def record_stale_commit() -> None:
    """Count an outcome that the queue refused, because another worker has the job or it is over."""
    _stale_commits.inc()


def record_forward(tiles: int, padded: int, seconds: float, model: str = "") -> None:
    """Count one network forward.

    Args:
        tiles: Tiles of photos in it.
        padded: Empty places added to reach an even batch size.
        seconds: Time it took.
        model: Name of the model.
    """
    _forward_seconds.labels(model).observe(seconds)
    _forward_tiles.labels(model).observe(tiles)
    _padded.labels(model).inc(padded)


def record_step(model: str = "") -> None:
    """Count a finished diffusion step of a whole photo, by the name of the model."""
    _steps.labels(model).inc()


def record_preview(size_bytes: int) -> None:
    """Count a preview that was sent, and its size."""
    _preview_bytes.observe(size_bytes)


def record_memory_split() -> None:
    """Count a batch that was halved because the device was full."""
    _memory_splits.inc()


def render(registry: CollectorRegistry) -> tuple[bytes, str]:
    """Give a registry in Prometheus' text format, and the media type of that."""
    return generate_latest(registry), CONTENT_TYPE_LATEST


class PortTakenError(Exception):
    """Nobody can scrape this worker: it cannot listen on its port."""


def serve_worker_metrics(port: int, host: str = "0.0.0.0") -> Callable[[], None]:  # noqa: S104 - scraped from outside
    """Answer scrapes of this worker on a port, from a daemon thread, and `/healthz` and `/readyz` of `app.pulse`.

    Returns:
        A function that stops answering.

    Raises:
        PortTakenError: It cannot listen there.
    """
    try:
        server, thread = start_http_server(port, addr=host, registry=WORKER)
    except OSError as error:
        raise PortTakenError(
            f"the worker cannot answer scrapes on port {port} ({error.strerror or error}): stop the program that "
            "listens there, or set VLMIR_METRICS_PORT to another port, 0 for none"
        ) from error
    server.set_app(with_probes(make_wsgi_app(WORKER)))

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
