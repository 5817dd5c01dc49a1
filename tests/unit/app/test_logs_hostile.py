"""Log lines hold whatever records say: one line each, bounded, without control characters or secrets."""

from __future__ import annotations

import io
import json
import logging
import re
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.logs import LONGEST_CHARS, LONGEST_TRACEBACK_CHARS, configure_logging, escape, job_context, request_context
from app.settings import Settings

logger = logging.getLogger("app.hostile")

# Whatever a caller may get into a record: line ends and terminal codes among ordinary characters, halves of pairs too.
texts = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from('\r\n\t\x0b\x0c\x00\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\ufeff\ud800"\\'),
    ),
    max_size=60,
)
PLAIN = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) +[\w.]+: .*")


@pytest.fixture(autouse=True, scope="module")
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(text: str, *, log_json: bool, error: bool) -> str:
    """What is written for a record whose every part a caller has chosen."""
    stream = io.StringIO()
    configure_logging(Settings(log_json=log_json, log_level="debug"), stream)
    with job_context(text or "job"), request_context(text or "request"):
        if error:
            try:
                raise ValueError(text)
            except ValueError:
                logger.exception("%s", text, extra={"file": text, "more": {text or "name": [text]}})
        else:
            logger.info("%s", text, extra={"file": text, "more": {text or "name": [text]}})
    return stream.getvalue()


@settings(max_examples=150, deadline=None)
@given(text=texts, log_json=st.booleans(), error=st.booleans())
def test_no_text_breaks_a_line(text: str, log_json: bool, error: bool) -> None:
    output = written(text, log_json=log_json, error=error)
    assert output.endswith("\n")
    lines = output[:-1].split("\n")
    for line in lines:
        assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in line)
        assert line.splitlines() == [line]
        line.encode("utf-8")
    if log_json:
        (line,) = lines
        record = json.loads(line)
        assert record["file"] == text  # nothing is lost, it is only written otherwise
        assert record["message"] == text
    else:
        assert PLAIN.fullmatch(lines[0])
        assert all(line.startswith("  | ") for line in lines[1:])
        assert (len(lines) > 1) == error


@pytest.mark.parametrize("log_json", [False, True])
def test_forged_record_is_part_of_the_line_it_came_in(log_json: bool) -> None:
    forged = '\n12:00:00 ERROR   app.worker: all is lost\r\n{"level": "error", "message": "all is lost"}\x1b[2K'
    output = written(forged, log_json=log_json, error=False)
    assert output.count("\n") == 1
    assert ("\\n12:00:00 ERROR" if log_json else "\\x0a12:00:00 ERROR") in output
    assert "\x1b" not in output


@pytest.mark.parametrize("log_json", [False, True])
def test_long_values_are_cut(log_json: bool) -> None:
    output = written("begin" + "x" * 1_000_000 + "end", log_json=log_json, error=True)
    assert len(output) < LONGEST_TRACEBACK_CHARS + 10 * LONGEST_CHARS
    assert "begin" in output
    assert "end" in output
    assert "characters left out" in output


@pytest.mark.parametrize("log_json", [False, True])
def test_secrets_of_settings_are_not_written(log_json: bool) -> None:
    stream = io.StringIO()
    configure_logging(Settings(log_json=log_json, redis_url='redis://:pa"ss\\wörd@host/0'), stream)
    word = 'pa"ss\\wörd'
    try:
        raise ConnectionError(f"cannot reach redis://:{word}@host")
    except ConnectionError:
        logger.exception("failed for %s", word, extra={"url": f"redis://:{word}@host", "all": [word]})
    assert "wörd" not in stream.getvalue()
    assert "w\\u00f6rd" not in stream.getvalue()
    assert "failed for ***" in stream.getvalue()


def test_query_of_a_request_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    access = logging.getLogger("uvicorn.access")
    # As the service has it; a test that ran a server with uvicorn's own settings has changed that.
    for name, value in (("propagate", True), ("handlers", []), ("disabled", False)):
        monkeypatch.setattr(access, name, value)
    access.setLevel(logging.NOTSET)
    configure_logging(Settings(), stream)
    access.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "POST", "/restore?webhook=https://a/?t=secret", "1.1", 202)
    access.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", "/jobs", "1.1", 200)
    first, second = stream.getvalue().splitlines()
    assert '"POST /restore?... HTTP/1.1" 202' in first
    assert '"GET /jobs HTTP/1.1" 200' in second


def test_ordinary_text_is_written_as_it_is() -> None:
    text = "Grüße, 写真 🎞 \\n C:\\temp"
    assert escape(text) == text
    assert escape("a\r\nb\x9b\u2028c") == "a\\x0d\\x0ab\\x9b\\u2028c"
