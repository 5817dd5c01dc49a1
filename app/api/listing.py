"""GET /jobs as the wire knows it: which filters there are, what a page looks like, and what its cursor holds."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.api.problems import ParametersError
from app.api.schemas import JobModel, job_model
from app.jobs.directory import MAX_PAGE, JobFilter, JobPage
from app.jobs.job import JobState

_PLACE = re.compile(r"[0-9]{13}:[0-9a-f]{32}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_CURSOR_PATTERN = "^(3[0-9]){13}3a(3[0-9]|6[1-6]){32}$"  # such a place in hexadecimal digits


def _split(value: Any) -> Any:
    """Let several states stand in one parameter, with commas between them, too."""
    if not isinstance(value, list):
        return value
    return [word for item in value for word in (item.split(",") if isinstance(item, str) else [item])]


def _check_form(value: Any) -> Any:
    """Refuse what is no moment of RFC 3339, such as a number, of which nobody knows what it counts."""
    if isinstance(value, str) and not _MOMENT.fullmatch(value):
        raise PydanticCustomError("moment", "expected a moment with a zone, such as 2026-01-01T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_check_form)]


class JobQuery(BaseModel):
    """Which jobs, and how many of them at a time."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[list[JobState], BeforeValidator(_split)] = Field(
        default=[], description="States; repeat it, or put commas between them, for several. None means all."
    )
    priority: Literal["interactive", "batch"] | None = Field(default=None, description="Only jobs of this priority.")
    model: str | None = Field(
        default=None, max_length=200, description="Only jobs that this model works on, or that ask for it."
    )
    created_since: Moment | None = Field(
        default=None, description="Only jobs accepted at this moment or later, such as 2026-01-01T12:00:00Z."
    )
    created_until: Moment | None = Field(default=None, description="Only jobs accepted before this moment.")
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="Most jobs of one page.")
    cursor: str | None = Field(
        default=None,
        max_length=200,
        description="Where to go on: `next_cursor` of the page before, as it is.",
        json_schema_extra={"pattern": _CURSOR_PATTERN},
    )

    def as_filter(self, default_model: str) -> JobFilter:
        """Give the filter, in the words of the queue.

        Args:
            default_model: Name of the model for jobs that name none.
        """
        return JobFilter(
            states=frozenset(self.state) or None,
            priority=self.priority,
            model=self.model,
            is_default_model=self.model == default_model,
            since_ms=_utc_ms(self.created_since),
            until_ms=_utc_ms(self.created_until),
        )


class PageLinksModel(BaseModel):
    """Where to go on."""

    next: str | None = Field(description="The next page with the same filters, or null at the end.")


class JobPageModel(BaseModel):
    """Some of the jobs, newest first."""

    jobs: list[JobModel] = Field(
        description="Possibly fewer than asked for, or none, although more follow: go on while there is a next page."
    )
    next_cursor: str | None = Field(description="Value of `cursor` for the next page, or null at the end.")
    links: PageLinksModel


def page_model(request: Request, query: JobQuery, page: JobPage) -> JobPageModel:
    """Give what the wire shows of a page."""
    cursor = None if page.last is None else encode_cursor(page.last)
    link = None
    if cursor is not None:
        asked = query.model_dump(mode="json", exclude_none=True, exclude={"cursor"})
        path = f"{request.scope.get('root_path', '').rstrip('/')}/jobs"
        link = f"{path}?{urlencode({**asked, 'cursor': cursor}, doseq=True)}"
    return JobPageModel(
        jobs=[job_model(request, item.job, item.position) for item in page.jobs],
        next_cursor=cursor,
        links=PageLinksModel(next=link),
    )


def encode_cursor(place: str) -> str:
    """Give a place in the listing as a word for callers, who must not read anything into it."""
    return place.encode().hex()


def decode_cursor(cursor: str) -> str:
    """Read a word given by `encode_cursor`.

    Raises:
        ParametersError: It is none.
    """
    try:
        place = bytes.fromhex(cursor).decode("ascii")
    except ValueError:
        place = ""
    if not _PLACE.fullmatch(place):
        raise ParametersError([{"field": "cursor", "message": "is none of ours; give a `next_cursor` as it is"}])
    return place


def _utc_ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
