"""The queue on a real Redis Cluster: all of it on one node, which may change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from app.access.keyring import Keyring
from app.access.limiter import Limiter
from app.access.limits import Limits
from app.errors import QueueUnavailableError
from app.jobs.batch import BatchEntry, entry_job_id, new_batch_id
from app.jobs.connection import call, connect
from app.jobs.idempotency import KeyUse
from app.jobs.job import Job, JobState, RestoreOptions
from app.jobs.keys import Keys
from app.jobs.locating import HOME_SLOT
from app.jobs.previews import Preview
from app.jobs.queue import Claim, JobQueue
from app.worker.courier import end_tasks
from tests.support.batches import make_entry_job
from tests.support.jobs import make_job, open_queue, until
from tests.support.redis_nodes import Cluster, wait_for

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    nodes = Cluster(HOME_SLOT)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()


@pytest.fixture
async def queue(cluster: Cluster, namespace: str) -> AsyncIterator[JobQueue]:
    """A queue that is told of one node only, which has none of its keys."""
    async with open_queue(f"redis+cluster://{cluster.others()[0].address}", namespace) as opened:
        yield opened


async def finish(queue: JobQueue, claim: Claim) -> bool:
    return await queue.finish(claim, b"restored", "image/png", caption=None, findings=(), steps_total=1)


async def is_back(queue: JobQueue, job: Job) -> bool:
    try:
        await queue.submit(job, b"photo")
    except QueueUnavailableError:
        return False
    return True


async def test_whole_life_of_jobs(queue: JobQueue, cluster: Cluster, namespace: str) -> None:
    assert (await queue.check()).version is not None
    assert not any("cluster" in warning for warning in queue.server.warnings)
    key = KeyUse.of("default", "a key", "fingerprint")
    async with queue.idempotency.held(key):
        done = await queue.submit(make_job(), b"photo", b"mask", key=key)
    canceled, failed = await queue.submit(make_job(), b"photo"), await queue.submit(make_job("batch"), b"photo")
    with queue.news.follow(done.id) as news:
        (claim,) = await queue.claim("w", 1, 0)
        assert (claim.job_id, claim.image, claim.mask) == (done.id, b"photo", b"mask")
        await queue.listen(done.id)
        assert (await queue.renew(claim)).watched
        await queue.progress(claim, 1, 2, caption="a dog")
        await queue.preview(claim, Preview(1, 2, 8, 8, "image/webp", b"picture"))

        async def is_news() -> bool:  # the subscription may have come after the first ones
            await queue.progress(claim, 1, 2)
            return news.is_set()

        await until(is_news)
        waiter = asyncio.create_task(queue.wait(done.id, 60))
        assert await finish(queue, claim)
        assert (await waiter).state is JobState.SUCCEEDED
    assert await queue.result(done.id) == b"restored"
    assert [event.type for event in await queue.journal.read(done.id)][-1] == "state"
    assert (await queue.cancel(canceled.id)).state is JobState.CANCELED
    for _ in range(queue.policy.max_deliveries):
        (claim,) = await queue.claim("w", 1, 5000)
        assert await queue.fail(claim, "device_out_of_memory", "no luck", retryable=True)
    await queue.dead.retry(failed.id)
    (claim,) = await queue.claim("w", 1, 0)
    assert await queue.hand_back(claim)
    await queue.announce("w", ready=True, model="tiny", ttl_ms=60_000)
    assert [worker.name for worker in await queue.workers()] == ["w"]
    await queue.retire("w")
    batch_id, _ = await queue.batches.create(new_batch_id(), "default", 1, [BatchEntry(RestoreOptions(), "https://a/")])
    (taken,) = await queue.batches.take(1)
    await queue.submit(make_entry_job(entry_job_id(batch_id, taken.index), batch_id), b"photo", entry=taken.index)
    assert [entry.state for entry in (await queue.batches.get(batch_id)).entries] == ["queued"]
    assert await queue.purge(done.id)
    assert cluster.home().ask("DBSIZE") > 0
    assert [node.ask("DBSIZE") for node in cluster.others()] == [0, 0]


async def test_keys_and_limits_of_callers(cluster: Cluster, namespace: str) -> None:
    redis, keys = connect(f"redis+cluster://{cluster.others()[1].address}"), Keys(namespace)
    keyring = Keyring(redis, keys)
    key, _ = await keyring.create("test", "acme", frozenset({"jobs:read"}))
    assert [found.id for found in await keyring.all()] == [key.id]
    limiter = Limiter(redis, keys, Limits(rate_per_s=5, burst=5, daily_jobs=3, daily_megapixels=0))
    assert await limiter.admit("acme") is not None
    async with limiter.charged("acme", 1.0):
        pass
    await redis.aclose()


async def test_queue_follows_its_slot_to_another_node(queue: JobQueue, cluster: Cluster) -> None:
    home, target = cluster.home(), cluster.others()[0]
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    claiming = asyncio.create_task(queue.claim("other", 1, 60_000))  # blocked meanwhile
    try:
        cluster.begin_to_move(target)
        for ask in (lambda: queue.get(job.id), lambda: queue.submit(make_job(), b"photo"), lambda: queue.renew(claim)):
            with pytest.raises(QueueUnavailableError, match=r"TRYAGAIN|ASK"):  # and nothing is done by halves
                await ask()
        cluster.end_to_move(target)
        assert (await queue.renew(claim)).owned
        assert await finish(queue, claim)
        assert await queue.result(job.id) == b"restored"
        assert cluster.home() is target
        (outcome,) = await asyncio.gather(claiming, return_exceptions=True) if claiming.done() else (None,)
        assert outcome is None or isinstance(outcome, QueueUnavailableError)
    finally:
        await end_tasks([claiming])
        cluster.begin_to_move(home)
        cluster.end_to_move(home)
    assert (await queue.get(job.id)).state is JobState.SUCCEEDED


async def test_queue_goes_on_when_its_node_is_killed(queue: JobQueue, cluster: Cluster) -> None:
    job = await queue.submit(make_job(), b"photo")
    (claim,) = await queue.claim("w", 1, 0)
    home = cluster.home()
    assert await call(queue._redis, "WAIT", 1, 10_000) == 1
    home.kill()
    try:
        with pytest.raises(QueueUnavailableError):
            await queue.get(job.id)
        later = make_job()
        await until(lambda: is_back(queue, later), 30)
        assert (await queue.get(job.id)).state is JobState.RUNNING
        assert await finish(queue, claim)
        (other,) = await queue.claim("w", 1, 0)
        assert other.job_id == later.id
    finally:
        home.start()
        wait_for(lambda: home.replicates(cluster.home()), "the killed node is a replica now")
        cluster.settle()


async def test_one_node_alone_is_told_apart_from_a_server(cluster: Cluster, namespace: str) -> None:
    async with open_queue(f"redis://{cluster.others()[0].address}", namespace) as queue:
        assert any("redis+cluster://" in warning for warning in (await queue.check()).warnings)
        with pytest.raises(QueueUnavailableError, match="MOVED"):
            await queue.submit(make_job(), b"photo")
