"""POST /restore/batch and what can be asked of a batch: how far it is, its entries, and to be canceled."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from app.api.batch_body import openapi_batch, openapi_batch_form, parse_entries, parse_shared
from app.api.batch_schemas import BatchModel, EntryPageModel, batch_model, batch_path, entry_page
from app.api.budget import UploadShare
from app.api.deps import Services, ServicesDep, TenantDep, traceparent_of
from app.api.idempotency import entry_parts, fingerprint, read_key, submission_parts
from app.api.option_docs import openapi_headers, openapi_parameters
from app.api.outputs import check_outputs
from app.api.problems import MEDIA_TYPE, Problem
from app.api.task import RESTORATION, Task
from app.api.upload import parse_photos, read_json
from app.api.webhook_options import check_webhook
from app.errors import BatchNotFoundError, InvalidRequestError, UnsupportedMediaTypeError
from app.jobs.batch import Batch, BatchEntry, new_batch_id
from app.jobs.idempotency import KeyUse

router = APIRouter(tags=["batches"])

MOST_ENTRIES = 1000
_MAX_JSON_BYTES = 8 * 1024 * 1024
_DIGEST_BYTES = 1024 * 1024
_POLL_AFTER_S = 2
_BATCH_ID = re.compile(r"[0-9a-f]{32}")
_PROBLEM: dict[str, Any] = {"model": Problem, "content": {MEDIA_TYPE: {}}}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: _PROBLEM | {"description": "No batch has this id."}}


@router.post(
    "/restore/batch",
    status_code=202,
    response_model=BatchModel,
    responses={
        202: {"description": "The batch was accepted; Location has its address."},
        400: _PROBLEM | {"description": "The request cannot be understood, or has too many photos or none."},
        409: _PROBLEM | {"description": "The first request with this Idempotency-Key is still being accepted."},
        413: _PROBLEM | {"description": "Too many bytes."},
        415: _PROBLEM | {"description": "The body is neither JSON nor a form."},
        422: _PROBLEM
        | {"description": "An option that is not valid, an unknown model, or an Idempotency-Key of another request."},
        503: _PROBLEM
        | {"description": "No memory for the uploads, or the queue is full or not available; see Retry-After."},
    },
    openapi_extra={
        "parameters": [
            *(item for item in openapi_parameters() if item["name"] != "priority"),
            *(item for item in openapi_headers() if item["name"] != "Prefer"),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": openapi_batch(MOST_ENTRIES)},
                "multipart/form-data": {"schema": openapi_batch_form(MOST_ENTRIES)},
            },
        },
    },
)
async def restore_batch(request: Request, services: ServicesDep, tenant: TenantDep) -> Response:
    """Accept many photos at once. They become jobs little by little; one that is refused does not harm the others."""
    return await accept_batch(request, services, tenant, RESTORATION)


async def accept_batch(request: Request, services: Services, tenant: str, task: Task) -> Response:
    """Accept many photos for a task and answer with their batch."""
    key = read_key(request.headers.getlist("idempotency-key"))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    with services.batch_uploads.share() as share:
        if kind == "application/json":
            batch, is_new = await _accept_references(request, services, tenant, task, key, share)
        elif kind == "multipart/form-data":
            batch, is_new = await _accept_photos(request, services, tenant, task, key, share)
        else:
            raise UnsupportedMediaTypeError(
                f"The content type is {kind[:64]!r}. Send application/json with `entries`, or a multipart/form-data "
                "form with files `image`."
            )
    request.app.state.feeder.look()
    headers = {"Location": batch_path(request, batch.id), "Retry-After": str(_POLL_AFTER_S)}
    if not is_new:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(batch_model(request, batch).model_dump(mode="json"), 202, headers=headers)


async def _accept_references(
    request: Request, services: Services, tenant: str, task: Task, key: str | None, share: UploadShare
) -> tuple[Batch, bool]:
    settings, batches = services.settings, services.queue.batches
    body = await read_json(request, _MAX_JSON_BYTES, share, settings.upload_timeout_s)
    query, most = request.query_params.multi_items(), settings.max_batch_entries
    # In a thread, as all that takes long for large batches: this loop answers everybody.
    await to_thread.run_sync(task.check_entries, body, query)
    entries = await to_thread.run_sync(parse_entries, body, query, services.model_names, most)
    entries = task.of_entries(entries)
    for index, entry in enumerate(entries):
        check_webhook(entry.webhook, services.fetcher.pinned, f"entries[{index}].webhook")
    check_outputs(services.buckets, tenant, [entry.options for entry in entries])
    use = None
    if key is not None:
        asked = await to_thread.run_sync(fingerprint, f"{task.route}/batch", [entry_parts(entry) for entry in entries])
        use = KeyUse.of(tenant, key, asked)
    async with services.queue.idempotency.held(use) as earlier:
        if earlier is not None:
            return await batches.get(earlier), False
        created_ms, traceparent = _now_ms(), traceparent_of(request)
        if traceparent is not None:
            entries = [replace(entry, traceparent=traceparent) for entry in entries]
        batch_id, is_new = await batches.create(new_batch_id(), tenant, created_ms, entries, use)
        return await _accepted(services, batch_id, tenant, created_ms, len(entries), is_new)


async def _accept_photos(
    request: Request, services: Services, tenant: str, task: Task, key: str | None, share: UploadShare
) -> tuple[Batch, bool]:
    settings, batches = services.settings, services.queue.batches
    most = settings.max_batch_entries
    limits = (settings.max_upload_bytes, services.batch_uploads.max_bytes, most)
    async with parse_photos(request, *limits, share, settings.upload_timeout_s) as (photos, fields):
        if not photos:
            raise InvalidRequestError(f"The form has no file `image`. Send 1 to {most} photos in fields of that name.")
        query = request.query_params.multi_items()
        task.check_fields(query, fields)
        wanted = task.of_submission(parse_shared(query, fields, services.model_names))
        check_webhook(wanted.webhook, services.fetcher.pinned)
        check_outputs(services.buckets, tenant, [wanted.options] * len(photos))
        use = None
        if key is not None:
            digests = [await to_thread.run_sync(_digest, photo.file) for photo in photos]
            use = KeyUse.of(tenant, key, fingerprint(f"{task.route}/batch", submission_parts(wanted), digests))
        async with services.queue.idempotency.held(use) as earlier:
            if earlier is not None:
                return await batches.get(earlier), False
            entry = BatchEntry(wanted.options, None, None, wanted.metadata, wanted.webhook, traceparent_of(request))
            entries = [entry] * len(photos)
            created_ms, total_bytes = _now_ms(), sum(photo.size or 0 for photo in photos)
            batch_id, is_new = await batches.create_stored(
                new_batch_id(), tenant, created_ms, entries, _contents(photos), total_bytes, use
            )
            return await _accepted(services, batch_id, tenant, created_ms, len(entries), is_new)


async def _accepted(
    services: Services, batch_id: str, tenant: str, created_ms: int, total: int, is_new: bool
) -> tuple[Batch, bool]:
    """Give a batch that was just accepted, or before under the same key."""
    if not is_new:
        return await services.queue.batches.get(batch_id), False
    # Not asked for: that could fail, and a caller who is told that a batch failed sends all its photos again.
    return Batch.new(batch_id, tenant, created_ms, total), True


def _digest(file: BinaryIO) -> str:
    """Give the SHA-256 of a file as hexadecimal digits, and go back to its beginning."""
    digest = hashlib.sha256()
    while chunk := file.read(_DIGEST_BYTES):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


async def _contents(photos: Sequence[UploadFile]) -> AsyncIterator[bytes]:
    for photo in photos:
        yield await photo.read()


def _now_ms() -> int:
    return int(time.time() * 1000)


async def find_batch(services: ServicesDep, tenant: TenantDep, batch_id: str) -> Batch:
    """Give a batch of the tenant that asks.

    Raises:
        BatchNotFoundError: It has none of this id.
    """
    if not _BATCH_ID.fullmatch(batch_id):
        raise BatchNotFoundError(f"No batch has the id {batch_id[:64]!r}; ids are 32 lower-case hex digits.")
    batch = await services.queue.batches.get(batch_id)
    if batch.tenant != tenant:
        raise BatchNotFoundError(f"No batch has the id {batch_id!r}; records are deleted after their time.")
    return batch


BatchDep = Annotated[Batch, Depends(find_batch)]


@router.get("/batches/{batch_id}", response_model=BatchModel, responses=_NOT_FOUND)
async def get_batch(request: Request, response: Response, batch: BatchDep) -> BatchModel:
    """Tell how far a batch is."""
    response.headers["Cache-Control"] = "no-store"
    if batch.ended < len(batch.entries):
        response.headers["Retry-After"] = str(_POLL_AFTER_S)
    return batch_model(request, batch)


@router.get(
    "/batches/{batch_id}/entries",
    response_model=EntryPageModel,
    responses=_NOT_FOUND | {422: _PROBLEM | {"description": "`start` or `limit` is not valid."}},
)
async def get_entries(
    request: Request,
    response: Response,
    batch: BatchDep,
    start: Annotated[int, Query(ge=0, le=MOST_ENTRIES, description="Index of the first entry.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES, description="Most entries.")] = 100,
) -> EntryPageModel:
    """List the photos of a batch in their order."""
    response.headers["Cache-Control"] = "no-store"
    page = entry_page(request, batch, start, limit)
    if page.links.next is not None:
        response.headers["Link"] = f'<{page.links.next}>; rel="next"'
    return page


@router.delete("/batches/{batch_id}", response_model=BatchModel, responses=_NOT_FOUND)
async def cancel_batch(request: Request, services: ServicesDep, batch: BatchDep) -> BatchModel:
    """Cancel what has not ended of a batch: what waits at once, what runs soon."""
    return batch_model(request, await services.queue.batches.cancel(batch.id))
