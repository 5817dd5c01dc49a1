"""How an error with a public code ends `vlmir`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from app.errors import ServiceError
from app.exit_codes import EXIT_FAILED


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
