"""A worker without a model: claims, waits a little, commits.

Run it as `python -m tests.support.queue_worker URL NAMESPACE NAME`.
"""

from __future__ import annotations

import asyncio
import sys

from app.errors import QueueUnavailableError
from app.jobs.queue import JobQueue, QueuePolicy
from tests.support.jobs import open_queue

POLICY = QueuePolicy(lease_ms=300, max_deliveries=100)


async def work(queue: JobQueue, name: str) -> None:
    try:
        for claim in await queue.claim(name, 2, 200):
            await asyncio.sleep(0.02)
            image = claim.image + b" restored"
            await queue.finish(claim, image, "image/png", caption=name, findings=(), steps_total=claim.fence)
    except QueueUnavailableError:
        await asyncio.sleep(0.05)


async def main(url: str, namespace: str, name: str) -> None:
    async with open_queue(url, namespace, POLICY) as queue:
        while True:
            await work(queue, name)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
