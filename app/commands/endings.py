"""How the process of a role ends: with a sentence and a code, in order when it is asked to, and with its supervisor."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from app.exit_codes import EXIT_FAILED, EXIT_UNUSABLE

if TYPE_CHECKING:
    from app.settings import Settings


@contextmanager
def explained() -> Iterator[None]:
    """End the process with one sentence, and a code that says whether starting again may help.

    Raises:
        typer.Exit: There was an error.
    """
    from app.commands.listening import ListenError
    from app.errors import ServiceError

    try:
        yield
    except ServiceError as error:
        typer.echo(f"vlmir: {error.detail}", err=True)
        raise typer.Exit(EXIT_UNUSABLE if error.is_lasting else EXIT_FAILED) from None
    except ListenError as error:
        typer.echo(f"vlmir: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from None


@contextmanager
def ended_well_by_sigterm() -> Iterator[None]:
    """Take a request to stop that comes while the role is still being imported; later it has its own way to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ended_with_supervisor(settings: Settings, stop_on_eof: bool) -> Iterator[None]:
    """Ask this process to stop when the supervisor, which holds the other end of standard input, is gone however.

    Its embedded Redis must outlive the last commits of the workers, so whichever process ends last ends it.
    """
    if not stop_on_eof:
        yield
        return
    is_orphan = threading.Event()

    def watch() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock, held by this thread, would break the interpreter's exit
            pass
        is_orphan.set()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="stdin", daemon=True).start()
    try:
        yield
    finally:
        if is_orphan.is_set():
            from app.jobs.embedded import find_running
            from app.jobs.orphans import end_orphan

            if settings.redis_url is not None and settings.redis_url == find_running(settings.state_dir):
                end_orphan(settings.state_dir)
