"""A bound on the bytes of all uploads that this process holds at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import UploadsBusyError


class UploadBudget:
    """Counts the bytes of uploads from their arrival until the queue has them; one event loop, no locks.

    Bytes count as they come and not as they are announced: whoever announces much and sends little takes no room from
    others.

    Args:
        max_bytes: Most bytes at a time. A single upload may be larger when no other is held, else it would never pass.
        whole: Budget of which this one is a part: what is held here is held there too. None for one of its own.
    """

    def __init__(self, max_bytes: int, whole: UploadBudget | None = None) -> None:
        self.max_bytes = max_bytes
        self._whole = whole
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[UploadShare]:
        """Give one request its share, which ends with the block."""
        share = UploadShare(self)
        try:
            yield share
        finally:
            self.add(-share.held_bytes)

    def add(self, more_bytes: int) -> None:
        """Count bytes that have come, or, below zero, that are held no longer."""
        self.held_bytes += more_bytes
        if self._whole is not None:
            self._whole.add(more_bytes)

    def check(self, own_bytes: int, more_bytes: int) -> None:
        """Look whether a share of `own_bytes` may grow by `more_bytes`.

        Raises:
            UploadsBusyError: Not now.
        """
        is_alone = self.held_bytes == own_bytes
        if not is_alone and self.held_bytes + more_bytes > self.max_bytes:
            raise UploadsBusyError(
                f"Uploads of {self.held_bytes:,} bytes are being read; at most {self.max_bytes:,} are at a time. "
                "Send it again later."
            )
        if self._whole is not None:
            self._whole.check(own_bytes, more_bytes)


class UploadShare:
    """The bytes of one request. Made by `UploadBudget.share`."""

    def __init__(self, budget: UploadBudget) -> None:
        self._budget = budget
        self.held_bytes = 0

    def expect(self, total_bytes: int) -> None:
        """Look whether an upload of this size has room now, without taking it.

        Raises:
            UploadsBusyError: It has not.
        """
        self._budget.check(self.held_bytes, total_bytes - self.held_bytes)

    def grow(self, more_bytes: int) -> None:
        """Take room for bytes that have come.

        Raises:
            UploadsBusyError: There is none.
        """
        self._budget.check(self.held_bytes, more_bytes)
        self.held_bytes += more_bytes
        self._budget.add(more_bytes)
