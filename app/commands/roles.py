"""`vlmir serve`, `vlmir api`, `vlmir worker`: the long-running roles of the service."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.endings import ended_well_by_sigterm, ended_with_supervisor, explained
from app.exit_codes import EXIT_FAILED, EXIT_UNUSABLE

if TYPE_CHECKING:
    from app.settings import Settings

GRACEFUL_STOP_S = 5
"""Time that open requests get when the API stops; uploads are short, and waiting for a result can be repeated."""

Host = Annotated[str | None, typer.Option(help="Address to listen on [default: VLMIR_HOST or 127.0.0.1].")]
Port = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port to listen on, 0 for a free one [default: VLMIR_PORT or 8000]."),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Name of a model, a folder with one, or NAME=FOLDER; repeat for several, the first is for jobs that name "
        "none [default: VLMIR_MODELS, else VLMIR_MODEL, else small].",
    ),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps [default: VLMIR_DEVICE or auto].")]
Devices = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda, cuda:1, mps, or several: cuda:0,cuda:1 [default: VLMIR_DEVICE or auto]."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=64, help="Workers to start [default: VLMIR_WORKERS, else one for each device named]."),
]
StateDir = Annotated[
    Path | None, typer.Option(help="Folder of the embedded Redis server's data [default: VLMIR_STATE_DIR].")
]
StopOnEof = Annotated[bool, typer.Option("--stop-on-eof", hidden=True, help="Stop when standard input closes.")]


def serve(
    host: Host = None,
    port: Port = None,
    model: Models = None,
    device: Devices = None,
    workers: Workers = None,
    state_dir: StateDir = None,
) -> None:
    """Start everything: API, workers and, unless VLMIR_REDIS_URL is set, an embedded Redis server."""
    from app.commands.supervisor import Supervisor

    with explained():
        _warn_of_unknown_settings()
        settings = load_settings(
            host=host, port=port, models=_join(model), device=device, workers=workers, state_dir=state_dir
        )
        raise typer.Exit(Supervisor(settings).run())


def api(
    host: Host = None,
    port: Port = None,
    model: Models = None,
    fd: Annotated[int | None, typer.Option(hidden=True, help="Listen on this open socket.")] = None,
    stop_on_eof: StopOnEof = False,
) -> None:
    """Start the API alone; needs VLMIR_REDIS_URL, and the same models as the workers."""
    with explained(), ended_well_by_sigterm():
        if not stop_on_eof:  # else the supervisor has done so
            _warn_of_unknown_settings()
        settings = load_settings(host=host, port=port, models=_join(model))
        _require_queue(settings, "api")
        with ended_with_supervisor(settings, stop_on_eof):
            _serve_api(settings, fd)


def _serve_api(settings: Settings, fd: int | None) -> None:
    import uvicorn

    from app.allocator import keep_little_freed_memory
    from app.api.app import create_app
    from app.api.server import ApiServer
    from app.commands.listening import listen_everywhere
    from app.jobs.connection import connect
    from app.logs import configure_logging
    from app.tracing.spans import configure_tracing

    configure_logging(settings)
    configure_tracing(settings, "vlmir-api")
    keep_little_freed_memory()
    logging.getLogger("uvicorn.access").addFilter(_is_no_probe)
    connect(settings.redis_url or "")  # to nothing yet, but an address that means nothing is told
    app = create_app(settings)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=GRACEFUL_STOP_S)
    sockets = listen_everywhere(settings.host, settings.port) if fd is None else [socket.socket(fileno=fd)]
    for number in (signal.SIGTERM, signal.SIGINT):
        # The server passes its stop signal on to whoever was there before, once it has stopped: that ends well.
        signal.signal(number, lambda *_: sys.exit(0))
    server = ApiServer(config, app)
    server.run(sockets=sockets)
    if server.is_unusable:
        raise typer.Exit(EXIT_UNUSABLE)
    raise typer.Exit(0 if server.started else EXIT_FAILED)


def worker(model: Models = None, device: Device = None, stop_on_eof: StopOnEof = False) -> None:
    """Start one worker; needs VLMIR_REDIS_URL, and the same models as the API."""
    with explained(), ended_well_by_sigterm():
        if not stop_on_eof:
            _warn_of_unknown_settings()
        settings = load_settings(models=_join(model), device=device)
        _require_queue(settings, "worker")
        with ended_with_supervisor(settings, stop_on_eof):
            from app.worker.__main__ import run_worker

            raise typer.Exit(run_worker(settings))


def _join(models: list[str] | None) -> str | None:
    if not models:
        return None
    if not any(models):  # an empty setting would silently stand for the default
        raise typer.BadParameter("got an empty name; give a name, a folder or NAME=FOLDER", param_hint="--model")
    return ",".join(models)


def load_settings(**overrides: Any) -> Settings:
    """Give the settings of the environment, with those options put over them that are not None.

    Raises:
        typer.Exit: A setting is not valid; what and why is printed.
    """
    from pydantic import ValidationError

    from app.setting_errors import explain_problems
    from app.settings import ENV_PREFIX, Settings

    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        for line in explain_problems(error, Settings, ENV_PREFIX):
            typer.echo(line, err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None


def _warn_of_unknown_settings() -> None:
    from app.setting_errors import explain_unknown
    from app.settings import ENV_PREFIX, Settings

    for line in explain_unknown(os.environ, Settings.model_fields, ENV_PREFIX):
        typer.echo(f"vlmir: {line}", err=True)


def _require_queue(settings: Settings, role: str) -> None:
    if settings.redis_url is None:
        typer.echo(
            f"`vlmir {role}` needs a Redis server: set VLMIR_REDIS_URL (redis://host:6379/0), "
            "or start everything on this machine with `vlmir serve`.",
            err=True,
        )
        raise typer.Exit(EXIT_UNUSABLE)


def _is_no_probe(record: logging.LogRecord) -> bool:
    """Drop the log lines of what machines ask every few seconds."""
    return not any(f"GET {path} " in record.getMessage() for path in ("/healthz", "/readyz", "/metrics"))
