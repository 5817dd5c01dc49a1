"""Log set-up: plain lines for people or JSON lines for machines, with the job's id in every record about one.

Records written while a request is answered have its id, too, and the trace that it belongs to.

Nothing is configured on import; composition roots call `configure_logging` once.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from app.settings import Settings

_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
_request: ContextVar[Mapping[str, str]] = ContextVar("request", default={})  # noqa: B039 - never changed

# What every record has; whatever else is there was given as `extra` and belongs into the JSON line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "job_id", "taskName", "color_message"}


@contextmanager
def job_context(job_id: str) -> Iterator[None]:
    """Put the job's id into every record that this task writes inside the block."""
    token = _job_id.set(job_id)
    try:
        yield
    finally:
        _job_id.reset(token)


@contextmanager
def request_context(request_id: str, trace_id: str | None = None) -> Iterator[None]:
    """Put a request's id, and its trace if it has one, into every record that this task writes inside the block."""
    token = _request.set({"request_id": request_id} | ({} if trace_id is None else {"trace_id": trace_id}))
    try:
        yield
    finally:
        _request.reset(token)


class JobIdFilter(logging.Filter):
    """Adds `job_id` to a record: the one given as `extra`, else that of the context, else None; a request's id too."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record."""
        if getattr(record, "job_id", None) is None:
            record.job_id = _job_id.get()
        for name, value in _request.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, job_id, error, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        job_id = getattr(record, "job_id", None)
        if job_id is not None:
            line["job_id"] = job_id
        line.update({name: value for name, value in vars(record).items() if name not in _STANDARD})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """Time, level, logger and message; in brackets the id of the job, else of the request, where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Give the line without a traceback."""
        text = super().formatMessage(record)
        job_id = getattr(record, "job_id", None)
        if job_id is not None:
            return f"{text} [job {job_id}]"
        request_id = getattr(record, "request_id", None)
        return f"{text} [request {request_id}]" if request_id is not None else text


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send all records of this process to one stream, replacing earlier set-ups.

    Args:
        settings: Gives the level and whether lines are JSON.
        stream: Where lines go; None means standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_json else PlainFormatter())
    handler.addFilter(JobIdFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # Loggers of the web server come with handlers of their own, which would write every line twice.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # One line per outgoing request is noise at the level of this service.
    for name in ("httpx", "httpcore", "urllib3", "filelock"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # The form parser warns of every broken form; the API answers those with a problem document already.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
