"""Sends webhooks: not the request and not the worker do, but a task of every API process, from the outbox in Redis.

A sender may die at any moment: what it had taken is given out again when its lease ends, so a receiver may get a
webhook twice (with the same webhook-id) and never not at all.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time

import anyio

from app.errors import ImageFetchError, ImageUrlRefusedError, QueueUnavailableError
from app.fetch.pinned import PinnedClient
from app.jobs.outbox import Attempt, Message, Outbox, Outcome
from app.metrics import record_webhook
from app.webhooks.payload import DescribeJob, render
from app.webhooks.policy import WebhookPolicy
from app.webhooks.post import Answer, post
from app.webhooks.signing import WebhookSecrets, signed_headers

logger = logging.getLogger("app.webhooks")

_GONE = 410
_BUSY = (429, 503)
_IDLE_S = 0.5
_STOP_S = 0.5


class WebhookSender:
    """Sends what is due.

    Args:
        outbox: Where webhooks come from.
        client: Sends the requests, to addresses that were judged.
        secrets: Keys of the signatures.
        policy: Bounds.
        describe: Gives jobs as the API shows them.
        prefix: Put before the paths of links.
        chance: Source of the jitter; None takes one that nobody can foresee.
    """

    def __init__(
        self,
        outbox: Outbox,
        client: PinnedClient,
        secrets: WebhookSecrets,
        policy: WebhookPolicy,
        describe: DescribeJob,
        prefix: str = "",
        chance: random.Random | None = None,
    ) -> None:
        self._outbox, self._client, self._secrets, self._policy = outbox, client, secrets, policy
        self._describe, self._prefix = describe, prefix
        self._chance = chance or random.SystemRandom()
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._news = asyncio.Event()
        self._is_stopping = False

    def stop(self) -> None:
        """Make `run` end soon; what is under way is given back."""
        self._is_stopping = True
        self._news.set()

    async def run(self) -> None:
        """Send until stopped."""
        try:
            while not self._is_stopping:
                self._news.clear()
                try:
                    await self._start_some()
                except QueueUnavailableError:
                    pass  # requests tell, and the queue comes back
                except Exception:
                    logger.exception("webhooks cannot be looked at")
                with anyio.move_on_after(_IDLE_S):
                    await self._news.wait()
        finally:
            # More than once, because a timeout inside may swallow a cancellation before Python 3.12.
            while tasks := list(self._tasks):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=_STOP_S)

    async def _start_some(self) -> None:
        policy = self._policy
        free = policy.at_once - len(self._tasks)
        if free <= 0:
            return
        lease_ms = int(policy.lease_s * 1000)
        for message in await self._outbox.take(free, lease_ms, policy.at_once_per_endpoint, self._tasks.values()):
            task = asyncio.create_task(self._send(message))
            self._tasks[task] = message.endpoint
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._news.set()
        if not task.cancelled() and task.exception() is not None:
            # Redis was away in the middle: it comes again when its lease runs out.
            logger.warning("a webhook was left for later: %s", task.exception())

    async def _send(self, message: Message) -> None:
        policy, started = self._policy, time.monotonic()
        at_ms = int(time.time() * 1000)
        if message.failures > len(policy.schedule_s):  # whoever took it last disappeared
            await self._settle(message, "failed", Attempt(at_ms, error="The senders of the last tries disappeared."))
            return
        answer: Answer | None = None
        error: str | None = None
        is_final = is_silent = False
        try:
            answer = await self._post(message)
        except asyncio.CancelledError:  # this process stops; else it would wait for the end of its lease
            await self._settle(message, "release", Attempt(at_ms, error="The sender was stopped."))
            raise
        except ImageUrlRefusedError as refusal:
            error, is_final = refusal.detail.replace("is not fetched", "is not sent to"), True
        except ImageFetchError as failure:
            error, is_silent = failure.detail, True
        except TimeoutError:
            error, is_silent = f"No answer within {policy.timeout_s:g} s.", True
        except Exception:
            logger.exception("webhook %s cannot be sent", message.id)
            error = "The service met an unexpected error."
        status = None if answer is None else answer.status
        attempt = Attempt(at_ms, status, error, round(time.monotonic() - started, 3))
        if status is not None and 200 <= status < 300:
            await self._settle(message, "delivered", attempt)
            return
        if status == _GONE:
            await self._settle(message, "disabled", attempt)
            return
        retry_after_s = None if answer is None else answer.retry_after_s
        delay_s = None if is_final else policy.pause_s(message.failures + 1, retry_after_s, self._chance)
        is_silent |= status in _BUSY and retry_after_s is not None
        pause_s = min(delay_s or policy.endpoint_pause_s, policy.endpoint_pause_s) if is_silent else 0.0
        await self._settle(message, "failed" if delay_s is None else "retry", attempt, delay_s or 0.0, pause_s)

    async def _post(self, message: Message) -> Answer:
        body = render(message, self._describe, self._prefix)
        headers = signed_headers(self._secrets.of(message.tenant), message.id, int(time.time()), body)
        return await post(self._client, message.url, headers, body, self._policy.timeout_s)

    async def _settle(
        self, message: Message, outcome: Outcome, attempt: Attempt, delay_s: float = 0.0, pause_s: float = 0.0
    ) -> None:
        record_webhook(outcome)
        if outcome in ("failed", "disabled"):
            logger.warning(
                "webhook %s (%s) is given up after %d tries: %s",
                message.id, message.event, message.number, attempt.error or f"status {attempt.status}",
            )  # fmt: skip
        if not await self._outbox.settle(message, outcome, attempt, delay_s, pause_s):
            logger.warning("webhook %s was taken over by another sender", message.id)
