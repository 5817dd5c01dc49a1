"""A process that claims one job and then does nothing: `python -m tests.support.claimant URL NAMESPACE WORKER`."""

from __future__ import annotations

import asyncio
import sys

from tests.support.jobs import open_queue


async def main(url: str, namespace: str, worker: str) -> None:
    async with open_queue(url, namespace) as queue:
        (claim,) = await queue.claim(worker, 1, 10_000)
        sys.stdout.write(f"{claim.job.id}\n")
        sys.stdout.flush()
        await asyncio.sleep(120)  # until killed


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
