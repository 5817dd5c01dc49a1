"""Scenes with callers who mean no good, or whose connections break."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from app.client import RemoteJob
from tests.soak.caller import Caller, UnexpectedError
from tests.soak.photos import make_bad

_REFUSALS = (400, 413, 415, 422)


async def send_damaged(caller: Caller) -> None:
    """A damaged file: refused, or a job that ends like any other and is then deleted."""
    change, data = await asyncio.to_thread(make_bad, caller.number(), caller.seed)
    answer = await caller.http.post("/restore", files={"image": ("photo", data)}, data={"steps": "1"})
    caller.expect(answer, 202, *_REFUSALS)
    if answer.status_code == 202:
        job = await caller.ended(RemoteJob.of(answer.json()))
        if job.error_code == "internal_error":
            raise UnexpectedError(f"a file ({change}) made the worker fail: {job.error_detail}")
        await caller.client.purge(job)


async def send_bomb(caller: Caller) -> None:
    """A file that is small and would cost much, or that is too large: each in its turn."""
    data, code = caller.photos.bombs[caller.number() % len(caller.photos.bombs)]
    answer = caller.expect(await caller.http.post("/restore", files={"image": ("photo", data)}), *_REFUSALS)
    if answer.json()["code"] != code:
        raise UnexpectedError(f"a bomb was refused with {answer.json()['code']}, expected {code}")


async def break_upload_off(caller: Caller) -> None:
    """Announce a photo, send half of it, hang up."""
    photo = caller.photos.middle[0]
    target = urlsplit(caller.url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    head = f"POST /restore HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Type: image/jpeg\r\n"
    writer.write(f"{head}Content-Length: {len(photo)}\r\n\r\n".encode() + photo[: len(photo) // 2])
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    del reader


async def hang_up_while_waiting(caller: Caller) -> None:
    """Ask for the restored photo as the answer and go away before it comes."""
    headers = {"Prefer": "wait=30", "Content-Type": "application/octet-stream"}
    asked = caller.http.post("/restore", params={"steps": "12"}, content=caller.photos.small[-1], headers=headers)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asked, 0.05)
