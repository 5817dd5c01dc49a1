"""Which code ends a process that cannot begin: whoever watches it starts another one, or does not."""

from __future__ import annotations

import pytest

from app.errors import (
    DeviceMemoryError,
    DeviceUnavailableError,
    RestorationFailedError,
    ServiceError,
    UnusableRedisError,
)
from app.exit_codes import EXIT_FAILED, EXIT_UNUSABLE, exit_code_of


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (DeviceMemoryError, EXIT_FAILED),  # another process may not have given back its memory yet
        (DeviceUnavailableError, EXIT_UNUSABLE),
        (RestorationFailedError, EXIT_UNUSABLE),  # damaged weights
        (UnusableRedisError, EXIT_UNUSABLE),
    ],
)
def test_what_may_pass_is_worth_another_start(kind: type[ServiceError], code: int) -> None:
    assert exit_code_of(kind("why")) == code
