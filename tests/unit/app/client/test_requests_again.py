"""What both clients send again, how often, and how they follow a job over answers that break off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from app.client import AsyncVlmirClient, Event, RemoteError, Retries, ServiceUnreachableError, VlmirClient
from app.errors import JobNotFoundError, QueueFullError, ResultNotReadyError

FAST = Retries(attempts=4, first_s=0.0, longest_s=0.0)
ID = "a" * 32
JOB: dict[str, Any] = {
    "id": ID,
    "state": "queued",
    "step": 0,
    "steps_total": None,
    "caption": None,
    "degradations": [],
    "result_media_type": None,
    "error": None,
    "priority": "batch",
    "position": 7,
    "links": {"self": f"/jobs/{ID}", "result": f"/jobs/{ID}/result", "cancel": f"/jobs/{ID}"},
}


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer that breaks off."""

    def __init__(self, text: str) -> None:
        self._data = text.encode()

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> Any:
        yield self._data
        raise httpx.ReadError("reset")


class Script:
    """Answers in order, and what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def is_over(self) -> bool:
        return not self._answers


def ask_sync(script: Script, method: str, *args: Any, **more: Any) -> Any:
    with VlmirClient("http://x.test", transport=httpx.MockTransport(script), retries=FAST) as client:
        found = getattr(client, method)(*args, **more)
        return list(found) if method in ("events", "jobs") else found


def ask_async(script: Script, method: str, *args: Any, **more: Any) -> Any:
    async def ask() -> Any:
        async with AsyncVlmirClient("http://x.test", transport=httpx.MockTransport(script), retries=FAST) as client:
            found = getattr(client, method)(*args, **more)
            return [item async for item in found] if method in ("events", "jobs") else await found

    return asyncio.run(ask())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = request.param
    return found


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": "x", "state": "queued"}, headers=headers)


def job_answer() -> httpx.Response:
    return httpx.Response(200, json=JOB)


@pytest.mark.parametrize("method", ["job", "cancel"])
def test_what_changes_nothing_is_sent_again(ask: Callable[..., Any], method: str) -> None:
    script = Script(
        httpx.ConnectError("refused"),
        problem(503, "queue_unavailable", **{"Retry-After": "0"}),
        httpx.Response(502, text="?"),
        job_answer(),
    )
    job = ask(script, method, ID)
    assert (job.id, job.priority, job.position) == (ID, "batch", 7)
    assert script.is_over


def test_patience_ends(ask: Callable[..., Any]) -> None:
    script = Script(*[httpx.ReadTimeout("slow")] * 4, job_answer())
    with pytest.raises(ServiceUnreachableError):
        ask(script, "job", ID)
    assert len(script.asked) == 4


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda: problem(404, "job_not_found"), JobNotFoundError),
        (lambda: problem(409, "result_not_ready", **{"Retry-After": "1"}), ResultNotReadyError),
        (lambda: httpx.Response(500, text="bug"), RemoteError),
        (lambda: problem(503, "queue_full", **{"Retry-After": "900"}), QueueFullError),
    ],
)
def test_final_answers_are_not_asked_for_again(
    ask: Callable[..., Any], answer: Callable[[], httpx.Response], kind: type[Exception]
) -> None:
    script = Script(answer(), job_answer())
    with pytest.raises(kind):
        ask(script, "result", ID)
    assert len(script.asked) == 1


def test_photo_is_handed_in_again_only_under_a_key(ask: Callable[..., Any]) -> None:
    script = Script(httpx.ReadError("reset"), job_answer())
    with pytest.raises(ServiceUnreachableError):
        ask(script, "submit", b"photo")
    script = Script(
        httpx.ReadError("reset"), problem(409, "idempotency_in_progress", **{"Retry-After": "0"}), job_answer()
    )
    assert ask(script, "submit", b"photo", idempotency_key="k1", steps=3).id == ID
    assert [request.headers["idempotency-key"] for request in script.asked] == ["k1"] * 3
    bodies = [request.content.split(b"\r\n", 1)[1] for request in script.asked]
    assert all(b"photo" in body and b"steps" in body for body in bodies)


def test_pauses_grow_and_obey_the_service() -> None:
    retries = Retries(attempts=10, first_s=1.0, longest_s=8.0, longest_wait_s=30.0)
    away = ServiceUnreachableError("x")
    for sent, longest_s in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (9, 8.0)):
        pause_s = retries.pause_s(away, sent)
        assert pause_s is not None
        assert longest_s / 2 <= pause_s <= longest_s
    assert retries.pause_s(away, 10) is None
    assert retries.pause_s(QueueFullError("x", retry_after_s=20.0), 1) == 20.0
    assert retries.pause_s(QueueFullError("x", retry_after_s=31.0), 1) is None
    with pytest.raises(ValueError, match="1 or more"):
        Retries(attempts=0)


def test_jobs_are_fetched_page_by_page_with_the_same_filters(ask: Callable[..., Any]) -> None:
    pages = [{"jobs": [JOB, JOB], "next_cursor": "c1"}, {"jobs": [], "next_cursor": "c2"}]
    script = Script(*(httpx.Response(200, json=page) for page in [*pages, {"jobs": [JOB], "next_cursor": None}]))
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert len(ask(script, "jobs", states=["queued", "running"], created_since=since, limit=2)) == 3
    asked = [dict(request.url.params) for request in script.asked]
    assert asked[0] == {"state": "queued,running", "created_since": "2026-01-02T03:04:05Z", "limit": "2"}
    assert [params.pop("cursor", None) for params in asked] == [None, "c1", "c2"]
    assert asked[0] == asked[1] == asked[2]


def event(number: int, kind: str = "progress", **data: Any) -> str:
    return f"id: {number}-0\nevent: {kind}\ndata: {json.dumps(data or {'step': number})}\n\n"


def stream(text: str) -> httpx.Response:
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


END = event(9, "state", state="succeeded", job=JOB | {"state": "succeeded"})


def test_follower_goes_on_where_it_was(ask: Callable[..., Any]) -> None:
    script = Script(
        stream("retry: 2000\n\n" + event(1) + ": ping\n\n" + event(2)),  # a proper end, but not the job's
        httpx.ConnectError("refused"),
        problem(503, "too_many_streams"),
        httpx.Response(200, stream=Broken(event(3) + event(4)[:-1])),  # the fourth is not complete
        httpx.Response(200, stream=Broken(event(3) + event(4) + "id: 5-0\n")),  # the third comes again
        stream(event(5) + END + event(10)),
    )
    found: list[Event] = ask(script, "events", ID, previews=True)
    assert [item.id for item in found] == ["1-0", "2-0", "3-0", "4-0", "5-0", "9-0"]
    assert found[0].data == {"step": 1}
    assert found[-1].is_terminal
    assert found[-1].job is not None
    assert found[-1].job.state.value == "succeeded"
    assert script.is_over
    seen = [request.headers.get("last-event-id") for request in script.asked]
    assert seen == [None, "2-0", "2-0", "2-0", "3-0", "4-0"]
    assert all(request.url.params["previews"] == "true" for request in script.asked)


def test_follower_begins_after_what_is_known_and_ends_when_there_is_no_more(ask: Callable[..., Any]) -> None:
    script = Script(stream(event(7)), httpx.Response(204))
    assert [item.id for item in ask(script, "events", ID, after="6-0")] == ["7-0"]
    assert [request.headers["last-event-id"] for request in script.asked] == ["6-0", "7-0"]


def test_follower_of_no_job_is_told(ask: Callable[..., Any]) -> None:
    with pytest.raises(JobNotFoundError):
        ask(Script(problem(404, "job_not_found")), "events", ID)


def test_follower_gives_up_on_a_service_that_stays_away(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sync", "aio"):
        monkeypatch.setattr(f"app.client.{module}.LONGEST_ABSENCE_S", 0.0)
    with pytest.raises(ServiceUnreachableError):
        ask(Script(stream(event(1)), httpx.ConnectError("refused")), "events", ID)


def test_events_without_an_id_and_of_newer_services_pass(ask: Callable[..., Any]) -> None:
    text = 'event: mood\ndata: {"a":\ndata: 1}\n\nevent: state\ndata: {"state": "canceled"}\n\n'
    mood, end = ask(Script(stream(text)), "events", ID)
    assert (mood.type, mood.data, mood.state, mood.image, mood.id) == ("mood", {"a": 1}, None, None, "")
    assert end.is_terminal
