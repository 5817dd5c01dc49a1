"""Fixtures of tests with a worker in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.support.workers import Benches, tiny_runner

if TYPE_CHECKING:
    from app.worker.runner import Runner


@pytest.fixture(scope="module")
def runner() -> Runner:
    """The tiny model, loaded."""
    return tiny_runner()


@pytest.fixture
async def benches(runner: Runner) -> AsyncIterator[Benches]:
    """Workbenches with that model, ended with the test."""
    made = Benches(runner)
    yield made
    await made.close()
