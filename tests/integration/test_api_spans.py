"""Spans of a request and its job, by OpenTelemetry's SDK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.api.app import create_app
from app.settings import Settings
from app.tracing.spans import configure_tracing, is_tracing, use_sink
from app.worker.courier import Courier
from app.worker.held import HeldJob
from app.worker.outcomes import Outcomes
from app.worker.spans import trace_job
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api

otel = pytest.importorskip("app.tracing.otel")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

pytestmark = pytest.mark.anyio
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    def __init__(self) -> None:
        self.exporter = memory.InMemorySpanExporter()
        self.sink = otel.OtelSink(self.exporter, "vlmir-test")

    def spans(self) -> dict[str, list]:
        self.sink.flush()
        found: dict[str, list] = {}
        for span in self.exporter.get_finished_spans():
            found.setdefault(span.name, []).append(span)
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    use_sink(made.sink)
    yield made
    use_sink(None)


async def test_request_wait_job_and_steps_are_one_trace(redis_url: str, namespace: str, collector: Collector) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        await client.get("/healthz")
        await client.post("/restore", content=samples.png(), headers=headers)
        (claim,) = await services.queue.claim("ada", 1, 0)
        held = HeldJob(claim, model="tiny")
        courier = Courier(services.queue, 60, lambda: None)
        outcomes = Outcomes(services.queue, courier, {}, lambda: None, lambda claim: None)
        held.steps_total = 2
        for step in range(3):
            held.step = step
            courier.report(held)
        await outcomes.settle(held, "failed", lambda claim: services.queue.fail(claim, "x", "no"), code="x")
    spans = collector.spans()
    assert sorted((name, len(found)) for name, found in spans.items()) == [
        ("POST /restore", 1),
        ("deliver", 1),
        ("job", 1),
        ("prepare", 1),
        ("queue wait", 1),
        ("step", 2),
    ]
    every = [span for found in spans.values() for span in found]
    assert {f"{span.context.trace_id:032x}" for span in every} == {TRACE}
    (request,), (job,), (wait,) = spans["POST /restore"], spans["job"], spans["queue wait"]
    assert f"{request.parent.span_id:016x}" == CALLER
    assert job.parent.span_id == wait.parent.span_id == request.context.span_id
    assert all(span.parent.span_id == job.context.span_id for span in (*spans["step"], *spans["prepare"]))
    assert [span.attributes["vlmir.step"] for span in spans["step"]] == [1, 2]
    assert wait.end_time == job.start_time == spans["prepare"][0].start_time
    assert job.start_time <= spans["step"][0].start_time <= spans["step"][1].end_time <= job.end_time
    assert (job.attributes["vlmir.outcome"], job.status.is_ok, job.status.description) == ("failed", False, "x")
    assert request.attributes["http.response.status_code"] == 202


async def test_trace_begins_with_the_request_where_the_caller_has_none(
    redis_url: str, namespace: str, collector: Collector
) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        job = (await client.post("/restore", content=samples.png())).json()
        await client.get("/jobs/nothing")
    (request,) = collector.spans()["POST /restore"]
    assert request.parent is None
    assert job["traceparent"][:-2] == f"00-{request.context.trace_id:032x}-{request.context.span_id:016x}-"
    (missing,) = collector.spans()["GET /jobs/{job_id}"]
    assert missing.status.is_unset


async def test_nothing_is_told_where_nobody_listens(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        await client.post("/restore", content=samples.png())
        (claim,) = await services.queue.claim("ada", 1, 0)
        trace_job(HeldJob(claim), "succeeded", None)
    assert not is_tracing()


def test_sdk_is_imported_only_with_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys\nfrom app.api.app import create_app\nfrom app.settings import Settings\n"
        "from app.tracing.spans import configure_tracing\nimport app.worker.spans\n"
        "settings = Settings(redis_url='redis://127.0.0.1:1', otlp_endpoint='')\n"
        "configure_tracing(settings, 'x'); create_app(settings)\n"
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'app.tracing.otel')\n"  # redis-py takes others
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    settings = Settings(redis_url="redis://127.0.0.1:1")
    assert settings.otlp_endpoint == "http://127.0.0.1:1"
    create_app(settings)
    assert not is_tracing()  # composition roots decide, not the app
    configure_tracing(settings, "vlmir-test")
    assert is_tracing()
    use_sink(None)


def test_missing_package_is_named_and_the_service_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "app.tracing.otel")
    configure_tracing(Settings(otlp_endpoint="http://127.0.0.1:1"), "vlmir-test")
    assert not is_tracing()
    assert "vlmir[otel]" in caplog.text
