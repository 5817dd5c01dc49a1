"""Deficit round robin over keys whose unit of cost is one tile.

Pure: no clock, no jobs, no model. `app.worker.turns` stacks three of these rings (priority, tenant, job).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator


class DeficitRing:
    """Serves active keys in turn, each for `weight * quantum` tiles before the next one's turn.

    A key that runs out of work leaves the ring and loses what was left of its turn; when it comes back it queues at the
    tail. So nobody saves credit while idle, and nobody without debt waits longer than one turn of everybody else.

    A key may also be served out of turn, because the one whose turn it is does not fit. It then owes those tiles and
    passes turns until they are paid; the turn of the one that did not fit stays where it is. Leaving the ring pays
    nothing: a job leaves it after every step that fits one batch.

    No debt lasts for ever. Much of it is made in places of a batch that nobody else wanted, and could grow without end
    while the machine is nearly idle, or be made as fast as it is paid. So a key that has paid `most_debt` tiles by
    passing turns gets the next one whatever it still owes: whoever is in the ring waits for a bounded number of turns.

    Args:
        quantum: Tiles per turn of a key of weight one, at least 1.
    """

    def __init__(self, quantum: int) -> None:
        if quantum < 1:
            raise ValueError(f"quantum must be at least 1 tile, got {quantum}")
        self._quantum = quantum
        self._order: deque[str] = deque()
        self._weights: dict[str, int] = {}
        self._credit: dict[str, int] = {}  # tiles left in the turn of the key at the head
        self._debt: dict[str, int] = {}  # tiles that keys owe, those outside the ring too
        self._paid: dict[str, int] = {}  # tiles that keys in debt have paid since their last turn

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: str) -> bool:
        return key in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def debt(self, key: str) -> int:
        """Tell how many tiles a key owes."""
        return self._debt.get(key, 0)

    def activate(self, key: str, weight: int = 1) -> None:
        """Put `key` at the tail of the ring, with the debt it left with; no effect when it is in the ring already."""
        if key not in self._weights:
            self._weights[key] = weight
            self._order.append(key)

    def deactivate(self, key: str) -> None:
        """Take `key` out of the ring and remember what it owes; no effect when it is not in it."""
        if key in self._weights:
            del self._weights[key]
            self._credit.pop(key, None)
            self._order.remove(key)

    def forget(self, key: str) -> None:
        """Take `key` out of the ring for good, debt and all; no effect when it is not known."""
        self.deactivate(key)
        self._debt.pop(key, None)
        self._paid.pop(key, None)

    def head(self, most_debt: int) -> str:
        """Return the key whose turn it is.

        Args:
            most_debt: Tiles that a key in debt pays at most before its next turn. Shares are exact when it is at least
                the tiles of a batch.

        Raises:
            IndexError: The ring is empty.
        """
        while not self._credit.get(self._order[0]):  # a turn begins; one that only pays debt is over at once
            key = self._order[0]
            turn = self._quantum * self._weights[key]
            debt = self._debt.pop(key, 0)
            paid = self._paid.pop(key, 0) + turn
            if debt < turn:
                self._credit[key] = turn - debt
            elif paid > most_debt:
                self._credit[key] = turn
            else:
                self._debt[key], self._paid[key] = debt - turn, paid
                self._order.rotate(-1)
        return self._order[0]

    def choose(self, fits: Callable[[str], bool]) -> str | None:
        """Return the key to serve out of turn among those that fit: the one least in debt, in the order of the ring.

        Returns:
            None when none fits.
        """

        def balance(key: str) -> int:
            return self._credit.get(key, 0) - self._debt.get(key, 0)

        return max((key for key in self._order if fits(key)), key=balance, default=None)

    def charge(self, key: str) -> None:
        """Take one tile from the turn of the key at the head, which ends when it is used up.

        Raises:
            KeyError: It is not this key's turn.
        """
        self._credit[key] -= 1
        if not self._credit[key]:
            del self._credit[key]
            self._order.rotate(-1)

    def owe(self, key: str) -> None:
        """Note one tile served out of turn; a turn that the key may have goes on."""
        self._debt[key] = self._debt.get(key, 0) + 1
