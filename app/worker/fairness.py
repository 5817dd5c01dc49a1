"""Deficit round robin over keys whose unit of cost is one tile.

Pure: no clock, no jobs, no model. The engine stacks three of these rings (priority, tenant, job).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator


class DeficitRing:
    """Serves active keys in turn, each for `weight * quantum` tiles before the next one's turn.

    A key that runs out of work leaves the ring and loses what was left of its turn; when it comes back it queues at the
    tail. So nobody saves credit while idle, and nobody without debt waits longer than one turn of everybody else. A key
    that is served out of turn, because the one whose turn it is does not fit, goes into debt and passes until that is
    paid. Leaving the ring pays nothing: a job leaves it after every step that fits one batch.

    Args:
        quantum: Tiles per turn of a key of weight one, at least 1.
    """

    def __init__(self, quantum: int) -> None:
        if quantum < 1:
            raise ValueError(f"quantum must be at least 1 tile, got {quantum}")
        self._quantum = quantum
        self._order: deque[str] = deque()
        self._weights: dict[str, int] = {}
        self._balance: dict[str, int] = {}  # above 0: tiles left in the turn of the key at the head; below: debt
        self._debts: dict[str, int] = {}  # balances below 0 of keys that are out of the ring

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: str) -> bool:
        return key in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def activate(self, key: str, weight: int = 1) -> None:
        """Put `key` at the tail of the ring, with the debt it left with; no effect when it is in the ring already."""
        if key not in self._weights:
            self._weights[key] = weight
            self._balance[key] = self._debts.pop(key, 0)
            self._order.append(key)

    def deactivate(self, key: str) -> None:
        """Take `key` out of the ring and remember what it owes; no effect when it is not in it."""
        if key in self._weights:
            del self._weights[key]
            if (balance := self._balance.pop(key)) < 0:
                self._debts[key] = balance
            self._order.remove(key)

    def forget(self, key: str) -> None:
        """Take `key` out of the ring for good, debt and all; no effect when it is not known."""
        self.deactivate(key)
        self._debts.pop(key, None)

    def head(self) -> str:
        """Return the key whose turn it is.

        Raises:
            IndexError: The ring is empty.
        """
        while self._balance[self._order[0]] <= 0:  # a turn begins; one that only pays debt is over at once
            key = self._order[0]
            self._balance[key] += self._quantum * self._weights[key]
            if self._balance[key] <= 0:
                self._order.rotate(-1)
        return self._order[0]

    def choose(self, fits: Callable[[str], bool]) -> str | None:
        """Return the key to serve among those that fit: the one whose turn it is, else the one least in debt.

        Returns:
            None when none fits; then no turn passes and no debt is paid, for those that would fit may be back at once.
        """
        if not any(fits(key) for key in self._order):
            return None
        self.head()
        return max((key for key in self._order if fits(key)), key=self._balance.__getitem__, default=None)

    def charge(self, key: str) -> None:
        """Take one tile from a key; its turn ends when it is used up.

        Raises:
            KeyError: The key is not in the ring.
        """
        self._balance[key] -= 1
        if self._balance[key] == 0 and key == self._order[0]:
            self._order.rotate(-1)
