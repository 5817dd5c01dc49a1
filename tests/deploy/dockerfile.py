"""The Dockerfile, read into its stages."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One stage.

    Attributes:
        name: What other stages and `--target` call it by.
        base: Name of the stage or image that it begins with, as it is written.
        steps: Its instructions in order: the word in upper case, and the rest in one line.
    """

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for found, rest in self.steps if found == word]

    def last(self, word: str) -> str:
        return self.all(word)[-1]

    @property
    def variables(self) -> dict[str, str]:
        pairs = re.findall(r"(\w+)=(\S+)", " ".join(self.all("ENV")))
        return dict(pairs)


@dataclass
class Dockerfile:
    """All of it.

    Attributes:
        arguments: Global ARGs with their defaults.
        stages: By name, in order.
    """

    arguments: dict[str, str]
    stages: dict[str, Stage]

    def line_of(self, target: str) -> list[Stage]:
        """The stages from the image up to this one, each made on the one before it."""
        stage = self.stages[target]
        return [*(self.line_of(stage.base) if stage.base in self.stages else []), stage]

    def image_of(self, target: str) -> str:
        """The image that a stage begins with in the end, with the arguments put in."""
        return re.sub(r"\$\{(\w+)\}", lambda found: self.arguments[found[1]], self.line_of(target)[0].base)


def read(path: Path = ROOT / "Dockerfile") -> Dockerfile:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in filter(str.strip, text.splitlines()):
        word, rest = line.strip().split(maxsplit=1)
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = stages[name] = Stage(name, base)
        elif stage is None:
            assert word == "ARG", line
            name, _, default = rest.partition("=")
            arguments[name] = default
        else:
            stage.steps.append((word, rest))
    return Dockerfile(arguments, stages)


def health_command(stage: Stage) -> list[str]:
    """What HEALTHCHECK runs."""
    command = json.loads(stage.last("HEALTHCHECK").partition(" CMD ")[2])
    assert isinstance(command, list)
    return command
