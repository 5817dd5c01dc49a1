from __future__ import annotations

import base64
import time

import pytest
from pydantic import ValidationError

from app.client import WebhookVerificationError, verify_webhook
from app.settings import Settings
from app.webhooks.signing import WebhookSecrets, check_signature, decode_secret, sign, signed_headers

OLD = "whsec_" + base64.b64encode(bytes(range(24))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = b'{"type":"entry.refused","timestamp":"2026-01-01T00:00:00Z","data":{"index":1}}'
NOW = 1_700_000_000


def headers(*secrets: str, at: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return signed_headers([decode_secret(secret) for secret in secrets], "msg_1", at, body)


def check(given: dict[str, str], *secrets: str, body: bytes = BODY, now_s: float = NOW) -> tuple[str, int]:
    return check_signature(given, body, [decode_secret(secret) for secret in secrets], now_s)


def test_known_answer_of_the_specification() -> None:
    key = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_either_secret_will_do_while_they_are_changed() -> None:
    both = headers(NEW, OLD)
    assert both["webhook-signature"].count("v1,") == 2
    assert check(both, OLD) == check(both, NEW) == check(both, OLD, NEW) == ("msg_1", NOW)
    assert check(headers(OLD), NEW, OLD) == ("msg_1", NOW)
    with pytest.raises(WebhookVerificationError, match="no signature"):
        check(headers(OLD), NEW)


def test_names_of_headers_count_in_any_case_and_other_schemes_are_passed_over() -> None:
    given = {name.title(): value for name, value in headers(OLD).items()}
    given["Webhook-Signature"] = "v1a,AAAA " + given["Webhook-Signature"] + " junk"
    assert check(given, OLD) == ("msg_1", NOW)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", "msg_2"),
        ("webhook-timestamp", str(NOW + 1)),
        ("webhook-signature", "v1,AAAA"),
        ("webhook-signature", "v2," + headers(OLD)["webhook-signature"][3:]),
        ("webhook-signature", "v1,é"),
        ("webhook-id", ""),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "-1"),
    ],
)
def test_a_changed_header_is_refused(name: str, value: str) -> None:
    with pytest.raises(WebhookVerificationError):
        check(headers(OLD) | {name: value}, OLD)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    given = headers(OLD)
    del given[name]
    with pytest.raises(WebhookVerificationError, match=name):
        check(given, OLD)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(WebhookVerificationError, match="no signature"):
        check(headers(OLD), OLD, body=BODY + b" ")


@pytest.mark.parametrize("off_s", [-301, 301])
def test_old_messages_and_those_of_the_future_are_refused(off_s: int) -> None:
    assert check(headers(OLD), OLD, now_s=NOW + off_s - (1 if off_s > 0 else -1))
    with pytest.raises(WebhookVerificationError, match="clocks"):
        check(headers(OLD), OLD, now_s=NOW + off_s)


def test_client_reads_what_it_has_verified() -> None:
    now = int(time.time())
    event = verify_webhook(headers(OLD, at=now), BODY, OLD)
    assert (event.id, event.type, event.data, event.job, event.sent_s) == (
        "msg_1",
        "entry.refused",
        {"index": 1},
        None,
        now,
    )
    with pytest.raises(WebhookVerificationError, match="none of this service"):
        verify_webhook(headers(OLD, at=now, body=b"[]"), b"[]", [NEW, OLD])
    with pytest.raises(WebhookVerificationError, match="clocks"):
        verify_webhook(headers(OLD, at=now - 20), BODY, OLD, tolerance_s=10)


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_AAAA", "whsec_%%%%", "whsec_" + "A" * 88])
def test_weak_and_damaged_secrets_are_refused_without_showing_them(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret") as caught:
        decode_secret(secret)
    assert len(secret) < 8 or secret not in str(caught.value)


def test_tenants_may_have_secrets_of_their_own() -> None:
    secrets = WebhookSecrets.parse(f"{NEW}, {OLD},acme={OLD},")
    assert secrets.of("default") == (decode_secret(NEW), decode_secret(OLD))
    assert secrets.of("acme") == (decode_secret(OLD),)
    assert WebhookSecrets.parse("").of("acme") == ()


@pytest.mark.parametrize("text", ["whsec_AAAA", "=" + OLD, "a b=" + OLD, OLD + ",acme", "acme=whsec_AAAA"])
def test_settings_refuse_secrets_without_showing_them(text: str) -> None:
    with pytest.raises(ValidationError, match=r"item [12]") as caught:
        Settings(webhook_secrets=text)
    assert OLD.removeprefix("whsec_") not in str(caught.value)
    assert "AAAA" not in str(caught.value)


def test_secrets_are_not_shown_with_the_settings() -> None:
    settings = Settings(webhook_secrets=NEW)
    assert NEW not in repr(settings) + str(settings)
    assert decode_secret(NEW).hex() not in repr(WebhookSecrets.parse(NEW))
    assert settings.environment()["VLMIR_WEBHOOK_SECRETS"] == NEW
