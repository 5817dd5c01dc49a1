"""A client of the service: photos in, restored photos out, problem documents as the service's own errors."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import httpx

from app import errors
from app.errors import JobCanceledError, JobFailedError, ResultNotReadyError, ServiceError, UnknownModelError
from app.jobs.job import Finding, JobState

_FIRST_POLL_S, _LAST_POLL_S = 0.1, 1.0
_CONNECT_TIMEOUT_S = 5.0
_LONGEST_ABSENCE_S = 60.0


class ServiceUnreachableError(ServiceError):
    """Nothing answers at the service's address, or the connection broke."""

    code = "service_unreachable"
    status = 503
    title = "The service cannot be reached"
    retryable = True
    default_retry_after_s = 1.0


class WaitTimeoutError(ServiceError):
    """The job has not ended in the time that the caller wanted to wait; it goes on."""

    code = "wait_timeout"
    status = 504
    title = "The job takes longer than the caller waits"
    retryable = True


class RemoteError(ServiceError):
    """An answer that this client has no class for.

    Args:
        detail: What the service said.
        remote_status: HTTP status of the answer.
        remote_code: Code in the problem document, or None if there was none.
    """

    code: ClassVar[str] = "remote_error"
    title: ClassVar[str] = "The service answered with an error"

    def __init__(self, detail: str, *, remote_status: int, remote_code: str | None) -> None:
        super().__init__(detail)
        self.remote_status = remote_status
        self.remote_code = remote_code


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
        links: Paths by name: self, result, cancel.
        document: The whole answer.
        model: Name of the model that works on it, or None while unknown.
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


class VlmirClient:
    """Talks to one service. Use it as a context manager, or call `close`.

    Every method raises `ServiceUnreachableError` when nothing answers, and the `ServiceError` that belongs to the code
    of a problem document (`RemoteError` for codes of a newer service).

    Example:
        >>> with VlmirClient("http://127.0.0.1:8000") as client:  # doctest: +SKIP
        ...     restored = client.restore("old.jpg", quality="best")

    Args:
        base_url: Address of the service, with a path prefix if it has one.
        timeout_s: Longest silence within one request in seconds.
        transport: How requests travel; None means over the network.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 60.0, transport: httpx.BaseTransport | None = None) -> None:
        timeout = httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S)
        # Links in answers hold the whole path, prefix included, so they are joined to the origin.
        self._origin = httpx.URL(base_url).copy_with(raw_path=b"/")
        self._http = httpx.Client(base_url=base_url, timeout=timeout, transport=transport)

    def __enter__(self) -> VlmirClient:
        """Give the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def restore(
        self,
        photo: bytes | Path | str,
        *,
        mask: bytes | Path | str | None = None,
        timeout_s: float | None = None,
        on_progress: Callable[[RemoteJob], None] | None = None,
        **options: Any,
    ) -> bytes:
        """Restore a photo and wait for it.

        Args:
            photo: Bytes, or path of a file.
            mask: White where the photo is missing; bytes, path or None.
            timeout_s: Longest wait in seconds; None waits without end.
            on_progress: Called with the job whenever it has moved.
            options: quality, steps, seed, caption, format, model, start_within, finish_within (seconds); None means the
                default of the service.

        Returns:
            Bytes of the restored photo.

        Raises:
            JobFailedError: The restoration failed; `error_code` is "deadline_exceeded" when it was not done in time.
            JobCanceledError: Somebody canceled it.
            WaitTimeoutError: It takes longer than `timeout_s`; the job goes on.
        """
        job = self.submit(photo, mask=mask, **options)
        job = self.wait(job, timeout_s=timeout_s, on_progress=on_progress)
        if job.state is JobState.FAILED:
            raise JobFailedError(job.error_detail or "The service gave no reason.", error_code=job.error_code)
        if job.state is JobState.CANCELED:
            raise JobCanceledError("The job was canceled, so it has no result.")
        return self.result(job)

    def submit(self, photo: bytes | Path | str, *, mask: bytes | Path | str | None = None, **options: Any) -> RemoteJob:
        """Hand a photo in and do not wait; see `restore` for the arguments."""
        files = {"image": ("image", _bytes_of(photo))}
        if mask is not None:
            files["mask"] = ("mask", _bytes_of(mask))
        data = {name: str(value) for name, value in options.items() if value is not None}
        return _job_of(self._ask("POST", "restore", files=files, data=data))

    def models(self) -> tuple[str, ...]:
        """Give the names of the service's models; the first is for jobs that name none."""
        return tuple(item["name"] for item in self._ask("GET", "models").json()["models"])

    def job(self, job: RemoteJob | str) -> RemoteJob:
        """Give a job as it is now."""
        return _job_of(self._ask("GET", self._path(job, "self")))

    def result(self, job: RemoteJob | str) -> bytes:
        """Give the restored photo.

        Raises:
            ResultNotReadyError: The job has not ended.
            JobFailedError: It failed.
            JobCanceledError: It was canceled.
            ResultGoneError: The result was deleted after its time.
        """
        return self._ask("GET", self._path(job, "result")).content

    def cancel(self, job: RemoteJob | str) -> RemoteJob:
        """Ask to cancel a job and give it as it is then; one that has ended stays as it is."""
        return _job_of(self._ask("DELETE", self._path(job, "cancel")))

    def wait(
        self,
        job: RemoteJob | str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[RemoteJob], None] | None = None,
    ) -> RemoteJob:
        """Poll a job until it has ended; a service that is away for up to a minute is waited for too.

        Args:
            job: The job or its id.
            timeout_s: Longest wait in seconds; None waits without end.
            on_progress: Called with the job whenever it has moved.

        Raises:
            WaitTimeoutError: The time is up.
        """
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        away_until = time.monotonic() + _LONGEST_ABSENCE_S
        seen: RemoteJob | None = None
        pause_s = _FIRST_POLL_S
        while True:
            try:
                now = self.job(job)
            except ServiceError as error:
                if not error.retryable or time.monotonic() >= min(deadline, away_until):
                    raise
            else:
                away_until = time.monotonic() + _LONGEST_ABSENCE_S
                if now != seen:
                    pause_s, seen = _FIRST_POLL_S, now
                    if on_progress is not None:
                        on_progress(now)
                if now.state.is_terminal:
                    return now
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(f"The job has not ended within {timeout_s:g} s; it goes on.")
            # Spread, so that many clients do not ask in step.
            time.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            pause_s = min(pause_s * 1.5, _LAST_POLL_S)

    def _path(self, job: RemoteJob | str, name: str) -> httpx.URL | str:
        if isinstance(job, RemoteJob):
            return self._origin.join(job.links[name])
        return f"jobs/{job}/result" if name == "result" else f"jobs/{job}"

    def _ask(self, method: str, path: httpx.URL | str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise ServiceUnreachableError(
                f"{self._http.base_url} does not answer ({type(error).__name__}: {error})."
            ) from error
        if answer.is_success:
            return answer
        raise error_of(answer)


def error_of(answer: httpx.Response) -> ServiceError:
    """Give the error that an answer describes."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    code = problem.get("code")
    detail = str(problem.get("detail") or f"{answer.request.url} answered {answer.status_code}.")
    header = answer.headers.get("retry-after", "")
    retry_after_s = float(header) if header.isdecimal() else None
    if code == ResultNotReadyError.code:
        return ResultNotReadyError(str(problem.get("state", "unknown")), detail, retry_after_s=retry_after_s)
    if code == UnknownModelError.code:
        return UnknownModelError(detail, available=tuple(problem.get("available", ())))
    if code == JobFailedError.code:
        return JobFailedError(detail, error_code=problem.get("error_code"))
    kind = _known_errors().get(str(code))
    if kind is None:
        return RemoteError(detail, remote_status=answer.status_code, remote_code=code)
    return kind(detail, retry_after_s=retry_after_s)


def _known_errors() -> dict[str, type[ServiceError]]:
    """Give the public errors by code, without the classes that other modules derive from them."""
    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServiceError))
    return {kind.code: kind for kind in kinds}


def _job_of(answer: httpx.Response) -> RemoteJob:
    document = answer.json()
    error = document.get("error") or {}
    return RemoteJob(
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
    )


def _bytes_of(photo: bytes | Path | str) -> bytes:
    return photo if isinstance(photo, bytes) else Path(photo).read_bytes()
