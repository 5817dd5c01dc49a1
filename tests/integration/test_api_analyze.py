"""POST /analyze over HTTP with a real worker and the tiny model: one photo, many, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from app.api.analysis_schemas import AnalysisModel
from app.cli import app as cli
from app.client import AsyncVlmirClient, RemoteAnalysis, RemoteError, VlmirClient
from app.client.errors import WaitTimeoutError
from app.errors import InvalidImageError, InvalidOptionError, JobFailedError, ServiceError
from app.fetch.fetcher import ImageFetcher
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, until_state
from tests.support.api import working as scripted
from tests.support.photo_host import giving, loopback_policy, photo_host
from tests.support.server import live_api
from tests.support.workers import noise_png, working

if TYPE_CHECKING:
    from pathlib import Path

    from app.worker.runner import Runner

pytestmark = pytest.mark.anyio
PHOTO = noise_png(90, 70)


async def test_answer_is_the_analysis_and_nothing_is_restored(redis_url: str, namespace: str, runner: Runner) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, services), working(services.queue, runner):
        answer = await client.post(
            "/analyze", files={"image": PHOTO}, data={"caption": "a cat", "metadata": '{"n": 1}'}
        )
        assert answer.status_code == 200, answer.text
        seen = AnalysisModel.model_validate(answer.json())
        assert (seen.width, seen.height, seen.caption, seen.model) == (90, 70, "a cat", "tiny")
        assert len(seen.degradations) == 10
        assert "Preference-Applied" not in answer.headers
        job = (await client.get(f"/jobs/{answer.headers['x-job-id']}")).json()
        assert (job["task"], job["state"], job["priority"], job["steps_total"]) == (
            "analyze",
            "succeeded",
            "interactive",
            0,
        )
        assert job["metadata"] == {"n": 1}
        assert job["degradations"][0]["kind"] == seen.degradations[0].kind
        again = await client.get(answer.headers["content-location"])
        assert again.json() == answer.json()
        assert again.headers["content-disposition"].endswith('.json"')
        bare = await client.post("/analyze?caption=a%20cat", content=PHOTO, headers={"Content-Type": "image/png"})
        assert bare.json()["degradations"] == answer.json()["degradations"]


async def test_url_is_looked_at_too(redis_url: str, namespace: str, runner: Runner) -> None:
    async with photo_host(giving(PHOTO)) as host:
        settings, fetcher = api_settings(redis_url, namespace), ImageFetcher(loopback_policy())
        async with running_api(settings, fetcher) as (client, services), working(services.queue, runner):
            body: dict[str, Any] = {"image_url": f"http://127.0.0.1:{host.port}/a.png"}
            assert (await client.post("/analyze", json=body)).json()["width"] == 90
            both = {"entries": [body["image_url"], body], "options": {"caption": "x"}}
            batch = (await client.post("/analyze/batch", json=both)).json()
            await until_state(client, batch["links"]["self"], "done")
            page = (await client.get(batch["links"]["analyses"])).json()
            assert [entry["analysis"]["caption"] for entry in page["entries"]] == ["x", "x"]


async def test_without_waiting_the_job_is_named(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        for prefer, applied in (("respond-async", "respond-async"), ("wait=0", "wait=0")):
            answer = await client.post("/analyze", content=PHOTO, headers={"Prefer": prefer})
            assert answer.status_code == 202
            assert answer.headers["preference-applied"] == applied
            assert answer.json()["links"]["self"] == answer.headers["location"]


async def test_default_wait_ends_at_the_longest_allowed(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, max_wait_s=0)) as (client, _):
        assert (await client.post("/analyze", content=PHOTO)).status_code == 202


async def test_a_key_given_to_restore_is_not_one_for_analyze(redis_url: str, namespace: str) -> None:
    headers = {"Idempotency-Key": '"k"', "Prefer": "respond-async"}
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        first = await client.post("/analyze", content=PHOTO, headers=headers)
        second = await client.post("/analyze", content=PHOTO, headers=headers)
        assert second.headers["idempotent-replayed"] == "true"
        assert second.json()["id"] == first.json()["id"]
        other = await client.post("/restore", content=PHOTO, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("request_", "status", "fields"),
    [
        ({"content": PHOTO, "params": {"steps": "3"}}, 422, {"steps"}),
        ({"files": {"image": PHOTO}, "data": {"quality": "best", "kinds": "rain"}}, 422, {"quality", "kinds"}),
        ({"content": PHOTO, "params": {"size": "3"}}, 422, {"size"}),
        ({"files": {"image": PHOTO, "mask": PHOTO}}, 400, None),
        ({"json": {"image_url": "https://photos.example/1", "mask_url": "https://photos.example/2"}}, 400, None),
    ],
)
async def test_what_has_no_part_in_an_analysis_is_refused(
    redis_url: str, namespace: str, request_: dict[str, Any], status: int, fields: set[str] | None
) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        answer = await client.post("/analyze", **request_)
        assert answer.status_code == status, answer.text
        if fields is not None:
            assert {item["field"] for item in answer.json()["errors"]} == fields


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"entries": ["https://photos.example/1"], "options": {"seed": 1}}, 422, "seed"),
        (
            {"entries": ["https://photos.example/1", {"image_url": "https://x.example", "format": "png"}]},
            422,
            "entries[1].format",
        ),
        ({"entries": [{"image_url": "https://x.example", "mask_url": "https://x.example"}]}, 400, None),
        ({"entries": "x", "options": 3}, 400, None),
    ],
)
async def test_batches_refuse_it_too(
    redis_url: str, namespace: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    async with running_api(api_settings(redis_url, namespace)) as (client, _):
        answer = await client.post("/analyze/batch", json=body)
        assert answer.status_code == status, answer.text
        assert field is None or [item["field"] for item in answer.json()["errors"]] == [field]


async def test_batch_tells_of_every_photo_in_order(redis_url: str, namespace: str, runner: Runner) -> None:
    photos = [noise_png(40 + 8 * n, 50, n) for n in range(3)]
    files = [("image", ("a", data)) for data in (photos[0], b"no photo", *photos[1:])]
    async with running_api(api_settings(redis_url, namespace)) as (client, services), working(services.queue, runner):
        batch = (await client.post("/analyze/batch", files=files)).json()
        await until_state(client, batch["links"]["self"], "done")
        first = await client.get(f"{batch['links']['analyses']}?limit=2")
        entries = first.json()["entries"]
        assert entries[0]["analysis"]["width"] == 40
        assert entries[1]["analysis"] is None
        assert entries[1]["error"]["code"] == "unsupported_format"
        assert first.headers["link"] == f'<{first.json()["links"]["next"]}>; rel="next"'
        last = (await client.get(first.json()["links"]["next"])).json()
        assert [entry["analysis"]["width"] for entry in last["entries"]] == [48, 56]
        assert last["links"]["next"] is None
        job = (await client.get(last["entries"][0]["links"]["job"])).json()
        assert (job["task"], job["priority"]) == ("analyze", "batch")


async def test_restored_batches_have_no_analyses_and_failed_jobs_say_why(redis_url: str, namespace: str) -> None:
    def work(claim: Any) -> bytes | Exception:
        return samples.png() if claim.job.options.task is None else InvalidImageError("planted")

    async with running_api(api_settings(redis_url, namespace)) as (client, services), scripted(services.queue, work):
        for path, error in (
            ("/restore/batch", None),
            ("/analyze/batch", {"code": "invalid_image", "detail": "planted"}),
        ):
            batch = (await client.post(path, files={"image": PHOTO})).json()
            await until_state(client, batch["links"]["self"], "done")
            (entry,) = (await client.get(batch["links"]["analyses"])).json()["entries"]
            assert (entry["analysis"], entry["error"]) == (None, error)
        answer = await client.post("/analyze", content=PHOTO)
        assert (answer.status_code, answer.json()["code"]) == (422, "job_failed")
        assert answer.json()["error_code"] == "invalid_image"


async def test_an_analysis_of_another_release_is_told_and_spoils_no_other(redis_url: str, namespace: str) -> None:
    stored = iter([b'{"caption": null}', b"\xff no JSON"])

    def work(_claim: Any) -> bytes:
        return next(stored)

    async with running_api(api_settings(redis_url, namespace)) as (client, services), scripted(services.queue, work):
        files = [("image", ("a", data)) for data in (PHOTO, b"no photo", PHOTO)]
        batch = (await client.post("/analyze/batch", files=files)).json()
        await until_state(client, batch["links"]["self"], "done")
        answer = await client.get(batch["links"]["analyses"])
        assert answer.status_code == 200, answer.text
        old, refused, strange = answer.json()["entries"]
        assert (old["analysis"], old["error"]["code"]) == (None, "result_gone")
        assert "another release" in old["error"]["detail"]
        assert strange["error"] == old["error"]
        assert refused["error"]["code"] == "unsupported_format"


async def test_clients_analyze(redis_url: str, namespace: str, runner: Runner) -> None:
    settings = api_settings(redis_url, namespace)
    async with live_api(settings) as api, working(api.services.queue, runner):
        url = f"http://127.0.0.1:{api.port}"

        def plain() -> tuple[RemoteAnalysis, list[RemoteAnalysis | ServiceError]]:
            with VlmirClient(url) as client:
                with pytest.raises(InvalidOptionError, match="steps"):
                    client.analyze(PHOTO, steps=3)
                return client.analyze(PHOTO, caption="a dog"), client.analyze_many([PHOTO, b"x"], caption="a dog")

        one, many = await asyncio.to_thread(plain)
        assert many[0] == one
        assert isinstance(many[1], RemoteError)
        assert many[1].remote_code == "unsupported_format"
        async with AsyncVlmirClient(url) as client:
            assert await client.analyze(PHOTO, caption="a dog") == one
            assert await client.analyze_many([PHOTO], caption="a dog") == [one]


async def test_command_asks_the_service_and_shows_what_it_says(
    redis_url: str, namespace: str, runner: Runner, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(PHOTO)

    async def vlmir(*more: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, cli, ["analyze", str(tmp_path / "a.png"), *more])

    async with live_api(api_settings(redis_url, namespace)) as api, working(api.services.queue, runner):
        server = ("--server", f"http://127.0.0.1:{api.port}")
        report = json.loads((await vlmir("--json", "--caption", "a cat", *server)).output)
        assert (report["caption"], report["width"]) == ("a cat", 90)
        assert report["estimated_s"] > 0
        shown = (await vlmir(*server)).output
        assert "90 x 70 pixels" in shown
        assert "suggestion: " in shown
        assert " s" in shown.splitlines()[-1]
        refused = await vlmir("--model", "night", *server)
        assert (refused.exit_code, "There is no model 'night'" in refused.output) == (1, True)


async def test_client_goes_on_where_the_service_stops_waiting(redis_url: str, namespace: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(live_api(api_settings(redis_url, namespace, max_wait_s=0)))
        client = await stack.enter_async_context(AsyncVlmirClient(f"http://127.0.0.1:{api.port}"))
        with pytest.raises(WaitTimeoutError):
            await client.analyze(PHOTO, timeout_s=0)
        with pytest.raises(WaitTimeoutError):
            await client.analyze_many([PHOTO], timeout_s=0)

        def work(_: Any) -> Exception:
            return InvalidImageError("planted")

        async with scripted(api.services.queue, work):
            with pytest.raises(JobFailedError, match="planted"):
                await client.analyze(PHOTO)
