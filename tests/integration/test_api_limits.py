"""Rate limits and quotas over the real API and a real Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.access.errors import QuotaExceededError, RateLimitedError
from app.access.limiter import Limiter
from app.access.limits import Limits
from app.errors import QueueFullError
from app.jobs.connection import call, connect
from app.jobs.keys import Keys
from tests.support import sample_photos as samples
from tests.support.api import api_settings, running_api

pytestmark = pytest.mark.anyio


async def test_rate_lets_a_burst_pass_and_then_says_when_to_come_back(redis_url: str, namespace: str) -> None:
    limits: dict[str, Any] = {"rate_per_s": 0.01, "rate_burst": 3}
    async with running_api(api_settings(redis_url, namespace, **limits)) as (client, _):
        left = []
        for _ in range(3):
            answer = await client.post("/restore", content=samples.png())
            assert answer.status_code == 202
            assert answer.headers["ratelimit-policy"] == '"rate";q=3;w=300'
            left.append(answer.headers["ratelimit"].split(";")[1])
        assert left == ["r=2", "r=1", "r=0"]
        refused = await client.post("/restore", content=samples.png())
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.json()["violated-policies"] == ["rate"]
        assert refused.json()["retryable"]
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        assert refused.headers["ratelimit"].startswith('"rate";r=0;t=')
        looked = await client.get("/jobs")
        assert looked.status_code == 200
        assert "ratelimit" not in looked.headers


async def test_rate_is_one_for_all_processes_and_apart_for_tenants(redis_url: str, namespace: str) -> None:
    redis, keys = connect(redis_url), Keys(namespace)
    limits = Limits(rate_per_s=10, burst=5)
    limiters = [Limiter(redis, keys, limits) for _ in range(2)]
    answers = await asyncio.gather(
        *(limiters[number % 2].admit("acme") for number in range(20)), return_exceptions=True
    )
    passed = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert 5 <= len(passed) < 20
    assert await limiters[0].admit("umbrella") is not None
    # As if the time had come when the bucket is empty again.
    await call(redis, "INCRBYFLOAT", f"{keys.prefix}rate:acme", -10_000)
    standing = await limiters[1].admit("acme")
    assert standing is not None
    assert standing.free == 4
    await redis.aclose()


async def test_refused_requests_do_not_prolong_the_wait(redis_url: str, namespace: str) -> None:
    redis = connect(redis_url)
    limiter = Limiter(redis, Keys(namespace), Limits(rate_per_s=0.1, burst=1))
    await limiter.admit("acme")
    waits = []
    for _ in range(5):
        with pytest.raises(RateLimitedError) as refused:
            await limiter.admit("acme")
        waits.append(refused.value.retry_after_s)
    assert all(wait is not None and 9 < wait <= 10 for wait in waits)
    await redis.aclose()


async def test_jobs_count_against_the_day_when_they_are_accepted(redis_url: str, namespace: str) -> None:
    photo = samples.png()
    async with running_api(api_settings(redis_url, namespace, daily_jobs=2)) as (client, _):
        assert (await client.post("/restore", content=b"no photo")).status_code == 415
        key = {"Idempotency-Key": '"1"'}
        first = await client.post("/restore", content=photo, headers=key)
        assert first.headers["ratelimit"].startswith('"daily-jobs";r=1;t=')
        again = await client.post("/restore", content=photo, headers=key)
        assert again.json()["id"] == first.json()["id"]
        second = await client.post("/restore", content=photo)
        assert second.headers["ratelimit"].startswith('"daily-jobs";r=0;t=')
        third = await client.post("/restore", content=photo)
        assert (third.status_code, third.json()["code"]) == (429, "quota_exceeded")
        assert third.json()["violated-policies"] == ["daily-jobs"]
        assert 0 < int(third.headers["retry-after"]) <= 86400


async def test_photo_that_the_quota_does_not_hold_is_refused_and_smaller_ones_pass(
    redis_url: str, namespace: str
) -> None:
    redis = connect(redis_url)
    limiter = Limiter(redis, Keys(namespace), Limits(daily_megapixels=10))
    standing = await limiter.admit("acme")
    assert standing is not None
    async with limiter.charged("acme", 7.5, standing):
        assert standing.headers["RateLimit"].startswith('"daily-megapixels";r=2;t=')
    with pytest.raises(QuotaExceededError, match=r"7\.5 are used"):
        async with limiter.charged("acme", 2.6):
            raise AssertionError("must not be reached")
    with pytest.raises(QueueFullError):
        async with limiter.charged("acme", 2.5, standing):
            raise QueueFullError
    assert standing.megapixels == 7.5
    async with limiter.charged("acme", 2.5, standing):
        pass
    with pytest.raises(QuotaExceededError):
        await limiter.admit("acme")
    names = await redis.keys(f"{Keys(namespace).prefix}quota:acme:*")
    assert len(names) == 1
    assert 86400 < await redis.ttl(names[0]) <= 2 * 86400
    await redis.aclose()


async def test_tenants_may_have_limits_of_their_own(redis_url: str, namespace: str) -> None:
    redis, keys = connect(redis_url), Keys(namespace)
    now_s = [0.0]
    limiter = Limiter(redis, keys, Limits(), lambda: now_s[0])
    assert await limiter.admit("acme") is None
    await Limiter(redis, keys, Limits()).set_limits("acme", Limits(daily_jobs=7))
    now_s[0] += 5
    assert (await limiter.limits_of("acme")).daily_jobs == 7
    assert await limiter.own_limits() == {"acme": Limits(daily_jobs=7)}
    assert await limiter.limits_of("umbrella") == Limits()
    await limiter.set_limits("acme", None)
    assert await limiter.limits_of("acme") == Limits()
    await redis.aclose()
