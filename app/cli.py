"""The `vlmir` program: which subcommands there are. What they need is imported when they run: `--help` is quick.

This is a composition root: it may reach into `model`, which nothing else beside the worker's runner does.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from app.allocator import keep_freed_memory
from app.commands import batch, dead, demo, describe, elsewhere, jobs, keys, restore, roles
from app.exit_codes import EXIT_UNUSABLE
from app.machine import share_cores

_OF_THE_WORKER = {"torch", "torchvision", "open_clip", "diffusers", "peft", "safetensors"}

_WITHOUT_MODEL = ("serve", "api")
"""Commands whose own process runs no model."""

app = typer.Typer(
    name="vlmir",
    help="Restore damaged photos, guided by a vision-language model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(roles.serve)
app.command("api")(roles.api)
app.command("worker")(roles.worker)
app.command("restore")(restore.restore)
app.command("batch")(batch.batch)
app.command("analyze")(describe.analyze)
app.command("models")(describe.models)
app.add_typer(jobs.app, name="jobs")
app.add_typer(dead.app, name="dead")
app.add_typer(keys.app, name="keys")
app.command("demo")(demo.demo)
elsewhere.register(app)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"vlmir {importlib.metadata.version('vlmir')}")
    except importlib.metadata.PackageNotFoundError:
        typer.echo("vlmir, from a source tree that was never installed")
    raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Restore damaged photos, guided by a vision-language model."""
    if context.invoked_subcommand not in _WITHOUT_MODEL:
        keep_freed_memory()
        share_cores()


def main() -> None:
    """Run the program with the arguments of this process."""
    try:
        app(prog_name="vlmir")
    except ModuleNotFoundError as error:
        if error.name not in _OF_THE_WORKER:
            raise
        typer.echo(f"vlmir: {error.name} is not installed; this command needs: pip install 'vlmir[worker]'", err=True)
        sys.exit(EXIT_UNUSABLE)


if __name__ == "__main__":
    main()
