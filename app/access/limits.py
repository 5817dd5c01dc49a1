"""What a tenant may hand in: how much, what is left of it, and how answers tell that. Plain values, no Redis.

The headers are those of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` says what the limits are, `RateLimit`
what is left of them, both as lists of quoted names with parameters (RFC 9651).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings

DAY_S = 86400
RATE, DAILY_JOBS, DAILY_MEGAPIXELS = "rate", "daily-jobs", "daily-megapixels"
"""Names of the limits in headers."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one tenant; 0 is no bound.

    Attributes:
        rate_per_s: Requests per second that hand something in, in the long run.
        burst: How many of them may come at once, at least 1.
        daily_jobs: Jobs per day (UTC).
        daily_megapixels: Millions of pixels of their photos per day.
    """

    rate_per_s: float = 0.0
    burst: int = 10
    daily_jobs: int = 0
    daily_megapixels: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.rate_per_s, self.daily_jobs, self.daily_megapixels)
        if not all(0 <= number < math.inf for number in numbers) or self.burst < 1:
            raise ValueError(f"got {self}; expected numbers of 0 or more, 0 for no bound, and a burst of 1 or more")

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Give those of tenants that have none of their own."""
        return cls(settings.rate_per_s, settings.rate_burst, settings.daily_jobs, settings.daily_megapixels)

    @property
    def is_bounded(self) -> bool:
        """Whether there is any bound."""
        return bool(self.rate_per_s or self.has_quota)

    @property
    def has_quota(self) -> bool:
        """Whether there is a bound per day."""
        return bool(self.daily_jobs or self.daily_megapixels)


@dataclass
class Standing:
    """What a tenant has left, as of the last look within one request.

    Attributes:
        limits: Its bounds.
        free: Requests that the rate allows now.
        full_ms: Milliseconds until it allows all.
        jobs: Jobs of this day so far.
        megapixels: Millions of pixels of this day so far.
        left_s: Seconds left of the day.
    """

    limits: Limits
    free: int = 0
    full_ms: int = 0
    jobs: int = 0
    megapixels: float = 0.0
    left_s: int = DAY_S

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell about it."""
        limits, policies, states = self.limits, [], []
        if limits.rate_per_s:
            window_s = max(1, math.ceil(limits.burst / limits.rate_per_s))
            policies.append(f'"{RATE}";q={limits.burst};w={window_s}')
            states.append(f'"{RATE}";r={max(0, self.free)};t={math.ceil(self.full_ms / 1000)}')
        if limits.daily_jobs:
            policies.append(f'"{DAILY_JOBS}";q={limits.daily_jobs};w={DAY_S};qu="jobs"')
            states.append(f'"{DAILY_JOBS}";r={max(0, limits.daily_jobs - self.jobs)};t={self.left_s}')
        if limits.daily_megapixels:
            left = math.floor(max(0.0, limits.daily_megapixels - self.megapixels))
            policies.append(f'"{DAILY_MEGAPIXELS}";q={math.floor(limits.daily_megapixels)};w={DAY_S};qu="megapixels"')
            states.append(f'"{DAILY_MEGAPIXELS}";r={left};t={self.left_s}')
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)} if policies else {}
