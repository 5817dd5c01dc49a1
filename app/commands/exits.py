"""Exit codes of `vlmir`, and how an error with a public code ends the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from app.errors import ServiceError

EXIT_FAILED = 1
"""Something that was asked for did not work out."""

EXIT_UNUSABLE = 78
"""Starting again would not help: the configuration or the model must be put right first."""


@contextmanager
def stop_on_service_error() -> Iterator[None]:
    """End the program with the error's sentence, and without a traceback, on a `ServiceError`.

    Raises:
        typer.Exit: There was one.
    """
    try:
        yield
    except ServiceError as error:
        typer.echo(f"vlmir: {error.detail}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
