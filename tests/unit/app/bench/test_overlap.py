"""Figures read off a trace are those of its intervals; a real workbench leaves every piece of work in its trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.bench.overlap import intersection, length, measure_overlap, trace_workbench, union
from app.worker.trace import Span
from tests.support.workers import only, tiny_runner

INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)).map(lambda pair: (pair[0], sum(pair))))


def span(thread: str, start_s: float, end_s: float, **arguments: Any) -> Span:
    return Span("work", "any", thread, start_s, end_s - start_s, arguments)


def seconds(intervals: list[tuple[int, int]]) -> set[int]:
    return {second for start, end in intervals for second in range(start, end)}


@given(INTERVALS, INTERVALS)
def test_intervals_add_up_like_sets_of_seconds(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    assert length(union(first)) == len(seconds(first))
    assert length(intersection(union(first), union(second))) == len(seconds(first) & seconds(second))


def test_figures_of_a_known_trace() -> None:
    found = measure_overlap(
        [
            Span("load", "any", "model_0", -9, 5, {}),  # no work yet
            span("photo_0", 0, 2),  # before the model has anything to do
            span("model_0", 2, 6),
            span("model_0", 3, 5),  # inside another: counts once
            span("photo_0", 4, 7),
            span("photo_1", 5, 6),
            span("model_0", 7.5, 10),
        ]
    )
    assert (found.window_s, found.model_busy_s, found.photo_busy_s, found.both_busy_s) == (8, 6.5, 5, 2)
    assert (found.idle_beside_photo_s, found.longest_idle_s) == (1, 1.5)
    assert found.overlapped_share == pytest.approx(2 / 6.5)
    assert found.hidden_share == pytest.approx(2 / 5)
    assert found.idle_share == pytest.approx(1.5 / 8)
    assert found.waiting_share == pytest.approx(1 / 8)


def test_a_trace_without_the_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no span of a thread named model"):
        measure_overlap([span("photo_0", 0, 1)])


def test_a_real_workbench_is_traced(tmp_path: Path) -> None:
    runner = tiny_runner()
    runner.warm_up()
    trace = trace_workbench(lambda: only(runner), [(64, 64), (90, 70), (64, 40)], steps=2, concurrency=2)
    trace.write(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    threads = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert {thread.rpartition("_")[0] for thread in threads} >= {"model", "photo"}
    by_photo_threads = [item for item in trace.spans if item.thread.startswith("photo")]
    assert len(by_photo_threads) == 2 * 3  # every photo is decoded and encoded
    found = measure_overlap(trace.spans)
    assert 0 < found.model_busy_s <= found.window_s
    assert 0 <= found.waiting_share <= found.idle_share < 1
