"""Jobs that name a model, over a real Redis: which there are, which are refused, what the job says."""

from __future__ import annotations

import httpx
import pytest

from app.client import VlmirClient
from app.errors import ModelUnavailableError, UnknownModelError
from app.jobs.queue import Claim
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api, working

pytestmark = pytest.mark.anyio
MODELS = "tiny,night=/models/low-light"


async def test_models_are_listed_with_the_workers_that_have_them(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, models=MODELS)) as (client, services):
        assert (await client.get("/models")).json() == {
            "models": [
                {"name": "tiny", "default": True, "workers": 0},
                {"name": "night", "default": False, "workers": 0},
            ]
        }
        await services.queue.announce("old", True, "tiny", 60_000)
        await services.queue.announce("new", True, "tiny", 60_000, ["tiny", "night"])
        await services.queue.announce("loading", False, "", 60_000, [])
        listed = (await client.get("/models")).json()["models"]
        assert [(item["name"], item["workers"]) for item in listed] == [("tiny", 2), ("night", 1)]
        ready = (await client.get("/readyz")).json()
        assert ready["warnings"] == []
        workers = {worker["name"]: worker for worker in ready["workers"]}
        assert workers["new"]["models"] == ["tiny", "night"]
        assert (workers["loading"]["models"], workers["loading"]["ready"]) == ([], False)


async def test_models_that_no_ready_worker_has_are_told(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, models=MODELS)) as (client, services):
        await services.queue.announce("other", True, "noise", 60_000, ["noise", "night"])
        await services.queue.announce("loading", False, "tiny", 60_000, ["tiny"])
        ready = await client.get("/readyz")
        assert ready.status_code == 200  # jobs that name no model are restored all the same
        (warning,) = ready.json()["warnings"]
        assert "No ready worker has the models tiny, they have night, noise." in warning


@pytest.mark.parametrize("where", ["query", "form"])
async def test_unknown_model_is_refused_with_those_there_are(redis_url: str, namespace: str, where: str) -> None:
    async with running_api(api_settings(redis_url, namespace, models=MODELS)) as (client, services):
        answer = await client.post(
            "/restore",
            files={"image": ("a.png", samples.png(), "image/png")},
            params={"model": "small"} if where == "query" else {},
            data={"model": "small"} if where == "form" else {},
        )
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["code"], problem["available"]) == ("unknown_model", ["tiny", "night"])
        assert "there are tiny, night" in problem["detail"]
        assert sum((await services.queue.depth()).values()) == 0


async def test_named_model_is_part_of_the_job(redis_url: str, namespace: str) -> None:
    async with running_api(api_settings(redis_url, namespace, models=MODELS)) as (client, services):
        for name, expected in (("night", "night"), ("", None)):
            answer = await client.post(f"/restore?model={name}", content=samples.png())
            assert answer.status_code == 202
            assert answer.json()["options"]["model"] == expected
            assert answer.json()["model"] is None  # no worker has begun
            assert (await services.queue.get(answer.json()["id"])).options.model == expected
        (first, _) = await services.queue.claim("w", 2, 0)
        await services.queue.progress(first, 0, 2, model="night")
        assert (await client.get(f"/jobs/{first.job_id}")).json()["model"] == "night"
        await services.queue.finish(
            first, b"x", "image/png", caption=None, findings=(), steps_total=2, model="elsewhere"
        )
        assert (await client.get(f"/jobs/{first.job_id}")).json()["model"] == "elsewhere"


async def test_worker_without_the_model_gives_a_clear_answer(redis_url: str, namespace: str) -> None:
    def refuse(claim: Claim) -> Exception:
        return ModelUnavailableError(f"no {claim.job.options.model}")

    settings = api_settings(redis_url, namespace, models=MODELS)
    async with running_api(settings) as (client, services), working(services.queue, refuse):
        answer = await client.post("/restore?model=night", content=samples.png(), headers={"Prefer": "wait=20"})
        assert answer.status_code == 503
        problem = answer.json()
        assert (problem["code"], problem["error_code"]) == ("job_failed", "model_unavailable")
        assert "no night" in problem["detail"]


def test_client_names_the_model_and_reads_the_refusal() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path == "/models":
            return httpx.Response(200, json={"models": [{"name": "tiny"}, {"name": "night"}]})
        problem = {"code": "unknown_model", "detail": "There is no model 'x'.", "available": ["tiny", "night"]}
        return httpx.Response(422, json=problem)

    with VlmirClient("http://vlmir.test", transport=httpx.MockTransport(answer)) as client:
        assert client.models() == ("tiny", "night")
        with pytest.raises(UnknownModelError, match="no model 'x'") as caught:
            client.submit(b"photo", model="x")
    assert caught.value.available == ("tiny", "night")
    assert b'name="model"\r\n\r\nx' in seen[1].read()
