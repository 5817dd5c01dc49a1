"""Spans by OpenTelemetry's SDK. Imported only where an endpoint is configured."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.tracing.spans import Span, Value

_PATH = "/v1/traces"
_PROPAGATOR = TraceContextTextMapPropagator()


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Give what sends spans by OTLP over HTTP.

    Args:
        endpoint: Address of a collector, such as http://collector:4318.
    """
    base = endpoint.rstrip("/")
    return OTLPSpanExporter(endpoint=base if base.endswith(_PATH) else base + _PATH)


class OtelSink:
    """Gives spans to an exporter, in the background, and what is left when the process ends.

    Args:
        exporter: Where they go.
        service: `service.name` of this process.
    """

    def __init__(self, exporter: SpanExporter, service: str) -> None:
        # Not the global provider: that belongs to whoever embeds this program.
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("vlmir")

    def open_request(self, traceparent: str | None) -> OtelRequest:
        """Begin the span of a request; see `app.tracing.spans.SpanSink`."""
        return OtelRequest(self._tracer.start_span("request", _parent(traceparent), SpanKind.SERVER))

    def add(self, span: Span, traceparent: str | None) -> None:
        """Add a span and its parts; see `app.tracing.spans.SpanSink`."""
        self._add(span, _parent(traceparent), SpanKind.CONSUMER)

    def flush(self) -> None:
        """Send what is left now."""
        self._provider.force_flush()

    def _add(self, span: Span, parent: Context, kind: SpanKind) -> None:
        made = self._tracer.start_span(
            span.name, parent, kind, attributes=dict(span.attributes), start_time=_ns(span.start_s)
        )
        for part in span.parts:
            self._add(part, trace.set_span_in_context(made, parent), SpanKind.INTERNAL)
        if span.error is not None:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(_ns(span.end_s))


class OtelRequest:
    """The span of a request. Made by `OtelSink.open_request`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """What jobs of the request carry."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span, Context()))
        return carrier["traceparent"]

    def end(self, name: str, attributes: Mapping[str, Value], error: str | None) -> None:
        """Close it."""
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


def _parent(traceparent: str | None) -> Context:
    # An empty context and not the current one, so that nothing else in the process becomes the parent.
    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return _PROPAGATOR.extract(carrier, Context())


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
