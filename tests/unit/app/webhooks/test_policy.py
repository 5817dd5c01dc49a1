from __future__ import annotations

import random
from importlib import resources

import pytest
from pydantic import ValidationError

from app.settings import Settings
from app.webhooks.policy import SCHEDULE_S, WebhookPolicy, parse_schedule, read_retry_after

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def test_pauses_follow_the_schedule_with_jitter_and_then_end() -> None:
    policy, chance = WebhookPolicy(), random.Random(1)
    for failures, planned in enumerate(SCHEDULE_S, start=1):
        pauses = [policy.pause_s(failures, None, chance) or 0.0 for _ in range(200)]
        assert min(pauses) >= 0.8 * planned
        assert max(pauses) <= 1.2 * planned
        assert len(set(pauses)) > 100
    assert policy.pause_s(len(SCHEDULE_S) + 1, None, chance) is None
    assert policy.pause_s(len(SCHEDULE_S) + 1, 60.0, chance) is None


def test_last_try_is_made_while_the_job_is_on_record() -> None:
    assert sum(SCHEDULE_S) * 1.2 < 24 * 3600


def test_receiver_may_ask_for_more_time_but_not_for_less_nor_for_ever() -> None:
    policy, chance = WebhookPolicy(jitter=0.0), random.Random(1)
    assert policy.pause_s(1, 1.0, chance) == 5.0
    assert policy.pause_s(1, 60.0, chance) == 60.0
    assert policy.pause_s(1, 1e9, chance) == 6 * 3600.0


def test_settings_give_the_policy() -> None:
    assert WebhookPolicy.of(Settings()) == WebhookPolicy()
    policy = WebhookPolicy.of(Settings(webhook_schedule_s="1, 2.5", webhook_timeout_s=3, webhooks_at_once=2))
    assert (policy.schedule_s, policy.timeout_s, policy.at_once) == ((1.0, 2.5), 3.0, 2)
    assert policy.lease_s > policy.timeout_s


@pytest.mark.parametrize("text", ["", "soon", "-1", "5,,nan", "1e9", ",".join("1" * 21)])
def test_schedules_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"pause|convert"):
        parse_schedule(text)


@pytest.mark.parametrize("text", ["500000", "100000," * 5, "400000," + "1," * 3])
def test_schedules_that_outlast_the_outbox_are_refused(text: str) -> None:
    """Jitter makes a pause longer by a fifth, and a receiver may ask for six hours instead of a short one."""
    with pytest.raises(ValueError, match=r"may take 6\.\d+ days.*expected at most 6"):
        parse_schedule(text)
    with pytest.raises(ValidationError, match="expected at most 6"):
        Settings(webhook_schedule_s=text)


def test_the_longest_schedules_are_over_before_the_outbox_forgets() -> None:
    days = 24 * 3600
    prelude = (resources.files("app.jobs") / "lua" / "prelude.lua").read_text(encoding="utf-8")
    assert "local OUTBOX_MS = 7 * 24 * 3600 * 1000" in prelude
    for text in ("430000", ",".join(["0"] * 20), ",".join(["21600"] * 20)):
        chance = random.Random(1)
        policy = WebhookPolicy(schedule_s=parse_schedule(text))
        tries = range(1, len(policy.schedule_s) + 1)
        longest = sum(max(policy.pause_s(number, 1e9, chance) or 0.0 for _ in range(100)) for number in tries)
        assert longest <= 6 * days


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:12:00 GMT", 0.0),
        ("", None),
        ("later", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Tue, 14 Nov 2023 22:13:50 +99999999999999", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, expected: float | None) -> None:
    assert read_retry_after(value, NOW) == expected
