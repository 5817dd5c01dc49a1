from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from app.logs import configure_logging, job_context
from app.settings import Settings

logger = logging.getLogger("app.test")


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line_has_job_id_of_the_context_and_extra() -> None:
    stream = io.StringIO()
    configure_logging(Settings(log_json=True), stream)
    with job_context("abc"):
        logger.info("step %d", 3, extra={"steps_total": 8})
    logger.info("idle")
    first, second = lines(stream)
    assert first["message"] == "step 3"
    assert first["level"] == "info"
    assert first["job_id"] == "abc"
    assert first["steps_total"] == 8
    assert "job_id" not in second


def test_json_line_carries_the_traceback_on_one_line() -> None:
    stream = io.StringIO()
    configure_logging(Settings(log_json=True), stream)
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logger.exception("failed")
    (line,) = lines(stream)
    assert "RuntimeError: boom" in str(line["error"])


def test_plain_line_ends_with_the_job() -> None:
    stream = io.StringIO()
    configure_logging(Settings(), stream)
    with job_context("abc"):
        logger.warning("slow")
    assert stream.getvalue().endswith("WARNING app.test: slow [job abc]\n")


def test_level_is_obeyed_and_set_up_twice_writes_once() -> None:
    stream = io.StringIO()
    for _ in range(2):
        configure_logging(Settings(log_level="warning", log_json=True), stream)
    logger.info("hidden")
    logging.getLogger("uvicorn.error").warning("shown")
    assert [line["message"] for line in lines(stream)] == ["shown"]
