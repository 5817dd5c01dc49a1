"""What a service says, as plain values."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.jobs.job import Finding, JobState


@dataclass(frozen=True)
class RemoteJob:
    """A job as the service describes it.

    Attributes:
        id: Its id.
        state: Where it is.
        step: Finished diffusion steps.
        steps_total: Steps in all, or None while unknown.
        caption: Caption that guides the restoration, or None.
        findings: Damage that was found.
        result_media_type: Media type of the result, or None without one.
        error_code: Code of the failure, or None.
        error_detail: Sentence about the failure, or None.
        links: Paths by name: self, result, events, cancel.
        document: The whole answer.
        model: Name of the model that works on it, or None while unknown.
        priority: "interactive" or "batch".
        position: Place in the queue, 1 for the next; None when it does not wait or was not looked up.
    """

    id: str
    state: JobState
    step: int
    steps_total: int | None
    caption: str | None
    findings: tuple[Finding, ...]
    result_media_type: str | None
    error_code: str | None
    error_detail: str | None
    links: Mapping[str, str]
    document: Mapping[str, Any] = field(repr=False, compare=False)
    model: str | None = None
    priority: str = "interactive"
    position: int | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> RemoteJob:
        """Read the service's description of a job."""
        error = document.get("error") or {}
        return cls(
            id=document["id"],
            state=JobState(document["state"]),
            step=document["step"],
            steps_total=document["steps_total"],
            caption=document["caption"],
            findings=tuple(
                Finding(item["kind"], item["probability"], item["severity"]) for item in document["degradations"]
            ),
            result_media_type=document["result_media_type"],
            error_code=error.get("code"),
            error_detail=error.get("detail"),
            links=document["links"],
            document=document,
            model=document.get("model"),
            priority=document.get("priority", "interactive"),
            position=document.get("position"),
        )


@dataclass(frozen=True)
class JobsPage:
    """Some of the jobs of a service.

    Attributes:
        jobs: Newest first; possibly fewer than asked for, or none, although more follow.
        next_cursor: For the next page, or None at the end.
    """

    jobs: tuple[RemoteJob, ...]
    next_cursor: str | None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> JobsPage:
        """Read the service's page."""
        return cls(tuple(RemoteJob.of(item) for item in document["jobs"]), document["next_cursor"])


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    Attributes:
        type: "state", "progress" or "preview"; newer services may have more.
        data: What happened; see docs/api.md.
        id: From which on to follow; empty when the service gives none.
    """

    type: str
    data: Mapping[str, Any]
    id: str = ""

    @property
    def state(self) -> JobState | None:
        """New state of the job, or None if the event is about something else."""
        return JobState(self.data["state"]) if self.type == "state" else None

    @property
    def job(self) -> RemoteJob | None:
        """The job after its end, with the event that tells it; else None."""
        return RemoteJob.of(self.data["job"]) if "job" in self.data else None

    @property
    def image(self) -> bytes | None:
        """The small picture of a preview as a file, else None."""
        return base64.b64decode(self.data["image"]) if "image" in self.data else None

    @property
    def is_terminal(self) -> bool:
        """Whether it is the end of the job."""
        return self.state is not None and self.state.is_terminal


class EndOfEvents(Exception):  # noqa: N818 - no error
    """The service says that a job has ended and that its last event is known."""


class EventParser:
    """Makes events of the lines of one `text/event-stream`; an event whose end did not come is none."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """Take a line without its end; gives an event when the line completes one."""
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name:  # else a comment
                self._fields[name] = value
            return None
        fields, data = self._fields, self._data
        self._fields, self._data = {}, []
        if not data:
            return None
        return Event(fields.get("event", "message"), json.loads("\n".join(data)), fields.get("id", ""))


class EventLog:
    """What a follower of a job has seen, over all its connections: each event passes once, in order.

    Args:
        after: Id of the last event that is known, or None.
    """

    def __init__(self, after: str | None = None) -> None:
        self.last_id = after

    def is_new(self, event: Event) -> bool:
        """Note an event; says whether it was not known yet."""
        if not event.id:
            return True
        if self.last_id is not None and _place(event.id) <= _place(self.last_id):
            return False
        self.last_id = event.id
        return True

    @property
    def headers(self) -> dict[str, str]:
        """Headers with which the next connection goes on after what is known."""
        return {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})


def _place(event_id: str) -> tuple[int, ...]:
    return tuple(int(number) for number in event_id.split("-"))
