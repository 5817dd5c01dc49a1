"""The API keeps what its description says, whatever is sent: schemathesis with all of its checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.operation_errors import OPERATIONS
from tests.fuzz.run import fuzz
from tests.fuzz.service import running_service

SECONDS = 60
ACCEPTED = ("POST /restore", "POST /analyze", "POST /restore/batch", "POST /analyze/batch", "GET /jobs/{job_id}")


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_api_is_as_it_is_described(tmp_path: Path) -> None:
    with running_service(tmp_path) as url:
        outcome = fuzz(url, tmp_path, seconds=SECONDS, examples=None, seed=1)
    assert not outcome.failures, outcome.failures
    assert set(OPERATIONS) <= set(outcome.answers)
    for operation in ACCEPTED:  # else nothing but refusals would have been looked at
        assert {status for status in outcome.answers[operation] if status < 300}, operation
    log = (tmp_path / "service.log").read_text()
    assert "Traceback" not in log, log
