"""Reading the body of a restore request: a form, the bare photo or a JSON object, never more bytes than allowed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import to_thread
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from app.api.budget import UploadShare
from app.api.json_text import parse_json_object
from app.errors import InvalidRequestError, UnsupportedMediaTypeError, UploadTooLargeError

_FORM_EXTRA_BYTES = 1024 * 1024  # boundaries, part headers and text fields
_MAX_FIELD_BYTES = 16 * 1024
_MAX_FIELDS = 32
_MAX_JSON_BYTES = 64 * 1024
_FILES = ("image", "mask")
_IDLE_S = 30.0
BODY_S = 300.0
"""Longest time for the body of one request, unless another one is given."""


@dataclass(frozen=True)
class Upload:
    """What a request brought.

    Attributes:
        image: Bytes of the photo, or its URL.
        mask: Bytes of the mask, its URL, or None.
        fields: Names and values of the text fields, or of the other members of the JSON object.
    """

    image: bytes | str
    mask: bytes | str | None
    fields: tuple[tuple[str, Any], ...] = ()


async def read_upload(request: Request, max_bytes: int, share: UploadShare, timeout_s: float = BODY_S) -> Upload:
    """Read the body as far as it is allowed to go.

    Args:
        request: The request; its body was not read yet.
        max_bytes: Most bytes of the photo, and of the mask.
        share: This request's part of the memory for uploads; the caller ends it once the bytes are elsewhere.
        timeout_s: Longest time in seconds in which all of it must come.

    Raises:
        UploadsBusyError: Other uploads fill the memory.
        UnsupportedMediaTypeError: The content type is no form, no photo and no JSON.
        UploadTooLargeError: There are too many bytes, whatever Content-Length said.
        InvalidRequestError: The form or the object is broken or lacks the photo, or the body stopped or took too long.
    """
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, max_bytes, share, timeout_s)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return Upload(await _read_all(request, max_bytes, share, timeout_s), None)
    if kind == "application/json":
        return read_reference(await read_json(request, min(max_bytes, _MAX_JSON_BYTES), share, timeout_s))
    raise UnsupportedMediaTypeError(
        f"The content type is {kind[:64]!r}. Send a multipart/form-data form with a field `image`, the bytes of the "
        "photo with an image/* type or application/octet-stream, or application/json with an `image_url`."
    )


async def read_json(request: Request, max_bytes: int, share: UploadShare, timeout_s: float = BODY_S) -> dict[str, Any]:
    """Read a body that is a JSON object; raises as `read_upload`."""
    body = await _read_all(request, max_bytes, share, timeout_s)
    try:
        return await to_thread.run_sync(parse_json_object, body)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"The body cannot be read: {error.detail}.") from None


def read_reference(members: dict[str, Any]) -> Upload:
    """Take the URLs out of a JSON object; its other members are options.

    Raises:
        InvalidRequestError: There is no `image_url`, or a URL is no text.
    """
    left = dict(members)
    image, mask = left.pop("image_url", None), left.pop("mask_url", None)
    if not isinstance(image, str) or not image:
        raise InvalidRequestError("The object has no text `image_url`. Give the https URL of the photo there.")
    if mask is not None and not isinstance(mask, str):
        raise InvalidRequestError("`mask_url` is no text. Give the https URL of the mask there, or leave it out.")
    return Upload(image, mask or None, tuple(left.items()))


async def _read_all(request: Request, max_bytes: int, share: UploadShare, timeout_s: float) -> bytes:
    body = bytearray()
    async for chunk in _bounded(request, max_bytes, share, timeout_s):
        body += chunk
    return bytes(body)


async def _bounded(request: Request, max_bytes: int, share: UploadShare, timeout_s: float) -> AsyncIterator[bytes]:
    """Give the chunks of the body; ends it with an error when it grows too long, stops coming or takes too long."""
    refusal = UploadTooLargeError(f"The upload has more than {max_bytes:,} bytes, the most that is allowed.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        if int(declared) > max_bytes:
            raise refusal
        share.expect(int(declared))
    received = 0
    chunks = request.stream()
    # Bytes hold memory from their arrival, so a sender that goes on and on must not keep them for ever either.
    end_s = time.monotonic() + timeout_s
    while True:
        left_s = end_s - time.monotonic()
        try:
            with anyio.fail_after(min(_IDLE_S, max(0.0, left_s))):
                chunk = await anext(chunks, None)
        except ClientDisconnect as error:
            raise InvalidRequestError("The connection closed before the whole body had come.") from error
        except TimeoutError as error:
            if left_s < _IDLE_S:
                raise _too_slow(timeout_s) from error
            raise InvalidRequestError(f"No byte of the body came for {_IDLE_S:g} s. Send it again.") from error
        if chunk and left_s <= 0:
            raise _too_slow(timeout_s)
        if chunk is None:
            return
        received += len(chunk)
        if received > max_bytes:
            raise refusal
        share.grow(len(chunk))
        yield chunk


def _too_slow(timeout_s: float) -> InvalidRequestError:
    return InvalidRequestError(f"The body did not come within {timeout_s:g} s. Send it faster, or in smaller requests.")


class _FormReader(MultiPartParser):
    """Starlette's parser with files kept in memory and a bound on each of them."""

    def __init__(
        self, headers: Headers, stream: AsyncGenerator[bytes, None], max_file_bytes: int, max_files: int
    ) -> None:
        super().__init__(headers, stream, max_files=max_files, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
        self.spool_max_size = max_file_bytes + 1  # the photo goes on as bytes, a detour over the disk would only cost
        self._max_file_bytes = max_file_bytes
        self._part_bytes = 0

    def close(self) -> None:
        """Give the memory of all files back, also of one whose end never came."""
        for file in self._files_to_close_on_error:
            file.close()

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._part_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._part_bytes += end - start
        if self._part_bytes > self._max_file_bytes:
            raise UploadTooLargeError(f"A file has more than {self._max_file_bytes:,} bytes, the most that is allowed.")
        super().on_part_data(data, start, end)


async def _read_form(request: Request, max_bytes: int, share: UploadShare, timeout_s: float) -> Upload:
    async with _parsed_form(request, max_bytes, len(_FILES) * max_bytes, len(_FILES), share, timeout_s) as form:
        return await _unpack(form)


@asynccontextmanager
async def parse_photos(
    request: Request, max_bytes: int, max_total_bytes: int, max_photos: int, share: UploadShare, timeout_s: float
) -> AsyncIterator[tuple[list[UploadFile], tuple[tuple[str, str], ...]]]:
    """Read a form with many files `image`; they and the text fields are there for as long as the block lasts.

    Args:
        request: The request; its body was not read yet.
        max_bytes: Most bytes of one file.
        max_total_bytes: Most bytes of all of them.
        max_photos: Most files.
        share: As for `read_upload`.
        timeout_s: Likewise.

    Raises:
        ServiceError: As `read_upload`.
    """
    async with _parsed_form(request, max_bytes, max_total_bytes, max_photos, share, timeout_s) as form:
        items = form.multi_items()
        photos = [value for _, value in items if isinstance(value, UploadFile)]
        strange = next((name for name, value in items if isinstance(value, UploadFile) and name != "image"), None)
        if strange is not None:
            raise InvalidRequestError(f"The form has a file {strange[:64]!r}; a batch takes files `image` alone.")
        yield photos, tuple((name, value) for name, value in items if not isinstance(value, UploadFile))


@asynccontextmanager
async def _parsed_form(
    request: Request, max_bytes: int, max_total_bytes: int, max_files: int, share: UploadShare, timeout_s: float
) -> AsyncIterator[FormData]:
    async def stream() -> AsyncGenerator[bytes, None]:
        async for chunk in _bounded(request, max_total_bytes + _FORM_EXTRA_BYTES, share, timeout_s):
            yield chunk

    reader = _FormReader(request.headers, stream(), max_bytes, max_files)
    try:
        yield await _parse(reader)
    finally:
        reader.close()


async def _parse(reader: _FormReader) -> FormData:
    try:
        return await reader.parse()
    except MultiPartException as error:
        raise InvalidRequestError(f"The form cannot be read: {error.message} A photo needs a file name.") from error
    # Wrong boundaries and exotic charsets come up as these.
    except (FormParserError, UnicodeError, ValueError) as error:
        raise InvalidRequestError("The form cannot be read: it is no valid multipart/form-data.") from error


async def _unpack(form: FormData) -> Upload:
    files: dict[str, bytes] = {}
    fields = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields.append((name, value))
        elif name in files or name not in _FILES:
            raise InvalidRequestError(f"The form has a file {name[:64]!r} too many; it takes `image` and `mask`.")
        else:
            files[name] = await value.read()
    if "image" not in files:
        hint = " (it came as text: give the part a file name)" if any(name == "image" for name, _ in fields) else ""
        raise InvalidRequestError(f"The form has no file `image`{hint}. Send the photo in a field of that name.")
    return Upload(files["image"], files.get("mask") or None, tuple(fields))
