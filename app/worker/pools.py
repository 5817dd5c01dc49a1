"""How much of something the jobs of a worker may hold together, with a part that is kept for express jobs.

Pure numbers. Express jobs are those that somebody waits for and that cost little (`HeldJob.is_express`). Ordinary jobs
share what lies outside the reserve; express jobs fill the reserve first and share the rest with the others. So an
express job inside the reserve takes nothing from anybody, however many of them come.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

RESERVED_PLACES = 4
"""One of this many places is kept for express jobs, where there are at least two."""

MOST_RESERVED = 4
"""At most one part in this many of a pool of bytes is kept for express jobs."""


class Fit(IntEnum):
    """Whether a job fits into a pool, and at whose expense; for several pools the minimum counts."""

    NO = 0
    SHARED = 1  # takes of what all jobs share
    RESERVED = 2  # takes of the reserve alone


@dataclass(frozen=True)
class Used:
    """What jobs hold of a pool."""

    ordinary: int = 0
    express: int = 0


@dataclass(frozen=True)
class Pool:
    """A bounded amount of places or bytes.

    Args:
        total: All there is, at least 1.
        reserve: Part of it for express jobs alone, less than the total.
    """

    total: int
    reserve: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.reserve < self.total:
            raise ValueError(f"a pool needs 0 <= reserve < total, got {self.reserve} and {self.total}")

    @classmethod
    def of_places(cls, places: int) -> Pool:
        """Give a pool of places for jobs, some of them for express jobs; a single place is for all."""
        return cls(places, max(1, places // RESERVED_PLACES) if places > 1 else 0)

    @classmethod
    def of_bytes(cls, total: int, wanted: int) -> Pool:
        """Give a pool of bytes that keeps `wanted` of them for express jobs, or less where it is small."""
        return cls(total, min(wanted, total // MOST_RESERVED))

    def taken(self, used: Used) -> int:
        """Tell how much of the part outside the reserve is held."""
        return used.ordinary + max(0, used.express - self.reserve)

    def fit(self, amount: int, is_express: bool, used: Used) -> Fit:
        """Say whether a job fits beside what is held.

        A job above the whole pool fits when nobody else holds any of the part that it takes: refusing it would refuse
        it for ever.
        """
        if is_express:
            if used.express + amount <= self.reserve:
                return Fit.RESERVED
            is_alone = not used.ordinary and not used.express
            return Fit.SHARED if is_alone or used.ordinary + used.express + amount <= self.total else Fit.NO
        taken = self.taken(used)
        return Fit.SHARED if not taken or taken + amount <= self.total - self.reserve else Fit.NO

    def room(self, amount: int, used: Used) -> int:
        """Count the ordinary jobs of one size that fit beside what is held; at least one where nothing is."""
        taken = self.taken(used)
        count = max(0, self.total - self.reserve - taken) // max(1, amount)
        return count if taken else max(1, count)
