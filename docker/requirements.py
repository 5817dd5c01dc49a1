"""Print what an image has to install: the requirements in pyproject.toml, without the service itself.

An image layer with these changes only when pyproject.toml or constraints.txt does, and not with every line of code.
Runs before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import tomllib


def requirements(project: dict, extras: list[str], without: list[str]) -> list[str]:
    """Give requirements of the project and some of its extras, in the order of the file.

    Args:
        project: The table `project` of pyproject.toml.
        extras: Names of optional groups, none of which may name another.
        without: Names of packages that are left out.

    Raises:
        ValueError: There is no such group, or a package to be left out is not there.
    """
    unknown = sorted(set(extras) - set(project["optional-dependencies"]))
    if unknown:
        raise ValueError(
            f"got the extra {unknown[0]!r}; pyproject.toml has {', '.join(project['optional-dependencies'])}"
        )
    wanted = [*project["dependencies"], *(line for name in extras for line in project["optional-dependencies"][name])]
    names = [re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in wanted]
    missing = sorted(set(without) - set(names))
    if missing:
        raise ValueError(f"{missing[0]!r} is to be left out, but nothing asks for it; change the Dockerfile")
    return [line for line, name in zip(wanted, names, strict=True) if name not in without]


def main() -> None:
    """Read the command line and print one requirement a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="pyproject.toml")
    parser.add_argument("extras", nargs="*", help="optional groups")
    parser.add_argument("--without", action="append", default=[], help="package to leave out; may be repeated")
    asked = parser.parse_args()
    project = tomllib.loads(asked.file.read_text(encoding="utf-8"))["project"]
    sys.stdout.writelines(f"{line}\n" for line in requirements(project, asked.extras, asked.without))


if __name__ == "__main__":
    main()
