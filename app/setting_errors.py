"""What is wrong with the settings of a process, in words for whoever set them. Pure functions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

    from app.settings import Settings

_LONGEST_SHOWN = 200
_OF_KUBERNETES = re.compile(r"_(SERVICE_(HOST|PORT)|PORT_\d+)")
_OTHERS = ("API_KEY",)
"""Variables with our prefix that are no settings of the service."""


def explain_problems(error: ValidationError, settings: type[Settings], prefix: str) -> list[str]:
    """Give a line per setting that is not valid: its variable, what is expected, what was got.

    Args:
        error: What validation raised.
        settings: The settings; the value of a secret one is not shown.
        prefix: Beginning of the variables' names.
    """
    lines = []
    for problem in error.errors():
        name = "_".join(str(part) for part in problem["loc"])
        setting = settings.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
        line = f"{prefix}{name.upper()}: {problem['msg']}"
        if setting is None or setting.repr:  # a secret is not shown
            line += f", got {str(problem['input'])[:_LONGEST_SHOWN]!r}"
        if name == "port" and str(problem["input"]).startswith("tcp://"):
            line += " (Kubernetes sets it for a Service of that name: set enableServiceLinks to false in the pod)"
        lines.append(line)
    return lines


def explain_unknown(environment: Mapping[str, str], fields: Iterable[str], prefix: str) -> list[str]:
    """Give a line per variable that looks like a setting with a typing error, and so has no effect.

    Args:
        environment: Variables of the process.
        fields: Names of all settings.
        prefix: Beginning of the variables' names.
    """
    known = [*(name.upper() for name in fields), *_OTHERS]
    lines = []
    for variable in sorted(environment):
        name = variable.removeprefix(prefix)
        if name == variable or name in known or _OF_KUBERNETES.search(variable):
            continue
        meant = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if meant:
            lines.append(f"{variable} is no setting and has no effect; did you mean {prefix}{meant[0]}?")
    return lines
