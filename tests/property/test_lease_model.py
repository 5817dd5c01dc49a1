"""The model of lease and fence in docs/models, checked by Spin; `make model-check` looks at larger ones."""

from __future__ import annotations

import pytest

from tests.property.lease_model import BROKEN, LOST, missing_tool, verify

pytestmark = [
    pytest.mark.skipif(
        missing_tool() is not None, reason=f"{missing_tool()} is not installed (Debian packages spin, gcc)"
    ),
    pytest.mark.slow,
]


def test_nothing_bad_ever_happens() -> None:
    verdict = verify("-DFAULTS=2", "-DREDIS_CRASHES=1")
    assert verdict.errors == 0, verdict.output
    assert verdict.states > 100_000


def test_the_job_always_ends() -> None:
    verdict = verify("-DFAULTS=1", "-DREDIS_CRASHES=1", always_ends=True)
    assert verdict.errors == 0, verdict.output


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_on_purpose_is_found(name: str) -> None:
    assert verify("-DFAULTS=2", *BROKEN[name]).errors > 0


def test_a_job_that_never_reached_the_disk_may_be_lost() -> None:
    assert verify(*LOST, always_ends=True).errors > 0
