"""Exit codes of every program of the service; the supervisor tells by them whether starting again would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.errors import ServiceError

EXIT_FAILED = 1
"""Something that was asked for did not work out."""

EXIT_UNUSABLE = 78
"""Starting again would not help: the configuration or the model must be put right first."""


def exit_code_of(error: ServiceError) -> int:
    """Give the code with which a role ends that cannot begin: an error that may pass is worth another start.

    Such is a lack of memory on a GPU, where the process before has not given back its own yet.
    """
    return EXIT_FAILED if error.retryable else EXIT_UNUSABLE
