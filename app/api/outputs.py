"""Where callers want their results written: looked at before a job is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.api.problems import ParametersError
from app.storage.errors import OutputUrlRefusedError

if TYPE_CHECKING:
    from app.jobs.job import RestoreOptions
    from app.storage.buckets import CallerBuckets


def check_outputs(buckets: CallerBuckets, tenant: str, entries: Sequence[RestoreOptions]) -> None:
    """Refuse results that this caller may not have written where it wants, and those that would replace each other.

    Args:
        buckets: What callers may do.
        tenant: On whose behalf.
        entries: Options of all photos of a request.

    Raises:
        OutputUrlRefusedError: An `output_url` is none that is written to for this caller.
        ParametersError: Several photos have the same object as their `output_url`.
    """
    taken: set[str] = set()
    for index, options in enumerate(entries):
        place = f"entries[{index}]" if len(entries) > 1 else ""
        if options.output_url is None:
            continue
        try:
            url = buckets.check_output(options.output_url, tenant)
        except OutputUrlRefusedError as error:
            raise OutputUrlRefusedError(f"{place}: {error.detail}" if place else error.detail) from None
        if options.output_url in taken and not url.key.endswith("/"):
            message = "is that of another photo too; end it with a slash, and each result gets a name of its own"
            raise ParametersError([{"field": f"{place}.output_url", "message": message}])
        taken.add(options.output_url)
