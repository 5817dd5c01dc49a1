"""Every code that a problem document or a failed job can have: when it happens, and what to do about it.

docs/errors.md and the page at /errors are written from here, and tests hold both to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from app import errors
from app.access import errors as access_errors
from app.errors import DeviceUnavailableError, EmbeddedRedisError, ServiceError, UnusableRedisError
from app.storage import errors as storage_errors
from app.storage.errors import OutputError, StorageSetupError

_MODULES = (errors, access_errors, storage_errors)
# These end a process that starts.
_STARTING = (DeviceUnavailableError, EmbeddedRedisError, StorageSetupError, UnusableRedisError)
_NEVER_SENT = (*_STARTING, OutputError)


@dataclass(frozen=True)
class ErrorEntry:
    """One code.

    Attributes:
        code: The code.
        status: HTTP status that it has when a request meets it.
        title: What kind of problem it is.
        retryable: "yes", "no" or "sometimes".
        when: When it happens.
        remedy: What to do.
        of_jobs: Whether it is (also) an `error_code` of failed jobs.
    """

    code: str
    status: int
    title: str
    retryable: str
    when: str
    remedy: str
    of_jobs: bool = False


_TITLES: dict[str, tuple[int, str, str]] = {  # of what has no class: status, title, retryable
    "not_found": (404, "Not Found", "no"),
    "method_not_allowed": (405, "Method Not Allowed", "no"),
    "not_ready": (503, "The service is not ready", "yes"),
    "input_lost": (500, "The upload is no longer stored", "no"),
}

_SOMETIMES = ("image_fetch_failed", "result_not_ready")

_OF_JOBS = (
    "restoration_failed",
    "non_finite_output",
    "device_out_of_memory",
    "worker_lost",
    "input_lost",
    "deadline_exceeded",
    "model_unavailable",
    "output_delivery_failed",
    "output_url_refused",
)

TEXTS: dict[str, tuple[str, str]] = {
    "invalid_request": (
        "The body cannot be understood: a broken form, no photo in it or too many, JSON that is no object of the form "
        "expected, a body that stopped coming, or an `Idempotency-Key` that is not valid.",
        "Read `detail`, correct the request, send it again.",
    ),
    "authentication_required": (
        "The request brings no API key, and this service takes none without.",
        "Send a key as `Authorization: Bearer vlmir_...`; the operator makes one with `vlmir keys create`.",
    ),
    "invalid_api_key": (
        "The API key is unknown, revoked or past its time, or there are two that differ.",
        "Check the key; ask the operator for a new one.",
    ),
    "insufficient_scope": (
        "The API key is good, but not for this; the header `WWW-Authenticate` names the scope that it lacks.",
        "Use a key with that scope.",
    ),
    "foreign_page": (
        "The service asks for no key because it is for its machine alone, and the request comes from elsewhere: its "
        "`Host` is neither localhost nor an address, or its `Origin` is a web page that may not send anything here.",
        "Use localhost. Operators who mean to let others in set `VLMIR_OPEN_ACCESS`, for pages `VLMIR_CORS_ORIGINS`.",
    ),
    "rate_limited": (
        "The tenant sends more POST requests than its rate allows; `RateLimit` says how many it has left.",
        "Send the same request again after `Retry-After` seconds, and fewer at once.",
    ),
    "quota_exceeded": (
        "The tenant's jobs or megapixels of this day (UTC) are used up, or do not hold this photo any more.",
        "Send the same request again after `Retry-After` seconds, or ask the operator for a larger quota.",
    ),
    "not_found": ("The service has nothing at this path.", "Look at `/openapi.json`; follow `links` of answers."),
    "job_not_found": (
        "No job of yours has this id, or its record was deleted: a day (`VLMIR_RECORD_TTL_S`) after its end.",
        "Check the id. If the record is too old, hand the photo in again.",
    ),
    "batch_not_found": (
        "No batch of yours has this id, or its record was deleted: a week (`VLMIR_BATCH_TTL_S`) after it was accepted.",
        "Check the id. If the record is too old, hand the photos in again.",
    ),
    "method_not_allowed": ("The path does not take this method.", "Use one of those in the header `Allow`."),
    "not_acceptable": (
        "`Accept` leaves out the type that the result has; the service does not convert results.",
        "Ask for a type in `available`, or hand the photo in again with the `format` you want.",
    ),
    "idempotency_in_progress": (
        "The first request with this `Idempotency-Key` is being accepted at this moment.",
        "Send the same request again after `Retry-After` seconds; the answer is then that of the first.",
    ),
    "result_not_ready": (
        "The job has not ended; `state` says where it is.",
        "Ask again after `Retry-After` seconds, follow `/jobs/{id}/events`, or use `Prefer: wait=N` or a webhook.",
    ),
    "job_failed": (
        "The job has failed, so there is no result. `error_code` is one of the codes of failed jobs below. With "
        "`Prefer: wait=N` the status is that of the `error_code`, else 409.",
        "Do what is said at the `error_code`.",
    ),
    "job_canceled": ("The job was canceled, so there is no result.", "Hand the photo in again if you need it."),
    "result_gone": (
        "The job succeeded, but its result was deleted after its time (`VLMIR_RESULT_TTL_S`) or on request. In "
        "`/batches/{id}/analyses` also: another release of the service wrote it, in a form that this one cannot read.",
        "Hand the photo in again; fetch results before the job's `expires_at`.",
    ),
    "upload_too_large": (
        "The body, or one file in it, has more bytes than allowed (`VLMIR_MAX_UPLOAD_BYTES`). Where Content-Length "
        "tells, it is refused before it is read.",
        "Send a smaller file, or fewer photos at a time.",
    ),
    "image_too_large": (
        "The photo has too many pixels (`VLMIR_MAX_MEGAPIXELS`), too long a side (`VLMIR_MAX_SIDE_PX`), or too large a "
        "ratio of its sides. Found out from the header, before decoding.",
        "Scale the photo down or cut it.",
    ),
    "image_too_small": ("The photo has fewer pixels than the model can work on.", "Send a larger photo."),
    "unsupported_format": (
        "The bytes are no photo in a format that is taken, whatever their name or declared type; or a format in a form "
        "that is not (32 bits per sample).",
        "Convert it to JPEG, PNG, WebP, AVIF, TIFF, HEIC or one-frame GIF.",
    ),
    "unsupported_media_type": (
        "The `Content-Type` of the request is none that this path takes.",
        "Send one of the types that `detail` names.",
    ),
    "precondition_failed": (
        "`If-Match` names other tags than that of the result; `ETag` has the one there is. Weak tags (`W/`) never fit.",
        "Ask without `If-Match` if you want this result, and begin its download anew.",
    ),
    "range_not_satisfiable": (
        "The range begins behind the end of the result; `Content-Range` has its size.",
        "You probably have the whole already; else ask without `Range`.",
    ),
    "empty_upload": ("The photo has zero bytes.", "Check how the file is read; send its bytes."),
    "invalid_image": ("The file is truncated or damaged.", "Send the file again from its source."),
    "animated_image": (
        "The file has several frames or pages.",
        "Send the frame you mean as a file of its own.",
    ),
    "invalid_mask": (
        "The mask does not have the (upright) size of the photo.",
        "Make it the same width and height: white where the photo is missing.",
    ),
    "image_url_refused": (
        "The URL is none that the service fetches: not https nor in a bucket that the operator lets this caller name "
        "(`VLMIR_INPUT_PREFIXES`), with credentials, an unusual port or way to write the "
        "address, or a name that leads to an address that is not public. Holds for redirections too.",
        "Give an https URL that anybody may fetch, such as a signed one; operators can allow networks with "
        "`VLMIR_FETCH_NETWORKS`.",
    ),
    "output_url_refused": (
        "`output_url` is none that results are written to: no s3://, gs:// or az:// address, or outside the prefixes "
        "that the operator allows this caller.",
        "Give one of those prefixes; operators allow them with `VLMIR_OUTPUT_PREFIXES`, the same for API and workers.",
    ),
    "output_delivery_failed": (
        "The bucket that `output_url` names did not take the result in several tries. The job failed, so that success "
        "always means that the result is there.",
        "Check that the bucket exists and that the service may write there; then submit the photo again.",
    ),
    "storage_unavailable": (
        "The store of photos (`VLMIR_STORAGE`) cannot be reached or refuses to work. Accepted jobs are kept.",
        "Send the same request again after `Retry-After` seconds; operators find the store's words in the log.",
    ),
    "image_fetch_failed": (
        "The host that the URL names did not give the photo: no such name, no connection, another status than 200, "
        "too slow.",
        "If `retryable` is true, send the request again later; else check the URL with another program.",
    ),
    "idempotency_key_reused": (
        "This `Idempotency-Key` came with another photo or other options before.",
        "Use a fresh key for every new request.",
    ),
    "invalid_option": (
        "An option, filter, cursor or event id is unknown, out of range, or given twice with different values. "
        "`errors` lists each with `field` and `message`.",
        "Correct the named fields.",
    ),
    "unknown_model": (
        "The request names a model that the service does not have; `available` lists those it has.",
        "Name one of those, or none for the default.",
    ),
    "internal_error": (
        "A bug in the service. Nothing of it is told; the log has it under `request_id`.",
        "Tell the operator the `request_id`. Requests with an `Idempotency-Key` can be sent again safely.",
    ),
    "queue_full": (
        "Too many jobs wait, by their number (`VLMIR_MAX_QUEUED`) or by the memory that they fill.",
        "Send the same request again after `Retry-After` seconds.",
    ),
    "queue_unavailable": (
        "Redis cannot be reached or refuses to work. Accepted jobs are kept and go on when it is back.",
        "Send the same request again after `Retry-After` seconds.",
    ),
    "queue_out_of_memory": (
        "Redis is at its memory limit. Accepted jobs are kept; memory comes free as jobs end or are canceled.",
        "Send the same request again after `Retry-After` seconds; operators give Redis more memory.",
    ),
    "uploads_busy": (
        "The uploads that are being read fill the memory that there is for them (`VLMIR_UPLOAD_MEMORY_BYTES`).",
        "Send the same request again after `Retry-After` seconds.",
    ),
    "too_many_streams": (
        "As many streams of events are open as allowed (`VLMIR_MAX_EVENT_STREAMS`).",
        "Try again after `Retry-After` seconds, or poll the job.",
    ),
    "worker_unavailable": (
        "No worker takes jobs.",
        "Try again after `Retry-After` seconds; operators look at `/readyz`.",
    ),
    "not_ready": (
        "`/readyz` alone: Redis does not answer or no worker is warm; `reasons` lists why.",
        "Send no photos to this process until it is ready.",
    ),
    "restoration_failed": (
        "The model could not work on this photo.",
        "Tell the operator the job's id: the worker's log has more. Another photo is not affected.",
    ),
    "non_finite_output": (
        "The network gave infinities or NaN for this photo, in full precision too.",
        "Try another `model` or fewer `steps`; tell the operator the job's id.",
    ),
    "device_out_of_memory": (
        "The device has not enough memory for this photo, even alone.",
        "Try again later or send a smaller photo.",
    ),
    "deadline_exceeded": (
        "The job did not begin within `start_within`, or was not done within `finish_within`.",
        "Give it more time, a lower `quality`, or the priority `interactive`; operators add workers.",
    ),
    "model_unavailable": (
        "The worker that took the job does not have the model that it names: API and workers are set up differently.",
        "Operators give both the same `VLMIR_MODELS`; then hand the photo in again.",
    ),
    "worker_lost": (
        "Every worker that took the job disappeared before it was done (`VLMIR_MAX_DELIVERIES` times).",
        "Tell the operator: the photo may be one that ends workers. Other photos are not affected.",
    ),
    "input_lost": (
        "The upload was gone when a worker took the job, as after a loss of data in Redis.",
        "Hand the photo in again.",
    ),
}


def catalogue() -> tuple[ErrorEntry, ...]:
    """Give every code, by status and name."""
    faces = _TITLES | {kind.code: (kind.status, kind.title, "yes" if kind.retryable else "no") for kind in _classes()}
    entries = []
    for code, (status, title, retryable) in faces.items():
        word = "sometimes" if code in _SOMETIMES else retryable
        when, remedy = TEXTS.get(code, (f"{title}.", "Read `detail`."))  # a test sees to it that none is missing
        entries.append(ErrorEntry(code, status, title, word, when, remedy, of_jobs=code in _OF_JOBS))
    return tuple(sorted(entries, key=lambda entry: (entry.status, entry.code)))


def _classes() -> Iterator[type[ServiceError]]:
    for module in _MODULES:
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, ServiceError) and kind not in _NEVER_SENT:
                yield kind
