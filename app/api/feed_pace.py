"""How fast an API process fetches the photos of batches: as there is room for them, found out by trying."""

from __future__ import annotations

import time
from collections.abc import Callable

_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0


class FeedPace:
    """How many entries may be worked on at a time, and whether photos may be fetched now.

    What a photo needs is known once it was fetched, and what did not fit then has to be fetched again. So fewer are
    fetched at a time as soon as memory for uploads runs out, down to one, which always fits, and more again with every
    one that went well. And after the queue had no room for a photo none is fetched for a while, for longer each time.

    Args:
        most: Most entries at a time.
        clock: Gives seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._places = float(most)
        self._pause_s = _FIRST_PAUSE_S
        self._paused_until_s = 0.0

    @property
    def places(self) -> int:
        """Entries that may be worked on at a time, at least 1."""
        return int(self._places)

    @property
    def may_fetch(self) -> bool:
        """Whether a photo that is fetched now is likely to find room in the queue."""
        return self._clock() >= self._paused_until_s

    def went_well(self, was_fetched: bool = True) -> None:
        """Note that a photo became a job; one that was stored already says nothing of the queue's room for others."""
        self._places = min(float(self._most), self._places + 1 / self._places)
        if was_fetched:
            self._pause_s = _FIRST_PAUSE_S

    def was_crowded(self) -> None:
        """Note that others that are worked on left no memory for a photo."""
        self._places = max(1.0, self._places / 2)

    def found_no_room(self) -> None:
        """Note that the queue had no room for a photo that was fetched."""
        if self.may_fetch:  # else it began before the pause
            self._paused_until_s = self._clock() + self._pause_s
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)
