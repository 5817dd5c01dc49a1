"""What schemathesis loads beside the description of the API: photos that are photos, and checks of our own.

A description cannot say everything. What it cannot say is kept here, so that requests that are meant to be good are
good: options are given in one place, and a key belongs to one request. For two reasons they may be refused
nevertheless: their URL leads to no photo, or two options do not go together.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response
from schemathesis.specs.openapi.checks import use_after_free

from app.api.operation_errors import errors_of
from app.jobs.webhook import parse_webhook_events
from tests.support import sample_photos as samples

_PHOTO = samples.png(20, 20)
_PHOTOS = (_PHOTO, samples.png(16, 12), samples.jpeg(24, 16))
_FETCHED = {"image_url_refused", "image_fetch_failed"}

schemathesis.openapi.media_type("image/*", st.sampled_from(_PHOTOS))
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(_PHOTOS))
schemathesis.openapi.format("json-object", st.sampled_from(["{}", '{"order": 7351}', '{"a": [1, null, "\u00e9"]}']))
schemathesis.openapi.format("binary", st.just(_PHOTO))  # photo and mask have one size


def _is_good(case: Case) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Mend options that are good each by itself and not together."""
    del context
    parts = [body, body.get("options"), *_list(body.get("entries"))] if isinstance(body, dict) else []
    for part in parts:
        if isinstance(part, dict):
            _mend(part)
    return body


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Give options that are in the body there alone, and a key to one request alone."""
    del context, kwargs
    if not _is_good(case) or case.method != "POST":
        return
    body = case.body if isinstance(case.body, dict) else {}
    shared = body.get("options")
    in_body = {*body, *(shared if isinstance(shared, dict) else ())}
    for name in {*in_body, "start_within"}.intersection(case.query):
        del case.query[name]
    if not case.query.get("webhook"):
        case.query.pop("webhook_events", None)
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'


def _mend(options: dict[str, Any]) -> None:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if float(options["start_within"]) > float(options["finish_within"]) > 0:
            del options["start_within"]
    if not options.get("webhook"):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            events = options["webhook_events"]
            parse_webhook_events(events.split(",") if isinstance(events, str) else events)
            del options["webhook_events"]


def _is_at_odds(error: dict[str, str]) -> bool:
    """Whether an option is refused for the sake of another one."""
    return "above finish_within" in error["message"] or "`webhook` does not say where" in error["message"]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@schemathesis.check
def problems_are_documented(context: CheckContext, response: Response, case: Case) -> None:
    """Every error is a problem document with a code that docs/errors.md names for this operation and status."""
    del context
    if response.status_code < 400 or response.request.method == "HEAD":
        return
    name = f"{case.operation.method.upper()} {case.operation.path}"
    code = response.json()["code"]
    assert response.headers["content-type"] == ["application/problem+json"], response.headers["content-type"]
    if code in ("not_found", "method_not_allowed"):  # a method or path that there is not
        assert response.status_code == {"not_found": 404, "method_not_allowed": 405}[code]
        return
    known = {(item.status, item.code) for item in errors_of(name)}
    found = (response.status_code, code)
    assert found in known, f"{name} answered {found}, which app/api/operation_errors.py does not name"
    assert code != "internal_error", f"{name} met a bug: {response.text}"
    assert response.status_code < 500 or code == "job_failed", f"{name} is overloaded: {response.text}"


@schemathesis.check
def good_requests_are_refused_for_known_reasons(context: CheckContext, response: Response, case: Case) -> None:
    """A request that fits the description is not refused, but for a URL without photo and options at odds."""
    del context
    if _is_good(case) and response.status_code == 422:
        problem = response.json()
        are_at_odds = problem["code"] == "invalid_option" and all(map(_is_at_odds, problem["errors"]))
        assert are_at_odds or problem["code"] in _FETCHED, response.text


@schemathesis.check
def purged_is_gone(context: CheckContext, response: Response, case: Case) -> None:
    """`use_after_free`, of what was purged: without `purge`, DELETE cancels and what is there stays."""
    try:
        use_after_free(context, response, case)
    except AssertionError as failure:
        deleted = None
        with contextlib.suppress(AttributeError):
            deleted = context.internals.find_response(case_id=failure.deleted_case_id)  # type: ignore[attr-defined]
        if deleted is None or deleted.status_code == 204:
            raise
