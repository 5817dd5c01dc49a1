"""A sender that sends until it is killed: `python -m tests.support.webhook_process URL NAMESPACE LEASE_S`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

from tests.support.jobs import open_queue
from tests.support.webhook_host import POLICY, make_sender


async def main(url: str, namespace: str, lease_s: str) -> None:
    async with open_queue(url, namespace) as queue:
        await make_sender(queue.outbox, replace(POLICY, lease_s=float(lease_s))).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
