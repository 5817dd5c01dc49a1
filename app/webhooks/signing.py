"""Signatures of webhooks by the Standard Webhooks specification (https://www.standardwebhooks.com), scheme v1.

What is signed is `id.timestamp.body`, with HMAC-SHA256 under a secret that is written `whsec_` and base64. A message
may have several signatures, so that secrets can be changed without a gap. Pure functions.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300.0
_PREFIX = "whsec_"
_MIN_BYTES, _MAX_BYTES = 24, 64
_TENANT = re.compile(r"[^=,\s]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class WebhookVerificationError(ValueError):
    """A message does not prove that it comes from the service, or is too old to be believed."""


def decode_secret(secret: str) -> bytes:
    """Give the key that a secret stands for.

    Args:
        secret: `whsec_` and the base64 of 24 to 64 random bytes.

    Raises:
        ValueError: It has another form; the message does not show it.
    """
    if not secret.startswith(_PREFIX):
        raise ValueError("a webhook secret must begin with whsec_")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret must have base64 after whsec_") from None
    if not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise ValueError(f"a webhook secret has {len(key)} bytes; expected {_MIN_BYTES} to {_MAX_BYTES}")
    return key


@dataclass(frozen=True)
class WebhookSecrets:
    """The keys of the service. They are not shown when this is printed.

    Attributes:
        shared: Keys for tenants that have none of their own, newest first.
        own: Keys of tenants, newest first.
    """

    shared: tuple[bytes, ...] = field(default=(), repr=False)
    own: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> WebhookSecrets:
        """Read a comma-separated list of `whsec_...` and, for one tenant, `TENANT=whsec_...`; empty for none.

        Raises:
            ValueError: An item has another form; the message does not show it.
        """
        shared: list[bytes] = []
        own: dict[str, list[bytes]] = {}
        for number, item in enumerate((part.strip() for part in text.split(",")), start=1):
            if not item:
                continue
            is_shared = item.startswith(_PREFIX)
            tenant, _, secret = ("", "", item) if is_shared else item.partition("=")
            try:
                key = decode_secret(secret)
            except ValueError as error:
                raise ValueError(f"item {number}: {error}") from None
            if not is_shared and not _TENANT.fullmatch(tenant):
                raise ValueError(f"item {number}: a tenant's name has 1 to 128 characters and no blanks")
            (shared if is_shared else own.setdefault(tenant, [])).append(key)
        return cls(tuple(shared), {tenant: tuple(keys) for tenant, keys in own.items()})

    def of(self, tenant: str) -> tuple[bytes, ...]:
        """Give the keys for a tenant, newest first; none when messages to it are not signed."""
        return self.own.get(tenant, self.shared)


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Give one signature.

    Args:
        key: What `decode_secret` gives.
        message_id: Value of the header webhook-id.
        timestamp: Value of the header webhook-timestamp, seconds since 1970.
        body: The body, byte by byte as it is sent.
    """
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signed_headers(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Give the headers of a message; without keys there is no signature among them."""
    headers = {ID_HEADER: message_id, TIMESTAMP_HEADER: str(timestamp)}
    signatures = " ".join(sign(key, message_id, timestamp, body) for key in keys)
    return headers | ({SIGNATURE_HEADER: signatures} if signatures else {})


def check_signature(
    headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], now_s: float, tolerance_s: float = TOLERANCE_S
) -> tuple[str, int]:
    """Check a message that came in.

    Args:
        headers: Its headers; names count in any case.
        body: Its body, byte by byte as it came.
        keys: What `decode_secret` gives, of every secret that may have been used.
        now_s: Present time, seconds since 1970.
        tolerance_s: Most seconds by which its time may differ from that.

    Returns:
        Its id, and the time at which it was sent, seconds since 1970.

    Raises:
        WebhookVerificationError: A header is missing or has another form, the time is too far off, or no signature
            fits.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER) if not lower.get(name)]
    if missing:
        raise WebhookVerificationError(f"the message has no header {missing[0]}")
    message_id, text = lower[ID_HEADER], lower[TIMESTAMP_HEADER]
    if not _TIMESTAMP.fullmatch(text):
        raise WebhookVerificationError("the header webhook-timestamp is no number of seconds")
    timestamp = int(text)
    if abs(now_s - timestamp) > tolerance_s:
        raise WebhookVerificationError(
            f"the message is {now_s - timestamp:.0f} s old, at most {tolerance_s:g} s are allowed; look at the clocks"
        )
    given = [part.encode() for part in lower[SIGNATURE_HEADER].split() if part.startswith("v1,")]
    # All are compared, each in a time that does not depend on where it differs.
    fits = [
        hmac.compare_digest(sign(key, message_id, timestamp, body).encode(), signature)
        for key in keys
        for signature in given
    ]
    if not any(fits):
        raise WebhookVerificationError("no signature of the message fits; look at the secret, and sign the raw body")
    return message_id, timestamp
