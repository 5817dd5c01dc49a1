"""How a result is written can be chosen with every way to hand a photo in; with the tiny model behind a real API."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import ExifTags, Image

from app.fetch.fetcher import ImageFetcher
from app.images import ImageLimits, decode, read_settings
from app.jobs.queue import Claim
from app.worker.local import restore_locally
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, working
from tests.support.photo_host import giving, loopback_policy, photo_host, resolving
from tests.support.server import live_api

if TYPE_CHECKING:
    from app.worker.runner import Runner

pytestmark = pytest.mark.anyio

PHOTO = samples.jpeg(64, 48, orientation=1, dpi=(300, 300), icc_profile=samples.srgb_profile())


def restoring(runner: Runner) -> Callable[[Claim], bytes]:
    return lambda claim: restore_locally(runner, claim.image, claim.job.options).data


def kept_of(data: bytes) -> tuple[bool, bool, bool]:
    """Whether a result has the maker's EXIF field, the profile, and settings."""
    with Image.open(io.BytesIO(data)) as image:
        return ExifTags.Base.Make in image.getexif(), "icc_profile" in image.info, bool(read_settings(data))


async def test_form_query_and_object_choose_alike(redis_url: str, namespace: str, runner: Runner) -> None:
    fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
    wait = {"Prefer": "wait=20"}
    async with (
        photo_host(giving(PHOTO)) as host,
        running_api(api_settings(redis_url, namespace), fetcher) as (
            client,
            services,
        ),
    ):
        async with working(services.queue, restoring(runner)):
            given: dict[str, Any] = {"steps": 1, "seed": 3, "photo_metadata": "strip", "quality_factor": 20}
            plain = await client.post("/restore?steps=1&seed=3", content=PHOTO, headers=wait)
            form = await client.post("/restore", files={"image": ("a", PHOTO)}, data=given, headers=wait)
            query = await client.post("/restore", params=given, content=PHOTO, headers=wait)
            reference = {"image_url": f"http://photos.example:{host.port}/a.jpg", **given}
            by_url = await client.post("/restore", json=reference, headers=wait)
        assert plain.status_code == form.status_code == query.status_code == by_url.status_code == 200
        assert form.content == query.content == by_url.content
        assert kept_of(plain.content) == (True, True, True)
        assert kept_of(form.content) == (False, True, False)
        assert len(form.content) < len(plain.content)
        told = read_settings(plain.content)
        assert (told["model"], told["steps"], told["seed"]) == ("tiny", "1", "3")
        job = (await client.get(f"/jobs/{form.headers['x-job-id']}")).json()
        assert (job["options"]["photo_metadata"], job["options"]["quality_factor"]) == ("strip", 20)


async def test_entries_of_a_batch_choose_each_for_itself(redis_url: str, namespace: str, runner: Runner) -> None:
    fetcher = ImageFetcher(loopback_policy(), resolving(["127.0.0.1"]))
    async with (
        photo_host(giving(PHOTO)) as host,
        running_api(api_settings(redis_url, namespace), fetcher) as (
            client,
            services,
        ),
    ):
        url = f"http://photos.example:{host.port}/a.jpg"
        body = {
            "options": {"steps": 1, "photo_metadata": "strip-gps"},
            "entries": [url, {"image_url": url, "photo_metadata": "strip"}, {"image_url": url, "quality_factor": 20}],
        }
        async with working(services.queue, restoring(runner)):
            answer = await client.post("/restore/batch", json=body)
            assert answer.status_code == 202
            await until_done(client, answer.headers["location"])
        page = (await client.get(f"{answer.headers['location']}/entries")).json()
        results = [(await client.get(f"/jobs/{entry['job']}/result")).content for entry in page["entries"]]
        assert [kept_of(data) for data in results] == [(True, True, True), (False, True, False), (True, True, True)]
        assert len(results[2]) < len(results[0])
        body["options"] = {"quality_factor": 101}
        refused = await client.post("/restore/batch", json=body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "quality_factor")


async def test_depth_transparency_and_profile_come_through(redis_url: str, namespace: str, runner: Runner) -> None:
    samples16 = samples.pixels(48, 32, 4, depth=16)
    deep = samples.png16(samples16)
    profile = samples.srgb_profile()
    chunk = samples.chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(profile))
    start = len(b"\x89PNG\r\n\x1a\n") + 25  # behind the header chunk
    photo = deep[:start] + chunk + deep[start:]
    wait = {"Prefer": "wait=20"}
    async with (
        running_api(api_settings(redis_url, namespace)) as (client, services),
        working(services.queue, restoring(runner)),
    ):
        same = await client.post("/restore?steps=1&photo_metadata=strip", content=photo, headers=wait)
        tiff = await client.post("/restore?steps=1&format=tiff&quality_factor=10", content=photo, headers=wait)
        webp = await client.post("/restore?steps=1&format=webp", content=photo, headers=wait)
    for answer, kind, depth in ((same, "png", np.uint16), (tiff, "tiff", np.uint16), (webp, "webp", np.uint8)):
        assert answer.headers["content-type"] == f"image/{kind}"
        result = decode(answer.content, ImageLimits())
        assert (result.format, result.rgb.dtype.type, result.icc) == (kind, depth, profile)
        assert result.alpha is not None
        assert np.array_equal(result.alpha, samples16[..., 3] if depth is np.uint16 else samples16[..., 3] // 257)
    assert len(np.unique(decode(same.content, ImageLimits()).rgb & 255)) > 100  # the low bytes too are pixels


async def until_done(client: httpx.AsyncClient, path: str) -> None:
    deadline = asyncio.get_running_loop().time() + 30
    while (batch := (await client.get(path)).json())["state"] != "done":
        assert asyncio.get_running_loop().time() < deadline, batch
        await asyncio.sleep(0.02)


async def test_limits_of_aspect_and_frames_are_settings(redis_url: str, namespace: str) -> None:
    settings = api_settings(redis_url, namespace, max_aspect_ratio=1.5, max_frames=1)
    async with running_api(settings) as (client, _):
        answers = [await client.post("/restore", content=data) for data in (samples.png(50, 32), samples.mpo())]
        assert [answer.json()["code"] for answer in answers] == ["image_too_large", "animated_image"]
        assert "50 x 32 pixels; one side may be at most 1.5 times" in answers[0].json()["detail"]
        assert "2 pictures; at most 1" in answers[1].json()["detail"]
        assert (await client.post("/restore", content=samples.png(48, 32))).status_code == 202


@pytest.mark.parametrize("levels", [32, 200])
async def test_object_that_is_nested_too_deeply_never_becomes_a_job(
    redis_url: str, namespace: str, levels: int
) -> None:
    metadata = '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"
    async with live_api(api_settings(redis_url, namespace)) as live:
        answer = await live.client.post("/restore", files={"image": ("a", PHOTO)}, data={"metadata": metadata})
        listed: dict[str, Any] = (await live.client.get("/jobs")).json()
        if levels > 32:
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "metadata")
            assert listed["jobs"] == []
        else:
            assert answer.status_code == 202
            assert [job["id"] for job in listed["jobs"]] == [answer.json()["id"]]
            assert (await live.client.delete(answer.headers["location"])).status_code == 200
