"""Uploads share a bound of memory: beyond it they are refused, and nothing of it is lost however they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from app.api.budget import UploadBudget
from app.errors import UploadsBusyError
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api

pytestmark = pytest.mark.anyio
PHOTO = samples.png(200, 150)


async def in_parts(data: bytes, half_sent: asyncio.Event, go_on: asyncio.Event) -> AsyncIterator[bytes]:
    yield data[: len(data) // 2]
    half_sent.set()
    await go_on.wait()
    yield data[len(data) // 2 :]


async def at_once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def assert_busy(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "uploads_busy"), answer.text
    assert int(answer.headers["retry-after"]) >= 1


async def test_uploads_beyond_the_memory_are_refused_until_others_end(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, upload_memory_bytes=len(PHOTO) + 100)
    half_sent, go_on = asyncio.Event(), asyncio.Event()
    async with running_api(settings) as (client, services):
        slow = asyncio.create_task(client.post("/restore", content=in_parts(PHOTO, half_sent, go_on)))
        await half_sent.wait()
        assert_busy(await client.post("/restore", content=PHOTO))  # by its Content-Length
        assert_busy(await client.post("/restore", content=at_once(PHOTO)))  # by what came
        assert_busy(await client.post("/restore", files={"image": ("photo.png", PHOTO)}))
        go_on.set()
        assert (await slow).status_code == 202
        assert services.uploads.held_bytes == 0
        assert (await client.post("/restore", content=PHOTO)).status_code == 202


@pytest.mark.parametrize("data", [PHOTO, b"no photo at all"])
async def test_memory_comes_back_however_the_upload_ends(redis_url: str, namespace: str, data: bytes) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services):
        await client.post("/restore", content=data)
        await client.post("/restore?steps=none", content=data)
        await client.post("/restore", files={"other": ("photo.png", data)})
        assert services.uploads.held_bytes == 0


async def test_upload_larger_than_the_memory_passes_alone(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, upload_memory_bytes=10)) as (client, _):
        assert (await client.post("/restore", content=PHOTO)).status_code == 202


def refusal(call: Callable[[], None]) -> UploadsBusyError:
    with pytest.raises(UploadsBusyError) as caught:
        call()
    return caught.value


def test_shares_count_what_came_and_not_what_was_announced() -> None:
    budget = UploadBudget(100)
    with budget.share() as first, budget.share() as second:
        first.expect(100)
        second.grow(60)
        first.grow(40)
        assert "100" in refusal(lambda: first.grow(1)).detail
        assert refusal(lambda: second.expect(61)).retry_after_s
    assert budget.held_bytes == 0
