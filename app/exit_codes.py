"""Exit codes of every program of the service; the supervisor tells by them whether starting again would help."""

from __future__ import annotations

EXIT_FAILED = 1
"""Something that was asked for did not work out."""

EXIT_UNUSABLE = 78
"""Starting again would not help: the configuration or the model must be put right first."""
