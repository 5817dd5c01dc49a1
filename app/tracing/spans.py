"""Spans of requests and jobs, for a collector of OpenTelemetry.

Without an endpoint nothing is made and nothing of OpenTelemetry is imported; `configure_tracing` is the only place that
does. The rest of the program tells what has happened to whatever is configured, as it does with metrics.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from app.redaction import make_redactor

if TYPE_CHECKING:
    from app.settings import Settings

logger = logging.getLogger("app.tracing")

Value = str | int | float | bool


@dataclass(frozen=True)
class Span:
    """Something that is over.

    Attributes:
        name: What it was.
        start_s: When it began, in seconds since the epoch.
        end_s: When it ended.
        attributes: Facts about it.
        error: What went wrong, or None.
        parts: Spans within it.
    """

    name: str
    start_s: float
    end_s: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str | None = None
    parts: Sequence[Span] = ()


class OpenSpan(Protocol):
    """A request that is being answered."""

    @property
    def traceparent(self) -> str:
        """What jobs of the request carry."""

    def end(self, name: str, attributes: Mapping[str, Value], error: str | None) -> None:
        """Close it; its name is known only now."""


class SpanSink(Protocol):
    """Takes spans. No method raises an error or waits for the network."""

    def open_request(self, traceparent: str | None) -> OpenSpan:
        """Begin the span of a request, in the trace that its caller names or a new one."""

    def add(self, span: Span, traceparent: str | None) -> None:
        """Add a span and its parts, in the trace that a traceparent names or a new one."""


_sink: SpanSink | None = None


def use_sink(sink: SpanSink | None) -> None:
    """Send the spans of this process there; None sends none."""
    global _sink
    _sink = sink


def configure_tracing(settings: Settings, service: str) -> None:
    """Send the spans of this process where the settings say, if they do.

    Args:
        settings: Gives the endpoint.
        service: Name of this process's role, such as "vlmir-api".
    """
    use_sink(None)
    if not settings.otlp_endpoint:
        return
    try:
        from app.tracing.otel import OtelSink, otlp_exporter
    except ModuleNotFoundError as error:
        logger.warning("no spans are sent: %s is not installed; pip install 'vlmir[otel]'", error.name)
        return
    use_sink(OtelSink(otlp_exporter(settings.otlp_endpoint), service))
    logger.info("spans are sent to %s", make_redactor(())(settings.otlp_endpoint))


def is_tracing() -> bool:
    """Say whether spans are sent at all."""
    return _sink is not None


def open_request(traceparent: str | None) -> OpenSpan | None:
    """Begin the span of a request; None where none are sent."""
    return None if _sink is None else _sink.open_request(traceparent)


def add_span(span: Span, traceparent: str | None) -> None:
    """Add a span that is over."""
    if _sink is not None:
        _sink.add(span, traceparent)


def epoch_s(monotonic_s: float) -> float:
    """Give a moment of this process's monotonic clock in seconds since the epoch."""
    return monotonic_s + time.time() - time.monotonic()
