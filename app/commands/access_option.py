"""The option by which commands that talk to a service get their API key."""

from __future__ import annotations

from typing import Annotated

import typer

# The variable is the better way: other users of a machine can read command lines.
ApiKeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="VLMIR_API_KEY", show_envvar=True, help="API key of the service, if it needs one."
    ),
]
