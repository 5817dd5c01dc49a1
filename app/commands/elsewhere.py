"""Subcommands with subcommands of their own: `degrade`, `train`, `eval`, `bench`.

Their modules are looked for by name and imported only when called, because they need torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

import typer

PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


@dataclass(frozen=True)
class Elsewhere:
    """A subcommand defined in another module, either as a typer app or as a plain function for typer."""

    name: str
    module: str
    attribute: str
    help: str


COMMANDS = (
    Elsewhere("degrade", "model.degradation.command", "degrade_command", "Damage a photo on purpose, in a known way."),
    Elsewhere("train", "model.train.command", "app", "Train the parts of a model."),
    Elsewhere("eval", "model.evaluate.command", "app", "Measure a model on reference photos."),
    Elsewhere("bench", "app.commands.bench", "app", "Measure speed."),
)


def register(app: typer.Typer) -> None:
    """Add those subcommands whose module is installed."""
    for command in COMMANDS:
        if _is_installed(command.module):
            _add(app, command)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _add(app: typer.Typer, command: Elsewhere) -> None:
    # Help is left to the real command, so "--help" passes through like any other argument.
    @app.command(command.name, help=command.help, context_settings=PASS_THROUGH | {"help_option_names": []})
    def call(context: typer.Context) -> None:
        target = getattr(importlib.import_module(command.module), command.attribute)
        if not isinstance(target, typer.Typer):
            function, target = target, typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            target.command(help=command.help)(function)
        typer.main.get_command(target).main(args=list(context.args), prog_name=f"vlmir {command.name}")
