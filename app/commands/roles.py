"""`vlmir serve`, `vlmir api`, `vlmir worker`: the long-running roles of the service."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.exits import stop_on_service_error
from app.exit_codes import EXIT_UNUSABLE

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

    with stop_on_service_error():
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
    import uvicorn

    from app.api.app import create_app
    from app.api.server import ApiServer
    from app.logs import configure_logging
    from app.tracing.spans import configure_tracing

    with stop_on_service_error():
        settings = load_settings(host=host, port=port, models=_join(model))
        _require_queue(settings, "api")
        configure_logging(settings)
        configure_tracing(settings, "vlmir-api")
        logging.getLogger("uvicorn.access").addFilter(_is_no_probe)
        if stop_on_eof:
            _stop_when_stdin_closes()
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            timeout_graceful_shutdown=GRACEFUL_STOP_S,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            # The server passes its stop signal on to whoever was there before, once it has stopped: that ends well.
            signal.signal(number, lambda *_: sys.exit(0))
        sockets = None if fd is None else [socket.socket(fileno=fd)]
        ApiServer(config, app).run(sockets=sockets)


def worker(model: Models = None, device: Device = None, stop_on_eof: StopOnEof = False) -> None:
    """Start one worker; needs VLMIR_REDIS_URL, and the same models as the API."""
    with stop_on_service_error():
        settings = load_settings(models=_join(model), device=device)
        _require_queue(settings, "worker")
        if stop_on_eof:
            _stop_when_stdin_closes()
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

    from app.settings import Settings

    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            setting = Settings.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
            got = f", got {problem['input']!r}" if setting is None or setting.repr else ""  # a secret is not shown
            typer.echo(f"VLMIR_{name}: {problem['msg']}{got}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None


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


def _stop_when_stdin_closes() -> None:
    """Ask this process to stop when the supervisor, which holds the other end of the pipe, is gone however it ended."""

    def watch() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock, held by this thread, would break the interpreter's exit
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="stdin", daemon=True).start()
