"""Log set-up: plain lines for people or JSON lines for machines, with the job's id in every record about one.

Records written while a request is answered have its id, too, and the trace that it belongs to.

What a record says may come from anybody: a path, a file's name, the words of a library. So a line has no control
characters, no secrets (`app.redaction`) and a bounded length, whoever wrote the record.

Nothing is configured on import; composition roots call `configure_logging` once.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TextIO

from app.redaction import make_redactor

if TYPE_CHECKING:
    from app.settings import Settings

LONGEST_CHARS = 4096
"""Most characters of a message, or of one value in a JSON line; collectors cut lines at 16 KiB."""
LONGEST_TRACEBACK_CHARS = 4 * LONGEST_CHARS
_LONGEST_ID_CHARS = 128

_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
_request: ContextVar[Mapping[str, str]] = ContextVar("request", default={})  # noqa: B039 - never changed

# What every record has; whatever else is there was given as `extra` and belongs into the JSON line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "job_id", "taskName", "color_message"}

# What ends a line somewhere, moves a cursor, turns the direction of a text, or is no character at all.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

Redactor = Callable[[str], str]


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
    """One JSON object per line: time, level, logger, message, job_id, error, and what was given as `extra`.

    Args:
        redact: Takes secrets out of a text.
    """

    def __init__(self, redact: Redactor | None = None) -> None:
        super().__init__()
        self._redact = redact or make_redactor(())

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
            line["error"] = shorten(self._redact(self.formatException(record.exc_info)), LONGEST_TRACEBACK_CHARS)
        tidy = {name: value if name == "error" else self._tidy(value) for name, value in line.items()}
        return escape(json.dumps(tidy, ensure_ascii=False), as_json=True)

    def _tidy(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(self._tidy(str(name))): self._tidy(item) for name, item in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
            return [self._tidy(item) for item in value]
        return shorten(self._redact(str(value)), LONGEST_CHARS)


class PlainFormatter(logging.Formatter):
    """Time, level, logger and message; in brackets the id of the job, else of the request, where there is one.

    A traceback follows on lines of its own that begin with a bar, so that none of them can pass for a record.

    Args:
        redact: Takes secrets out of a text.
    """

    def __init__(self, redact: Redactor | None = None) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: ", "%H:%M:%S")
        self._redact = redact or make_redactor(())

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, and those of a traceback."""
        record.asctime = self.formatTime(record, self.datefmt)
        message = shorten(self._redact(record.getMessage()), LONGEST_CHARS)
        lines = [escape(self.formatMessage(record) + message + _mark_of(record))]
        if record.exc_info:
            text = shorten(self._redact(self.formatException(record.exc_info)), LONGEST_TRACEBACK_CHARS)
            lines += [f"  | {escape(line)}" for line in text.split("\n")]
        return "\n".join(lines)


def _mark_of(record: logging.LogRecord) -> str:
    job_id, request_id = getattr(record, "job_id", None), getattr(record, "request_id", None)
    if job_id is not None:
        return f" [job {shorten(str(job_id), _LONGEST_ID_CHARS)}]"
    return "" if request_id is None else f" [request {shorten(str(request_id), _LONGEST_ID_CHARS)}]"


def escape(text: str, *, as_json: bool = False) -> str:
    r"""Write control characters, ends of lines and marks of direction as escapes: one line that shows what is there.

    Args:
        text: Any text.
        as_json: Whether the text is a JSON document, whose escapes differ (`\u009b` and not `\x9b`).
    """

    def write(match: re.Match[str]) -> str:
        code = ord(match[0])
        return f"\\u{code:04x}" if as_json or code > 0xFF else f"\\x{code:02x}"

    return _UNSAFE.sub(write, text)


def shorten(text: str, most: int) -> str:
    """Give at most so many characters of a text, and how many are left out: beginning and end tell the most."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... ({len(text) - 2 * half} characters left out) ... {text[-half:]}"


def without_query(record: logging.LogRecord) -> bool:
    """Leave out what stands behind the ? of a path in a record of the web server: it may hold what signs a URL.

    A filter for the logger `uvicorn.access`; it keeps every record.
    """
    if isinstance(record.args, tuple) and len(record.args) == 5:
        client, method, path, version, status = record.args
        bare, mark, _ = str(path).partition("?")
        record.args = (client, method, bare + ("?..." if mark else ""), version, status)
    return True


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send all records of this process to one stream, replacing earlier set-ups.

    Args:
        settings: Gives the level, whether lines are JSON, and what must not be in them.
        stream: Where lines go; None means standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    redact = make_redactor(settings.secrets())
    handler.setFormatter(JsonFormatter(redact) if settings.log_json else PlainFormatter(redact))
    handler.addFilter(JobIdFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # Loggers of the web server come with handlers of their own, which would write every line twice.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    access = logging.getLogger("uvicorn.access")
    if without_query not in access.filters:
        access.addFilter(without_query)
    # One line per outgoing request is noise at the level of this service.
    for name in ("httpx", "httpcore", "urllib3", "filelock"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # Tells every tag of a photo, names and places among them, at the level of debug.
    logging.getLogger("PIL").setLevel(max(logging.INFO, root.level))
    # The form parser warns of every broken form; the API answers those with a problem document already.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
