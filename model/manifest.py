"""The manifest of a model folder: sha256 sums by which a damaged, cut or exchanged file is told before it is used.

Whoever writes weights writes the sums with them, so they tell of accidents on the way (a broken download, a bad disk)
and not of an attacker, who would change both.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from model.errors import CheckpointError

logger = logging.getLogger(__name__)

NAME = "manifest.json"
_SHOWN_DIGITS = 12


class Manifest:
    """The sums of one folder; none for a folder that has no manifest, whose files are then taken as they are.

    Args:
        folder: The model folder.

    Raises:
        CheckpointError: The manifest cannot be read or is no object of sums.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sums = _read(folder / NAME)

    def check(self, part: str, files: Iterable[Path]) -> None:
        """Compare the files of a part with their sums.

        Args:
            part: Beginning of the names of its files.
            files: Those that are there.

        Raises:
            CheckpointError: A file is missing, cannot be read, or differs.
        """
        there = {file.name: file for file in files}
        for name in self._sums:
            if name.startswith((f"{part}.", f"{part}-")) and name not in there:
                raise CheckpointError(f"{self._folder / name}: {NAME} lists it, but it is missing; fetch it again")
        for name, file in there.items():
            expected = self._sums.get(name)
            if expected is None:
                logger.info("%s has no sha256 sum in %s: taken as it is", file, NAME)
                continue
            got = sha256_of(file)
            if got != expected:
                raise CheckpointError(
                    f"{file}: sha256 differs from {NAME}, got {got[:_SHOWN_DIGITS]}..., expected "
                    f"{expected[:_SHOWN_DIGITS]}...; the file is damaged, fetch it again"
                )


def write_manifest(folder: Path) -> None:
    """Write the sums of all weights of a folder, and of its vocabulary, as they are now."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("vocabulary.json")])
    sums = {file.name: sha256_of(file) for file in files}
    (folder / NAME).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Give the sha256 sum of a file as hex digits.

    Raises:
        CheckpointError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()


def _read(path: Path) -> dict[str, str]:
    try:
        sums = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(sums, dict) or not all(isinstance(value, str) for value in sums.values()):
        raise CheckpointError(f"{path}: got {type(sums).__name__}, expected an object of sha256 sums")
    return sums
