"""Deficit round robin over keys whose unit of cost is one tile.

Pure: no clock, no jobs, no model. The engine stacks three of these rings (priority, tenant, job).
"""

from __future__ import annotations

from collections import deque


class DeficitRing:
    """Serves active keys in turn, each for `weight * quantum` tiles before the next one's turn.

    A key that runs out of work leaves the ring and loses what was left of its turn; when it comes back it queues at the
    tail. So nobody saves credit while idle, and nobody waits longer than one turn of everybody else.

    Args:
        quantum: Tiles per turn of a key of weight one, at least 1.
    """

    def __init__(self, quantum: int) -> None:
        if quantum < 1:
            raise ValueError(f"quantum must be at least 1 tile, got {quantum}")
        self._quantum = quantum
        self._order: deque[str] = deque()
        self._weights: dict[str, int] = {}
        self._credit = 0  # tiles left in the turn of the key at the head; 0 = its turn has not begun

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: str) -> bool:
        return key in self._weights

    def activate(self, key: str, weight: int = 1) -> None:
        """Put `key` at the tail of the ring; no effect when it is in the ring already."""
        if key not in self._weights:
            self._weights[key] = weight
            self._order.append(key)

    def deactivate(self, key: str) -> None:
        """Take `key` out of the ring; no effect when it is not in it."""
        if key not in self._weights:
            return
        if self._order[0] == key:
            self._credit = 0
        del self._weights[key]
        self._order.remove(key)

    def head(self) -> str:
        """Return the key whose turn it is.

        Raises:
            IndexError: The ring is empty.
        """
        return self._order[0]

    def charge(self) -> None:
        """Take one tile from the head's turn and pass the turn on when it is used up."""
        key = self._order[0]
        if self._credit == 0:
            self._credit = self._quantum * self._weights[key]
        self._credit -= 1
        if self._credit == 0:
            self._order.rotate(-1)
