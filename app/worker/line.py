"""Jobs in line: who goes next when not everybody fits. Pure: knows neither bytes nor clocks.

First come, first served, with two exceptions that make small photos quick: an express job goes before others, and one
that fits goes before those that do not. Both are bounded: nobody is held up by more than a fixed number of jobs that
came later. A job that takes of the reserve alone holds up nobody who does not fit anyway, so it does not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from app.worker.pools import Fit

T = TypeVar("T")

MOST_HOLDUPS = 8
"""Later jobs that may go before one and hold it up by that."""


class Line(Generic[T]):
    """Jobs in order of arrival.

    Args:
        most_holdups: Later jobs that may go before one and hold it up by that, at least 0.
    """

    def __init__(self, most_holdups: int = MOST_HOLDUPS) -> None:
        self._most_holdups = most_holdups
        self._held_up: dict[T, int] = {}  # in order of arrival: how many times each was held up

    def __len__(self) -> int:
        return len(self._held_up)

    def __contains__(self, job: T) -> bool:
        return job in self._held_up

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._held_up))

    def append(self, job: T) -> None:
        """Put a job at the end.

        Raises:
            ValueError: It is in line already.
        """
        if job in self._held_up:
            raise ValueError("the job is in line already")
        self._held_up[job] = 0

    def remove(self, job: T) -> None:
        """Take a job out, wherever it is; no effect when it is not in line."""
        self._held_up.pop(job, None)

    def take_next(self, fit: Callable[[T], Fit], is_express: Callable[[T], bool]) -> T | None:
        """Take the job out that goes next.

        Args:
            fit: Says whether a job fits at present.
            is_express: Says whether a job goes before those that are not.

        Returns:
            None when nobody fits, or those who do must not go before others any more.
        """
        fits = {job: fit(job) for job in self._held_up}
        for job in sorted(fits, key=lambda job: not is_express(job)):  # stable: by arrival among equals
            if fits[job] is Fit.NO:
                continue
            holds_up = [
                other
                for other in self._earlier(job)
                if fits[job] is not Fit.RESERVED or fits[other] is not Fit.NO or is_express(other)
            ]
            if all(self._held_up[other] < self._most_holdups for other in holds_up):
                for other in holds_up:
                    self._held_up[other] += 1
                del self._held_up[job]
                return job
        return None

    def _earlier(self, job: T) -> Iterator[T]:
        return itertools.takewhile(lambda other: other != job, self._held_up)
