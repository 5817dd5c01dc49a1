"""GET /jobs/{id}/events: what happens to a job, as it happens, for as long as it does (server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from app.api.deps import Services, ServicesDep
from app.api.problems import MEDIA_TYPE, ParametersError, Problem
from app.api.routes.jobs import JobDep
from app.api.schemas import job_model
from app.api.sse import OPENING, PING, event_data, format_event
from app.api.streaming import EventStreamResponse
from app.errors import JobNotFoundError, QueueUnavailableError
from app.jobs.job import Job
from app.jobs.journal import JobEvent, is_event_id

router = APIRouter(tags=["jobs"])

LOOK_S = 5.0
"""Time after which a quiet job is looked at unasked, and listened to again; well within `QueuePolicy.listen_ms`."""

_PROBLEM: dict[str, Any] = {"model": Problem, "content": {MEDIA_TYPE: {}}}
_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One event; the stream has any number of them.",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "description": "Where to go on after it; an end that was found late has none."},
        "event": {"enum": ["state", "progress", "preview"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_ID_FORM: dict[str, Any] = {"pattern": "^([0-9]{1,19}-[0-9]{1,19})?$"}
_EVENT_ID = "Id of the last event that is known; the stream goes on after it."


@router.get(
    "/jobs/{job_id}/events",
    response_class=Response,
    responses={
        200: {
            "description": "Events of the types state, progress and preview, until the job has ended.",
            "content": {"text/event-stream": {"schema": _EVENT}},
        },
        204: {
            "description": "The job has ended and the caller knows its last event: there is nothing to come back for."
        },
        404: _PROBLEM | {"description": "No job has this id."},
        422: _PROBLEM | {"description": "The id of the last event is not valid."},
        503: _PROBLEM | {"description": "Too many streams are open, or the queue is away; see Retry-After."},
    },
)
async def get_events(
    request: Request,
    services: ServicesDep,
    job: JobDep,
    last_event_id: Annotated[str | None, Query(description=_EVENT_ID, json_schema_extra=_ID_FORM)] = None,
    last_event_id_header: Annotated[
        str | None, Header(alias="Last-Event-ID", description=_EVENT_ID, json_schema_extra=_ID_FORM)
    ] = None,
    previews: Annotated[bool, Query(description="Whether to make and send small pictures of the job.")] = True,
) -> Response:
    """Stream what happens to a job: from its first event, or from the one after `Last-Event-ID`, to its last."""
    # A browser that comes back repeats the address and adds the header, so the header is newer.
    for field, given in (("Last-Event-ID", last_event_id_header), ("last_event_id", last_event_id)):
        if given and not is_event_id(given):
            message = f"is {given[:64]!r}; expected the id of an event as it came, or nothing"
            raise ParametersError([{"field": field, "message": message}])
    after = last_event_id_header or last_event_id or None
    if job.state.is_terminal and after is not None and not await services.queue.journal.read(job.id, after):
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    wants_previews = previews and not job.state.is_terminal
    return EventStreamResponse(_Follower(request, services, job, after, wants_previews).chunks(), services.streams)


class _Follower:
    """Turns what happens to one job into bytes.

    Args:
        request: The request that is answered.
        services: Parts of the process.
        job: The job.
        after: Id of the last event that is known, or None.
        previews: Whether the caller wants small pictures.
    """

    def __init__(self, request: Request, services: Services, job: Job, after: str | None, previews: bool) -> None:
        self._request, self._queue, self._job_id = request, services.queue, job.id
        self._of_all = {} if job.traceparent is None else {"traceparent": job.traceparent}
        self._ping_s = services.settings.event_ping_s
        self._after = after
        self._previews = previews
        self._is_over = False
        self._sent_s = time.monotonic()
        self._looked_s = -math.inf

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give everything that is to be sent."""
        yield OPENING
        with self._queue.news.follow(self._job_id) as news:
            while not self._is_over:
                news.clear()
                found = await self._look()
                for chunk in found:
                    yield chunk
                    self._sent_s = time.monotonic()
                if not found and not self._is_over and await self._is_silent(news):
                    yield PING
                    self._sent_s = time.monotonic()

    async def _look(self) -> list[bytes]:
        is_due = time.monotonic() >= self._looked_s + LOOK_S
        if is_due:
            self._looked_s = time.monotonic()
            if self._previews:
                with contextlib.suppress(QueueUnavailableError):  # at its memory limit Redis still gives events
                    await self._queue.listen(self._job_id)
        try:
            return await self._read() or (await self._check_end() if is_due else [])
        except QueueUnavailableError:
            return []  # it may come back; meanwhile pings keep the connection

    async def _is_silent(self, news: asyncio.Event) -> bool:
        """Wait for news, or until it is time to look unasked or to give a sign of life; say whether it is the last."""
        due_s = min(self._sent_s + self._ping_s, self._looked_s + LOOK_S)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(news.wait(), max(0.01, due_s - time.monotonic()))
        return not news.is_set() and time.monotonic() >= self._sent_s + self._ping_s

    async def _read(self) -> list[bytes]:
        events = await self._queue.journal.read(self._job_id, self._after)
        chunks = [await self._format(event) for event in events if event.type != "preview" or self._previews]
        # Only now: what an error above kept from the caller is read again.
        if events:
            self._after = events[-1].id
            self._is_over = events[-1].is_terminal
        return chunks

    async def _format(self, event: JobEvent) -> bytes:
        data = event_data(event) | self._of_all
        if event.is_terminal:
            with contextlib.suppress(JobNotFoundError):
                data["job"] = self._document(await self._queue.get(self._job_id))
        return format_event(event.type, data, event.id)

    async def _check_end(self) -> list[bytes]:
        """Find out about an end that no event tells of: the record's time is over, or the events were deleted."""
        try:
            job = await self._queue.get(self._job_id)
        except JobNotFoundError:
            self._is_over = True
            return []
        if not job.state.is_terminal:
            return []
        found = await self._read()
        if found or self._is_over:
            return found
        self._is_over = True
        data = {"state": job.state.value, "attempt": job.attempt, "job": self._document(job), **self._of_all}
        return [format_event("state", data)]

    def _document(self, job: Job) -> dict[str, Any]:
        return job_model(self._request, job).model_dump(mode="json")
