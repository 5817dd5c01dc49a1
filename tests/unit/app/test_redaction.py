from __future__ import annotations

import pytest

from app.access.keys import id_of, new_token
from app.redaction import HIDDEN, make_redactor, secrets_of
from app.settings import Settings

SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105


@pytest.mark.parametrize(
    ("text", "hidden", "kept"),
    [
        ("redis://user:hunter2@host:6379/0", ("hunter2",), "://***@host:6379/0"),
        ("redis+sentinel://:p@ss@a:1,b:2/name", ("p@ss",), "://***@a:1,b:2/name"),
        ("unix://:hunter2@/run/redis.sock", ("hunter2",), "://***@/run/redis.sock"),
        ("got https://b.s3.amazonaws.com/k?X-Amz-Signature=abc123&w=5", ("abc123",), "&w=5"),
        ("https://acc.blob.core.windows.net/c/k?sv=2024&sig=a%2Fb%3D&n=1", ("a%2Fb",), "&n=1"),
        ("https://hook.example/in?token=tell-nobody#x", ("tell-nobody",), "#x"),
        ("?sentinel_password=hunter2&db=1", ("hunter2",), "&db=1"),
        ("Authorization: Bearer abc.def-ghi", ("abc.def",), "Bearer ***"),
        ("Basic dXNlcjpwYXNz", ("dXNlcjpwYXNz",), "Basic ***"),
        (f"secret whsec_{SECRET} is old", (SECRET,), "is old"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, hidden: tuple[str, ...], kept: str) -> None:
    shown = make_redactor(())(text)
    assert HIDDEN in shown
    assert kept in shown
    assert not any(secret in shown for secret in hidden)


@pytest.mark.parametrize(
    "text",
    [
        "https://photos.example/a@2x.png?w=100&page=3",
        "job 0123456789abcdef0123456789abcdef fails: out of memory",
        "mailto:someone@example.org",
        "Basic needs",
        "vlmir_ is how keys begin",
        "the token= of nobody",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert make_redactor(())(text) == text


def test_of_a_key_its_name_stays() -> None:
    token = new_token()
    assert make_redactor(())(f"got {token}!") == f"got vlmir_{id_of(token)}{HIDDEN}!"


def test_known_secrets_are_hidden_wherever_they_are() -> None:
    redact = make_redactor(["hunter2", "hunter2-and-more", "short", ""])
    assert redact("a hunter2 b xhunter2-and-morex") == f"a {HIDDEN} b x{HIDDEN}x"
    assert redact("short") == "short"  # too short to be looked for


def test_secrets_of_settings_and_of_stores_are_known() -> None:
    settings = Settings(
        redis_url="redis+sentinel://u:redis%40word@a:1,b:2/m?sentinel_password=watchword&ssl_cert_reqs=required",
        webhook_secrets=f"whsec_{SECRET}, acme=whsec_{SECRET[::-1]}",
        otlp_endpoint="https://user:collector-word@host/in?x=query-word",
    )
    environment = {
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "AWS_REGION": "eu-central-1",
        "AZURE_STORAGE_ACCOUNT_KEY": "azure-key",
        "GOOGLE_SERVICE_ACCOUNT": "/etc/account.json",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20otlp-token,x-key=another",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token-of-pod",
        "HOME": "/home/someone",
    }
    found = secrets_of(settings, environment)
    assert found >= {
        *("redis%40word", "redis@word", "watchword", SECRET, SECRET[::-1], "collector-word", "query-word"),
        *("aws-secret", "azure-key", "Bearer otlp-token", "another"),
    }
    assert not found & {"required", "eu-central-1", "/etc/account.json", "/run/token-of-pod", "/home/someone"}


def test_representation_of_settings_shows_no_address_with_a_password() -> None:
    settings = Settings(redis_url="redis://:hunter2@host", otlp_endpoint="http://:hunter2@host")
    assert "hunter2" not in repr(settings) + str(settings)
