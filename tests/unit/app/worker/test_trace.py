from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from app.worker.trace import NO_TRACE, Trace


class Clock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_span_holds_start_duration_thread_and_arguments() -> None:
    clock = Clock()
    trace = Trace(clock)
    clock.now_s += 2
    with trace.span("forward", "model", tiles=8):
        clock.now_s += 0.5
    (span,) = trace.spans
    assert (span.name, span.category, span.arguments) == ("forward", "model", {"tiles": 8})
    assert (span.start_s, span.duration_s, span.end_s) == (2, 0.5, 2.5)
    assert span.thread == threading.current_thread().name


def test_work_that_raises_is_in_the_trace_and_its_error_goes_on() -> None:
    trace = Trace(Clock())
    with pytest.raises(ValueError, match="broken"), trace.span("decode", "photo"):
        raise ValueError("broken")
    assert [span.name for span in trace.spans] == ["decode"]


def test_spans_of_many_threads_are_all_kept_and_named(tmp_path: Path) -> None:
    trace = Trace()

    def work() -> None:
        for index in range(50):
            with trace.span("decode", "photo", index=index):
                pass

    threads = [threading.Thread(target=work, name=f"photo_{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace.write(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert sorted(names.values()) == ["photo_0", "photo_1", "photo_2", "photo_3"]
    for row in names:
        mine = [event for event in events if event["ph"] == "X" and event["tid"] == row]
        assert [event["args"]["index"] for event in mine] == list(range(50))


def test_events_are_in_microseconds_in_order_of_their_start(tmp_path: Path) -> None:
    clock = Clock()
    trace = Trace(clock)
    with trace.span("step", "model"):
        clock.now_s += 1
        with trace.span("forward", "model"):
            clock.now_s += 0.25
    trace.write(tmp_path / "trace.json")
    events = [event for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"] if event["ph"] == "X"]
    assert [(event["name"], event["ts"], event["dur"]) for event in events] == [
        ("step", 0, 1_250_000),
        ("forward", 1_000_000, 250_000),
    ]


def test_what_tasks_wait_for_is_in_no_row_of_a_thread_and_may_overlap(tmp_path: Path) -> None:
    clock = Clock()
    trace = Trace(clock)
    first, second = (trace.wait("deliver", "queue", job=name) for name in "ab")
    with first:
        clock.now_s += 1
        with trace.span("forward", "model"):
            second.__enter__()
            clock.now_s += 1
    clock.now_s += 1
    second.__exit__(None, None, None)
    trace.write(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [event["args"]["name"] for event in events if event["ph"] == "M"] == [threading.current_thread().name]
    assert [event["name"] for event in events if event["ph"] == "X"] == ["forward"]
    waits = [event for event in events if event["ph"] in "be"]
    times = {
        (event["id"], event["ph"]): (event["ts"], event.get("args")) for event in waits if event["name"] == "deliver"
    }
    (a, b) = dict.fromkeys(number for number, _ in times)
    assert times == {
        (a, "b"): (0, {"job": "a"}),
        (a, "e"): (2_000_000, None),
        (b, "b"): (1_000_000, {"job": "b"}),
        (b, "e"): (3_000_000, None),
    }


def test_without_a_trace_nothing_is_kept() -> None:
    with NO_TRACE.span("forward", "model", tiles=8), NO_TRACE.wait("deliver", "queue"):
        pass
    assert NO_TRACE.spans == []
