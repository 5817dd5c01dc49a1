"""Laws that a queue keeps whatever happens to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.property import queue_book_laws as books
from tests.property import queue_job_laws as jobs
from tests.property.queue_history import History, LawBrokenError
from tests.property.queue_view import QueueView

Law = Callable[[QueueView, History], "str | None"]
LAWS: Mapping[str, Law] = {
    law.__name__: law
    for law in (
        jobs.no_job_is_lost,
        jobs.no_job_has_two_ends,
        jobs.no_job_has_two_owners,
        jobs.states_never_go_back,
        jobs.states_take_legal_ways,
        jobs.retries_are_bounded,
        jobs.canceled_never_succeeds,
        jobs.fences_rise,
        books.lag_is_exact,
        books.depth_is_exact,
        books.listing_is_exact,
        books.photos_live_as_long_as_jobs,
        books.results_go_in_time,
        books.nothing_is_left_of_purged_jobs,
    )
}
"""Laws that hold after every step."""

LAST_LAWS: Mapping[str, Law] = {"nothing_is_pending_at_the_end": books.nothing_is_pending_at_the_end}
"""Laws that hold once everything was worked off."""


def check_laws(laws: Mapping[str, Law], view: QueueView, history: History) -> None:
    """Look at laws one after another.

    Raises:
        LawBrokenError: One does not hold.
    """
    for name, law in laws.items():
        found = law(view, history)
        if found is not None:
            raise LawBrokenError(name, found)
