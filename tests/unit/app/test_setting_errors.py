from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.setting_errors import explain_problems, explain_unknown
from app.settings import ENV_PREFIX, Settings


def problems(**values: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings(**values)  # type: ignore[arg-type]
    return explain_problems(caught.value, Settings, ENV_PREFIX)


def test_each_problem_is_a_line_with_variable_expectation_and_value() -> None:
    port, lease = problems(port="70000", lease_s="soon")
    assert port == "VLMIR_PORT: Input should be less than or equal to 65535, got '70000'"
    assert lease.startswith("VLMIR_LEASE_S: Input should be a valid number")
    assert lease.endswith("got 'soon'")


def test_secret_value_is_not_shown() -> None:
    (line,) = problems(webhook_secrets="whsec_not-so-secret")
    assert line.startswith("VLMIR_WEBHOOK_SECRETS: ")
    assert "not-so-secret" not in line


def test_long_value_is_cut() -> None:
    (line,) = problems(namespace="x y" * 10_000)
    assert len(line) < 500


def test_port_that_kubernetes_sets_is_recognised() -> None:
    (line,) = problems(port="tcp://10.0.0.1:8000")
    assert "enableServiceLinks" in line


def test_only_what_looks_like_a_setting_is_told() -> None:
    environment = {
        "VLMIR_REDIS_ULR": "secret",
        "VLMIR_PORT": "1",
        "VLMIR_API_KEY": "secret",
        "VLMIR_SERVICE_PORT": "8000",
        "VLMIR_PORT_8000_TCP_ADDR": "10.0.0.1",
        "VLMIR_SOMETHING_ELSE_ALTOGETHER": "1",
        "REDIS_ULR": "1",
    }
    (line,) = explain_unknown(environment, Settings.model_fields, ENV_PREFIX)
    assert line == "VLMIR_REDIS_ULR is no setting and has no effect; did you mean VLMIR_REDIS_URL?"
