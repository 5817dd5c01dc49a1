"""Takes secrets out of texts that people or logs get to see.

Two nets: the very values that this process was given as secrets, and what looks like a secret of somebody else, such as
a signed URL of a caller. Nothing is meant to reach either; they are for the message of a library that nobody foresaw.
Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from app.settings import Settings

HIDDEN = "***"
"""What stands in the place of a secret."""

SHORTEST = 6
"""Shorter values are not looked for: they would hide words that have nothing to do with them."""

_OF_STORES = re.compile(r"(SECRET|TOKEN|PASSWORD|ACCOUNT_KEY|ACCESS_KEY|SAS)(?!.*_FILE$)")
"""Names of the variables by which object stores and collectors get their credentials."""
_SECRET_NAME = re.compile(r"(password|passwd|secret|token|key|sig|signature|credential)$", re.IGNORECASE)
_PREFIXES_OF_STORES = ("AWS_", "AZURE_", "GOOGLE_", "OTEL_")

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(vlmir_[0-9A-Za-z]{10})[0-9A-Za-z]{38}(?![0-9A-Za-z])"), rf"\1{HIDDEN}"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), f"whsec_{HIDDEN}"),
    (re.compile(r"\b(bearer|basic) +[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # User and password of a URL: up to the last @ before the path, since passwords have been seen with one in them.
    (re.compile(r"(?<=://)[^\s/?#'\"<>]*@"), f"{HIDDEN}@"),
    (
        re.compile(
            r"([?&;](?:x-amz-[a-z-]+|x-goog-[a-z-]+|awsaccesskeyid|signature|sig|se|sv|token|auth|jwt|code|"
            r"[a-z_-]*(?:token|key|secret|password|passwd|pwd|credential|signature))=)[^\s&;#'\"<>]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)


def make_redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Give a function that takes secrets out of a text.

    Args:
        secrets: Values to look for, beside what looks like one anywhere.
    """
    # The longest first, so that no secret is cut by one that it begins with.
    known = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=lambda text: (-len(text), text))
    exact = re.compile("|".join(re.escape(secret) for secret in known)) if known else None

    def redact(text: str) -> str:
        if exact is not None:
            text = exact.sub(HIDDEN, text)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    return redact


def secrets_of(settings: Settings, environment: Mapping[str, str]) -> set[str]:
    """Give the values that must never be seen: of the settings, and of the variables that stores and collectors read.

    Args:
        settings: Of the process.
        environment: Variables of the process.
    """
    found = _in_url(settings.redis_url or "") | _in_url(settings.otlp_endpoint, is_all_secret=True)
    for item in settings.webhook_secrets.split(","):
        secret = item.strip().partition("whsec_")[2]
        found |= {secret, secret.rstrip("=")}
    for name, value in environment.items():
        if name.startswith(_PREFIXES_OF_STORES):
            if _OF_STORES.search(name):
                found.add(value.strip())
            elif name.startswith("OTEL_EXPORTER_OTLP") and name.endswith("HEADERS"):  # name=value,name=value
                values = (item.partition("=")[2].strip() for item in value.split(","))
                found |= {form for text in values for form in (text, unquote(text))}
            elif "://" in value:
                found |= _in_url(value)
    return {secret for secret in found if secret}


def _in_url(url: str, *, is_all_secret: bool = False) -> set[str]:
    """Give the password of a URL and the secrets in its query, or all values there, as written and as meant."""
    try:
        parts = urlsplit(url)
        found = {parts.password or ""}
    except ValueError:
        return set()
    items = [item.partition("=") for item in parts.query.split("&")]
    found |= {value for name, _, value in items if is_all_secret or _SECRET_NAME.search(name)}
    return {form for text in found for form in (text, unquote(text))}
