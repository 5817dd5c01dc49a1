"""What a service can do with a photo: restore it, or only look at it. Both are jobs that come in the same ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.api.options import RestoreParameters, Submission
from app.api.problems import ParametersError
from app.api.upload import Upload
from app.errors import InvalidRequestError
from app.jobs.batch import BatchEntry
from app.jobs.job import ANALYZE

_MOST_ERRORS = 20


@dataclass(frozen=True)
class Task:
    """One of those.

    Attributes:
        route: Path of the operation; part of what makes two requests the same.
        name: As in `RestoreOptions.task`.
        options: Names of the options that it takes.
        takes_mask: Whether a mask may come along.
    """

    route: str
    name: str | None
    options: tuple[str, ...]
    takes_mask: bool

    def check(self, upload: Upload, query: Iterable[tuple[str, str]]) -> None:
        """Refuse what this task does not take.

        Raises:
            ParametersError: An option is not for it.
            InvalidRequestError: It takes no mask.
        """
        self._check_names([name for name, _ in (*query, *upload.fields)])
        if upload.mask is not None:
            self._check_mask("")

    def check_fields(self, query: Iterable[tuple[str, str]], fields: Iterable[tuple[str, Any]]) -> None:
        """Refuse options of a batch's form likewise."""
        self._check_names([name for name, _ in (*query, *fields)])

    def check_entries(self, body: dict[str, Any], query: Sequence[tuple[str, str]]) -> None:
        """Refuse options of the JSON object of a batch likewise; what has another form is passed over."""
        if self.name is None:
            return
        shared, entries = body.get("options"), body.get("entries")
        self._check_names([*(name for name, _ in query), *(shared if isinstance(shared, dict) else ())])
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if not isinstance(entry, dict):
                continue
            self._check_names([name for name in entry if name not in ("image_url", "mask_url")], f"entries[{index}].")
            if entry.get("mask_url") is not None:
                self._check_mask(f"entries[{index}]: ")

    def of_submission(self, submission: Submission) -> Submission:
        """Make a submission one of this task."""
        return replace(submission, options=replace(submission.options, task=self.name))

    def of_entries(self, entries: list[BatchEntry]) -> list[BatchEntry]:
        """Make entries of a batch ones of this task."""
        if self.name is None:
            return entries
        return [replace(entry, options=replace(entry.options, task=self.name)) for entry in entries]

    def _check_names(self, names: Sequence[str], where: str = "") -> None:
        # What is no option at all is refused where options are read.
        strange = sorted({name for name in names if name in RestoreParameters.model_fields} - set(self.options))
        if strange:
            known = ", ".join(self.options)
            message = f"is no option of {self.route}; there are {known}"
            raise ParametersError([{"field": f"{where}{name}", "message": message} for name in strange[:_MOST_ERRORS]])

    def _check_mask(self, where: str) -> None:
        if not self.takes_mask:
            raise InvalidRequestError(f"{where}{self.route} takes no mask. Leave it out.")


RESTORATION = Task("/restore", None, tuple(RestoreParameters.model_fields), takes_mask=True)
ANALYSIS = Task(
    "/analyze",
    ANALYZE,
    ("caption", "model", "metadata", "webhook", "webhook_events", "start_within", "finish_within"),
    takes_mask=False,
)
